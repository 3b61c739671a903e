"""Looking back in a room: which messages are looked for, and where a time is in it."""

import re
from dataclasses import dataclass
from datetime import datetime

from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.capability import Param
from parler.ops.context import OpContext
from parler.ops.message_view import ShownMessage
from parler.ops.rooms import end_of
from parler.text.transcript import body
from parler.wire.base import RoomName
from parler.wire.foreign import exact

GREP = Param("Only what has this in it.", "TEXT")
FROM = Param("Only of this name, id or fingerprint.", "AGENT")
SINCE = Param("Not before: 30m, 2h, 3d, or 2026-11-30.", "WHEN")

_AGO = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages are looked for; what is empty has no say."""

    grep: str = ""
    author: str = ""
    since: int = 0
    """Epoch milliseconds."""

    def has(self, message: ShownMessage) -> bool:
        """Whether it is one of them."""
        author = message.author
        called = (exact(author.name).casefold(), author.id.casefold())
        mark = fingerprint(author.id).casefold()
        return (
            message.ts >= self.since
            and (not self.author or self.author in called or mark == self.author)
            and self.grep in body(message).casefold()
        )


EVERYTHING = Wanted()


def wanted_of(
    grep: str | None, from_: str | None, since: str | None, *, now: int
) -> Wanted:
    """What is looked for, as people say it.

    Args:
        now: Epoch milliseconds.

    Raises:
        UsageError: `since` is no time.
    """
    return Wanted(
        grep=(grep or "").casefold(),
        author=(from_ or "").strip().casefold(),
        since=0 if since is None else _moment(since, now),
    )


def _moment(text: str, now: int) -> int:
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _MS[ago[2]]
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{text!r} is no time", next_step="--since 30m, 2h, 3d or 2026-11-30"
        ) from None


async def seq_at(ctx: OpContext, room: RoomName, moment: int) -> int:
    """The last message before a moment, found in a few requests; 0 if none is.

    Times are the hub's. Where its clock was set back, it is one of the places where
    that moment was.

    Args:
        moment: Epoch milliseconds.
    """
    before, end = 0, await end_of(ctx, room)
    while before < end:
        middle = (before + end) // 2
        there = (await ctx.client.pull(room, since=middle, limit=1)).messages
        if there and there[0].ts < moment:
            before = there[0].seq
        else:
            end = middle
    return before
