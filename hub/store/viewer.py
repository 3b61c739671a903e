"""Reading a room for somebody who only watches it over HTTP (protocol 11).

Numbers over a whole room are counted once per message: a count says how far it came,
and goes on from there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.store.messages import with_seq
from hub.store.schema import messages
from parler.wire.base import Seq, WireStruct
from parler.wire.canonical import SIG_KIND
from parler.wire.limits import MAX_PULLED_BYTES

COUNTED_AT_ONCE = 500
"""Messages one transaction looks at; in memory it holds up the writer."""

CHARS_PER_TOKEN = 4

Author = tuple[str, str | None]


class WatchedMessage(WireStruct):
    """What a watcher may know of a message; its parts are still raw."""

    seq: Seq
    ts: int
    author: "WatchedAuthor" = msgspec.field(name="from")
    parts: msgspec.Raw


class WatchedAuthor(WireStruct):
    """An author without the id."""

    name: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted up to `seq`."""

    seq: int = 0
    messages: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class RoomCount(Count):
    """What was counted in one room up to `seq`, by author too."""

    first_ts: int | None = None
    last_ts: int | None = None
    authors: Mapping[Author, tuple[int, int]] = field(default_factory=dict)
    """Messages and estimated tokens of everybody, by name and role."""


class _Counted(WireStruct):
    author: WatchedAuthor = msgspec.field(name="from")
    parts: list[dict[str, Any]]


_MESSAGE = msgspec.json.Decoder(WatchedMessage)
_COUNTED = msgspec.json.Decoder(_Counted)


def page(
    connection: sa.Connection, room: int, *, since: int, limit: int
) -> list[WatchedMessage]:
    """Messages of a room after a position, at most so many and 4 MiB of them."""
    rows = connection.execution_options(yield_per=50).execute(
        sa.select(messages.c.seq, messages.c.record)
        .where(messages.c.room == room, messages.c.seq > since)
        .order_by(messages.c.seq)
        .limit(limit)
    )
    found: list[WatchedMessage] = []
    size = 0
    for seq, record in rows:
        size += len(record)
        if found and size > MAX_PULLED_BYTES:
            rows.close()
            break
        found.append(_MESSAGE.decode(with_seq(seq, record)))
    return found


def held(connection: sa.Connection, room: int) -> int:
    """How many messages of a room there are."""
    return connection.execute(
        sa.select(sa.func.count()).where(messages.c.room == room)
    ).scalar_one()


def count_room(
    connection: sa.Connection, room: int, count: RoomCount
) -> tuple[RoomCount, bool]:
    """Count on in a room; also tells whether there is more to count."""
    found, more = _after(connection, count.seq, messages.c.room == room)
    authors, spent = dict(count.authors), count.tokens
    for _, _, record in found:
        author, tokens = _estimate(record)
        had, before = authors.get(author, (0, 0))
        authors[author] = (had + 1, before + tokens)
        spent += tokens
    if not found:
        return count, more
    counted = RoomCount(
        found[-1][0],
        count.messages + len(found),
        spent,
        found[0][1] if count.first_ts is None else count.first_ts,
        found[-1][1],
        authors,
    )
    return counted, more


def count_all(connection: sa.Connection, count: Count) -> tuple[Count, bool]:
    """Count on over all rooms; also tells whether there is more to count."""
    found, more = _after(connection, count.seq, sa.true())
    if not found:
        return count, more
    tokens = sum(_estimate(record)[1] for _, _, record in found)
    counted = Count(found[-1][0], count.messages + len(found), count.tokens + tokens)
    return counted, more


def _after(
    connection: sa.Connection, seq: int, condition: sa.ColumnElement[bool]
) -> tuple[list[tuple[int, int, str]], bool]:
    rows = connection.execution_options(yield_per=50).execute(
        sa.select(messages.c.seq, messages.c.ts, messages.c.record)
        .where(messages.c.seq > seq, condition)
        .order_by(messages.c.seq)
        .limit(COUNTED_AT_ONCE)
    )
    found: list[tuple[int, int, str]] = []
    size = 0
    for number, ts, record in rows:
        found.append((number, ts, record))
        size += len(record)
        if size > MAX_PULLED_BYTES:
            rows.close()
            return found, True
    return found, len(found) == COUNTED_AT_ONCE


def _estimate(record: str) -> tuple[Author, int]:
    try:
        counted = _COUNTED.decode(record)
    except (msgspec.DecodeError, RecursionError):  # one such spoils no room
        return ("", None), 0
    return (counted.author.name, counted.author.role), estimated_tokens(counted.parts)


def estimated_tokens(parts: list[dict[str, Any]]) -> int:
    """How much a message is worth, roughly (protocol 7).

    A quarter of the characters in texts and in strings of other parts, rounded up.
    Signatures and the kinds of parts are not counted.
    """
    chars = 0
    for part in parts:
        if part.get("kind") == SIG_KIND:
            continue
        pending = [value for name, value in part.items() if name != "kind"]
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                chars += len(value)
            elif isinstance(value, dict):
                pending.extend(value.values())
            elif isinstance(value, list):
                pending.extend(value)
    return math.ceil(chars / CHARS_PER_TOKEN)
