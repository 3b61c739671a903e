"""Memory: ``remember``, ``recall``, ``forget``."""

from collections.abc import Iterator

import typer

from parler.cli._arguments import only_one
from parler.cli._command import command, shows
from parler.cli._run import HERE, Options, Place, Run, carry_out, in_room, settings_of
from parler.errors import UsageError
from parler.ops import memory
from parler.ops.memory import Hit, RecallResult
from parler.text.terminal import paragraph, shown_name, visible
from parler.wire.base import RoomName


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, memory.REMEMBER)(remember)
    shows(app, memory.RECALL, _hits)
    command(app, memory.FORGET)(forget)


def remember(
    options: Options, text: str, key: str | None, room: str | None, private: bool
) -> None:
    """Remember a fact, and say for whom."""
    place = _place(options, room, private=private)

    async def work(run: Run) -> None:
        params = memory.RememberParams(
            text=text, key=key, room=_where(run, room, private=private)
        )
        result = await memory.remember(run.ctx, params)
        under = f" under {visible(result.key)}" if result.key else ""
        run.out.result(result, [f"remembered {_for(result.room)}{under}"])

    carry_out(options, work, place=place)


def forget(
    options: Options,
    text: str | None,
    key: str | None,
    room: str | None,
    private: bool,
) -> None:
    """Drop facts of our own, and say how many."""
    place = _place(options, room, private=private)

    async def work(run: Run) -> None:
        params = memory.ForgetParams(
            key=key, text=text, room=_where(run, room, private=private)
        )
        result = await memory.forget(run.ctx, params)
        told = f"{result.count} fact(s) of yours are gone"
        if result.count == 0:
            told = "you remembered nothing like it"
        run.out.result(result, [f"{told} ({_for(result.room)})"])

    carry_out(options, work, place=place)


def _place(options: Options, room: str | None, *, private: bool) -> Place:
    from parler.ops.context import room_or_session

    only_one(room=room, private="" if private else None)
    if private:
        return HERE
    try:
        room_or_session(settings_of(options).home, room)
    except UsageError as error:
        error.next_step = "name a --room, or say --private if it is for you alone"
        raise
    return in_room(room)


def _where(run: Run, room: str | None, *, private: bool) -> RoomName | None:
    return None if private else run.ctx.room(room)


def _for(room: str | None) -> str:
    return f"for {visible(room)}" if room else "for you alone"


def _hits(result: RecallResult) -> Iterator[str]:
    if not result.hits:
        yield "nothing found"
    for hit in result.hits:
        key = f"[{visible(hit.key)}] " if hit.key else ""
        yield f"• {key}{paragraph(hit.text)}"
        yield f"    {_origin(hit)}"


def _origin(hit: Hit) -> str:
    from parler.text.transcript import shown_time

    name = f"{shown_name(hit.name)} " if hit.name else ""
    author = "you" if hit.mine else f"{name}{hit.fingerprint}"
    where = f"#{visible(hit.room)}" if hit.room else "private"
    return f"— {author}, {where}, {shown_time(hit.ts, None)} (unsigned)"
