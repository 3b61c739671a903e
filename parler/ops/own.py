"""What all identities of this user own: their rooms, and who knocks there.

Each hub is asked in the name of each identity, beside whatever that agent does itself:
nothing is acknowledged, and nobody seems present by it. An act is done by the identity
whose it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from parler.errors import HubError, HubRefused, NotMember, UsageError
from parler.identity.devices import Devices
from parler.identity.homes import machine_home
from parler.identity.identity import active_session
from parler.identity.own_agents import OwnAgent
from parler.ops.addressing import Candidate, pick
from parler.ops.admission import Knock, admit, join_requests, knock_meant
from parler.ops.capability import Capability
from parler.ops.context import OpContext, Result
from parler.ops.invites import InviteParams, invite
from parler.ops.rooms import Room, entries_of, rooms_with_topics
from parler.ops.sealing import is_sealed, sealed_rooms
from parler.ops.topics import is_topic, perhaps
from parler.text.terminal import shell_word, shown_name
from parler.wire.base import AgentId, Code, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.foreign import Foreign, foreign
from parler.wire.records import RoomKind
from parler.wire.replies import (
    Joined,
    JoinPending,
    JoinRequestList,
)
from parler.wire.requests import JoinRequests, Redeem
from parler.wire.urls import same_hub

MAX_DIRECT = 50
"""Direct rooms whose other side is looked up at once."""

BRING_IN_SECS = 3600
"""How long the key by which one of us enters another's room is good."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """One identity at one hub."""

    agent: OwnAgent
    name: str
    ctx: OpContext


class Away(Result):
    """A hub that could not be asked, for one or more of the identities."""

    hub: str
    reason: str


@dataclass(slots=True)
class Seen(Generic[T]):
    """What came of asking in each name."""

    found: list[T] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)


class Household(Protocol):
    """The identities of this user that are meant, and their hubs."""

    @property
    def agents(self) -> Sequence[OwnAgent]:
        """The identities, the person first."""

    async def each(self, look: Callable[[Own], Awaitable[T]]) -> Seen[T]:
        """Look in the name of each identity at each of its hubs.

        Raises:
            ParlerError: No hub could be asked.
        """


class OwnRoom(Room, kw_only=True):
    """A room, and which identity of ours is in it."""

    owner: str
    """The name of that identity."""

    owner_id: AgentId = msgspec.field(name="ownerId")
    hub: str
    active: bool = False
    """It is that identity's session."""

    peer: Foreign | None = None
    """In a direct room: the name of the other side."""


class OwnRoomsResult(Result):
    """The rooms of all identities that were asked; `active` is ours here."""

    rooms: list[OwnRoom]
    active: str | None = None
    unreachable: list[Away] = msgspec.field(default_factory=list)


async def own_rooms(
    household: Household, *, active: str | None = None
) -> OwnRoomsResult:
    """List the rooms of all identities.

    Raises:
        ParlerError: No hub could be asked.
    """
    seen = await household.each(rooms_of)
    return OwnRoomsResult(
        rooms=[room for rooms in seen.found for room in rooms],
        active=active,
        unreachable=seen.away,
    )


ROOMS = Capability(
    run=own_rooms,
    about="List your rooms and those of your agents.",
    more="The session of each is starred.",
    command="rooms",
    no_tool="an agent sees its own with parler_rooms",
)


async def own_sessions(
    household: Household, *, active: str | None = None
) -> OwnRoomsResult:
    """List the sessions of all identities: rooms that are no service, nor with one.

    Raises:
        ParlerError: No hub could be asked.
    """
    result = await own_rooms(household, active=active)
    result.rooms = [one for one in result.rooms if one.kind is RoomKind.CHANNEL]
    return result


SESSIONS = Capability(
    run=own_sessions,
    about="List your sessions and those of your agents, by topic.",
    more="The active one of each is starred; parler session use changes yours.",
    command="session list",
    no_tool="an agent sees its own with parler_rooms",
)


