"""A lean agent for load: its own WebSocket framing, messages signed beforehand.

It shares the wire's types and the signing with the product, but none of the client
library, so that the generator is not what is measured. It trusts the hub.
"""

import asyncio
import base64
import itertools
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from bench._hub_process import WAIT_SECS
from parler.identity.message_signing import sign_parts
from parler.identity.signing import Keypair
from parler.wire.base import RoomName
from parler.wire.parts import TextPart
from parler.wire.records import RoomTarget

CLIENT_ID_LENGTH = 36

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_PIECES = {0x02: False, 0x00: False, 0x80: True, 0x82: True}
"""Kinds of frames that carry binary messages; whether they end one."""

BINARY = 0x82
_NO_MASK = bytes(4)
_ENTRIES_PER_ADDRESS = 25
"""Rooms entered from one address: a hub counts them by address (protocol 14.6)."""

OnFrame = Callable[[bytes], None]
OnPiece = Callable[[bytes, bool], None]


class LoadFailed(RuntimeError):
    """The hub said something that stops the load; never a measured value."""


class Agent(asyncio.Protocol, AbstractAsyncContextManager["Agent"]):
    """One connection of one agent. Frames go to `on_frame`, at first into a queue."""

    def __init__(self, keypair: Keypair) -> None:
        """Use `connect` instead."""
        self.keypair = keypair
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._rest = b""
        self._upgraded = asyncio.Event()
        self._over = False
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.on_frame: OnFrame = self._waiting.put_nowait
        self._whole: asyncio.Future[int]
        self.on_piece: OnPiece | None = None
        """Takes the pieces of a binary message; True says that one was the last."""

    @classmethod
    async def connect(
        cls, url: str, keypair: Keypair, *, source: str | None = None
    ) -> "Agent":
        """Dial, upgrade, and pass the whole handshake (protocol 2.3)."""
        agent = cls(keypair)
        where = urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        async with asyncio.timeout(WAIT_SECS):
            await asyncio.get_running_loop().create_connection(
                lambda: agent,
                where.hostname,
                where.port,
                local_addr=None if source is None else (source, 0),
            )
            key = base64.b64encode(os.urandom(16)).decode()
            agent._transport.write(
                f"GET /ws HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await agent._upgraded.wait()
            await agent._introduce()
        return agent

    async def _introduce(self) -> None:
        hello = {"id": self.keypair.agent_id, "name": "load"}
        nonce = (await self.ask("challenge", "hello", **hello))["nonce"]
        proof = {"nonce": nonce, "sig": self.keypair.sign(nonce.encode())}
        await self.ask("welcome", "hello", **hello, **proof)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        # Closing resets: thousands of ports in TIME_WAIT would slow down what follows.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits; and the loop, if we did not hang up ourselves."""
        self._waiting.put_nowait(b"")
        self._upgraded.set()
        if not self._over:
            self._fail(LoadFailed("the hub closed a connection"))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Cut frames; a hub masks none, and fragments no text."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if not self._upgraded.is_set():
            at = self._read_upgrade(data)
            if not at:
                self._rest = data
                return
        while at + 2 <= end:
            kind, length, start = data[at], data[at + 1], at + 2
            if length > 125:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start])
            if start + length > end or start > end:
                break
            at = start + length
            self._take(kind, data[start:at])
        self._rest = data[at:]

    def _read_upgrade(self, data: bytes) -> int:
        head, found, _ = data.partition(b"\r\n\r\n")
        if not found:
            return 0
        if not head.startswith(b"HTTP/1.1 101"):
            self._fail(LoadFailed(f"no upgrade: {head[:200]!r}"))
        self._upgraded.set()
        return len(head) + 4

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            try:
                self.on_frame(payload)
            except LoadFailed as failure:
                self._fail(failure)
        elif kind == _CLOSE:
            self._transport.close()
        elif kind == _PING:
            self._transport.write(framed(payload, kind=_PONG))
        elif kind in _PIECES and self.on_piece is not None:
            self.on_piece(payload, _PIECES[kind])
        else:
            self._fail(LoadFailed(f"a frame of kind {kind:#x} was not expected"))

    def _fail(self, failure: LoadFailed) -> None:
        # Nobody awaits a callback: who started the load hears of it by the loop.
        context = {"message": str(failure), "exception": failure}
        asyncio.get_running_loop().call_exception_handler(context)

    # -- talking

    def expect_binary(self) -> None:
        """Count the pieces of the binary message that comes next."""
        whole: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        got = 0

        def take(piece: bytes, last: bool) -> None:
            nonlocal got
            got += len(piece)
            if last:
                whole.set_result(got)

        self.on_piece, self._whole = take, whole

    async def whole(self, size: int) -> None:
        """Return when that binary message has come.

        Raises:
            LoadFailed: It has another size.
        """
        if await self._whole != size:
            raise LoadFailed("a blob came in another size")

    def write(self, frame: bytes) -> None:
        """Write bytes that `framed` made."""
        self._transport.write(frame)

    def stop_reading(self) -> None:
        """Take nothing from the hub any more, and let little wait in between."""
        self._transport.pause_reading()
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )

    async def next(self) -> dict[str, Any]:
        """The next frame of the queue.

        Raises:
            LoadFailed: The connection ended instead.
        """
        frame = await self._waiting.get()
        if not frame:
            raise LoadFailed("the hub closed the connection")
        answer: dict[str, Any] = msgspec.json.decode(frame)
        return answer

    async def ask(self, expected: str, op: str, **fields: Any) -> dict[str, Any]:
        """Ask and return the reply, which must be of the expected type.

        Raises:
            LoadFailed: It is another, or none comes.
        """
        self.write(framed(msgspec.json.encode({"op": op, **fields})))
        async with asyncio.timeout(WAIT_SECS):
            answer = await self.next()
        if answer["type"] != expected:
            raise LoadFailed(f"{op!r} was answered by {answer}")
        return answer

    async def __aexit__(self, *exc: object) -> None:
        """Hang up without a word."""
        self._over = True
        self._transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECS):
                await asyncio.shield(self.closed)


