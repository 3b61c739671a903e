"""The server front: HTTP and WebSockets on one port, through uvicorn.

Everything that is particular to uvicorn and ASGI is here: `AsgiTransport` turns an
ASGI WebSocket into a `Transport`, and `serve` runs the server on a bound socket with
the settings that the protocol needs.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from parler.wire.limits import DEFAULT_MAX_BLOB_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class AsgiTransport:
    """A `Transport` over an ASGI WebSocket that was accepted."""

    def __init__(self, receive: Receive, send: Send) -> None:
        """Take the two callables of ASGI."""
        self._receive = receive
        self._send = send
        self._gone = False

    async def receive(self) -> str | bytes | None:
        """The next message; None when the peer is gone."""
        if self._gone:
            return None
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._gone = True
            return None
        text: str | None = message.get("text")
        if text is not None:
            return text
        data: bytes = message["bytes"]
        return data

    async def send_text(self, text: str) -> None:
        """Write a text message.

        Raises:
            ConnectionError: The peer is gone.
        """
        await self._deliver({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        """Close; a peer that is already gone is no error."""
        with contextlib.suppress(ConnectionError):
            await self._deliver(
                {"type": "websocket.close", "code": code, "reason": reason}
            )
        self._gone = True

    async def _deliver(self, message: Message) -> None:
        if self._gone:
            raise ConnectionError("the peer is gone")
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # what uvicorn raises then
            raise ConnectionError("the peer is gone") from error


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
    app: AsgiApp, *, max_blob_bytes: int = DEFAULT_MAX_BLOB_BYTES
) -> _Server:
    """A server for `app` with what protocol 1 asks of the transport."""
    return _Server(
        uvicorn.Config(
            app,
            loop="auto",
            http="auto",
            ws="websockets-sansio",
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
