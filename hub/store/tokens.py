"""Bearer tokens for reading over HTTP, stored hashed (protocol 4.1, 11, 14.5)."""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from hub.store.schema import members, rooms, tokens
from parler.wire.base import AgentId


@dataclass(frozen=True, slots=True)
class Access:
    """What a token opens: one room, or the directory if `room` is None."""

    room: int | None


def mint(
    connection: sa.Connection,
    token: str,
    agent: AgentId,
    *,
    room: int | None,
    expires: int,
    now: int,
) -> None:
    """Store a token: for the directory, or for watching one room."""
    connection.execute(
        sa.insert(tokens).values(
            hash=digest(token),
            room=room,
            created_by=agent,
            expires=expires,
            created=now,
        )
    )


def live(connection: sa.Connection, agent: AgentId, *, now: int) -> int:
    """How many of an agent's tokens still open something."""
    return connection.execute(
        sa.select(sa.func.count()).where(
            tokens.c.created_by == agent, tokens.c.expires >= now
        )
    ).scalar_one()


def access(connection: sa.Connection, token: str, *, now: int) -> Access | None:
    """What a token opens, or None. Found by its hash, so timing tells nothing.

    One of a room opens it as long as who made it owns the room and is a member.
    """
    may_watch = (
        sa.select(rooms.c.id)
        .join(members, members.c.room == rooms.c.id)
        .where(
            rooms.c.id == tokens.c.room,
            rooms.c.owner == tokens.c.created_by,
            members.c.agent == tokens.c.created_by,
        )
    )
    found = connection.execute(
        sa.select(tokens.c.room).where(
            tokens.c.hash == digest(token),
            tokens.c.expires >= now,
            tokens.c.room.is_(None) | may_watch.exists(),
        )
    ).one_or_none()
    return None if found is None else Access(found.room)


def revoke_directory(connection: sa.Connection, agent: AgentId) -> int:
    """Make an agent's directory tokens worthless; returns how many there were."""
    result = connection.execute(
        sa.delete(tokens).where(tokens.c.created_by == agent, tokens.c.room.is_(None))
    )
    return result.rowcount


def revoke_watch(connection: sa.Connection, room: int) -> int:
    """Make a room's watch tokens worthless; returns how many there were."""
    result = connection.execute(sa.delete(tokens).where(tokens.c.room == room))
    return result.rowcount


def digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
