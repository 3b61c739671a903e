"""Who is in which room and what it has read there (protocol 4.3, 5.3, 14.5)."""

import sqlalchemy as sa

from hub.store import by_hand
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
    approved: bool = False,
) -> None:
    """Make an agent a member that can read everything after `floor`.

    Args:
        approved: The owner let it in by name.
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
            room=room,
            agent=agent,
            joined=joined,
            cursor=max(floor, 0),
            floor=floor,
            approved=approved,
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

    Who may work for a service without having come yet may so no longer, either.

    That is the service in that room, the tasks it holds, and its watch tokens.
    """
    ended = 0
    for table, holder, which in (
        (service_workers, service_workers.c.agent, sa.true()),
        (claims, claims.c.worker, claims.c.state == ACTIVE),
        (tokens, tokens.c.created_by, sa.true()),
    ):
        gone = connection.execute(
            sa.delete(table).where(table.c.room == room, holder == agent, which)
        )
        ended += gone.rowcount
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
    return result.rowcount + ended > 0


def sees(
    created: sa.ColumnElement[int], author: sa.ColumnElement[str]
) -> "sa.ColumnElement[bool]":
    """Whether a member, a row of `members` beside it, may see what is not a message.

    One that was let in without the history sees what is of its own, and what was
    there no earlier than itself (protocol 14.6); a guest only the former (14.10).
    """
    return sa.or_(
        author == members.c.agent,
        ~members.c.guest & ((members.c.floor == 0) | (created >= members.c.joined)),
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


def who_see_all(connection: sa.Connection, room: int) -> list[AgentId]:
    """Everybody in a room who is no guest of it."""
    return list(
        connection.execute(
            sa.select(members.c.agent).where(members.c.room == room, ~members.c.guest)
        ).scalars()
    )


def guests(connection: sa.Connection, room: int) -> list[AgentId]:
    """Those in a service's room who see their own work only (protocol 14.10)."""
    return list(
        connection.execute(
            sa.select(members.c.agent).where(members.c.room == room, members.c.guest)
        ).scalars()
    )


def is_guest(connection: sa.Connection, room: int, agent: AgentId) -> bool:
    """Whether an agent is in a room without seeing all of it."""
    found = by_hand.row(
        connection,
        "SELECT guest FROM members WHERE room = ? AND agent = ?",
        room,
        agent,
    )
    return bool(found and found[0])


def seen_by_guest(agent: AgentId, *, known: bool) -> "sa.ColumnElement[bool]":
    """Whom a guest sees of a service: itself, and who works there if it may ask it."""
    itself = members.c.agent == agent
    return itself | ~members.c.guest if known else itself
