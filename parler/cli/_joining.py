"""Redeeming a key, for ``session join`` and ``join``."""

import shlex

from parler.cli import _format
from parler.cli._arguments import pasted_key
from parler.cli._run import Options, Place, Run, carry_out
from parler.identity.homes import process_environment, truthy
from parler.ops.directory import introduce
from parler.ops.session import WALK_IN_SECS, JoinState, join_session
from parler.text.transcript import Transcript
from parler.wire.base import RoomName


def join(options: Options, text: str, *, wait: float, again: str) -> None:
    """Redeem a key and show where we are; the backlog counts as read once shown."""
    key = pasted_key(text)

    async def work(run: Run) -> None:
        if not truthy(process_environment().get("PARLER_NO_REGISTER")):
            await introduce(run.ctx)
        porch = _Porch(run, wait)
        patience = max(wait, WALK_IN_SECS)
        result = await join_session(run.ctx, key, wait_secs=patience, watcher=porch)
        if result.state is JoinState.PENDING:
            repeat = f"{again} {shlex.quote(str(key))}"
            run.out.result(result, _format.pending(result, repeat))
            return
        transcript = Transcript(run.reader, now=run.ctx.now())
        lines = _format.joined(result, transcript)
        run.out.result(result, map(run.out.quoted, lines))
        if result.messages:
            await run.ctx.client.ack(result.room, result.messages[-1].seq)

    carry_out(options, work, place=Place(key_hub=key.hub, in_session=False))


class _Porch:
    """Somebody who waits at a terminal."""

    def __init__(self, run: Run, wait: float) -> None:
        self._run, self._wait = run, wait

    def waiting(self, room: RoomName) -> None:
        if self._wait <= WALK_IN_SECS:
            return
        self._run.out.note(f"waiting up to {self._wait:g} s for the owner of {room}")

    def key_gone(self, room: RoomName) -> None:
        me = self._run.ctx.identity.agent_id
        self._run.out.note(
            f"the key opens nothing any more, but the owner of {room} can still let "
            f"you in (parler session approve {me}); still waiting"
        )
