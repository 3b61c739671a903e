"""Cards in the directory (protocol 10.1)."""

import contextlib
import itertools
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.store.agents import standing
from hub.store.reply_size import fitting
from hub.store.schema import agents, directory, presence
from parler.wire.base import AgentId
from parler.wire.records import AgentCard, DirectoryEntry, Visibility


def put(
    connection: sa.Connection,
    card: AgentCard,
    visibility: Visibility,
    sig: str | None,
    *,
    verified: bool,
    now: int,
) -> None:
    """Store an agent's card in place of its last one."""
    connection.execute(sa.delete(directory).where(directory.c.agent == card.id))
    connection.execute(
        sa.insert(directory).values(
            agent=card.id,
            visibility=visibility.value,
            card=msgspec.json.encode(card).decode(),
            sig=sig,
            verified=verified,
            updated=now,
            name=folded(card.name),
        )
    )


def folded(name: str) -> str:
    """A name as it is compared."""
    return name.strip().casefold()


def note_names(connection: sa.Connection) -> None:
    """Fill in the names of cards, for a database that did not have them."""
    for agent, card in connection.execute(
        sa.select(directory.c.agent, directory.c.card)
    ).all():
        name = folded(msgspec.json.decode(card, type=AgentCard).name)
        connection.execute(
            sa.update(directory).where(directory.c.agent == agent).values(name=name)
        )


def has_card(connection: sa.Connection, agent: AgentId) -> bool:
    """Whether an agent is in the directory at all, so can be written to."""
    return (
        connection.execute(
            sa.select(directory.c.agent).where(directory.c.agent == agent)
        ).one_or_none()
        is not None
    )


@dataclass(frozen=True, slots=True)
class Size:
    """How many cards there are."""

    agents: int
    public: int


def size(connection: sa.Connection) -> Size:
    """Count the cards."""
    public = sa.func.coalesce(
        sa.func.sum(sa.case((directory.c.visibility == "public", 1), else_=0)), 0
    )
    total, shown = connection.execute(sa.select(sa.func.count(), public)).one()
    return Size(total, shown)


def by_id(
    connection: sa.Connection,
    agent: AgentId,
    *,
    hub: str,
    online: Container[str],
    now: int,
) -> DirectoryEntry | None:
    """One agent's entry."""
    found = connection.execute(_entries().where(directory.c.agent == agent))
    row = found.mappings().one_or_none()
    return None if row is None else _entry(row, hub=hub, online=online, now=now)


def search(
    connection: sa.Connection,
    *,
    public_only: bool,
    query: str | None,
    tag: str | None,
    skill: str | None,
    status: str | None,
    limit: int,
    hub: str,
    online: Container[str],
    now: int,
) -> list[DirectoryEntry]:
    """Entries that match every filter, latest hello first (protocol 10.1).

    At most `limit`, and as many as fit one reply.
    """
    statement = _entries().order_by(agents.c.last_seen.desc(), directory.c.agent)
    if public_only:
        statement = statement.where(directory.c.visibility == "public")

    def wanted(row: sa.RowMapping, entry: DirectoryEntry) -> bool:
        return (
            (status is None or entry.status.lower() == status.lower())
            and _in(tag, entry.card.tags or [])
            and _in(skill, _skill_texts(entry.card))
            and _in(query, _searchable(row["name"] or "", entry.card))
        )

    rows = connection.execution_options(yield_per=100).execute(statement)
    with contextlib.closing(rows):
        entries = (
            (row, _entry(row, hub=hub, online=online, now=now))
            for row in rows.mappings()
        )
        matching = (entry for row, entry in entries if wanted(row, entry))
        return fitting(itertools.islice(matching, limit))


def _searchable(name: str, card: AgentCard) -> list[str]:
    return [name, *(card.tags or []), *_skill_texts(card)]


def _skill_texts(card: AgentCard) -> list[str]:
    return [text for skill in card.skills or [] for text in (skill.id, skill.name)]


def _in(wanted: str | None, texts: list[str]) -> bool:
    return not wanted or any(wanted.lower() in text.lower() for text in texts)


def _entries() -> "sa.Select[*tuple[Any, ...]]":
    return (
        sa.select(
            directory.c.card,
            directory.c.visibility,
            directory.c.sig,
            directory.c.verified,
            agents.c.name,
            agents.c.first_seen,
            agents.c.last_seen,
            presence.c.status,
            presence.c.activity,
            presence.c.attention,
            presence.c.ts,
        )
        .join(agents, agents.c.id == directory.c.agent)
        .outerjoin(presence, presence.c.agent == directory.c.agent)
    )


def _entry(
    fields: sa.RowMapping, *, hub: str, online: Container[str], now: int
) -> DirectoryEntry:
    card = msgspec.json.decode(fields["card"], type=AgentCard)
    judged = standing(fields, card.id, online=online, now=now)
    return DirectoryEntry(
        card=card,
        visibility=Visibility(fields["visibility"]),
        status=judged.status,
        activity=judged.activity,
        attention=judged.attention,
        hub=hub,
        verified=fields["verified"],
        sig=fields["sig"],
        first_seen=fields["first_seen"],
        last_seen=judged.ended or fields["last_seen"],
    )
