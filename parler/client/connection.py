"""Requests over connections that come and go: sending, waiting, repeating, redialling.

A request is answered once, or fails with what is known of it. What it means, and
what its reply means, is not known here; nor is how a connection is dialled.

After a lost connection every unanswered request goes out again, once on each new
connection, for as long as its caller waits (protocol 1.6). That is harmless for what
only reads or sets, and for a send, which keeps its clientId. A repeated ``invite``,
``mint_directory_token`` or ``mint_watch`` may leave a second key or token that nobody
uses; a repeated ``leave``, ``delete_room``, ``remove_member``, ``resolve_join`` or
``complete`` may be refused because the first one worked, and the refusal then says
so. A transfer of bytes starts anew. Only a pull that moves the cursor by being read is
never repeated.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from parler.client.pending import Answered, Pending, Progress, Received, Transfer
from parler.client.protocol import (
    Announced,
    Answer,
    Arrived,
    ClientProtocol,
    Farewell,
    Incoming,
    NotAHub,
    Proof,
    Refused,
    State,
    Wanted,
)
from parler.client.proxy import proxy_for
from parler.client.transport import DOCTOR, Transport, TransportClosed
from parler.errors import (
    ConnectFailed,
    ConnectionLost,
    HubError,
    NotAuthenticated,
    ParlerError,
    RemoteProtocolError,
    TimedOut,
    TransportError,
    refusal,
)
from parler.machine.backoff import Backoff
from parler.wire.codes import ErrorCode
from parler.wire.foreign import exact
from parler.wire.limits import MAX_IN_FLIGHT, MAX_WAIT_SECS
from parler.wire.replies import (
    AnyReply,
    BlobStored,
    Delivery,
    Error,
    Event,
)
from parler.wire.requests import (
    AnyRequest,
    GetBlob,
    Ping,
    Presence,
    PutBlob,
    Subscribe,
    op_of,
)

_log = logging.getLogger(__name__)

MAX_PARKED = 24
"""Waiting pulls on one connection, so that room is left for other requests."""

TRANSFER_SILENCE_SECS = 300.0
"""How long bytes may stand still in the middle of a blob. Until they are over, the
hub cannot be asked for a sign: what comes in one frame shows no progress."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Deliveries or events may be missing before the next one: ask the hub again.

    There was a new connection, or the reader was too slow.
    """


Note: TypeAlias = Delivery | Event | Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things may take, in seconds."""

    connect: float = 10.0
    heartbeat: float | None = 30.0
    """Silence after which the hub is asked for a sign; None never asks."""

    @property
    def sign(self) -> float:
        """How long that sign may take."""
        return (self.heartbeat or 0) / 3


@dataclass(slots=True, eq=False)
class _Link:
    """One connection and the requests on it."""

    transport: Transport
    protocol: ClientProtocol
    calls: dict[str, Pending] = field(default_factory=dict)
    owed: Pending | None = None
    """An upload whose bytes the hub awaits."""

    incoming: tuple[Pending, int] | None = None
    """A download whose bytes come next, and how many."""

    moving: bool = False
    """Bytes of an upload are being written."""

    heard: float = 0.0
    useful: bool = False

    @property
    def transferring(self) -> bool:
        return self.moving or self.incoming is not None

    def received(self, count: int) -> None:
        """Note how much of a download has come."""
        self.heard = _now()
        if self.incoming is not None:
            pending, size = self.incoming
            pending.tell(count, size)


@dataclass(frozen=True, slots=True)
class _Loss:
    """How a connection ended."""

    reason: str
    violation: bool = False
    farewell: Error | None = None


