"""Files of sealed rooms at the real hub."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from parler.errors import HubError
from parler.sealed import files
from parler.sealed.blobs import MAX_FILE_BYTES
from parler.sealed.formats import Refused, b64
from parler.wire.base import RoomName
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import Invited
from parler.wire.requests import Invite
from tests._support.actors import stage

SIZES = (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 300_000)
FILE = {"kind": "com.parler.file", "name": "x", "mediaType": "text/plain"}


async def test_a_file_comes_back_as_it_was_and_changed_not_at_all(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        home = tmp_path / "ann"
        ann = await place.enter("ann", home=home)
        room = (await ann.client.request(Invite(kind=RoomKind.CHANNEL), Invited)).room
        target = RoomTarget(room)
        before = sorted(home.rglob("*"))
        parts: list[dict[str, Any]] = []
        for size in SIZES:
            data = secrets.token_bytes(size)
            path = tmp_path / "plain"
            path.write_bytes(data)
            one, other = [
                await files.upload(ann.client, target, source, folder=home)
                for source in (data, path)
            ]
            assert one.blob != other.blob, "that it was sent twice does not show"
            for uploaded in (one, other):
                part = uploaded.announced(FILE)
                blob = await files.download(ann.client, part)
                assert (blob.data, blob.media_type) == (data, "text/plain")
            parts.append(part)
        *_, small, large = parts
        key = {"v": 1, "key": b64(bytes(32))}
        for changed in (
            large | {"seal": small["seal"]},
            large | {"blob": small["blob"]},
            large | {"size": large["size"] - 1},
            large | {"size": 2**52},
            large | {"seal": key | {"v": 2}},
            large | {"seal": {"v": 1}},
            {k: v for k, v in large.items() if k != "seal"},
        ):
            with pytest.raises(Refused):
                await files.download(ann.client, changed)
        assert sorted(home.rglob("*")) == before


async def test_what_is_not_uploaded_leaves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as place:
        home = tmp_path / "ann"
        ann = await place.enter("ann", home=home)
        before = sorted(home.rglob("*"))
        target = RoomTarget(RoomName("room.nobody"))
        with pytest.raises(HubError):
            await files.upload(ann.client, target, b"x" * 300_000, folder=home)
        large = b"x" * (MAX_FILE_BYTES + 1)
        with pytest.raises(ValueError, match="at most"):
            await files.upload(ann.client, target, large, folder=home)
        assert sorted(home.rglob("*")) == before
