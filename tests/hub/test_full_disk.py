"""A disk with no room left: blobs and facts are stored whole, or refused and gone."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hub.admin.pruning import Pruner
from hub.store import blobs, search
from hub.store.schema import blobs as blob_table
from hub.store.schema import fact_pieces, facts
from parler.wire.base import Digest, RoomName
from parler.wire.records import Fact, RoomKind, RoomTarget
from parler.wire.replies import (
    BlobIncoming,
    BlobReady,
    BlobStored,
    Error,
    Invited,
    Recalled,
    Remembered,
    Reply,
)
from parler.wire.requests import GetBlob, Invite, PutBlob, Recall, Remember
from tests._support.memory_hub import MemoryHub, Peer, memory_hub

LARGEST_FILE = 2**20
DATA = bytes(range(256)) * 8192
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())


@contextmanager
def no_large_files() -> Iterator[None]:
    """No file of this process may grow beyond a mebibyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_database(hub: MemoryHub, *, pages: int) -> Iterator[None]:
    """The database may grow by so many pages and no further."""
    raw: Any = hub.hub.store._connection.connection.driver_connection
    (held,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {held + pages}")
    try:
        yield
    finally:
        raw.execute("PRAGMA max_page_count = 1073741823")


async def channel(peer: Peer) -> RoomName:
    return (await peer.asks(Invite(kind=RoomKind.CHANNEL), Invited)).room


async def put(peer: Peer, room: RoomName) -> Reply:
    target = RoomTarget(room=room)
    await peer.asks(PutBlob(target=target, sha256=DIGEST, size=len(DATA)), BlobReady)
    peer.says(DATA)
    return await peer.hears(Reply)


async def nothing_of_it_is_left(hub: MemoryHub) -> None:
    known = partial(blobs.is_known, digest=DIGEST)
    assert not await hub.hub.store.read("known", known)
    folder = hub.hub.services.blobs.folder
    assert not folder.exists() or list(folder.iterdir()) == []
    assert hub.hub.services.blobs.reserved == 0


async def fetched(peer: Peer) -> bytes:
    await peer.asks(GetBlob(id=DIGEST), BlobIncoming)
    data = await peer.transport.from_hub.get()
    assert isinstance(data, bytes)
    return data


async def test_a_blob_the_disk_has_no_room_for_leaves_nothing_and_may_come_again(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        room = await channel(ann)
        with no_large_files():
            refused = await put(ann, room)
            assert isinstance(refused, Error)
            assert refused.code == "internal"
            assert str(tmp_path) not in refused.message
            await nothing_of_it_is_left(hub)
        assert isinstance(await put(ann, room), BlobStored)
        assert await fetched(ann) == DATA


async def test_a_blob_the_database_has_no_room_for_leaves_no_file(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        room = await channel(ann)
        with full_database(hub, pages=0):
            await hub.hub.store.write("fill", fill_up_with_rows)
            refused = await put(ann, room)
            assert isinstance(refused, Error)
            await nothing_of_it_is_left(hub)
        assert isinstance(await put(ann, room), BlobStored)
        assert await fetched(ann) == DATA


def fill_up_with_rows(connection: sa.Connection) -> None:
    """Leave no room for another row about a blob."""
    row = {"size": 1, "created": 0}
    for number in range(1000):
        with suppress(sa.exc.OperationalError), connection.begin_nested():
            digest = hashlib.sha256(b"%d" % number).hexdigest()
            connection.execute(sa.insert(blob_table).values(digest=digest, **row))


async def fill(peer: Peer) -> list[str]:
    """Remember until there is no more room, even for little; returns what is kept."""
    kept: list[str] = []
    for size in (3000, 300, 3):
        for number in range(200):
            text = f"fill{size}x{number} " + "y" * size
            peer.says(Remember(fact=Fact(text=text, key=f"{size}-{number}")))
            reply = await peer.hears(Reply)
            if isinstance(reply, Error):
                assert reply.code == "storage_full"
                break
            assert isinstance(reply, Remembered)
            kept.append(text)
        else:
            raise AssertionError("the database never got full")
    return kept


async def test_facts_are_kept_or_refused_and_what_was_kept_is_found(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        with full_database(hub, pages=30):
            kept = await fill(ann)
            assert kept
            for text in kept:
                mark = text.split(" ")[0]
                hits = (await ann.asks(Recall(query=mark), Recalled)).hits
                assert text in [hit.text for hit in hits]
        await ann.asks(Remember(fact=Fact(text="there is room again")), Remembered)
        assert len((await ann.asks(Recall(query="again"), Recalled)).hits) == 1


async def test_a_long_fact_that_does_not_fit_leaves_the_last_one_under_its_key(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        old = Fact(text="old words", key="k")
        await ann.asks(Remember(fact=old), Remembered)
        long = " ".join(f"w{number}" for number in range(20_000))
        assert len(search.pieces(long)) > 3
        new = Remember(fact=Fact(text=long, key="k"))
        room_for_the_text = len(long) // 4096 + 8
        with full_database(hub, pages=room_for_the_text):
            assert await ann.is_refused(new) == "storage_full"
            [hit] = (await ann.asks(Recall(query="", key="k"), Recalled)).hits
            assert hit.text == "old words"
            assert (await ann.asks(Recall(query="w1"), Recalled)).hits == []
        await ann.asks(new, Remembered)
        [hit] = (await ann.asks(Recall(query="w19999"), Recalled)).hits
        assert hit.text == long
        hub.clock.advance(2 * 3600)
        await Pruner(hub.hub.services).tidy()
        for table, count in ((facts, 1), (fact_pieces, len(search.pieces(long)))):
            query = sa.select(sa.func.count()).select_from(table)
            look = partial(sa.Connection.scalar, statement=query)
            assert await hub.hub.store.read("count", look) == count
