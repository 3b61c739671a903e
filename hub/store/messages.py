"""The message log: appending to it and reading it in order (protocol 5)."""

import sqlite3
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.store import by_hand
from hub.store.engine import last_seq
from hub.store.schema import dispatches, messages
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_PULLED_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message on its way into the log."""

    room: int
    id: MessageId
    author: AgentId
    client_id: str | None
    ts: int
    record: str
    """Its wire JSON without ``seq``, an object with at least one field."""

    roles: tuple[str, ...] = ()
    """Whom it is work for (protocol 10.4), as `queue` compares them."""

    in_service: bool = False
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a message is in the log; `repeated` if it had been there before.

    In a service, `requester` is whose work it belongs to (protocol 14.10).
    """

    seq: int
    id: MessageId
    repeated: bool = False
    requester: AgentId | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Messages of a room after a position, in wire JSON: pieces with commas inside.

    `cursor` is the position after them, `ack` what of the given acknowledgement is
    still to be stored.
    """

    room: int
    pieces: list[bytes]
    count: int
    cursor: int
    ack: int | None = None


_APPEND = (
    "INSERT INTO messages (seq, room, id, author, client_id, ts, record) "
    "SELECT ?, room, ?, agent, ?, ?, ? FROM members "
    "WHERE room = ? AND agent = ? ON CONFLICT DO NOTHING"
)


def append(connection: sa.Connection, new: list[NewMessage]) -> list[Stored | Refusal]:
    """Store messages in the given order, each once per client id (protocol 5.2).

    A member that was removed meanwhile stores nothing.
    """
    first = last_seq(connection) + 1
    rows = [
        (
            seq,
            message.id,
            message.client_id,
            message.ts,
            message.record,
            message.room,
            message.author,
        )
        for seq, message in enumerate(new, first)
    ]
    if by_hand.run_each(connection, _APPEND, rows) == len(new):
        stored: list[Stored | Refusal] = [
            Stored(seq, message.id) for seq, message in enumerate(new, first)
        ]
    else:
        stored = [
            _outcome(connection, seq, message) for seq, message in enumerate(new, first)
        ]
    if any(message.roles for message in new):
        _dispatch(connection, new, stored)
    if any(message.in_service for message in new):
        stored = [
            _as_work(connection, message, outcome)
            for message, outcome in zip(new, stored, strict=True)
        ]
    return stored


# What a guest says is its own, whatever it replies to.
_AS_WORK = (
    "UPDATE messages SET requester = coalesce((SELECT asked.requester "
    "FROM messages AS asked JOIN members ON members.room = asked.room "
    "AND members.agent = messages.author AND NOT members.guest "
    "WHERE asked.room = messages.room AND asked.id = ? "
    "AND asked.requester IS NOT NULL), author) WHERE seq = ? RETURNING requester"
)


def _as_work(
    connection: sa.Connection, message: NewMessage, outcome: Stored | Refusal
) -> Stored | Refusal:
    """Note whose work a message of a service belongs to."""
    if not message.in_service or isinstance(outcome, Refusal) or outcome.repeated:
        return outcome
    said = (message.reply_to, outcome.seq)
    [(requester,)] = by_hand.rows(connection, _AS_WORK, *said)
    return replace(outcome, requester=requester)


def _dispatch(
    connection: sa.Connection, new: list[NewMessage], stored: list[Stored | Refusal]
) -> None:
    rows = [
        {"room": message.room, "message": message.id, "role": role, "seq": outcome.seq}
        for message, outcome in zip(new, stored, strict=True)
        if isinstance(outcome, Stored) and not outcome.repeated
        for role in message.roles
    ]
    if rows:
        connection.execute(sa.insert(dispatches), rows)


def _outcome(
    connection: sa.Connection, seq: int, message: NewMessage
) -> Stored | Refusal:
    if not is_member(connection, message.room, message.author):
        return not_member()
    found = connection.execute(
        sa.select(messages.c.seq, messages.c.id).where(
            messages.c.room == message.room,
            messages.c.author == message.author,
            messages.c.client_id == message.client_id
            if message.client_id is not None
            else messages.c.seq == seq,
        )
    ).one()
    return Stored(found.seq, found.id, repeated=found.seq != seq)


def after(
    connection: sa.Connection,
    room: RoomName,
    agent: AgentId,
    *,
    since: int | None,
    ack: int | None,
    limit: int,
    max_bytes: int = MAX_PULLED_BYTES,
) -> Page:
    """Read a member's room from a position or from its cursor (protocol 5.3).

    Raises:
        Refusal: The agent is not a member of such a room.
    """
    number, reached, floor, guest = member(connection, room, agent)
    whose = agent if guest else None
    start = reached if since is None else since
    raised = None
    if since is None and ack is not None and ack > reached:
        # Beyond the newest message an acknowledgement would hide later ones.
        start = max(reached, min(ack, head(connection, number)))
        raised = start if start > reached else None
    where = _Where(number, whose)
    found = _read(connection, where, max(start, floor), limit, max_bytes)
    cursor = found.last if found.count else start
    return Page(number, found.pieces, found.count, cursor, raised)


# SQLite alone knows these words. It joins what goes into a reply: a row in Python takes
# three times as long, and holds up the other threads. Bytes are cut faster than
# characters, and a record begins with a brace. The inner LIMIT keeps the order of the
# inner query.
_JOINED = (
    "SELECT count(*), max(seq), CAST(group_concat("
    "'{\"seq\":' || seq || ',' || substr(CAST(record AS BLOB), 2)) AS BLOB) "
    "FROM (SELECT seq, record FROM messages WHERE room = ? %s AND seq > ? "
    "ORDER BY seq LIMIT ?)"
)
_ALL, _OF_ONE = _JOINED % "", _JOINED % "AND requester = ?"
_JOINED_AT_ONCE = 64
"""Rows that are walked even if a few are too much: SQLite goes on to the last one."""

_FEWER = 8
"""By what fewer messages are asked for when those asked for are too much."""


@dataclass(frozen=True, slots=True)
class _Where:
    """What is read: a room, or in a service what is of one requester."""

    room: int
    requester: AgentId | None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Messages as a reply has them, with commas between, and the last one's place."""

    text: bytes
    count: int
    last: int


