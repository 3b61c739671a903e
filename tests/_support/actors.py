"""Agents as operations see them: real client, real hub, pipes in memory between."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from parler.client.client import connect
from parler.identity.identity import ensure_identity
from parler.identity.known_rooms import KnownRooms
from parler.ops.context import OpContext
from parler.sealed.sealing import SealedRooms
from tests._support.memory_hub import MemoryHub, MemoryTransport, memory_hub

HUB = "ws://127.0.0.1:7070"


class _Pipe:
    """The client's end of a pipe whose other end a hub reads."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    async def send(self, text: str) -> None:
        self._transport.to_hub.put_nowait(text)

    async def send_bytes(self, data: bytes, progress: Callable[[int], None]) -> None:
        self._transport.to_hub.put_nowait(data)
        progress(len(data))

    async def receive(
        self, progress: Callable[[int], None] | None = None
    ) -> str | bytes:
        data = await self._transport.from_hub.get()
        if progress is not None and isinstance(data, bytes):
            progress(len(data))
        return data

    async def close(self) -> None:
        self._transport.gone = True
        self._transport.to_hub.put_nowait(None)


class Stage:
    """A hub, and the agents that are connected to it."""

    def __init__(self, hub: MemoryHub, folder: Path, stack: AsyncExitStack) -> None:
        self.hub = hub
        self._folder = folder
        self._stack = stack

    async def enter(
        self,
        name: str,
        role: str | None = None,
        *,
        home: Path | None = None,
        hub: str = HUB,
    ) -> OpContext:
        """Connect a new agent with a home of its own, or the one of a home.

        Args:
            hub: How it spells the address.
        """
        home = home or self._folder / f"home-{name}-{len(self.hub.tasks)}"
        identity, _ = ensure_identity(home, hub_url=hub, name=name, role=role)

        async def dial(url: str) -> _Pipe:
            return _Pipe(self.hub.dial().transport)

        sealing = SealedRooms(identity, KnownRooms(home), hub=hub, now=self.hub.clock)
        self._stack.callback(sealing.close)
        client = await self._stack.enter_async_context(
            connect(
                hub, identity.keypair, name=name, role=role, sealing=sealing, dial=dial
            )
        )
        return OpContext(
            client=client,
            identity=identity,
            hub=hub,
            known_rooms=KnownRooms(home),
            now=self.hub.clock,
        )


@asynccontextmanager
async def stage(folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A hub to play on; everybody leaves before it ends."""
    async with memory_hub(folder, **settings) as hub, AsyncExitStack() as stack:
        yield Stage(hub, folder, stack)