class Connection:
    """A standing conversation with one hub."""

    def __init__(
        self,
        url: str,
        *,
        dial: Callable[[str], Awaitable[Transport]],
        converse: Callable[[], ClientProtocol],
        notify: Callable[[Note], None],
        fraction: Callable[[], float],
        pace: Pace,
        reconnect: bool,
    ) -> None:
        """Dial nothing yet.

        Args:
            converse: Makes the conversation for each new connection.
            notify: Gets what comes unasked; never blocks.
            fraction: Random numbers in [0, 1), for the delays between attempts.
        """
        self._url = url
        self._dial = dial
        self._converse = converse
        self._notify = notify
        self._backoff = Backoff(fraction)
        self._pace = pace
        self._reconnect = reconnect
        self._events: set[str] | None = None  # None until something is subscribed
        self._presence: Presence | None = None  # what is said anew, if anything
        self._unsent: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._link: _Link | None = None
        self._down = "it was never up"
        self._features: frozenset[str] = frozenset()
        self._over: ParlerError | None = None

    @property
    def features(self) -> frozenset[str]:
        """What the hub of the latest connection advertised."""
        return self._features

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._link is not None

    @property
    def subscribed(self) -> bool:
        """Whether deliveries are asked for."""
        return self._events is not None

    @property
    def over(self) -> ParlerError | None:
        """Why no request can be made any more, if so."""
        return self._over

    async def open(self, *, events: Iterable[str] = ()) -> None:
        """Make the first connection, and subscribe if `events` are named.

        Raises:
            ConnectFailed: The hub cannot be reached, or there is none.
            HubError: It refused us.
            ProtocolError: It broke the protocol.
            RelayedChallenge: It relays another hub's challenge.
        """
        self._events = set(events) or None
        self._link = await self._establish()

    async def run(self) -> None:
        """Carry requests until cancelled, or until no connection can be had."""
        try:
            while self._link is not None:
                loss = await self._serve(self._link)
                self._settle_loss(self._link, loss)
                self._link = None
                if self._reconnect:
                    self._link = await self._reopen()
                else:
                    self._end(ConnectionLost(f"the connection was lost: {loss.reason}"))
        except ParlerError as error:
            _log.warning("giving up on the hub: %s", error.code)
            self._end(error)
        finally:
            if self._link is not None:
                self._unsent.extendleft(self._link.calls.values())
            self._link = None
            self._end(ConnectionLost("the client was closed"))

    async def call(self, request: AnyRequest, *, timeout: float) -> AnyReply:
        """Ask and wait for the reply, over new connections if need be.

        Raises:
            HubError: The hub refused. Final.
            TransportError: No answer in time; says what is known of the request.
            ProtocolError: The hub answered against the protocol.
        """
        reply = await self._call(request, None, timeout=timeout)
        assert not isinstance(reply, Received), "only downloads end in bytes"
        return reply

    async def upload(
        self,
        request: PutBlob,
        data: bytes,
        *,
        timeout: float,
        progress: Progress | None = None,
    ) -> BlobStored:
        """Announce bytes, send them when the hub is ready, and wait until it has them.

        Over a new connection it starts anew. Raises as `call` does.
        """
        transfer = Transfer(data=data, progress=progress)
        reply = await self._call(request, transfer, timeout=timeout)
        assert isinstance(reply, BlobStored), "the protocol lets nothing else through"
        return reply

    async def download(
        self,
        request: GetBlob,
        *,
        max_bytes: int,
        timeout: float,
        progress: Progress | None = None,
    ) -> Received:
        """Ask for bytes and wait for them. Raises as `call` does.

        Raises:
            TooManyBytes: The hub announces more than `max_bytes`.
        """
        transfer = Transfer(max_bytes=max_bytes, progress=progress)
        reply = await self._call(request, transfer, timeout=timeout)
        assert isinstance(reply, Received), "the protocol lets nothing else through"
        return reply

    async def _call(
        self, request: AnyRequest, transfer: Transfer | None, *, timeout: float
    ) -> Answered:
        if self._over is not None:
            raise self._over
        if isinstance(request, Presence):
            self._presence = request if request.while_connected else None
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        pending = Pending(request, future, transfer)
        self._unsent.append(pending)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise self._overdue(pending, timeout) from None
        finally:
            future.cancel()  # so that a reply to come is dropped, in its own place
            with suppress(ValueError):
                self._unsent.remove(pending)

    async def subscribe(self, events: Iterable[str], *, timeout: float) -> None:
        """Have deliveries and the named events come, now and on new connections."""
        wanted = (self._events or set()) | set(events)
        await self.call(Subscribe(events=sorted(wanted) or None), timeout=timeout)
        self._events = wanted

    # ------------------------------------------------------------------ connecting

    async def _establish(self) -> _Link:
        try:
            async with asyncio.timeout(self._pace.connect):
                transport = await self._dial(self._url)
                try:
                    return await self._shake_hands(transport)
                except BaseException:
                    await transport.close()
                    raise
        except TimeoutError:
            reason = f"no answer within {self._pace.connect:g} s"
            if proxy := proxy_for(self._url):
                reason += f"; by way of {proxy}"
        except TransportClosed as closed:
            reason = f"the connection ended in the handshake: {closed.reason}"
        except NotAHub:
            reason = "what answers there is no Parler hub"
        raise ConnectFailed(self._url, reason, next_step=DOCTOR)

    async def _shake_hands(self, transport: Transport) -> _Link:
        protocol = self._converse()
        await _say(transport, protocol.hello())
        while protocol.state is not State.READY:
            match protocol.receive(await transport.receive()):
                case Proof(text):
                    await _say(transport, text)
                case Refused(error):
                    raise _refused(error, showed_secret=protocol.showed_secret)
        self._features = protocol.features
        link = _Link(transport, protocol, heard=_now())
        if self._events is not None:
            again = Subscribe(events=sorted(self._events) or None)
            answer = await self._ask_first(link, again)
            if isinstance(answer, Error):
                raise refusal(answer.message, answer.code)
        if self._presence is not None:  # a hub forgets it with the connection
            await self._ask_first(link, self._presence)
        return link

    async def _ask_first(self, link: _Link, request: AnyRequest) -> AnyReply:
        """Ask on a new connection before anybody else may."""
        _, text = link.protocol.ask(request)
        await _say(link.transport, text)
        while True:
            incoming = link.protocol.receive(await link.transport.receive())
            match incoming:
                case Farewell(error):
                    raise refusal(error.message, error.code)
                case Answer(reply=reply):
                    return reply
                case Delivery() | Event():
                    self._notify(incoming)

    async def _reopen(self) -> _Link:
        while True:
            await asyncio.sleep(self._backoff.next())
            try:
                link = await self._establish()
            except (TransportError, HubError) as error:
                # A challenge expires while a laptop sleeps: that is no verdict.
                if not (error.retryable or isinstance(error, NotAuthenticated)):
                    raise
                self._down = error.message
                _log.debug("no new connection yet: %s", error.code)
                continue
            _log.info("connected again")
            self._notify(Gap())
            return link

    # --------------------------------------------------------------- one connection

    async def _serve(self, link: _Link) -> _Loss:
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._write(link))]
                if self._pace.heartbeat:
                    helpers.append(group.create_task(self._beat(link)))
                loss = await self._read(link)
                for helper in helpers:
                    helper.cancel()
            return loss
        finally:
            link.protocol.close()
            await link.transport.close()

    async def _read(self, link: _Link) -> _Loss:
        while True:
            try:
                data = await link.transport.receive(link.received)
                incoming = link.protocol.receive(data)
            except TransportClosed as closed:
                return _Loss(closed.reason)
            except RemoteProtocolError as error:
                return _Loss(error.message, violation=True)
            link.heard = _now()
            if isinstance(incoming, Farewell):
                said = incoming.error
                refused = refusal(said.message, said.code)
                code = refused.hub_code or "no code"
                words = f"the hub said: {refused.message} ({code})"
                return _Loss(words, farewell=said)
            self._hear(link, incoming)

    def _hear(self, link: _Link, incoming: Incoming | None) -> None:
        match incoming:
            case Answer(call, reply):
                link.useful = True
                pending = link.calls.pop(call)
                if link.owed is pending:  # refused before its bytes went out
                    link.owed = None
                pending.answer(reply)
                self._wake.set()
            case Wanted(call):
                link.owed = link.calls[call]
                self._wake.set()
            case Announced(call, announced):
                pending = link.calls[call]
                link.incoming = (pending, announced.size)
                pending.announce(announced.size)
            case Arrived(call, announced, data):
                link.useful = True
                link.incoming = None
                link.calls.pop(call).answer(Received(announced, data))
                self._wake.set()
            case Delivery() | Event():
                link.useful = True
                self._notify(incoming)

    async def _write(self, link: _Link) -> None:
        # One writer: what is half sent cannot be cancelled by its caller.
        while True:
            if link.owed is not None:
                pending, link.owed = link.owed, None
                written = self._write_bytes(link, pending)
            elif (next_ := self._next(link)) is not None:
                written = self._write_request(link, next_)
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await written
            except TransportClosed:
                return  # the reader sees the end too, after what still came in

    async def _write_request(self, link: _Link, pending: Pending) -> None:
        request = pending.request
        try:
            if isinstance(request, PutBlob | GetBlob) and pending.transfer:
                call, text = link.protocol.ask_with_bytes(request)
            else:
                call, text = link.protocol.ask(request)
        except ParlerError as error:
            pending.fail(error)
            return
        link.calls[call] = pending
        pending.sends += 1
        pending.size = len(text)
        await link.transport.send(text)

    async def _write_bytes(self, link: _Link, pending: Pending) -> None:
        # Even if nobody waits any more: only the bytes end what was announced (8.1).
        assert pending.transfer is not None
        data = pending.transfer.data or b""

        def passed(count: int) -> None:
            link.heard = _now()
            pending.tell(count, len(data))

        link.moving = True
        try:
            await link.transport.send_bytes(data, passed)
        finally:
            link.moving = False

    def _next(self, link: _Link) -> Pending | None:
        """Take the first request that may go out now (protocol 1.3, 14.2)."""
        room = MAX_IN_FLIGHT if link.protocol.numbered else 1
        if len(link.calls) >= room:
            return None
        parked = sum(pending.parked for pending in link.calls.values())
        uploads = sum(pending.uploads for pending in link.calls.values())
        for pending in self._unsent:
            # A second announcement would take the first one's place (8.1).
            if (parked < MAX_PARKED or not pending.parked) and not (
                uploads and pending.uploads
            ):
                self._unsent.remove(pending)
                return pending
        return None

    async def _beat(self, link: _Link) -> None:
        silence, sign = self._pace.heartbeat or 0, self._pace.sign
        while True:
            quiet = _now() - link.heard
            if quiet < silence:
                await asyncio.sleep(silence - quiet)
            elif link.transferring:
                if quiet > TRANSFER_SILENCE_SECS:
                    break
                await asyncio.sleep(sign)
            elif link.calls and not link.protocol.numbered:
                # It reads nothing while a pull is parked (1.3): only wait.
                if quiet > silence + MAX_WAIT_SECS:
                    break
                await asyncio.sleep(sign)
            else:
                try:
                    await self.call(Ping(), timeout=sign)
                except TransportError:
                    break
        _log.info("the hub gives no sign; connecting anew")
        await link.transport.close()

    # ------------------------------------------------------------------------ losses

    def _settle_loss(self, link: _Link, loss: _Loss) -> None:
        _log.info("connection lost after %d unanswered requests", len(link.calls))
        self._down = loss.reason
        if link.useful:
            self._backoff.reset()
        waiting = [p for p in link.calls.values() if not p.future.done()]
        if loss.farewell and loss.farewell.code == ErrorCode.TOO_LARGE and waiting:
            # Of several unanswered frames the longest one was certainly too long.
            longest = max(waiting, key=lambda pending: pending.size)
            longest.answer(loss.farewell)
            waiting.remove(longest)
        for pending in list(waiting):
            if loss.violation:
                text = f"{loss.reason}; {pending.fate()}"
                pending.fail(RemoteProtocolError(text))
            elif not pending.repeatable:
                text = f"the connection was lost: {loss.reason}"
                pending.fail(ConnectionLost(f"{text}; its answer may be lost"))
        again = [pending for pending in waiting if not pending.future.done()]
        self._unsent.extendleft(reversed(again))

    def _end(self, error: ParlerError) -> None:
        if self._over is None:
            self._over = error
            self._notify(Gap())  # wakes whoever waits for notes
        for pending in self._unsent:
            pending.fail(_for_one(self._over, pending))
        self._unsent.clear()

    def _overdue(self, pending: Pending, seconds: float) -> TransportError:
        fate = pending.fate()
        if self._link is None:
            text = f"no connection to the hub for {seconds:g} s ({self._down}); {fate}"
            return ConnectionLost(text, next_step=DOCTOR)
        error = TimedOut(
            op_of(pending.request),
            seconds,
            may_have_happened=pending.may_have_happened,
        )
        error.message = f"{error.message}; {fate}"
        error.args = (error.message,)
        return error


async def _say(transport: Transport, text: str) -> None:
    # A hub that closes has often said why: what it said is still to be read.
    with suppress(TransportClosed):
        await transport.send(text)


def _refused(error: Error, *, showed_secret: bool) -> HubError:
    refused = refusal(error.message, error.code)
    if "join secret" in exact(error.message):  # pinned by protocol 3.3
        refused.next_step = "set PARLER_JOIN_SECRET to the secret of this hub"
        if showed_secret:
            refused.next_step = (
                "the secret that was given is another's: ask who runs the hub for its "
                "own, and set PARLER_JOIN_SECRET to that"
            )
    return refused


def _for_one(error: ParlerError, pending: Pending) -> ParlerError:
    if isinstance(error, ConnectionLost):
        return ConnectionLost(f"{error.message}; {pending.fate()}")
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()
