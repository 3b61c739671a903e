"""Memory: ``remember``, ``recall``, ``forget``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import between, only_one, piped_text
from parler.cli._command import command
from parler.cli._run import HERE, Options, Place, Run, carry_out, in_room, settings_of
from parler.errors import UsageError
from parler.text.terminal import paragraph, shown_name, visible

if TYPE_CHECKING:
    from parler.ops.memory import Hit, RecallResult
    from parler.wire.base import RoomName

_REMEMBER = """\
parler remember --key deploy "the strategy is blue-green"
parler remember --private - < notes.txt"""
_RECALL = """\
parler recall deploy strategy
parler recall --key deploy"""
_FORGET = """\
parler forget --key deploy
parler forget --private "the exact text" """

_Room = Annotated[
    str | None,
    typer.Option("--room", metavar="ROOM", help="Its members recall it too."),
]
_Private = Annotated[
    bool, typer.Option("--private", help="For you alone, not for a room.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "remember", example=_REMEMBER)(remember)
    command(app, "recall", example=_RECALL)(recall)
    command(app, "forget", example=_FORGET.rstrip())(forget)


def remember(
    options: Options,
    text: Annotated[
        list[str],
        typer.Argument(metavar="TEXT", help="What to remember; - reads stdin."),
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Replace what you kept under it."),
    ] = None,
    room: _Room = None,
    private: _Private = False,
) -> None:
    """Remember a fact: for the active session, a room, or for yourself."""
    from parler.ops import memory

    said = _said(text)
    place = _place(options, room, private=private)

    async def work(run: Run) -> None:
        params = memory.RememberParams(
            text=said, key=key, room=_where(run, room, private=private)
        )
        result = await memory.remember(run.ctx, params)
        under = f" under {visible(result.key)}" if result.key else ""
        run.out.result(result, [f"remembered {_for(result.room)}{under}"])

    carry_out(options, work, place=place)


def recall(
    options: Options,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Words, or their beginnings."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Exactly this key.")
    ] = None,
    room: Annotated[
        str | None, typer.Option("--room", metavar="ROOM", help="Only there.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="At most N.",
            parser=between(1, 50),
        ),
    ] = None,
) -> None:
    """Find facts: your own, and those of all your rooms.

    Facts are not signed: who wrote one is what the hub says.
    """
    from parler.ops import memory
    from parler.wire.base import RoomName

    params = memory.RecallParams(
        query=" ".join(query or []),
        key=key,
        room=RoomName(room) if room else None,
        **({} if limit is None else {"limit": limit}),
    )

    async def work(run: Run) -> None:
        result = await memory.recall(run.ctx, params)
        run.out.result(result, map(run.out.quoted, _hits(result)))

    carry_out(options, work, place=Place(room=room))


def forget(
    options: Options,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Exactly this fact; - reads stdin."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="What is under it.")
    ] = None,
    room: Annotated[
        str | None,
        typer.Option("--room", metavar="ROOM", help="Instead of the active session."),
    ] = None,
    private: _Private = False,
) -> None:
    """Drop facts that you remembered; those of others stay."""
    from parler.ops import memory

    said = _said(text) if text else None
    place = _place(options, room, private=private)

    async def work(run: Run) -> None:
        params = memory.ForgetParams(
            key=key, text=said, room=_where(run, room, private=private)
        )
        result = await memory.forget(run.ctx, params)
        told = f"{result.count} fact(s) of yours are gone"
        if result.count == 0:
            told = "you remembered nothing like it"
        run.out.result(result, [f"{told} ({_for(result.room)})"])

    carry_out(options, work, place=place)


def _said(text: list[str]) -> str:
    return piped_text("the fact") if text == ["-"] else " ".join(text)


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


def _where(run: Run, room: str | None, *, private: bool) -> "RoomName | None":
    return None if private else run.ctx.room(room)


def _for(room: str | None) -> str:
    return f"for {visible(room)}" if room else "for you alone"


def _hits(result: "RecallResult") -> Iterator[str]:
    if not result.hits:
        yield "nothing found"
    for hit in result.hits:
        key = f"[{visible(hit.key)}] " if hit.key else ""
        yield f"• {key}{paragraph(hit.text)}"
        yield f"    {_origin(hit)}"


def _origin(hit: "Hit") -> str:
    from parler.text.transcript import shown_time

    name = f"{shown_name(hit.name)} " if hit.name else ""
    author = "you" if hit.mine else f"{name}{hit.fingerprint}"
    where = f"#{visible(hit.room)}" if hit.room else "private"
    return f"— {author}, {where}, {shown_time(hit.ts, None)} (unsigned)"
