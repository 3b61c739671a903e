"""Keeping a command at work: on the tasks of a role, or on what is said in a room.

Of a role's tasks exactly one free worker takes each, under a lease (protocol 10.4).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from parler.errors import UsageError
from parler.machine.backoff import system_fraction
from parler.ops.capability import Capability, Param
from parler.ops.context import OpContext
from parler.ops.queue import MAX_LEASE_SECS, MIN_LEASE_SECS
from parler.ops.work import (
    ALLOW_FROM,
    ONCE,
    Limits,
    Surroundings,
    TaskEnd,
    Watcher,
    allowed_of,
    enlist,
    office_of,
    prepare,
    reader_of,
    shown_at_work,
    task_end,
)
from parler.wire.base import RoomName
from parler.workers.claims import QueueClaims, RoomClaims
from parler.workers.lock import worker_lock
from parler.workers.prompt import Worker
from parler.workers.selection import Rules
from parler.workers.worker import Office, QueueWorker, RoomWorker, stay

MIN_RENEW_SECS, MAX_RENEW_SECS = 5.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperviseParams:
    """What to work on, with which command; a role or a room."""

    runner: Annotated[str, Param("A command for sh, or a known agent.", "CMD")]
    role: Annotated[str | None, Param("Take tasks of this role.")] = None
    room: Annotated[RoomName | None, Param("Or take what is said here.")] = None
    allow_from: Annotated[list[str], ALLOW_FROM] = field(default_factory=list)
    lease_secs: int = 300
    """For how long nobody else gets a task; it is renewed."""

    renew_secs: float | None = None
    """How often; otherwise a third of the lease."""

    once: Annotated[bool, ONCE] = False
    limits: Limits


async def supervise(
    ctx: OpContext,
    params: SuperviseParams,
    *,
    surroundings: Surroundings,
    watcher: Watcher,
    done: Callable[[TaskEnd], None],
) -> None:
    """Work until cancelled, or after one task with `once`.

    Args:
        done: Is told of each task that ended, after its author was.

    Raises:
        UsageError: Neither or both of role and room, the runner is missing, or another
            worker of this identity is there already.
        ExceptionGroup: With a `ParlerError` that will not pass.
    """
    if (params.role is None) == (params.room is None):
        raise UsageError("name either --role or --room")
    worker = Worker(me=reader_of(ctx), role=params.role)
    job = prepare(ctx, params.runner, params.limits, worker, surroundings)
    rules = Rules(me=worker.me, allowed=allowed_of(params.allow_from), everything=True)
    room = params.room
    if params.role is not None:
        room = await enlist(ctx, params.role, watcher)
    assert room is not None, "one of the two was named"
    claims = _claims(ctx, params, room)
    with (
        worker_lock(ctx.identity.home, ctx.client.agent_id, room),
        shown_at_work(ctx, surroundings.folder, room, job),
    ):
        office = office_of(ctx, room, rules, job, params.limits, claims, watcher)
        await stay(
            office,
            _worker(office, params.role),
            once=params.once,
            done=lambda finished: done(task_end(finished)),
            fraction=system_fraction,
        )


SUPERVISE = Capability(
    run=supervise,
    result=[TaskEnd],
    also=[Limits],
    about="Run a command for each task of a role or each message.",
    more="Exactly one free worker takes each task of a role. The command reads one "
    "JSON object on stdin: who asks, and the parts of the message. It is also told "
    "PARLER_TASK_ID, PARLER_ROOM, PARLER_FROM, PARLER_FROM_NAME and PARLER_ROLE. What "
    "it prints is sent to the room with a receipt: done, or failed if its exit status "
    "is not 0.",
    command="supervise",
    example="""\
parler supervise --role review --runner './review.sh'
parler supervise --room team --runner 'python answer.py' --once""",
    no_tool="what runs while nobody watches is for a person to start",
)


def _claims(
    ctx: OpContext, params: SuperviseParams, room: RoomName
) -> QueueClaims | RoomClaims:
    if params.role is None:
        return RoomClaims(ctx.client, room)
    lease_secs = min(max(params.lease_secs, MIN_LEASE_SECS), MAX_LEASE_SECS)
    renew_secs = min(max(lease_secs / 3, MIN_RENEW_SECS), MAX_RENEW_SECS)
    return QueueClaims(
        ctx.client,
        room,
        params.role.strip(),
        lease_secs=lease_secs,
        renew_secs=params.renew_secs or renew_secs,
    )


def _worker(office: Office, role: str | None) -> QueueWorker | RoomWorker:
    return RoomWorker(office) if role is None else QueueWorker(office, role.strip())
