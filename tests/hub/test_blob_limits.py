"""What uploads may take of a hub: awaited bytes, time, disk, how often (8.1, 13.8)."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from hub.handlers import caller
from parler.wire.base import Code, Digest, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import BlobReady, BlobStored, Invited, Joined, RoomDeleted
from parler.wire.requests import DeleteRoom, Invite, PutBlob, Redeem
from tests._support.memory_hub import Peer, memory_hub, until


def put(room: RoomName, data: bytes, **fields: Any) -> PutBlob:
    digest = Digest(hashlib.sha256(data).hexdigest())
    given = {"sha256": digest, "size": len(data)} | fields
    return PutBlob(target=RoomTarget(room=room), **given)


async def upload(peer: Peer, room: RoomName, data: bytes) -> None:
    await peer.asks(put(room, data), BlobReady)
    peer.says(data)
    await peer.hears(BlobStored)


async def opened(peer: Peer, *others: Peer) -> RoomName:
    invited = await peer.asks(Invite(kind=RoomKind.CHANNEL), Invited)
    for other in others:
        await other.asks(Redeem(code=Code(invited.code)), Joined)
    return invited.room


async def test_an_upload_holds_as_many_bytes_as_it_has_and_no_more(
    tmp_path: Path,
) -> None:
    """Two idle connections must not keep everybody from uploading (13.8)."""
    async with memory_hub(tmp_path, max_inflight_blob_bytes=100) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        room = await opened(ann, bob)
        await ann.asks(put(room, b"x" * 60), BlobReady)
        await upload(bob, room, b"y" * 40)
        refused = await bob.is_refused(put(room, b"z" * 41))
        assert refused == ErrorCode.AT_CAPACITY
        await ann.asks(put(room, b"x" * 40), BlobReady)  # in place of the first
        assert running.hub.services.blobs.reserved == 40


async def test_who_goes_away_gives_back_what_was_reserved(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_inflight_blob_bytes=100) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        room = await opened(ann, bob)
        await ann.asks(put(room, b"x" * 100), BlobReady)
        ann.hangs_up()
        await until(lambda: running.hub.services.blobs.reserved == 0)
        await upload(bob, room, b"y" * 100)


async def test_bytes_that_do_not_come_in_time_are_waited_for_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "UPLOAD_GRACE_SECS", 0.01)
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        room = await opened(ann)
        await ann.asks(put(room, b"late"), BlobReady)
        await until(lambda: running.hub.services.blobs.reserved == 0)
        assert await ann.is_refused(b"late") == ErrorCode.TIMEOUT
        assert not list((tmp_path / "hub.sqlite.blobs").glob("*"))


async def test_a_large_upload_has_time_by_its_size() -> None:
    assert caller.UPLOAD_GRACE_SECS >= 15
    assert 25 * 2**20 / caller.UPLOAD_MIN_RATE >= 300


async def test_the_disk_budget_counts_a_blob_once_however_often_it_comes(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, max_blob_dir_bytes=100) as running:
        ann = await running.sign_in("ann")
        one, other = await opened(ann), await opened(ann)
        for room in (one, one, other):
            await upload(ann, room, b"x" * 60)
        refused = await ann.is_refused(put(one, b"y" * 41))
        assert refused == ErrorCode.STORAGE_FULL
        await upload(ann, one, b"y" * 40)


async def test_a_room_that_is_deleted_frees_what_only_it_had(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_blob_dir_bytes=100) as running:
        ann = await running.sign_in("ann")
        one, other = await opened(ann), await opened(ann)
        await upload(ann, one, b"x" * 60)
        await upload(ann, other, b"y" * 40)
        await ann.asks(DeleteRoom(room=one), RoomDeleted)
        bytes_of_it = tmp_path / "hub.sqlite.blobs" / put(one, b"x" * 60).sha256
        await until(lambda: not bytes_of_it.exists())
        await upload(ann, other, b"z" * 60)


async def test_uploads_are_counted_per_agent_and_per_room(tmp_path: Path) -> None:
    async with memory_hub(
        tmp_path, max_blobs_per_hour=3, max_room_blobs_per_hour=4
    ) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        room = await opened(ann, bob)
        for number in range(3):
            await upload(ann, room, bytes([number]))
        assert await ann.is_refused(put(room, b"x")) == ErrorCode.RATE_LIMITED
        await upload(bob, room, b"bob")
        assert await bob.is_refused(put(room, b"x")) == ErrorCode.RATE_LIMITED
        await upload(bob, await opened(bob), b"elsewhere")
