"""The rooms we are in, who is in one, putting somebody out, and deleting ours."""

import msgspec

from parler.identity.signing import fingerprint
from parler.ops.addressing import Person, pick
from parler.ops.context import OpContext, Result
from parler.wire.base import AgentId, RoomName
from parler.wire.records import RoomInfo, RosterEntry
from parler.wire.replies import MemberRemoved, RoomDeleted, RoomList, RosterList
from parler.wire.requests import DeleteRoom, RemoveMember, Rooms, Roster


class RoomsResult(Result):
    """Our rooms, by name; `active` is the session commands use by default."""

    rooms: list[RoomInfo]
    active: str | None = None


class Member(RosterEntry, kw_only=True):
    """A member of a room, with the fingerprint to compare."""

    fingerprint: str


class RosterResult(Result):
    """The members of a room, by name."""

    room: RoomName
    entries: list[Member]


class DeleteResult(Result):
    """The room that is gone."""

    room: RoomName


async def rooms(ctx: OpContext, *, active: str | None) -> RoomsResult:
    """List our rooms."""
    listed = await ctx.client.request(Rooms(), RoomList)
    return RoomsResult(rooms=listed.rooms, active=active)


async def roster(ctx: OpContext, room: RoomName) -> RosterResult:
    """List the members of a room."""
    listed = await ctx.client.request(Roster(room=room), RosterList)
    return RosterResult(
        room=room,
        entries=[
            Member(**msgspec.structs.asdict(entry), fingerprint=fingerprint(entry.id))
            for entry in listed.entries
        ],
    )


async def delete_room(ctx: OpContext, room: RoomName) -> DeleteResult:
    """Delete a room of ours with all that is in it."""
    await ctx.client.request(DeleteRoom(room=room), RoomDeleted)
    ctx.forget(room)
    return DeleteResult(room=room)


class RemoveResult(Result):
    """Who was put out of which room."""

    room: RoomName
    agent: AgentId
    name: str
    fingerprint: str


async def remove_member(ctx: OpContext, room: RoomName, who: str) -> RemoveResult:
    """Put somebody out: at once unable to read, and has to knock again.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a unique name.

    Raises:
        UsageError: No member is meant, or more than one.
    """
    members = (await roster(ctx, room)).entries
    chosen = pick(
        who,
        [Person(agent=entry.id, name=entry.name) for entry in members],
        among=f"is a member of {room!r}",
        next_step=f"parler roster --room {room}",
    )
    await ctx.client.request(RemoveMember(room=room, agent=chosen.agent), MemberRemoved)
    return RemoveResult(
        room=room,
        agent=chosen.agent,
        name=chosen.name,
        fingerprint=fingerprint(chosen.agent),
    )
