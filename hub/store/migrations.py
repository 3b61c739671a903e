"""Bringing a database to the schema this code expects, or refusing to touch it.

The database carries two numbers: the schema it has, and the oldest schema whose code
may still open it. A newer database is refused, an older one is copied aside first.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa

from hub.errors import CannotStart
from hub.store import admission, directory, search
from hub.store.schema import (
    SCHEMA_VERSION,
    directory_name,
    fact_counts,
    fact_pieces,
    facts_state,
    former_members,
    messages_in_service,
    messages_requester,
    meta,
    metadata,
)

Migration = Callable[[sa.Connection], None]


def _remember_former_members(connection: sa.Connection) -> None:
    former_members.create(connection)


def _index_facts_in_pieces(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "ALTER TABLE facts ADD COLUMN state INTEGER NOT NULL DEFAULT 0"
    )
    facts_state.create(connection)
    fact_pieces.create(connection)
    search.index_in_pieces(connection)


def _know_who_was_admitted(connection: sa.Connection) -> None:
    for table, column in (
        ("rooms", "open BOOLEAN NOT NULL DEFAULT 0"),
        ("members", "approved BOOLEAN NOT NULL DEFAULT 0"),
        ("members", "guest BOOLEAN NOT NULL DEFAULT 0"),
        ("messages", "requester TEXT"),
        ("service_workers", "admitted BOOLEAN NOT NULL DEFAULT 0"),
        ("directory", "name TEXT NOT NULL DEFAULT ''"),
    ):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    for index in (messages_requester, messages_in_service, directory_name):
        index.create(connection)
    admission.note_what_was(connection)
    directory.note_names(connection)


def _count_facts(connection: sa.Connection) -> None:
    fact_counts.create(connection)
    search.count_facts(connection)


MIGRATIONS: Sequence[Migration] = (
    _remember_former_members,
    _index_facts_in_pieces,
    _know_who_was_admitted,
    _count_facts,
)
"""``MIGRATIONS[n]`` takes schema n + 1 to n + 2. Steps are only ever appended."""


def prepare(
    connection: sa.Connection,
    *,
    backup: Callable[[Path], None],
    database: Path | None,
    migrations: Sequence[Migration] = MIGRATIONS,
    target: int = SCHEMA_VERSION,
) -> None:
    """Create the schema, or migrate an older one, inside the caller's transaction.

    Args:
        backup: Writes a consistent copy of the database to a path.
        database: Where the database is; None in memory.

    Raises:
        CannotStart: The database is from newer code, or is not a hub's.
    """
    found = _version(connection)
    if found is None:
        metadata.create_all(connection)
        search.create_index(connection)
        search.count_facts(connection)
        connection.execute(
            sa.insert(meta).values(key="schema_version", value=str(target))
        )
        return
    if found > target:
        raise CannotStart(
            f"the database is of schema {found}, this hub knows {target}: it was "
            "written by a newer version; upgrade parler, nothing was changed"
        )
    if found < target:
        if database is not None:
            backup(database.with_name(f"{database.name}.schema-{found}.bak"))
        for step in migrations[found - 1 : target - 1]:
            step(connection)
        connection.execute(
            sa.update(meta)
            .where(meta.c.key == "schema_version")
            .values(value=str(target))
        )


def missing(connection: sa.Connection) -> list[str]:
    """The tables that a database of today's schema lacks."""
    there = set(sa.inspect(connection).get_table_names())
    return sorted(set(metadata.tables) - there)


def _version(connection: sa.Connection) -> int | None:
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "meta" not in tables:
        raise CannotStart("the database is not a Parler hub's; nothing was changed")
    value = connection.execute(
        sa.select(meta.c.value).where(meta.c.key == "schema_version")
    ).scalar_one_or_none()
    if value is None or not value.isdigit():
        raise CannotStart("the database does not say which schema it has")
    return int(value)
