"""What a member keeps of its sealed rooms: one SQLite file, the client's only SQL.

The file has the keys and what was opened with them, as the home has the seed: whoever
reads one reads all. It is private to its user and refused otherwise. Several processes
of one identity share it; what belongs together is one transaction, on disk when it
returns.
"""

import math
import os
import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from parler.errors import ConfigError
from parler.machine.files import (
    Unwritable,
    locked,
    make_private_dir,
    refuse_open_modes,
)
from parler.sealed.changes import Change
from parler.sealed.crypto import Secret
from parler.sealed.formats import FactRecord, Link, Plaintext, Verdict, read_facts
from parler.sealed.invites import Invite
from parler.sealed.log import Alarm, Entry, KnownState, LastWord, Place, Position
from parler.sealed.state import SignedState
from parler.wire.base import AgentId, Code, Millis, RoomName, Seq
from parler.wire.limits import DEFAULT_RECALL_LIMIT
from parler.wire.records import StoredMessage

FILE_NAME = "sealed.sqlite"
SCHEMA_VERSION = 1
BUSY_SECS = 30.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WORD = re.compile(r"[^\W_]+")
MAX_WORDS = 64
"""Of a query."""

MAX_ALARMS = 100
"""Kept of a room; the first ones show what happened, the rest only that it goes on."""

_SCHEMA = """
CREATE TABLE rooms (
  id INTEGER PRIMARY KEY, hub TEXT NOT NULL, name TEXT NOT NULL,
  phase TEXT NOT NULL, secret BLOB, confirmed INTEGER NOT NULL DEFAULT 0,
  room_id TEXT, owner TEXT, owner_left INTEGER NOT NULL DEFAULT 0, current TEXT,
  admission TEXT, whole INTEGER NOT NULL DEFAULT 1,
  admitted INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0,
  rows INTEGER NOT NULL DEFAULT 0, base INTEGER, head BLOB,
  gap INTEGER NOT NULL DEFAULT 0, asked_at INTEGER, anew INTEGER NOT NULL DEFAULT 0,
  lacks TEXT, lacks_row INTEGER NOT NULL DEFAULT 0, lacks_since INTEGER,
  UNIQUE (hub, name)
) STRICT;
CREATE TABLE states (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, hash TEXT NOT NULL,
  place TEXT NOT NULL, s INTEGER, epoch INTEGER, kc TEXT, until INTEGER, link BLOB,
  PRIMARY KEY (room, hash)
) STRICT;
CREATE TABLE keys (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, epoch INTEGER NOT NULL,
  key BLOB NOT NULL, granter TEXT NOT NULL, PRIMARY KEY (room, epoch)
) STRICT;
CREATE TABLE entries (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, row INTEGER NOT NULL,
  seq INTEGER NOT NULL, author TEXT NOT NULL, uid TEXT, n INTEGER, digest BLOB NOT NULL,
  head BLOB, verdict TEXT NOT NULL, epoch INTEGER, old_key INTEGER NOT NULL,
  written INTEGER,
  message BLOB NOT NULL, parts BLOB NOT NULL, plain BLOB, PRIMARY KEY (room, row)
) STRICT;
CREATE INDEX entries_by_uid ON entries (room, author, uid);
CREATE INDEX entries_by_n ON entries (room, author, n);
CREATE INDEX entries_by_digest ON entries (room, digest);
CREATE INDEX entries_shut ON entries (room, epoch)
  WHERE verdict IN ('waiting', 'before your time');
CREATE TABLE words (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, author TEXT NOT NULL,
  n INTEGER NOT NULL, digest BLOB NOT NULL, row INTEGER NOT NULL,
  PRIMARY KEY (room, author)
) STRICT;
CREATE TABLE alarms (
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE,
  kind TEXT NOT NULL, row INTEGER NOT NULL, other INTEGER, agent TEXT NOT NULL,
  accepted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE invites (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, code TEXT NOT NULL,
  r BLOB NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (room, code)
) STRICT;
CREATE TABLE changes (
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE,
  change BLOB NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE requests (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, asker TEXT NOT NULL,
  want BLOB NOT NULL, state TEXT, due INTEGER NOT NULL, PRIMARY KEY (room, asker)
) STRICT;
CREATE TABLE answers (
  room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE, asker TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE TABLE facts (
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE,
  row INTEGER NOT NULL, author TEXT NOT NULL, op TEXT NOT NULL, key TEXT, text TEXT,
  ts INTEGER NOT NULL, live INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX facts_by_author ON facts (room, author, key);
CREATE TABLE said (
  id INTEGER PRIMARY KEY, room INTEGER NOT NULL REFERENCES rooms ON DELETE CASCADE,
  row INTEGER NOT NULL, author TEXT NOT NULL, ts INTEGER NOT NULL, text TEXT NOT NULL,
  UNIQUE (room, row)
) STRICT;
CREATE TABLE peers (agent TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT;
CREATE TABLE directs (
  author TEXT NOT NULL, uid TEXT NOT NULL, place TEXT NOT NULL,
  PRIMARY KEY (author, uid)
) STRICT;
CREATE VIRTUAL TABLE facts_words
  USING fts5(text, content=facts, content_rowid=id, tokenize=unicode61);
CREATE VIRTUAL TABLE said_words
  USING fts5(text, content=said, content_rowid=id, tokenize=unicode61);
CREATE TRIGGER facts_on AFTER UPDATE OF live ON facts WHEN new.live > old.live BEGIN
  INSERT INTO facts_words (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER facts_off AFTER UPDATE OF live ON facts WHEN new.live < old.live BEGIN
  INSERT INTO facts_words (facts_words, rowid, text)
    VALUES ('delete', old.id, old.text); END;
CREATE TRIGGER facts_gone AFTER DELETE ON facts WHEN old.live BEGIN
  INSERT INTO facts_words (facts_words, rowid, text)
    VALUES ('delete', old.id, old.text); END;
CREATE TRIGGER said_on AFTER INSERT ON said BEGIN
  INSERT INTO said_words (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER said_gone AFTER DELETE ON said BEGIN
  INSERT INTO said_words (said_words, rowid, text)
    VALUES ('delete', old.id, old.text); END;
CREATE TABLE outbox (
  room INTEGER PRIMARY KEY REFERENCES rooms ON DELETE CASCADE, uid TEXT NOT NULL,
  parts BLOB NOT NULL, at INTEGER NOT NULL, state TEXT, plain BLOB, change INTEGER
) STRICT;
"""

