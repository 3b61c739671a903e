"""Cutting whole text frames out of what a client sent (RFC 6455 5.2).

Most of what a hub is sent is one small masked text frame in one read; `TextReader`
knows those and leaves everything else to the WebSocket library, as long as it knows
where that library stands. It decides nothing: what is odd in any way is not for it.
"""

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it was not compiled
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0x81
_MASKED = 0x80
_MASK_BYTES = 4


class TextReader:
    """Follows the frames of one client, so as to know where one begins."""

    __slots__ = ("_head", "_missing")

    def __init__(self) -> None:
        """Begin at the beginning of a frame."""
        self._missing = 0
        self._head = b""

    def text(self, data: bytes) -> bytes | None:
        """The payload, if this is exactly one whole text frame; else `pass_on` it."""
        if self._missing or self._head or len(data) < 2 or data[0] != _WHOLE_TEXT:
            return None
        start, size = _frame(data, 0)
        if not size or size != len(data) or not data[1] & _MASKED:
            return None
        return apply_mask(data[start:], data[start - _MASK_BYTES : start])

    def is_within(self, data: bytes) -> bool:
        """Whether all of these bytes belong to a frame that began before."""
        return self._missing >= len(data)

    def pass_on(self, data: bytes) -> None:
        """Note bytes that are given to the library."""
        if self._missing >= len(data):
            self._missing -= len(data)
            return
        data, at = self._head + data, self._missing  # one of the two is nothing
        self._missing, self._head = 0, b""
        while at < len(data):
            _, size = _frame(data, at)
            if not size:
                self._head = data[at:]
                return
            at += size
        self._missing = at - len(data)


def _frame(data: bytes, at: int) -> tuple[int, int]:
    """Where a frame's payload begins, and how long the frame is; 0 if unknown yet."""
    if len(data) - at < 2:
        return 0, 0
    length, start = data[at + 1] & 0x7F, at + 2
    if length > 125:
        start += 2 if length == 126 else 8
        if len(data) < start:
            return 0, 0
        length = int.from_bytes(data[at + 2 : start])
    if data[at + 1] & _MASKED:
        start += _MASK_BYTES
    return start, start + length - at
