"""Agents as they introduced themselves, and how they are doing (protocol 10.2)."""

from collections.abc import Container
from dataclasses import dataclass

import sqlalchemy as sa

from hub.errors import Refusal
from hub.store.reply_size import fitting
from hub.store.schema import agents, members, presence, service_workers
from parler.wire.base import AgentId
from parler.wire.foreign import foreign
from parler.wire.records import ENDED, OFFLINE, Attention, RosterEntry

FRESH_MS = 300_000
"""How long a presence is believed (protocol 10.2)."""


def is_fresh(ts: int, now: int) -> bool:
    """Whether a presence noted then is believed now.

    One from far ahead was noted before the clock was set back, so nobody knows when.
    """
    return abs(now - ts) <= FRESH_MS


EVERYBODY: "sa.ColumnElement[bool]" = sa.true()
IDLE = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """That an agent connected under this name and role, and when."""

    agent: AgentId
    name: str
    role: str | None
    now: int


_KNOW = sa.text(
    "INSERT INTO agents (id, name, role, first_seen, last_seen) "
    "VALUES (:agent, :name, :role, :now, :now) ON CONFLICT (id) DO UPDATE SET "
    "name = excluded.name, role = excluded.role, last_seen = excluded.last_seen"
)
_KNOW_NEW = sa.text(
    "INSERT INTO agents (id, name, role, first_seen, last_seen) "
    "VALUES (:agent, :name, :role, :now, :now) ON CONFLICT (id) DO NOTHING"
)
_ARRIVE = sa.text(
    "INSERT INTO presence (agent, status, ts) VALUES (:agent, :idle, :now) "
    "ON CONFLICT (agent) DO UPDATE SET ts = excluded.ts, "
    "status = CASE WHEN abs(excluded.ts - presence.ts) > :fresh "
    "THEN excluded.status ELSE presence.status END, "
    "activity = CASE WHEN abs(excluded.ts - presence.ts) > :fresh "
    "THEN NULL ELSE presence.activity END "
    "WHERE NOT (COALESCE(presence.status, '') = :offline "
    "AND COALESCE(presence.activity, '') = :ended)"
)


def greet_all(
    connection: sa.Connection, greetings: list[Greeting]
) -> list[Refusal | None]:
    """Note that agents connected, in the given order (protocol 2.3).

    A status that is still fresh stays: a one-shot connection of an agent that is
    working must not hide that it is (protocol 13.25). Nor must it look as if an agent
    were there again that has ended.
    """
    rows = [
        {
            "agent": greeting.agent,
            "name": greeting.name,
            "role": greeting.role,
            "now": greeting.now,
            "idle": IDLE,
            "offline": OFFLINE,
            "ended": ENDED,
            "fresh": FRESH_MS,
        }
        for greeting in greetings
    ]
    connection.execute(_KNOW, rows)
    connection.execute(_ARRIVE, rows)
    return [None] * len(greetings)


def greet_new(connection: sa.Connection, greeting: Greeting) -> None:
    """Note who an agent is that was never here; of any other, and of presence, nothing.

    Else there would be members and knocks without a name.
    """
    named = {"name": greeting.name, "role": greeting.role, "now": greeting.now}
    connection.execute(_KNOW_NEW, {"agent": greeting.agent, **named})


def name_of(connection: sa.Connection, agent: AgentId) -> str | None:
    """What an agent last called itself."""
    return connection.execute(
        sa.select(agents.c.name).where(agents.c.id == agent)
    ).scalar_one_or_none()


def set_presence(
    connection: sa.Connection,
    agent: AgentId,
    *,
    status: str,
    activity: str | None,
    attention: Attention | None,
    now: int,
) -> None:
    """Replace status and activity; attention stays unless given."""
    changes: dict[str, object] = {"status": status, "activity": activity, "ts": now}
    if attention is not None:
        changes["attention"] = attention.value
    _update_presence(connection, agent, changes)


def set_attention(
    connection: sa.Connection, agent: AgentId, attention: Attention, *, now: int
) -> None:
    """Replace the attention only."""
    _update_presence(connection, agent, {"attention": attention.value, "ts": now})


def touch(connection: sa.Connection, agent: AgentId, *, now: int) -> None:
    """Note that an agent is alive."""
    _update_presence(connection, agent, {"ts": now})


def roster(
    connection: sa.Connection,
    room: int,
    *,
    online: Container[str],
    now: int,
    shown: "sa.ColumnElement[bool]" = EVERYBODY,
) -> list[RosterEntry]:
    """The members of a room and how they are doing, by name; as many as fit a reply.

    Args:
        shown: Whom of its members, by their rows.
        online: Agents with a connection now; their status is believed however long
            they have been silent.
    """
    found = connection.execute(
        sa.select(
            members.c.agent,
            agents.c.name,
            agents.c.role,
            agents.c.last_seen,
            presence.c.status,
            presence.c.activity,
            presence.c.attention,
            presence.c.ts,
            service_workers.c.role.label("service_role"),
            members.c.guest,
            members.c.cursor,
            members.c.delivered,
        )
        .outerjoin(agents, agents.c.id == members.c.agent)
        .outerjoin(presence, presence.c.agent == members.c.agent)
        .outerjoin(
            service_workers,
            sa.and_(
                service_workers.c.room == members.c.room,
                service_workers.c.agent == members.c.agent,
            ),
        )
        .where(members.c.room == room, shown)
        .order_by(agents.c.name, members.c.agent)
    )
    return fitting(_entry(row, online=online, now=now) for row in found.mappings())


@dataclass(frozen=True, slots=True)
class Standing:
    """How an agent is doing, as far as it is believed (protocol 10.2)."""

    status: str
    activity: str | None
    attention: Attention | None
    ts: int | None

    @property
    def ended(self) -> int | None:
        """When its last connection ended, if it was there for as long as that."""
        return self.ts if has_ended(self.status, self.activity) else None


def standing(
    fields: sa.RowMapping, agent: str, *, online: Container[str], now: int
) -> Standing:
    """Judge a row with the columns of `presence`."""
    status, activity, ts = fields["status"] or IDLE, fields["activity"], fields["ts"]
    if agent in online:
        ts = now
        if has_ended(status, activity):  # it looks in, and is gone again soon
            status, activity = IDLE, None
    if ts is None or not is_fresh(ts, now) or has_ended(status, activity):
        return Standing(OFFLINE, activity, None, ts)
    attention = Attention(fields["attention"]) if fields["attention"] else None
    return Standing(status, activity, attention, ts)


def has_ended(status: str, activity: str | None) -> bool:
    """Whether this was noted when the last connection of an agent ended."""
    return (status, activity) == (OFFLINE, ENDED)


def _entry(fields: sa.RowMapping, *, online: Container[str], now: int) -> RosterEntry:
    judged = standing(fields, fields["agent"], online=online, now=now)
    return RosterEntry(
        id=fields["agent"],
        name=foreign(fields["name"] or ""),
        role=fields["role"],
        status=foreign(judged.status),
        activity=foreign(judged.activity),
        attention=judged.attention,
        last_seen=judged.ts or fields["last_seen"] or 0,
        service_role=None if fields["guest"] else fields["service_role"],
        delivered=max(fields["delivered"], fields["cursor"]),
        seen=fields["cursor"],
        waits_as=fields["service_role"] if fields["guest"] else None,
    )


def _update_presence(
    connection: sa.Connection, agent: AgentId, changes: dict[str, object]
) -> None:
    connection.execute(
        sa.update(presence).where(presence.c.agent == agent).values(**changes)
    )
