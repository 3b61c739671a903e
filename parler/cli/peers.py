"""Who is here, what each works on, and which files are spoken for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import between
from parler.cli._command import command
from parler.cli._machine import here_of
from parler.cli._run import HERE, Options, Run, carry_out
from parler.errors import HubError, UsageError
from parler.text.terminal import paragraph, shell_word, shown_name, visible

if TYPE_CHECKING:
    from parler.ops.peers import Peer, PeersResult
    from parler.ops.reservations import Reserved, ReserveResult

_PEERS = """\
parler peers
parler peers --scope repo"""
_SUMMARY = 'parler summary "building the dashboard data layer"'
_RESERVE = 'parler reserve "src/auth/**" --for 30m --why "moving to sessions"'
_RELEASE = """\
parler release "src/auth/**"
parler release"""
_UNITS = {"s": 1 / 60, "m": 1, "h": 60}
_MAX_FILES = 5


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "peers", example=_PEERS)(peers)
    command(app, "summary", example=_SUMMARY)(summary)
    command(app, "reserve", example=_RESERVE)(reserve)
    command(app, "reservations", example="parler reservations")(reservations)
    command(app, "release", example=_RELEASE)(release)


def _minutes(value: str | int) -> int:
    text = str(value).strip().lower()
    unit = _UNITS.get(text[-1:], 1)
    digits = text.rstrip("smh")
    if not digits.isascii() or not digits.isdigit():
        raise typer.BadParameter(f"{text[:40]!r} is no length of time, such as 30m")
    number = int(digits[:9])
    return between(1, 24 * 60)(max(1, round(number * unit)) if number else 0)


def peers(
    options: Options,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            metavar="WHERE",
            help="repo, directory, machine or hub.",
        ),
    ] = "machine",
) -> None:
    """Show the agents that are here now, and how a message would reach each.

    Those of this machine need no hub. Whoever is not running any more is not shown.
    """
    from parler.ops import peers as operations

    try:
        where = operations.Scope(scope)
    except ValueError:
        raise UsageError(
            f"{scope!r} is no scope", next_step="--scope repo|directory|machine|hub"
        ) from None
    here, params = here_of(options), operations.PeersParams(scope=where)

    async def work(run: Run) -> None:
        result = await operations.peers(here, params, ctx=run.ctx)
        run.out.result(result, map(run.out.quoted, _peers(result)))

    if where is operations.Scope.HUB:
        carry_out(options, work, place=HERE)
        return
    import asyncio

    result = asyncio.run(operations.peers(here, params))
    if not result.peers:
        options.out.note(
            "an agent shows while its app runs, once it is wired: parler connect"
        )
    options.out.result(result, map(options.out.quoted, _peers(result)))


def summary(
    options: Options,
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What you work on; none: derived again."),
    ] = None,
) -> None:
    """Tell the other agents of this machine what you work on."""
    from parler.ops import peers as operations

    params = operations.SummaryParams(text=" ".join(text or []))
    result = operations.set_summary(here_of(options), params)
    if not result.shown:
        raise UsageError(
            "no agent session runs here that would show it",
            next_step="say it in the shell of an agent app that `parler connect` wired",
        )
    how = "derived" if result.derived else "shown"
    options.out.result(result, [f"{how}: {visible(result.summary or '')}"])


def reserve(
    options: Options,
    glob: Annotated[
        str,
        typer.Argument(metavar="GLOB", help="Files from here: src/auth/**, a folder."),
    ],
    for_: Annotated[
        int,
        typer.Option(
            "--for",
            metavar="TIME",
            help="How long, such as 30m or 2h; renewed while your session lives.",
            parser=_minutes,
        ),
    ] = 30,
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="What the others are told.")
    ] = "",
) -> None:
    """Ask the other agents of this machine to leave some files alone for a while.

    It is advice: nothing stops an edit unless an app's hook was set up to ask. It
    holds in every work tree and clone of this repository, and ends with your session.
    """
    from parler.ops import reservations as operations

    params = operations.ReserveParams(glob=glob, minutes=for_, why=why)
    result = operations.reserve(here_of(options), params)
    options.out.result(result, map(options.out.quoted, _reserved(result)))
    if result.reserved is None:
        raise typer.Exit(HubError.exit_status)


def reservations(options: Options) -> None:
    """Show what is reserved on this machine, and by whom."""
    from parler.ops import reservations as operations

    result = operations.reservations(here_of(options))
    lines = [_reservation(one) for one in result.reservations]
    options.out.result(result, map(options.out.quoted, lines or ["nothing"]))


def release(
    options: Options,
    which: Annotated[
        str | None,
        typer.Argument(metavar="GLOB", help="A pattern or an id; none: all of yours."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also if it is somebody else's.")
    ] = False,
) -> None:
    """Give up what you reserved."""
    from parler.ops import reservations as operations

    if force and which is None:
        raise UsageError("--force needs a pattern or an id")
    result = operations.release(here_of(options), which, force=force)
    lines = [f"released {visible(one.glob)}" for one in result.released]
    options.out.result(result, lines or ["you had nothing reserved"])


def _peers(result: "PeersResult") -> Iterator[str]:
    if not result.peers:
        yield f"nobody is here ({result.scope})"
    for peer in result.peers:
        yield from _peer(peer)
    if result.note:
        yield f"— {visible(result.note)} —"


def _peer(peer: "Peer") -> Iterator[str]:
    where = peer.project or peer.folder or ""
    branch = f" ({visible(peer.branch)})" if peer.branch else ""
    app = f"  {visible(peer.app)}" if peer.app else ""
    at = f"  {visible(where)}{branch}" if where else ""
    me = "  ← you" if peer.me else ""
    kind = "" if peer.kind == "session" else f" [{peer.kind}]"
    status = f"  [{visible(peer.status)}]" if peer.status else ""
    yield f"{shown_name(peer.name)}{kind}  {peer.fingerprint}{app}{at}{status}{me}"
    if peer.summary:
        said = "" if peer.said_by_itself else "(derived) "
        yield f"    {said}{paragraph(peer.summary)}"
    if peer.changed:
        names = ", ".join(map(visible, peer.changed[:_MAX_FILES]))
        more = len(peer.changed) - _MAX_FILES
        yield f"    changing {names}" + (f" and {more} more" if more > 0 else "")
    for held in peer.reserved:
        why = f": {visible(held.why)}" if held.why else ""
        yield f"    reserved {visible(held.glob)} for {held.minutes} min{why}"
    yield f"    {_reach(peer)}"


def _reach(peer: "Peer") -> str:
    from parler.text.transcript import shown_time

    if peer.other_hub:
        return f"on another hub ({visible(peer.hub or '')}): not reached from here"
    words = {
        "at-once": "takes a message at once",
        "turn-end": "takes a message when its turn is over",
        "next-turn": "takes a message at its next turn",
        "when-it-looks": "takes a message when it looks",
        "not-now": "takes no messages now",
    }[peer.reach]
    took = f"; took one {shown_time(peer.last_taken, None)}" if peer.last_taken else ""
    return words + took


def _reserved(result: "ReserveResult") -> Iterator[str]:
    if result.reserved is not None:
        one = result.reserved
        how = "renewed while you are here" if one.renewed else "by time alone"
        yield f"reserved {visible(one.glob)} for {one.minutes} min, {how}"
        return
    yield "not reserved; this is in the way:"
    for other in result.in_the_way:
        yield f"  {_reservation(other)}"


def _reservation(one: "Reserved") -> str:
    whose = "you" if one.mine else shown_name(one.name)
    why = f": {visible(one.why)}" if one.why else ""
    where = f"{visible(one.project)}: " if not one.here else ""
    return (
        f"{shell_word(one.id)}  {where}{visible(one.glob)}  {one.minutes} min  "
        f"{whose}{why}"
    )
