"""TOML: a table added and taken away leaves the same bytes."""

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from parler.apps.config_files import toml_text
from parler.apps.config_files.errors import AppError, Unfitting, Unparsable
from parler.apps.install.manifest import Undo

ENTRY = {
    "command": 'C:\\x\\"parler".exe',
    "args": ["mcp", "\x7f\t"],
    "env": {"A": "1", "odd key": "ü\n"},
}
PATH = ("mcp_servers", "parler")
PIECES = (
    "# a comment with [mcp_servers.parler]\n",
    "\n",
    "  \t\n",
    "[mcp_servers.github]\ncommand = 'npx' # [x]\n",
    '[projects."/home/a b/]c"]\ntrust = true\n',
    '[[rule]]\nname = "a ] b"\n',
    '[text]\nlong = """\n[mcp_servers.parler]\nx = 1\n\\""" still"""\n',
    "[raw]\nlong = '''\n[mcp_servers.parler]\n'''''\n",
    '[lists]\nlist = [\n  1, # ]\n  [2, 3],\n  { a = "]" },\n]\n',
    '[\'mcp_servers\'."other".env]\nK = "v" # v\n',
    "[mcp_servers.parlers]\ncommand = 'not ours'\n",
    '  [ dotted . "a.b" ]\t# odd\n\tx . y=1#\n  "x".z = { a.b = 1 , c = [ ] }\n',
    "[[many.'of']]\n[[many.of]]\n[many.of.them]\nk = 1979-05-27 07:32:00Z\n",
    '["ü".\'😀\']\n"\\u00fc" = "\\"]"\n\'q"\' = """\n""x\\\n  """\n',
    "[empty]\n\n\n# above what follows\n",
    '["mcp_servers.parler"]\ncommand = "one key"\n',
)
OURS = (
    '[mcp_servers.parler]\ncommand = "old"\n\n[mcp_servers.parler.env]\nA = "0"\n',
    '[ "mcp_servers" . \'parler\' ] # ours\nargs = [ # [x]\n  "]",\n]\n',
    "[mcp_servers.parler.env]\nA = '''\n[x]'''\n[mcp_servers.parler]\n",
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Tables in any order, with or without a last line break, in both line ends."""
    text = 'model = "x"\n' if draw(st.booleans()) else ""
    pieces = draw(st.lists(st.sampled_from(PIECES), unique=True))
    text += "".join(pieces)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@given(documents())
def test_a_table_that_was_put_and_undone_leaves_the_same_bytes(text: str) -> None:
    before: Any = tomllib.loads(text)
    after, _ = toml_text.put(text, PATH, ENTRY)
    before.setdefault("mcp_servers", {})["parler"] = ENTRY
    assert tomllib.loads(after) == before
    assert Undo.between(text, after).apply(after) == text
    assert toml_text.put(after, PATH, ENTRY)[0] == after


@given(documents())
def test_a_table_that_was_put_and_dropped_leaves_all_but_a_last_line_break(
    text: str,
) -> None:
    after, _ = toml_text.put(text, PATH, ENTRY)
    dropped = toml_text.drop(after, PATH)
    assert dropped.rstrip("\r\n") == text.rstrip("\r\n")


@given(documents(), st.sampled_from(OURS), documents(), st.booleans())
def test_what_stands_around_our_table_keeps_every_byte(
    head: str, ours: str, tail: str, windows: bool
) -> None:
    newline = "\r\n" if windows else "\n"
    head = head if not head or head.endswith("\n") else head + newline
    ours = ours.replace("\n", newline)
    tail = tail.removeprefix('model = "x"').lstrip("\r\n")
    try:
        before: Any = tomllib.loads(head + ours + tail)
    except tomllib.TOMLDecodeError:
        return
    after, _ = toml_text.put(head + ours + tail, PATH, ENTRY)
    before["mcp_servers"]["parler"] = ENTRY
    assert tomllib.loads(after) == before
    assert after.startswith(head)
    assert after.endswith(tail)
    left = toml_text.drop(head + ours + tail, PATH)
    blank = "\r\n" if head.endswith("\r\n") else "\n"
    assert left in (head + tail, head.removesuffix(blank) + tail)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = [\n", 3),
        ("a = \n", 1),
        ("[a\n", 1),
        ("a = 1\na = 2\n", 2),
        ("[a]\n[b]\n[a]\n", 3),
        ("[a]\nb = 1\n[a.b]\n", 3),
        ("a = {}\n[a.b]\n", 2),
        ("a = 1\rb = 2\n", 1),
        ("\ufeffa = 1\n", 1),
        ('a = 1\nb = "\x00"\n', 2),
        ("a = " + "[" * 100_000, 1),
    ],
)
def test_a_broken_text_is_refused_where_it_breaks(text: str, line: int) -> None:
    with pytest.raises(Unparsable) as refused:
        toml_text.put(text, PATH, ENTRY)
    assert refused.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { parler = { command = "x" } }\n',
        "mcp_servers = {}\n",
    ],
)
def test_an_inline_table_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(Unfitting):
        toml_text.put(text, PATH, ENTRY)


def test_our_entry_in_an_inline_table_of_its_own_is_taken_away() -> None:
    text = '[mcp_servers]\nother = { command = "y" }\nparler = { command = "x" }\n'
    assert toml_text.drop(text, PATH) == text.partition("parler")[0]


@given(st.text())
def test_any_text_is_either_edited_or_refused(text: str) -> None:
    try:
        after, _ = toml_text.put(text, PATH, ENTRY)
    except AppError:
        return
    said: Any = tomllib.loads(after)
    assert said["mcp_servers"]["parler"] == ENTRY


def test_the_comment_above_the_next_table_stays_which_tomlkit_takes_along() -> None:
    text = '[mcp_servers.parler]\ncommand = "x"\n\n# mine\n[projects.x]\na = 1\n'
    assert "# mine" in toml_text.drop(text, PATH)
    assert "# mine" in toml_text.put(text, PATH, ENTRY)[0]

    document: Any = tomlkit.parse(text)
    del document["mcp_servers"]["parler"]
    assert "# mine" not in tomlkit.dumps(document)
