"""The checks that look at every byte, against ones that go one by one (protocol 1.2).

The decoder asks how deep a frame is and which keys occur twice without running a line
of ours for each byte. Here the same questions are answered the long way.
"""

import json
from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from parler.wire.codec import BadFrame, decode_request
from parler.wire.limits import MAX_DEPTH

TARGET = {"kind", "room", "agent", "service"}


def depth_of(text: str) -> int:
    """How deep brackets are nested outside strings."""
    depth = deepest = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


class Pairs(dict[str, Any]):
    """An object that knows which keys came more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counted = Counter(key for key, _ in pairs)
        self.twice = {key for key, times in counted.items() if times > 1}


def twice_in_send(text: str) -> bool:
    """Whether a well-formed send has a known key twice."""
    root = json.loads(text, object_pairs_hook=Pairs)
    sent = {"op", "rid", "target", "parts", "mentions", "reply_to", "client_id"}
    known = [(root, sent), (root["target"], TARGET)]
    for part in root["parts"]:
        own = {"text", "data"} if part["kind"] in ("text", "data") else set()
        known.append((part, {"kind"} | own))
    return any(each.twice & keys for each, keys in known)


def verdict(text: str) -> str | None:
    """Why a frame is refused, or None."""
    try:
        decode_request(text)
    except BadFrame as bad:
        return bad.reason
    return None


brackets = st.lists(
    st.one_of(
        st.sampled_from(["[", "{", "]", "}", '"', "\\", ",", "0", '"]["', '"\\"["']),
        st.integers(1, 80).map(lambda many: "[" * many),
        st.integers(1, 80).map(lambda many: "]" * many),
        st.integers(1, 80).map(lambda many: '{"":' * many),
    ),
    max_size=40,
).map("".join)


@given(brackets)
@example("[" * MAX_DEPTH)
@example("[" * (MAX_DEPTH + 1))
@example("[]" * 70_000 + "[" * MAX_DEPTH)
@example("[]" * 70_000 + "[" * (MAX_DEPTH + 1))
@example("[" * 60 + "][" * 70_000 + "[" * 4 + "[]")
@example("]" * 80 + "[" * 100)
def test_a_frame_is_refused_for_its_depth_exactly_when_it_is_deeper(text: str) -> None:
    too_deep = f"nested deeper than {MAX_DEPTH}"
    assert (verdict(text) == too_deep) == (depth_of(text) > MAX_DEPTH)


def spelled(key: str) -> st.SearchStrategy[str]:
    """A key as JSON may have it: any of its characters escaped."""

    def spell(which: list[bool]) -> str:
        pairs = zip(key, which, strict=True)
        return (
            '"'
            + "".join(rf"\u{ord(char):04x}" if odd else char for char, odd in pairs)
            + '"'
        )

    return st.lists(st.booleans(), min_size=len(key), max_size=len(key)).map(spell)


def braced(pairs: list[tuple[str, str]], blank: str = " ") -> str:
    """An object of fields that are JSON already."""
    fields = (f"{key}{blank}:{blank}{value}" for key, value in pairs)
    return "{" + f",{blank}".join(fields) + "}"


names = st.sampled_from(
    ["op", "target", "parts", "kind", "text", "data", "room", "rid", "x", "mentions"]
).flatmap(spelled)
values = st.recursive(
    st.sampled_from(
        ['"a"', "1", "null", '"\\"kind\\":"', '",\\"op\\":"', '"\\\\u0061"']
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(names, inner), max_size=4).map(braced),
    ),
    max_leaves=8,
)
unknown = st.tuples(st.sampled_from(["x", "y", "z"]).flatmap(spelled), values)
more = st.lists(st.one_of(unknown, st.tuples(names, values)), max_size=3)


@st.composite
def objects(draw: st.DrawFn, needed: dict[str, str]) -> str:
    """An object with these fields, and with others that may be the same again."""
    pairs = [(draw(spelled(key)), value) for key, value in needed.items()]
    pairs += draw(more)
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=1))
    blank = draw(st.sampled_from(["", " "]))
    return braced(list(draw(st.permutations(pairs))), blank)


parts = st.one_of(
    objects({"kind": '"text"', "text": '"hi"'}),
    objects({"kind": '"data"', "data": "[1]"}),
    objects({"kind": '"com.example.x"'}),
)


@st.composite
def sends(draw: st.DrawFn) -> str:
    """A send, or nearly one."""
    target = draw(objects({"kind": '"room"', "room": '"r"'}))
    listed = draw(st.lists(parts, min_size=1, max_size=3))
    return draw(
        objects({"op": '"send"', "target": target, "parts": f"[{','.join(listed)}]"})
    )


@given(sends())
@example(
    '{"op":"send","x":{"op":1},"x":2,"target":{"kind":"room","room":"r"},'
    '"parts":[{"kind":"text","text":""}]}'
)
def test_a_send_is_refused_for_a_key_exactly_when_a_known_one_occurs_twice(
    text: str,
) -> None:
    reason = verdict(text)
    if reason is None or "occurs twice" in reason:
        assert (reason is not None) == twice_in_send(text)


numbers = st.lists(
    st.one_of(
        st.sampled_from(
            ["1", "-", "+", ".", "e", "E", "0", "308", "309", " ", ",", '"']
        ),
        st.integers(100, 330).map(lambda many: "9" * many),
        st.integers(100, 330).map(lambda many: "0" * many),
    ),
    max_size=8,
).map("".join)


@given(numbers)
@example("9" * 308)
@example("9" * 309)
@example("-1e309")
@example("1E+309")
@example("0." + "0" * 250 + "1e309")
@example("true,1e3")
def test_a_number_that_is_no_finite_double_is_refused_and_no_other(text: str) -> None:
    frame = f'{{"op":"ping","x":[{text}]}}'
    try:
        found = json.loads(frame, parse_int=float)["x"]
    except ValueError:
        found = []
    finite = all(
        isinstance(each, float) and abs(each) != float("inf")
        for each in found
        if not isinstance(each, str | bool)
    )
    if found and len(max(text.split(","), key=len)) <= 600:
        assert (verdict(frame) is None) == finite
