"""Who is in which room and what it has read there (protocol 4.3, 5.3, 14.5)."""

import sqlalchemy as sa

from hub.store.messages import not_member
from hub.store.schema import (
    ACTIVE,
    blob_rooms,
    claims,
    facts,
    former_members,
    members,
    service_workers,
    tokens,
)
from parler.wire.base import AgentId

NO_MESSAGES_YET = -1
"""The floor of somebody let in without the history of a room nobody has spoken in:
it hides no message, but what else there is."""


def add(
    connection: sa.Connection,
    room: int,
    agent: AgentId,
    *,
    now: int,
    floor: int | None = None,
) -> None:
    """Make an agent a member that can read everything after `floor`.

    Args:
        floor: None leaves it where it was when the agent was a member before, so that
            leaving and coming back shows nothing that was hidden (protocol 14.6).
    """
    joined = _later_than_all(connection, room, now=now) if floor else now
    mine = (former_members.c.room == room) & (former_members.c.agent == agent)
    former = connection.execute(sa.select(former_members).where(mine)).one_or_none()
    if former is not None:
        connection.execute(sa.delete(former_members).where(mine))
        if floor is None:
            floor, joined = former.floor, former.joined
    floor = floor or 0
    connection.execute(
        sa.insert(members).values(
            room=room, agent=agent, joined=joined, cursor=max(floor, 0), floor=floor
        )
    )


def _later_than_all(connection: sa.Connection, room: int, *, now: int) -> int:
    """A time at which nothing of a room is yet to come, though the clock says so.

    What came before it was set back must not look as if it came afterwards.
    """
    times = (
        sa.select(sa.func.max(column)).where(column.table.c.room == room)
        for column in (facts.c.ts, blob_rooms.c.created)
    )
    newest = max(connection.execute(each).scalar_one() or 0 for each in times)
    return newest + 1 if newest > now else now


def remove(connection: sa.Connection, room: int, agent: AgentId) -> bool:
    """End a membership with all that hangs on it; False if there was none.

    That is the service in that room, the tasks it holds, and its watch tokens.
    """
    for table, holder, which in (
        (service_workers, service_workers.c.agent, sa.true()),
        (claims, claims.c.worker, claims.c.state == ACTIVE),
        (tokens, tokens.c.created_by, sa.true()),
    ):
        connection.execute(
            sa.delete(table).where(table.c.room == room, holder == agent, which)
        )
    mine = (members.c.room == room) & (members.c.agent == agent)
    connection.execute(
        sa.insert(former_members).from_select(
            ["room", "agent", "joined", "floor"],
            sa.select(
                members.c.room, members.c.agent, members.c.joined, members.c.floor
            ).where(mine, members.c.floor != 0),
        )
    )
    result = connection.execute(sa.delete(members).where(mine))
    return result.rowcount > 0


def sees(
    created: sa.ColumnElement[int], author: sa.ColumnElement[str]
) -> "sa.ColumnElement[bool]":
    """Whether a member, a row of `members` beside it, may see what is not a message.

    One that was let in without the history sees what is of its own, and what was
    there no earlier than itself (protocol 14.6).
    """
    return sa.or_(
        members.c.floor == 0,
        created >= members.c.joined,
        author == members.c.agent,
    )


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
