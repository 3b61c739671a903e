"""A copy of a running hub's database is whole, and its owner's alone."""

import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.admin import commands
from hub.store.sqlite import inspect


def test_a_copy_is_consistent_and_nobody_elses_to_read(
    db: sa.Connection, tmp_path: Path
) -> None:
    db.exec_driver_sql("INSERT INTO meta VALUES ('k', 'on its way')")
    with inspect.opened(tmp_path / "hub.sqlite") as connection:
        inspect.snapshot(connection, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    with inspect.opened(tmp_path / "copy") as copy:
        assert inspect.problems(copy) == []
        assert copy.execute("SELECT * FROM meta WHERE key = 'k'").fetchall() == []


def test_a_backup_is_nobody_elses_to_read(
    db: sa.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "backup"
    database = str(tmp_path / "hub.sqlite")
    assert commands.main(["backup", "--db", database, str(target)]) == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    for file in target.rglob("*"):
        assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
    assert sqlite3.connect(target / "hub.sqlite").close() is None
