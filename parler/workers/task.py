"""Carrying out one task from taking it to having told how it ended.

Every step is noted in the ledger before the next, so that whatever stops the worker,
`Tasks.resume` knows what is owed (the argument is in `ledger`). Where tasks come from
is the workers' part; how one is claimed against others is `claims`'.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from parler.apps.kit.headless import Runner
from parler.client.client import Client
from parler.client.messages import Message
from parler.errors import ConfigError, ParlerError, TooLarge
from parler.machine.reaper import CANNOT_RUN
from parler.machine.runner import GRACE_SECS, Ended, Hear, Program, run
from parler.text.terminal import sentence, word
from parler.wire.base import AgentId, MessageId, RoomName, Seq
from parler.wire.records import TaskStatus
from parler.wire.replies import PresenceOk, Sent
from parler.wire.requests import Presence
from parler.workers import prompt, runners
from parler.workers.budget import MAX_HOPS, Budget
from parler.workers.claims import Claims, LeaseLost, say
from parler.workers.ledger import Entry, Ledger, NextTurn, Outcome, Phase, Standing
from parler.workers.receipts import final, handing_on, progress
from parler.workers.selection import Request

MAX_ANSWER_CHARS = 16_000
"""Of an agent's answer that is told."""

FAREWELL_SECS = 5.0
"""How long telling may take when the worker itself is being stopped."""

_SHORT_CHARS = 4000
_INTERRUPTED = (
    "the worker was interrupted while it worked on this; what it had done until then "
    "is not known, and it is not repeated"
)
_STOPPED = "the worker was stopped by its user while it worked on this"
_BEFORE = "this was taken here before, under another lease, and is not repeated"
_RETURNED = "what you asked for is done, as told here: go on with it"
_STALE = "this is so old that it may have been done before; ask again if it was not"


class Step(StrEnum):
    """What has just been done for a task."""

    RESERVED = "reserved"
    TAKEN = "taken"
    WORKING = "working"
    STARTED = "started"
    RAN = "ran"
    ENDED = "ended"
    CONFIRMED = "confirmed"
    TOLD = "told"
    HANDED_ON = "handed on"
    CLOSED = "closed"
    FINISHED = "finished"


