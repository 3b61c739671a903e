"""The store: whose it is, and what becomes of one that is not."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from parler.errors import ConfigError, IdentityError
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
