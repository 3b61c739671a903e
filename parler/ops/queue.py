"""The queue of a service: serving it, seeing what waits, taking and ending tasks.

These are single steps for scripts; a worker that takes them in the right order is not
here. Claiming is the hub's decision (protocol 10.4), and losing one is a result.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from parler.errors import NotFound, UsageError
from parler.identity.signing import fingerprint
from parler.ops.addressing import (
    Candidate,
    as_agent_id,
    find_agent,
    matching,
    members_of,
    pick,
)
from parler.ops.capability import SETS, Capability, Hints, Means, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.ops.message_named import message_named
from parler.ops.message_view import ShownMessage, shown
from parler.ops.messages import SendResult
from parler.ops.tasks import task_status
from parler.text.terminal import shell_word
from parler.wire.base import AgentId, MessageId, Millis, RoomName, Seq
from parler.wire.foreign import Foreign
from parler.wire.limits import DEFAULT_LEASE_SECS, DEFAULT_QUEUE_LIMIT
from parler.wire.names import service_room
from parler.wire.parts import DispatchPart, Part, TextPart
from parler.wire.records import RoomKind, ServiceTarget, TaskStatus
from parler.wire.replies import Claimed, Completed, Joined, Queued, WorkerAdmitted
from parler.wire.requests import AdmitWorker, Claim, Complete, Queue, Serve

MIN_LEASE_SECS, MAX_LEASE_SECS = 15, 3600
MAX_QUEUE_LIMIT = 200

_SERVICE = Param("The service you serve.", "NAME", positional=True, means=Means.SERVICE)
_MESSAGE = Param("The task: its number or id.", "ID", positional=True)


class ServeResult(Result):
    """The room of a service we work for, once its owner `admitted` us."""

    room: RoomName
    kind: RoomKind
    service: str
    admitted: bool = True


class AdmitResult(Result):
    """Who may work for which service of ours."""

    service: str
    agent: AgentId
    name: Foreign
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchParams:
    """Work for exactly one free worker of a role."""

    role: str
    text: str
    client_id: str | None = None
    """Of an earlier attempt, so that the two are stored as one (protocol 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueParams:
    """Whose queue to look at."""

    service: Annotated[str, _SERVICE]
    limit: Annotated[int, Param("At most N.", "N", ge=1, le=MAX_QUEUE_LIMIT)] = (
        DEFAULT_QUEUE_LIMIT
    )


class QueueResult(Result):
    """Tasks nobody holds, the oldest first."""

    room: RoomName
    messages: list[ShownMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimParams:
    """Which task to take, or to hold on to."""

    service: Annotated[str, _SERVICE]
    message: Annotated[MessageId, _MESSAGE]
    lease_secs: Annotated[
        int,
        Param(
            "For how long nobody else gets it.",
            option="--lease",
            ge=MIN_LEASE_SECS,
            le=MAX_LEASE_SECS,
        ),
    ] = DEFAULT_LEASE_SECS


class ClaimResult(Result):
    """Whether we hold the task, and until when."""

    room: RoomName
    message: MessageId
    claimed: bool
    lease_until: Millis | None = None
    seq: Seq | None = None
    """Its number, if it was named by less than its whole id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteParams:
    """Which task has ended, and how."""

    service: Annotated[str, _SERVICE]
    message: Annotated[MessageId, _MESSAGE]
    status: Annotated[
        TaskStatus,
        Param("done, failed or cancelled.", positional=True, parse=task_status),
    ]


class CompleteResult(Result):
    """Whether the task ended with our word; not so if we hold it no more."""

    room: RoomName
    message: MessageId
    status: TaskStatus
    completed: bool
    seq: Seq | None = None
    """As that of `ClaimResult`."""


async def serve(
    ctx: OpContext,
    service: Annotated[
        str,
        Param("As others ask for it.", "NAME", positional=True, means=Means.SERVICE),
    ],
    *,
    open_: Annotated[
        bool, Param("Let anybody work for your service, and ask it.", on_tool=False)
    ] = False,
    closed: Annotated[
        bool, Param("Only those you know or admit, as at first.", on_tool=False)
    ] = False,
) -> ServeResult:
    """Become a worker of a service; it is new, and ours, if nobody served it.

    Raises:
        UsageError: The service has no name, or is to be both open and closed.
    """
    _check_name(service, "service")
    if open_ and closed:
        raise UsageError("--open and --closed exclude each other")
    frame = Serve(service=service.strip(), open=open_ if open_ or closed else None)
    joined = await ctx.client.request(frame, Joined)
    ctx.known_rooms.remember(ctx.hub, joined.room)
    return ServeResult(
        room=joined.room,
        kind=joined.kind,
        service=service.strip(),
        admitted=joined.admitted is not False,
    )


SERVE = Capability(
    run=serve,
    about="Become a worker of a service.",
    more="Others reach it with `send --service`. It does no work by itself: `recv` "
    "reads what is said there, and `queue` what is to be done by exactly one. Who "
    "serves a name first owns the service. On a public hub the owner admits its other "
    "workers, and only they and those whom a session of the owner let in may ask it, "
    "unless it is open.",
    command="serve",
    example="""\
parler serve review
parler serve review --admit ABCD-EFGH-IJKL-MNOP""",
    tool="parler_serve",
    brief="Take tasks of a service.",
    call='{"service": "review"}',
    hints=SETS,
)


async def admit(
    ctx: OpContext,
    service: Annotated[
        str, Param("A service of yours.", "NAME", positional=True, means=Means.SERVICE)
    ],
    who: Annotated[
        str, Param("An id, a fingerprint, or a unique name.", argument="agent")
    ],
) -> AdmitResult:
    """Let somebody work for a service of ours, now or when it serves.

    Raises:
        UsageError: Nobody is meant, or more than one.
    """
    chosen = await worker_meant(ctx, service, who)
    frame = AdmitWorker(service=service.strip(), agent=chosen.agent)
    await ctx.client.request(frame, WorkerAdmitted)
    return AdmitResult(
        service=service.strip(),
        agent=chosen.agent,
        name=chosen.name,
        fingerprint=fingerprint(chosen.agent),
    )


async def worker_meant(ctx: OpContext, service: str, who: str) -> Candidate:
    """Who is to work for a service; raises as `admit`."""
    _check_name(service, "service")
    members = await members_of(ctx, service_room(service))
    if as_agent_id(who.strip()) is not None or not matching(who, members):
        return await find_agent(ctx, who)
    return pick(
        who,
        members,
        among=f"is in the room of {service!r}",
        next_step=f"parler roster --room {shell_word(service_room(service))}",
    )


ADMIT = Capability(
    run=admit,
    about="Let an agent work for a service of yours. Compare the fingerprint.",
    no_command="parler serve --admit",
    tool="parler_admit_worker",
    call='{"service": "review", "agent": "ABCD-EFGH-IJKL-MNOP"}',
    hints=Hints(destroys=True),
    asks_user=True,
)


async def dispatch(ctx: OpContext, params: DispatchParams) -> SendResult:
    """Give work to exactly one free worker of a role.

    Raises:
        UsageError: There is nothing to do, or the role has no name.
        NotFound: Nobody ever served that role on this hub.
    """
    _check_name(params.role, "role")
    check_texts(text=params.text)
    if not params.text.strip():
        raise UsageError(
            "the task is empty",
            next_step=f"parler send --role {shell_word(params.role)} TEXT",
        )
    role = params.role.strip()
    parts: list[Part] = [TextPart(text=params.text), DispatchPart(role=role)]
    try:
        target = ServiceTarget(service=role)
        sent = await ctx.client.send(target, parts, client_id=params.client_id)
    except NotFound as unknown:
        unknown.next_step = (
            f"parler serve {shell_word(role)}, run by whoever does such work"
        )
        raise
    ctx.known_rooms.remember(ctx.hub, sent.room)
    return SendResult(id=sent.id, seq=sent.seq, room=sent.room)


DISPATCH = Capability(
    run=dispatch,
    about="Give work to exactly one free worker of a role.",
    no_command="parler send --role",
    no_tool="parler_send with a role",
)


async def queue(ctx: OpContext, params: QueueParams) -> QueueResult:
    """See the tasks of a service we serve that nobody holds.

    The hub shows none to an agent that is not available: idle or waiting, and heard
    of within five minutes.
    """
    _check_name(params.service, "service")
    room = service_room(params.service)
    limit = min(params.limit, MAX_QUEUE_LIMIT)
    frame = Queue(room=room, role=params.service.strip(), limit=limit)
    queued = await ctx.client.request(frame, Queued)
    judged = [
        await asyncio.to_thread(ctx.client.judge, stored) for stored in queued.messages
    ]
    return QueueResult(room=room, messages=[shown(message) for message in judged])


_STEP = "a step of a worker; parler supervise takes them in the right order"

QUEUE = Capability(
    run=queue,
    about="Show the tasks of a service that nobody holds.",
    more="Only to its workers, and only while they are available: idle or waiting.",
    command="queue",
    example="parler queue review --json",
    no_tool=_STEP,
)


async def claim(ctx: OpContext, params: ClaimParams) -> ClaimResult:
    """Take a task for a while, or renew the lease on one we hold."""
    _check_name(params.service, "service")
    check_texts(message=params.message)
    room = service_room(params.service)
    task = await message_named(ctx, params.message, room)
    frame = Claim(room=room, message=task.id, lease_secs=params.lease_secs)
    claimed = await ctx.client.request(frame, Claimed)
    return ClaimResult(
        room=claimed.room,
        message=claimed.message,
        claimed=claimed.claimed,
        lease_until=claimed.lease_until if claimed.claimed else None,
        seq=task.seq,
    )


CLAIM = Capability(
    run=claim,
    about="Take a task, or hold on to one you have.",
    more="Losing it to another is no error.",
    command="claim",
    example="parler claim review 12 --lease 600",
    no_tool=_STEP,
)


async def complete(ctx: OpContext, params: CompleteParams) -> CompleteResult:
    """End a task that we hold, for good.

    Raises:
        UsageError: The status is none that ends a task.
    """
    _check_name(params.service, "service")
    check_texts(message=params.message)
    if not params.status.final:
        raise UsageError(
            f"a task does not end as {params.status.value}",
            next_step="use done, failed or cancelled; parler task says the others",
        )
    room = service_room(params.service)
    task = await message_named(ctx, params.message, room)
    frame = Complete(room=room, message=task.id, status=params.status)
    ended = await ctx.client.request(frame, Completed)
    return CompleteResult(
        room=ended.room,
        message=ended.message,
        status=params.status,
        completed=ended.completed,
        seq=task.seq,
    )


COMPLETE = Capability(
    run=complete,
    about="End a task you hold, for good.",
    more="`task` tells whoever asked for it.",
    command="complete",
    example="parler complete review 12 done",
    no_tool=_STEP,
)


def _check_name(name: str, what: str) -> None:
    check_texts(**{what: name})
    if not name.strip():
        raise UsageError(f"the {what} has no name", next_step="parler serve NAME")
