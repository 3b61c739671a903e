"""A real store, driven one transaction after the other without a loop in the test."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from hub.store.agents import Greeting, greet_all
from hub.store.engine import Store
from parler.wire.base import AgentId
from tests._support.polling import WAIT

T = TypeVar("T")


class OpenStore:
    """A running store; writes go through its writer, reads through its readers."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        self._store = store
        self._runner = runner

    def write(self, run: Callable[[sa.Connection], T]) -> T:
        """One transaction, on disk when this returns."""

        async def bounded() -> T:
            return await asyncio.wait_for(self._store.write("test", run), WAIT)

        return self._runner.run(bounded())

    def read(self, run: Callable[[sa.Connection], T]) -> T:
        """One query."""

        async def bounded() -> T:
            return await asyncio.wait_for(self._store.read("test", run), WAIT)

        return self._runner.run(bounded())


@contextmanager
def open_store(path: Path) -> Iterator[OpenStore]:
    """A store on a database file, new or not."""
    with asyncio.Runner() as runner:

        async def start() -> Store:
            store = Store(path)
            store.start()
            return store

        store = runner.run(start())
        try:
            yield OpenStore(store, runner)
        finally:
            runner.run(store.close())


def greet(
    connection: sa.Connection,
    agent: AgentId,
    name: str,
    role: str | None,
    *,
    now: int,
) -> None:
    """Note that one agent connected."""
    greet_all(connection, [Greeting(agent=agent, name=name, role=role, now=now)])
