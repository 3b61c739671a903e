"""The real hub, connections and database, with agents on pipes in memory.

Everything but the socket is the product's own code. The test plays the agents: it says
and hears whole frames. Every wait is bounded, and none is a sleep.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("resource", reason="a hub needs POSIX")

from hub.app import Hub
from hub.connection.connection import Connection
from hub.server.transport import Receiver
from hub.settings import Settings
from parler.identity.signing import Keypair
from parler.wire.codec import decode_reply, encode
from parler.wire.replies import (
    AnyReply,
    Challenge,
    Delivery,
    Error,
    Event,
    Reply,
    Welcome,
)
from parler.wire.requests import Hello, Request
from tests._support.polling import WAIT

NOON_MS = 1_700_000_000_000

R = TypeVar("R", bound=Reply)


class Clock:
    """Epoch milliseconds that only the test moves."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


class ToHub:
    """What a peer said and the hub has not taken; None is that it hung up."""

    def __init__(self) -> None:
        self._waiting: deque[str | bytes | None] = deque()
        self._receiver: Receiver | None = None
        self._paused = False

    def put_nowait(self, data: str | bytes | None) -> None:
        """Say something."""
        self._waiting.append(data)
        self.pump()

    def qsize(self) -> int:
        """How much the hub has not taken."""
        return len(self._waiting)

    def start(self, receiver: Receiver) -> None:
        """Let it be taken."""
        self._receiver = receiver
        self.pump()

    def pause(self, paused: bool) -> None:
        """Let nothing be taken for now, but for the news that the peer hung up."""
        self._paused = paused
        self.pump()

    def pump(self) -> None:
        """Hand over what may be handed over."""
        while self._receiver is not None and self._waiting:
            if self._waiting[-1] is None:
                self._waiting.clear()
                self._receiver.lost()
            elif self._paused:
                return
            elif (data := self._waiting.popleft()) is not None:
                self._receiver.received(data)


class MemoryTransport:
    """The hub's end of a pipe; the test holds the other through `Peer`."""

    def __init__(self) -> None:
        self.to_hub = ToHub()
        self.from_hub: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False
        self.stopped = 0.0
        self._pieces = b""
        self.closed: asyncio.Future[tuple[int, str]] = (
            asyncio.get_running_loop().create_future()
        )

    @property
    def writable(self) -> bool:
        """Whether the peer reads."""
        return self.reading.is_set()

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer reads nothing."""
        return None if self.reading.is_set() else self.stopped

    def trust(self) -> None:
        """A pipe in memory takes messages of any size."""

    def abort(self) -> None:
        """Drop the connection."""
        self.gone = True
        self.reading.set()
        self.to_hub.put_nowait(None)

    def start(self, receiver: Receiver) -> None:
        """Give the hub what the peer says."""
        self.to_hub.start(receiver)

    def pause_reading(self) -> None:
        """Let what the peer says wait."""
        self.to_hub.pause(True)

    def resume_reading(self) -> None:
        """Give the hub what waits."""
        self.to_hub.pause(False)

    def write(self, texts: Sequence[bytes]) -> None:
        """Hand frames to the peer."""
        for text in texts:
            self._deliver(text.decode())

    async def wait_writable(self) -> None:
        """Return as soon as the peer reads."""
        await self.reading.wait()
        if self.gone:
            raise ConnectionError("the peer is gone")

    async def send_fragment(self, data: bytes, *, first: bool, last: bool) -> None:
        """Take a piece of a binary message; the last one makes it whole."""
        self._pieces = data if first else self._pieces + data
        if last:
            await self.wait_writable()
            self._deliver(self._pieces)

    def accept_binary(self, max_bytes: int) -> None:
        """A pipe in memory takes messages of any size."""

    async def close(self, code: int, reason: str) -> None:
        """Note how the hub said goodbye."""
        if not self.closed.done():
            self.closed.set_result((code, reason))

    def _deliver(self, data: str | bytes) -> None:
        if self.gone:
            raise ConnectionError("the peer is gone")
        self.from_hub.put_nowait(data)


class Peer:
    """The agent's end of one connection."""

    def __init__(
        self, transport: MemoryTransport, connection: Connection, keypair: Keypair
    ) -> None:
        self.transport = transport
        self.connection = connection
        self.keypair = keypair
        self.id = keypair.agent_id
        self.deliveries: list[Delivery] = []
        self.events: list[Event] = []

    def says(self, frame: Request | str | bytes) -> None:
        """Send a frame; does not wait for anything."""
        data = encode(frame) if isinstance(frame, Request) else frame
        self.transport.to_hub.put_nowait(data)

    def hangs_up(self) -> None:
        """Go away without a word."""
        self.transport.gone = True
        self.transport.reading.set()
        self.transport.to_hub.put_nowait(None)

    def stops_reading(self) -> None:
        """Take nothing from the hub any more."""
        self.transport.stopped = asyncio.get_running_loop().time()
        self.transport.reading.clear()

    def reads_on(self) -> None:
        """Take what the hub says again."""
        self.transport.reading.set()

    async def hears_anything(self) -> AnyReply:
        """The next frame of any kind."""
        async with asyncio.timeout(WAIT):
            data = await self.transport.from_hub.get()
        return decode_reply(data)

    async def hears(self, kind: type[R]) -> R:
        """The next reply, which must be of that kind; pushes are put aside."""
        while True:
            frame = await self.hears_anything()
            if isinstance(frame, Delivery) and kind is not Delivery:
                self.deliveries.append(frame)
            elif isinstance(frame, Event) and kind is not Event:
                self.events.append(frame)
            else:
                assert isinstance(frame, kind), f"heard {frame}"
                return frame

    async def asks(self, request: Request, kind: type[R]) -> R:
        """Send a request and hear its answer."""
        self.says(request)
        return await self.hears(kind)

    async def asks_text(self, text: str, kind: type[R]) -> R:
        """Send a frame as it is and hear its answer."""
        self.says(text)
        return await self.hears(kind)

    async def is_refused(self, request: Request | str | bytes) -> str | None:
        """Send a frame that must be refused; returns the code."""
        self.says(request)
        return (await self.hears(Error)).code

    async def sees_close(self) -> tuple[int, str]:
        """Close code and reason of the hub's goodbye."""
        async with asyncio.timeout(WAIT):
            return await self.transport.closed

    async def proves(self, *, name: str = "ann", **fields: Any) -> Welcome:
        """Play the handshake."""
        hello = Hello(id=self.id, name=name, **fields)
        challenge = await self.asks(hello, Challenge)
        sig = self.keypair.sign(challenge.nonce.encode())
        hello = Hello(id=self.id, name=name, sig=sig, **fields)
        return await self.asks(hello, Welcome)

    @property
    def unread(self) -> int:
        """Frames from the hub that the test has not looked at."""
        return self.transport.from_hub.qsize()


