"""Pruning what is too old, in steps small enough not to hold up the writer (12.4).

Each function deletes at most `limit` rows, or those it is given, and says how many it
did. What takes looking at everything only finds, for a reader, what another deletes.
"""

import json
from collections.abc import Collection, Iterable

import sqlalchemy as sa

from hub.store.facts import let_go
from hub.store.schema import (
    FactState,
    agents,
    claims,
    dispatches,
    facts,
    invites,
    join_requests,
    members,
    messages,
    presence,
    tokens,
)
from parler.wire.base import AgentId

KEPT_EXPIRED_MS = 7 * 86_400_000
"""How long a key that expired is still known as one, and not as a wrong one."""

_FINAL = ("done", "failed", "cancelled")


def expired_keys(connection: sa.Connection, *, now: int, limit: int) -> int:
    """Delete keys and tokens that open nothing any more.

    A key outlives its end for a week, and as long as somebody knocks at its room: who
    polls with it is to hear how that ended (protocol 4.3).
    """
    knocking = sa.select(join_requests.c.room).where(
        join_requests.c.room == invites.c.room, join_requests.c.status == "pending"
    )
    stale_keys = (invites.c.expires < now - KEPT_EXPIRED_MS) & ~knocking.exists()
    deleted = 0
    for key, stale in (
        (invites.c.code, stale_keys),
        (tokens.c.hash, tokens.c.expires < now),
    ):
        doomed = sa.select(key).where(stale).limit(limit)
        result = connection.execute(sa.delete(key.table).where(key.in_(doomed)))
        deleted += result.rowcount
    return deleted


def full_rooms(connection: sa.Connection, *, keep: int) -> list[int]:
    """Rooms with more messages than are kept in any case."""
    return list(
        connection.execute(
            sa.select(messages.c.room)
            .group_by(messages.c.room)
            .having(sa.func.count() > keep)
        ).scalars()
    )


def old_messages(
    connection: sa.Connection,
    room: int,
    *,
    before: int,
    keep: int,
    online: Iterable[AgentId],
    limit: int,
) -> int:
    """Delete a room's old messages that nobody still needs.

    The newest `keep` stay. So does what a living member has not read, and work that
    is not finished: neither may vanish silently (protocol 13.24).

    Args:
        before: Epoch milliseconds; a member that was seen since is alive, and only
            messages from before are deleted.
        online: Agents with a connection now, which are alive however silent.
    """
    newest_kept = (
        sa.select(messages.c.seq)
        .where(messages.c.room == room)
        .order_by(messages.c.seq.desc())
        .offset(keep)
        .limit(1)
        .scalar_subquery()
    )
    # As one value: a statement may not have as many variables as there are agents.
    connected = sa.func.json_each(json.dumps(list(online))).table_valued("value")

    def of_the_living(column: "sa.ColumnElement[int]") -> "sa.Select[int]":
        return (
            sa.select(column)
            .select_from(members)
            .outerjoin(agents, agents.c.id == members.c.agent)
            .outerjoin(presence, presence.c.agent == members.c.agent)
            .where(
                members.c.room == room,
                sa.or_(
                    agents.c.last_seen >= before,
                    presence.c.ts >= before,
                    members.c.agent.in_(sa.select(connected.c.value)),
                ),
            )
        )

    least_read = of_the_living(sa.func.min(members.c.cursor)).where(~members.c.guest)
    # A guest of a service holds up nothing but what it was answered.
    awaited = of_the_living(members.c.cursor).where(
        members.c.guest,
        members.c.agent == messages.c.requester,
        members.c.agent != messages.c.author,
        members.c.cursor < messages.c.seq,
    )
    finished = sa.select(claims.c.message).where(
        claims.c.room == room,
        claims.c.message == messages.c.id,
        claims.c.state.in_(_FINAL),
    )
    work = sa.select(dispatches.c.message).where(
        dispatches.c.room == room, dispatches.c.message == messages.c.id
    )
    doomed = (
        sa.select(messages.c.seq)
        .where(
            messages.c.room == room,
            messages.c.seq <= newest_kept,
            messages.c.seq
            <= sa.func.coalesce(least_read.scalar_subquery(), messages.c.seq),
            ~awaited.exists(),
            messages.c.ts < before,
            ~work.exists() | finished.exists(),
        )
        .order_by(messages.c.seq)
        .limit(limit)
    )
    result = connection.execute(sa.delete(messages).where(messages.c.seq.in_(doomed)))
    return result.rowcount


def work_of_no_message(
    connection: sa.Connection, *, limit: int
) -> list[tuple[str, int, str]]:
    """Queue entries and claims whose message is gone; it never comes back.

    It looks at every message of a service, so it is for a reader.
    """
    there = sa.select(messages.c.seq).where(messages.c.seq == dispatches.c.seq)
    known = sa.select(messages.c.id).where(
        messages.c.room.in_(sa.select(claims.c.room))
    )
    found: list[tuple[str, int, str]] = []
    for table, orphaned in (
        (dispatches, ~there.exists()),
        (claims, claims.c.message.not_in(known)),
    ):
        rows = connection.execute(
            sa.select(table.c.room, table.c.message).where(orphaned).limit(limit)
        )
        found += [(table.name, room, message) for room, message in rows]
    return found


def drop_work(connection: sa.Connection, which: Iterable[tuple[str, int, str]]) -> int:
    """Delete queue entries and claims."""
    deleted = 0
    for name, room, message in which:
        table = dispatches if name == dispatches.name else claims
        deleted += connection.execute(
            sa.delete(table).where(table.c.room == room, table.c.message == message)
        ).rowcount
    return deleted


def surplus_facts(connection: sa.Connection, *, keep: int, limit: int) -> list[int]:
    """Unkeyed facts beyond the newest of each author in each scope.

    It looks at every fact, so it is for a reader.
    """
    rank = (
        sa.func.row_number()
        .over(partition_by=(facts.c.author, facts.c.room), order_by=facts.c.id.desc())
        .label("rank")
    )
    live = (facts.c.key.is_(None), facts.c.state == FactState.LIVE)
    ranked = sa.select(facts.c.id, rank).where(*live).subquery()
    doomed = sa.select(ranked.c.id).where(ranked.c.rank > keep).limit(limit)
    return list(connection.execute(doomed).scalars())


def drop_facts(connection: sa.Connection, which: Collection[int]) -> int:
    """Let go of facts."""
    gone, _ = let_go(connection, facts.c.id.in_(which))
    return gone
