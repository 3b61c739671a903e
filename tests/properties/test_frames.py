"""Any frame survives the wire; any input is a frame or one error (protocol 1.2)."""

import contextlib
import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parler.wire.bounds import oversized
from parler.wire.canonical import canonical_json
from parler.wire.codec import BadFrame, decode_reply, decode_request, encode
from parler.wire.parts import part_objects, read_parts
from parler.wire.replies import Reply
from parler.wire.requests import AnyRequest, Request, Send
from tests.properties.frames import (
    REPLIES,
    REQUESTS,
    replies,
    requests,
    structs,
    values,
)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_request_survives_the_wire(
    kind: type[Request], data: st.DataObject
) -> None:
    frame = data.draw(structs(kind))
    text = encode(frame)
    assert decode_request(text) == frame
    assert encode(decode_request(text)) == text


@pytest.mark.parametrize("kind", REPLIES, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_reply_survives_the_wire(kind: type[Reply], data: st.DataObject) -> None:
    frame = data.draw(structs(kind))
    text = encode(frame)
    assert decode_reply(text) == frame
    assert encode(decode_reply(text)) == text


@given(requests, st.integers(0, 9), st.booleans(), st.dictionaries(st.text(), values))
def test_a_frame_may_be_printed_by_anybody_in_any_way(
    frame: AnyRequest, seed: int, ascii_only: bool, more: dict[str, Any]
) -> None:
    """Blanks, escapes, order of keys and unknown fields do not matter."""
    fields = json.loads(encode(frame))
    extra = {f"x-{key}": value for key, value in more.items()}
    names = sorted(
        {**extra, **fields}, key=lambda name: crc32(f"{seed}{name}".encode())
    )
    shuffled = {name: {**extra, **fields}[name] for name in names}
    text = json.dumps(shuffled, ensure_ascii=ascii_only, indent=seed % 3 or None)
    if "\\ud" in text or any(0xD800 <= ord(char) < 0xE000 for char in text):
        with contextlib.suppress(BadFrame):
            decode_request(text)
        return
    again = decode_request(text)
    if isinstance(frame, Send) and isinstance(again, Send):
        assert json.loads(bytes(again.parts)) == json.loads(bytes(frame.parts))
        again.parts = frame.parts
    assert again == frame


def judge(data: str | bytes) -> None:
    """Accepted, or refused with the one documented exception."""
    bad: BadFrame | None = None
    try:
        request = decode_request(data)
    except BadFrame as caught:
        bad = caught
    if bad is not None:
        assert 0 < len(bad.reason) < 400
        assert bad.rid is None or 1 <= len(bad.rid.encode()) <= 64
    else:
        oversized(request, max_message_bytes=1000)
        encode(request)
        if isinstance(request, Send):
            whoever_reads(bytes(request.parts))
    with contextlib.suppress(BadFrame):
        encode(decode_reply(data))


def whoever_reads(parts: bytes) -> None:
    """What a hub took can be read, printed and signed by every client."""
    json.loads(parts)
    canonical_json(part_objects(parts))
    read_parts(parts)


@given(st.text(st.characters()))
@example("\ud800")
@example('{"op":"ping","x":"\ud800"}')
def test_any_text_is_a_frame_or_a_bad_frame(text: str) -> None:
    judge(text)


@given(st.binary(max_size=200))
@example(b'{"op":"send","target":{"kind":"room","room":"\xf4\x90\x80\x80"},"parts":[]}')
def test_any_bytes_are_a_frame_or_a_bad_frame(data: bytes) -> None:
    judge(data)


JSON_BITS = st.sampled_from(
    b'{ } [ ] , : " \\ \\u \\ud800 \\udc00 null true NaN 1e999 -0 0. 1e5 "op" "kind" '
    b'"text" "rid" "parts" \xff \x00 \xe2\x80'.split()
) | st.binary(max_size=3)


@settings(max_examples=150)
@given(
    frame=requests | replies,
    cuts=st.lists(
        st.tuples(
            st.integers(0, 400), st.integers(0, 6), st.none() | JSON_BITS, st.booleans()
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_any_damaged_frame_is_a_frame_or_a_bad_frame(
    frame: Request | Reply, cuts: list[tuple[int, int, bytes | None, bool]]
) -> None:
    data = encode(frame).encode()
    for start, length, inserted, doubled in cuts:
        start %= len(data) + 1
        taken = data[start : start + length]
        middle = inserted if inserted is not None else taken * 2 if doubled else b""
        data = data[:start] + middle + data[start + length :]
    judge(data)


@settings(max_examples=20)
@given(frame=requests | replies)
def test_a_frame_cut_anywhere_is_a_bad_frame(frame: Request | Reply) -> None:
    data = encode(frame).encode()
    decode = decode_request if isinstance(frame, Request) else decode_reply
    for end in range(len(data)):
        with pytest.raises(BadFrame):
            decode(data[:end])


@settings(max_examples=100)
@given(
    frame=requests,
    pick=st.integers(0, 99),
    blank=st.sampled_from(["", " ", "\n"]),
    escaped=st.booleans(),
)
def test_any_known_key_given_twice_is_a_bad_frame(
    frame: AnyRequest, pick: int, blank: str, escaped: bool
) -> None:
    text = encode(frame)
    fields = json.loads(text)
    name = sorted(fields)[pick % len(fields)]
    key = f'"\\u{ord(name[0]):04x}{name[1:]}"' if escaped else f'"{name}"'
    twice = f"{text[:-1]},{blank}{key}{blank}:{blank}{json.dumps(fields[name])}}}"
    with pytest.raises(BadFrame):
        decode_request(twice)
