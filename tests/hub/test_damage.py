"""A damaged database: refused at the start, and told plainly when it is met later."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hub.errors import CannotStart
from hub.store import engine
from hub.store.engine import Store
from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT
from tests._support.processes import environment
from tests.conformance.steps import open_room
from tests.hub.admin.test_pruning import hub_with_a_room, say
from tests.hub.conftest import StartHub

HEADER = 100
"""Bytes at the begin of the file, with a counter of changes among them."""

Damage = Callable[[Path], None]


def overwrite(path: Path, *, begin: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(b"\xa5" * (end - begin))


def root_of(path: Path, table: str) -> tuple[int, int]:
    """Where the first page of a table begins and ends in the file."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return (root - 1) * size, root * size


def torn_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def torn_within_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1000)


def without_its_head(path: Path) -> None:
    overwrite(path, begin=0, end=100)


def with_a_page_of_something_else(path: Path) -> None:
    begin, end = root_of(path, "messages")
    overwrite(path, begin=begin, end=end)


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE members")


@pytest.mark.parametrize(
    "damage",
    [
        torn_in_the_middle,
        torn_within_a_page,
        without_its_head,
        with_a_page_of_something_else,
        without_a_table,
    ],
)
async def test_a_hub_does_not_start_on_a_damaged_database(
    tmp_path: Path, damage: Damage
) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        await say(hub, room, 500, ts=1)
    db = tmp_path / "hub.sqlite"
    damage(db)
    before = db.read_bytes()
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hub", "--addr", "127.0.0.1:0", "--db", str(db)],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    for words in ("damaged", f"parler hub check --db {db}", "parler hub restore"):
        assert words in line
    assert db.read_bytes()[HEADER:] == before[HEADER:]


async def test_the_look_for_damage_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        await say(hub, room, 500, ts=1)
    db = tmp_path / "hub.sqlite"
    monkeypatch.setattr(engine, "CHECK_STEPS", 1)
    await Store(db).close()
    assert "takes too long" not in caplog.text
    monkeypatch.setattr(engine, "CHECK_SECS", -1.0)
    await Store(db).close()
    assert "takes too long" in caplog.text


def test_damage_that_is_met_later_is_told_plainly_and_logged_once(
    start_hub: StartHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub = start_hub()
    db = hub.hub.settings.db
    assert db is not None

    async def story() -> list[str]:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            for _ in range(100):
                await ada.send_text(room, "x" * 8000)
            assert (await asyncio.to_thread(hub.get, "/health")).status == 200
            with closing(sqlite3.connect(db)) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            overwrite(db, begin=root_of(db, "messages")[1], end=db.stat().st_size)
            refusals = [
                await ada.expect_error("internal", "pull", room=room, since=0)
                for _ in range(3)
            ]
            return [refusal["message"] for refusal in refusals]

    said = asyncio.run(story())
    assert set(said) == {engine.UNAVAILABLE}
    [told] = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "parler hub check" in told.message
    assert told.exc_info is None
    health = hub.get("/health")
    assert (health.status, health.text) == (503, "the database is damaged\n")


def test_a_sound_database_of_somebody_else_is_not_called_damaged(
    tmp_path: Path,
) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    with pytest.raises(CannotStart) as refused:
        Store(tmp_path / "db")
    assert "damaged" not in str(refused.value)
