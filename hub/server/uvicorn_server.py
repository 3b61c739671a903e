"""The server front: HTTP and WebSockets on one port, through uvicorn.

Everything that is particular to uvicorn and ASGI is here: `AsgiTransport` turns an
ASGI WebSocket into a `Transport`, and `serve` runs the server on a bound socket with
the settings that the protocol needs.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.frames import Frame
from websockets.protocol import State

from hub.quotas.memory import Memory
from hub.quotas.seats import Seat
from hub.server.http_driver import HttpDriver, TakeSeat
from hub.server.text_frames import TextReader
from hub.server.transport import Receiver
from parler.wire.codec import encode
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.limits import (
    DEFAULT_MAX_BLOB_BYTES,
    DEFAULT_MAX_TEXT_FRAME_BYTES,
)
from parler.wire.replies import Error

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


CLOSE_SECS = 3.0
"""How long a peer may take to read a goodbye before it is cut off."""

STALL_SECS = 60.0
"""How long a peer may read nothing while something waits for it (protocol 5.4)."""

SLICE_BYTES = 8192

LONG_BYTES = 64 * 1024
"""From here on a text is written as it is: to copy it takes longer than to write its
head alone."""

STRANGER_BYTES = 64 * 1024
"""What a message may have before the peer has proved who it is."""

MAX_UNTAKEN = 16
"""Messages that may wait before the application takes them."""

MAX_SCRAPS = 2000
"""Pings and pieces of messages in `SCRAPS_SECS`: 25 MiB in 16 KiB pieces fit."""

SCRAPS_SECS = 10.0

EXTENSION = "parler.driver"
"""Where a connection's driver is in its ASGI scope."""


class _NoQueue:
    """In place of a queue that nobody reads."""

    def put_nowait(self, message: object) -> None:
        """Drop what is for nobody."""


_NO_QUEUE: Any = _NoQueue()


