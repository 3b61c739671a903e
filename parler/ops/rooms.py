"""The rooms we are in, who is in one, putting somebody out, and deleting ours."""

import asyncio
from collections import Counter
from typing import Annotated

import msgspec

from parler.errors import HubError, HubRefused
from parler.identity.identity import active_session
from parler.identity.signing import fingerprint
from parler.ops.addressing import Candidate, pick
from parler.ops.affiliations import Affiliation, affiliations
from parler.ops.capability import READS, SESSION, Capability, Hints, Means, Param
from parler.ops.context import OpContext, Result
from parler.ops.sealing import is_sealed, remove_from_sealed
from parler.ops.topics import opening, renamed, topic_in
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.codes import Feature
from parler.wire.foreign import Foreign, foreign
from parler.wire.records import RoomInfo, RoomKind, RosterEntry
from parler.wire.replies import MemberRemoved, RoomDeleted, RoomList, RosterList
from parler.wire.requests import DeleteRoom, RemoveMember, Rooms, Roster
from parler.wire.urls import same_hub

MAX_LOOKED_UP = 50
"""Topics looked up at once; the others come with the next look."""


class Room(RoomInfo, kw_only=True):
    """A room of ours, and what it is about if its owner said so."""

    topic: Foreign | None = None


class RoomsResult(Result):
    """Our rooms on one hub; `active` is the session commands use by default.

    What we said ourselves is not unread, at a hub that tells how much that is.
    """

    rooms: list[Room]
    active: str | None = None
    elsewhere: dict[str, int] = msgspec.field(default_factory=dict)
    """How many rooms of ours are on which other hubs, as far as we know."""


class Member(RosterEntry, kw_only=True):
    """A member of a room, with the fingerprint to compare."""

    fingerprint: str
    affiliation: Affiliation | None = None


class RosterResult(Result):
    """The members of a room, by name."""

    room: RoomName
    entries: list[Member]


class DeleteResult(Result):
    """The room that is gone."""

    room: RoomName


async def rooms(ctx: OpContext) -> RoomsResult:
    """List our rooms."""
    known = (record.hub for record in ctx.known_rooms.records())
    return RoomsResult(
        rooms=await rooms_with_topics(ctx),
        active=active_session(ctx.identity.home),
        elsewhere=dict(Counter(hub for hub in known if not same_hub(hub, ctx.hub))),
    )


async def rooms_with_topics(ctx: OpContext) -> list[Room]:
    """Our rooms on this hub; topics that are not known yet are looked up, and noted."""
    listed = await _listed(ctx)
    records = [
        record
        for record in ctx.known_rooms.records()
        if same_hub(record.hub, ctx.hub) and record.topic is not None
    ]
    known = {record.room: record.topic for record in records}
    sessions = (one.name for one in listed if one.kind is RoomKind.CHANNEL)
    unknown = [name for name in sessions if name not in known][:MAX_LOOKED_UP]
    found = await _topics(ctx, unknown)
    ctx.known_rooms.note_topics(ctx.hub, found)
    known |= found
    seqs = {record.room: record.topic_seq for record in records}
    newer = await renamed(ctx.client, seqs, {one.name for one in listed})
    topics = {room: topic for room, (topic, _) in newer.items()}
    said_in = {room: seq for room, (_, seq) in newer.items()}
    ctx.known_rooms.note_topics(ctx.hub, topics, said_in=said_in)
    known |= topics
    return [
        Room(**msgspec.structs.asdict(one), topic=known.get(one.name) or None)
        for one in listed
    ]


async def _topics(ctx: OpContext, rooms: list[RoomName]) -> dict[RoomName, Foreign]:
    """Those that the hub tells; it may be too busy for the others."""

    async def topic(room: RoomName) -> Foreign | None:
        try:
            first = await opening(ctx.client, room)
        except HubRefused:
            return foreign("")
        except HubError:
            return None
        return topic_in(first.text if first else "")

    found = zip(rooms, await asyncio.gather(*map(topic, rooms)), strict=True)
    return {room: words for room, words in found if words is not None}


async def _listed(ctx: OpContext) -> list[RoomInfo]:
    """Our rooms, without what we said ourselves among what is unread."""
    return [
        msgspec.structs.replace(
            one, unread=one.unread - (one.unread_own or 0), unread_own=None
        )
        for one in (await ctx.client.request(Rooms(), RoomList)).rooms
    ]