class Watcher(Protocol):
    """Who watches a worker. Whatever a method raises ends the worker."""

    def reached(self, step: Step, task: MessageId) -> None:
        """A step was done, and is on disk or at the hub."""

    def note(self, text: str) -> None:
        """Something a user should know."""

    def output(self, data: bytes) -> None:
        """The program said something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is run for each task."""

    runner: Runner
    environment: Mapping[str, str]
    folder: Path
    timeout_secs: float
    max_output_bytes: int
    worker: prompt.Worker
    grace_secs: float = GRACE_SECS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task whose end was told."""

    room: RoomName
    task: MessageId
    author: AgentId
    outcome: Outcome
    seq: Seq
    """Of the receipt."""


@dataclass(slots=True, kw_only=True)
class Tasks:
    """Carries out tasks of one room, one at a time."""

    client: Client
    room: RoomName
    ledger: Ledger
    budget: Budget
    claims: Claims
    job: Job
    watcher: Watcher
    token: Callable[[int], str]
    """Random text, for the mark around a peer's words."""

    returns_turn: bool = False
    """Whoever asked has the turn again with a result, unless it was handed on."""

    async def take(self, request: Request) -> Finished | None:
        """Carry out a task, unless it was before or somebody else has it."""
        message = request.message
        entry = Entry(
            key=request.key, room=self.room, message=message.id, seq=message.seq
        )
        match self.ledger.take(entry, signed=request.signed):
            case Standing.NEW:
                self.watcher.reached(Step.RESERVED, message.id)
                return await self._carry_out(request)
            case Standing.OPEN:
                return None  # `resume` comes first, and has it
            case Standing.DONE:
                return await self.decline(message, _BEFORE, only_if_queued=True)
            case Standing.STALE:
                return await self.decline(message, _STALE)

    async def resume(self, entry: Entry, request: Request | None) -> Finished | None:
        """Do what is owed for a task that was taken and not finished.

        Args:
            request: The task read again; None if it is gone or may not be done now.
        """
        match entry.phase:
            case Phase.RESERVED:
                if request is not None and request.key == entry.key:
                    return await self._carry_out(request)
                self.ledger.release(entry.key)
                return None
            case Phase.STARTED:
                outcome = Outcome(status=TaskStatus.FAILED, note=_INTERRUPTED)
                if not await self.claims.confirm(entry.message):
                    self._let_go(entry)
                    return None
                entry = self.ledger.end(entry.key, outcome)
                return await self._tell(entry, again=False)
            case Phase.ENDED:
                return await self._tell(entry, again=True)

    async def decline(
        self, message: Message, why: str, *, only_if_queued: bool = False
    ) -> Finished | None:
        """Tell that a task is not done, and why, without taking it into the ledger."""
        if only_if_queued and not self.claims.comes_back:
            return None
        if not await self.claims.take(message, ours_alone=False):
            return None
        status = await self.claims.ended(message)
        if status is not None:
            await self.claims.close(message.id, status)
            return None
        outcome = Outcome(status=TaskStatus.FAILED, note=why)
        sent = await self._say_final(message.id, outcome)
        await self.claims.close(message.id, outcome.status)
        self.watcher.note(f"declined {word(message.id)}: {sentence(why)}")
        return Finished(
            room=self.room,
            task=message.id,
            author=message.author.id,
            outcome=outcome,
            seq=sent.seq,
        )

    async def _carry_out(self, request: Request) -> Finished | None:
        message, key = request.message, request.key
        alone = request.reserved_for_us
        if not await self.claims.take(message, ours_alone=alone):
            self.watcher.note(f"{word(message.id)} is somebody else's")
            self._let_go_of(key)
            return None
        self.watcher.reached(Step.TAKEN, message.id)
        if (status := await self.claims.ended(message)) is not None:
            await self.claims.close(message.id, status)
            self.ledger.finish(key)
            self.watcher.note(f"{word(message.id)} is {status.value} already")
            return None
        outcome = self._over_budget(request) or await self._work(request)
        if outcome is None:
            self.watcher.note(f"lost the lease on {word(message.id)}; dropped it")
            self._let_go_of(key)
            return None
        entry = self.ledger.end(key, outcome)
        self.watcher.reached(Step.ENDED, message.id)
        return await self._tell(entry, again=False)

    def _over_budget(self, request: Request) -> Outcome | None:
        if request.hops >= MAX_HOPS:
            why: str | None = (
                f"this was handed on by {request.hops} workers in a row; a person has "
                "to look at it"
            )
        else:
            message = request.message
            why = self.budget.spend(message.id, reply_to=message.stored.reply_to)
        return None if why is None else Outcome(status=TaskStatus.FAILED, note=why)

    async def _work(self, request: Request) -> Outcome | None:
        """Run the program; None if the task was lost meanwhile."""
        task = request.message.id
        busy = Presence(status="working", activity="a task", while_connected=True)
        await self.client.request(busy, PresenceOk)
        parts = [progress(task, TaskStatus.WORKING)]
        await say(self.client, self.room, task, parts, what=TaskStatus.WORKING.value)
        self.watcher.reached(Step.WORKING, task)
        self.ledger.start(request.key)
        self.watcher.reached(Step.STARTED, task)
        try:
            ended = await self._run_held(request)
        except asyncio.CancelledError:
            await self._farewell(request.key)
            raise
        if ended is None:
            return None
        self.watcher.reached(Step.RAN, task)
        return self._outcome(ended, request)

    async def _run_held(self, request: Request) -> Ended | None:
        job = self.job
        program = Program(
            command=job.runner.arguments(job.environment, job.folder),
            environment={
                **job.environment,
                **runners.about(request, job.worker.role),
            },
            folder=job.folder,
            timeout_secs=job.timeout_secs,
            max_output_bytes=job.max_output_bytes,
            grace_secs=job.grace_secs,
        )
        data = (
            prompt.as_prompt(request, job.worker, mark=self.token(8))
            if job.runner.is_agent
            else prompt.as_json(request)
        )
        ended = None
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self.claims.keep(request.message.id))
                ended = await _run(program, data, self.watcher.output)
                keeping.cancel()
        except* LeaseLost:
            self.watcher.note("the lease is lost; the program was ended")
        return ended

    def _outcome(self, ended: Ended, request: Request) -> Outcome:
        text, then = prompt.read_answer(ended.output)
        if self.job.runner.is_agent and len(text) > MAX_ANSWER_CHARS:
            text = text[: MAX_ANSWER_CHARS - 1] + "…"
        status, note = TaskStatus.DONE, None
        if ended.timed_out:
            status = TaskStatus.FAILED
            note = f"stopped after {self.job.timeout_secs:g} s, its time limit"
        elif ended.status != 0:
            status = TaskStatus.FAILED
            note = f"exit status {ended.status}"
            if errors := prompt.without_colours(ended.errors).strip():
                note += f": {errors}"
        # A request that came with a receipt was itself such a return: it ends there.
        asked = request.handoff is not None and not request.reports
        returns = then is None and self.returns_turn and asked
        if returns:
            then = NextTurn(to=request.message.author.id, next=_RETURNED)
        if then is not None:
            then = msgspec.structs.replace(then, hops=request.hops + 1)
        done = status is TaskStatus.DONE
        return Outcome(
            status=status,
            text=text,
            note=note,
            elapsed_ms=ended.elapsed_ms,
            then=then if done else None,
            returns=returns and done,
        )

    async def _farewell(self, key: str) -> None:
        """Note that we were stopped, and tell it if that is soon done."""
        outcome = Outcome(status=TaskStatus.FAILED, note=_STOPPED)
        entry = self.ledger.end(key, outcome)
        with suppress(ParlerError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECS):
                await self._tell(entry, again=False)

    async def _tell(self, entry: Entry, *, again: bool) -> Finished | None:
        """Tell how a task ended; `again` if that may have been done already."""
        outcome, task = entry.outcome, entry.message
        assert outcome is not None, "an ended task has an outcome"
        if not await self.claims.confirm(task):
            if not again:
                self._let_go(entry)
                return None
            # Told and completed before, or taken over by somebody who tells it.
            self.ledger.finish(entry.key)
            return None
        self.watcher.reached(Step.CONFIRMED, task)
        sent = await self._say_final(task, outcome)
        self.budget.link(sent.id, reply_to=task)
        self.watcher.reached(Step.TOLD, task)
        if outcome.then is not None and not outcome.returns:
            parts = [handing_on(outcome.then)]
            handed = await say(self.client, self.room, task, parts, what="handoff")
            self.budget.link(handed.id, reply_to=task)
            self.watcher.reached(Step.HANDED_ON, task)
        await self.claims.close(task, outcome.status)
        self.watcher.reached(Step.CLOSED, task)
        self.ledger.finish(entry.key)
        self.watcher.reached(Step.FINISHED, task)
        return Finished(
            room=entry.room,
            task=task,
            author=AgentId(entry.key.partition(":")[0]),
            outcome=outcome,
            seq=sent.seq,
        )

    async def _say_final(self, task: MessageId, outcome: Outcome) -> Sent:
        for text in (outcome.text, outcome.text[:_SHORT_CHARS], ""):
            shown = msgspec.structs.replace(outcome, text=text)
            try:
                return await say(
                    self.client, self.room, task, final(task, shown), what="end"
                )
            except TooLarge:
                if not text:
                    raise
        raise AssertionError("the last attempt returned or raised")

    def _let_go(self, entry: Entry) -> None:
        self.watcher.note(f"{word(entry.message)} is somebody else's by now")
        self._let_go_of(entry.key)

    def _let_go_of(self, key: str) -> None:
        if self.claims.comes_back:
            self.ledger.release(key)
        else:
            self.ledger.finish(key)


async def _run(program: Program, data: bytes, hear: Hear) -> Ended:
    try:
        return await run(program, data, hear=hear)
    except ConfigError as error:  # its folder has gone, or there is no memory
        return Ended(
            status=CANNOT_RUN,
            timed_out=False,
            output="",
            errors=error.message,
            elapsed_ms=0,
        )
