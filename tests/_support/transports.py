"""Pipes in memory, and a peer that plays the hub frame by frame.

`Wire` hands one end of each pipe to the client under test and the other to the test,
which says and hears whole frames. Every wait is bounded.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import msgspec

from parler.client.client import Client, connect
from parler.client.transport import Transport, TransportClosed
from parler.errors import ConnectFailed
from parler.identity.signing import Keypair, verify
from parler.wire import replies, requests
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.codec import decode_request, encode
from parler.wire.records import EndpointRef, StoredMessage
from parler.wire.requests import AnyRequest, Subscribe
from tests._support.polling import WAIT

NONCE = "parler-auth:v1:0123456789ab:1700000000000:7e0bd52e-6c1c-4a44-9d3e-2f24b6c3a111"
ME = Keypair(b"m" * 32)
HUB = "ws://127.0.0.1:1/ws"

Frame = TypeVar("Frame", bound=requests.Request)
Data: TypeAlias = str | bytes


class MemoryTransport:
    """One end of a pipe in memory; the other end is `other`."""

    def __init__(self) -> None:
        self.other: MemoryTransport = self
        self.sent: list[str] = []
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._ended = False

    async def send(self, text: str | bytes) -> None:
        """Give a frame to the other end."""
        if self._ended or self.other._ended:
            raise TransportClosed("the pipe was closed")
        if isinstance(text, str):
            self.sent.append(text)
        self.other._inbox.put_nowait(text)

    async def send_bytes(self, data: bytes, progress: Callable[[int], None]) -> None:
        """Give a binary message to the other end."""
        await self.send(data)
        progress(len(data))

    async def receive(self, progress: Callable[[int], None] | None = None) -> Data:
        """Take the next frame; what was sent before the end still arrives."""
        if self._ended:
            raise TransportClosed("the pipe was closed")
        data = await self._inbox.get()
        if data is None:
            self._inbox.put_nowait(None)
            raise TransportClosed("the other end closed the pipe")
        if progress is not None and isinstance(data, bytes):
            progress(len(data))
        return data

    async def close(self) -> None:
        """End both directions."""
        if not self._ended:
            self._ended = True
            self.other._inbox.put_nowait(None)
            self._inbox.put_nowait(None)


def memory_pair() -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends of one pipe."""
    one, other = MemoryTransport(), MemoryTransport()
    one.other, other.other = other, one
    return one, other


class Peer:
    """The hub's end of one connection, played by a test."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport

    async def hears(self, kind: type[Frame]) -> Frame:
        """The next frame, which must be of that kind."""
        frame = await self.hears_anything()
        assert isinstance(frame, kind), f"heard {frame}"
        return frame

    async def hears_anything(self) -> AnyRequest:
        """The next frame."""
        async with asyncio.timeout(WAIT):
            text = await self.transport.receive()
        return decode_request(text)

    async def hears_bytes(self) -> bytes:
        """The next frame, which must be binary."""
        async with asyncio.timeout(WAIT):
            data = await self.transport.receive()
        assert isinstance(data, bytes), f"heard {data}"
        return data

    async def says(self, frame: replies.Reply, *, to: object = None) -> None:
        """Send a frame; `to` a request is with its rid."""
        rid = getattr(to, "rid", None)
        await self.says_text(encode(msgspec.structs.replace(frame, rid=rid)))

    async def says_text(self, text: str | bytes) -> None:
        """Send anything."""
        await self.transport.send(text)

    async def admits(self, *features: str, nonce: str = NONCE) -> requests.Hello:
        """Play the handshake; returns the proof, which was verified."""
        hello = await self.hears(requests.Hello)
        assert hello.sig is None
        assert hello.secret is None
        await self.says(replies.Challenge(nonce=nonce, version="0.2"))
        proof = await self.hears(requests.Hello)
        assert proof.nonce == nonce
        assert verify(proof.id, nonce.encode(), proof.sig or "")
        await self.says(
            replies.Welcome(
                id=proof.id, name=proof.name, features=list(features) or None
            )
        )
        return proof

    async def drops(self) -> None:
        """End the connection without a word."""
        await self.transport.close()

    async def sees_the_end(self) -> list[AnyRequest]:
        """Wait until the client closes; returns what it still said."""
        heard: list[AnyRequest] = []
        async with asyncio.timeout(WAIT):
            while True:
                try:
                    heard.append(decode_request(await self.transport.receive()))
                except TransportClosed:
                    return heard


class Wire:
    """Pass its `dial` to `connect`; every connection appears in `peer`."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.failures: deque[str] = deque()
        """Reasons for which the next dials fail, in order."""

        self._peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def dial(self, url: str) -> Transport:
        """Make a pipe, or fail as told."""
        self.dialled.append(url)
        if self.failures:
            raise ConnectFailed(url, self.failures.popleft())
        ours, theirs = memory_pair()
        self._peers.put_nowait(Peer(theirs))
        return ours

    async def peer(self) -> Peer:
        """The hub's end of the next connection."""
        async with asyncio.timeout(WAIT):
            return await self._peers.get()

    async def admitted(self, *features: str, subscribes: bool = False) -> Peer:
        """The hub's end of the next connection, after the handshake."""
        peer = await self.peer()
        await peer.admits(*features)
        if subscribes:
            await peer.says(replies.Subscribed(), to=await peer.hears(Subscribe))
        return peer


@asynccontextmanager
async def connected(
    wire: Wire, *features: str, **options: Any
) -> AsyncIterator[tuple[Client, Peer]]:
    """A client and the hub's end of its first connection."""
    subscribes = bool(options.get("events"))
    options = {"heartbeat": None, "fraction": lambda: 0.0} | options
    block = connect(HUB, ME, name="me", dial=wire.dial, **options)
    async with asyncio.TaskGroup() as group:
        admitting = group.create_task(wire.admitted(*features, subscribes=subscribes))
        client = await block.__aenter__()
    try:
        yield client, admitting.result()
    finally:
        await block.__aexit__(None, None, None)


async def refusal_of(awaitable: Awaitable[object]) -> BaseException:
    """What a call fails with."""
    async with asyncio.timeout(WAIT):
        result = (await asyncio.gather(awaitable, return_exceptions=True))[0]
    assert isinstance(result, BaseException), f"it returned {result}"
    return result


def stored(
    seq: int,
    *,
    room: str = "den",
    author: str = "A" * 56,
    parts: bytes | msgspec.Raw = b'[{"kind":"text","text":"hi"}]',
) -> StoredMessage:
    """A message as a hub would hand it out."""
    return StoredMessage(
        seq=seq,
        id=MessageId(f"0190-{seq}"),
        room=RoomName(room),
        author=EndpointRef(id=AgentId(author), name="ann"),
        parts=msgspec.Raw(bytes(parts)),
        ts=1_700_000_000_000 + seq,
    )
