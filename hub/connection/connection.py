"""Serving one connection: read frames, work them off in order, write answers.

Frames come by a call of the transport, so that a peer that goes away is noticed while
a pull is parked; one task works them off, save a send for which all is at hand: that
goes to the store at once, and later sends follow it there before it is answered, but
nothing else does. What is answered and what others push goes to the `writer`. A parked
pull with a `rid` steps aside and lets later requests pass (protocol 14.2). What ends a
connection is decided here, save that the writer ends it when its peer is gone or may
no longer read what is being written.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from hub.blobs.folder import Download
from hub.connection.ending import (
    GOING_AWAY,
    NORMAL,
    OVERLOADED,
    RESTART,
    TOO_BIG,
    VIOLATION,
    Ending,
)
from hub.connection.failures import as_error, as_fault, as_reply, outcome_of
from hub.connection.inbox import MAX_UNREAD, Inbox, InFlight, Refused
from hub.connection.protocol import (
    Authenticated,
    Perform,
    SendChallenge,
    ServerProtocol,
)
from hub.connection.writer import Writer
from hub.delivery.outbox import Handed, Text
from hub.errors import Refusal
from hub.handlers import handle
from hub.handlers.blobs import store_blob
from hub.handlers.caller import Caller
from hub.handlers.messages import ready_room, send_soon, steps_aside
from hub.handlers.presence import leave
from hub.ids import challenge
from hub.server.transport import Transport
from hub.services import Services
from hub.settings import Settings
from parler.identity.signing import fingerprint
from parler.wire.bounds import oversized
from parler.wire.codec import BadFrame, decode_request, encode_utf8, rid_of
from parler.wire.codes import PROTOCOL_VERSION, ErrorCode, Feature
from parler.wire.foreign import exact, foreign
from parler.wire.limits import MAX_IN_FLIGHT, MAX_PULLED_BYTES
from parler.wire.replies import Challenge, Error, Reply, Sent, Welcome
from parler.wire.requests import (
    AnyRequest,
    Discover,
    Hello,
    Presence,
    Pull,
    Queue,
    Recall,
    Rooms,
    Roster,
    Send,
    op_of,
)

log = logging.getLogger(__name__)

FEATURES = list(Feature)
"""The extensions this hub serves (protocol 14.1)."""

STRANGER_FRAME_BYTES = 64 * 1024
"""A text frame before authentication; a hello has less than 6 KiB (protocol 2.3)."""

MAX_STRIKES = 64
"""Refused frames before authentication; then the connection ends."""

BIG_FRAME_BYTES = 64 * 1024
"""From here on a frame is read in a thread, so that others need not wait for it."""

_SEND = '{"op":"send"'
"""How most clients begin a send; another spelling only takes the long way."""

AT_ONCE_BYTES = MAX_UNREAD // MAX_IN_FLIGHT
"""Sends are under way together if all of them are no more than might wait."""

LARGE_ANSWERS = (Discover, Queue, Recall, Rooms, Roster)
"""What may be answered with as much as a pull, which reserves what it needs itself."""

SHORT_OF_MEMORY = "the hub is short of memory; try again"

PENALTY_SECS = 0.02
"""What a refusal for haste costs its sender in time."""

PRESENT_SECS = 90.0
"""How long an agent is shown as here of which nothing is heard (protocol 14.11)."""

FLUSH_SECS = 5.0
"""How long a closing connection may take to write what is left."""


class Connection:
    """One WebSocket of an agent, or of somebody who still has to prove who it is."""

    def __init__(
        self,
        services: Services,
        transport: Transport,
        ip: str | None,
        *,
        welcomed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take an upgraded transport and the peer's address, if it is known.

        Args:
            welcomed: Called when the peer has proved who it is.
        """
        self._services = services
        self._memory = services.quotas.memory
        self._on_welcome = welcomed
        self._transport = transport
        self._ip = ip
        self._protocol = ServerProtocol(
            make_nonce=lambda: challenge(services.hub_token, services.now()),
            now_ms=services.now,
            join_secret=services.settings.join_secret,
        )
        self._inbox = Inbox(transport, self._memory)
        self._in_flight = InFlight()
        self._parked: set[asyncio.Task[None]] = set()
        self._writer = Writer(
            services,
            transport,
            caller=lambda: self._caller,
            handed=self._note_handed,
            end=self._end,
        )
        self._outbox = self._writer.outbox
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._strikes = 0
        self._caller: Caller | None = None
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ending] = self._loop.create_future()
        self._last_heard = self._loop.time()

    # What the notifier sees.

    @property
    def events(self) -> frozenset[str]:
        """The events this connection asked for."""
        return self._caller.events if self._caller else frozenset()

    def push(self, frame: Text) -> bool:
        """Queue a frame nobody asked for."""
        accepted = self._outbox.push(frame)
        if accepted:
            self._last_heard = self._loop.time()
        return accepted

    # What the transport sees.

    def received(self, data: str | bytes) -> None:
        """Queue what the peer said; let it say no more while too much waits."""
        self._last_heard = self._loop.time()
        if isinstance(data, str) and (
            self._is_too_long(data) or self._is_sent_at_once(data)
        ):
            return
        if len(data) >= BIG_FRAME_BYTES and self._memory.is_full:
            self._refuse_unread(data)
        else:
            self._inbox.put(data)
        self._inbox.pause()
        self._inbox.wake()

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer lets bytes wait, by the loop's clock; or None."""
        return self._transport.stalled_since

    def cut_off(self) -> None:
        """Let go of all bytes at once: the peer is too slow, and others need them."""
        self._end(OVERLOADED, SHORT_OF_MEMORY)
        self._inbox.drop()
        self._outbox.abandon()
        self._transport.abort()

    def lost(self) -> None:
        """The peer is gone."""
        self._end(NORMAL, "the peer is gone")

    # What the app sees.

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait to be written to the peer."""
        return self._outbox.bytes_waiting

    async def serve(self) -> None:
        """Serve the connection until either side ends it."""
        settings = self._services.settings
        self._deadline = self._loop.call_later(
            settings.handshake_timeout_secs, self._handshake_is_over
        )
        self._memory.holders.add(self)
        try:
            async with asyncio.TaskGroup() as group:
                self._writer.start(group)
                worker = group.create_task(self._work(group))
                self._transport.start(self)
                try:
                    ending = await self._ended
                    self._log_end(ending)
                    for task in (worker, *self._parked):
                        task.cancel()
                    await self._say_goodbye(ending)
                finally:
                    self._writer.stop()
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            if self._caller is not None:
                await self._forget(self._caller)
            self._memory.holders.discard(self)
            self._inbox.drop()
            self._outbox.abandon()

    def _log_end(self, ending: Ending) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        who = fingerprint(self._caller.agent) if self._caller else "stranger"
        log.info(
            "connection ended",
            extra={"agent": who, "close": ending.code, "reason": ending.reason},
        )

    async def _forget(self, caller: Caller) -> None:
        online = self._services.online
        if not caller.looks:
            online[caller.agent] -= 1
            if not online[caller.agent]:
                del online[caller.agent]
        self._services.notifier.unsubscribe(caller.agent, self)
        caller.take_upload(release=True)
        try:
            await leave(self._services, caller)
        except Refusal as refusal:
            log.warning("an agent's end was not noted: %s", refusal.message)

    def refuse(self, code: ErrorCode, text: str) -> None:
        """End the connection with an error frame, before or while serving it."""
        self._end(OVERLOADED, text, Error(message=foreign(text), code=code.value))

    async def has_room(self) -> None:
        """Return when the peer has read enough to be answered."""
        await self._outbox.wait_for_room()

    def stop(self) -> None:
        """End the connection because the hub stops; parked pulls answer first."""
        self._stopping = True
        self._services.notifier.wake_all()
        self._outbox.let_pass()
        self._inbox.wake()

    # Reading.

    def _is_too_long(self, text: str) -> bool:
        limit = self._services.settings.max_text_frame_bytes
        if self._caller is None:
            limit = min(limit, STRANGER_FRAME_BYTES)
        if not _utf8_longer(text, limit):
            return False
        error = f"a text frame may have {limit} bytes"
        self._end(
            TOO_BIG,
            "frame too large",
            Error(message=foreign(error), code=ErrorCode.TOO_LARGE.value),
        )
        return True

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping:
            if not await self._inbox.arrival():
                continue
            data, size = self._inbox.take()
            try:
                await self._outbox.wait_for_room()
                if not self._stopping:
                    await self._answer(data, group)
            finally:
                self._memory.give(size)
            del data  # it may be large, and the next one may not come for long
        await self._in_flight.until(most=0)
        self._end(RESTART, "the hub is restarting")

    def _refuse_unread(self, data: str | bytes) -> None:
        if isinstance(data, bytes):  # it was announced, so nothing else fits here
            self._end(OVERLOADED, SHORT_OF_MEMORY)
            return
        refusal = Refusal(ErrorCode.AT_CAPACITY, SHORT_OF_MEMORY)
        self._inbox.refuse(Refused(refusal, rid_of(data)))

    def _note_handed(self, frame: Handed) -> None:
        if self._caller is not None and frame.seq and not self._caller.looks:
            self._services.receipts.handed_over(
                frame.room, self._caller.agent, frame.seq
            )

    # One frame.

    async def _answer(
        self, data: str | bytes | Refused, group: asyncio.TaskGroup
    ) -> None:
        if self._ended.done():
            return
        if not isinstance(data, str):
            await self._in_flight.until(sends=0)
            if isinstance(data, bytes):
                await self._take_upload(data)
                return
            await self._punish(data.refusal)
            self._reply(as_error(data.refusal), data.rid)
            return
        try:
            request = await self._decoded(data)
        except Refusal as refusal:  # for its size: it is not read at all
            await self._in_flight.until(sends=0)
            await self._punish(refusal)
            self._reply(as_error(refusal), rid_of(data))
            return
        except BadFrame as bad:
            await self._in_flight.until(sends=0)
            await self._refuse_malformed(bad)
            return
        await self._in_flight.until(most=MAX_IN_FLIGHT - 1)
        if (
            isinstance(request, Send)
            and len(data) < AT_ONCE_BYTES
            and self._send_at_once(request, len(data))
        ):
            return
        await self._in_flight.until(sends=0)
        if self._stopping:
            return
        self._in_flight.begin()
        if self._steps_aside(request):
            task = group.create_task(self._answer_now(request))
            self._parked.add(task)
            task.add_done_callback(self._parked.discard)
        else:
            await self._answer_now(request)

    async def _decoded(self, data: str) -> AnyRequest:
        caller, quotas = self._caller, self._services.quotas
        if caller is not None:
            quotas.count_read(caller.agent, self._ip, len(data))
        if len(data) < BIG_FRAME_BYTES:
            return decode_request(data)
        whose = self._ip if quotas.is_shared else caller and caller.agent
        return await quotas.decoders.run(whose, partial(decode_request, data))

    # Sends that need not wait for each other.

    def _is_sent_at_once(self, text: str) -> bool:
        """Take a send on the way in, if nothing is before it."""
        if (
            not self._inbox.is_awaited
            or self._in_flight.is_full
            or self._outbox.is_full
            or self._memory.is_full
            or len(text) >= AT_ONCE_BYTES
            or not text.startswith(_SEND)
        ):
            return False
        try:
            request = decode_request(text)
        except BadFrame:
            return False
        if not isinstance(request, Send):
            return False
        return self._send_at_once(request, len(text), uncounted=True)

    def _send_at_once(
        self, request: Send, size: int, *, uncounted: bool = False
    ) -> bool:
        """Give a send to the store; False if something has to be looked up first.

        Args:
            size: Of its frame, in bytes.
            uncounted: Nobody has counted these bytes yet.
        """
        caller = self._caller
        if caller is None or caller.upload is not None or self._ended.done():
            return False
        live = ready_room(self._services, caller, request)
        if live is None:
            return False

        def answer(outcome: Sent | BaseException) -> None:
            self._memory.give(size)
            self._in_flight.land(send=True)
            self._answer_send(outcome, request.rid)

        try:
            if uncounted:
                self._services.quotas.count_read(caller.agent, self._ip, size)
            self._services.limits.count_request(caller.agent)
            self._check_bounds(request)
            send_soon(self._services, caller, request, live, answer)
        except Refusal as refusal:
            self._services.requests["send", outcome_of(as_error(refusal))] += 1
            self._inbox.refuse(Refused(refusal, request.rid), next_of_all=True)
            self._inbox.wake()
            return True
        self._memory.take(size)
        self._in_flight.begin(send=True)
        return True

    def _answer_send(self, outcome: Sent | BaseException, rid: str | None) -> None:
        reply = as_reply(outcome)
        self._services.requests["send", outcome_of(reply)] += 1
        if not self._ended.done():
            self._reply(reply, rid)

    async def _take_upload(self, data: bytes) -> None:
        upload = self._caller.take_upload() if self._caller else None
        self._transport.accept_binary(0)
        if self._caller is None or upload is None:
            said = foreign("no upload was announced")
            error = Error(message=said, code=ErrorCode.PROTOCOL)
            self._end(VIOLATION, "unexpected binary frame", error)
            return
        stored = store_blob(self._services, self._caller, upload, data)
        self._reply(await self._outcome(stored), upload.rid)

    async def _refuse_malformed(self, bad: BadFrame) -> None:
        try:
            if self._caller is not None:
                self._services.limits.count_request(self._caller.agent)
            refusal = Refusal(ErrorCode.BAD_FRAME, bad.reason)
        except Refusal as limited:
            refusal = limited
        error = as_error(refusal)
        self._services.requests["malformed", outcome_of(error)] += 1
        await self._punish(refusal)
        self._reply(error, bad.rid)

    async def _punish(self, refusal: Refusal) -> None:
        """Make haste and garbage cost their sender, and nobody else."""
        if refusal.code is ErrorCode.RATE_LIMITED:
            await asyncio.sleep(PENALTY_SECS)
        if self._caller is None:
            self._strikes += 1
            if self._strikes > MAX_STRIKES:
                self._end(VIOLATION, "too many refused frames")

    def _steps_aside(self, request: AnyRequest) -> bool:
        return (
            isinstance(request, Pull)
            and steps_aside(request)
            and self._caller is not None
        )

    async def _answer_now(self, request: AnyRequest) -> None:
        try:
            outcome = await self._outcome(self._perform(request))
            self._services.requests[op_of(request), outcome_of(outcome)] += 1
            self._reply(outcome, request.rid)
        finally:
            self._in_flight.land()

    async def _outcome(
        self, work: Coroutine[Any, Any, Reply | Download | Handed]
    ) -> Reply | Download | Handed:
        try:
            return await work
        except Refusal as refusal:
            await self._punish(refusal)
            return as_error(refusal)
        except Exception as error:  # noqa: BLE001 - outermost; it is logged there
            return as_fault(error)

    async def _perform(self, request: AnyRequest) -> Reply | Download | Handed:
        if isinstance(request, Hello):
            self._protocol.count_hello()
            self._check_bounds(request)
        match self._protocol.receive(request):
            case SendChallenge(nonce):
                return Challenge(nonce=nonce, version=PROTOCOL_VERSION)
            case Authenticated() as proven:
                return await self._welcome(proven)
            case Perform(request):
                assert self._caller is not None
                self._services.limits.count_request(self._caller.agent)
                self._check_bounds(request)
                answer = await self._handle(self._caller, request)
                if self._caller.upload is not None:
                    self._transport.accept_binary(self._caller.upload.size)
                if isinstance(request, Presence):
                    self._watch_idle()
                return answer

    async def _handle(
        self, caller: Caller, request: AnyRequest
    ) -> Reply | Download | Handed:
        if not isinstance(request, LARGE_ANSWERS):
            return await handle(self._services, caller, request)
        async with self._memory.reserved(MAX_PULLED_BYTES):
            return await handle(self._services, caller, request)

    def _check_bounds(self, request: AnyRequest) -> None:
        limit = self._services.settings.max_message_bytes
        too_long = oversized(request, max_message_bytes=limit)
        if too_long is not None:
            raise Refusal(ErrorCode.TOO_LARGE, f"{too_long!r} is too large")

    async def _welcome(self, proven: Authenticated) -> Welcome:
        now = self._services.now()
        try:
            seen = self._services.last_seen
            note = seen.note_new if proven.looks else seen.note
            await note(proven.id, exact(proven.name), exact(proven.role), now=now)
        except Refusal as refusal:
            # A full disk must not keep anybody from reading or from deleting.
            log.warning("an agent was let in unrecorded: %s", refusal.message)
        self._caller = Caller(
            agent=proven.id,
            name=proven.name,
            role=proven.role,
            ip=self._ip,
            listener=self,
            is_stopping=lambda: self._stopping,
            touched_ms=now,
            looks=proven.looks,
        )
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._protocol.welcomed()
        self._transport.trust()
        self._on_welcome()
        if not proven.looks:
            self._services.online[proven.id] += 1
        self._watch_idle()
        return Welcome(
            id=proven.id, name=proven.name, features=offered(self._services.settings)
        )

    def _reply(self, reply: Reply | Download | Handed, rid: str | None) -> None:
        if isinstance(reply, Download | Handed):
            self._outbox.reply(reply)
            return
        reply.rid = rid
        self._outbox.reply(encode_utf8(reply))

    # How it ends.

    def _handshake_is_over(self) -> None:
        # An absolute deadline: pinging does not hold a place open (protocol 13.9).
        if self._caller is None:
            said = "handshake timed out"
            self._end(
                VIOLATION, said, Error(message=foreign(said), code=ErrorCode.TIMEOUT)
            )

    def _watch_idle(self) -> None:
        limit = self._services.settings.idle_timeout_secs or math.inf
        if self._caller is not None and self._caller.is_present:
            limit = min(limit, PRESENT_SECS)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if limit == math.inf or self._ended.done():
            return
        left = self._last_heard + limit - self._loop.time()
        if left <= 0:
            self._end(GOING_AWAY, "idle for too long")
        else:
            self._idle_timer = self._loop.call_later(left, self._watch_idle)

    def _end(self, code: int, reason: str, error: Error | None = None) -> None:
        if not self._ended.done():
            self._ended.set_result(Ending(code, reason, error))

    async def _say_goodbye(self, ending: Ending) -> None:
        if ending.error is not None:
            self._outbox.reply(encode_utf8(ending.error))
        if ending.code != NORMAL and not self._writer.torn:
            try:
                async with asyncio.timeout(FLUSH_SECS):
                    await self._outbox.wait_until_written()
            except TimeoutError:
                log.info("a slow peer missed the end of its connection")
        await self._transport.close(ending.code, ending.reason)


def offered(settings: Settings) -> list[str]:
    """What of them holds for a hub with these settings."""
    absent = set() if settings.owners_admit else {Feature.SERVICE_ADMISSION}
    return [feature for feature in FEATURES if feature not in absent]


def _utf8_longer(text: str, limit: int) -> bool:
    return len(text) * 4 > limit and len(text.encode()) > limit
