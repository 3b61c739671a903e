"""Answering the questions that come as direct messages: each once, none lost.

A question is noted on disk before its agent is started, and acknowledged to the hub
after the hub has stored the answer, so an answerer that is killed in between finds it
again. If the agent may only read, it is then asked a second time, and no third time;
if it might have changed something, the asker is told instead.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from parler.apps.kit.permission import Permission
from parler.ask.headless import Bench, Question, answer
from parler.ask.hops import MAX_HOPS
from parler.ask.projects import LOCAL, Project
from parler.ask.pseudonyms import Pseudonyms
from parler.ask.thread import (
    Asker,
    Event,
    Line,
    Thread,
    Tier,
    ending,
    note_refusal,
    open_turns,
)
from parler.client.client import Client
from parler.client.messages import Message
from parler.client.questions import Answered, Ask, Status, answer_parts, ask_of
from parler.errors import (
    ConfigError,
    NotMember,
    ParlerError,
    UsageError,
)
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.text.terminal import shown_name, visible
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import exact
from parler.wire.parts import SigPart
from parler.wire.records import RoomKind, RoomTarget, TaskStatus
from parler.wire.replies import RoomList
from parler.wire.requests import Rooms
from parler.workers.ledger import MAX_UID_BYTES, Entry, Ledger, Outcome, Phase, Standing
from parler.workers.selection import MAX_SKEW_MS

LOOK_SECS = 10.0
"""How often direct messages are looked for that nobody announced."""

AT_ONCE = 3
NOT_PERMITTED = "the owner of this project has not permitted you to ask it"
MAX_ATTEMPTS = 2


class Step(StrEnum):
    """How far a question is; each is reached after it is on disk or stored."""

    TAKEN = "taken"
    STARTED = "started"
    ENDED = "ended"
    TOLD = "told"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that was dealt with."""

    project: str
    asker: str
    asker_id: AgentId
    fingerprint: str
    status: Status
    question: str
    note: str | None = None
    elapsed_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What an answerer needs."""

    client: Client
    ledger: Ledger
    bench: Bench
    projects: Callable[[], list[Project]]
    """Those that are served, asked anew for each question: grants may change."""

    own_agents: Callable[[], frozenset[str]]
    """The agents of this user on this machine."""

    dealt: Callable[[Asked], None] = lambda _: None
    reached: Callable[[Step], None] = lambda _: None


@dataclass(slots=True)
class Answerer:
    """Answers questions until it is cancelled."""

    desk: Desk
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _busy: set[RoomName] = field(default_factory=set)
    _again: set[RoomName] = field(default_factory=set)

    async def stay(self) -> None:
        """Answer as questions come.

        Raises:
            ExceptionGroup: With the `ParlerError` that will not pass.
        """
        news = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(news))
            while True:
                news.clear()
                for room in await self._rooms():
                    self._attend(room, tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECS):
                        await news.wait()

    async def look(self) -> None:
        """Answer what waits now."""
        for room in await self._rooms():
            await self._room(room)

    async def _listen(self, news: asyncio.Event) -> None:
        await self.desk.client.subscribe()
        async for _ in self.desk.client.notifications():
            news.set()

    async def _rooms(self) -> list[RoomName]:
        try:
            listed = await self.desk.client.request(Rooms(), RoomList)
        except ParlerError as error:
            if not error.retryable:
                raise
            return []
        open_ = [one for one in listed.rooms if one.kind is RoomKind.DM]
        return [one.name for one in open_ if one.unread]

    def _attend(self, room: RoomName, tasks: asyncio.TaskGroup) -> None:
        if room in self._busy:
            self._again.add(room)
            return
        self._busy.add(room)
        tasks.create_task(self._until_quiet(room))

    async def _until_quiet(self, room: RoomName) -> None:
        try:
            while True:
                self._again.discard(room)
                try:
                    async with self._gate:
                        await self._room(room)
                except ParlerError as error:
                    if not (error.retryable or isinstance(error, NotMember)):
                        raise
                    return  # it is unread, and looked at again
                if room not in self._again:
                    return
        finally:
            self._busy.discard(room)

    async def _room(self, room: RoomName) -> None:
        """Deal with what is unread in a room, in order."""
        while True:
            batch = await self.desk.client.pull(room)
            for message in batch.messages:
                await self._deal(message)
                await self.desk.client.ack(room, message.seq)
            if not batch.messages:
                return

    async def _deal(self, message: Message) -> None:
        ask = ask_of(message)
        if message.author.id == self.desk.client.agent_id or ask is None:
            return
        sig = next((part for part in message.parts if isinstance(part, SigPart)), None)
        if message.signature is not Signature.VALID or sig is None:
            return
        if len(sig.uid.encode("utf-8", "replace")) > MAX_UID_BYTES:
            return
        if sig.ts > self.desk.bench.now() + MAX_SKEW_MS:
            return
        key = f"{message.author.id}:{sig.uid}"
        entry = Entry(key=key, room=message.room, message=message.id, seq=message.seq)
        match self.desk.ledger.take(entry, signed=sig.ts):
            case Standing.NEW:
                self.desk.reached(Step.TAKEN)
            case Standing.OPEN:
                entry = self._open(entry)
            case Standing.DONE | Standing.STALE:
                return
        asked = None
        if entry.phase is not Phase.ENDED:
            entry, asked = await self._work(entry, message, ask)
        await self._tell(entry)
        if asked is not None:
            self.desk.dealt(asked)

    def _open(self, entry: Entry) -> Entry:
        """A question that was taken before, as far as it came."""
        known = self.desk.ledger.unfinished(entry.room)
        return next((one for one in known if one.key == entry.key), entry)

    async def _work(
        self, entry: Entry, message: Message, ask: Ask
    ) -> tuple[Entry, Asked]:
        interrupted = entry.phase is Phase.STARTED
        result = await self._answer(message, ask, interrupted=interrupted, entry=entry)
        outcome = Outcome(
            status=_AS_TASK[result.status],
            text=result.text,
            note=result.note,
            elapsed_ms=result.elapsed_ms,
        )
        ended = self.desk.ledger.end(entry.key, outcome)
        self.desk.reached(Step.ENDED)
        return ended, Asked(
            project=result.project,
            asker=exact(message.author.name),
            asker_id=message.author.id,
            fingerprint=fingerprint(message.author.id),
            status=result.status,
            question=ask.question,
            note=result.note,
            elapsed_ms=result.elapsed_ms,
        )

    async def _answer(
        self, message: Message, ask: Ask, *, interrupted: bool, entry: Entry
    ) -> "_Result":
        author, desk = message.author, self.desk
        project = self._meant(ask)
        if project is None:
            return _declined(ask.project or "", "no such project is served here")
        asker, permission = _standing(desk, project, message, ask)
        if permission is None:
            return self._refuse(project, message, ask, NOT_PERMITTED)
        if ask.deadline_ms is not None and ask.deadline_ms < (
            desk.bench.now() - MAX_SKEW_MS
        ):
            return self._refuse(project, message, ask, "nobody waits for it any more")
        depth = max(ask.hops, 0)
        if depth >= MAX_HOPS:
            why = f"{depth} agents are asking one another in a row already"
            return self._refuse(project, message, ask, why)
        talk = Thread(desk.bench.home, project.name, asker)
        lines = talk.lines()
        if done := ending(lines, message.id):
            return _result_of(done)  # it was only not told
        begun = open_turns(lines).get(message.id, 0)
        if interrupted and (permission.changes or begun >= MAX_ATTEMPTS):
            return self._give_up(talk, project, message)
        desk.ledger.start(entry.key)
        desk.reached(Step.STARTED)
        question = Question(
            turn=message.id,
            text=ask.question,
            context=ask.context,
            proof=f"fingerprint {fingerprint(author.id)}, signature verified",
            permission=permission,
            message=message.id,
            live=True,
        )
        try:
            bench = replace(desk.bench, depth=depth)
            return _result_of(await answer(project, talk, question, bench))
        except (UsageError, ConfigError) as error:
            return _Result(
                project=project.alias, status=Status.FAILED, note=error.message
            )

    def _meant(self, ask: Ask) -> Project | None:
        served = self.desk.projects()
        if ask.project is None:
            return served[0] if len(served) == 1 else None
        return next((one for one in served if one.alias == ask.project), None)

    def _refuse(
        self, project: Project, message: Message, ask: Ask, why: str
    ) -> "_Result":
        line = Line(
            event=Event.DECLINED,
            turn=message.id,
            at=self.desk.bench.now(),
            asker=exact(message.author.name),
            asker_id=message.author.id,
            project=project.alias,
            text=ask.question,
            message=message.id,
            note=why,
        )
        note_refusal(self.desk.bench.home, project.name, line)
        return _declined(project.alias, why)

    def _give_up(self, talk: Thread, project: Project, message: Message) -> "_Result":
        line = Line(
            event=Event.FAILED,
            turn=message.id,
            at=self.desk.bench.now(),
            asker=talk.asker.label,
            asker_id=message.author.id,
            project=project.alias,
            message=message.id,
            tier=Tier.LIVE,
            note="the answerer was interrupted; ask again",
        )
        talk.append(line)
        return _result_of(line)

    async def _tell(self, entry: Entry) -> None:
        outcome = entry.outcome
        assert outcome is not None, "an ended question has an outcome"
        answered = Answered(
            status=_AS_STATUS[outcome.status],
            tier=Tier.LIVE,
            elapsed_ms=outcome.elapsed_ms,
        )
        await self.desk.client.send(
            RoomTarget(room=entry.room),
            answer_parts(outcome.text or outcome.note or "", answered),
            reply_to=entry.message,
            # Told again after a crash, it is stored once (protocol 5.2).
            client_id=f"parler-ask:{entry.message}:answer",
        )
        self.desk.reached(Step.TOLD)
        self.desk.ledger.finish(entry.key)
        self.desk.reached(Step.FINISHED)


_AS_TASK = {
    Status.DONE: TaskStatus.DONE,
    Status.FAILED: TaskStatus.FAILED,
    Status.DECLINED: TaskStatus.CANCELLED,
}
_AS_STATUS = {task: status for status, task in _AS_TASK.items()}
_OF_EVENT = {
    Event.ANSWERED: Status.DONE,
    Event.FAILED: Status.FAILED,
    Event.DECLINED: Status.DECLINED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    project: str
    status: Status
    text: str = ""
    note: str | None = None
    elapsed_ms: int | None = None


def _declined(project: str, why: str) -> _Result:
    return _Result(project=visible(project)[:80], status=Status.DECLINED, note=why)


def _result_of(line: Line) -> _Result:
    return _Result(
        project=line.project,
        status=_OF_EVENT[line.event],
        text=line.text,
        note=line.note,
        elapsed_ms=line.elapsed_ms,
    )


def _standing(
    desk: Desk, project: Project, message: Message, ask: Ask
) -> tuple[Asker, Permission | None]:
    """Who asks, and what the agent may do for them.

    Which project of this machine asks is believed to the user's own agents only.
    """
    author = message.author
    asker = Asker(key=f"agent:{author.id}", label=exact(author.name), agent=author.id)
    if author.id not in desk.own_agents():
        return asker, project.permission_of([author.id])
    known = None
    if ask.asker is not None:
        known = Pseudonyms(desk.bench.home).find(ask.asker, agent=author.id)
    if known is None:
        return asker, project.permission_of([author.id, LOCAL])
    return known, project.permission_of([author.id, known.label, LOCAL])


def shown(asked: Asked) -> str:
    """One line for whoever watches an answerer."""
    took = f" after {asked.elapsed_ms} ms" if asked.elapsed_ms is not None else ""
    note = f": {visible(asked.note)}" if asked.note else ""
    if asked.note == NOT_PERMITTED:
        note = (
            f", who may not; to permit it: parler project allow {asked.project} "
            f"--from {asked.asker_id}"
        )
    return (
        f"{asked.status}{took}  {visible(asked.project)}  asked by "
        f"{shown_name(asked.asker)} {asked.fingerprint}{note}"
    )
