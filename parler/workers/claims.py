"""Claiming a task against other workers, and keeping it until its end was told.

In a queue the hub decides, by claims with a lease (protocol 10.4). In any other room
the order of messages does: whoever's ``accepted`` comes first has the task. Running
anything, and remembering what was taken, is not done here.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from parler.client.client import Client
from parler.client.messages import Message
from parler.errors import ParlerError
from parler.text.terminal import shown_name
from parler.wire.base import AgentId, MessageId, RoomName, Seq
from parler.wire.foreign import Foreign, exact
from parler.wire.limits import MAX_PULL_LIMIT
from parler.wire.parts import Part
from parler.wire.records import RoomTarget, TaskStatus
from parler.wire.replies import Claimed, Completed, RosterList, Sent
from parler.wire.requests import Claim, Complete, Roster
from parler.workers.receipts import Receipts, client_id, progress


class LeaseLost(Exception):
    """A task is not ours any more; somebody else may be working on it."""


class Claims(Protocol):
    """One way of claiming tasks. Each method may raise what a request raises."""

    comes_back: bool
    """Whether a task that was let go may be offered again."""

    async def take(self, message: Message, *, ours_alone: bool) -> bool:
        """Get a task, and tell so; False if it is somebody else's."""

    async def ended(self, message: Message) -> TaskStatus | None:
        """How a task has ended already, if it has."""

    async def keep(self, task: MessageId) -> None:
        """Hold on to a task; ends only by cancellation, or raises `LeaseLost`."""

    async def confirm(self, task: MessageId) -> bool:
        """Whether a task is still ours, and for a while longer."""

    async def close(self, task: MessageId, status: TaskStatus) -> None:
        """Say that nothing is left to do, after that was told."""


async def say(
    client: Client, room: RoomName, task: MessageId, parts: list[Part], *, what: str
) -> Sent:
    """Say something about a task; however often, it is stored once."""
    return await client.send(
        RoomTarget(room=room), parts, reply_to=task, client_id=client_id(task, what)
    )


@dataclass(slots=True)
class _Log:
    """The receipts of a room, read as far as was asked for."""

    client: Client
    room: RoomName
    receipts: Receipts = field(default_factory=Receipts)
    _start: Seq | None = None
    _position: Seq = 0

    async def catch_up(self, since: Seq) -> Receipts:
        """Read everything after a position that was not read yet."""
        if self._start is None or since < self._start:
            self.receipts = Receipts()
            self._start = self._position = since
        while True:
            batch = await self.client.pull(
                self.room, since=self._position, limit=MAX_PULL_LIMIT
            )
            if not batch.messages:
                return self.receipts
            for message in batch.messages:
                self.receipts.note(message)
            self._position = batch.cursor


class RoomClaims:
    """Tasks of a room without a queue: the first ``accepted`` counts.

    One who accepts and then vanishes keeps the task: in such a room nobody knows
    whether it comes back, and it answers for the task when it does.
    """

    comes_back = False

    def __init__(self, client: Client, room: RoomName) -> None:
        """Nothing is asked yet."""
        self._client = client
        self._room = room
        self._log = _Log(client, room)

    async def take(self, message: Message, *, ours_alone: bool) -> bool:
        """Accept a task, unless somebody did before us or its author withdrew it."""
        receipts = await self._log.catch_up(message.seq)
        author, me = message.author.id, self._client.agent_id
        if receipts.endings(message.id).get(author) is TaskStatus.CANCELLED:
            return False
        asked = (me, author)
        if not ours_alone and receipts.first_taker(
            message.id, before=None, ignoring=asked
        ):
            return False
        accepted = await self._say(message.id, TaskStatus.ACCEPTED)
        if ours_alone:
            return True
        receipts = await self._log.catch_up(message.seq)
        first = receipts.first_taker(message.id, before=accepted.seq, ignoring=asked)
        if first is not None:
            note = f"{shown_name(first.name)} was first"
            await self._say(message.id, TaskStatus.CANCELLED, note)
        return first is None

    async def ended(self, message: Message) -> TaskStatus | None:
        """Never: who accepted first ends it."""
        return None

    async def keep(self, task: MessageId) -> None:
        """Nobody takes it away."""
        await asyncio.Event().wait()

    async def confirm(self, task: MessageId) -> bool:
        """Always."""
        return True

    async def close(self, task: MessageId, status: TaskStatus) -> None:
        """The receipt is the end."""

    async def _say(
        self, task: MessageId, status: TaskStatus, note: str | None = None
    ) -> Sent:
        parts = [progress(task, status, note)]
        return await say(self._client, self._room, task, parts, what=status.value)


