"""A database that was used for a year: many messages, many rooms, many facts.

It is written past the hub, by its own tables, so that a bench need not wait for it.
"""

import asyncio
import itertools
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from hub.store import schema
from hub.store.engine import Store
from parler.identity.signing import Keypair
from parler.wire.base import RoomName

CHUNK = 20_000
NOW = 1_700_000_000_000
VOCABULARY = 5_000
WORDS_PER_FACT = 30
UNREAD = 20
"""Messages in each room that its members have not read."""

RECORD_BYTES = 700


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is in it."""

    messages: int
    rooms: int
    rooms_of_one: int
    facts: int
    senders: int


@dataclass(frozen=True, slots=True)
class Grown:
    """Who is in it, each with a room of its own; the first is in many more."""

    senders: list[tuple[Keypair, RoomName]]
    queries: list[str]


def grow(database: Path, size: Size) -> Grown:
    """Make the database; it may be opened by a hub afterwards."""
    _prepare(database)
    keypairs = [Keypair.generate() for _ in range(size.senders)]
    names = [RoomName(f"grown-{number}") for number in range(size.rooms)]
    chance = random.Random(1)
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for table, rows in (
            (schema.rooms, _rooms(names)),
            (schema.members, _members(keypairs, size)),
            (schema.messages, _messages(keypairs, size)),
            (schema.facts, _facts(keypairs[0], size, chance)),
        ):
            _fill(connection, table, rows)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    with database.open("rb") as file:  # or the first one to sync would pay for it
        os.fsync(file.fileno())
    queries = [" ".join(_pick(chance, 2)) for _ in range(200)]
    return Grown(list(zip(keypairs, names, strict=False)), queries)


def queries_file(grown: Grown, path: Path) -> Path:
    """The queries where a child finds them."""
    path.write_text(json.dumps(grown.queries), encoding="utf-8")
    return path


def _prepare(database: Path) -> None:
    asyncio.run(Store(database).close())  # which makes the schema


def _fill(
    connection: sa.Connection, table: sa.Table, rows: Iterator[dict[str, object]]
) -> None:
    while chunk := list(itertools.islice(rows, CHUNK)):
        connection.execute(sa.insert(table), chunk)


def _rooms(names: list[RoomName]) -> Iterator[dict[str, object]]:
    for number, name in enumerate(names, 1):
        yield {
            "id": number,
            "name": name,
            "kind": "channel",
            "owner": None,
            "gated": False,
            "created": NOW,
        }


def _members(keypairs: list[Keypair], size: Size) -> Iterator[dict[str, object]]:
    # A round of messages goes through all rooms, so the last rounds are unread.
    cursor = max(0, size.messages - UNREAD * size.rooms)
    first = keypairs[0]
    mine = {(number + 1, keypair.agent_id) for number, keypair in enumerate(keypairs)}
    others = range(size.senders, size.senders + size.rooms_of_one - 1)
    many = {(number + 1, first.agent_id) for number in others}
    for room, agent in sorted(mine | many):
        yield {
            "room": room,
            "agent": agent,
            "joined": NOW,
            "cursor": cursor,
            "floor": 0,
            "delivered": 0,
        }


def _messages(keypairs: list[Keypair], size: Size) -> Iterator[dict[str, object]]:
    record = '{"parts":"' + "x" * (RECORD_BYTES - 12) + '"}'
    for number in range(size.messages):
        yield {
            "seq": number + 1,
            "room": number % size.rooms + 1,
            "id": f"{number:026d}",
            "author": keypairs[number % size.rooms % size.senders].agent_id,
            "client_id": f"grown-{number:030d}",
            "ts": NOW,
            "record": record,
        }


def _facts(
    author: Keypair, size: Size, chance: random.Random
) -> Iterator[dict[str, object]]:
    for _ in range(size.facts):
        yield {
            "key": None,
            "room": 1,
            "author": author.agent_id,
            "text": " ".join(_pick(chance, WORDS_PER_FACT)),
            "ts": NOW,
            "embedding": None,
            "embedding_model": None,
        }


def _pick(chance: random.Random, count: int) -> list[str]:
    """Words of which some are common and most are rare."""
    picked = (int(VOCABULARY * chance.random() ** 3) for _ in range(count))
    return [f"w{number:04x}{number * 2654435761 % 2**20:05x}" for number in picked]
