"""Finding facts by words and by vectors: what a database of each kind does its own way.

For SQLite that is an FTS5 index over pieces of the text of `facts`, kept by triggers
inside the transaction that writes a piece, and the distance ``vec_distance_l2``: that
of sqlite-vec where the interpreter can load it, else one in Python. What may be found
at all is the caller's to say; it is applied before anything is ranked or cut off, and
no score tells how common a word is among what the caller may not see. Each piece is
indexed with its place, a room or an author, so that a search walks the matches of the
places it looks in and not those of strangers.
"""

import functools
import heapq
import importlib
import itertools
import json
import math
import re
import sqlite3
import struct
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hub.store import by_hand
from hub.store.schema import FactState, fact_pieces, facts, unsettled
from parler.wire.limits import EMBEDDING_DIMENSIONS

MAX_TERMS = 64
"""Different words of a query that are looked for; a longer one is cut there."""

FUSION_RANK = 60
"""What keeps the first places of one list from outweighing the other (protocol 9)."""

MAX_WORK = 600_000
"""Matches of words that are looked at; what words are left then is not looked for."""

_PLACE_WORK = 30
"""What a place to look in costs for each word, in matches."""

MAX_COMPARED = 2_000
"""Facts with a word that are told apart by how much of them that word is."""

SCORE_DIGITS = 4
_WORST = -(0.1**SCORE_DIGITS)

Ids = sa.Select[int] | sa.CompoundSelect[int]
"""Which facts may be found: a query for their numbers."""

Ranked = list[tuple[int, float]]
"""Numbers of facts with their scores, best first."""

_FLOATS = struct.Struct(f"<{EMBEDDING_DIMENSIONS}f")
_WORDS = re.compile(r"[^\W_]+")

PIECE_BYTES = 32 * 1024
"""Text indexed at a time: a few milliseconds of the writer, however many words."""

_WORD_BYTES = 1024
"""How far back the end of a word is looked for; a longer one is cut in two."""

_BETWEEN_WORDS = re.compile(rb"[\x00-/:-@\[-`{-\x7f]")
_IS_SHORT = f"length(CAST(new.text AS BLOB)) <= {PIECE_BYTES}"
_FACT_SHIFT = 12
"""A piece's number is its fact's, shifted by so much, plus its place (see the SQL)."""

_ONE_PIECE = (
    "INSERT INTO fact_pieces (id, start, length) "
    "VALUES (new.id << 12, 1, length(CAST(new.text AS BLOB)))"
)
_NO_PIECE = (
    "DELETE FROM fact_pieces WHERE id >= old.id << 12 AND id < (old.id + 1) << 12"
)
# Bytes and not letters: for SQLite a text would end at its first NUL.
_INDEX = (
    "CREATE VIEW fact_words AS SELECT piece.id AS id, "
    "CAST(substr(CAST(fact.text AS BLOB), piece.start, piece.length) AS TEXT) AS text, "
    "coalesce('r' || fact.room, 'a' || fact.author) AS place "
    "FROM fact_pieces AS piece "
    "JOIN facts AS fact ON fact.id = piece.id >> 12",
    "CREATE VIRTUAL TABLE facts_fts USING fts5("
    "text, place, content='fact_words', content_rowid='id', tokenize='unicode61')",
    "CREATE TRIGGER fact_pieces_insert AFTER INSERT ON fact_pieces BEGIN "
    "INSERT INTO facts_fts (rowid, text, place) "
    "SELECT id, text, place FROM fact_words WHERE id = new.id; END",
    "CREATE TRIGGER fact_pieces_delete BEFORE DELETE ON fact_pieces BEGIN "
    "INSERT INTO facts_fts (facts_fts, rowid, text, place) "
    "SELECT 'delete', id, text, place FROM fact_words WHERE id = old.id; END",
    f"CREATE TRIGGER facts_insert AFTER INSERT ON facts WHEN {_IS_SHORT} BEGIN "
    f"{_ONE_PIECE}; END",
    f"CREATE TRIGGER facts_delete BEFORE DELETE ON facts BEGIN {_NO_PIECE}; END",
    "CREATE TRIGGER facts_update BEFORE UPDATE OF text ON facts "
    f"BEGIN {_NO_PIECE}; END",
    "CREATE TRIGGER facts_updated AFTER UPDATE OF text ON facts "
    f"WHEN {_IS_SHORT} BEGIN {_ONE_PIECE}; END",
)

