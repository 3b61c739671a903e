"""Finding facts by words and by vectors: what a database of each kind does its own way.

For SQLite that is an FTS5 index over the text of `facts`, kept by triggers inside the
transaction that writes a fact, and the distance function ``vec_distance_l2``: that of
sqlite-vec where the interpreter can load it, else one in Python. What may be found at
all is the caller's to say, and is applied before anything is ranked or cut off.
"""

import functools
import importlib
import math
import re
import sqlite3
import struct
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from hub.store.schema import facts
from parler.wire.limits import EMBEDDING_DIMENSIONS

MAX_TERMS = 64
"""Different words of a query that are looked for; a longer one is cut there."""

FUSION_RANK = 60
"""What keeps the first places of one list from outweighing the other (protocol 9)."""

Ids = sa.Select[int] | sa.CompoundSelect[int]
"""Which facts may be found: a query for their numbers."""

Ranked = list[tuple[int, float]]
"""Numbers of facts with their scores, best first."""

_FLOATS = struct.Struct(f"<{EMBEDDING_DIMENSIONS}f")
_WORDS = re.compile(r"[^\W_]+")

_INDEX = (
    "CREATE VIRTUAL TABLE facts_fts USING fts5("
    "text, content='facts', content_rowid='id', tokenize='unicode61')",
    "CREATE TRIGGER facts_fts_insert AFTER INSERT ON facts BEGIN "
    "INSERT INTO facts_fts (rowid, text) VALUES (new.id, new.text); END",
    "CREATE TRIGGER facts_fts_delete AFTER DELETE ON facts BEGIN "
    "INSERT INTO facts_fts (facts_fts, rowid, text) "
    "VALUES ('delete', old.id, old.text); END",
    "CREATE TRIGGER facts_fts_update AFTER UPDATE OF text ON facts BEGIN "
    "INSERT INTO facts_fts (facts_fts, rowid, text) "
    "VALUES ('delete', old.id, old.text); "
    "INSERT INTO facts_fts (rowid, text) VALUES (new.id, new.text); END",
)


def create_index(connection: sa.Connection) -> None:
    """Create what indexes the facts of a new database."""
    for statement in _INDEX:
        connection.exec_driver_sql(statement)


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


def by_text(
    connection: sa.Connection, allowed: Ids, query: str, *, limit: int
) -> Ranked:
    """Facts with words that begin like one of the query's, by bm25."""
    wanted = terms(query)
    if not wanted or limit <= 0:
        return []
    # The plus keeps the index of words the outer loop: asked about one fact at a time
    # it would rank its whole content each time.
    found = connection.execute(
        sa.select(
            sa.literal_column("facts_fts.rowid", sa.Integer).label("id"),
            sa.literal_column("bm25(facts_fts)", sa.Float).label("score"),
        )
        .select_from(sa.table("facts_fts"))
        .where(
            sa.text("facts_fts MATCH :words"),
            sa.literal_column("+facts_fts.rowid", sa.Integer).in_(allowed),
        )
        .order_by(sa.text("score, id DESC"))
        .limit(limit),
        {"words": " OR ".join(f'"{term}"*' for term in wanted)},
    )
    return [(number, score) for number, score in found]


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
