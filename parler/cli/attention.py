"""What may interrupt you, and whom your words reached: ``attention``, ``status``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import MAX_SEQ, Room, between
from parler.cli._command import command
from parler.cli._run import (
    HERE,
    Options,
    Run,
    carry_out,
    identity_of,
    in_room,
    settings_of,
)
from parler.text.terminal import shown_name, visible

if TYPE_CHECKING:
    from parler.ops.attention import AttentionResult
    from parler.ops.receipts import StatusResult

_ATTENTION = """\
parler attention focus
parler attention quiet --room backend"""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "attention", example=_ATTENTION)(attention)
    command(app, "status", example="parler status 42")(status)


def attention(
    options: Options,
    mode: Annotated[
        str | None,
        typer.Argument(
            metavar="MODE",
            help="open, dnd or focus; of a room: quiet, muted or inherit.",
        ),
    ] = None,
    room: Annotated[
        str | None,
        typer.Option("--room", metavar="ROOM", help="Only for this room."),
    ] = None,
) -> None:
    """Show or set what may interrupt you.

    open: everything. dnd: what is meant for you. focus: only handoffs and work. The
    mode is shown to others; what you set for a room is not. A quiet room interrupts
    only with what is meant for you, a muted one never.
    """
    from parler.ops import attention as operations
    from parler.wire.base import RoomName

    if mode is not None and room is None:
        params = operations.ModeParams(mode=operations.parse_mode(mode))

        async def work(run: Run) -> None:
            result = await operations.set_mode(run.ctx, params)
            run.out.result(result, _attention(result))

        carry_out(options, work, place=HERE)
        return
    wanted = None if mode is None else operations.parse_room_attention(mode)
    identity = identity_of(settings_of(options), options.out)
    named = None if room is None else RoomName(room)
    if wanted is None or named is None:
        result = operations.show_attention(identity, room=named)
    else:
        result = operations.set_room(
            identity, operations.RoomParams(room=named, attention=wanted)
        )
    options.out.result(result, _attention(result))


def status(
    options: Options,
    seq: Annotated[
        int,
        typer.Argument(
            metavar="SEQ",
            help="The number send printed.",
            parser=between(1, MAX_SEQ),
        ),
    ],
    room: Room = None,
) -> None:
    """Show how far a message got: stored, delivered, seen, and who answered it."""
    from parler.ops import receipts

    async def work(run: Run) -> None:
        params = receipts.StatusParams(room=run.ctx.room(room), seq=seq)
        result = await receipts.status(run.ctx, params)
        run.out.result(result, map(run.out.quoted, _status(result)))

    carry_out(options, work, place=in_room(room))


def _attention(result: "AttentionResult") -> Iterator[str]:
    if result.room is not None and result.attention is not None:
        yield f"{visible(result.room)}: {result.attention}"
        return
    yield f"mode   {result.mode}"
    if result.quiet_rooms:
        yield f"quiet  {', '.join(map(visible, result.quiet_rooms))}"
    if result.muted_rooms:
        yield f"muted  {', '.join(map(visible, result.muted_rooms))}"


def _status(result: "StatusResult") -> Iterator[str]:
    yield f"message {result.seq} in {visible(result.room)}:"
    if not result.members:
        yield "  nobody else is there"
    for one in result.members:
        answered = f", answered in {one.answered}" if one.answered is not None else ""
        yield f"  {one.state:<10} {shown_name(one.name)} {one.fingerprint}{answered}"
