"""``parler session``: opening, entering, minding the door, leaving."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from parler.cli import _format
from parler.cli._arguments import piped_text
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, group, shows
from parler.cli._deciding import approve, reject
from parler.cli._joining import Active, Once, Passive, Runner, at_work
from parler.cli._joining import join as redeem
from parler.cli._own import (
    As,
    Yes,
    household_of,
    in_its_name,
    person_line,
    say_away,
    show_rooms_of,
)
from parler.cli._run import ELSEWHERE, Options, Place, settings_of
from parler.cli._when import when
from parler.cli.render import at_terminal
from parler.cli.sealing import add_to_session
from parler.errors import UsageError
from parler.identity.identity import active_session
from parler.identity.known_rooms import KnownRooms
from parler.ops import admission, own, picture, session, tokens
from parler.ops.own import OwnRoom
from parler.ops.person_only import Deciding
from parler.ops.picture import PictureResult
from parler.ops.session import LeaveResult, RenameResult, UseResult
from parler.ops.tokens import WatchResult
from parler.text.terminal import shell_word, shown_name, visible, word
from parler.wire.base import RoomName

app = group("Share one live conversation: open it, knock, let in, leave.")


def add_to(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="session")
    command(root, admission.APPROVE_ANYWHERE)(approve)
    command(root, admission.REJECT_ANYWHERE)(reject)


@command(app, session.OPEN)
def open_session(
    options: Options,
    topic: str | None,
    context: str | None,
    context_file: Annotated[
        str | None,
        typer.Option("--context-file", metavar="FILE", help="The recap; - is stdin."),
    ] = None,
    no_approval: Annotated[
        bool,
        typer.Option("--no-approval", help="Let in whoever has the key, at once."),
    ] = False,
    approval: Annotated[bool, typer.Option("--approval", hidden=True)] = False,
    sealed: Annotated[
        bool,
        typer.Option(
            "--sealed/--plain",
            help="Whether only its members can read it, and not its hub.",
        ),
    ] = False,
    **given: Any,
) -> None:
    """Open a session, and show the key to it."""
    if approval and no_approval:
        raise UsageError("--approval and --no-approval exclude each other")
    recap = _recap(context, context_file)
    given |= {"topic": topic, "context": recap, "approval": not no_approval}
    given |= {"sealed": sealed}
    carry_out_declared(options, session.OPEN, given, _format.opened, place=ELSEWHERE)


@command(app, own.REQUESTS)
def requests(
    options: Options,
    room: Annotated[
        str | None,
        typer.Option("--room", metavar="ROOM", help="Only there, or at its topic."),
    ] = None,
    as_: As = None,
) -> None:
    """Show who waits at all our rooms."""
    import asyncio

    household = household_of(options, as_)
    named = RoomName(room) if room else None
    result = asyncio.run(own.own_requests(household, named))
    say_away(options, result.unreachable)
    lines = _format.requests(result, partial(person_line, options))
    options.out.result(result, lines, foreign=True)


@command(app, own.SESSIONS)
def list_sessions(options: Options, as_: As = None) -> None:
    """List the sessions of all our identities."""
    show_rooms_of(options, as_, own.own_sessions)


@command(app, session.USE)
def use(options: Options, room: str) -> None:
    """Change the active session, to one of any hub."""

    def told(result: UseResult) -> Iterator[str]:
        about = _format.room_words(result.room, result.topic)
        yield f"active from now on: {about}"

    known = KnownRooms(settings_of(options).home)
    named, before = known.about(room), active_session(settings_of(options).home)
    place = Place(room=room if known.hub_of(room) or not named else named)
    given = {"room": room}
    carry_out_declared(options, session.USE, given, told, place=place, foreign=True)
    if before and before != active_session(settings_of(options).home):
        options.out.undo(person_line(options, "session use", before))


@command(app, session.RENAME)
def rename(
    options: Options,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ROOM] TOPIC",
            help="What it is about now; before that which one, if not the active one: "
            "its room, or what it was about.",
        ),
    ],
    as_: As = None,
) -> None:
    """Give a session of ours another topic."""

    def told(result: RenameResult) -> Iterator[str]:
        yield f"topic now: {_format.short_topic(result.topic)}"

    *room, topic = words
    if len(room) > 1:
        raise UsageError(
            "a topic of several words is written in quotes",
            next_step=f"parler session rename {shell_word(' '.join(words))}",
        )
    given = {"room": room[0] if room else None, "topic": topic}
    in_its_name(options, session.RENAME, given, told, as_=as_, owns=True)


@command(app, session.LEAVE)
def leave(options: Options, room: str | None, as_: As = None, yes: Yes = False) -> None:
    """Leave a session; its owner is asked first."""

    def decides(found: OwnRoom) -> Deciding:
        name = _format.room_words(found.name, found.topic)
        return Deciding(
            what="leave a session of its own",
            question=f"{name}\nwas opened by {shown_name(found.owner)}: without it, "
            "nobody can be let in any more.\nLeave it all the same?",
            line=person_line(options, "session leave", "--room", found.name),
        )

    in_its_name(
        options,
        session.LEAVE,
        {"room": room},
        lambda result: [_left(result)],
        as_=as_,
        decides=decides,
        yes=yes,
    )


@command(app, picture.PICTURE)
def draw(
    options: Options,
    room: str | None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there."),
    ] = None,
    as_: As = None,
) -> None:
    """Draw a room, into a file or onto stdout."""
    if output is None and at_terminal() and not options.out.json:
        which = f" --room {shell_word(room)}" if room else ""
        raise UsageError(
            "a terminal shows no picture",
            next_step=f"parler session picture{which} -o session.svg",
        )

    def told(result: PictureResult) -> list[str]:
        if output is None:
            return [result.svg.rstrip("\n")]
        try:
            output.write_text(result.svg, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}") from None
        result.file = str(output)
        rows = f"{result.events} messages in {result.rows} rows"
        return [f"{visible(str(output))}: {rows}"]

    in_its_name(options, picture.PICTURE, {"room": room}, told, as_=as_, anyone=True)


@command(app, session.JOIN_SESSION)
def join_session(
    options: Options,
    key: str,
    wait_secs: float,
    active: Active = False,
    runner: Runner = None,
    passive: Passive = False,
    once: Once = False,
) -> None:
    """Redeem a session key."""
    work = at_work(active=active, runner=runner, passive=passive, once=once)
    redeem(options, key, wait=wait_secs, again="parler session join", work=work)


def _left(result: LeaveResult) -> str:
    room = word(result.room)
    if result.still_member:
        return (
            f"{room} is no longer your active session; this hub lets nobody leave: its "
            "members still see you as one"
        )
    return f"left {room}"


def _watched(result: WatchResult) -> Iterator[str]:
    yield f"watch    {visible(result.token)} — reads {word(result.room)}"
    yield f"expires  {when(result.expires_at)}"
    yield f"reads    {visible(result.url)} (Authorization: Bearer TOKEN)"
    if result.viewer:
        yield f"viewer   {visible(result.viewer)}"


command(app, admission.APPROVE)(approve)
command(app, admission.REJECT)(reject)
command(app, admission.DENY)(reject)
shows(app, tokens.WATCH, _watched)
add_to_session(app)


def _recap(context: str | None, context_file: str | None) -> str | None:
    if context is not None and context_file is not None:
        raise UsageError("give --context or --context-file, not both")
    if context_file is None:
        return context
    if context_file == "-":
        return piped_text("the context")
    try:
        return Path(context_file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read the context file {context_file}: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"the context file {context_file} is not UTF-8") from None
