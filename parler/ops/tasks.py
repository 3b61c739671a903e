"""Saying how far a task is: a signed receipt for whoever gave it (protocol 7).

A receipt only tells; what ends a claimed task for the hub is in `parler.ops.queue`.
"""

import uuid
from dataclasses import dataclass
from typing import Annotated

from parler.errors import UsageError
from parler.ops.attachments import blob_named
from parler.ops.capability import TARGET, Capability, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.ops.message_named import is_short, messages_named, room_of
from parler.wire.base import MessageId, RoomName
from parler.wire.parts import TaskPart
from parler.wire.records import Target, TaskStatus

MAX_COUNT = 2**63 - 1

_SENDS = "parler send-file PATH prints the id of what it sent"
_AMERICAN = {"canceled": TaskStatus.CANCELLED}


def task_status(typed: str) -> TaskStatus:
    """A status in the spelling of people: any case, and with one l as well.

    Raises:
        UsageError: There is no such status.
    """
    word = typed.strip().lower()
    try:
        return _AMERICAN.get(word) or TaskStatus(word)
    except ValueError:
        raise UsageError(
            f"there is no task status {typed!r}",
            next_step="use one of " + ", ".join(one.value for one in TaskStatus),
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskParams:
    """How far a task is."""

    status: Annotated[
        TaskStatus,
        Param(
            "accepted, working, awaiting, done, failed or cancelled.",
            positional=True,
            parse=task_status,
            brief="",
        ),
    ]
    task: Annotated[
        str | None,
        Param(
            "Which: the number or id of the message that asked.",
            "ID",
            brief="Which: the id of the message that asked.",
        ),
    ] = None
    note: Annotated[str | None, Param("A word on it.", "TEXT")] = None
    result: Annotated[str | None, Param("A blob with what came of it.", "BLOB")] = None
    tokens: Annotated[int | None, Param("Model tokens it took.", "N", ge=0)] = None
    elapsed_ms: Annotated[int | None, Param("Milliseconds it took.", ge=0)] = None
    target: Annotated[Target, TARGET]


class TaskResult(Result):
    """The receipt as stored."""

    id: MessageId
    seq: int
    room: RoomName
    status: TaskStatus
    task: str | None = None


async def task(ctx: OpContext, params: TaskParams) -> TaskResult:
    """Say how far a task is; a receipt never starts work.

    Raises:
        UsageError: The result is no blob id, or a number is none.
    """
    check_texts(task=params.task, note=params.note)
    _check(params)
    where = room_of(params.target)
    result = None
    if params.result:
        result = await blob_named(ctx, params.result, where, next_step=_SENDS)
    about = await _about(ctx, (params.task or "").strip(), where)
    part = TaskPart(
        status=params.status,
        task=about,
        note=params.note or None,
        result=result,
        tokens=params.tokens,
        elapsed_ms=params.elapsed_ms,
    )
    reply_to = about if about and _is_message_id(about) else None
    sent = await ctx.client.send(params.target, [part], reply_to=reply_to)
    return TaskResult(
        id=sent.id, seq=sent.seq, room=sent.room, status=params.status, task=about
    )


TASK = Capability(
    run=task,
    about="Say how far a task is.",
    more="In the active session, a room, or to one agent.",
    command="task",
    example="""\
parler task working --task 12 --note "reading the diff"
parler task done --task 12 --elapsed-ms 5300""",
    tool="parler_task",
    brief="Tell whoever gave you a task how far it is.",
    call='{"status": "done", "task": "MESSAGE-ID", "note": "merged"}',
)


def _check(params: TaskParams) -> None:
    for what, number in (("tokens", params.tokens), ("elapsed", params.elapsed_ms)):
        if number is not None and not 0 <= number <= MAX_COUNT:
            raise UsageError(f"{what}: {number} is out of range")


async def _about(ctx: OpContext, word: str, room: RoomName | None) -> str | None:
    """The id of the message that is meant; what means none is an id of its own."""
    if not is_short(word):
        return word or None
    meant = await messages_named(ctx, word, room)
    return meant[0].id if len(meant) == 1 else word


def _is_message_id(text: str) -> bool:
    # A correlation id may be anything; only a message can be replied to.
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
