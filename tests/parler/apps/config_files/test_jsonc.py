"""JSON with comments: what is not ours stays byte for byte, whatever stands there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.apps.config_files import jsonc
from parler.apps.config_files.errors import Unfitting, Unparsable
from parler.apps.install.manifest import Undo

ENTRY = {"command": "/usr/bin/parler", "args": ["mcp"], "env": {"A": "1"}}
PATH = ("mcpServers", "parler")

_keys = st.sampled_from(["a", "mcpServers", "b c", "ключ", '"', "\\", "//", "/*"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3)
    ),
    max_leaves=8,
)
_servers = st.dictionaries(_keys.filter(lambda key: key != "parler"), _values)
_models = st.builds(
    lambda rest, servers: rest if servers is None else {**rest, "mcpServers": servers},
    st.dictionaries(_keys.filter(lambda key: key != "mcpServers"), _values),
    st.none() | _servers,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A text in nobody's style: blanks, comments and commas wherever they may be."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    gaps = st.sampled_from(
        [
            "",
            "",
            " ",
            "\t",
            line_end,
            f"  // note{line_end}",
            "/* x\n */",
            f"//{line_end}",
        ]
    )

    def gap() -> str:
        return draw(gaps)

    def written(value: Any) -> str:
        if isinstance(value, dict):
            parts = [
                f"{gap()}{json.dumps(key, ensure_ascii=draw(st.booleans()))}{gap()}:"
                f"{gap()}{written(one)}{gap()}"
                for key, one in value.items()
            ]
            return "{" + joined(parts) + "}"
        if isinstance(value, list):
            return "[" + joined([gap() + written(one) + gap() for one in value]) + "]"
        return json.dumps(value)

    def joined(parts: list[str]) -> str:
        last = "," if parts and draw(st.booleans()) else ""
        return ",".join(parts) + last + gap()

    return gap() + written(draw(_models)) + gap()


@given(documents())
def test_a_member_that_was_put_and_undone_leaves_the_same_bytes(text: str) -> None:
    before = jsonc.parse(text)
    after, _ = jsonc.put(text, PATH, ENTRY)
    assert Undo.between(text, after).apply(after) == text
    expected = dict(before) if isinstance(before, dict) else {}
    expected["mcpServers"] = {**expected.get("mcpServers", {}), "parler": ENTRY}
    assert jsonc.parse(after) == expected
    assert jsonc.parse(jsonc.put(after, PATH, ENTRY)[0]) == expected


@given(documents())
def test_a_member_that_was_put_and_dropped_leaves_what_was_said(text: str) -> None:
    after, made = jsonc.put(text, PATH, ENTRY)
    dropped = jsonc.drop(after, PATH)
    for path in sorted(made, key=len, reverse=True):
        dropped = jsonc.drop(dropped, path)
    assert jsonc.parse(dropped) == (jsonc.parse(text) or {})
    assert comments(dropped) == comments(text)


@given(documents(), st.data())
def test_any_member_can_be_dropped_and_nothing_else_goes(
    text: str, data: st.DataObject
) -> None:
    said = jsonc.parse(text)
    if not isinstance(said, dict) or not said:
        return
    key = data.draw(st.sampled_from(sorted(said)))
    left = jsonc.drop(text, (key,))
    assert jsonc.parse(left) == {name: one for name, one in said.items() if name != key}


@given(st.lists(st.integers(0, 5), max_size=5), documents())
def test_items_are_added_and_dropped_one_by_one(items: list[int], text: str) -> None:
    for item in items:
        text, _ = jsonc.add(text, ("list", "in"), item)
    assert (jsonc.parse(text) or {}).get("list", {"in": []})["in"] == items  # type: ignore[attr-defined]
    for index in reversed(range(len(items))):
        text = jsonc.drop_item(text, ("list", "in"), index)
    if items:
        assert jsonc.parse(text)["list"]["in"] == []  # type: ignore[index]


@given(st.text())
def test_any_text_is_either_read_or_refused_with_a_place(text: str) -> None:
    try:
        said = jsonc.parse(text)
    except Unparsable as error:
        place = (error.line, error.column)
        assert min(place) >= 1
    else:
        if text.strip() and said is not None and not jsonc.has_comments(text):
            json.loads(text)


@given(_values)
def test_strict_json_says_the_same_as_to_the_standard_library(value: Any) -> None:
    text = json.dumps(value, indent=1)
    assert unwrapped(jsonc.parse(text)) == json.loads(text)
    assert not jsonc.has_comments(text)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3),
        ('{\r\n  "a": tru\r\n}', 2, 8),
        ('{"a": 1} x', 1, 10),
        ('{"a": "\n"}', 1, 7),
        ("{'a': 1}", 1, 2),
        ("{a: 1}", 1, 2),
        ('{"a": 1', 1, 8),
        ("{,}", 1, 2),
        ("[1,,2]", 1, 4),
        ("/* no end", 1, 1),
        ('{"a": 01}', 1, 8),
        ("[" * 2000, 1, jsonc.MAX_DEPTH + 1),
        ("<<<<<<< HEAD\n{}", 1, 1),
    ],
)
def test_a_broken_text_is_refused_where_it_breaks(
    text: str, line: int, column: int
) -> None:
    with pytest.raises(Unparsable) as refused:
        jsonc.put(text, PATH, ENTRY)
    assert (refused.value.line, refused.value.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "3",
        '{"mcpServers": []}',
        '{"mcpServers": null}',
        '{"mcpServers": {"parler": 1, "parler": 2}}',
        '{"mcpServers": {}, "mcpServers": {}}',
    ],
)
def test_a_text_without_a_place_for_the_entry_is_refused(text: str) -> None:
    with pytest.raises(Unfitting):
        jsonc.put(text, PATH, ENTRY)


def test_numbers_nobody_can_hold_are_not_touched() -> None:
    text = '{"big": 1e400, "long": 0.10000000000000000000000001, "many": ' + "9" * 5000
    after, _ = jsonc.put(text + "}", PATH, ENTRY)
    assert after.startswith(text)


def test_a_comment_behind_the_last_member_stays_with_it() -> None:
    text = '{\n    "a": 1 // mine\n    // and this\n}\n'
    after, _ = jsonc.put(text, ("b",), 2)
    assert after == '{\n    "a": 1, // mine\n    "b": 2\n    // and this\n}\n'
    assert jsonc.drop(after, ("b",)) == text


def comments(text: str) -> list[str]:
    """What the text says to people."""
    found = []
    for line in text.replace("\r", "").split("\n"):
        found += [word for word in ("// note", "/* x") if word in line]
    return found


def unwrapped(value: object) -> object:
    """With numbers for what is kept as written."""
    if isinstance(value, jsonc.Number):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: unwrapped(one) for key, one in value.items()}
    return [unwrapped(one) for one in value] if isinstance(value, list) else value
