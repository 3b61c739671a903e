"""An older database is copied aside, then migrated, or left as it was."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.errors import CannotStart
from hub.store import migrations
from hub.store.engine import Store
from hub.store.schema import SCHEMA_VERSION
from tests._support.old_schemas import make_schema_2


def new_table(connection: sa.Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE news (id INTEGER PRIMARY KEY)")


def fill_table(connection: sa.Connection) -> None:
    connection.exec_driver_sql("INSERT INTO news VALUES (7)")


def broken(connection: sa.Connection) -> None:
    connection.exec_driver_sql("INSERT INTO news VALUES (8)")
    raise ZeroDivisionError


STEPS = [None] * (SCHEMA_VERSION - 1) + [new_table, fill_table]
TARGET = SCHEMA_VERSION + 2


def prepare(path: Path, *, steps: list[object] = STEPS, target: int = TARGET) -> None:  # type: ignore[assignment]
    """Open a database the way a hub with these migrations would."""
    store = Store(path)
    try:
        with store._connection.begin():
            migrations.prepare(
                store._connection,
                backup=store._backup,
                database=path,
                migrations=steps,  # type: ignore[arg-type]
                target=target,
            )
    finally:
        asyncio.run(store.close())


def look(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


VERSION = "SELECT value FROM meta WHERE key = 'schema_version'"


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.schema-{SCHEMA_VERSION}.bak")


def test_an_older_database_is_copied_aside_then_migrated(tmp_path: Path) -> None:
    path = tmp_path / "db"
    prepare(path)
    assert look(path, VERSION) == [(str(TARGET),)]
    assert look(path, "SELECT id FROM news") == [(7,)]
    assert look(backup_of(path), VERSION) == [(str(SCHEMA_VERSION),)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        look(backup_of(path), "SELECT id FROM news")


def test_the_copy_is_nobody_elses_to_read(tmp_path: Path) -> None:
    prepare(tmp_path / "db")
    mode = backup_of(tmp_path / "db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_copy_has_what_was_committed_last(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = Store(path)
    with store._connection.begin():
        store._connection.exec_driver_sql("INSERT INTO meta VALUES ('k', 'late')")
    asyncio.run(store.close())
    prepare(path)
    assert look(backup_of(path), "SELECT value FROM meta WHERE key = 'k'") == [
        ("late",)
    ]


def test_a_failing_migration_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "db"
    steps: list[object] = [*STEPS[:-1], broken]
    with pytest.raises(ZeroDivisionError):
        prepare(path, steps=steps)
    assert look(path, VERSION) == [(str(SCHEMA_VERSION),)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        look(path, "SELECT id FROM news")
    prepare(path)
    assert look(path, "SELECT id FROM news") == [(7,)]


def test_a_database_of_today_is_neither_copied_nor_changed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    prepare(path, target=SCHEMA_VERSION)
    assert not backup_of(path).exists()
    assert look(path, VERSION) == [(str(SCHEMA_VERSION),)]


def test_the_older_program_refuses_the_migrated_database(tmp_path: Path) -> None:
    path = tmp_path / "db"
    prepare(path)
    with pytest.raises(CannotStart, match="newer version"):
        Store(path)
    assert look(path, "SELECT id FROM news") == [(7,)]


def test_there_is_a_migration_for_every_schema_before_todays() -> None:
    assert len(migrations.MIGRATIONS) == SCHEMA_VERSION - 1


def test_facts_of_an_older_database_are_found_by_all_their_words(
    tmp_path: Path,
) -> None:
    path = tmp_path / "db"
    long = " ".join(f"w{number}" for number in range(9_000))
    asyncio.run(Store(path).close())
    with closing(sqlite3.connect(path)) as old, old:
        make_schema_2(old)
        add = "INSERT INTO facts (author, text, ts) VALUES ('A', ?, 0)"
        old.executemany(add, [["short one"], [long]])
    asyncio.run(Store(path).close())
    found = "SELECT rowid >> 12 FROM facts_fts WHERE facts_fts MATCH"
    for word, number in (("short", 1), ("w0", 2), ("w8999", 2)):
        assert look(path, f"{found} '{word}'") == [(number,)]
    counts = "SELECT place, live FROM fact_counts"
    assert look(path, counts) == [("aA", 2)]
    check = "INSERT INTO facts_fts (facts_fts, rank) VALUES ('integrity-check', 1)"
    with closing(sqlite3.connect(path)) as new, new:
        new.execute(check)
        new.execute("DELETE FROM facts")
        new.execute(check)
    assert look(path, counts) == []
