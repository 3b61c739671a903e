"""Cards in the directory (protocol 10.1)."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.store.agents import standing
from hub.store.reply_size import fitting
from hub.store.schema import agents, directory, members, presence, rooms
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.foreign import exact, foreign
from parler.wire.records import AgentCard, DirectoryEntry, RoomKind, Visibility

_PLACE = re.compile(r"(-1|0)\.(-1|0)\.(-?\d{1,18})\.([A-Z2-7]{56})", re.ASCII)
"""Where an entry stands in the order of `search`."""


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
            name=folded(exact(card.name)),
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
        name = folded(exact(msgspec.json.decode(card, type=AgentCard).name))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What an answer depends on beside the cards."""

    hub: str
    online: frozenset[AgentId]
    now: int
    seen_since: int | None
    """Agents not seen since then are not listed; None lists all."""

    def lists(self) -> "sa.ColumnElement[bool]":
        """Whether an agent is listed, by its rows of `agents` and `presence`."""
        if self.seen_since is None:
            return sa.true()
        # As one value: a statement may not have as many variables as there are agents.
        connected = sa.func.json_each(json.dumps(list(self.online)))
        return sa.or_(
            agents.c.last_seen >= self.seen_since,
            presence.c.ts >= self.seen_since,
            directory.c.agent.in_(sa.select(connected.table_valued("value").c.value)),
        )


def size(connection: sa.Connection, reader: Reader) -> Size:
    """Count the cards that are listed."""
    public = sa.func.coalesce(
        sa.func.sum(sa.case((directory.c.visibility == "public", 1), else_=0)), 0
    )
    counted = _joined(sa.select(sa.func.count(), public)).where(reader.lists())
    total, shown = connection.execute(counted).one()
    return Size(total, shown)


def by_id(
    connection: sa.Connection, agent: AgentId, reader: Reader
) -> DirectoryEntry | None:
    """One agent's entry, listed or not."""
    found = connection.execute(_entries().where(directory.c.agent == agent))
    row = found.mappings().one_or_none()
    return None if row is None else _entry(row, reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; what is None is left out of account."""

    public_only: bool
    query: str | None = None
    tag: str | None = None
    skill: str | None = None
    status: str | None = None
    name: str | None = None
    limit: int

    def fits(self, row: sa.RowMapping, entry: DirectoryEntry) -> bool:
        """Whether an entry matches every filter that SQL does not look at."""
        return (
            (self.status is None or exact(entry.status).lower() == self.status.lower())
            and _in(self.tag, _tags(entry.card))
            and _in(self.skill, _skill_texts(entry.card))
            and _in(self.query, _searchable(row["name"] or "", entry.card))
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Entries, whom of them the caller knows, and the place after the last if any."""

    entries: list[DirectoryEntry]
    known: list[AgentId]
    next: str | None


def search(
    connection: sa.Connection,
    wanted: Wanted,
    reader: Reader,
    *,
    caller: AgentId | None = None,
    after: str | None = None,
) -> Found:
    """Entries that match every filter, at most `limit` and as many as fit one reply.

    Who is called as the query says comes first, then whom the caller knows, then the
    latest hello (protocol 10.1, 14.13).

    Args:
        caller: Who asks, if it is an agent.
        after: A place as an earlier answer named it, for the same question.

    Raises:
        Refusal: `after` is no such place.
    """
    wanted_name = folded(wanted.query or "")
    called = directory.c.name == wanted_name if wanted_name else sa.false()
    order = (
        (-sa.cast(called, sa.Integer)).label("called"),
        (-sa.cast(_known_to(caller), sa.Integer)).label("known"),
        (-agents.c.last_seen).label("seen"),
        directory.c.agent.label("agent"),
    )
    statement = _entries(*order).where(reader.lists()).order_by(*order)
    if wanted.public_only:
        statement = statement.where(directory.c.visibility == "public")
    if wanted.name is not None:
        statement = statement.where(directory.c.name == folded(wanted.name))
    if after is not None:
        place = sa.tuple_(*(one.element for one in order))
        statement = statement.where(place > sa.tuple_(*_read_place(after)))
    rows = connection.execution_options(yield_per=100).execute(statement)
    places: list[str] = []
    known: set[AgentId] = set()

    def matching() -> Iterator[DirectoryEntry]:
        for row in rows.mappings():
            entry = _entry(row, reader)
            if wanted.fits(row, entry):
                if row["known"]:
                    known.add(entry.card.id)
                places.append(".".join(str(row[one.name]) for one in order))
                yield entry

    with contextlib.closing(rows):
        some = itertools.islice(matching(), wanted.limit + 1)
        entries = fitting(some)[: wanted.limit]
    more = entries and len(places) > len(entries)
    return Found(
        entries,
        [entry.card.id for entry in entries if entry.card.id in known],
        places[len(entries) - 1] if more else None,
    )


def _known_to(caller: AgentId | None) -> "sa.ColumnElement[bool]":
    """Whether a card is of somebody in a session with the caller.

    Services and direct rooms can be entered, or opened, by a stranger.
    """
    if caller is None:
        return sa.false()
    mine = (
        sa.select(members.c.room)
        .join(rooms, rooms.c.id == members.c.room)
        .where(members.c.agent == caller, rooms.c.kind == RoomKind.CHANNEL.value)
    )
    met = sa.select(members.c.agent).where(members.c.room.in_(mine))
    return (directory.c.agent != caller) & directory.c.agent.in_(met)


def _read_place(place: str) -> tuple[int, int, int, str]:
    read = _PLACE.fullmatch(place)
    if read is None:
        raise Refusal(ErrorCode.BAD_FRAME, "'after' is no place in the directory")
    called, known, seen, agent = read.groups()
    return int(called), int(known), int(seen), agent


def _searchable(name: str, card: AgentCard) -> list[str]:
    return [name, exact(card.name), *_tags(card), *_skill_texts(card)]


def _tags(card: AgentCard) -> list[str]:
    return list(map(exact, card.tags or []))


def _skill_texts(card: AgentCard) -> list[str]:
    skills = card.skills or []
    return [exact(text) for one in skills for text in (one.id, one.name)]


def _in(wanted: str | None, texts: list[str]) -> bool:
    return not wanted or any(wanted.lower() in text.lower() for text in texts)


def _entries(*beside: "sa.ColumnElement[Any]") -> "sa.Select[*tuple[Any, ...]]":
    return _joined(
        sa.select(
            *beside,
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
    )


def _joined(statement: "sa.Select[*tuple[Any, ...]]") -> "sa.Select[*tuple[Any, ...]]":
    return (
        statement.select_from(directory)
        .join(agents, agents.c.id == directory.c.agent)
        .outerjoin(presence, presence.c.agent == directory.c.agent)
    )


def _entry(fields: sa.RowMapping, reader: Reader) -> DirectoryEntry:
    card = msgspec.json.decode(fields["card"], type=AgentCard)
    judged = standing(fields, card.id, online=reader.online, now=reader.now)
    return DirectoryEntry(
        card=card,
        visibility=Visibility(fields["visibility"]),
        status=foreign(judged.status),
        activity=foreign(judged.activity),
        attention=judged.attention,
        hub=foreign(reader.hub),
        verified=fields["verified"],
        sig=fields["sig"],
        first_seen=fields["first_seen"],
        last_seen=judged.ended or fields["last_seen"],
    )