_POSITION = tuple(field.name for field in fields(Position))
_values = attrgetter(*_POSITION)
_ENTRY = (
    "row, digest, head, verdict, uid, n, epoch, old_key, written, message, parts, plain"
)


class Phase(StrEnum):
    """Where a client stands with a room that it has known as sealed."""

    EXPECTED = "expected"
    KNOCKING = "knocking"
    ADMITTED = "admitted"
    READING = "reading"
    REFUSED = "refused"
    REMOVED = "removed"
    LEFT = "left"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """A contradiction as it was kept: the rows that show it, and whose word it is."""

    kind: Alarm
    row: int
    other: int | None
    agent: AgentId


@dataclass(frozen=True, slots=True)
class Found:
    """A fact or a message that was opened here, as it was found."""

    room: RoomName
    row: int
    author: AgentId
    ts: Millis
    """When its author says that it wrote it; signed."""

    text: str
    key: str | None
    score: float
    """Lower is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """The finished bytes of a message on its way, which are sent again as they are.

    `uid` names it in the log, and is the client id by which a hub stores it once.
    """

    uid: str
    parts: bytes = field(repr=False)
    at: Millis
    """When it was made."""

    state: str | None = None
    plain: Plaintext | None = field(default=None, repr=False)
    """Of a message: under which state it is sealed, and what it says."""

    change: int | None = None
    """The change that it is to make so."""


class _Newer(sqlite3.DatabaseError):
    """What we would not understand."""

    sqlite_errorcode = sqlite3.SQLITE_MISMATCH


class Store:
    """The sealed rooms of one identity. Opened in each process that reads or writes."""

    def __init__(
        self, database: sqlite3.Connection, damaged: Sequence[Path] = ()
    ) -> None:
        """Take a connection; `open_store` makes one.

        Args:
            damaged: Earlier stores of this identity that cannot be read.
        """
        self._database = database
        self.damaged = damaged
        """What lies beside it and could not be read. While it does, a room that is not
        known here may have been: whoever speaks into it looks for its genesis first."""

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; one process at a time."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def names(self, hub: str) -> dict[RoomName, Phase]:
        """The rooms of a hub that are known as sealed."""
        found = self._database.execute(
            "SELECT name, phase FROM rooms WHERE hub = ? ORDER BY name", (hub,)
        )
        return {RoomName(name): Phase(phase) for name, phase in found}

    def hub_of(self, name: RoomName) -> str | None:
        """A hub where a room of that name is known as sealed."""
        select = "SELECT hub FROM rooms WHERE name = ? ORDER BY hub LIMIT 1"
        found = self._database.execute(select, (name,)).fetchone()
        return None if found is None else str(found[0])

    @contextmanager
    def room(self, hub: str, name: RoomName) -> Iterator["StoredRoom"]:
        """One room for reading and writing, made if it is new, as one transaction."""
        with self.writing():
            room = self._room(hub, name)
            before = _values(room.position)
            yield room
            if _values(room.position) != before:
                room.save()

    def _room(self, hub: str, name: RoomName) -> "StoredRoom":
        columns = ", ".join(("id", *_POSITION))
        found = self._database.execute(
            f"SELECT {columns} FROM rooms WHERE hub = ? AND name = ?",  # noqa: S608 (names of ours)
            (hub, name),
        ).fetchone()
        if found is None:
            self._database.execute(
                "INSERT INTO rooms (hub, name, phase) VALUES (?, ?, ?)",
                (hub, name, Phase.EXPECTED),
            )
            return self._room(hub, name)
        ident, *position = found
        return StoredRoom(self._database, ident, _position(position))

    def forget(self, hub: str, name: RoomName) -> None:
        """Delete what is kept of a room."""
        with self.writing():
            self._database.execute(
                "DELETE FROM rooms WHERE hub = ? AND name = ?", (hub, name)
            )
            for words in ("facts_words", "said_words"):  # or deleted words stay there
                self._database.execute(
                    f"INSERT INTO {words} ({words}) VALUES ('optimize')"  # noqa: S608 (names of ours)
                )

    def is_peer(self, agent: AgentId) -> bool:
        """Whether we talk sealed with somebody."""
        found = self._database.execute("SELECT 1 FROM peers WHERE agent = ?", (agent,))
        return found.fetchone() is not None

    def add_peer(self, agent: AgentId, since: Millis) -> None:
        """From now on we talk sealed with somebody."""
        if not self.is_peer(agent):
            self._database.execute(
                "INSERT OR IGNORE INTO peers (agent, since) VALUES (?, ?)",
                (agent, since),
            )

    def note_direct(self, author: AgentId, uid: str, place: str) -> bool:
        """Whether a direct message stands where it was first met; it is noted there."""
        select = "SELECT place FROM directs WHERE author = ? AND uid = ?"
        found = self._database.execute(select, (author, uid)).fetchone()
        if found is None:
            self._database.execute(
                "INSERT OR IGNORE INTO directs (author, uid, place) VALUES (?, ?, ?)",
                (author, uid, place),
            )
            found = self._database.execute(select, (author, uid)).fetchone()
        return bool(found[0] == place)

    def recall(
        self,
        hub: str,
        query: str = "",
        *,
        key: str | None = None,
        room: RoomName | None = None,
        limit: int = DEFAULT_RECALL_LIMIT,
    ) -> list[Found]:
        """Find facts of our rooms at a hub, as the hub finds those of others.

        By a key the newest come first; by words those that fit best, where one of the
        words has to be the beginning of one of theirs.

        Args:
            room: Only there.
        """
        if key is None:
            return self._by_words("facts", "key", hub, query, room, limit)
        found = self._database.execute(
            "SELECT name, row, author, ts, text, key, 0.0 FROM facts "
            "JOIN rooms ON rooms.id = facts.room "
            "WHERE hub = ? AND ifnull(name = ?, 1) AND live AND key = ? "
            "ORDER BY ts DESC, facts.id DESC LIMIT ?",
            (hub, room, key, limit),
        )
        return [Found(*values) for values in found]

    def search(
        self,
        hub: str,
        query: str,
        *,
        room: RoomName | None = None,
        limit: int = DEFAULT_RECALL_LIMIT,
    ) -> list[Found]:
        """Find messages that were opened here, those that fit best first.

        Args:
            room: Only there.
        """
        with self.writing():
            self._index_said()
        return self._by_words("said", "NULL", hub, query, room, limit)

    def _index_said(self) -> None:
        """Index what was opened since the last search: reading does not wait for it."""
        news = self._database.execute(
            "SELECT room, row, author, written, plain FROM entries "
            "WHERE plain IS NOT NULL AND NOT EXISTS (SELECT 1 FROM said "
            "WHERE said.room = entries.room AND said.row = entries.row)"
        ).fetchall()
        self._database.executemany(
            "INSERT INTO said (room, row, author, ts, text) VALUES (?, ?, ?, ?, ?)",
            [(*place, _words_of(plain)) for *place, plain in news],
        )

    def _by_words(
        self,
        table: str,
        key: str,
        hub: str,
        query: str,
        room: RoomName | None,
        limit: int,
    ) -> list[Found]:
        """Find rows with words that begin like one of the query's, best first.

        As a hub ranks facts: a word weighs the more the fewer have it, and how much a
        row has of it, compared to the best one, is bm25.
        """
        within = (
            f"{table} JOIN rooms ON rooms.id = {table}.room "
            "WHERE hub = ? AND ifnull(rooms.name = ?, 1)"
        )
        if table == "facts":
            within += " AND live"
        (among,) = self._database.execute(
            f"SELECT count(*) FROM {within}",  # noqa: S608 (names of ours)
            (hub, room),
        ).fetchone()
        totals: dict[int, float] = {}
        words = _WORD.findall(unicodedata.normalize("NFC", query).lower())
        for word in list(dict.fromkeys(words))[:MAX_WORDS]:
            having = self._database.execute(
                f"SELECT rowid, bm25({table}_words) FROM {table}_words "  # noqa: S608 (names of ours)
                f"WHERE {table}_words MATCH ? AND rowid IN "
                f"(SELECT {table}.id FROM {within})",
                (f'"{word}" *', hub, room),
            ).fetchall()
            best = min((score for _, score in having), default=0.0)
            weight = math.log(1 + (among - len(having) + 0.5) / (len(having) + 0.5))
            for ident, score in having:
                totals[ident] = totals.get(ident, 0.0) - weight * score / best
        ranked = sorted(totals, key=lambda ident: (totals[ident], -ident))[:limit]
        select = (
            f"SELECT rooms.name, row, author, ts, text, {key} FROM {table} "  # noqa: S608 (names of ours)
            f"JOIN rooms ON rooms.id = {table}.room WHERE {table}.id = ?"
        )
        return [
            Found(*self._database.execute(select, (one,)).fetchone(), totals[one])  # type: ignore[call-arg]  # (of a row's length nothing is known)
            for one in ranked
        ]


class StoredRoom:
    """One room within a transaction; a `Log`, and what is not the log's."""

    def __init__(
        self, database: sqlite3.Connection, ident: int, position: Position
    ) -> None:
        """Take the row of a room."""
        self._database = database
        self._id = ident
        self.position = position
        self._states: dict[str, KnownState | None] = {}
        self._keys: dict[int, Secret] | None = None

    def save(self) -> None:
        """Write the position back."""
        names = ", ".join(f"{name} = ?" for name in _POSITION)
        self._database.execute(
            f"UPDATE rooms SET {names} WHERE id = ?",  # noqa: S608 (names of ours)
            (*_values(self.position), self._id),
        )

    # The log.

    def state(self, name: str) -> KnownState | None:
        """A state by its hash."""
        if name not in self._states:
            self._states[name] = self._find_state(name)
        return self._states[name]

    def _find_state(self, name: str) -> KnownState | None:
        found = self._one("SELECT place, link, until FROM states", "hash = ?", name)
        if found is None:
            return None
        place, link, until = found
        return KnownState(Place(place), None if link is None else _read(link), until)

    def add_state(self, name: str, place: Place, made: SignedState | None) -> None:
        """Keep a state that is not current, or its name alone."""
        self._states.clear()
        link = None if made is None else _print(made.link)
        self._database.execute(
            "INSERT OR IGNORE INTO states (room, hash, place, link) "
            "VALUES (?, ?, ?, ?)",
            (self._id, name, place, link),
        )

    def advance(self, made: SignedState, row: int) -> None:
        """Make a state the current one, from a row on."""
        self._states.clear()
        self._database.execute(
            "UPDATE states SET place = ?, until = ? WHERE room = ? AND place = ?",
            (Place.PAST, row, self._id, Place.CURRENT),
        )
        self._database.execute(
            "INSERT OR REPLACE INTO states (room, hash, place, s, epoch, kc, link) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._id, made.hash, Place.CURRENT, made.state.s),
                *(made.state.epoch, made.state.kc, _print(made.link)),
            ),
        )
        self.position.current = made.hash

    def commitment(self, epoch: int) -> str | None:
        """What a state that is or was current says of the key of an epoch."""
        found = self._one(
            "SELECT kc FROM states", "place IN ('current', 'past') AND epoch = ?", epoch
        )
        return found[0] if found else None

    def epoch_keys(self) -> dict[int, Secret]:
        """All keys, by epoch."""
        if self._keys is None:
            found = self._all("SELECT epoch, key FROM keys", "1 ORDER BY epoch")
            self._keys = {epoch: Secret(key) for epoch, key in found}
        return self._keys

    def add_key(self, epoch: int, key: Secret, granter: AgentId) -> None:
        """Keep a key for good."""
        self._keys = None
        self._database.execute(
            "INSERT INTO keys (room, epoch, key, granter) VALUES (?, ?, ?, ?)",
            (self._id, epoch, bytes(key), granter),
        )

    def has(self, author: AgentId, uid: str) -> bool:
        """Whether an author's message is there."""
        where = "author = ? AND uid = ?"
        return self._one("SELECT 1 FROM entries", where, author, uid) is not None

    def last_word(self, author: AgentId) -> LastWord | None:
        """The newest numbered message of an author."""
        found = self._one("SELECT n, digest, row FROM words", "author = ?", author)
        return LastWord(*found) if found else None

    def numbered(self, author: AgentId, n: int) -> int | None:
        """The row of an author's message of a number."""
        found = self._one("SELECT row FROM entries", "author = ? AND n = ?", author, n)
        return found[0] if found else None

    def note_word(self, author: AgentId, word: LastWord) -> None:
        """Take a message for the newest of its author."""
        self._database.execute(
            "INSERT OR REPLACE INTO words (room, author, n, digest, row) "
            "VALUES (?, ?, ?, ?, ?)",
            (self._id, author, word.n, word.digest, word.row),
        )

    def row(self, row: int) -> tuple[bytes | None, bytes] | None:
        """The head and the digest of a row."""
        found: tuple[bytes | None, bytes] | None = self._one(
            "SELECT head, digest FROM entries", "row = ?", row
        )
        return found

    def rows_by_prefix(self, prefix: bytes, after: int) -> list[int]:
        """At most two rows behind one whose digests begin like that."""
        found = self._all(
            "SELECT row FROM entries",
            "digest >= ? AND digest < ? AND row > ? LIMIT 2",
            *(prefix, prefix + b"\xff" * 25, after),
        )
        return [row for (row,) in found]

    def set_heads(self, heads: list[tuple[int, bytes]]) -> None:
        """Fill in the heads of rows that were read before we were aligned."""
        self._database.executemany(
            "UPDATE entries SET head = ? WHERE room = ? AND row = ?",
            [(head, self._id, row) for row, head in heads],
        )

    def append(self, entry: Entry) -> None:
        """Keep a row."""
        self._database.execute(
            f"INSERT INTO entries (room, seq, author, {_ENTRY}) "  # noqa: S608 (names of ours)
            f"VALUES (?, ?, ?{', ?' * 12})",
            (
                *(self._id, entry.message.seq, entry.message.author.id, entry.row),
                *(entry.digest, entry.head, entry.verdict, entry.uid, entry.n),
                *(entry.epoch, entry.old_key, entry.written),
                *(_print_message(entry.message), bytes(entry.message.parts)),
                _print_plain(entry.plain),
            ),
        )
        self._note_facts(entry)

    def shut(self, epoch: int) -> list[Entry]:
        """What was not opened for want of a key, in log order."""
        where = "verdict IN ('waiting', 'before your time') AND epoch = ?"
        return self._entries(where, epoch)

    def unplaced(self) -> list[Entry]:
        """What was written under states that we do not know, in log order."""
        return self._entries("verdict = ?", Verdict.UNKNOWN_STATE)

    def settle(self, entry: Entry) -> None:
        """Keep what became of a row that was shut, or could not be placed."""
        plain = _print_plain(entry.plain)
        self._database.execute(
            "UPDATE entries SET verdict = ?, epoch = ?, old_key = ?, plain = ? "
            "WHERE room = ? AND row = ?",
            (
                *(entry.verdict, entry.epoch, entry.old_key, plain),
                *(self._id, entry.row),
            ),
        )
        self._note_facts(entry)

    def _note_facts(self, entry: Entry) -> None:
        """Keep what an opened message says to remember, or no longer.

        What was opened late is put in its place: of an author's words the last in the
        log counts, not the last that was opened.
        """
        records = read_facts(entry.plain) if entry.plain else []
        if not records:
            return
        author = entry.message.author.id
        later = self._one(
            "SELECT 1 FROM facts", "author = ? AND row > ?", author, entry.row
        )
        for record in records:
            ident = self._database.execute(
                "INSERT INTO facts (room, row, author, op, key, text, ts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(self._id, entry.row, author, record.op),
                    *(record.key, record.text, entry.written or 0),
                ),
            ).lastrowid
            if not later:
                self._live(author, ident, record)
        if later:
            self._database.execute(
                "UPDATE facts SET live = 0 WHERE room = ? AND author = ?",
                (self._id, author),
            )
            ops = self._all(
                "SELECT id, op, key, text FROM facts",
                "author = ? ORDER BY row, id",
                author,
            )
            for ident, op, key, text in ops:
                self._live(author, ident, FactRecord(op, key, text))

    def facts(self, author: AgentId, *, key: str | None, text: str | None) -> int:
        """How many live facts of an author are under a key, of a text, or both."""
        (count,) = self._one(
            "SELECT count(*) FROM facts",
            "author = ? AND live AND ifnull(key = ?, ? IS NULL) "
            "AND ifnull(text = ?, ? IS NULL)",
            *(author, key, key, text, text),
        )
        return int(count)

    def _live(self, author: AgentId, ident: int | None, record: FactRecord) -> None:
        """Apply an author's newest word on facts to those that it has said before."""
        put = record.op == "put"
        if not put or record.key is not None:
            self._database.execute(
                "UPDATE facts SET live = 0 WHERE room = ? AND author = ? AND live "
                "AND ifnull(key = ?, ? IS NULL) AND ifnull(text = ?, 1)",
                (
                    *(self._id, author, record.key, record.key),
                    None if put else record.text,
                ),
            )
        if put:
            self._database.execute("UPDATE facts SET live = 1 WHERE id = ?", (ident,))

    def shut_before(self, epoch: int) -> None:
        """Of what waits, give up what belongs to earlier epochs."""
        self._database.execute(
            "UPDATE entries SET verdict = ? "
            "WHERE room = ? AND verdict = 'waiting' AND epoch < ?",
            (Verdict.BEFORE_YOUR_TIME, self._id, epoch),
        )

    def alarm(self, kind: Alarm, row: int, other: int | None, agent: AgentId) -> None:
        """Keep a contradiction, with the rows that show it, and whose word it is."""
        self._database.execute(
            "INSERT INTO alarms (room, kind, row, other, agent) "
            "SELECT ?, ?, ?, ?, ? WHERE "
            "(SELECT count(*) FROM alarms WHERE room = ?) < ? AND NOT EXISTS "
            "(SELECT 1 FROM alarms WHERE room = ? AND kind = ? AND row = ?)",
            (
                *(self._id, kind, row, other, agent),
                *(self._id, MAX_ALARMS, self._id, kind, row),
            ),
        )

    # What is not the log's.

    def entries(self, after: int = 0) -> list[Entry]:
        """The rows behind one, in log order."""
        return self._entries("row > ?", after)

    def entries_at(self, first: Seq, last: Seq) -> list[Entry]:
        """The rows of messages from one position to another, in log order."""
        return self._entries("seq BETWEEN ? AND ?", first, last)

    def written(self, author: AgentId, uid: str) -> Entry | None:
        """An author's message."""
        return next(iter(self._entries("author = ? AND uid = ?", author, uid)), None)

    def called(self, message_id: str) -> Entry | None:
        """The message that the hub calls so."""
        where = "json_extract(CAST(message AS TEXT), '$.id') = ?"
        return next(iter(self._entries(where, message_id)), None)

    def current_since(self) -> int:
        """The row from which on the current state is."""
        (row,) = self._one("SELECT max(until) FROM states", "place = 'past'")
        return row or 1

    def last_words(self) -> Iterator[tuple[AgentId, Plaintext]]:
        """What was opened last of each author."""
        where = "plain IS NOT NULL GROUP BY author"
        for author, _, plain in self._all(
            "SELECT author, max(row), plain FROM entries", where
        ):
            read = _read_plain(plain)
            assert read is not None, "it is none of those"
            yield AgentId(author), read

    @property
    def confirmed(self) -> bool:
        """Whether a person vouched for the room."""
        found = self._database.execute(
            "SELECT confirmed FROM rooms WHERE id = ?", (self._id,)
        )
        return bool(found.fetchone()[0])

    def confirm(self) -> None:
        """A person vouches for the room."""
        self._database.execute(
            "UPDATE rooms SET confirmed = 1 WHERE id = ?", (self._id,)
        )

    def alarms(self) -> list[RaisedAlarm]:
        """The contradictions that no person has accepted."""
        found = self._all(
            "SELECT kind, row, other, agent FROM alarms", "accepted = 0 ORDER BY id"
        )
        return [RaisedAlarm(Alarm(kind), *rest) for kind, *rest in found]

    def accept_alarms(self) -> None:
        """A person has looked at them."""
        self._database.execute(
            "UPDATE alarms SET accepted = 1 WHERE room = ?", (self._id,)
        )

    @property
    def phase(self) -> Phase:
        """Where we stand with the room."""
        found = self._database.execute(
            "SELECT phase FROM rooms WHERE id = ?", (self._id,)
        )
        return Phase(found.fetchone()[0])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._database.execute(
            "UPDATE rooms SET phase = ? WHERE id = ? AND phase <> ?",
            (phase, self._id, phase),
        )

    def set_aside(self) -> None:
        """Keep the room under a name that no hub gives, and let go of its own."""
        self._database.execute(
            "UPDATE rooms SET name = name || '#' || id WHERE id = ?", (self._id,)
        )

    def expect(self, secret: Secret | None) -> None:
        """Keep the secret that the room has to fit."""
        kept = None if secret is None else bytes(secret)
        self._database.execute(
            "UPDATE rooms SET secret = ?, phase = ? WHERE id = ?",
            (kept, Phase.EXPECTED, self._id),
        )

    @property
    def secret(self) -> Secret | None:
        """The secret of the key we came with."""
        found = self._database.execute(
            "SELECT secret FROM rooms WHERE id = ?", (self._id,)
        )
        (secret,) = found.fetchone()
        return None if secret is None else Secret(secret)

    def add_invite(self, invite: Invite) -> None:
        """Keep a session key of the room; told again, it can only end earlier."""
        self._database.execute(
            "INSERT INTO invites (room, code, r, expires_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET expires_at = "
            "min(expires_at, excluded.expires_at)",
            (self._id, invite.code, bytes(invite.r), invite.expires_at),
        )

    def invites(self, now: Millis) -> list[Invite]:
        """The session keys that are not over."""
        found = self._all(
            "SELECT code, r, expires_at FROM invites",
            "expires_at > ? ORDER BY expires_at",
            now,
        )
        return [Invite(Code(code), Secret(r), end) for code, r, end in found]

    def put_outgoing(self, outgoing: Outgoing) -> None:
        """Keep the bytes of a message before they are sent."""
        self._database.execute(
            "INSERT INTO outbox (room, uid, parts, at, state, plain, change) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._id, outgoing.uid, outgoing.parts, outgoing.at, outgoing.state),
                *(_print_plain(outgoing.plain), outgoing.change),
            ),
        )

    def outgoing(self) -> Outgoing | None:
        """The message on its way, if there is one."""
        found = self._one(
            "SELECT uid, parts, at, state, plain, change FROM outbox", "1"
        )
        if found is None:
            return None
        uid, parts, at, state, plain, change = found
        return Outgoing(
            uid=uid,
            parts=parts,
            at=at,
            state=state,
            plain=_read_plain(plain),
            change=change,
        )

    def drop_outgoing(self) -> None:
        """It arrived, or is made anew."""
        self._database.execute("DELETE FROM outbox WHERE room = ?", (self._id,))

    def add_change(self, change: Change, due: Millis) -> int:
        """Keep what is wanted until it is so; it is not tried before its time.

        Returns its number.
        """
        added = self._database.execute(
            "INSERT INTO changes (room, change, due) VALUES (?, ?, ?)",
            (self._id, msgspec.json.encode(change), due),
        )
        assert added.lastrowid is not None, "it was inserted"
        return added.lastrowid

    def next_change(self, now: Millis) -> tuple[int, Change] | None:
        """The oldest change that is due, with its number; counts as one try."""
        found = self._one(
            "SELECT id, change FROM changes", "due <= ? ORDER BY id LIMIT 1", now
        )
        if found is None:
            return None
        ident, change = found
        self._database.execute(
            "UPDATE changes SET tries = tries + 1 WHERE id = ?", (ident,)
        )
        return ident, msgspec.json.decode(change, type=Change)

    def changes(self) -> dict[int, Change]:
        """What is wanted and not so yet, by number."""
        found = self._all("SELECT id, change FROM changes", "1 ORDER BY id")
        return {ident: msgspec.json.decode(c, type=Change) for ident, c in found}

    def add_request(
        self, asker: AgentId, want: list[int], due: Millis, state: str | None = None
    ) -> None:
        """Keep what a member asked for, keys or a state, until it is answered."""
        self._database.execute(
            "INSERT OR REPLACE INTO requests (room, asker, want, state, due) "
            "VALUES (?, ?, ?, ?, ?)",
            (self._id, asker, msgspec.json.encode(want), state, due),
        )

    def next_request(self, now: Millis) -> tuple[AgentId, list[int], str | None] | None:
        """A request that is due."""
        found = self._one(
            "SELECT asker, want, state FROM requests",
            "due <= ? ORDER BY due LIMIT 1",
            now,
        )
        if found is None:
            return None
        asker, want, state = found
        return AgentId(asker), msgspec.json.decode(want, type=list[int]), state

    def drop_request(self, asker: AgentId) -> None:
        """It is answered, or is not to be."""
        self._database.execute(
            "DELETE FROM requests WHERE room = ? AND asker = ?", (self._id, asker)
        )

    def add_answer(self, asker: AgentId, at: Millis) -> None:
        """Note that we answered somebody."""
        self._database.execute(
            "INSERT INTO answers (room, asker, at) VALUES (?, ?, ?)",
            (self._id, asker, at),
        )

    def answers(self, asker: AgentId, since: Millis) -> int:
        """How often we have answered somebody; what is older is forgotten."""
        self._database.execute(
            "DELETE FROM answers WHERE room = ? AND at < ?", (self._id, since)
        )
        (count,) = self._one("SELECT count(*) FROM answers", "asker = ?", asker)
        return int(count)

    def tries(self, change: int) -> int:
        """How often a change was tried."""
        found = self._one("SELECT tries FROM changes", "id = ?", change)
        return found[0] if found else 0

    def drop_change(self, change: int) -> None:
        """It is so, or cannot be."""
        self._database.execute("DELETE FROM changes WHERE id = ?", (change,))

    def current(self) -> SignedState | None:
        """The current state."""
        name = self.position.current
        known = None if name is None else self.state(name)
        return None if known is None else known.made

    def states(self) -> list[SignedState]:
        """The states that are or were current, in their order."""
        found = self._all(
            "SELECT link FROM states", "place IN ('current', 'past') ORDER BY s"
        )
        return [_read(link) for (link,) in found]

    def begins(self, seq: Seq) -> list[SignedState]:
        """The states with which a log begins that has lost what was before a message.

        None if it has lost nothing; else the one that was current before, and the one
        that this message made, if it is one.
        """
        where = "seq >= ? ORDER BY row LIMIT 1"
        found = self._one("SELECT row FROM entries", where, seq)
        if found is None or found[0] == 1:
            return []
        (row,) = found
        states = self._all(
            "SELECT link, until FROM states",
            "place IN ('current', 'past') AND (until IS NULL OR until >= ?) "
            "ORDER BY s LIMIT 2",
            row,
        )
        both = states[0][1] == row
        return [_read(link) for link, _ in states[: 1 + both]]

    def author(self, row: int) -> AgentId:
        """Who wrote a row."""
        (author,) = self._one("SELECT author FROM entries", "row = ?", row)
        return AgentId(author)

    def verdict(self, author: AgentId, uid: str) -> Verdict | None:
        """What became of an author's message."""
        where = "author = ? AND uid = ?"
        found = self._one("SELECT verdict FROM entries", where, author, uid)
        return None if found is None else Verdict(found[0])

    def _entries(self, where: str, *values: int | str) -> list[Entry]:
        select = f"SELECT {_ENTRY} FROM entries"  # noqa: S608 (names of ours)
        return [
            _entry(row) for row in self._all(select, f"{where} ORDER BY row", *values)
        ]

    def _one(self, select: str, where: str, *values: Any) -> Any:
        return next(iter(self._all(select, where, *values)), None)

    def _all(self, select: str, where: str, *values: Any) -> list[Any]:
        statement = f"{select} WHERE room = ? AND {where}"
        return self._database.execute(statement, (self._id, *values)).fetchall()


