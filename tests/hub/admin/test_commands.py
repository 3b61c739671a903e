"""Checking, backing up and restoring a hub's data (`parler hub check|…`)."""

import asyncio
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from hub.admin import commands
from hub.app import Hub
from hub.errors import CannotStart
from hub.store import blobs
from hub.store.rooms import Room
from parler.wire.base import AgentId, Digest
from tests.hub.admin.test_pruning import ANN, hub_with_a_room, say, stored

DATA = b"a blob of the team"
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())


async def put(hub: Hub, room: Room, author: AgentId = ANN) -> None:
    upload = hub.services.blobs.reserve(
        DIGEST, len(DATA), room=room.id, media_type=None, rid=None
    )
    hub.services.blobs.write(upload, DATA)
    await hub.store.write(
        "bind",
        lambda connection: blobs.bind(
            connection,
            DIGEST,
            len(DATA),
            room=room.id,
            author=author,
            media_type=None,
            now=1,
        ),
    )
    upload.release()


async def make(folder: Path, *, count: int = 10) -> Path:
    async with hub_with_a_room(folder) as (hub, room):
        await say(hub, room, count, ts=1)
        await put(hub, room)
    return folder / "hub.sqlite"


def run(
    capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[int, dict[str, object]]:
    status = commands.main([*argv, "--json"], {})
    return status, json.loads(capsys.readouterr().out)


async def test_a_sound_hub_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path)
    assert run(capsys, "check", "--db", str(db), "--deep") == (
        0,
        {"ok": True, "blobs": 1, "problems": []},
    )


async def test_the_check_finds_a_blob_whose_bytes_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path)
    (tmp_path / "hub.sqlite.blobs" / DIGEST).write_bytes(DATA[::-1])
    assert run(capsys, "check", "--db", str(db))[0] == 0
    status, found = run(capsys, "check", "--db", str(db), "--deep")
    assert status == 1
    assert found["problems"] == [f"blob {DIGEST}: has other bytes"]


async def test_the_check_finds_a_blob_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path)
    (tmp_path / "hub.sqlite.blobs" / DIGEST).unlink()
    assert run(capsys, "check", "--db", str(db))[0] == 1


async def test_the_check_finds_a_damaged_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path, count=500)
    raw = bytearray(db.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 4096] = b"\xff" * 4096
    db.write_bytes(raw)
    assert is_unsound(capsys, db)


def is_unsound(capsys: pytest.CaptureFixture[str], db: Path) -> bool:
    try:
        return run(capsys, "check", "--db", str(db))[0] == 1
    except CannotStart:  # damage may be where nothing can be read at all
        return True


async def test_a_backup_under_load_restores_to_what_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, copy = tmp_path / "backup", tmp_path / "elsewhere" / "hub.sqlite"
    async with hub_with_a_room(tmp_path) as (hub, room):
        await say(hub, room, 300, ts=1)
        await put(hub, room)

        async def keep_talking(stop: asyncio.Event) -> None:
            while not stop.is_set():
                await say(hub, room, 5, ts=1)

        async with asyncio.TaskGroup() as group:
            stop = asyncio.Event()
            group.create_task(keep_talking(stop))
            argv = ["backup", str(target), "--db", str(tmp_path / "hub.sqlite")]
            await asyncio.to_thread(commands.main, [*argv, "--json"], {})
            stop.set()
    taken = json.loads(capsys.readouterr().out)
    assert taken["messages"] >= 300
    status, _ = run(capsys, "restore", str(target), "--db", str(copy))
    assert status == 0
    assert run(capsys, "check", "--db", str(copy), "--deep")[0] == 0
    assert run(capsys, "stats", "--db", str(copy))[1]["messages"] == taken["messages"]


async def test_a_running_hub_is_not_overwritten(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        await say(hub, room, 3, ts=1)
        db = str(tmp_path / "hub.sqlite")
        await asyncio.to_thread(
            commands.main, ["backup", str(tmp_path / "b"), "--db", db], {}
        )
        with pytest.raises(CannotStart, match="another hub is using"):
            commands.main(["restore", str(tmp_path / "b"), "--db", db, "--force"], {})
        assert await stored(hub) == [1, 2, 3]


async def test_restoring_keeps_what_was_there_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path)
    run(capsys, "backup", str(tmp_path / "b"), "--db", str(db))
    with pytest.raises(CannotStart, match="--force"):
        commands.main(["restore", str(tmp_path / "b"), "--db", str(db)], {})
    _, done = run(capsys, "restore", str(tmp_path / "b"), "--db", str(db), "--force")
    assert Path(str(done["keptAside"])).is_file()
    assert run(capsys, "check", "--db", str(db), "--deep")[0] == 0


async def test_a_damaged_backup_is_refused_before_anything_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await make(tmp_path)
    run(capsys, "backup", str(tmp_path / "b"), "--db", str(db))
    (tmp_path / "b" / "blobs" / DIGEST).write_bytes(b"other")
    before = db.read_bytes()
    with pytest.raises(CannotStart, match="damaged"):
        commands.main(["restore", str(tmp_path / "b"), "--db", str(db), "--force"], {})
    assert db.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(CannotStart, match="not a Parler hub"):
        commands.main(["check", "--db", str(path)], {})


def restore(db: Path, *more: str) -> int:
    argv = ["restore", str(db.parent / "b"), "--db", str(db), *more]
    return commands.main(argv, {})


async def backed_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    db = await make(folder)
    run(capsys, "backup", str(folder / "b"), "--db", str(db))
    return db


async def test_a_log_without_its_database_is_not_replayed_over_what_is_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await backed_up(tmp_path, capsys)
    wal = db.with_name(db.name + "-wal")
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("DELETE FROM messages")
    connection.commit()
    kept = {part: part.read_bytes() for part in (wal, db.with_name(db.name + "-shm"))}
    connection.close()
    db.unlink()
    for part, content in kept.items():
        part.write_bytes(content)
    assert restore(db) == 0
    capsys.readouterr()
    assert run(capsys, "stats", "--db", str(db))[1]["messages"] == 10
    assert (tmp_path / "hub.sqlite.replaced-1-wal").exists()


async def test_a_blob_folder_without_its_database_does_not_stop_a_restore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = await backed_up(tmp_path, capsys)
    db.unlink()
    assert restore(db) == 0
    capsys.readouterr()
    assert run(capsys, "check", "--db", str(db), "--deep")[0] == 0
    assert (tmp_path / "hub.sqlite.replaced-1.blobs" / DIGEST).exists()


async def test_a_restore_that_fails_leaves_everything_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await backed_up(tmp_path, capsys)
    rename = Path.rename

    def broken(source: Path, target: Path) -> Path:
        if source.name == "hub.sqlite.restoring":
            raise OSError(28, "No space left on device")
        return rename(source, target)

    before = {path for path in tmp_path.rglob("*") if path.suffix != ".lock"}
    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(CannotStart, match="No space left"):
        restore(db, "--force")
    assert {path for path in tmp_path.rglob("*") if path.suffix != ".lock"} == before
    capsys.readouterr()
    assert run(capsys, "check", "--db", str(db), "--deep")[0] == 0


async def test_a_disk_that_is_full_while_restoring_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await backed_up(tmp_path, capsys)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CannotStart, match="No space left"):
        restore(db, "--force")
    assert run(capsys, "check", "--db", str(db), "--deep")[0] == 0
    assert not list(tmp_path.glob("*.restoring"))
