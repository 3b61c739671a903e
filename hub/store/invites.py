"""Session keys and who knocked with one (protocol 4.2-4.4, 14.5, 14.6).

Keys are stored as they are: their owner may list them, and whoever can read this
database can read the conversations anyway. Bearer tokens are stored hashed.
"""

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from hub.store.schema import agents, invites, join_requests
from parler.wire.base import AgentId, Code
from parler.wire.foreign import foreign
from parler.wire.records import InviteInfo, JoinRequest, RoomKind


class Knock(StrEnum):
    """What became of an agent that is no member (protocol 4.4, 14.5)."""

    PENDING = "pending"
    DENIED = "denied"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A session key as stored; `gated` keys only let an agent knock."""

    code: Code
    room: int
    max_uses: int
    uses: int
    expires: int
    created_by: AgentId
    gated: bool


def mint(connection: sa.Connection, invite: Invite, *, now: int) -> None:
    """Store a fresh key."""
    connection.execute(
        sa.insert(invites).values(
            code=invite.code,
            room=invite.room,
            max_uses=invite.max_uses,
            uses=invite.uses,
            expires=invite.expires,
            created_by=invite.created_by,
            gated=invite.gated,
            created=now,
        )
    )


def by_code(connection: sa.Connection, code: Code) -> Invite | None:
    """The key of that exact spelling."""
    row = connection.execute(
        sa.select(invites).where(invites.c.code == code)
    ).one_or_none()
    if row is None:
        return None
    return Invite(
        code=row.code,
        room=row.room,
        max_uses=row.max_uses,
        uses=row.uses,
        expires=row.expires,
        created_by=row.created_by,
        gated=row.gated,
    )


def opens(connection: sa.Connection, code: Code, *, now: int) -> bool:
    """Whether a key may let somebody in or knock; nothing is told of its room."""
    key = by_code(connection, code)
    return key is not None and key.expires >= now and key.uses < key.max_uses


def use(connection: sa.Connection, code: Code) -> None:
    """Charge one use."""
    connection.execute(
        sa.update(invites).where(invites.c.code == code).values(uses=invites.c.uses + 1)
    )


def revoke(connection: sa.Connection, code: Code) -> None:
    """Make a key worthless."""
    connection.execute(sa.delete(invites).where(invites.c.code == code))


def revoke_of(connection: sa.Connection, room: int, agent: AgentId) -> None:
    """Make all keys worthless that an agent minted to a room."""
    connection.execute(
        sa.delete(invites).where(invites.c.room == room, invites.c.created_by == agent)
    )


def of_room(
    connection: sa.Connection, room: int, kind: RoomKind, *, now: int
) -> list[InviteInfo]:
    """The keys of a room that still open it, oldest first."""
    found = connection.execute(
        sa.select(invites)
        .where(
            invites.c.room == room,
            invites.c.expires >= now,
            invites.c.uses < invites.c.max_uses,
        )
        .order_by(invites.c.created, invites.c.code)
    )
    return [
        InviteInfo(
            code=row.code,
            kind=kind,
            require_approval=row.gated,
            uses=row.uses,
            max_uses=row.max_uses,
            expires_at=row.expires,
        )
        for row in found
    ]


def knock_of(connection: sa.Connection, room: int, agent: AgentId) -> Knock | None:
    """What became of an agent's knocking so far."""
    found = connection.execute(
        sa.select(join_requests.c.status).where(
            join_requests.c.room == room, join_requests.c.agent == agent
        )
    ).scalar_one_or_none()
    return None if found is None else Knock(found)


def note_knock(
    connection: sa.Connection, room: int, agent: AgentId, knock: Knock, *, now: int
) -> None:
    """Store where an agent's knocking stands."""
    forget_knock(connection, room, agent)
    connection.execute(
        sa.insert(join_requests).values(
            room=room, agent=agent, status=knock.value, requested=now
        )
    )


def forget_knock(connection: sa.Connection, room: int, agent: AgentId) -> None:
    """Drop it, once the agent is a member."""
    connection.execute(
        sa.delete(join_requests).where(
            join_requests.c.room == room, join_requests.c.agent == agent
        )
    )


def waiting(connection: sa.Connection, room: int) -> list[JoinRequest]:
    """Who is knocking, oldest first."""
    found = connection.execute(
        sa.select(
            join_requests.c.agent,
            join_requests.c.requested,
            agents.c.name,
            agents.c.role,
        )
        .outerjoin(agents, agents.c.id == join_requests.c.agent)
        .where(join_requests.c.room == room, join_requests.c.status == "pending")
        .order_by(join_requests.c.requested, join_requests.c.agent)
    )
    return [
        JoinRequest(
            agent=row.agent,
            name=foreign(row.name or ""),
            role=row.role,
            requested_at=row.requested,
        )
        for row in found
    ]