@dataclass(frozen=True, slots=True)
class MemoryHub:
    """A hub without a socket."""

    hub: Hub
    clock: Clock
    group: asyncio.TaskGroup
    tasks: list[asyncio.Task[None]]

    def dial(
        self, keypair: Keypair | None = None, *, ip: str | None = "192.0.2.1"
    ) -> Peer:
        """Connect without a handshake."""
        transport = MemoryTransport()
        connection = Connection(self.hub.services, transport, ip)
        self.tasks.append(self.group.create_task(connection.serve()))
        return Peer(transport, connection, keypair or Keypair.generate())

    async def sign_in(
        self,
        name: str = "ann",
        keypair: Keypair | None = None,
        *,
        ip: str | None = "192.0.2.1",
        **fields: Any,
    ) -> Peer:
        """Connect and prove who it is."""
        peer = self.dial(keypair, ip=ip)
        await peer.proves(name=name, **fields)
        return peer


def hub_settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a hub for tests: a database in `folder`, no rates, no idling."""
    quiet = Settings(
        host="127.0.0.1",
        port=7070,
        db=folder / "hub.sqlite",
        idle_timeout_secs=0,
        max_ops_per_min=0,
        max_sends_per_min=0,
        max_room_sends_per_min=0,
        max_knocks_per_min=0,
        max_knocks_per_ip_per_min=0,
    )
    return replace(quiet, **changes)


@asynccontextmanager
async def memory_hub(folder: Path, **changes: Any) -> AsyncIterator[MemoryHub]:
    """Run a hub until the block ends; connections that are still open are cut."""
    clock = Clock()
    hub = Hub(hub_settings(folder, **changes), now=clock)
    hub.store.start()
    try:
        async with asyncio.TaskGroup() as group:
            running = MemoryHub(hub, clock, group, [])
            yield running
            for task in running.tasks:
                task.cancel()
    finally:
        await hub.store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something the hub does by itself has happened."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110  (it is no event of ours)
            await asyncio.sleep(0.001)  # others need the processor to get there
