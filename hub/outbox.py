"""Frames that wait to be written to one peer, bounded (protocol 5.4).

A reply is always taken, since the next request waits until there is room again. A push
is dropped when the peer reads too slowly: the log in the store still has the message.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from hub.blobs import Download

MAX_PUSHES = 256
"""Pushes that wait for one peer (protocol 5.4)."""

MAX_BYTES = 1 << 20
"""Bytes that wait for one peer before pushes are dropped and requests wait."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A frame with messages of a room up to `seq`; once written they were delivered."""

    text: str
    room: int
    seq: int


Frame = str | Download | Handed


class Outbox:
    """A queue of frames for one connection."""

    def __init__(self) -> None:
        """Start empty."""
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
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

    def push(self, frame: Frame) -> bool:
        """Queue a frame unless too much is waiting already."""
        if len(self._frames) >= MAX_PUSHES or self._bytes >= MAX_BYTES:
            self.dropped += 1
            return False
        self._put(frame)
        return True

    async def wait_for_room(self) -> None:
        """Return when little enough is waiting to take one more request."""
        await self._room.wait()

    def let_pass(self) -> None:
        """Let whoever waits for room go on, because the hub stops."""
        self._room.set()

    async def next(self) -> Frame:
        """The frame to write next; `written` says that it was."""
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        return self._frames[0]

    def written(self) -> None:
        """Drop the frame that `next` gave."""
        self._bytes -= _size(self._frames.popleft())
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
        self._filled.set()
        self._empty.clear()
        if self._bytes >= MAX_BYTES:
            self._room.clear()


def _size(frame: Frame) -> int:
    match frame:
        case str():
            return len(frame)
        case Handed(text=text):
            return len(text)
        case Download(incoming=text):  # the blob itself waits on disk
            return len(text)
