"""The owner's side of the door: who knocks, and letting them in or not.

Those whom the owner named beforehand are let in as they knock, and only by full id or
fingerprint: a name is no proof of anything.
"""

from typing import TYPE_CHECKING, Annotated

import msgspec

from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.addressing import Person, as_agent_id, is_whole_fingerprint, pick
from parler.ops.capability import READS, SESSION, Capability, Hints, Param
from parler.ops.context import OpContext, Result
from parler.wire.base import AgentId, RoomName
from parler.wire.records import JoinRequest
from parler.wire.replies import JoinRequestList, JoinResolved
from parler.wire.requests import JoinRequests, ResolveJoin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parler.wire.records import JoinRequest


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


async def join_requests(
    ctx: OpContext, room: Annotated[RoomName, SESSION]
) -> RequestsResult:
    """Who waits to be let into a room of ours."""
    admitted = await admit_preapproved(ctx, room)
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    return RequestsResult(
        room=room,
        requests=[knock(one) for one in waiting.requests],
        admitted=[knock(one) for one in admitted],
    )


REQUESTS = Capability(
    run=join_requests,
    about="Show who is waiting to be let in.",
    no_command="a person sees those of all agents with `session requests` (ops.own)",
    tool="parler_join_requests",
    hints=READS,
)


async def decide(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    who: Annotated[
        str,
        Param(
            "An id, a fingerprint, or a unique name.", positional=True, argument="agent"
        ),
    ],
    *,
    approve: bool,
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


APPROVE = Capability(
    run=decide,
    about="Let in somebody who waits. Compare the fingerprint: anybody can use a name.",
    command="session approve",
    example="parler session approve ABCD-EFGH-IJKL-MNOP",
    tool="parler_approve_join",
    brief="Ask your user to let in an agent that knocked.",
    call='{"agent": "ABCD-EFGH-IJKL-MNOP"}',
    hints=Hints(destroys=True),
    common=True,
    asks_user=True,
    fixed={"approve": True},
)
APPROVE_ANYWHERE = Capability(
    run=decide,
    about="Let in somebody who waits at a session of yours or of your agents.",
    command="approve",
    example="parler approve anna",
    no_tool="parler_approve_join is that of session approve",
    fixed={"approve": True},
)
REJECT_ANYWHERE = Capability(
    run=decide,
    about="Reject somebody who waits at a session of yours or of your agents.",
    command="reject",
    example="parler reject ABCD-EFGH-IJKL-MNOP",
    no_tool="parler_deny_join is that of session reject",
    fixed={"approve": False},
)
REJECT = Capability(
    run=decide,
    about="Reject somebody who waits, for good.",
    command="session reject",
    example="parler session reject ABCD-EFGH-IJKL-MNOP",
    tool="parler_deny_join",
    call='{"agent": "bob"}',
    hints=Hints(destroys=True),
    asks_user=True,
    fixed={"approve": False},
)
DENY = Capability(
    run=decide,
    about="Reject somebody who waits (the older name of `reject`).",
    command="session deny",
    example="parler session deny ABCD-EFGH-IJKL-MNOP",
    hidden=True,
    no_tool="parler_deny_join is that of reject",
    fixed={"approve": False},
)


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
    wanted = ctx.known_rooms.preapproved(ctx.hub, room)
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
        ctx.known_rooms.used(ctx.hub, room, spent)
    return welcome
