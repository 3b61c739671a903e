"""What a peer said and nobody has worked off: counted, and bounded by reading no more.

Beside it what is being worked off at once, which holds back what must wait for it.
"""

import asyncio
from dataclasses import dataclass

from hub.errors import Refusal
from hub.quotas.memory import Memory
from hub.server.transport import Transport
from parler.wire.limits import MAX_IN_FLIGHT

MAX_UNREAD = 2**20
"""Characters of frames that wait to be worked off before reading pauses."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that was refused and is to be answered in its turn."""

    refusal: Refusal
    rid: str | None


class Inbox:
    """Frames in their order, for one who takes them."""

    __slots__ = ("_arrived", "_frames", "_memory", "_reading", "_transport", "_unread")

    def __init__(self, transport: Transport, memory: Memory) -> None:
        """Start empty.

        Args:
            transport: Is paused while too much waits.
            memory: Where their bytes count beside those of all others.
        """
        self._transport = transport
        self._memory = memory
        # A list is short here, and an empty deque takes 760 bytes.
        self._frames: list[str | bytes | Refused] = []
        self._unread = 0
        self._arrived: asyncio.Future[None] | None = None
        self._reading = True

    @property
    def is_awaited(self) -> bool:
        """Whether nothing waits, and somebody waits for the next frame."""
        return self._arrived is not None and not self._arrived.done()

    def put(self, data: str | bytes) -> None:
        """Queue what the peer said."""
        self._frames.append(data)
        self._unread += len(data)
        self._memory.take(len(data))

    def refuse(self, refused: Refused, *, next_of_all: bool = False) -> None:
        """Queue the answer to something that is not kept."""
        if next_of_all:
            self._frames.insert(0, refused)
        else:
            self._frames.append(refused)

    def pause(self) -> None:
        """Let the peer say no more if too much waits."""
        if self._reading and self._is_behind():
            self._reading = False
            self._transport.pause_reading()

    def wake(self) -> None:
        """Have whoever waits look again."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def arrival(self) -> bool:
        """Whether something waits; if not, return at the next `wake`."""
        if self._frames:
            return True
        self._arrived = asyncio.get_running_loop().create_future()
        await self._arrived
        return False

    def take(self) -> tuple[str | bytes | Refused, int]:
        """The first frame, and the bytes to give back once it is worked off."""
        data = self._frames.pop(0)
        size = 0 if isinstance(data, Refused) else len(data)
        self._unread -= size
        if not (self._reading or self._is_behind()):
            self._reading = True
            self._transport.resume_reading()
        return data, size

    def drop(self) -> None:
        """Let go of all that waits."""
        self._frames.clear()
        self._memory.give(self._unread)
        self._unread = 0

    def _is_behind(self) -> bool:
        return len(self._frames) >= MAX_IN_FLIGHT or self._unread > MAX_UNREAD


class InFlight:
    """How many requests are under way, and how many of them are sends on their own."""

    __slots__ = ("_count", "_landed", "_sends")

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._sends = 0
        self._landed: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more may be begun."""
        return self._count >= MAX_IN_FLIGHT

    def begin(self, *, send: bool = False) -> None:
        """Count one more."""
        self._count += 1
        self._sends += send

    def land(self, *, send: bool = False) -> None:
        """Count one less."""
        self._count -= 1
        self._sends -= send
        if self._landed is not None and not self._landed.done():
            self._landed.set_result(None)

    async def until(
        self, *, most: int = MAX_IN_FLIGHT, sends: int = MAX_IN_FLIGHT
    ) -> None:
        """Return when so few are under way."""
        while self._count > most or self._sends > sends:
            self._landed = asyncio.get_running_loop().create_future()
            await self._landed
