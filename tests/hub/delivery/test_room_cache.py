"""Rooms in memory are never older than what the hub last said, and are bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.delivery import room_cache
from hub.delivery.room_cache import RoomCache
from hub.store import members, rooms
from hub.store.engine import Store
from hub.store.rooms import Room
from parler.wire.base import AgentId, RoomName
from parler.wire.records import RoomKind

ANN, BOB = AgentId("ANN"), AgentId("BOB")
DEN = RoomName("den")


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[tuple[Store, RoomCache]]:
    store = Store(tmp_path / "db")
    store.start()
    try:
        yield store, RoomCache(store)
    finally:
        await store.close()


async def make(store: Store, name: RoomName, *agents: AgentId) -> Room:
    def run(connection: sa.Connection) -> Room:
        room = rooms.create(
            connection, name, RoomKind.CHANNEL, owner=ANN, gated=False, now=1
        )
        for agent in agents:
            members.add(connection, room.id, agent, now=1)
        return room

    return await store.write("make", run)


async def test_an_unknown_room_is_none_and_not_remembered(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, live):
        assert await live.get(DEN) is None
        await make(store, DEN, ANN)
        found = await live.get(DEN)
        assert found is not None
        assert found.members == {ANN}


async def test_changes_that_were_committed_are_applied(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, live):
        room = await make(store, DEN, ANN)
        live.joined(room, BOB)  # not loaded yet: the load will see it
        found = await live.get(DEN)
        assert found is not None
        assert found.members == {ANN}
        live.joined(room, BOB)
        live.left(room, ANN)
        assert (await live.get(DEN)) is found
        assert found.members == {BOB}
        live.deleted(room)
        live.deleted(room)
        live.left(room, BOB)
        assert (await live.get(DEN)) is not found


async def test_two_who_load_at_once_share_one_room(tmp_path: Path) -> None:
    """A second copy would miss a removal and push to a removed member."""
    async with running(tmp_path) as (store, live):
        await make(store, DEN, ANN, BOB)
        one, two = await asyncio.gather(live.get(DEN), live.get(DEN))
        assert one is two is await live.get(DEN)


async def test_the_room_used_longest_ago_is_dropped_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_cache, "MAX_ROOMS", 2)
    async with running(tmp_path) as (store, live):
        names = [RoomName(name) for name in ("a", "b", "c")]
        for name in names:
            await make(store, name, ANN)
        await live.get(names[0])
        await live.get(names[1])
        await live.get(names[0])
        await live.get(names[2])
        assert set(live._rooms) == {"a", "c"}
