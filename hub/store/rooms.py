"""Rooms: creating, finding, listing and deleting them (protocol 4)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.store import by_hand
from hub.store.facts import let_go
from hub.store.reply_size import fitting
from hub.store.schema import (
    blob_rooms,
    claims,
    dispatches,
    facts,
    former_members,
    invites,
    join_requests,
    members,
    messages,
    rooms,
    service_workers,
    tokens,
)
from parler.wire.base import AgentId, RoomName
from parler.wire.records import RoomInfo, RoomKind

_KINDS = {kind.value: kind for kind in RoomKind}

MAX_LOOKED_THROUGH = 1000
"""Unread messages of a room whose authors are looked at."""

# What is unread is counted in the index, beginning at the cursor. Only SQLite has a
# `max` of two numbers.
_OF_AGENT = (
    "SELECT rooms.name, rooms.kind, "
    "(SELECT count(*) FROM members WHERE members.room = mine.room), "
    "CASE WHEN mine.guest THEN (SELECT count(*) FROM messages "
    "WHERE messages.room = mine.room AND messages.requester = mine.agent "
    "AND messages.seq > max(mine.cursor, mine.floor)) "
    "ELSE (SELECT count(*) FROM messages WHERE messages.room = mine.room "
    "AND messages.seq > max(mine.cursor, mine.floor)) END, "
    "(SELECT count(*) FROM (SELECT author FROM messages "
    "WHERE messages.room = mine.room AND messages.seq > max(mine.cursor, mine.floor) "
    "AND (NOT mine.guest OR messages.requester = mine.agent) "
    "ORDER BY messages.seq LIMIT ?) WHERE author = mine.agent) "
    "FROM members AS mine JOIN rooms ON rooms.id = mine.room "
    "WHERE mine.agent = ? ORDER BY rooms.name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room as stored: `gated` is of protocol 14.6, `open` of 14.10."""

    id: int
    name: RoomName
    kind: RoomKind
    owner: AgentId | None
    gated: bool
    open: bool = False


def create(
    connection: sa.Connection,
    name: RoomName,
    kind: RoomKind,
    *,
    owner: AgentId | None,
    gated: bool,
    now: int,
) -> Room:
    """Create a room without members."""
    number = connection.execute(
        sa.insert(rooms)
        .values(name=name, kind=kind.value, owner=owner, gated=gated, created=now)
        .returning(rooms.c.id)
    ).scalar_one()
    return Room(id=number, name=name, kind=kind, owner=owner, gated=gated)


def by_name(connection: sa.Connection, name: RoomName) -> Room | None:
    """The room of that exact name."""
    return _room(connection, _BY_NAME, name)


def by_id(connection: sa.Connection, number: int) -> Room | None:
    """The room of that number."""
    return _room(connection, _BY_ID, number)


def direct(connection: sa.Connection, one: AgentId, other: AgentId) -> Room | None:
    """The direct room whose members are exactly these two (protocol 5.2)."""
    pair = (
        sa.select(members.c.room)
        .where(members.c.agent.in_((one, other)))
        .group_by(members.c.room)
        .having(sa.func.count() == 2)
    )
    everybody = (
        sa.select(sa.func.count()).where(members.c.room == rooms.c.id).scalar_subquery()
    )
    found = connection.execute(
        sa.select(rooms.c.id)
        .where(rooms.c.kind == "dm", rooms.c.id.in_(pair), everybody == 2)
        .order_by(rooms.c.id)
        .limit(1)
    )
    number = found.scalar_one_or_none()
    return None if number is None else by_id(connection, number)


def owned_by(connection: sa.Connection, agent: AgentId) -> int:
    """How many rooms an agent owns."""
    return connection.execute(
        sa.select(sa.func.count()).where(rooms.c.owner == agent)
    ).scalar_one()


def of_agent(connection: sa.Connection, agent: AgentId) -> list[RoomInfo]:
    """An agent's rooms with their unread counts, by name (protocol 5.5).

    As many as fit one reply.
    """
    found = by_hand.rows(connection, _OF_AGENT, MAX_LOOKED_THROUGH, agent)
    return fitting(
        RoomInfo(
            name=name,
            kind=_KINDS[kind],
            members=size,
            unread=unread,
            unread_own=own or None,
        )
        for name, kind, size, unread, own in found
    )


def delete(connection: sa.Connection, room: int) -> bool:
    """Delete a room with everything that is in it (protocol 4.6).

    Returns:
        Whether something is left for `facts.drop_some`; nobody can see it any more.
    """
    _, left = let_go(connection, facts.c.room == room)
    for table in (
        join_requests,
        invites,
        tokens,
        service_workers,
        dispatches,
        claims,
        blob_rooms,
        messages,
        members,
        former_members,
    ):
        connection.execute(sa.delete(table).where(table.c.room == room))
    connection.execute(sa.delete(rooms).where(rooms.c.id == room))
    return left


_ROOM = "SELECT id, name, kind, owner, gated, open FROM rooms WHERE "
_BY_NAME, _BY_ID = _ROOM + "name = ?", _ROOM + "id = ?"


def _room(connection: sa.Connection, statement: str, which: str | int) -> Room | None:
    found = by_hand.row(connection, statement, which)
    if found is None:
        return None
    number, name, kind, owner, gated, open_ = found
    return Room(
        id=number,
        name=name,
        kind=_KINDS[kind],
        owner=owner,
        gated=bool(gated),
        open=bool(open_),
    )
