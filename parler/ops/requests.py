"""Direct messages of strangers: requests, of which the person accepts or declines each.

A request waits on the hub. Nothing here shows more of it than its first line.
"""

from parler.client.acquaintance import Standing
from parler.errors import HubError
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.wire.base import AgentId, Millis, RoomName
from parler.wire.names import is_direct
from parler.wire.replies import RoomList
from parler.wire.requests import Rooms

MAX_REQUESTS = 20
"""That are shown of one agent's; the oldest, so that a flood hides nobody before it."""

MAX_LOOKED_AT = 200
"""Direct rooms that are looked into for requests."""

MAX_LINE_CHARS = 200


class MessageRequest(Result):
    """A stranger who wrote to one of our agents."""

    agent: AgentId
    name: str
    fingerprint: str
    room: RoomName
    line: str
    """The first line of what it says."""

    sent_at: Millis


async def message_requests(ctx: OpContext) -> list[MessageRequest]:
    """Who wants to speak to this agent, each once, the oldest first."""
    acquaintance = ctx.acquaintance
    if acquaintance is None:
        return []
    listed = (await ctx.client.request(Rooms(), RoomList)).rooms
    rooms = [one.name for one in listed if one.unread and is_direct(one.name)]
    found: dict[AgentId, MessageRequest] = {}
    for room in rooms[:MAX_LOOKED_AT]:
        try:
            if await acquaintance.standing(room) is not Standing.STRANGER:
                continue
            message = await acquaintance.sender(room)
        except HubError:
            continue  # deleted meanwhile
        if message is None:
            continue
        author = message.author
        known = found.get(author.id)
        if known is None or message.ts < known.sent_at:
            found[author.id] = MessageRequest(
                agent=author.id,
                name=author.name,
                fingerprint=fingerprint(author.id),
                room=room,
                line=message.text.strip().partition("\n")[0][:MAX_LINE_CHARS],
                sent_at=message.ts,
            )
    oldest_first = sorted(found.values(), key=lambda one: one.sent_at)
    return oldest_first[:MAX_REQUESTS]
