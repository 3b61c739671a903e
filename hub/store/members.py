"""Who is in which room and what it has read there (protocol 4.3, 5.3, 14.5)."""

import sqlalchemy as sa

from hub.store.messages import not_member
from hub.store.schema import members, service_workers
from parler.wire.base import AgentId


def add(
    connection: sa.Connection, room: int, agent: AgentId, *, now: int, floor: int = 0
) -> None:
    """Make an agent a member that can read everything after `floor`."""
    connection.execute(
        sa.insert(members).values(
            room=room, agent=agent, joined=now, cursor=floor, floor=floor
        )
    )


def remove(connection: sa.Connection, room: int, agent: AgentId) -> bool:
    """End a membership, and any service in that room; False if there was none."""
    connection.execute(
        sa.delete(service_workers).where(
            service_workers.c.room == room, service_workers.c.agent == agent
        )
    )
    result = connection.execute(
        sa.delete(members).where(members.c.room == room, members.c.agent == agent)
    )
    return result.rowcount > 0


def mark_read(
    connection: sa.Connection, room: int, agent: AgentId, cursor: int
) -> None:
    """Move a member's cursor forward, never back.

    Raises:
        Refusal: It is no longer a member.
    """
    result = connection.execute(
        sa.update(members)
        .where(members.c.room == room, members.c.agent == agent)
        .values(cursor=sa.func.max(members.c.cursor, cursor))
    )
    if result.rowcount == 0:
        raise not_member()


def of_room(connection: sa.Connection, room: int) -> list[AgentId]:
    """Everybody in a room."""
    return list(
        connection.execute(
            sa.select(members.c.agent).where(members.c.room == room)
        ).scalars()
    )
