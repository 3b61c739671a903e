"""Approving those whom the owner named beforehand, as soon as they knock.

Only by full id or fingerprint: a name is no proof of anything.
"""

from typing import TYPE_CHECKING

from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext
from parler.ops.people import as_agent_id, is_whole_fingerprint
from parler.wire.base import AgentId, RoomName
from parler.wire.replies import JoinRequestList, JoinResolved
from parler.wire.requests import JoinRequests, ResolveJoin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parler.wire.records import JoinRequest


def check_preapproved(wanted: "Sequence[str]") -> list[str]:
    """The ids and fingerprints, tidied.

    Raises:
        UsageError: One of them is a name.
    """
    tidy = [who.strip() for who in wanted]
    for who in tidy:
        if not as_agent_id(who) and not is_whole_fingerprint(who.upper()):
            raise UsageError(
                f"{who!r} is neither an agent id nor a fingerprint, and a name "
                "proves nothing",
                next_step="the other agent's `parler whoami` shows both",
            )
    return [who if as_agent_id(who) else who.upper() for who in tidy]


def is_preapproved(agent: AgentId, wanted: "Sequence[str]") -> bool:
    """Whether an agent was named beforehand."""
    return agent in wanted or fingerprint(agent) in wanted


async def admit_preapproved(ctx: OpContext, room: RoomName) -> "list[JoinRequest]":
    """Approve whoever waits at the room and was named beforehand."""
    wanted = ctx.book.preapproved(ctx.hub, room)
    if not wanted:
        return []
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    welcome = [one for one in waiting.requests if is_preapproved(one.agent, wanted)]
    for one in welcome:
        await ctx.client.request(
            ResolveJoin(room=room, agent=one.agent, approve=True), JoinResolved
        )
    spent = [who for one in welcome for who in (one.agent, fingerprint(one.agent))]
    if spent:
        ctx.book.used(ctx.hub, room, spent)
    return welcome