async def rooms_of(own: Own) -> list[OwnRoom]:
    """The rooms of one identity at one hub; a direct one has its other side's name."""
    ctx, active = own.ctx, active_session(own.agent.home)
    rooms = await rooms_with_topics(ctx)
    if own.agent.is_person:  # what a phone and this machine say there is for neither
        known = Devices(machine_home(own.agent.home)).all()
        phones = {one.room for one in known if same_hub(one.hub, ctx.hub)}
        rooms = [one for one in rooms if one.name not in phones]
    direct = [one.name for one in rooms if one.kind is RoomKind.DM][:MAX_DIRECT]
    peers = dict(zip(direct, await _others(ctx, direct), strict=True))
    return [
        OwnRoom(
            **msgspec.structs.asdict(one),
            owner=own.name,
            owner_id=ctx.identity.agent_id,
            hub=ctx.hub,
            active=one.name == active,
            peer=peers.get(one.name),
        )
        for one in rooms
    ]


async def _others(ctx: OpContext, rooms: Sequence[RoomName]) -> list[Foreign | None]:
    async def other(room: RoomName) -> Foreign | None:
        try:
            entries = await entries_of(ctx, room)
        except HubError:
            return None
        names = (one.name for one in entries if one.id != ctx.client.agent_id)
        return next(names, None)

    return await asyncio.gather(*map(other, rooms))


# Who knocks


class OwnKnock(Knock, kw_only=True):
    """Somebody who waits at a room of one of our identities."""

    room: RoomName
    owner: str
    """The name of the identity whose room it is."""

    owner_id: AgentId
    hub: str
    topic: Foreign | None = None


class OwnRequestsResult(Result):
    """Who waits, oldest first; `admitted` were approved beforehand."""

    requests: list[OwnKnock]
    room: RoomName | None = None
    admitted: list[OwnKnock] = msgspec.field(default_factory=list)
    unreachable: list[Away] = msgspec.field(default_factory=list)


async def own_requests(
    household: Household, room: RoomName | None = None, *, admit: bool = True
) -> OwnRequestsResult:
    """Who waits to be let into rooms of ours.

    Args:
        room: Only there; else everywhere.
        admit: Let in whom the owner named beforehand.

    Raises:
        ParlerError: No hub could be asked.
    """

    async def look(own: Own) -> tuple[list[OwnKnock], list[OwnKnock]]:
        rooms = await rooms_with_topics(own.ctx)
        wanted = [one for one in rooms if room in (None, one.name, one.topic)]
        return await knocks_at(own, wanted, admit=admit)

    seen = await household.each(look)
    waiting = [one for knocks, _ in seen.found for one in knocks]
    return OwnRequestsResult(
        requests=sorted(waiting, key=lambda one: one.requested_at),
        room=room,
        admitted=[one for _, admitted in seen.found for one in admitted],
        unreachable=seen.away,
    )


REQUESTS = Capability(
    run=own_requests,
    about="Show who waits to be let in, at all rooms of yours.",
    more="Those of your agents are yours as well.",
    command="session requests",
    no_tool="an agent sees its own with parler_join_requests",
)


async def knocks_at(
    own: Own, rooms: Sequence[Room], *, admit: bool = False
) -> tuple[list[OwnKnock], list[OwnKnock]]:
    """Who waits at these rooms of one identity, and who was let in just now."""
    gated = [one for one in rooms if one.kind is RoomKind.CHANNEL]
    each = await asyncio.gather(*(_knocks(own, one, admit=admit) for one in gated))
    return [k for one, _ in each for k in one], [k for _, two in each for k in two]


async def _knocks(
    own: Own, room: Room, *, admit: bool
) -> tuple[list[OwnKnock], list[OwnKnock]]:
    ctx = own.ctx
    try:
        waiting = await join_requests(ctx, room.name, admit=admit)
    except HubRefused:
        return [], []  # it is somebody else's, or gone

    def knock(one: Knock) -> OwnKnock:
        return OwnKnock(
            **msgspec.structs.asdict(one),
            room=room.name,
            owner=own.name,
            owner_id=ctx.identity.agent_id,
            hub=ctx.hub,
            topic=room.topic,
        )

    return list(map(knock, waiting.requests)), list(map(knock, waiting.admitted))


def own_knock_meant(who: str, waiting: Sequence[OwnKnock]) -> OwnKnock:
    """The one knock at any of our rooms that is meant; see `knock_meant`.

    Raises:
        UsageError: None is, or more than one.
    """
    chosen = knock_meant(who, waiting)
    meant = [one for one in waiting if one.agent == chosen.agent]
    if len(meant) > 1:
        rooms = ", ".join(f"{one.room} of {one.owner}" for one in meant)
        raise UsageError(
            f"{shown_name(chosen.name)} ({chosen.fingerprint}) waits at several rooms: "
            f"{rooms}",
            next_step=f"name one of them with --room {meant[0].room}",
        )
    return chosen


