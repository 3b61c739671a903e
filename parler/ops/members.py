"""Putting a member out of a room of ours."""

from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.ops.people import Person, pick
from parler.ops.rooms import roster
from parler.wire.base import AgentId, RoomName
from parler.wire.replies import MemberRemoved
from parler.wire.requests import RemoveMember


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
