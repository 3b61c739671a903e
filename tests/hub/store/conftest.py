"""A database file with the schema, used by one transaction of the test itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.store.engine import Store


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sa.Connection]:
    store = Store(tmp_path / "hub.sqlite")
    try:
        with store._connection.begin():
            yield store._connection
    finally:
        asyncio.run(store.close())
