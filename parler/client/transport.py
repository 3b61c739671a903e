"""The pipe of frames under a client, and how one is dialled over WebSocket.

It knows nothing of Parler's frames. Every way in which dialling can fail ends in
`ConnectFailed` with one sentence that says which.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from parler.client.proxy import (
    Proxy,
    ProxyRefused,
    check_usable,
    open_through_socks,
    proxy_for,
)
from parler.errors import ConnectFailed
from parler.wire.limits import MAX_CLIENT_MESSAGE_BYTES

_log = logging.getLogger(__name__)

DOCTOR = "parler doctor"
UPLOAD_FRAGMENT_BYTES = 256 * 1024
"""One piece of a large binary message: between two of them, progress is told."""

Progress = Callable[[int], None]
"""Told how many bytes of a binary message have passed; never blocks."""

CLOSE_SECS = 1.0
"""How long a hub may take to answer our Close; existing ones never do (1.5)."""


class TransportClosed(Exception):
    """The pipe ended; `reason` says how, as far as that is known."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Transport(Protocol):
    """Whole frames in both directions, in order."""

    async def send(self, text: str) -> None:
        """Write a text frame. Raises `TransportClosed`."""
        ...

    async def send_bytes(self, data: bytes, progress: Progress) -> None:
        """Write a binary message. Raises `TransportClosed`."""
        ...

    async def receive(self, progress: Progress | None = None) -> str | bytes:
        """Read a text or a binary message. Raises `TransportClosed` at the end."""
        ...

    async def close(self) -> None:
        """End the pipe; may be called again, and never raises `TransportClosed`."""
        ...


class WebSocketTransport:
    """A `Transport` over an open WebSocket."""

    __slots__ = ("_socket",)

    def __init__(self, socket: ClientConnection) -> None:
        """Take over an open connection."""
        self._socket = socket

    async def send(self, text: str) -> None:
        """Write a text frame."""
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise TransportClosed(_why_closed(closed)) from None

    async def send_bytes(self, data: bytes, progress: Progress) -> None:
        """Write a binary message, in fragments if it is large."""
        try:
            if len(data) <= UPLOAD_FRAGMENT_BYTES:
                await self._socket.send(data)
            else:
                await self._socket.send(_fragments(data, progress))
        except ConnectionClosed as closed:
            raise TransportClosed(_why_closed(closed)) from None
        progress(len(data))

    async def receive(self, progress: Progress | None = None) -> str | bytes:
        """Read a message."""
        text: list[str] = []
        data: list[bytes] = []
        count = 0
        try:
            async for fragment in self._socket.recv_streaming():
                if isinstance(fragment, str):
                    text.append(fragment)
                    continue
                data.append(bytes(fragment))
                count += len(fragment)
                if progress is not None:
                    progress(count)
        except ConnectionClosed as closed:
            raise TransportClosed(_why_closed(closed)) from None
        return b"".join(data) if data else "".join(text)

    async def close(self) -> None:
        """Say goodbye, and wait a moment for the answer."""
        try:
            async with asyncio.timeout(2 * CLOSE_SECS):
                await self._socket.close()
        except TimeoutError:  # it does not even read what we wrote
            self._socket.transport.abort()


async def dial_websocket(url: str) -> Transport:
    """Open a WebSocket to a dial URL. The caller bounds the time.

    Raises:
        ConnectFailed: With the reason in one sentence.
    """
    parts, proxy = urlsplit(url), proxy_for(url)
    host = parts.hostname or url
    by_way: dict[str, Any] = {"proxy": None}
    try:
        if proxy is not None:
            check_usable(proxy)
            by_way["proxy"] = proxy.url
            if proxy.is_socks:
                port = parts.port or 443
                by_way["sock"] = await open_through_socks(proxy, host, port)
        # No pings: a parked pull delays their answer by up to a minute (1.4).
        socket = await _Dial(
            url,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=CLOSE_SECS,
            max_size=MAX_CLIENT_MESSAGE_BYTES,
            logger=_Quiet(_log, {}),
            **by_way,
        )
    except (
        *(OSError, EOFError, UnicodeError),
        *(InvalidHandshake, InvalidURI, ProxyRefused),
    ) as error:
        if proxy is None:
            reason, step = _why_failed(error, host=host), DOCTOR
        elif why := _why_proxy(error, proxy):
            reason = f"{proxy}: {why}"
            step = f"mend {proxy.source}, or name {host} in NO_PROXY"
        else:
            reason, step = f"{_why_failed(error, host=host)}; by way of {proxy}", DOCTOR
        raise ConnectFailed(url, reason, next_step=step) from error
    return WebSocketTransport(socket)


def _fragments(data: bytes, progress: Progress) -> Iterator[bytes]:
    for start in range(0, len(data), UPLOAD_FRAGMENT_BYTES):
        progress(start)
        yield data[start : start + UPLOAD_FRAGMENT_BYTES]


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        # At DEBUG the library below prints every frame, and with it every secret.
        return level > logging.DEBUG and super().isEnabledFor(level)


class _Dial(websocket_connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # Not followed: proof and join secret belong to the hub that was named.
        return exc


def _why_closed(closed: ConnectionClosed) -> str:
    if isinstance(closed.__cause__, UnicodeDecodeError):
        return "the hub sent text that is not UTF-8"
    if closed.rcvd is not None:
        words = f" {closed.rcvd.reason}" if closed.rcvd.reason else ""
        return f"the hub closed it ({closed.rcvd.code}{words})"
    if closed.sent is not None and closed.sent.code not in (1000, 1001):
        return f"the hub broke WebSocket's rules ({closed.sent.reason})"
    return "it ended without a farewell"


def _why_failed(error: Exception, *, host: str) -> str:
    match error:
        case InvalidStatus():
            return _why_status(error)
        case InvalidHandshake() | EOFError():
            return "what listens there does not speak WebSocket"
        case InvalidURI():
            return "this is no address to dial"
        case socket.gaierror() | UnicodeError():
            return f"the name {host} cannot be resolved"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return "TLS failed; does that hub speak plain ws:// only?"
        case _:
            return _why_os(error)


def _why_proxy(error: Exception, proxy: Proxy) -> str | None:
    """Why it went wrong at the proxy; None if it was behind it."""
    match error:
        case ProxyRefused():
            return str(error)
        case InvalidProxyStatus():
            status = error.response.status_code
            if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                return "it does not let us through without its user and password"
            return f"it did not let us through to that hub (HTTP {status})"
        case ProxyError():
            return "what listens there is no HTTP proxy"
        case OSError() if not isinstance(error, ssl.SSLError | ConnectionResetError):
            return _why_failed(error, host=proxy.host)
        case _:
            return None


def _why_status(error: InvalidStatus) -> str:
    status = error.response.status_code
    target = error.response.headers.get("Location")
    if 300 <= status < 400 and target:
        return f"it redirects to {target}; name the final address instead"
    if status == HTTPStatus.MISDIRECTED_REQUEST:
        return "it does not answer to that name; its operator names it by --url"
    if status >= 500:
        return f"it answered HTTP {status}; the hub behind it may be down"
    return f"it answered HTTP {status}; that is no hub, or the path is wrong"


def _why_os(error: Exception) -> str:
    # Several addresses of one name come as one error that has only a text.
    if f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "nothing listens there (connection refused)"
    if isinstance(error, ConnectionError):
        return "it closed the connection at once"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
