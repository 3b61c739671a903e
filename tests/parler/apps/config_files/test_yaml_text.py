"""YAML: edited only where every line is plain; all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.apps.config_files import yaml_text
from parler.apps.config_files.errors import HostError
from parler.apps.install.manifest import Undo

ENTRY = {"cmd": "/usr/bin/parler", "args": ["mcp"], "envs": {"A": "1"}, "none": {}}
PATH = ("extensions", "parler")
PIECES = (
    "# a comment\n",
    "\n",
    "A: 1\n",
    'B: "a: b" # x\n',
    "C: |\n  extensions:\n    parler: no\n",
    "D:\n- 1\n- x: 2\n",
    "E: [a, b]\n",
)
EXTENSIONS = (
    "",
    "extensions:\n",
    "extensions: {}\n",
    "extensions:\n  dev:\n    enabled: true\n",
    "extensions:\n    dev:\n        enabled: true\n    # mine\n    x: 1\n",
)


@given(
    st.permutations(PIECES),
    st.sampled_from(EXTENSIONS),
    st.integers(0, len(PIECES)),
    st.booleans(),
)
def test_an_entry_that_was_put_and_undone_leaves_the_same_bytes(
    pieces: list[str], extensions: str, at: int, windows: bool
) -> None:
    text = "".join([*pieces[:at], extensions, *pieces[at:]])
    text = text.replace("\n", "\r\n") if windows else text
    after, _ = yaml_text.put(text, PATH, ENTRY)
    assert Undo.between(text, after).apply(after) == text
    assert yaml_text.put(after, PATH, ENTRY)[0] == after
    left = yaml_text.drop(after, PATH)
    assert [line for line in left.splitlines() if "extensions" not in line] == [
        line for line in text.splitlines() if "extensions" not in line
    ]


def test_a_mapping_that_loses_its_last_entry_is_empty_and_not_null() -> None:
    text = "extensions: # mine\n  parler:\n    cmd: a\nz: 1\n"
    assert yaml_text.drop(text, PATH) == "extensions: {} # mine\nz: 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {dev: {enabled: true}}\n",
        "extensions: &anchor\n  a: 1\n",
        "extensions: *other\n",
        "extensions:\n- a\n",
        "extensions:\n  - a\n",
        "extensions:\n\tdev: 1\n",
        '{"extensions": {}}\n',
        "A: 1\n---\nB: 2\n",
        'A: "x\n  extensions:\n  y"\n',
        "A: 'it''s\n  extensions:'\n",
        "extensions:\n    a: 1\n  b: 2\n",
        "? extensions\n: a\n",
        "A: 1\nA: 2\n",
        "%YAML 1.2\n---\nA: 1\n",
        "plain text\n",
    ],
)
def test_what_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(HostError):
        yaml_text.put(text, PATH, ENTRY)


@given(st.text())
def test_any_text_is_either_edited_or_refused(text: str) -> None:
    try:
        after, _ = yaml_text.put(text, PATH, ENTRY)
    except HostError:
        return
    assert Undo.between(text, after).apply(after) == text
