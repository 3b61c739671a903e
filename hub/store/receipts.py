"""What was handed to each member and what it has seen (protocol 14.4)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.store.members import is_guest, who_see_all
from hub.store.messages import is_member, not_member
from hub.store.rooms import by_name
from hub.store.schema import agents, members, messages, rooms
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import foreign
from parler.wire.records import DeliveryState, MemberReceipt


@dataclass(frozen=True, slots=True)
class Moved:
    """A member whose position moved, and who hears of it."""

    room: RoomName
    agent: AgentId
    delivered: int
    seen: int
    everybody: list[AgentId]


def advance(
    connection: sa.Connection, delivered: dict[tuple[int, AgentId], int]
) -> list[Moved]:
    """Move positions forward, never back; members that left meanwhile are skipped."""
    moved: list[Moved] = []
    everybody: dict[int, list[AgentId]] = {}
    for (room, agent), seq in delivered.items():
        where = (members.c.room == room) & (members.c.agent == agent)
        connection.execute(
            sa.update(members)
            .where(where, members.c.delivered < seq)
            .values(delivered=seq)
        )
        row = connection.execute(
            sa.select(rooms.c.name, members.c.delivered, members.c.cursor)
            .join(rooms, rooms.c.id == members.c.room)
            .where(where)
        ).one_or_none()
        if row is None:
            continue
        if room not in everybody:
            everybody[room] = who_see_all(connection, room)
        handed = max(row.delivered, row.cursor)
        moved.append(Moved(row.name, agent, handed, row.cursor, everybody[room]))
    return moved


def receipts(
    connection: sa.Connection, name: RoomName, seq: int, *, asked_by: AgentId
) -> list[MemberReceipt]:
    """How far a message got with each member but its author.

    In a service, of guests only with whose work it belongs to; a guest is told of no
    other work than its own.

    Raises:
        Refusal: The asking agent is not in that room.
    """
    room = by_name(connection, name)
    if room is None or not is_member(connection, room.id, asked_by):
        raise not_member()
    author, requester = (
        sa.select(column)
        .where(messages.c.seq == seq, messages.c.room == room.id)
        .scalar_subquery()
        for column in (messages.c.author, messages.c.requester)
    )
    shown = ~members.c.guest | (members.c.agent == requester)
    if is_guest(connection, room.id, asked_by):
        shown &= requester == asked_by
    found = connection.execute(
        sa.select(members.c.agent, agents.c.name, members.c.delivered, members.c.cursor)
        .outerjoin(agents, agents.c.id == members.c.agent)
        .where(
            members.c.room == room.id,
            members.c.agent.is_distinct_from(author),
            shown,
        )
        .order_by(agents.c.name, members.c.agent)
    )
    return [
        MemberReceipt(
            agent=row.agent,
            name=foreign(row.name or ""),
            state=_state(seq, delivered=row.delivered, seen=row.cursor),
        )
        for row in found
    ]


def _state(seq: int, *, delivered: int, seen: int) -> DeliveryState:
    if seen >= seq:
        return DeliveryState.SEEN
    return DeliveryState.DELIVERED if delivered >= seq else DeliveryState.STORED
