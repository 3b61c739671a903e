"""Memory: ``remember``, ``recall``, ``forget``."""

from collections.abc import Iterator
from typing import Any

import typer

from parler.cli._arguments import only_one
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, shows
from parler.cli._own import person_line
from parler.cli._run import HERE, Options, Place, in_room, settings_of
from parler.cli._when import when
from parler.errors import UsageError
from parler.ops import memory
from parler.ops.context import room_or_session
from parler.ops.memory import ForgetResult, Hit, RecallResult, RememberResult
from parler.text.terminal import counted, paragraph, shown_name, word


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, memory.REMEMBER)(remember)
    shows(app, memory.RECALL, _hits, foreign=True)
    command(app, memory.FORGET)(forget)


def remember(options: Options, **given: Any) -> None:
    """Remember a fact, and say for whom."""
    place = _place(options, given)
    carry_out_declared(options, memory.REMEMBER, given, _remembered, place=place)
    options.out.undo(_line(options, "forget", given))


def forget(options: Options, **given: Any) -> None:
    """Drop facts of our own, and say how many."""
    place = _place(options, given)
    gone: list[ForgetResult] = []

    def told(result: ForgetResult) -> Iterator[str]:
        gone.append(result)
        return _forgotten(result)

    carry_out_declared(options, memory.FORGET, given, told, place=place)
    if given["text"] and not given["key"] and any(one.count for one in gone):
        options.out.undo(_line(options, "remember", given))


def _line(options: Options, verb: str, given: dict[str, Any]) -> str:
    """The command for the same fact."""
    where = ["--private"] if given["private"] else ["--room", given["room"]]
    what = ["--key", given["key"]] if given["key"] else [given["text"]]
    return person_line(options, verb, *where, *what)


def _place(options: Options, given: dict[str, Any]) -> Place:
    """Where a fact is kept; the room that is given becomes the one that is meant."""
    room, private = given["room"], given["private"]
    only_one(room=room, private="" if private else None)
    if private:
        return HERE
    try:
        given["room"] = room_or_session(settings_of(options).home, room)
    except UsageError as error:
        error.next_step = "name a --room, or say --private if it is for you alone"
        raise
    return in_room(given["room"])


def _remembered(result: RememberResult) -> Iterator[str]:
    under = f" under {word(result.key)}" if result.key else ""
    yield f"remembered {_for(result.room)}{under}"


def _forgotten(result: ForgetResult) -> Iterator[str]:
    told = f"{counted(result.count, 'fact of yours is', 'facts of yours are')} gone"
    if result.count == 0:
        told = "you remembered nothing like it"
    yield f"{told} ({_for(result.room)})"


def _for(room: str | None) -> str:
    return f"for {word(room)}" if room else "for you alone"


def _hits(result: RecallResult) -> Iterator[str]:
    if not result.hits:
        yield "nothing found"
    for hit in result.hits:
        key = f"[{word(hit.key)}] " if hit.key else ""
        yield f"• {key}{paragraph(hit.text)}"
        yield f"    {_origin(hit)}"


def _origin(hit: Hit) -> str:
    name = f"{shown_name(hit.name)} " if hit.name else ""
    author = "you" if hit.mine else f"{name}{hit.fingerprint}"
    where = f"#{word(hit.room)}" if hit.room else "private"
    return f"— {author}, {where}, {when(hit.ts)} (unsigned)"
