"""What uploads may not leave behind on the disk, nor a hub (protocol 8)."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from hub.admin.pruning import Pruner
from hub.app import Hub
from hub.store import blobs
from parler.wire.base import Digest
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import BlobReady, Invited
from parler.wire.requests import Invite, PutBlob
from tests._support.memory_hub import MemoryHub, Peer, hub_settings, memory_hub, until
from tests._support.polling import WAIT
from tests._support.processes import environment
from tests.hub.admin.test_pruning import ANN, hub_with_a_room

DATA = b"bytes of somebody who hangs up"
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())


async def announced(peer: Peer) -> None:
    room = await peer.asks(Invite(kind=RoomKind.CHANNEL), Invited)
    target = RoomTarget(room=room.room)
    await peer.asks(PutBlob(target=target, sha256=DIGEST, size=len(DATA)), BlobReady)


async def is_known(running: MemoryHub) -> bool:
    look = partial(blobs.is_known, digest=DIGEST)
    return await running.hub.store.read("look", look)


async def test_a_peer_that_hangs_up_while_its_blob_is_written_leaves_no_file_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go = threading.Event(), threading.Event()
    sync = os.fsync

    def slow_sync(handle: int) -> None:
        writing.set()
        assert go.wait(WAIT)
        sync(handle)

    monkeypatch.setattr(os, "fsync", slow_sync)
    async with memory_hub(tmp_path) as running:
        peer = await running.sign_in()
        await announced(peer)
        peer.says(DATA)
        assert await asyncio.to_thread(writing.wait, WAIT)
        peer.hangs_up()
        await until(running.tasks[0].done)
        go.set()
        services = running.hub.services
        await until(services.blobs.path(DIGEST).exists)
        async with asyncio.timeout(WAIT), services.blob_changes:
            assert await is_known(running), "it is on disk, so the budget counts it"
        assert services.blobs.reserved == 0


def leave_behind(folder: Path, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / hashlib.sha256(data).hexdigest()
    file.write_bytes(data)
    return file


async def put(hub: Hub, room: int, data: bytes) -> Path:
    file = leave_behind(hub.services.blobs.folder, data)
    await hub.store.write(
        "bind",
        lambda connection: blobs.bind(
            connection,
            Digest(file.name),
            len(data),
            room=room,
            author=ANN,
            media_type=None,
            now=1,
        ),
    )
    return file


async def test_files_the_database_does_not_know_do_not_outlive_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        known = await put(hub, room.id, b"known")
        unknown = [
            leave_behind(known.parent, number.to_bytes(2, "big"))
            for number in range(450)
        ]
        other = known.parent / "README"
        other.write_text("not a blob", encoding="utf-8")
        async with asyncio.TaskGroup() as group:
            tidying = group.create_task(hub.tidy_up())
            await until(lambda: "dropped 450 blobs" in caplog.text)
            tidying.cancel()
        assert not any(file.exists() for file in unknown)
        assert known.exists()
        assert other.exists()


async def test_a_hub_without_a_database_deletes_nobodys_blobs(tmp_path: Path) -> None:
    file = leave_behind(tmp_path / "blobs", b"of another hub")
    async with memory_hub(tmp_path, db=None, blob_dir=file.parent) as running:
        await Pruner(running.hub.services).drop_unknown_blobs()
    assert file.exists()


def test_a_hub_without_a_database_leaves_no_folder_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "--addr", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment(tmp_path, TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert b"up" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert list(tmp_path.glob("parler-hub-*")) == []


def test_a_hub_with_a_database_keeps_its_blob_folder(tmp_path: Path) -> None:
    hub = Hub(hub_settings(tmp_path))
    file = leave_behind(hub.services.blobs.folder, b"x")
    asyncio.run(hub.store.close())
    del hub
    assert file.exists()