class Messages:
    """One agent's messages to one room as finished frames, alike but for the clientId.

    One signature serves all: a hub verifies none, and takes each for a new message.
    """

    def __init__(self, keypair: Keypair, room: RoomName, *, text_bytes: int) -> None:
        """Sign a text of that many bytes."""
        target = RoomTarget(room=room)
        parts = sign_parts(
            keypair,
            target,
            [TextPart(text="x" * text_bytes)],
            ts=1_700_000_000_000,
            uid="00000000-0000-4000-8000-000000000000",
        )
        blank = "#" * CLIENT_ID_LENGTH
        frame = {"op": "send", "target": target, "parts": parts, "clientId": blank}
        whole = framed(msgspec.json.encode({**frame, "rid": "1"}))
        self.frame_bytes = len(whole)
        self._head, self._tail = whole.split(blank.encode())
        self._numbers = itertools.count(secrets.randbits(64))  # never sent before

    def next(self) -> bytes:
        """The next message, ready to be written."""
        number = b"%0*d" % (CLIENT_ID_LENGTH, next(self._numbers))
        return self._head + number + self._tail


def framed(payload: bytes, *, kind: int = _TEXT) -> bytes:
    """A client's WebSocket frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = bytes((kind, 0x80 | size))
    elif size < 2**16:
        head = bytes((kind, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((kind, 0x80 | 127)) + size.to_bytes(8)
    return head + _NO_MASK + payload


def expect(frame: bytes, kind: str) -> None:
    """Hold a reply against its expected type without decoding it.

    Raises:
        LoadFailed: It is another.
    """
    if f'"type":"{kind}"'.encode() not in frame[:100]:
        raise LoadFailed(f"expected {kind!r}, got {frame[:300]!r}")


def sources() -> Iterator[str]:
    """Addresses of this machine to dial from, each often enough but not too often."""
    for number in itertools.count():
        yield from itertools.repeat(
            f"127.0.{number // 250}.{number % 250 + 1}", _ENTRIES_PER_ADDRESS
        )


async def open_room(
    url: str, room: str, owner: Keypair, others: Iterable[Keypair], froms: Iterator[str]
) -> RoomName:
    """Make a room of `owner` that `others` are members of."""
    async with await Agent.connect(url, owner, source=next(froms)) as agent:
        invited = await agent.ask(
            "invited", "invite", kind="channel", room=room, maxUses=100_000
        )
    for keypair in others:
        async with await Agent.connect(url, keypair, source=next(froms)) as agent:
            await agent.ask("joined", "redeem", code=invited["code"])
    return RoomName(invited["room"])
