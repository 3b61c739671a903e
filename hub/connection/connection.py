"""Serving one connection: read frames, work them off in order, write answers.

Frames come by a call of the transport, so that a peer that goes away is noticed while
a pull is parked; one task works them off, save a send for which all is at hand: that
goes to the store at once, and later sends follow it there before it is answered, but
nothing else does. What is answered and what others push gathers in a bounded outbox,
which is written once per turn of the loop. A writer task exists only while the peer
reads slowly or takes a blob. A parked pull with a `rid` steps aside and lets later
requests pass (protocol 14.2). What ends a connection is decided here and nowhere else.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from hub.blobs.folder import Download
from hub.connection.failures import as_error, as_fault, as_reply, outcome_of
from hub.connection.protocol import (
    Authenticated,
    Perform,
    SendChallenge,
    ServerProtocol,
)
from hub.delivery.outbox import Handed, Outbox, Text
from hub.errors import Refusal
from hub.handlers import handle
from hub.handlers.blobs import UNAVAILABLE, readable, store_blob
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

FRAGMENT_BYTES = 2**20
"""One piece of a blob on its way out; existing clients take up to 16 MiB (1.5)."""

WRITE_BYTES = 128 * 1024
"""About what is written at once, before it is asked whether the peer keeps up."""

MAX_UNREAD = 2**20
"""Characters of frames that wait to be worked off before reading pauses."""

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

NORMAL, GOING_AWAY, VIOLATION = 1000, 1001, 1008
TOO_BIG, RESTART, OVERLOADED = 1009, 1012, 1013


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a connection ends: its close code, and a last error frame if it gets one."""

    code: int
    reason: str
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class _Refused:
    """A send that was refused and is to be answered in its turn."""

    refusal: Refusal
    rid: str | None


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
        self._inbox: deque[str | bytes | _Refused] = deque()
        self._unread = 0
        self._arrived: asyncio.Future[None] | None = None
        self._reading = True
        self._in_flight = 0
        self._sending = 0
        self._landed: asyncio.Future[None] | None = None
        self._parked: set[asyncio.Task[None]] = set()
        self._outbox = Outbox(self._write_soon, self._memory)
        self._flushing = False
        self._group: asyncio.TaskGroup | None = None
        self._writer: asyncio.Task[None] | None = None
        self._torn = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._strikes = 0
        self._caller: Caller | None = None
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[_Ending] = self._loop.create_future()
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
            self._inbox.append(data)
            self._unread += len(data)
            self._memory.take(len(data))
        if self._reading and self._is_behind():
            self._reading = False
            self._transport.pause_reading()
        self._wake_worker()

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer lets bytes wait, by the loop's clock; or None."""
        return self._transport.stalled_since

    def cut_off(self) -> None:
        """Let go of all bytes at once: the peer is too slow, and others need them."""
        self._end(OVERLOADED, SHORT_OF_MEMORY)
        self._drop_unread()
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
        deadline = self._loop.call_later(
            settings.handshake_timeout_secs, self._handshake_is_over
        )
        self._memory.holders.add(self)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                worker = group.create_task(self._work(group))
                self._transport.start(self)
                try:
                    ending = await self._ended
                    self._log_end(ending)
                    for task in (worker, *self._parked):
                        task.cancel()
                    await self._say_goodbye(ending)
                finally:
                    self._group = None
                if self._writer is not None:
                    self._writer.cancel()
        finally:
            deadline.cancel()
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            if self._caller is not None:
                await self._forget(self._caller)
            self._memory.holders.discard(self)
            self._drop_unread()
            self._outbox.abandon()

    def _log_end(self, ending: _Ending) -> None:
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
        self._end(OVERLOADED, text, Error(message=text, code=code.value))

    async def has_room(self) -> None:
        """Return when the peer has read enough to be answered."""
        await self._outbox.wait_for_room()

    def stop(self) -> None:
        """End the connection because the hub stops; parked pulls answer first."""
        self._stopping.set()
        self._services.notifier.wake_all()
        self._outbox.let_pass()
        self._wake_worker()

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
            Error(message=error, code=ErrorCode.TOO_LARGE.value),
        )
        return True

    def _is_behind(self) -> bool:
        return len(self._inbox) >= MAX_IN_FLIGHT or self._unread > MAX_UNREAD

    def _wake_worker(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            if not self._inbox:
                self._arrived = self._loop.create_future()
                await self._arrived
                continue
            data = self._inbox.popleft()
            size = 0 if isinstance(data, _Refused) else len(data)
            self._unread -= size
            if not (self._reading or self._is_behind()):
                self._reading = True
                self._transport.resume_reading()
            try:
                await self._outbox.wait_for_room()
                if not self._stopping.is_set():
                    await self._answer(data, group)
            finally:
                self._memory.give(size)
            del data  # it may be large, and the next one may not come for long
        await self._until(most=0)
        self._end(RESTART, "the hub is restarting")

    def _refuse_unread(self, data: str | bytes) -> None:
        if isinstance(data, bytes):  # it was announced, so nothing else fits here
            self._end(OVERLOADED, SHORT_OF_MEMORY)
            return
        refusal = Refusal(ErrorCode.AT_CAPACITY, SHORT_OF_MEMORY)
        self._inbox.append(_Refused(refusal, rid_of(data)))

    def _drop_unread(self) -> None:
        self._inbox.clear()
        self._memory.give(self._unread)
        self._unread = 0

    # Writing.

    def _write_soon(self) -> None:
        # All that a turn of the loop brings for this peer leaves in one write.
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._writer is not None or self._group is None or self._torn:
            return
        try:
            while self._transport.writable:
                texts = self._outbox.texts(WRITE_BYTES)
                if not texts:
                    break
                self._write(texts)
        except ConnectionError:
            self._abandon()
        if self._outbox.head() is not None:
            self._writer = self._group.create_task(self._write_patiently())

    async def _write_patiently(self) -> None:
        """Write what needs waiting: to a peer that reads slowly, and blobs."""
        try:
            while (frame := self._outbox.head()) is not None:
                await self._transport.wait_writable()
                if isinstance(frame, Download):
                    await self._write_blob(frame)
                    self._outbox.written()
                else:
                    self._write(self._outbox.texts(WRITE_BYTES))
        except ConnectionError:
            self._abandon()
        finally:
            self._writer = None

    def _write(self, texts: Sequence[Text]) -> None:
        self._transport.write(
            [text.text if isinstance(text, Handed) else text for text in texts]
        )
        for text in texts:
            if isinstance(text, Handed):
                self._note_handed(text)
        self._outbox.written(len(texts))

    def _abandon(self) -> None:
        self._end(NORMAL, "the peer is gone")
        self._outbox.abandon()

    def _note_handed(self, frame: Handed) -> None:
        if self._caller is not None and frame.seq and not self._caller.looks:
            self._services.receipts.handed_over(
                frame.room, self._caller.agent, frame.seq
            )

    async def _write_blob(self, blob: Download) -> None:
        # Nothing may come between the frame that announces a blob and its bytes, and
        # a slow reader costs one fragment of memory (protocol 1.5, 8.3).
        assert self._caller is not None
        assert self._group is not None
        async with self._services.quotas.downloads:
            with self._services.rights.watched(self._caller.agent) as ended:
                try:
                    await readable(self._services, self._caller, blob.digest)
                    file = await asyncio.to_thread(blob.path.open, "rb")
                except Refusal as refusal:
                    self._refuse_blob(blob, as_error(refusal))
                    return
                except OSError:
                    gone = Refusal(ErrorCode.INTERNAL, UNAVAILABLE)
                    self._refuse_blob(blob, as_error(gone))
                    return
                except Exception as error:  # noqa: BLE001 - outermost; logged there
                    self._refuse_blob(blob, as_fault(error))
                    return
                guard = self._group.create_task(
                    self._stop_when_unreadable(blob, self._caller, ended)
                )
                try:
                    await self._write_blob_now(blob, file)
                finally:
                    guard.cancel()

    def _refuse_blob(self, blob: Download, error: Error) -> None:
        error.rid = blob.rid
        self._transport.write([encode_utf8(error)])

    async def _stop_when_unreadable(
        self, blob: Download, caller: Caller, ended: asyncio.Event
    ) -> None:
        while True:
            await ended.wait()
            ended.clear()
            try:
                await readable(self._services, caller, blob.digest)
            except Refusal:
                break
            except Exception as error:  # noqa: BLE001 - outermost; it is logged there
                as_fault(error)
                break
        # No frame but a close may follow a part of a blob (protocol 8.3).
        self._torn = True
        if self._writer is not None:
            self._writer.cancel()
        self._outbox.abandon()
        if not self._transport.writable:
            self._transport.abort()  # what waits to be read is no longer its to read
        self._end(VIOLATION, "the blob is no longer yours to read")

    async def _write_blob_now(self, blob: Download, opened: BinaryIO) -> None:
        with opened as file:
            self._transport.write([blob.incoming])
            piece = await asyncio.to_thread(file.read, FRAGMENT_BYTES)
            first = True
            while True:
                following = await asyncio.to_thread(file.read, FRAGMENT_BYTES)
                await self._transport.send_fragment(
                    piece, first=first, last=not following
                )
                if not following:
                    return
                piece, first = following, False

    # One frame.

    async def _answer(
        self, data: str | bytes | _Refused, group: asyncio.TaskGroup
    ) -> None:
        if self._ended.done():
            return
        if not isinstance(data, str):
            await self._until(sends=0)
            if isinstance(data, bytes):
                await self._take_upload(data)
                return
            await self._punish(data.refusal)
            self._reply(as_error(data.refusal), data.rid)
            return
        try:
            request = await self._decoded(data)
        except Refusal as refusal:  # for its size: it is not read at all
            await self._until(sends=0)
            await self._punish(refusal)
            self._reply(as_error(refusal), rid_of(data))
            return
        except BadFrame as bad:
            await self._until(sends=0)
            await self._refuse_malformed(bad)
            return
        await self._until(most=MAX_IN_FLIGHT - 1)
        if (
            isinstance(request, Send)
            and len(data) < AT_ONCE_BYTES
            and self._send_at_once(request, len(data))
        ):
            return
        await self._until(sends=0)
        if self._stopping.is_set():
            return
        self._in_flight += 1
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
        idle = self._arrived is not None and not self._arrived.done()
        if (
            not idle
            or self._in_flight >= MAX_IN_FLIGHT
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
            self._sending -= 1
            self._land()
            self._answer_send(outcome, request.rid)

        try:
            if uncounted:
                self._services.quotas.count_read(caller.agent, self._ip, size)
            self._services.limits.count_request(caller.agent)
            self._check_bounds(request)
            send_soon(self._services, caller, request, live, answer)
        except Refusal as refusal:
            self._services.requests["send", outcome_of(as_error(refusal))] += 1
            self._inbox.appendleft(_Refused(refusal, request.rid))
            self._wake_worker()
            return True
        self._memory.take(size)
        self._in_flight += 1
        self._sending += 1
        return True

    def _answer_send(self, outcome: Sent | BaseException, rid: str | None) -> None:
        reply = as_reply(outcome)
        self._services.requests["send", outcome_of(reply)] += 1
        if not self._ended.done():
            self._reply(reply, rid)

    def _land(self) -> None:
        self._in_flight -= 1
        if self._landed is not None and not self._landed.done():
            self._landed.set_result(None)

    async def _until(
        self, *, most: int = MAX_IN_FLIGHT, sends: int = MAX_IN_FLIGHT
    ) -> None:
        while self._in_flight > most or self._sending > sends:
            self._landed = self._loop.create_future()
            await self._landed

    async def _take_upload(self, data: bytes) -> None:
        upload = self._caller.take_upload() if self._caller else None
        self._transport.accept_binary(0)
        if self._caller is None or upload is None:
            error = Error(message="no upload was announced", code=ErrorCode.PROTOCOL)
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
            self._land()

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
            if not proven.looks:
                await self._services.last_seen.note(
                    proven.id, proven.name, proven.role, now=now
                )
        except Refusal as refusal:
            # A full disk must not keep anybody from reading or from deleting.
            log.warning("an agent was let in unrecorded: %s", refusal.message)
        self._caller = Caller(
            agent=proven.id,
            name=proven.name,
            role=proven.role,
            ip=self._ip,
            listener=self,
            stopping=self._stopping,
            touched_ms=now,
            looks=proven.looks,
        )
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
            self._end(VIOLATION, said, Error(message=said, code=ErrorCode.TIMEOUT))

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
            self._ended.set_result(_Ending(code, reason, error))

    async def _say_goodbye(self, ending: _Ending) -> None:
        if ending.error is not None:
            self._outbox.reply(encode_utf8(ending.error))
        if ending.code != NORMAL and not self._torn:
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