async def elsewhere(ctx: OpContext, room: RoomName) -> list[RoomInfo]:
    """The direct rooms, beside this one, in which something of others is unread."""
    return [
        one
        for one in await _listed(ctx)
        if one.unread and one.name != room and one.kind is RoomKind.DM
    ]


ROOMS = Capability(
    run=rooms,
    about="List the rooms you are in; the active session is starred.",
    no_command="a person sees those of all agents with `parler rooms` (ops.own)",
    tool="parler_rooms",
    brief="The rooms you are in, and what is unread.",
    hints=READS,
)


async def roster(ctx: OpContext, room: Annotated[RoomName, SESSION]) -> RosterResult:
    """List the members of a room."""
    entries = await entries_of(ctx, room)
    known = await affiliations(ctx, (entry.id for entry in entries))
    return RosterResult(
        room=room,
        entries=[
            Member(
                **msgspec.structs.asdict(entry),
                fingerprint=fingerprint(entry.id),
                affiliation=known.get(entry.id),
            )
            for entry in entries
        ],
    )


async def entries_of(ctx: OpContext, room: RoomName) -> list[RosterEntry]:
    """The members of a room in one request, without whose they are."""
    return (await ctx.client.request(Roster(room=room), RosterList)).entries


async def end_of(ctx: OpContext, room: RoomName) -> int:
    """Up to where somebody was handed a room; at the most recent, its end."""
    entries = await entries_of(ctx, room)
    return max((max(one.seen or 0, one.delivered or 0) for one in entries), default=0)


async def read_up_to(ctx: OpContext, room: RoomName) -> Seq | None:
    """Up to where we read a room; None on a hub that does not tell."""
    entries = await entries_of(ctx, room)
    return next((one.seen for one in entries if one.id == ctx.client.agent_id), None)


ROSTER = Capability(
    run=roster,
    about="List the members of a room and how they are doing.",
    command="roster",
    tool="parler_roster",
    brief="Who is in a session, what each is doing, and how it is woken.",
    hints=READS,
)


async def delete_room(
    ctx: OpContext,
    room: Annotated[RoomName, Param("Which; never guessed.", means=Means.ROOM)],
) -> DeleteResult:
    """Delete a room of ours with all that is in it."""
    await ctx.client.request(DeleteRoom(room=room), RoomDeleted)
    ctx.forget(room)
    return DeleteResult(room=room)


DELETE = Capability(
    run=delete_room,
    about="Delete a room of yours with all that is in it.",
    command="delete-room",
    example="parler delete-room --room room.abc234",
    tool="parler_delete_room",
    call='{"room": "room.abc234"}',
    hints=Hints(destroys=True),
    asks_user=True,
)


class RemoveResult(Result):
    """Who was put out of which room."""

    room: RoomName
    agent: AgentId
    name: Foreign
    fingerprint: str


async def remove_member(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    who: Annotated[
        str,
        Param("An id, a fingerprint, or a unique name.", "AGENT", positional=True),
    ],
) -> RemoveResult:
    """Put somebody out: at once unable to read, and has to knock again.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a unique name.

    Raises:
        UsageError: No member is meant, or more than one.
    """
    if is_sealed(ctx, room):  # first: what the hub does decides nothing
        chosen = await remove_from_sealed(ctx, room, who)
    else:
        members = (await roster(ctx, room)).entries
        chosen = pick(
            who,
            [Candidate(agent=entry.id, name=entry.name) for entry in members],
            among=f"is a member of {room!r}",
            next_step=f"parler roster --room {room}",
        )
    if Feature.MEMBERSHIP in ctx.client.features or not is_sealed(ctx, room):
        out = RemoveMember(room=room, agent=chosen.agent)
        await ctx.client.request(out, MemberRemoved)
    return RemoveResult(
        room=room,
        agent=chosen.agent,
        name=chosen.name,
        fingerprint=fingerprint(chosen.agent),
    )


REMOVE = Capability(
    run=remove_member,
    about="Put a member out of a room of yours.",
    more="It has to knock to come back.",
    command="members remove",
    example="parler members remove ABCD-EFGH-IJKL-MNOP",
    no_tool="who has to leave is for a person to decide",
)
REMOVE_FROM_SESSION = Capability(
    run=remove_member,
    about="Put a member out of a session of yours.",
    more="Of a sealed one it has no key to what is said from then on, whatever the hub "
    "does. It has to knock to come back.",
    command="session remove",
    example="parler session remove ABCD-EFGH-IJKL-MNOP",
    no_tool="who has to leave is for a person to decide",
)
