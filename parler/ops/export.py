"""A room as a file: one JSON object a line for programs, or a transcript for people.

It is what the hub tells of the room, each message with what we think of its signature;
nothing counts as read by it.
"""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from parler.machine.files import new_file
from parler.ops.capability import READS, SESSION, Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.lookback import FROM, GREP, SINCE, wanted_of
from parler.ops.message_view import pages, shown_all
from parler.text.transcript import Reader, Transcript
from parler.wire.base import RoomName

_FOREVER = 0
"""No day is today's: in a file each is named."""


class Shape(StrEnum):
    """What a file is made of."""

    JSONL = "jsonl"
    TEXT = "text"


class ExportResult(Result):
    """The file that was written, and how many messages are in it."""

    room: RoomName
    file: str
    shape: Shape
    messages: int


async def exported(
    ctx: OpContext,
    room: RoomName,
    shape: Shape,
    *,
    grep: str | None = None,
    from_: str | None = None,
    since: str | None = None,
) -> AsyncIterator[tuple[int, str]]:
    """The file in pieces, each with how many messages are in it, oldest first.

    Raises:
        UsageError: It is a stranger's direct message, and a model would read it; or
            `since` is no time.
    """
    await ctx.require_accepted(room)
    wanted = wanted_of(grep, from_, since, now=ctx.now())
    me = ctx.identity
    reader = Reader(agent=me.agent_id, name=me.name, role=me.role)
    transcript = Transcript(reader, now=_FOREVER)
    async for batch in pages(ctx.client, room, since=0):
        found = list(filter(wanted.has, shown_all(batch.messages)))
        if shape is Shape.JSONL:
            lines = [msgspec.json.encode(one).decode() for one in found]
        else:
            lines = [
                line for one in found for line in transcript.lines(one, one.signature)
            ]
        yield len(found), "".join(f"{line}\n" for line in lines)


async def export(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    *,
    file: Annotated[Path, Param("A new file; JSON lines if it ends in .jsonl.")],
    grep: Annotated[str | None, GREP] = None,
    from_: Annotated[str | None, FROM] = None,
    since: Annotated[str | None, SINCE] = None,
) -> ExportResult:
    """Write a room into a new file that only this user reads.

    Raises:
        UsageError: It is there already or cannot be written, or as for `exported`.
    """
    shape = Shape.JSONL if file.suffix == ".jsonl" else Shape.TEXT
    count = 0
    with new_file(file) as written:
        async for number, text in exported(
            ctx, room, shape, grep=grep, from_=from_, since=since
        ):
            await asyncio.to_thread(written.write, text.encode())
            count += number
    return ExportResult(room=room, file=str(file), shape=shape, messages=count)


EXPORT = Capability(
    run=export,
    about="Write a room into a file.",
    no_command="parler history --export FILE",
    hints=READS,
    no_tool="a file of what others said is for a person to keep",
)
