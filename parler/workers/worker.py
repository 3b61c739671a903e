"""Staying at work: taking the tasks of a room or of a queue, one after the other.

A worker outlives its hub: whatever fails for a while is tried again, and before each
look for new work it does what is owed for old. It ends by an error that will not
pass, by cancellation, or after one task if that is wanted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from parler.client.client import Client, Event
from parler.client.messages import Message
from parler.errors import ParlerError
from parler.identity.identity import AttentionPolicy
from parler.identity.signing import fingerprint
from parler.machine.backoff import Backoff
from parler.text.terminal import shown_name
from parler.wake.attention import Address, Verdict, address_of, judge
from parler.wire.base import RoomName, Seq
from parler.wire.replies import PresenceOk, Queued
from parler.wire.requests import Presence, Queue
from parler.workers.ledger import Entry
from parler.workers.selection import (
    Ignored,
    Request,
    Rules,
    choose,
    choose_dispatched,
    may_ask,
)
from parler.workers.task import Finished, Tasks, Watcher

LOOK_SECS = 10.0
"""How often work is looked for that nobody announces: an expired lease, for one."""

PRESENCE_SECS = 60.0
"""How often a hub is told that we wait for work; it believes it for 300 s (10.2)."""

GOODBYE_SECS = 2.0
MAX_QUEUED = 200


class Worker(Protocol):
    """Where tasks come from."""

    async def look(self) -> Finished | None:
        """Do the next task there is; None if there is none now."""


@dataclass(slots=True, kw_only=True)
class Office:
    """What both kinds of workers need."""

    client: Client
    room: RoomName
    tasks: Tasks
    rules: Rules
    attention: Callable[[], AttentionPolicy]
    """Asked before each look: it may change while we work."""

    watcher: Watcher
    now: Callable[[], int]


@dataclass(slots=True)
class RoomWorker:
    """Takes tasks from the messages of a room, in order, and counts them as read.

    The cursor passes a message when nothing is owed for it any more, and never one
    that attention holds back: that one stays unread, and what comes after it is read
    without moving the cursor.
    """

    office: Office
    _position: Seq | None = None
    _acked: Seq = 0
    _holding: bool = False
    _policy: AttentionPolicy | None = None

    async def look(self) -> Finished | None:
        """Read on until a task was done, or there is nothing new."""
        office = self.office
        for entry in office.tasks.ledger.unfinished(office.room):
            request = await self._again(entry)
            if finished := await office.tasks.resume(entry, request):
                return finished
        position = await self._begin()
        while True:
            batch = await office.client.pull(office.room, since=position)
            for message in batch.messages:
                finished = await self._consider(message)
                self._position = position = message.seq
                if finished:
                    await self._ack()
                    return finished
            await self._ack()
            if not batch.messages:
                return None

    async def _begin(self) -> Seq:
        policy = self.office.attention()
        if self._position is None:
            batch = await self.office.client.pull(self.office.room, limit=0)
            self._position = self._acked = batch.cursor
        elif policy != self._policy:
            self._position = self._acked  # what was held may be wanted now
        if policy != self._policy:
            self._policy, self._holding = policy, False
        return self._position

    async def _consider(self, message: Message) -> Finished | None:
        office = self.office
        if message.author.id == office.client.agent_id:
            return None
        address = address_of(message.stored, message.signature, office.rules.me)
        assert self._policy is not None, "a look has begun"
        verdict = judge(self._policy, address)
        if verdict is Verdict.HOLD and not message.signature.fails:
            self._hold()
            return None
        if verdict is not Verdict.WAKE:
            return None
        chosen = choose(message, office.rules, now=office.now())
        if isinstance(chosen, Ignored):
            warn(office.watcher, message, chosen)
            return None
        return await office.tasks.take(chosen)

    def _hold(self) -> None:
        if not self._holding:
            self.office.watcher.note(
                "a message is held back by your attention settings and stays unread"
            )
        self._holding = True

    async def _ack(self) -> None:
        if self._holding or self._position is None or self._position <= self._acked:
            return
        await self.office.client.ack(self.office.room, self._position)
        self._acked = self._position

    async def _again(self, entry: Entry) -> Request | None:
        return await read_again(self.office, entry, choose)


@dataclass(slots=True)
class QueueWorker:
    """Takes tasks that a service gives to exactly one of its workers (10.4)."""

    office: Office
    role: str

    async def look(self) -> Finished | None:
        """Claim and do the first task that is for us."""
        office = self.office
        for entry in office.tasks.ledger.unfinished(office.room):
            request = await read_again(office, entry, choose_dispatched)
            if finished := await office.tasks.resume(entry, request):
                return finished
        wanted = judge(office.attention(), Address(room=office.room, work=True))
        if wanted is not Verdict.WAKE:
            return None
        frame = Queue(room=office.room, role=self.role, limit=MAX_QUEUED)
        queued = await office.client.request(frame, Queued)
        for stored in queued.messages:
            if stored.room != office.room or not may_ask(
                stored.author.id, office.rules
            ):
                continue  # another worker may do it
            message = await asyncio.to_thread(office.client.judge, stored)
            if finished := await self._consider(message):
                return finished
        return None

    async def _consider(self, message: Message) -> Finished | None:
        office = self.office
        chosen = choose_dispatched(message, office.rules, now=office.now())
        if isinstance(chosen, Ignored):
            why = chosen.warning or "it asks for nothing"
            return await office.tasks.decline(message, why)
        return await office.tasks.take(chosen)


async def stay(
    office: Office,
    worker: Worker,
    *,
    once: bool,
    done: Callable[[Finished], None],
    fraction: Callable[[], float],
) -> None:
    """Let a worker work until it is cancelled, or has done one task.

    Raises:
        ParlerError: Something that will not pass.
    """
    shift = _Shift(office, Backoff(fraction))
    async with _announced(office.client, shift.news):
        try:
            await shift.run(worker, once=once, done=done)
        finally:
            with suppress(ParlerError, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECS):
                    idle = Presence(status="idle", while_connected=True)
                    await office.client.request(idle, PresenceOk)


@dataclass(slots=True)
class _Shift:
    office: Office
    pace: Backoff
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _said_at: float | None = None

    async def run(
        self, worker: Worker, *, once: bool, done: Callable[[Finished], None]
    ) -> None:
        while True:
            self.news.clear()  # register first, then look
            try:
                await self._wait_for_work()
                finished = await worker.look()
            except ParlerError as error:
                if not error.retryable:
                    raise
                self.office.watcher.note(f"{error.message}; trying again")
                await asyncio.sleep(self.pace.next())
                self._said_at = None
                continue
            self.pace.reset()
            if finished is not None:
                self._said_at = None  # the hub believes that we are working
                done(finished)
                if once:
                    return
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECS):
                    await self.news.wait()

    async def _wait_for_work(self) -> None:
        clock = asyncio.get_running_loop().time
        if self._said_at is None or clock() - self._said_at >= PRESENCE_SECS:
            waiting = Presence(status="waiting", while_connected=True)
            await self.office.client.request(waiting, PresenceOk)
            self._said_at = clock()


@asynccontextmanager
async def _announced(client: Client, news: asyncio.Event) -> AsyncIterator[None]:
    """Set `news` whenever the hub pushes anything, until the block ends."""

    async def listen() -> None:
        async for note in client.notifications():
            if not isinstance(note, Event):
                news.set()

    await client.subscribe()
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        yield
        listening.cancel()


async def read_again(
    office: Office,
    entry: Entry,
    chooser: Callable[..., Request | Ignored],
) -> Request | None:
    """The request behind an unfinished task, if it is still there and may be done."""
    batch = await office.client.pull(office.room, since=entry.seq - 1, limit=1)
    for message in batch.messages:
        if message.id == entry.message:
            chosen = chooser(message, office.rules, now=office.now())
            return chosen if isinstance(chosen, Request) else None
    return None


def warn(watcher: Watcher, message: Message, ignored: Ignored) -> None:
    """Say why a message was passed over, if somebody should know."""
    if ignored.warning is not None:
        author = message.author
        watcher.note(
            f"message {message.seq} of {shown_name(author.name)} "
            f"({fingerprint(author.id)}) starts no work: {ignored.warning}"
        )
