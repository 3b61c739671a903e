"""The owner's side of the door: who knocks, and letting them in or not.

Let in as they knock are the user's own agents, those of contacts for whom the room was
opened, and whom the owner named beforehand, by full id or fingerprint: a name is no
proof of anything. Whose agent it is counts as its card says it at that moment.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from parler.errors import HubRefused, UsageError
from parler.identity.people import Relation
from parler.identity.signing import fingerprint
from parler.ops.addressing import Candidate, as_agent_id, is_whole_fingerprint, pick
from parler.ops.affiliations import Affiliation, affiliations, people_of
from parler.ops.capability import READS, SESSION, Capability, Hints, Param
from parler.ops.context import OpContext, Result
from parler.ops.sealing import given_keys, is_sealed, let_in
from parler.text.terminal import shown_name
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import Foreign, foreign
from parler.wire.records import JoinRequest
from parler.wire.replies import JoinRequestList, JoinResolved
from parler.wire.requests import JoinRequests, ResolveJoin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parler.wire.records import JoinRequest

_WHO = Param(
    "An id, a fingerprint, or a unique name.", positional=True, argument="agent"
)

K = TypeVar("K", bound=JoinRequest)

MAX_WAITING = 64
"""Of those who wait, whose cards are looked at: the newest and the oldest."""


class Knock(JoinRequest, kw_only=True):
    """Somebody waiting, with the fingerprint to compare."""

    fingerprint: str
    affiliation: Affiliation | None = None
    given_key: bool | None = None
    """Of a sealed room: whether it was given a key of ours, or came with a code only;
    None: its program does not say that it can read sealed rooms."""

    @property
    def is_known(self) -> bool:
        """Whether it is an agent of ours or of a contact."""
        return self.affiliation is not None and self.affiliation.is_known


class RequestsResult(Result):
    """Who waits, oldest first; `admitted` were approved beforehand."""

    room: RoomName
    requests: list[Knock]
    admitted: list[Knock] = msgspec.field(default_factory=list)


class DecisionResult(Result):
    """What was decided about whom."""

    room: RoomName
    agent: AgentId
    name: Foreign
    fingerprint: str
    approved: bool
    affiliation: Affiliation | None = None
    always: bool = False
    """All agents of that person come in there from now on."""


async def join_requests(
    ctx: OpContext, room: Annotated[RoomName, SESSION], *, admit: bool = True
) -> RequestsResult:
    """Who waits to be let into a room of ours.

    Args:
        admit: Let in first whoever may walk in.
    """
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    knocks = await _knocks(ctx, room, waiting.requests)
    admitted = await _admit(ctx, room, knocks) if admit else []
    return RequestsResult(
        room=room,
        requests=[one for one in knocks if one not in admitted],
        admitted=admitted,
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
    who: Annotated[str, _WHO],
    *,
    approve: bool,
    always: bool = False,
) -> DecisionResult:
    """Let somebody in, or reject them for good.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a name that only one
            of those waiting has. Somebody rejected before is approved by id.
        always: Also let in all agents of the same person there from now on.

    Raises:
        UsageError: Nobody waiting is meant, or more than one; or nobody we know
            vouches for whom `always` is for.
    """
    waiting = await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    known = as_agent_id(who.strip())
    if known and known not in {one.agent for one in waiting.requests}:
        chosen = Candidate(agent=known, name=foreign(""))
    else:
        meant = knock_meant(who, waiting.requests, at=f" at {room!r}")
        chosen = Candidate(agent=meant.agent, name=meant.name)
    affiliation = (await affiliations(ctx, [chosen.agent])).get(chosen.agent)
    person = _contact(affiliation, chosen) if always else None
    if approve:
        await admit(ctx, room, chosen.agent)
    else:
        await _resolve(ctx, room, chosen.agent, approve=False)
    if person is not None:
        ctx.known_rooms.opened(ctx.hub, room, welcome=[person])
    return DecisionResult(
        room=room,
        agent=chosen.agent,
        name=chosen.name,
        fingerprint=fingerprint(chosen.agent),
        approved=approve,
        affiliation=affiliation,
        always=person is not None,
    )


async def admit(ctx: OpContext, room: RoomName, agent: AgentId) -> None:
    """Let somebody in who waits; into a sealed room with its keys.

    Raises:
        HubRefused: It does not wait there.
        UsageError: The room is sealed, and we are no admin or have to verify it first.
    """
    await let_in(ctx, room, agent, lambda: _resolve(ctx, room, agent, approve=True))


async def _resolve(
    ctx: OpContext, room: RoomName, agent: AgentId, *, approve: bool
) -> None:
    await ctx.client.request(
        ResolveJoin(room=room, agent=agent, approve=approve), JoinResolved
    )


async def approve(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    who: Annotated[str, _WHO],
    *,
    always: Annotated[
        bool,
        Param("Let in all agents of that contact from now on.", on_tool=False),
    ] = False,
) -> DecisionResult:
    """Let somebody in; see `decide`."""
    return await decide(ctx, room, who, approve=True, always=always)


APPROVE = Capability(
    run=approve,
    about="Let in somebody who waits (the longer name of `approve`).",
    more="Compare the fingerprint: anybody can use a name.",
    hidden=True,
    command="session approve",
    example="parler session approve ABCD-EFGH-IJKL-MNOP",
    tool="parler_approve_join",
    brief="Ask your user to let in an agent that knocked.",
    call='{"agent": "ABCD-EFGH-IJKL-MNOP"}',
    hints=Hints(destroys=True),
    common=True,
)
APPROVE_ANYWHERE = Capability(
    run=approve,
    about="Let in somebody who waits at one of your sessions.",
    more="Those of your agents are yours as well. Compare the fingerprint: anybody "
    "can use a name.",
    command="approve",
    example="parler approve anna",
    no_tool="parler_approve_join is that of session approve",
)
REJECT_ANYWHERE = Capability(
    run=decide,
    about="Reject somebody who waits at one of your sessions.",
    more="Those of your agents are yours as well.",
    command="reject",
    example="parler reject ABCD-EFGH-IJKL-MNOP",
    no_tool="parler_deny_join is that of session reject",
    fixed={"approve": False},
)
REJECT = Capability(
    run=decide,
    about="Reject somebody who waits, for good (the longer name of `reject`).",
    command="session reject",
    hidden=True,
    example="parler session reject ABCD-EFGH-IJKL-MNOP",
    tool="parler_deny_join",
    brief="Reject somebody who waits, for good.",
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


def knock_meant(
    who: str,
    waiting: "Sequence[K]",
    *,
    at: str = "",
    next_step: str = "parler session requests",
) -> K:
    """The one of those waiting who is meant: never guessed.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a name that only one
            of those waiting has.
        at: Where they wait, as it stands in an error.

    Raises:
        UsageError: None is, or more than one.
    """
    if not waiting:
        raise UsageError(f"nobody is waiting{at}", next_step=next_step)
    people = [Candidate(agent=one.agent, name=one.name) for one in waiting]
    chosen = pick(who, people, among=f"is waiting{at}", next_step=next_step)
    return next(one for one in waiting if one.agent == chosen.agent)


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


async def admit_preapproved(ctx: OpContext, room: RoomName) -> list[Knock]:
    """Let in whoever waits and may walk in, if the room is ours as far as we know."""
    if not (
        ctx.known_rooms.is_ours(ctx.hub, room)
        or ctx.known_rooms.preapproved(ctx.hub, room)
    ):
        return []
    return (await join_requests(ctx, room)).admitted


async def _knocks(
    ctx: OpContext, room: RoomName, waiting: "Sequence[JoinRequest]"
) -> list[Knock]:
    agents = [one.agent for one in waiting]
    # Also the newest: a crowd of strangers keeps nobody from walking in.
    looked_at = [*agents[-MAX_WAITING // 2 :], *agents]
    known = await affiliations(ctx, looked_at, at_most=MAX_WAITING)
    given = {}
    if agents and is_sealed(ctx, room):
        given = await given_keys(ctx, room, looked_at[:MAX_WAITING])
    return [
        Knock(
            **msgspec.structs.asdict(one),
            fingerprint=fingerprint(one.agent),
            affiliation=known.get(one.agent),
            given_key=given[one.agent] is not None if one.agent in given else None,
        )
        for one in waiting
    ]


async def _admit(
    ctx: OpContext, room: RoomName, waiting: "Sequence[Knock]"
) -> list[Knock]:
    """Let in those of them who may walk in."""
    wanted = ctx.known_rooms.preapproved(ctx.hub, room)
    welcome = await asyncio.to_thread(_welcome, ctx, room)
    admitted = []
    for one in waiting:
        person = one.affiliation and one.affiliation.person
        if not is_preapproved(one.agent, wanted) and not (
            person and person.id in welcome
        ):
            continue
        try:
            await admit(ctx, room, one.agent)
        except HubRefused:
            continue  # another client of ours was faster
        admitted.append(one)
    spent = [who for one in admitted for who in (one.agent, one.fingerprint)]
    if any(who in wanted for who in spent):
        ctx.known_rooms.used(ctx.hub, room, spent)
    return admitted


def _welcome(ctx: OpContext, room: RoomName) -> set[AgentId]:
    """The persons whose agents walk in: our own, and contacts it was opened for."""
    people = people_of(ctx)
    named = set(ctx.known_rooms.welcome(ctx.hub, room))
    known = {
        person
        for contact in people.contacts
        if named & set(contact.ids)  # also with a machine that came later
        for person in contact.ids
    }
    return known | ({people.own} if people.own else set())


def _contact(affiliation: Affiliation | None, chosen: Candidate) -> AgentId:
    person = affiliation.person if affiliation else None
    if person is None:
        raise UsageError(f"nobody vouches for {chosen}, so only itself can be let in")
    if person.relation is Relation.UNKNOWN:
        raise UsageError(
            f"{chosen} says that it is an agent of {shown_name(person.name)}, whom "
            "you do not know",
            next_step=f"once it is compared: parler trust {person.fingerprint}",
        )
    return person.id
