"""Frames that wait to be written to one peer, bounded (protocol 5.4).

A reply is always taken, since the next request waits until there is room again. A push
is dropped when the peer reads too slowly: the log in the store still has the message.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from hub.blobs import Download

MAX_PUSHES = 256
"""Pushes that wait for one peer (protocol 5.4)."""

MAX_BYTES = 1 << 20
"""Bytes that wait for one peer before pushes are dropped and requests wait."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A frame with messages of a room up to `seq`; once written they were delivered."""

    text: bytes
    room: int
    seq: int


Text = bytes | Handed
"""A text frame, as UTF-8."""

Frame = Text | Download


class Outbox:
    """A queue of frames for one connection."""

    def __init__(self, filled: Callable[[], None]) -> None:
        """Start empty; `filled` is called for every frame that is put in."""
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._filled = filled
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.dropped = 0

    @property
    def bytes_waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes

    def reply(self, frame: Frame) -> None:
        """Queue a frame that must be written."""
        self._put(frame)

    def push(self, frame: Text) -> bool:
        """Queue a frame unless too much is waiting already."""
        if len(self._frames) >= MAX_PUSHES or self._bytes >= MAX_BYTES:
            self.dropped += 1
            return False
        self._put(frame)
        return True

    async def wait_for_room(self) -> None:
        """Return when little enough is waiting to take one more request."""
        if self._bytes >= MAX_BYTES:
            await self._room.wait()

    def let_pass(self) -> None:
        """Let whoever waits for room go on, because the hub stops."""
        self._room.set()

    def head(self) -> Frame | None:
        """The frame to write next; `written` says that it was."""
        return self._frames[0] if self._frames else None

    def texts(self, limit: int) -> list[Text]:
        """The frames to write next as far as they are texts, about `limit` bytes.

        `written` says that they were.
        """
        found: list[Text] = []
        size = 0
        for frame in self._frames:
            if size >= limit or isinstance(frame, Download):
                break
            found.append(frame)
            size += _size(frame)
        return found

    def written(self, count: int = 1) -> None:
        """Drop so many frames from the head."""
        self._bytes -= sum(map(_size, islice(self._frames, count)))
        for _ in range(count):
            self._frames.popleft()
        if self._bytes < MAX_BYTES:
            self._room.set()
        if not self._frames:
            self._empty.set()

    def abandon(self) -> None:
        """Drop everything: the peer is gone."""
        self._frames.clear()
        self._bytes = 0
        self._room.set()
        self._empty.set()

    async def wait_until_written(self) -> None:
        """Return when nothing waits any more."""
        await self._empty.wait()

    def _put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._bytes += _size(frame)
        self._empty.clear()
        if self._bytes >= MAX_BYTES:
            self._room.clear()
        self._filled()


def _size(frame: Frame) -> int:
    if isinstance(frame, bytes):
        return len(frame)
    if isinstance(frame, Handed):
        return len(frame.text)
    return len(frame.incoming)  # the blob itself waits on disk
