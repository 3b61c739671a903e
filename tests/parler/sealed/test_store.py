"""The store: whose it is, what a crash leaves, and what several processes do to it."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from parler.errors import ConfigError, IdentityError
from parler.sealed.changes import Admit, Rekey, Remove
from parler.sealed.store import FILE_NAME, Phase, Store, open_store
from tests._support.sealed_rooms import HUB, ROOM, OneRoom, Person

CRASHES = 20
"""Of all the statements of a story, so many are the last one of a process."""


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
    for number in range(1, total, max(1, total // CRASHES)):
        path, hub = tmp_path / f"{number}" / FILE_NAME, OneRoom()
        store, database = mortal_store(path, number)
        with closing(store), pytest.raises(Killed):
            live(Person(1, hub, store), people)
        with closing(mortal_store(path)[0]) as again:
            ann, bob = Person(1, hub, again), Person(2, hub)
            live(ann, [bob, people[1]])
            judge(ann, bob, hub)


def test_others_may_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    open_store(path).close()
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        with pytest.raises(IdentityError, match="other users may read it"):
            open_store(path)
        path.chmod(0o600)
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigError, match=FILE_NAME):
            open_store(path)


@pytest.mark.parametrize("what", ["damaged", "newer"])
def test_what_is_no_store_of_ours_is_named_and_left(tmp_path: Path, what: str) -> None:
    path = tmp_path / FILE_NAME
    if what == "damaged":
        path.write_bytes(b"no database" * 1000)
        path.chmod(0o600)
    else:
        open_store(path).close()
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=FILE_NAME):
        open_store(path)
    assert path.read_bytes() == before


def test_forgetting_a_room_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with closing(open_store(path)) as store:
        ann = Person(1, OneRoom(), store)
        ann.open()
        ann.say("Zauberwort")
        with ann.room() as room:
            (key,) = room.epoch_keys().values()
        assert store.names(HUB) == {ROOM: Phase.READING}
        store.forget(HUB, ROOM)
        assert store.names(HUB) == {}
    left = path.read_bytes()
    assert b"Zauberwort" not in left
    assert bytes(key) not in left