class Driver(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket driver with what ASGI has no words for.

    Binary messages leave in fragments, and what a peer may make this process buffer
    is bounded by what was announced, not by the largest blob (protocol 1.5, 13.8).
    """

    max_text_bytes = DEFAULT_MAX_TEXT_FRAME_BYTES
    announced = 0
    trusted = False
    seat: Seat | None = None
    memory = Memory(0)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Start counting what is no message."""
        super().__init__(*args, **options)
        self.close_timeout = CLOSE_SECS
        self.writable = _Writable()  # type: ignore[assignment]  # as far as it is used
        self._scraps = 0
        self._scraps_since = self.loop.time()
        self._receiver: Receiver | None = None
        self._untaken: list[str | bytes] = []
        self._frames = TextReader()
        self._deadline: asyncio.TimerHandle | None = None
        self._unwritten = self._begun = 0
        self._unwritten_since = self._begun_since = 0.0
        self._held_back = self._behind = False

    def start(self, receiver: Receiver) -> None:
        """Give messages to `receiver` from now on, without ASGI in between."""
        self._receiver = receiver
        # What only ASGI and the upgrade need is a third of an idle connection.
        self.queue = _NO_QUEUE
        self.scope["headers"] = ()
        del self.request, self.response
        untaken, self._untaken = self._untaken, []
        for data in untaken:
            receiver.received(data)
        if self.disconnected or self.transport.is_closing():
            receiver.lost()
        elif not self.close_sent:
            self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        """Hand over a message that is complete."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        is_text = self.curr_msg_data_type == "text"
        message = self._as_text(data) if is_text else data
        if message is None:
            return
        if self._receiver is not None:
            self._receiver.received(message)
            return
        self._untaken.append(message)
        if len(self._untaken) >= MAX_UNTAKEN:
            self.transport.pause_reading()

    def handle_close(self, event: Frame) -> None:
        """Take the peer's goodbye."""
        super().handle_close(event)
        self._tell_lost()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice that the peer is gone."""
        super().connection_lost(exc)
        if self._deadline is not None:  # it would keep all of this alive
            self._deadline.cancel()
            self._deadline = None
        if self.seat is not None:
            self.seat.free()
        # All of this is one cycle, which may live for long.
        self.conn.reader.discard()
        self.frames = []
        self._count(unwritten=0, begun=0)
        self.memory.forget(self._take_more)
        self._tell_lost()

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        super().pause_writing()
        self._unwritten_since = self.loop.time()
        self._count(unwritten=self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The peer has read."""
        super().resume_writing()
        self._count(unwritten=0)

    @property
    def stalled_since(self) -> float | None:
        """Since when bytes wait for the peer to go on; None if none do."""
        since = []
        if self._unwritten:
            since.append(self._unwritten_since)
        if self._begun:
            since.append(self._begun_since)
        return min(since, default=None)

    def _count(self, *, unwritten: int | None = None, begun: int | None = None) -> None:
        before = self._unwritten + self._begun
        self._unwritten = self._unwritten if unwritten is None else unwritten
        if begun is not None:
            if not self._begun:
                self._begun_since = self.loop.time()
            self._begun = begun
        more = self._unwritten + self._begun - before
        if more > 0:
            self.memory.take(more)
        elif more < 0:
            self.memory.give(-more)

    def _tell_lost(self) -> None:
        if self._receiver is not None:
            self._receiver.lost()

    def write(self, texts: Sequence[bytes]) -> None:
        """Write text messages in one go; frames of a server carry no mask.

        Raises:
            ConnectionError: The peer is gone, or was told goodbye.
        """
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ConnectionError("the peer is gone")
        if len(texts) == 1:
            text = texts[0]
            if len(text) < LONG_BYTES:
                self.transport.write(_text_head(len(text)) + text)
            else:
                self.transport.write(_text_head(len(text)))
                self.transport.write(text)
            return
        pieces: list[bytes] = []
        for text in texts:
            pieces.append(_text_head(len(text)))
            pieces.append(text)
        self.transport.write(b"".join(pieces))

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket, unless they are too many of one kind.

        They are parsed in slices, so that a read full of the smallest frames there
        are cannot hold up everybody before it is noticed.
        """
        if len(data) <= SLICE_BYTES and self._takes_messages():
            payload = self._frames.text(data)
            if payload is not None:
                self._give_text(payload)
                return
        step = SLICE_BYTES
        if self.handshake_initiated:
            if self._frames.is_within(data):
                step = max(len(data), 1)
            self._frames.pass_on(data)
        for start in range(0, len(data), step):
            if self.transport.is_closing():
                return
            piece = data[start : start + step]
            waiting = len(self.conn.reader.buffer) + (self.conn.current_size or 0)
            text = self.max_text_bytes if self.trusted else STRANGER_BYTES
            allowed = max(2 * text, self.announced) + len(piece)
            if waiting > allowed:
                self._refuse_message()
                return
            super().data_received(piece)
        begun = len(self.conn.reader.buffer) + (self.conn.current_size or 0)
        if begun or self._begun:
            self._count(begun=begun)
            if begun and self.memory.is_full:
                self._held_back = True
                self._read_or_not()
                self.memory.resume_later(self._take_more)

    def _take_more(self) -> None:
        self._held_back = False
        self._read_or_not()

    def let_read(self, reads: bool) -> None:
        """Take messages from the peer, or none for now."""
        self._behind = not reads
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self.transport.is_closing():
            return
        if self._held_back or self._behind:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _takes_messages(self) -> bool:
        """Whether a whole message is given on, whatever the library knows besides."""
        return (
            self._receiver is not None
            and not self.close_sent
            and self.conn.state is State.OPEN
            and not self.conn.expect_continuation_frame
            and not self.transport.is_closing()
        )

    def _give_text(self, data: bytes) -> None:
        assert self._receiver is not None
        text = self._as_text(data)
        if text is not None:
            self._receiver.received(text)

    def _as_text(self, data: bytes) -> str | None:
        """A text message; with whoever sends no UTF-8 it is over (RFC 6455 8.1)."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.conn.fail(1007)
            self.handle_parser_exception()
            return None

    def handle_cont(self, event: Frame) -> None:
        """Take a continuation frame."""
        if self._is_one_too_many():
            return
        super().handle_cont(event)
        event.data = b""

    # The library's parser keeps a frame until the next one comes.

    def handle_text(self, event: Frame) -> None:
        """Take a text frame, and let go of its bytes."""
        super().handle_text(event)
        event.data = b""

    def handle_bytes(self, event: Frame) -> None:
        """Take a binary frame, and let go of its bytes."""
        super().handle_bytes(event)
        event.data = b""

    def handle_ping(self) -> None:
        """Answer a ping, unless the peer does not read what it is sent."""
        output = self.conn.data_to_send()
        if not self._is_one_too_many() and self.writable.is_set():
            self.transport.write(b"".join(output))

    def handle_pong(self, event: Frame) -> None:
        """Nobody asked for one."""
        self._is_one_too_many()

    def _is_one_too_many(self) -> bool:
        now = self.loop.time()
        if now - self._scraps_since > SCRAPS_SECS:
            self._scraps, self._scraps_since = 0, now
        self._scraps += 1
        if self._scraps <= MAX_SCRAPS:
            return False
        if not self.close_sent:
            self.conn.fail(1008, "too many frames that are no message")
            self.handle_parser_exception()
        return True

    def handle_parser_exception(self) -> None:
        """End the connection, also if the peer does not read the reason."""
        super().handle_parser_exception()
        self._tell_lost()
        self._abort_in_time()

    def _abort_in_time(self) -> None:
        if self._deadline is None and not self.disconnected:
            self._deadline = self.loop.call_later(CLOSE_SECS, self.abort)

    def abort(self) -> None:
        """Drop the connection with all that was not written."""
        if not self.disconnected:
            self.transport.abort()

    def _refuse_message(self) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        error = Error(
            message=foreign("the message is too large"), code=ErrorCode.TOO_LARGE
        )
        if self.handshake_complete and not self.conn.expect_continuation_frame:
            self.conn.send_text(encode(error).encode())
        self.conn.fail(1009, "message too large")
        self.handle_parser_exception()

    async def run_asgi(self) -> None:
        """Show the application this driver, then run it."""
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[EXTENSION] = self
        try:
            await super().run_asgi()
        finally:
            # Closing waits for a peer to read what is left; it need not for ever.
            self._abort_in_time()

    async def send(self, message: Any) -> None:
        """Send what the application says, in fragments if it says so."""
        if "fragment" not in message:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        if message["first"]:
            self.conn.send_binary(message["fragment"], fin=message["last"])
        else:
            self.conn.send_continuation(message["fragment"], fin=message["last"])
        self.transport.write(b"".join(self.conn.data_to_send()))


class _Writable:
    """As `asyncio.Event`, set at first; it keeps a queue only for who waits."""

    __slots__ = ("_is_set", "_waited")

    def __init__(self) -> None:
        self._is_set = True
        self._waited: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._waited is not None:
            self._waited.set()
            self._waited = None

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        if not self._is_set:
            if self._waited is None:
                self._waited = asyncio.Event()
            await self._waited.wait()


class AsgiTransport:
    """A `Transport` over an ASGI WebSocket that was accepted."""

    def __init__(self, scope: Message, send: Send) -> None:
        """Take what ASGI gives an application, and the driver behind it."""
        self._driver: Driver = scope["extensions"][EXTENSION]
        self._send = send
        self._gone = False

    @property
    def writable(self) -> bool:
        """Whether the peer reads fast enough to be sent more."""
        return self._driver.writable.is_set()

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer does not go on, in reading or with a message."""
        return self._driver.stalled_since

    def trust(self) -> None:
        """Let messages have their full size."""
        self._driver.trusted = True
        if self._driver.seat is not None:
            self._driver.seat.settle()

    def abort(self) -> None:
        """Drop the connection with all that was not written."""
        self._driver.abort()

    def start(self, receiver: Receiver) -> None:
        """Give what comes to `receiver` from now on, and what came already."""
        self._driver.start(receiver)

    def pause_reading(self) -> None:
        """Take nothing more from the peer until `resume_reading`."""
        self._driver.let_read(False)

    def resume_reading(self) -> None:
        """Take messages again."""
        self._driver.let_read(True)

    def write(self, texts: Sequence[bytes]) -> None:
        """Write text messages at once and in order.

        Raises:
            ConnectionError: The peer is gone.
        """
        self._driver.write(texts)

    async def wait_writable(self) -> None:
        """Return when the peer has read enough to be sent more.

        Raises:
            ConnectionError: The peer is gone, or reads nothing.
        """
        try:
            async with asyncio.timeout(STALL_SECS):
                await self._driver.writable.wait()
        except TimeoutError:
            self._driver.abort()
            raise ConnectionError("the peer reads nothing") from None

    async def send_fragment(self, data: bytes, *, first: bool, last: bool) -> None:
        """Write a piece of one binary message.

        Raises:
            ConnectionError: The peer is gone.
        """
        await self._deliver(
            {"type": "websocket.send", "fragment": data, "first": first, "last": last}
        )

    def accept_binary(self, max_bytes: int) -> None:
        """Let the next message have so many bytes."""
        self._driver.announced = max_bytes

    async def close(self, code: int, reason: str) -> None:
        """Close; a peer that is already gone is no error."""
        self.resume_reading()  # its own goodbye shall be heard
        try:
            async with asyncio.timeout(CLOSE_SECS):
                await self._deliver(
                    {"type": "websocket.close", "code": code, "reason": reason}
                )
        except (ConnectionError, TimeoutError):
            self._driver.abort()
        self._gone = True

    async def _deliver(self, message: Message) -> None:
        if self._gone:
            raise ConnectionError("the peer is gone")
        try:
            if not self._driver.writable.is_set():
                await self.wait_writable()
            await self._send(message)
        except (OSError, RuntimeError) as error:  # what uvicorn raises then
            raise ConnectionError("the peer is gone") from error


def _text_head(size: int) -> bytes:
    """The header of a whole text frame of a server (RFC 6455 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2)
    return b"\x81\x7f" + size.to_bytes(8)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the hub decides when it stops."""

    def capture_signals(self) -> Any:
        """Leave the signals alone."""
        return _Nothing()


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 picks a free one.

    Raises:
        OSError: The address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def make_server(
    app: AsgiApp,
    *,
    max_blob_bytes: int = DEFAULT_MAX_BLOB_BYTES,
    max_text_bytes: int = DEFAULT_MAX_TEXT_FRAME_BYTES,
    take_seat: TakeSeat | None = None,
    memory: Memory | None = None,
) -> uvicorn.Server:
    """A server for `app` with what protocol 1 asks of the transport.

    Args:
        take_seat: Asked for every socket that is accepted.
        memory: Where bytes count that wait in it.
    """
    budget = {"memory": memory or Memory(0)}
    http = type("OurHttpDriver", (HttpDriver,), {"take_seat": take_seat, **budget})
    driver = type("OurDriver", (Driver,), {"max_text_bytes": max_text_bytes, **budget})
    return _Server(
        uvicorn.Config(
            app,
            loop="auto",
            http=http,
            ws=driver,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,  # request lines carry tokens
            proxy_headers=False,
            server_header=False,
            ws_max_size=max_blob_bytes + 2**20,
            ws_per_message_deflate=False,
            # Existing clients answer no ping while they are idle (1.4).
            ws_ping_interval=None,
            ws_ping_timeout=None,
            timeout_graceful_shutdown=5,
        )
    )


async def serve(
    server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event
) -> None:
    """Serve until `stop` is set, then close what is still open."""
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listener]))
        stopped = group.create_task(stop.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stopped.cancel()
