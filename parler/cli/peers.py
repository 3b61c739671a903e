"""Who is here, what each works on, and which files are spoken for."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from parler.cli._arguments import between
from parler.cli._command import command, shows
from parler.cli._machine import here_of
from parler.cli._own import person_line
from parler.cli._run import (
    HERE,
    Options,
    Run,
    carry_out,
    identity_of,
    settings_of,
)
from parler.cli._when import when
from parler.errors import HubError, UsageError
from parler.ops import peers, reservations
from parler.ops.affiliations import belongs
from parler.ops.peers import REACHED, Peer, PeersResult, Scope
from parler.ops.reservations import (
    ReleaseResult,
    ReservationsResult,
    Reserved,
    ReserveResult,
)
from parler.text.terminal import (
    sentence,
    shell_word,
    shown_name,
    visible,
    word,
)

_UNITS = {"s": 1 / 60, "m": 1, "h": 60}
_MAX_FILES = 5


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, peers.PEERS)(show_peers)
    command(app, peers.SUMMARY)(summary)
    command(app, reservations.RESERVE)(reserve)
    shows(app, reservations.RESERVATIONS, _reservations, foreign=True)
    command(app, reservations.RELEASE)(release)


def _minutes(value: str | int) -> int:
    text = str(value).strip().lower()
    unit = _UNITS.get(text[-1:], 1)
    digits = text.rstrip("smh")
    if not digits.isascii() or not digits.isdigit():
        raise typer.BadParameter(f"{text[:40]!r} is no length of time, such as 30m")
    number = int(digits[:9])
    return between(1, 24 * 60)(max(1, round(number * unit)) if number else 0)


def show_peers(options: Options, scope: Scope, query: str | None = None) -> None:
    """Show who is here; only for the agents of a hub, one is needed."""
    here, params = here_of(options), peers.PeersParams(scope=scope, query=query)

    async def work(run: Run) -> None:
        result = await peers.peers(here, params, ctx=run.ctx)
        run.out.result(result, _peers(result), foreign=True)

    if scope is Scope.HUB:
        carry_out(options, work, place=HERE)
        return
    result = asyncio.run(peers.peers(here, params))
    if not result.peers:
        options.out.note(
            "an agent shows while its app runs, once it is wired: parler connect"
        )
    options.out.result(result, _peers(result), foreign=True)


def summary(options: Options, text: str) -> None:
    """Tell the others what we work on, if there is a session that can."""
    result = peers.set_summary(here_of(options), peers.SummaryParams(text=text))
    if not result.shown:
        raise UsageError(
            "no agent session runs here that would show it",
            next_step="say it in the shell of an agent app that `parler connect` wired",
        )
    how = "derived" if result.derived else "shown"
    options.out.result(result, [f"{how}: {visible(result.summary or '')}"])


def reserve(
    options: Options,
    glob: str,
    for_: Annotated[
        int,
        typer.Option(
            "--for",
            metavar="TIME",
            help="How long, such as 30m or 2h; renewed while your session lives.",
            parser=_minutes,
        ),
    ] = reservations.DEFAULT_MINUTES,
    *,
    why: str,
) -> None:
    """Reserve files; what is in the way is no success."""
    params = reservations.ReserveParams(glob=glob, minutes=for_, why=why)
    identity_of(options, settings_of(options))  # whose it is, also later
    result = reservations.reserve(here_of(options), params)
    options.out.result(result, _reserved(result), foreign=True)
    if result.reserved is None:
        raise typer.Exit(HubError.exit_status)
    options.out.undo(person_line(options, "release", result.reserved.id))


def release(options: Options, which: str | None, force: bool) -> None:
    """Give up what was reserved; what others reserved only by name."""
    if force and which is None:
        raise UsageError("--force needs a pattern or an id")
    result = reservations.release(here_of(options), which, force=force)
    options.out.result(result, _released(result))


def _released(result: ReleaseResult) -> list[str]:
    lines = [f"released {sentence(one.glob)}" for one in result.released]
    return lines or ["you had nothing reserved"]


def _reservations(result: ReservationsResult) -> list[str]:
    return [_reservation(one) for one in result.reservations] or ["nothing"]


def _peers(result: PeersResult) -> Iterator[str]:
    if not result.peers:
        yield f"nobody is here ({result.scope})"
    for peer in result.peers:
        yield from _peer(peer)
    if result.note:
        yield f"— {sentence(result.note)} —"


def _peer(peer: Peer) -> Iterator[str]:
    where = peer.project or peer.folder or ""
    branch = f" ({sentence(peer.branch)})" if peer.branch else ""
    app = f"  {sentence(peer.app)}" if peer.app else ""
    at = f"  {sentence(where)}{branch}" if where else ""
    me = "  ← you" if peer.me else ""
    kind = "" if peer.kind == "session" else f" [{peer.kind}]"
    status = f"  [{word(peer.status)}]" if peer.status else ""
    yield f"{shown_name(peer.name)}{kind}  {peer.fingerprint}{app}{at}{status}{me}"
    if peer.affiliation:
        yield f"    {belongs(peer.affiliation, peer.agent)}"
    if peer.summary:
        yield f"    {sentence(peer.summary)}"
    if peer.changed:
        names = ", ".join(map(sentence, peer.changed[:_MAX_FILES]))
        more = len(peer.changed) - _MAX_FILES
        yield f"    changing {names}" + (f" and {more} more" if more > 0 else "")
    for held in peer.reserved:
        why = f": {sentence(held.why)}" if held.why else ""
        yield f"    reserved {sentence(held.glob)} for {held.minutes} min{why}"
    yield f"    {_reach(peer)}"


def _reach(peer: Peer) -> str:
    if peer.other_hub:
        return f"on another hub ({visible(peer.hub or '')}): not reached from here"
    took = f"; took one {when(peer.last_taken)}" if peer.last_taken else ""
    return REACHED[peer.reach] + took


def _reserved(result: ReserveResult) -> Iterator[str]:
    if result.reserved is not None:
        one = result.reserved
        how = "renewed while you are here" if one.renewed else "by time alone"
        yield f"reserved {sentence(one.glob)} for {one.minutes} min, {how}"
        return
    yield "not reserved; this is in the way:"
    for other in result.in_the_way:
        yield f"  {_reservation(other)}"


def _reservation(one: Reserved) -> str:
    whose = "you" if one.mine else shown_name(one.name)
    why = f": {sentence(one.why)}" if one.why else ""
    where = f"{word(one.project)}: " if not one.here else ""
    return (
        f"{shell_word(one.id)}  {where}{sentence(one.glob)}  {one.minutes} min  "
        f"{whose}{why}"
    )