_ONE_MORE = (
    "INSERT INTO fact_counts (place, live) "
    "VALUES (coalesce('r' || new.room, 'a' || new.author), 1) "
    "ON CONFLICT (place) DO UPDATE SET live = live + 1"
)
_ONE_LESS = (
    "UPDATE fact_counts SET live = live - 1 "
    "WHERE place = coalesce('r' || old.room, 'a' || old.author); "
    "DELETE FROM fact_counts "
    "WHERE place = coalesce('r' || old.room, 'a' || old.author) AND live = 0"
)
_COUNTS = (
    "CREATE TRIGGER facts_count_insert AFTER INSERT ON facts "
    f"WHEN new.state = 0 BEGIN {_ONE_MORE}; END",
    "CREATE TRIGGER facts_count_delete AFTER DELETE ON facts "
    f"WHEN old.state = 0 BEGIN {_ONE_LESS}; END",
    "CREATE TRIGGER facts_count_settle AFTER UPDATE OF state ON facts "
    f"WHEN new.state = 0 AND old.state != 0 BEGIN {_ONE_MORE}; END",
    "CREATE TRIGGER facts_count_leave AFTER UPDATE OF state ON facts "
    f"WHEN new.state != 0 AND old.state = 0 BEGIN {_ONE_LESS}; END",
    "INSERT INTO fact_counts (place, live) "
    "SELECT coalesce('r' || room, 'a' || author), count(*) "
    "FROM facts WHERE state = 0 GROUP BY 1",
)

_HAVING = "SELECT rowid >> 12 FROM facts_fts WHERE facts_fts MATCH ?"
# The place has no weight: it says where to look, not how well something fits.
_COMPARED = (
    "SELECT rowid >> 12, bm25(facts_fts, 1.0, 0.0) FROM facts_fts "
    "WHERE facts_fts MATCH ?"
)
_COMMON = (
    "SELECT count(*) FROM (SELECT 1 FROM facts_fts WHERE facts_fts MATCH ? LIMIT ?)"
)
_COUNTED_TOGETHER = 32
"""Facts of a place that are counted in the time in which one match is compared."""


def create_index(connection: sa.Connection) -> None:
    """Create what indexes the facts of a new database."""
    for statement in _INDEX:
        connection.exec_driver_sql(statement)


def count_facts(connection: sa.Connection) -> None:
    """Count the facts of each place, now and with every change."""
    for statement in _COUNTS:
        connection.exec_driver_sql(statement)


