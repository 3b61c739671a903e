"""Cutting whole text frames: only what is one, and only where a frame begins."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.server.text_frames import TextReader

TEXT, BINARY, PING, FIRST, MORE, LAST = 0x81, 0x82, 0x89, 0x01, 0x00, 0x80
MASK = bytes((1, 2, 3, 4))


def frame(payload: bytes, kind: int = TEXT, *, masked: bool = True) -> bytes:
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((kind, bit | size))
    elif size < 2**16:
        head = bytes((kind, bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((kind, bit | 127)) + size.to_bytes(8)
    if not masked:
        return head + payload
    hidden = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return head + MASK + hidden


@pytest.mark.parametrize("size", [0, 1, 125, 126, 700, 2**16 - 1, 2**16])
def test_one_whole_text_frame_is_read(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    reader = TextReader()
    assert reader.text(frame(payload)) == payload
    assert reader.text(frame(b"the next")) == b"the next"


@pytest.mark.parametrize(
    "data",
    [
        frame(b"x", BINARY),
        frame(b"x", PING),
        frame(b"x", FIRST),
        frame(b"x", MORE),
        frame(b"x", TEXT | 0x40),
        frame(b"x", masked=False),
        frame(b"x") + b"\x81",
        frame(b"x") * 2,
        frame(b"x" * 200)[:-1],
        frame(b"x" * 200)[:3],
        frame(b"x")[:1],
        b"",
    ],
    ids=repr,
)
def test_all_else_is_for_the_library(data: bytes) -> None:
    assert TextReader().text(data) is None


@given(
    st.lists(
        st.builds(
            frame,
            st.binary(max_size=300),
            st.sampled_from([TEXT, BINARY, PING, FIRST, LAST]),
        ),
        max_size=5,
    ),
    st.lists(st.integers(0, 2000), max_size=6),
)
def test_it_knows_where_a_frame_begins_however_bytes_are_cut(
    frames: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(frames)
    ends = {0}
    for one in frames:
        ends.add(max(ends) + len(one))
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = TextReader()
    for start, end in pairwise(places):
        reader.pass_on(data[start:end])
        text = reader.text(frame(b"whole"))
        assert (text == b"whole") == (end in ends)
