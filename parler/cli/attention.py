"""What may interrupt you, and whom your words reached: ``attention``, ``status``."""

from collections.abc import Iterator
from typing import Annotated

import typer

from parler.cli._command import command, shows
from parler.cli._own import person_line
from parler.cli._run import HERE, Options, Run, carry_out, identity_of, settings_of
from parler.ops import attention, receipts
from parler.ops.attention import AttentionResult
from parler.ops.receipts import StatusResult
from parler.text.terminal import shown_name, word
from parler.wire.base import RoomName


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, attention.ATTENTION)(attend)
    shows(app, receipts.STATUS, _status, foreign=True)


def attend(
    options: Options,
    mode: Annotated[
        str | None,
        typer.Argument(
            metavar="MODE",
            help="open, dnd or focus; of a room: quiet, muted or inherit.",
        ),
    ] = None,
    *,
    room: str | None,
) -> None:
    """Show or set what may interrupt us, in general or from one room."""
    if mode is not None and room is None:
        params = attention.ModeParams(mode=attention.parse_mode(mode))

        async def work(run: Run) -> None:
            before = attention.show_attention(run.ctx.identity, room=None).mode
            result = await attention.set_mode(run.ctx, params)
            run.out.result(result, _attention(result))
            if before != result.mode:
                run.out.undo(person_line(options, "attention", before))

        carry_out(options, work, place=HERE)
        return
    wanted = None if mode is None else attention.parse_room_attention(mode)
    identity = identity_of(options, settings_of(options))
    named = None if room is None else RoomName(room)
    if wanted is None or named is None:
        result = attention.show_attention(identity, room=named)
    else:
        change = attention.RoomParams(room=named, attention=wanted)
        result = attention.set_room(identity, change)
    options.out.result(result, _attention(result))


def _attention(result: AttentionResult) -> Iterator[str]:
    if result.room is not None and result.attention is not None:
        yield f"{word(result.room)}: {result.attention}"
        return
    yield f"mode   {result.mode}"
    if result.quiet_rooms:
        yield f"quiet  {', '.join(map(word, result.quiet_rooms))}"
    if result.muted_rooms:
        yield f"muted  {', '.join(map(word, result.muted_rooms))}"


def _status(result: StatusResult) -> Iterator[str]:
    yield f"message {result.seq} in {word(result.room)}:"
    if not result.members:
        yield "  nobody else is there"
    for one in result.members:
        answered = f", answered in {one.answered}" if one.answered is not None else ""
        yield f"  {one.state:<10} {shown_name(one.name)} {one.fingerprint}{answered}"