def index_in_pieces(connection: sa.Connection) -> None:
    """Index all facts anew, in place of an index of whole texts."""
    for trigger in ("insert", "delete", "update"):
        connection.exec_driver_sql(f"DROP TRIGGER facts_fts_{trigger}")
    connection.exec_driver_sql("DROP TABLE facts_fts")
    create_index(connection)
    known = connection.execute(sa.select(facts.c.id).order_by(facts.c.id))
    for number in known.scalars().all():
        text = connection.execute(
            sa.select(facts.c.text).where(facts.c.id == number)
        ).scalar_one()
        for piece in pieces(text):
            index_piece(connection, number, piece)


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a piece of a text is: its place, its first byte from 1 on, how many."""

    place: int
    start: int
    length: int


def pieces(text: str) -> list[Piece]:
    """How to cut a text; one that makes one piece is indexed with its fact."""
    data = text.encode()
    found: list[Piece] = []
    start = 0
    while len(data) - start > PIECE_BYTES:
        end = _end_of_piece(data, start + PIECE_BYTES)
        found.append(Piece(len(found), start + 1, end - start))
        start = end
    return [*found, Piece(len(found), start + 1, len(data) - start)]


def _end_of_piece(data: bytes, end: int) -> int:
    between = [
        found.end() for found in _BETWEEN_WORDS.finditer(data, end - _WORD_BYTES, end)
    ]
    if between:
        return between[-1]
    while data[end] & 0xC0 == 0x80:  # not within a letter
        end -= 1
    return end


def index_piece(connection: sa.Connection, fact: int, piece: Piece) -> None:
    """Index one piece of a fact, unless the fact is on its way out."""
    number = (fact << _FACT_SHIFT) + piece.place
    there = sa.select(
        *(
            sa.literal(value, sa.Integer)
            for value in (number, piece.start, piece.length)
        )
    ).where(sa.exists().where(facts.c.id == fact, facts.c.state != FactState.LEAVING))
    connection.execute(
        sa.insert(fact_pieces).from_select(["id", "start", "length"], there)
    )


def is_piece_of(fact: "sa.ColumnElement[int] | int") -> sa.ColumnElement[bool]:
    """Which rows of `fact_pieces` are of that fact."""
    size = 1 << _FACT_SHIFT
    return (fact_pieces.c.id >= fact * size) & (fact_pieces.c.id < (fact + 1) * size)


def give_up_arriving(connection: sa.Connection) -> None:
    """Let go of facts that were still being indexed when the hub was killed."""
    connection.execute(
        sa.update(facts)
        .where(unsettled, facts.c.state == FactState.ARRIVING)
        .values(state=FactState.LEAVING)
    )


def equip(connection: sqlite3.Connection) -> None:
    """Give a fresh connection the function that compares vectors."""
    if not load_extension(connection):
        connection.create_function("vec_distance_l2", 2, distance, deterministic=True)


def load_extension(connection: sqlite3.Connection) -> bool:
    """Load sqlite-vec, if it is installed and this interpreter can load extensions."""
    if not hasattr(connection, "enable_load_extension"):
        return False
    try:
        sqlite_vec = importlib.import_module("sqlite_vec")
        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        finally:
            connection.enable_load_extension(False)
    except (ImportError, sqlite3.Error):
        return False
    return True


def distance(one: bytes, other: bytes) -> float:
    """How far two vectors are apart: the L2 norm of their difference."""
    return math.dist(_FLOATS.unpack(one), _unpacked(other))


@functools.lru_cache(maxsize=8)
def _unpacked(vector: bytes) -> tuple[float, ...]:
    # The vector that is looked for comes again with every row.
    return _FLOATS.unpack(vector)


def pack(embedding: Sequence[float]) -> bytes | None:
    """A vector as it is stored and compared, or None if it is not one (protocol 9)."""
    if len(embedding) != EMBEDDING_DIMENSIONS:
        return None
    try:
        return _FLOATS.pack(*embedding)
    except (OverflowError, struct.error):
        return None  # beyond what 32 bits hold


def terms(query: str) -> list[str]:
    """The words of a query, each once."""
    # Composed first, as a letter and its accent would fall apart otherwise.
    words = _WORDS.findall(unicodedata.normalize("NFC", query).lower())
    return list(dict.fromkeys(words))[:MAX_TERMS]


def place_of(room: int | None, author: str) -> str:
    """The word that a fact's place is indexed as (see `fact_words`)."""
    return f"a{author}" if room is None else f"r{room}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where words are looked for."""

    places: Sequence[str]
    """As `place_of` writes them."""

    size: int
    """How many facts may be found in those places."""

    findable: Callable[[Collection[int]], set[int]] | None
    """Which of some facts in those places may be found; None if all may."""


