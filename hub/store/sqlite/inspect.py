"""Looking at a hub's database from outside, while a hub may be using it.

Opens the file read-only and apart from the hub's own engine; used by the operator's
commands in `hub.admin.commands`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hub.errors import CannotStart
from hub.store.schema import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob the database knows: its digest and its size in bytes."""

    digest: str
    size: int


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a hub's database.

    Raises:
        CannotStart: There is no such database, or it is not a hub's.
    """
    if not path.is_file():
        raise CannotStart(f"there is no database {path}")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        schema_of(connection)
        yield connection
    except sqlite3.DatabaseError as error:
        raise CannotStart(f"{path} cannot be read: {error}") from None
    finally:
        connection.close()


def schema_of(connection: sqlite3.Connection) -> int:
    """The schema a database has.

    Raises:
        CannotStart: It is not a hub's.
    """
    try:
        row = connection.execute(
            "SELECT value FROM meta WHERE key = 'schema_version'"
        ).fetchone()
    except sqlite3.OperationalError:
        row = None
    if row is None:
        raise CannotStart("that database is not a Parler hub's")
    return int(row[0])


def problems(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with a database; nothing if it is sound."""
    found = [
        f"integrity: {row[0]}"
        for row in connection.execute("PRAGMA integrity_check(20)")
        if row[0] != "ok"
    ]
    schema = schema_of(connection)
    if schema > SCHEMA_VERSION:
        found.append(f"schema {schema} is newer than this program's {SCHEMA_VERSION}")
    for table in ("members", "messages", "invites", "join_requests", "blob_rooms"):
        orphans = connection.execute(
            f"SELECT count(*) FROM {table} "  # noqa: S608  (a name from above)
            "WHERE room NOT IN (SELECT id FROM rooms)"
        ).fetchone()[0]
        if orphans:
            found.append(f"{orphans} rows of {table} belong to no room")
    return found


def known_blobs(connection: sqlite3.Connection) -> list[BlobRow]:
    """Every blob the database knows."""
    rows = connection.execute("SELECT digest, size FROM blobs ORDER BY digest")
    return [BlobRow(*row) for row in rows]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How much there is of everything."""
    names = ("agents", "rooms", "members", "messages", "invites", "facts", "blobs")
    return {
        name: connection.execute(
            f"SELECT count(*) FROM {name}"  # noqa: S608  (a name from above)
        ).fetchone()[0]
        for name in names
    }


def snapshot(connection: sqlite3.Connection, target: Path) -> None:
    """Write a consistent copy of the database, also while it is written to."""
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy, pages=1000)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()


def skip_numbers(database: Path, count: int) -> None:
    """Let the next message of a copy have a number that none had before it.

    What was said after the copy was made had the numbers that follow, and agents that
    read it may still acknowledge them: no new message may be taken for one of those.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        known = connection.execute(
            "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'messages'", (count,)
        )
        if known.rowcount == 0:
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)",
                (count,),
            )


def forget_blobs(database: Path, digests: list[str]) -> None:
    """Drop blobs from a copy of a database, because their bytes are gone."""
    connection = sqlite3.connect(database)
    try:
        with connection:
            for table in ("blob_rooms", "blobs"):
                connection.executemany(
                    f"DELETE FROM {table} WHERE digest = ?",  # noqa: S608
                    [(digest,) for digest in digests],
                )
    finally:
        connection.close()
