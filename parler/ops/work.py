"""Working on what others ask for in a room or service, while nobody watches.

Which messages start work, how it is done once and told, is in `parler.wake`; here is
who may ask, what runs, and that there is one worker per identity and room.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from parler.apps.registry import DEFAULT_RUNNER, headless_ids
from parler.errors import ConfigError, UsageError
from parler.identity.homes import machine_home
from parler.identity.identity import load_identity
from parler.identity.signing import fingerprint
from parler.machine.backoff import system_fraction
from parler.machine.runner import GRACE_SECS
from parler.ops.admission import check_preapproved
from parler.ops.capability import SERVICE, SESSION, Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.queue import serve
from parler.peers.presence import Kind, announce, record_here
from parler.text.terminal import shell_word
from parler.text.transcript import Reader
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.records import TaskStatus
from parler.workers import runners
from parler.workers.budget import MAX_PER_CONVERSATION, Budget
from parler.workers.claims import Claims, RoomClaims
from parler.workers.ledger import Ledger
from parler.workers.lock import worker_lock
from parler.workers.prompt import Worker
from parler.workers.selection import Rules
from parler.workers.task import Finished, Job, Step, Tasks, Watcher
from parler.workers.worker import Office, RoomWorker, stay

__all__ = [
    "MAX_PER_CONVERSATION",
    "Limits",
    "Step",
    "Surroundings",
    "TaskEnd",
    "Watcher",
    "WorkParams",
    "work",
]

DEFAULT_PER_HOUR = 20
MAX_TIMEOUT_SECS = 7200
AGENT_OUTPUT_BYTES = 2**16
MIN_OUTPUT_BYTES, MAX_OUTPUT_BYTES = 2**10, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where programs run, and what there is to pass on to them."""

    environment: Mapping[str, str]
    folder: Path
    grace_secs: float = GRACE_SECS


