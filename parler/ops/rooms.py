"""The rooms we are in, who else is in one, and deleting one of ours."""

import msgspec

from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.wire.base import RoomName
from parler.wire.records import RoomInfo, RosterEntry
from parler.wire.replies import RoomDeleted, RoomList, RosterList
from parler.wire.requests import DeleteRoom, Rooms, Roster


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
