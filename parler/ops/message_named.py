"""From what somebody types for a message to its id: its number, or a part of its id.

The number stands before each message that is shown. Ids begin with the time, so that
the beginnings of those of one minute are alike.
"""

import re
from dataclasses import dataclass

from parler.errors import UsageError
from parler.ops.context import OpContext
from parler.ops.message_view import pages
from parler.text.terminal import shell_word
from parler.wire.base import MessageId, RoomName, Seq
from parler.wire.names import service_room
from parler.wire.records import RoomTarget, ServiceTarget, StoredMessage, Target

MIN_CHARS = 4
"""Of an id, that may stand for it."""

_LISTED = 10
_SHORT = re.compile(r"[0-9a-f-]+", re.ASCII | re.IGNORECASE)
_WHOLE = len("00000000-0000-7000-8000-000000000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A message that is meant."""

    id: MessageId
    seq: Seq | None = None
    """None of one that was named by its whole id: it was not looked for."""


def room_of(target: Target) -> RoomName | None:
    """Where a target's messages are; None if only the hub knows."""
    match target:
        case RoomTarget(room=room):
            return room
        case ServiceTarget(service=service):
            return service_room(service)
    return None


def is_short(word: str) -> bool:
    """Whether a word can stand for the whole id of a message."""
    return len(word) < _WHOLE and _SHORT.fullmatch(word) is not None


async def message_named(ctx: OpContext, word: str, room: RoomName | None) -> Named:
    """The message of a room that is meant.

    Args:
        word: Its number, its id, or the beginning of that.

    Raises:
        UsageError: There is none, or more than one; or it is not known where to look.
    """
    found = await messages_named(ctx, word, room)
    if len(found) == 1:
        return found[0]
    where = shell_word(room) if room else "ROOM"
    if found:
        listed = ", ".join(f"{one.id} [{one.seq}]" for one in found[:_LISTED])
        raise UsageError(
            f"{word!r} could be any of {len(found)} messages: {listed}",
            next_step=f"use the number that stands before it: parler history {where}",
        )
    if room is None:
        raise UsageError(
            f"{word!r} is the number or the beginning of an id, and no room is named",
            next_step="use --room ROOM instead of --to, or the whole id",
        )
    raise UsageError(
        f"there is no message {word!r} in {room}",
        next_step=f"parler history {where}, where its number stands before each",
    )


async def messages_named(
    ctx: OpContext, word: str, room: RoomName | None
) -> list[Named]:
    """Those of a room that may be meant; see `message_named`."""
    word = word.strip()
    if len(word) >= _WHOLE:  # the hub knows what it is
        return [Named(id=MessageId(word))]
    if room is None:
        return []
    if _is_number(word):
        batch = await ctx.client.pull(room, since=int(word) - 1, limit=1)
        return [_named(one.stored) for one in batch.messages if one.seq == int(word)]
    found: list[Named] = []
    async for batch in pages(ctx.client, room, since=0):
        for message in batch.messages:
            known = message.stored.id
            if known == word:
                return [_named(message.stored)]
            if len(word) >= MIN_CHARS and known.startswith(word.lower()):
                found.append(_named(message.stored))
    return found


def _named(message: StoredMessage) -> Named:
    return Named(id=message.id, seq=message.seq)


def _is_number(word: str) -> bool:
    # Ids begin with the time, and so with a zero.
    return word.isascii() and word.isdecimal() and word[0] != "0" and len(word) < 19
