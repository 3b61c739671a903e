"""Frames that wait to be written to one peer, bounded (protocol 5.4).

A reply is always taken, since the next request waits until there is room again. A push
is dropped when the peer reads too slowly: the log in the store still has the message.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.blobs.folder import Download
from hub.quotas.memory import Memory

MAX_PUSHES = 256
"""Pushes that wait for one peer (protocol 5.4)."""

MAX_BYTES = 1 << 20
"""Bytes that wait for one peer before pushes are dropped and requests wait."""


@dataclass(slots=True)
class Handed:
    """A frame with messages of a room up to `seq`; once written they were delivered.

    One that is pushed waits in many outboxes, and its bytes count once.
    """

    text: bytes
    room: int = 0
    seq: int = 0
    outboxes: int = field(default=0, compare=False)


Text = bytes | Handed
"""A text frame, as UTF-8."""

Frame = Text | Download


class Outbox:
    """A queue of frames for one connection."""

    __slots__ = (
        *("_bytes", "_filled", "_frames", "_memory", "_passing", "_waiting"),
        "dropped",
    )

    def __init__(
        self, filled: Callable[[], None], memory: Memory | None = None
    ) -> None:
        """Start empty; `filled` is called for every frame that is put in.

        Args:
            memory: Where its bytes count beside those of all others.
        """
        self._memory = memory or Memory(0)
        # A list is short here, and an empty deque takes 760 bytes.
        self._frames: list[Frame] = []
        self._bytes = 0
        self._filled = filled
        self._passing = False
        self._waiting: asyncio.Future[None] | None = None
        self.dropped = 0

    @property
    def bytes_waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Whether too much is waiting to take one more request."""
        return self._bytes >= MAX_BYTES

    def reply(self, frame: Frame) -> None:
        """Queue a frame that must be written."""
        self._put(frame)

    def push(self, frame: Text) -> bool:
        """Queue a frame unless too much is waiting already."""
        if self._bytes >= MAX_BYTES or len(self._frames) >= MAX_PUSHES:
            self.dropped += 1
            return False
        self._put(frame)
        return True

    async def wait_for_room(self) -> None:
        """Return when little enough is waiting to take one more request."""
        while self._bytes >= MAX_BYTES and not self._passing:
            await self._written_some()

    def let_pass(self) -> None:
        """Let whoever waits for room go on, because the hub stops."""
        self._passing = True
        self._tell()

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
        for _ in range(count):
            self._drop()
        if self._waiting is not None:
            self._tell()

    def abandon(self) -> None:
        """Drop everything: the peer is gone."""
        while self._frames:
            self._drop()
        self._tell()

    async def wait_until_written(self) -> None:
        """Return when nothing waits any more."""
        while self._frames:
            await self._written_some()

    def _put(self, frame: Frame) -> None:
        size = _size(frame)
        self._frames.append(frame)
        self._bytes += size
        if type(frame) is Handed:
            frame.outboxes += 1
        if type(frame) is not Handed or frame.outboxes == 1:
            self._memory.take(size)
        self._filled()

    def _drop(self) -> None:
        if not self._frames:  # abandoned while the head was being written
            return
        frame = self._frames.pop(0)
        size = _size(frame)
        self._bytes -= size
        if type(frame) is Handed:
            frame.outboxes -= 1
        if type(frame) is not Handed or not frame.outboxes:
            self._memory.give(size)

    async def _written_some(self) -> None:
        # Made when it is needed: most connections never wait.
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting)

    def _tell(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _size(frame: Frame) -> int:
    if type(frame) is bytes:  # most are, and this is asked for each
        return len(frame)
    if isinstance(frame, Handed):
        return len(frame.text)
    if isinstance(frame, Download):
        return len(frame.incoming)  # the blob itself waits on disk
    return len(frame)
