"""Processes that die: whenever it is, nothing is lost, and nothing is said twice."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from parler.sealed.changes import Admit, Rekey, Remove
from parler.sealed.store import FILE_NAME, Phase, Store, open_store
from tests._support.sealed_rooms import OneRoom, Person


class Killed(BaseException):
    """The process is no more."""


class Mortal(sqlite3.Connection):
    """A connection of a process that dies before its n-th statement.

    What is not committed then is gone, as if the system had taken the process away.
    """

    statements = 0
    dies_at = 0

    def _step(self) -> None:
        self.statements += 1
        if self.dies_at and self.statements >= self.dies_at:
            raise Killed

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._step()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._step()
        return super().executemany(*args)


def mortal_store(path: Path, dies_at: int = 0) -> tuple[Store, Mortal]:
    open_store(path).close()
    database = sqlite3.connect(path, isolation_level=None, factory=Mortal)
    database.execute("PRAGMA synchronous = OFF")  # the process dies, not the machine
    database.statements = 0
    database.dies_at = dies_at
    return Store(database), database


def live(ann: Person, others: list[Person]) -> None:
    """A story that goes on where an earlier life of it ended."""
    bob, cid = others
    with ann.room() as room:
        begun = room.phase is not Phase.EXPECTED
    if not begun:
        ann.send(ann.member.open())
    ann.finish()
    ann.sync()
    with ann.room() as room:
        current = room.current()
        assert current is not None
        members, epoch = len(current.state.members), current.state.epoch
    if members == 1 and epoch == 1:
        ann.change(Admit(agent=bob.id))
        ann.change(Admit(agent=cid.id))
    if epoch == 1:
        ann.say("before")
        ann.change(Rekey())
    if epoch < 3:
        ann.change(Remove(agent=cid.id))
    ann.say("after")


def judge(ann: Person, bob: Person, hub: OneRoom) -> None:
    """Nothing that the hub has is lost, and nothing was said twice."""
    assert ann.member.outgoing() is None
    assert ann.alarms == []
    assert bob.enter()
    assert bob.alarms == []
    assert bob.texts == ann.texts
    assert ann.texts[-1] == "after"
    with ann.room() as room:
        assert [entry.message.id for entry in room.entries()] == [
            message.id for message in hub.messages
        ]


def test_a_crash_before_any_statement_loses_and_repeats_nothing(tmp_path: Path) -> None:
    store, database = mortal_store(tmp_path / FILE_NAME)
    hub = OneRoom()
    people = [Person(2, hub), Person(3, hub)]
    with closing(store):
        ann = Person(1, hub, store)
        live(ann, people)
        total = database.statements
        judge(ann, people[0], hub)
    assert total > 300
    for number in range(1, total):
        path, hub = tmp_path / f"{number}" / FILE_NAME, OneRoom()
        store, database = mortal_store(path, number)
        with closing(store), pytest.raises(Killed):
            live(Person(1, hub, store), people)
        with closing(mortal_store(path)[0]) as again:
            ann, bob = Person(1, hub, again), Person(2, hub)
            live(ann, [bob, people[1]])
            judge(ann, bob, hub)