def by_text(
    connection: sa.Connection, shelf: Shelf, query: str, *, limit: int
) -> Ranked:
    """Facts with words that begin like one of the query's, best first.

    It is the sum over the words, lower is better; of equals the newest comes first.
    What each word weighs is counted among what may be found. How a fact compares to
    the best one for that word is bm25, in which the weight of the word in the whole
    index cancels out; a word that very many have counts as there or not there, as
    reading how often and in how long a text takes four times as long.
    """
    if limit <= 0 or not shelf.places:
        return []
    places = " OR ".join(f'"{place}"' for place in shelf.places)
    totals: dict[int, float] = {}
    work = 0
    for term in terms(query):
        if work > MAX_WORK:
            break
        anywhere = f'text : "{term}" *'
        wanted = f"{anywhere} AND place : ({places})"
        having = _having(connection, wanted)
        work += len(having) + _PLACE_WORK * len(shelf.places)
        seen = having if shelf.findable is None else shelf.findable(having)
        if not seen:
            continue
        weight = word_weight(len(seen), max(shelf.size, len(seen)))
        if len(seen) > MAX_COMPARED:
            _add(totals, dict.fromkeys(seen, -weight / 2))
        else:
            # bm25 first counts what has the places, all of it, though that weighs
            # nothing: strangers' matches are compared instead while they are fewer.
            most = len(having) + shelf.size // _COUNTED_TOGETHER
            if _is_rare(connection, anywhere, most):
                wanted = anywhere
            scores = _compared(connection, wanted)
            best = min(scores[number] for number in seen)
            _add(totals, {number: -weight * scores[number] / best for number in seen})
    return _best(totals, limit)


def _having(connection: sa.Connection, wanted: str) -> set[int]:
    found = by_hand.rows(connection, _HAVING, wanted)
    return set(itertools.chain.from_iterable(found))


def _is_rare(connection: sa.Connection, wanted: str, most: int) -> bool:
    [(count,)] = by_hand.rows(connection, _COMMON, wanted, most + 1)
    return bool(count <= most)


def _compared(connection: sa.Connection, wanted: str) -> dict[int, float]:
    """The bm25 of the best piece of each fact that matches."""
    best: dict[int, float] = {}
    for number, score in by_hand.rows(connection, _COMPARED, wanted):
        if score < best.get(number, 0.0):
            best[number] = score
    return best


def _add(totals: dict[int, float], scores: dict[int, float]) -> None:
    known = totals.get
    totals |= (
        {number: known(number, 0.0) + score for number, score in scores.items()}
        if totals
        else scores
    )


def _best(totals: dict[int, float], limit: int) -> Ranked:
    # Finding out how low the last one is costs a fraction of sorting all.
    last = max(heapq.nsmallest(limit, totals.values()), default=0.0)
    fit = [(score, -number) for number, score in totals.items() if score <= last]
    return [
        (-number, min(round(score, SCORE_DIGITS), _WORST))
        for score, number in sorted(fit)[:limit]
    ]


def among(
    column: "sa.ColumnElement[int]", numbers: Collection[int]
) -> "sa.ColumnElement[bool]":
    """Whether a number is one of many, given as one value."""
    listed = sa.func.json_each(json.dumps(list(numbers))).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def word_weight(having: int, among: int) -> float:
    """How much a word tells that so many of so many facts have."""
    return math.log(1 + (among - having + 0.5) / (having + 0.5))


def by_vector(
    connection: sa.Connection, allowed: Ids, vector: bytes, *, limit: int
) -> Ranked:
    """Facts with a vector, the nearest first."""
    if limit <= 0:
        return []
    score = sa.func.vec_distance_l2(facts.c.embedding, vector, type_=sa.Float).label(
        "score"
    )
    found = connection.execute(
        sa.select(facts.c.id, score)
        .where(facts.c.id.in_(allowed), facts.c.embedding.is_not(None))
        .order_by(score, facts.c.id.desc())
        .limit(limit)
    )
    # Single precision may overflow, and infinity has no spelling in JSON.
    return [(number, min(apart, sys.float_info.max)) for number, apart in found]


def fuse(*lists: Ranked) -> Ranked:
    """One list of several by reciprocal rank; a single one as it is (protocol 9)."""
    filled = [ranked for ranked in lists if ranked]
    if len(filled) <= 1:
        return filled[0] if filled else []
    scores: dict[int, float] = {}
    for ranked in filled:
        for number, share in _shares(ranked):
            scores[number] = scores.get(number, 0.0) + share
    return sorted(scores.items(), key=lambda item: -item[1])


def _shares(ranked: Ranked) -> Iterable[tuple[int, float]]:
    for rank, (number, _) in enumerate(ranked, 1):
        yield number, 1 / (FUSION_RANK + rank)
