"""Direct messages of strangers: requests, each accepted or declined by the person.

A request waits on the hub. Nothing here shows more of it than its first message; who
is known without being asked about is decided by `client.acquaintance`.
"""

from collections.abc import Sequence
from typing import Annotated

from parler.client.acquaintance import Standing
from parler.client.messages import Message
from parler.errors import HubRefused, UsageError
from parler.identity.senders import Senders
from parler.identity.signing import fingerprint
from parler.ops.addressing import Candidate, as_agent_id, pick
from parler.ops.capability import Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.own import Household, Own
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import Foreign, foreign
from parler.wire.records import RoomKind
from parler.wire.replies import RoomList
from parler.wire.requests import Rooms

MAX_REQUESTS = 20
"""That one agent's are shown of; the oldest, so that a flood hides nobody before it."""

MAX_LOOKED_INTO = 150
"""Direct rooms of which is found out, in one look, whether we know who writes there."""

_WHO = Param("An id, a fingerprint, or a unique name.", positional=True)
_STRANGERS = Param("Everybody, from now on.", option="--strangers")


class SenderResult(Result):
    """What was decided about whom; without an agent, about all strangers."""

    accepted: bool
    agent: AgentId | None = None
    name: Foreign | None = None
    fingerprint: str | None = None


async def standing_in(ctx: OpContext, room: RoomName) -> Standing:
    """What becomes of the messages in a direct room.

    Raises:
        HubError: The hub is too busy to tell.
    """
    if ctx.acquaintance is None:
        return Standing.KNOWN
    try:
        return await ctx.acquaintance.standing(room)
    except HubRefused:
        return Standing.DECLINED  # it is gone


async def message_requests(
    ctx: OpContext, rooms: Sequence[RoomName]
) -> list[tuple[RoomName, Message]]:
    """The first message of each stranger, the oldest first.

    What an agent may ask of its hub in a minute is bounded, and strangers must not use
    it up: of their rooms only `MAX_LOOKED_INTO` are looked into.

    Args:
        rooms: Direct rooms with unread messages, the likeliest first.
    """
    acquaintance = ctx.acquaintance
    if acquaintance is None:
        return []
    theirs = [
        room
        for room in rooms[:MAX_LOOKED_INTO]
        if await standing_in(ctx, room) is Standing.STRANGER
    ]
    found: dict[AgentId, tuple[RoomName, Message]] = {}
    for room in sorted(theirs, key=acquaintance.since)[:MAX_REQUESTS]:
        message = await acquaintance.sender(room)
        if message is not None:
            found.setdefault(message.author.id, (room, message))
    return list(found.values())


async def accept(
    household: Household,
    senders: Senders,
    who: Annotated[str | None, _WHO] = None,
    *,
    strangers: Annotated[bool, _STRANGERS] = False,
) -> SenderResult:
    """Let somebody's direct messages through to all agents of this user.

    Raises:
        UsageError: Nobody is meant, or more than one.
        ParlerError: No hub could be asked.
    """
    return await _decided(household, senders, who, strangers, accepted=True)


async def decline(
    household: Household,
    senders: Senders,
    who: Annotated[str | None, _WHO] = None,
    *,
    strangers: Annotated[bool, _STRANGERS] = False,
) -> SenderResult:
    """Drop somebody's direct messages from now on, without a word to them.

    With `strangers`, their messages are requests again. Raises as `accept`.
    """
    return await _decided(household, senders, who, strangers, accepted=False)


ACCEPT = Capability(
    run=accept,
    about="Accept a stranger's request to write to you.",
    more="Or to your agents. From then on direct messages of that agent come to all "
    "agents of yours. With --strangers everybody's do, as it is where nobody but you "
    "reaches the hub.",
    command="accept",
    example="parler accept ABCD-EFGH-IJKL-MNOP",
    no_tool="who may speak to an agent is for a person to decide",
)
DECLINE = Capability(
    run=decline,
    about="Decline a stranger's request to write to you.",
    more="Nothing of that agent is shown any more. It is not told. `parler accept` "
    "takes it back. --strangers only ends what `parler accept --strangers` began.",
    command="decline",
    example="parler decline ABCD-EFGH-IJKL-MNOP",
    no_tool="who may speak to an agent is for a person to decide",
)


async def _decided(
    household: Household,
    senders: Senders,
    who: str | None,
    strangers: bool,
    *,
    accepted: bool,
) -> SenderResult:
    if strangers == (who is not None):
        raise UsageError("name somebody, or say --strangers", next_step="parler inbox")
    if who is None:
        senders.let_strangers_through(accepted)
        return SenderResult(accepted=accepted)
    chosen = await _meant(household, who)
    (senders.accept if accepted else senders.decline)(chosen.agent)
    return SenderResult(
        accepted=accepted,
        agent=chosen.agent,
        name=chosen.name or None,
        fingerprint=fingerprint(chosen.agent),
    )


async def _meant(household: Household, who: str) -> Candidate:
    agent = as_agent_id(who.strip())
    if agent is not None:
        return Candidate(agent=agent, name=foreign(""))

    async def look(own: Own) -> list[Candidate]:
        listed = (await own.ctx.client.request(Rooms(), RoomList)).rooms
        rooms = [one.name for one in listed if one.kind is RoomKind.DM and one.unread]
        waiting = await message_requests(own.ctx, rooms)
        return [Candidate(agent=m.author.id, name=m.author.name) for _, m in waiting]

    seen = await household.each(look)
    return pick(
        who,
        [one for people in seen.found for one in people],
        among="has written to you and waits",
        next_step="parler inbox, or the id of the agent",
    )
