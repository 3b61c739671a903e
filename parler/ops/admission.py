"""The owner's side of the door: who knocks, and letting them in or not."""

import msgspec

from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.ops.people import Person, as_agent_id, pick
from parler.ops.preapproval import admit_preapproved
from parler.wire.base import AgentId, RoomName
from parler.wire.records import JoinRequest
from parler.wire.replies import JoinRequestList, JoinResolved
from parler.wire.requests import JoinRequests, ResolveJoin


class Knock(JoinRequest, kw_only=True):
    """Somebody waiting, with the fingerprint to compare."""

    fingerprint: str


class RequestsResult(Result):
    """Who waits, oldest first; `admitted` were approved beforehand."""

    room: RoomName
    requests: list[Knock]
    admitted: list[Knock] = msgspec.field(default_factory=list)


class DecisionResult(Result):
    """What was decided about whom."""

    room: RoomName
    agent: AgentId
    name: str
    fingerprint: str
    approved: bool


def knock(request: JoinRequest) -> Knock:
    """A waiting request with its fingerprint."""
    return Knock(
        **msgspec.structs.asdict(request), fingerprint=fingerprint(request.agent)
    )


async def join_requests(ctx: OpContext, room: RoomName) -> RequestsResult:
    """Who waits to be let into a room of ours."""
    admitted = await admit_preapproved(ctx, room)
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    return RequestsResult(
        room=room,
        requests=[knock(one) for one in waiting.requests],
        admitted=[knock(one) for one in admitted],
    )


async def decide(
    ctx: OpContext, room: RoomName, who: str, *, approve: bool
) -> DecisionResult:
    """Let somebody in, or reject them for good.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a name that only one
            of those waiting has. Somebody rejected before is approved by id.

    Raises:
        UsageError: Nobody waiting is meant, or more than one.
    """
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    people = [Person(agent=one.agent, name=one.name) for one in waiting.requests]
    known = as_agent_id(who.strip())
    if known and known not in {one.agent for one in people}:
        chosen = Person(agent=known, name="")
    elif not people:
        raise UsageError(
            f"nobody is waiting at {room!r}", next_step="parler session requests"
        )
    else:
        chosen = pick(
            who,
            people,
            among=f"is waiting at {room!r}",
            next_step="parler session requests",
        )
    resolved = await ctx.client.request(
        ResolveJoin(room=room, agent=chosen.agent, approve=approve), JoinResolved
    )
    return DecisionResult(
        room=room,
        agent=chosen.agent,
        name=chosen.name,
        fingerprint=fingerprint(chosen.agent),
        approved=resolved.approved,
    )