@dataclass(slots=True)
class _Found:
    """What a reply is made of so far."""

    last: int
    count: int = 0
    size: int = 0
    pieces: list[bytes] = field(default_factory=list)

    def add(self, more: _Piece) -> None:
        """Take messages, which follow those taken before."""
        self.pieces.append(more.text)
        self.count += more.count
        self.size += len(more.text) - (more.count - 1)  # not the commas
        self.last = more.last


def _read(
    connection: sa.Connection, where: _Where, start: int, limit: int, max_bytes: int
) -> _Found:
    found, asked = _Found(start), min(limit, _JOINED_AT_ONCE)
    while asked and found.count < limit:
        asked = min(asked, limit - found.count)
        joined = _join(connection, where, found.last, asked, max_bytes)
        if joined is None or found.size + len(joined.text) > max_bytes:
            asked //= _FEWER
            continue
        if joined.count:
            found.add(joined)
        if joined.count < asked:
            return found
    if found.count < limit:
        _read_singly(connection, where, found, limit - found.count, max_bytes)
    return found


def _join(
    connection: sa.Connection, where: _Where, start: int, limit: int, max_bytes: int
) -> _Piece | None:
    """Messages in one piece; None if that has more than `max_bytes`."""
    raw = by_hand.driver(connection)
    before = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_bytes)
    whose = () if where.requester is None else (where.requester,)
    asked = (where.room, *whose, start, limit)
    try:
        count, last, text = raw.execute(_OF_ONE if whose else _ALL, asked).fetchone()
    except sqlite3.DataError:
        return None
    finally:
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    return _Piece(text or b"", count, last)


def _read_singly(
    connection: sa.Connection, where: _Where, found: _Found, limit: int, max_bytes: int
) -> None:
    rows = connection.execution_options(yield_per=1).execute(
        sa.select(messages.c.seq, messages.c.record)
        .where(
            messages.c.room == where.room,
            messages.c.seq > found.last,
            sa.true()
            if where.requester is None
            else messages.c.requester == where.requester,
        )
        .order_by(messages.c.seq)
        .limit(limit)
    )
    for seq, message in page(rows, max_bytes - found.size, first=not found.pieces):
        found.add(_Piece(bytes(message), 1, seq))


def page(
    rows: "sa.CursorResult[int, str]",
    max_bytes: int = MAX_PULLED_BYTES,
    *,
    first: bool = True,
) -> list[tuple[int, msgspec.Raw]]:
    """Stored records as wire JSON: as many as fit one reply.

    Args:
        first: The reply has none yet, so one is taken at least.
    """
    found: list[tuple[int, msgspec.Raw]] = []
    size = 0
    for seq, record in rows:
        raw = with_seq(seq, record)
        size += len(raw)
        if (found or not first) and size > max_bytes:
            rows.close()
            break
        found.append((seq, msgspec.Raw(raw)))
    return found


def with_seq(seq: int, record: str) -> bytes:
    """A stored record as the wire has it."""
    return b'{"seq":%d,%b' % (seq, record[1:].encode())


def head(connection: sa.Connection, room: int) -> int:
    """The newest position in a room, or 0."""
    found = by_hand.row(
        connection, "SELECT max(seq) FROM messages WHERE room = ?", room
    )
    return (found and found[0]) or 0


def is_member(connection: sa.Connection, room: int, agent: AgentId) -> bool:
    """Whether the agent may read and write in the room."""
    found = by_hand.row(
        connection, "SELECT 1 FROM members WHERE room = ? AND agent = ?", room, agent
    )
    return found is not None


class Member(NamedTuple):
    """A membership: what was read, what may be, and whether only one's own work."""

    room: int
    cursor: int
    floor: int
    guest: bool


_MEMBER = (
    "SELECT members.room, members.cursor, members.floor, members.guest "
    "FROM rooms JOIN members ON members.room = rooms.id "
    "WHERE rooms.name = ? AND members.agent = ?"
)


def member(connection: sa.Connection, room: RoomName, agent: AgentId) -> Member:
    """An agent's membership of the room of that name.

    Raises:
        Refusal: The agent is not a member of such a room.
    """
    found = by_hand.row(connection, _MEMBER, room, agent)
    if found is None:
        raise not_member()
    number, cursor, floor, guest = found
    return Member(number, cursor, floor, bool(guest))


def not_member() -> Refusal:
    """The refusal for whoever is not in a room, or names one that does not exist."""
    return Refusal(ErrorCode.NOT_MEMBER, "not a member of that room")
