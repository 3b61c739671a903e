"""Running statements that are written by hand.

SQLAlchemy takes 50 to 200 us to make a statement, to look it up and to bind its values,
where SQLite takes 4 to find a row by its key. So a statement is text, beside the
function that runs it, if nearly every request of some kind runs it; all of them are
run here, and only here and in `engine` the driver is called. They are written in what
SQLite and PostgreSQL both know, with ``?`` for a value: another driver's mark for it is
put in here. What only SQLite knows is in `search`, and says so where it is elsewhere.
Every other statement is SQLAlchemy's, so that nobody reads two languages for nothing.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def rows(
    connection: sa.Connection, statement: str, *values: Any
) -> list[tuple[Any, ...]]:
    """Run a statement; returns all of its rows, as the driver has them."""
    found: list[tuple[Any, ...]] = (
        driver(connection).execute(statement, values).fetchall()
    )
    return found


def row(
    connection: sa.Connection, statement: str, *values: Any
) -> tuple[Any, ...] | None:
    """Run a statement that finds one row at most."""
    found = rows(connection, statement, *values)
    return found[0] if found else None


def run_each(
    connection: sa.Connection, statement: str, values: Sequence[tuple[Any, ...]]
) -> int:
    """Run a statement with each of many values; returns how many rows it changed."""
    changed: int = driver(connection).executemany(statement, values).rowcount
    return changed


def driver(connection: sa.Connection) -> Any:
    """The connection as the driver knows it."""
    return connection.connection.driver_connection