def open_store(path: Path) -> Store:
    """Open the store of a home, and make it if it is not there.

    One that is damaged is kept aside, and a new one filled from the hub: our keys are
    there, sealed to us, and what is not, other members give.

    Raises:
        IdentityError: Others may read it.
        Unwritable: It cannot be made, or is a link.
        ConfigError: It is a newer program's, or another process holds it.
    """
    make_private_dir(path.parent)
    try:
        _make_private(path)
        try:
            database = _open(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGED:
                raise
            with locked(path.with_suffix(".lock"), wait_secs=BUSY_SECS):
                database = _replaced(path)
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return Store(database, sorted(path.parent.glob(f"{path.name}.damaged-*")))


def _open(path: Path) -> sqlite3.Connection:
    database = _connect(path.as_posix())
    _prepare(database)
    return database


def _replaced(path: Path) -> sqlite3.Connection:
    """Open a new store in the place of a damaged one, unless somebody has."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in _DAMAGED:
            raise
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    for suffix in ("-wal", "-shm"):  # or they would be taken for the new one's
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(f"{aside}{suffix}")
    path.rename(aside)
    _make_private(path)
    return _open(path)


def memory_store() -> Store:
    """A store that ends with the process."""
    database = _connect(":memory:")
    _prepare(database)
    return Store(database)


def _make_private(path: Path) -> None:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise Unwritable(f"{path} cannot be opened: {error.strerror}") from None
    try:
        refuse_open_modes(path, os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _connect(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=BUSY_SECS, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables if there are none.

    Raises:
        sqlite3.DatabaseError: It is no database, or a newer program's.
    """
    try:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise _Newer("a newer program made it")
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise


def _position(values: list[Any]) -> Position:
    position = Position(**dict(zip(_POSITION, values, strict=True)))
    for name in ("owner_left", "whole", "admitted", "anew"):
        setattr(position, name, bool(getattr(position, name)))
    return position


def _entry(values: tuple[Any, ...]) -> Entry:
    row, digest, head, verdict, uid, n, epoch, old_key, written, *said, plain = values
    return Entry(
        row=row,
        digest=digest,
        head=head,
        verdict=Verdict(verdict),
        uid=uid,
        n=n,
        epoch=epoch,
        old_key=bool(old_key),
        written=written,
        message=_read_message(*said),
        plain=_read_plain(plain),
    )


_NO_PARTS = msgspec.Raw(b"[]")


def _print_message(message: StoredMessage) -> bytes:
    # Its parts are kept as they came beside it: they may be no JSON that we can read.
    return msgspec.json.encode(msgspec.structs.replace(message, parts=_NO_PARTS))


def _read_message(message: bytes, parts: bytes) -> StoredMessage:
    read = msgspec.json.decode(message, type=StoredMessage)
    return msgspec.structs.replace(read, parts=msgspec.Raw(parts))


def _print_plain(plain: Plaintext | None) -> bytes | None:
    return None if plain is None else msgspec.json.encode(plain)


def _read_plain(plain: bytes | None) -> Plaintext | None:
    return None if plain is None else msgspec.json.decode(plain, type=Plaintext)


def _words_of(plain: bytes) -> str:
    """What a message is found by: all that is meant to be read in it."""
    parts = msgspec.json.decode(plain, type=Plaintext).parts
    fields = ("text", "name", "summary", "next", "note")
    texts = [part.get(field) for part in parts for field in fields]
    return "\n".join(text for text in texts if isinstance(text, str))


@lru_cache(maxsize=32)  # with its hash and whether it is genuine
def _read(link: bytes) -> SignedState:
    return SignedState(msgspec.json.decode(link, type=Link))


def _print(link: Link) -> bytes:
    return msgspec.json.encode(link)
