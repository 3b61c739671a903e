"""Work of service rooms: who serves, what waits and who holds it (protocol 10.4).

A row of `dispatches` is work that is not done yet: `messages.append` adds it and
`complete` removes it, so what waits is found without walking through what was done.
Whether the caller is a member of a service room is for whoever calls.
"""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from hub.store import messages as log
from hub.store.agents import has_ended, is_fresh
from hub.store.schema import (
    ACTIVE,
    claims,
    dispatches,
    members,
    messages,
    presence,
    service_workers,
)
from parler.wire.base import AgentId, MessageId
from parler.wire.records import TaskStatus

MAX_LEASE_MS = 3_600_000
"""The longest lease there is (protocol 10.4); so one that ends later than this from now
was given before the clock was set back, and holds nobody up."""

_AVAILABLE = frozenset({"idle", "waiting"})


@dataclass(frozen=True, slots=True)
class Claim:
    """Who took a task, and until when it is nobody else's."""

    worker: AgentId
    state: str
    lease_until: int

    def live(self, now: int) -> bool:
        """Whether the lease still runs."""
        return self.state == ACTIVE and now < self.lease_until <= now + MAX_LEASE_MS

    def open_to(self, agent: AgentId, *, available: bool, now: int) -> bool:
        """Whether the agent may take the task, or renew its lease on it."""
        if self.state != ACTIVE:
            return False
        if self.worker == agent and self.lease_until > now:
            return True
        return available and not self.live(now)


def folded(role: str) -> str:
    """A role as it is compared: only ASCII letters lose their case."""
    return role.encode().lower().decode()


def enlist(connection: sa.Connection, room: int, agent: AgentId, role: str) -> None:
    """Make an agent a worker of a room under this role, in place of its last one."""
    known = connection.execute(
        sa.update(service_workers)
        .where(service_workers.c.room == room, service_workers.c.agent == agent)
        .values(role=role)
    )
    if known.rowcount == 0:
        connection.execute(
            sa.insert(service_workers).values(room=room, agent=agent, role=role)
        )


def waiting(
    connection: sa.Connection,
    room: int,
    agent: AgentId,
    *,
    role: str,
    limit: int,
    now: int,
) -> list[msgspec.Raw]:
    """Tasks for a role that nobody holds, oldest first, as wire JSON.

    There are none for an agent that does not serve the role or is not available.
    """
    if limit <= 0 or _role(connection, room, agent) != folded(role):
        return []
    if not _available(connection, agent, now=now):
        return []
    rows = connection.execution_options(yield_per=50).execute(
        sa.select(messages.c.seq, messages.c.record)
        .join(
            dispatches,
            sa.and_(
                dispatches.c.room == messages.c.room,
                dispatches.c.seq == messages.c.seq,
            ),
        )
        .join(
            members,
            sa.and_(members.c.room == dispatches.c.room, members.c.agent == agent),
        )
        .outerjoin(
            claims,
            sa.and_(
                claims.c.room == dispatches.c.room,
                claims.c.message == dispatches.c.message,
            ),
        )
        .where(
            dispatches.c.room == room,
            dispatches.c.role == folded(role),
            dispatches.c.seq > members.c.floor,
            sa.or_(
                claims.c.message.is_(None),
                sa.and_(
                    claims.c.state == ACTIVE,
                    ~claims.c.lease_until.between(now + 1, now + MAX_LEASE_MS),
                ),
            ),
        )
        .order_by(dispatches.c.seq)
        .limit(limit)
    )
    return [raw for _, raw in log.page(rows)]


def claim(
    connection: sa.Connection,
    room: int,
    agent: AgentId,
    *,
    message: MessageId,
    lease_ms: int,
    now: int,
) -> int | None:
    """Take a task or renew the lease on it; returns its end, None if it is not to be.

    A live lease is renewed whatever the agent's presence says: it is working.
    """
    role = _role(connection, room, agent)
    if role is None or not _is_work(connection, room, agent, message, role):
        return None
    found = _claim(connection, room, message)
    available = _available(connection, agent, now=now)
    lease_until = now + lease_ms
    if found is None:
        if not available:
            return None
        connection.execute(
            sa.insert(claims).values(
                room=room,
                message=message,
                worker=agent,
                state=ACTIVE,
                claimed=now,
                lease_until=lease_until,
            )
        )
        return lease_until
    if not found.open_to(agent, available=available, now=now):
        return None
    changes: dict[str, object] = {"worker": agent, "lease_until": lease_until}
    if not found.live(now):
        changes["claimed"] = now
    connection.execute(
        sa.update(claims)
        .where(claims.c.room == room, claims.c.message == message)
        .values(**changes)
    )
    return lease_until


def complete(
    connection: sa.Connection,
    room: int,
    agent: AgentId,
    *,
    message: MessageId,
    status: TaskStatus,
    now: int,
) -> bool:
    """End a task for good; False if the agent does not hold it any more."""
    ended = connection.execute(
        sa.update(claims)
        .where(
            claims.c.room == room,
            claims.c.message == message,
            claims.c.worker == agent,
            claims.c.state == ACTIVE,
            claims.c.lease_until >= now,
        )
        .values(state=status.value)
    )
    if ended.rowcount == 0:
        return False
    connection.execute(
        sa.delete(dispatches).where(
            dispatches.c.room == room, dispatches.c.message == message
        )
    )
    return True


def _role(connection: sa.Connection, room: int, agent: AgentId) -> str | None:
    role = connection.execute(
        sa.select(service_workers.c.role).where(
            service_workers.c.room == room, service_workers.c.agent == agent
        )
    ).scalar_one_or_none()
    return None if role is None else folded(role)


def _available(connection: sa.Connection, agent: AgentId, *, now: int) -> bool:
    found = connection.execute(
        sa.select(presence.c.status, presence.c.activity, presence.c.ts).where(
            presence.c.agent == agent
        )
    ).one_or_none()
    if found is None:
        return False
    if has_ended(found.status, found.activity):
        return True  # it asks: so it is here, and said nothing since
    return found.status in _AVAILABLE and is_fresh(found.ts, now)


def _is_work(
    connection: sa.Connection, room: int, agent: AgentId, message: MessageId, role: str
) -> bool:
    # What lies before a member's floor is not for it to read, so not to work on.
    return (
        connection.execute(
            sa.select(dispatches.c.seq)
            .join(members, members.c.room == dispatches.c.room)
            .where(
                dispatches.c.room == room,
                dispatches.c.message == message,
                dispatches.c.role == role,
                members.c.agent == agent,
                dispatches.c.seq > members.c.floor,
            )
        ).one_or_none()
        is not None
    )


def _claim(connection: sa.Connection, room: int, message: MessageId) -> Claim | None:
    found = connection.execute(
        sa.select(claims.c.worker, claims.c.state, claims.c.lease_until).where(
            claims.c.room == room, claims.c.message == message
        )
    ).one_or_none()
    return None if found is None else Claim(*found)
