"""uvicorn's HTTP driver with bounds on what a stranger may make it keep.

A request must arrive whole within a time that starts with its first byte, and its head
within so many bytes; a connection that says nothing is closed as well.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hub.quotas.memory import Memory
from hub.quotas.seats import Seat

Client = tuple[str, int] | None
TakeSeat = Callable[[Client, Callable[[], object]], Seat | None]
"""Takes a place for a socket, if there is one, with how to end it when it has to go."""

MAX_HEAD_BYTES = 32 * 1024
"""Request line and headers, while they are still incomplete."""

REQUEST_SECS = 15.0
"""From the first byte of a request to its last, as for a handshake (protocol 13.9)."""

STALL_SECS = 60.0
"""How long a peer may read nothing of an answer."""

TOO_LARGE = 431

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]+)(.*)", re.DOTALL)


class HttpDriver(HttpToolsProtocol):
    """One HTTP connection, until it is closed or becomes a WebSocket."""

    request_secs = REQUEST_SECS

    stall_secs = STALL_SECS

    take_seat: TakeSeat | None = None
    memory = Memory(0)

    _seat: Seat | None = None
    _arriving: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    stalled_since: float | None = None
    """Since when the peer lets an answer wait; what waits of it counts."""

    _unread = 0
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        if self.take_seat is not None:
            self._seat = type(self).take_seat(self.client, transport.abort)  # type: ignore[misc]
            if self._seat is None:
                transport.abort()
                return
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._seat is not None:
            self._seat.free()
        self._request_arrived()
        self._reads_again()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket, unless the head gets too large."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse_head()

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        if self._arriving is None:
            self._expect_request()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head = False
        self._take_absolute_target()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is there as a whole."""
        self._request_arrived()
        if self._seat is not None:
            self._seat.renew()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is a WebSocket from now on."""
        self._request_arrived()
        self._in_head = False
        super().handle_websocket_upgrade()
        driver: Any = self.transport.get_protocol()
        driver.seat, self._seat = self._seat, None

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.stall_secs, self.transport.abort)
            self.stalled_since = self.loop.time()
            self._unread = self.transport.get_write_buffer_size()
            self.memory.holders.add(self)
            self.memory.take(self._unread)

    def resume_writing(self) -> None:
        """The peer has read."""
        self._reads_again()
        super().resume_writing()

    def _take_absolute_target(self) -> None:
        """Of an absolute target the authority is the host (RFC 9112 3.2.2)."""
        absolute = _ABSOLUTE.fullmatch(self.url)
        if absolute is None:
            return
        authority, target = absolute.groups()
        fields = [field for field in self.headers if field[0] != b"host"]
        self.headers[:] = [*fields, (b"host", authority)]
        self.url = target if target.startswith(b"/") else b"/" + target

    def _reads_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
            self.stalled_since = None
            self.memory.holders.discard(self)
            self.memory.give(self._unread)
            self._unread = 0

    def cut_off(self) -> None:
        """Let go of what waits of an answer."""
        self._reads_again()
        self.transport.abort()

    def _expect_request(self) -> None:
        self._arriving = self.loop.call_later(self.request_secs, self._too_late)

    def _request_arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _too_late(self) -> None:
        cycle: Any = self.cycle
        if self.pipeline or (cycle is not None and not cycle.response_complete):
            self._expect_request()  # we are the slow one: still answering
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self.transport.write(
            STATUS_LINE[TOO_LARGE] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()
