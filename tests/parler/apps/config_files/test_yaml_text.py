"""YAML: an entry set and removed by whole lines, and nothing else said than before."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from parler.apps.config_files import yaml_text
from parler.apps.config_files.errors import AppError, Unparsable
from parler.apps.install.manifest import Undo

ENTRY = {
    "cmd": 'C:\\x\\"parler".exe',
    "args": ["mcp", "\x7f\u2028"],
    "envs": {"A": "1", "odd key": "ü: #"},
    "none": {},
    "bundled": None,
    "timeout": 300,
    "share": 0.5,
}
PATH = ("extensions", "parler")
PIECES = (
    "# a comment\n",
    "\n",
    "A: 1\n",
    'B: "a: b" # x\n',
    "C: |\n  extensions:\n    parler: no\n\n",
    "D:\n- 1\n- x: 2\n\n# above what follows\n",
    "E: [a, b]\n",
    'F: "long\n  extensions:\n  text" # mine\n',
    "G: 'it''s\n\n  parler: 1'\n",
    "H: &name {a: 1,\n  b: [2]}\nI: *name\n",
    "? J\n: - 1\n",
    "K:   {  }\n",
    "'ü 😀': >-\n    folded\n    text\n",
    "L: !mine x\n",
    "true: ~\n2: no\n",
)
EXTENSIONS = (
    "",
    "extensions:\n",
    "extensions: {}\n",
    "extensions: ~ # none\n",
    "extensions: # mine\n  {}\n",
    "extensions:\n  dev:\n    enabled: true\n",
    "extensions:\n    dev:\n        enabled: true\n    # mine\n    x: 1\n",
    "extensions:   # mine\n  'dev': {a: 1,\n    b: 2} # x\n\n  # the last\n",
    '"extensions":\n  dev:\n    text: |\n      a\n       b\n',
    "extensions:\n  parler:\n    cmd: old # mine\n  # of dev\n  dev:\n    a: 1\n",
)


class Oracle(yaml.SafeLoader):
    """Another reader, that takes a tag of the user's for text."""


Oracle.add_constructor("!mine", lambda loader, node: loader.construct_scalar(node))


def said(text: str) -> Any:
    """What a text says to the other reader."""
    return yaml.load(text, Loader=Oracle) or {}


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Entries in any order, with or without ours, in both line ends."""
    pieces = draw(st.lists(st.sampled_from(PIECES), unique=True))
    pieces.insert(draw(st.integers(0, len(pieces))), draw(st.sampled_from(EXTENSIONS)))
    text = "".join(pieces)
    if draw(st.booleans()):
        text = "---\n" + text
    if draw(st.booleans()) and "|\n" not in text:
        text = text.rstrip("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@given(documents())
def test_an_entry_that_was_put_and_undone_leaves_the_same_bytes(text: str) -> None:
    before = said(text)
    after, _ = yaml_text.put(text, PATH, ENTRY)
    before["extensions"] = {**(before.get("extensions") or {}), "parler": ENTRY}
    assert said(after) == before
    assert Undo.between(text, after).apply(after) == text
    assert yaml_text.put(after, PATH, ENTRY)[0] == after


def others(text: str) -> list[str]:
    """The lines that are neither of the entry nor of what holds it."""
    of_entry = ("{}", "parler:", "cmd: old # mine")
    lines = [line for line in text.splitlines() if line.strip() not in of_entry]
    return [line for line in lines if "extensions" not in line]


@given(documents())
def test_what_is_not_of_the_entry_keeps_every_byte(text: str) -> None:
    after, made = yaml_text.put(text, PATH, ENTRY)
    left = yaml_text.drop(after, PATH)
    for path in made:
        left = yaml_text.drop(left, path)
    assert others(left) == others(text)


def test_a_mapping_that_loses_its_last_entry_is_empty_and_not_null() -> None:
    text = "extensions: # mine\n  parler:\n    cmd: a\nz: 1\n"
    assert yaml_text.drop(text, PATH) == "extensions: {} # mine\nz: 1\n"


def test_a_comment_above_the_next_entry_stays_with_it() -> None:
    text = "extensions:\n  parler:\n    cmd: a # ours\n\n  # of dev\n  dev: {}\n"
    left = "extensions:\n\n  # of dev\n  dev: {}\n"
    assert yaml_text.drop(text, PATH) == left


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {dev: {enabled: true}}\n",
        "extensions: &anchor\n  a: 1\n",
        "extensions: *other\n",
        "extensions: &anchor {}\nother: *anchor\n",
        "extensions: !mine\n",
        "extensions: { # a comment in it\n  }\n",
        "extensions:\n- a\n",
        "extensions:\n  - a\n",
        "extensions:\n\tdev: 1\n",
        '{"extensions": {}}\n',
        "A: 1\n---\nB: 2\n",
        "A: 1\n...\n",
        "extensions:\n    a: 1\n  b: 2\n",
        "? extensions\n: a: 1\n",
        "extensions:\n  ? parler\n  : a\n",
        "extensions:\n  parler: &us\n    a: 1\nother: *us\n",
        "A: 1\nA: 2\n",
        "A: {b: 1, b: 2}\n",
        "plain text\n",
        "A: *nobody\n",
        "A: |\n  no line break is part of this",
        "A: \x00\n",
        "A: \udc80\n",
        "[" * 100_000,
        "- " * 900,
    ],
)
def test_a_text_without_a_certain_place_is_refused(text: str) -> None:
    with pytest.raises(AppError):
        yaml_text.put(text, PATH, ENTRY)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\n\tb: 2\n", 2, 1),
        ("a: 1\nb: [1\n", 3, 1),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3),
        ("a: 1\r\n---\r\nb: 1\r\n", 2, 1),
        ("ü: 1\nü: \x07\n", 2, 4),
    ],
)
def test_a_broken_text_is_refused_where_it_breaks(
    text: str, line: int, column: int
) -> None:
    with pytest.raises(Unparsable) as refused:
        yaml_text.parse(text)
    assert (refused.value.line, refused.value.column) == (line, column)


def test_a_text_that_doubles_at_each_line_is_read_at_once() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 100)]
    after, _ = yaml_text.put("\n".join(lines), PATH, ENTRY)
    assert after.startswith("\n".join(lines) + "\nextensions:\n")


@given(st.text() | st.text("ab:-?&*!|>'\"%{}[],# \n\t\r\x85\u2028\ufeff", min_size=3))
def test_any_text_is_either_edited_or_refused(text: str) -> None:
    try:
        after, _ = yaml_text.put(text, PATH, ENTRY)
        left = yaml_text.drop(after, PATH)
    except AppError:
        return
    assert Undo.between(text, after).apply(after) == text
    assert yaml_text.parse(after)["extensions"]["parler"] == ENTRY  # type: ignore[index]
    assert "parler" not in yaml_text.parse(left)["extensions"]  # type: ignore[index]