class QueueClaims:
    """Tasks of a service, by claims: renewed in time, or given up.

    A task that another worker told the end of, and could not complete before its
    lease ended, is completed and not done again. Only the word of workers of this
    role counts for that, who could as well have claimed it.
    """

    comes_back = True

    def __init__(
        self,
        client: Client,
        room: RoomName,
        role: str,
        *,
        lease_secs: int,
        renew_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet."""
        self._client = client
        self._room = room
        self._role = role
        self._lease_secs = lease_secs
        self._renew_secs = renew_secs
        self._clock = clock
        self._until = 0.0
        self._log = _Log(client, room)

    async def take(self, message: Message, *, ours_alone: bool) -> bool:
        """Claim a task; one of ours is claimed again."""
        if not await self._claim(message.id):
            return False
        parts = [progress(message.id, TaskStatus.ACCEPTED)]
        what = TaskStatus.ACCEPTED.value
        await say(self._client, self._room, message.id, parts, what=what)
        return True

    async def ended(self, message: Message) -> TaskStatus | None:
        """How a worker of this role, or its author, said that it ended."""
        receipts = await self._log.catch_up(message.seq)
        endings = receipts.endings(message.id)
        if endings.get(message.author.id) is TaskStatus.CANCELLED:
            return TaskStatus.CANCELLED
        if not endings:
            return None
        workers = await self._workers()
        said = [status for agent, status in endings.items() if agent in workers]
        return said[0] if said else None

    async def keep(self, task: MessageId) -> None:
        """Renew the lease for as long as the hub lets us."""
        while True:
            left = self._until - self._clock()
            await asyncio.sleep(max(0.0, min(self._renew_secs, left)))
            left = self._until - self._clock()
            if left <= 0:
                raise LeaseLost
            try:
                held = await self._claim(task, timeout=left)
            except ParlerError as error:
                if not error.retryable:
                    raise LeaseLost from None
                continue
            if not held:
                raise LeaseLost

    async def confirm(self, task: MessageId) -> bool:
        """Renew the lease once more."""
        return await self._claim(task)

    async def close(self, task: MessageId, status: TaskStatus) -> None:
        """Complete a task. If its lease ended just now, it is claimed once more."""
        for _ in range(2):
            frame = Complete(room=self._room, message=task, status=status)
            # A repeated request is answered with False although the first worked.
            if (await self._client.request(frame, Completed)).completed:
                return
            if not await self._claim(task):
                return

    async def _claim(self, task: MessageId, *, timeout: float = 30.0) -> bool:
        asked_at = self._clock()
        frame = Claim(room=self._room, message=task, lease_secs=self._lease_secs)
        claimed = await self._client.request(frame, Claimed, timeout=timeout)
        if claimed.claimed:
            self._until = asked_at + self._lease_secs
        return claimed.claimed

    async def _workers(self) -> set[AgentId]:
        listed = await self._client.request(Roster(room=self._room), RosterList)
        wanted = _folded(self._role)
        return {
            entry.id
            for entry in listed.entries
            if entry.service_role is not None and _folded(entry.service_role) == wanted
        }


def _folded(role: str | Foreign) -> str:
    """A role as hubs compare it: only ASCII letters lose their case (10.4)."""
    return exact(role).encode("utf-8", "replace").lower().decode()
