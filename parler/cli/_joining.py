"""Redeeming a key, for ``session join`` and ``join``."""

import shlex
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from parler.cli import _format
from parler.cli._arguments import pasted_key
from parler.cli._run import Options, Place, Run, carry_out
from parler.errors import UsageError
from parler.identity.homes import process_environment, truthy
from parler.identity.signing import fingerprint
from parler.ops.directory import introduce
from parler.ops.session import WALK_IN_SECS, JoinState, join_session
from parler.text.transcript import Transcript
from parler.wire.base import RoomName

Active: TypeAlias = Annotated[
    bool,
    typer.Option("--active", help="Once in, stay and let an agent act on handoffs."),
]
Runner: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--runner",
        metavar="WHAT",
        help="What acts: an agent or a command; means --active.",
    ),
]
# Habits from elsewhere: here no work starts by itself, and joining ends by itself.
Passive: TypeAlias = Annotated[bool, typer.Option("--passive", hidden=True)]
Once: TypeAlias = Annotated[bool, typer.Option("--once", hidden=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to act on handoffs, once we are in."""

    runner: str
    once: bool


def at_work(
    *, active: bool, runner: str | None, passive: bool, once: bool
) -> Work | None:
    """What is wanted; the agent of whose shell this is, unless another is named.

    Raises:
        UsageError: Both none and one is wanted.
    """
    if not active and runner is None:
        return None
    if passive:
        raise UsageError("--passive and --active exclude each other")
    if runner is None:
        from parler.apps.registry import DEFAULT_RUNNER, headless_ids
        from parler.peers.seats import shell_app

        app = shell_app()
        known = app is not None and app.id in headless_ids()
        runner = app.id if app is not None and known else DEFAULT_RUNNER
    return Work(runner=runner, once=once)


def join(
    options: Options, text: str, *, wait: float, again: str, work: Work | None = None
) -> None:
    """Redeem a key and show where we are; the backlog counts as read once shown."""
    key = pasted_key(text)

    async def enter(run: Run) -> None:
        if not truthy(process_environment().get("PARLER_NO_REGISTER")):
            await introduce(run.ctx)
        porch = _Porch(run, wait)
        patience = max(wait, WALK_IN_SECS)
        with run.out.waiting("waiting to be let in", wait or None):
            result = await join_session(run.ctx, key, wait_secs=patience, watcher=porch)
        if result.state is JoinState.PENDING:
            repeat = f"{again} {shlex.quote(key.whole)}"
            run.out.result(result, _format.pending(result, repeat))
            if work is not None:
                run.out.note("no work starts before you are in")
            return
        transcript = Transcript(run.reader, now=run.ctx.now())
        lines = _format.joined(result, transcript)
        run.out.result(result, lines, foreign=True)
        if result.messages:
            await run.ctx.client.ack(result.room, result.messages[-1].seq)
        if work is not None:
            from parler.cli.work import stay_in

            await stay_in(run, result.room, work.runner, once=work.once)

    carry_out(options, enter, place=Place(key_hub=key.hub, in_session=False))


class _Porch:
    """Somebody who waits at a terminal."""

    def __init__(self, run: Run, wait: float) -> None:
        self._run, self._wait = run, wait

    def waiting(self, room: RoomName) -> None:
        if self._wait <= WALK_IN_SECS:
            return
        self._run.out.note(f"waiting up to {self._wait:g} s for the owner of {room}")

    def key_gone(self, room: RoomName) -> None:
        me = fingerprint(self._run.ctx.identity.agent_id)
        self._run.out.note(
            f"the key opens nothing any more, but the owner of {room} can still let "
            f"you in (parler session approve {me}); still waiting"
        )