async def bring_in(host: Own, guest: OpContext, room: RoomName) -> bool:
    """Have one identity of ours enter a room of another, by a key for it alone.

    Returns:
        Whether it is in; it waits if the room is not the host's own.

    Raises:
        HubError: The host may not make a key to it.
    """
    key = await invite(
        host.ctx,
        InviteParams(
            kind=RoomKind.CHANNEL,
            name=room,
            ttl_secs=BRING_IN_SECS,
            max_uses=1,
            require_approval=True,
        ),
    )
    code = Code(key.code)
    entered = await guest.client.request(Redeem(code=code), (Joined, JoinPending))
    if isinstance(entered, JoinPending):
        if not await is_ours(host.ctx, room):
            return False
        if is_sealed(host.ctx, room):
            sealed_rooms(guest).seal(room)
        with suppress(HubRefused):  # another client of ours was faster
            await admit(host.ctx, room, guest.identity.agent_id)
        entered = await guest.client.request(Redeem(code=code), (Joined, JoinPending))
    if isinstance(entered, JoinPending):
        return False
    guest.known_rooms.remember(guest.hub, room)
    return True


# Which of us


def agent_named(who: str, agents: Sequence[OwnAgent]) -> OwnAgent:
    """The own identity of that name, fingerprint or id.

    Raises:
        UsageError: None is, or more than one.
    """
    known = {one.identity.agent_id: one for one in agents if one.identity is not None}
    people = [
        Candidate(agent=agent, name=foreign(one.identity.name))
        for agent, one in known.items()
        if one.identity
    ]
    chosen = pick(who, people, among="is an agent of yours", next_step="parler rooms")
    return known[chosen.agent]


async def whose_room(
    household: Household, room: str, *, owns: bool = False, anyone: bool = False
) -> tuple[OwnRoom, bool]:
    """Which identity of ours is in a room, and whether the room is its own.

    Args:
        room: Its name, or its topic; just to look also who a direct one is with.
        owns: The owner is meant, if one of ours is.
        anyone: Whichever of several will do.

    Raises:
        NotMember: None of ours is in it.
        UsageError: More than one could be meant.
        ParlerError: No hub could be asked.
    """

    seen_rooms: list[OwnRoom] = []

    async def look(own: Own) -> list[tuple[OwnRoom, bool]]:
        rooms = await rooms_of(own)
        seen_rooms.extend(rooms)
        found = [
            one
            for one in rooms
            if room in {one.name, one.peer if anyone else None}
            or is_topic(one.topic, room)
        ]
        return [(one, await is_ours(own.ctx, one.name)) for one in found]

    seen = await household.each(look)
    found = [one for each in seen.found for one in each]
    # Members choose topics: none of them stands in for a room's own name.
    found = [one for one in found if one[0].name == room] or found
    if owns and (ours := [one for one in found if one[1]]):
        found = ours
    if not found:
        away = "".join(f"; the hub {one.hub} was not reached" for one in seen.away)
        near = perhaps(((one.name, one.topic) for one in seen_rooms), room)
        raise NotMember(
            f"no agent of yours is in a room {room!r}{away}{near}",
            hub_code=ErrorCode.NOT_MEMBER,
            next_step="parler rooms",
        )
    rooms = {(one.name, one.hub) for one, _ in found}
    if len(found) > 1 and not (anyone and len(rooms) == 1):
        names = ", ".join(f"{one.owner} in {one.name}" for one, _ in found)
        raise UsageError(
            f"more than one could be meant by {room!r}: {names}",
            next_step=f"--as {shell_word(found[0][0].owner)}"
            if len(rooms) == 1
            else f"name the room: {found[0][0].name}",
        )
    return found[0]


async def is_ours(ctx: OpContext, room: RoomName) -> bool:
    """Whether a room is this identity's own, who alone minds its door.

    Raises:
        HubError: The hub is too busy to tell; a person may have to be asked.
    """
    try:
        await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    except HubRefused:
        return False
    return True
