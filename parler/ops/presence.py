"""Saying what we are doing."""

from parler.ops.context import OpContext, Result
from parler.wire.replies import PresenceOk
from parler.wire.requests import Presence


class PresenceResult(Result):
    """What others are shown of us."""

    status: str
    activity: str | None = None


async def presence(
    ctx: OpContext, status: str, *, activity: str | None = None
) -> PresenceResult:
    """Say what we are doing; a status without activity clears it."""
    await ctx.client.request(Presence(status=status, activity=activity), PresenceOk)
    return PresenceResult(status=status, activity=activity)
