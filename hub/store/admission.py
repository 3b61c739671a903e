"""Who may work for a service, and who may ask it, where its owner decides (14.10).

Everybody else in its room is a *guest*: it is handed what it asked and what was
answered to that, and nothing of others. Whether the rule holds is the hub's setting;
`apply_rule` brings the rows of members to it, at every start and after every change.
"""

import sqlalchemy as sa

from hub.errors import Refusal
from hub.store.schema import (
    ACTIVE,
    claims,
    members,
    messages,
    rooms,
    service_workers,
)
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.records import RoomKind

_SERVICE = rooms.c.kind == RoomKind.SERVICE.value


def apply_rule(
    connection: sa.Connection,
    *,
    on: bool,
    room: int | None = None,
    agent: AgentId | None = None,
) -> None:
    """Make guests of those who are not admitted, and of nobody else.

    Args:
        on: Whether owners of services admit, at this hub.
        room: One service; None takes all.
        agent: One member of it; None takes all.
    """
    admitted = sa.select(service_workers.c.agent).where(
        service_workers.c.room == members.c.room,
        service_workers.c.agent == members.c.agent,
        service_workers.c.admitted,
    )
    closed = sa.select(rooms.c.id).where(
        rooms.c.id == members.c.room,
        ~rooms.c.open,
        rooms.c.owner.is_distinct_from(members.c.agent),
    )
    guest = closed.exists() & ~admitted.exists() if on else sa.false()
    which: list[sa.ColumnElement[bool]] = [
        members.c.room.in_(sa.select(rooms.c.id).where(_SERVICE))
    ]
    if room is not None:
        which.append(members.c.room == room)
    if agent is not None:
        which.append(members.c.agent == agent)
    changed = connection.execute(
        sa.update(members).where(*which, members.c.guest != guest).values(guest=guest)
    )
    if on and changed.rowcount:
        held = sa.select(members.c.agent).where(
            members.c.room == claims.c.room,
            members.c.agent == claims.c.worker,
            members.c.guest,
        )
        connection.execute(
            sa.delete(claims).where(claims.c.state == ACTIVE, held.exists())
        )


def admit(connection: sa.Connection, room: int, agent: AgentId, *, role: str) -> None:
    """Let an agent work for a service, under this role until it serves one."""
    mine = (service_workers.c.room == room) & (service_workers.c.agent == agent)
    known = connection.execute(
        sa.update(service_workers).where(mine).values(admitted=True)
    )
    if known.rowcount == 0:
        connection.execute(
            sa.insert(service_workers).values(
                room=room, agent=agent, role=role, admitted=True
            )
        )


def set_open(connection: sa.Connection, room: int, *, is_open: bool) -> None:
    """Let anybody work for a service and ask it, or its owner decide again."""
    connection.execute(sa.update(rooms).where(rooms.c.id == room).values(open=is_open))


def check_may_ask(connection: sa.Connection, room: int, agent: AgentId) -> None:
    """Judge who may send to a service whose owner decides.

    Raises:
        Refusal: The owner does not know it.
    """
    if not may_ask(connection, room, agent):
        raise Refusal(
            ErrorCode.NOT_AUTHORIZED,
            "the owner of this service does not know you: it has to let you into a "
            "session of its own, or admit you as a worker",
        )


def may_ask(connection: sa.Connection, room: int, agent: AgentId) -> bool:
    """Whether the owner knows an agent, or admitted it."""
    service = rooms.alias("service")
    worker = sa.select(service_workers.c.agent).where(
        service_workers.c.room == room,
        service_workers.c.agent == agent,
        service_workers.c.admitted,
    )
    owners = members.alias("owners")
    # Services and direct rooms can be entered, or opened, without anybody's approval.
    # Who owns the session could have approved a second key of its own.
    met = (
        sa.select(members.c.agent)
        .join(owners, owners.c.room == members.c.room)
        .join(rooms, rooms.c.id == members.c.room)
        .where(
            members.c.agent == agent,
            owners.c.agent == service.c.owner,
            rooms.c.kind == RoomKind.CHANNEL.value,
            members.c.approved | (rooms.c.owner == agent),
        )
    )
    asked = connection.execute(
        sa.select(service.c.id).where(
            service.c.id == room,
            service.c.open
            | (service.c.owner == agent)
            | worker.exists()
            | met.correlate(service).exists(),
        )
    )
    return asked.one_or_none() is not None


def note_what_was(connection: sa.Connection) -> None:
    """Fill in what a database did not say before there was this rule.

    Nobody's workers were admitted. Members of a gated room were let in by its owner.
    Work belongs to its author, and an answer to who asked.
    """
    gated = sa.select(rooms.c.id).where(rooms.c.gated)
    owned = sa.select(rooms.c.id).where(
        rooms.c.id == members.c.room, rooms.c.owner == members.c.agent
    )
    connection.execute(
        sa.update(members)
        .where(members.c.room.in_(gated), ~owned.exists())
        .values(approved=True)
    )
    said = messages.c.room.in_(sa.select(rooms.c.id).where(_SERVICE))
    connection.execute(
        sa.update(messages).where(said).values(requester=messages.c.author)
    )
    asked = messages.alias("asked")
    asker = (
        sa.select(asked.c.author)
        .where(
            asked.c.room == messages.c.room,
            asked.c.id == sa.func.json_extract(messages.c.record, "$.replyTo"),
            asked.c.requester.is_not(None),
        )
        .scalar_subquery()
    )
    connection.execute(
        sa.update(messages)
        .where(said)
        .values(requester=sa.func.coalesce(asker, messages.c.author))
    )
