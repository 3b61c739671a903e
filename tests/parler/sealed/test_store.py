"""The store: whose it is, and what becomes of one that is not."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from parler.errors import ConfigError, IdentityError
from parler.sealed.changes import Admit
from parler.sealed.store import FILE_NAME, Phase, open_store
from tests._support.sealed_rooms import HUB, ROOM, OneRoom, Person


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


def test_a_store_of_a_newer_program_is_named_and_left(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    open_store(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="a newer program made it"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_damaged_store_is_kept_aside_and_filled_anew(tmp_path: Path) -> None:
    path, hub = tmp_path / FILE_NAME, OneRoom()
    ann = Person(1, hub)
    ann.open()
    with closing(open_store(path)) as store:
        bob = Person(2, hub, store)
        ann.change(Admit(agent=bob.id))
        bob.enter()
        ann.say("Zauberwort")
        bob.say("two")
        assert store.damaged == []
    damaged = b"no database" * 1000
    path.write_bytes(damaged)
    with closing(open_store(path)) as store:
        [aside] = store.damaged
        assert aside.read_bytes() == damaged
        bob = Person(2, hub, store)
        assert bob.enter()
        bob.say("three")
        ann.sync()
        assert ann.texts == bob.texts == ["Zauberwort", "two", "three"]
        assert ann.alarms == bob.alarms == []
        with closing(open_store(path)) as again:
            assert again.names(HUB) == {ROOM: Phase.READING}


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