ALLOW_FROM = Param("Only this agent may ask: id or fingerprint, never a name.", "ID")
ONCE = Param("End after one task.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use, and what it is told."""

    timeout_secs: float
    max_output_bytes: int = AGENT_OUTPUT_BYTES
    per_hour: int = DEFAULT_PER_HOUR
    per_conversation: int = MAX_PER_CONVERSATION
    pass_on: Annotated[
        list[str],
        Param("Pass this variable on to the runner.", "NAME", option="--env"),
    ] = field(default_factory=list)
    share_identity: Annotated[
        bool, Param("Let the runner use parler as this agent.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkParams:
    """Where to work, for whom, and with what."""

    room: Annotated[RoomName | None, SESSION] = None
    service: Annotated[str | None, SERVICE] = None
    runner: Annotated[
        str, Param(f"{', '.join(headless_ids())}, or a command for sh.", "WHAT")
    ] = DEFAULT_RUNNER
    everything: Annotated[
        bool, Param("Plain text starts work, too.", option="--all-messages")
    ] = False
    allow_from: Annotated[list[str], ALLOW_FROM] = field(default_factory=list)
    allow_any: Annotated[bool, Param("Anybody may ask a service.")] = False
    once: Annotated[bool, ONCE] = False
    limits: Limits


class TaskEnd(Result):
    """A task whose end was told to whoever asked for it."""

    room: RoomName
    task: MessageId
    author: AgentId
    status: TaskStatus
    seq: int
    elapsed_ms: int | None = None
    note: str | None = None


async def work(
    ctx: OpContext,
    params: WorkParams,
    *,
    surroundings: Surroundings,
    watcher: Watcher,
    done: Callable[[TaskEnd], None],
) -> None:
    """Work until cancelled, or after one task with `once`.

    Args:
        done: Is told of each task that ended, after its author was.

    Raises:
        UsageError: The runner is missing, anybody could ask, or another worker of
            this identity is in the room already.
        ExceptionGroup: With a `ParlerError` that will not pass.
    """
    if params.service is not None and not (params.allow_from or params.allow_any):
        raise UsageError(
            "anybody on the hub may write to a service, and start work by it",
            next_step="name who may with --allow-from ID, or say --allow-any",
        )
    worker = Worker(me=reader_of(ctx), role=params.service)
    job = prepare(ctx, params.runner, params.limits, worker, surroundings)
    rules = Rules(
        me=worker.me,
        allowed=allowed_of(params.allow_from),
        everything=params.everything or params.service is not None,
    )
    if params.service is not None:
        room = await enlist(ctx, params.service, watcher)
    else:
        room = ctx.room(params.room)
    with (
        worker_lock(ctx.identity.home, ctx.client.agent_id, room),
        shown_at_work(ctx, surroundings.folder, room, job),
    ):
        claims = RoomClaims(ctx.client, room)
        office = office_of(ctx, room, rules, job, params.limits, claims, watcher)
        office.tasks.returns_turn = True
        await stay(
            office,
            RoomWorker(office),
            once=params.once,
            done=lambda finished: done(task_end(finished)),
            fraction=system_fraction,
        )


async def enlist(ctx: OpContext, service: str, watcher: Watcher) -> RoomName:
    """Serve, and say if nothing comes before the service's owner has admitted us."""
    served = await serve(ctx, service)
    if not served.admitted:
        watcher.note(
            "no work comes before the owner of the service has admitted you: "
            f"parler serve {shell_word(served.service)} --admit "
            f"{fingerprint(ctx.client.agent_id)}"
        )
    return served.room


WORK = Capability(
    run=work,
    result=[TaskEnd],
    also=[Limits],
    about="Let an agent act on handoffs while nobody watches.",
    more="It works in this folder. Only validly signed messages start work, each "
    "once. A message is given to the runner on stdin, as data from its author. What "
    "it answers is sent to the room with a receipt: done or failed. With a result the "
    "turn goes back to whoever handed it over, unless the runner hands it on. A "
    "receipt starts work only if it hands the turn to this agent by name.",
    command="work",
    example="""\
parler work --runner claude
parler work --service review --allow-from ABCD-EFGH-IJKL-MNOP --runner codex""",
    no_tool="what runs while nobody watches is for a person to start",
)


@contextmanager
def shown_at_work(
    ctx: OpContext, folder: Path, room: RoomName, job: Job
) -> Iterator[None]:
    """Be seen by the agents of this machine, as far as that can be written."""
    record = record_here(
        ctx.client.agent_id,
        ctx.identity.name,
        folder=folder,
        kind=Kind.WORKER,
        # Of a command, no more than that it is one.
        app=job.runner.name if job.runner.is_agent else "command",
        role=ctx.identity.role,
        hub=ctx.hub,
        room=room,
        wake="push",
        derived=f"works on what is asked in {room}",
    )
    try:
        handle = announce(machine_home(ctx.identity.home), record)
    except ConfigError:
        yield  # a home that cannot be written to is told by what needs it
        return
    try:
        yield
    finally:
        handle.close()


def reader_of(ctx: OpContext) -> Reader:
    """Who we are, when it is decided what is meant for us."""
    me = ctx.identity
    return Reader(agent=me.agent_id, name=me.name, role=me.role)


def allowed_of(allow_from: list[str]) -> frozenset[str] | None:
    """Who may ask; None is everybody there.

    Raises:
        UsageError: One of them is a name.
    """
    return frozenset(check_preapproved(allow_from)) if allow_from else None


def prepare(
    ctx: OpContext,
    named: str,
    limits: Limits,
    worker: Worker,
    surroundings: Surroundings,
) -> Job:
    """What will be run for each task, if it is there.

    Raises:
        UsageError: It is not, or the limits make no sense.
    """
    if limits.timeout_secs <= 0 or limits.per_hour < 0:
        raise UsageError("a worker needs a time limit above 0, and no negative budget")
    runner = runners.runner_of(named)
    environment = runners.environment(
        surroundings.environment,
        runner,
        extra=limits.pass_on,
        home=ctx.identity.home if limits.share_identity else None,
    )
    runners.require(runner, environment, surroundings.folder)
    output = min(max(limits.max_output_bytes, MIN_OUTPUT_BYTES), MAX_OUTPUT_BYTES)
    return Job(
        runner=runner,
        environment=environment,
        folder=surroundings.folder,
        timeout_secs=limits.timeout_secs,
        max_output_bytes=output,
        worker=worker,
        grace_secs=surroundings.grace_secs,
    )


def office_of(
    ctx: OpContext,
    room: RoomName,
    rules: Rules,
    job: Job,
    limits: Limits,
    claims: Claims,
    watcher: Watcher,
) -> Office:
    """Everything a worker of a room needs."""
    home, me = ctx.identity.home, ctx.client.agent_id
    budget = Budget(
        home,
        me,
        per_hour=limits.per_hour,
        per_conversation=limits.per_conversation,
        now=ctx.now,
    )
    tasks = Tasks(
        client=ctx.client,
        room=room,
        ledger=Ledger(home, me, now=ctx.now),
        budget=budget,
        claims=claims,
        job=job,
        watcher=watcher,
        token=secrets.token_hex,
    )
    return Office(
        client=ctx.client,
        room=room,
        tasks=tasks,
        rules=rules,
        attention=lambda: load_identity(home).attention,
        watcher=watcher,
        now=ctx.now,
    )


def task_end(finished: Finished) -> TaskEnd:
    """What is shown of a finished task."""
    outcome = finished.outcome
    return TaskEnd(
        room=finished.room,
        task=finished.task,
        author=finished.author,
        status=outcome.status,
        seq=finished.seq,
        elapsed_ms=outcome.elapsed_ms,
        note=outcome.note,
    )
