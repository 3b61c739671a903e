"""Counting messages and tokens: each message once, and true after pruning."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa

from hub.http.counts import FRESH_SECS, KEPT_EVERY, HubCounts, RoomCounts
from hub.store.engine import Store
from hub.store.schema import messages
from hub.store.viewer import COUNTED_AT_ONCE
from tests._support.polling import WAIT


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def with_store(path: Path, story: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = Store(path)
        store.start()
        try:
            async with asyncio.timeout(WAIT):
                await story(store)
        finally:
            await store.close()

    asyncio.run(run())


async def say(store: Store, room: int, count: int, *, name: str = "ada") -> None:
    record = json.dumps(
        {
            "id": "m",
            "room": "r",
            "from": {"id": "U", "name": name},
            "parts": [{"kind": "text", "text": "abcd"}],
            "ts": 7,
        }
    )
    row = {"room": room, "id": "m", "author": "U", "ts": 7, "record": record}
    await store.write(
        "say",
        lambda connection: (
            connection.execute(sa.insert(messages), [row] * count).rowcount
        ),
    )


async def prune(store: Store, *, below: int) -> None:
    await store.write(
        "prune",
        lambda connection: (
            connection.execute(
                sa.delete(messages).where(messages.c.seq < below)
            ).rowcount
        ),
    )


def test_room_is_counted_in_full_however_long(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        count = 2 * COUNTED_AT_ONCE + 1
        await say(store, 1, count)
        await say(store, 2, 5)
        counted = await RoomCounts(store).current(1)
        assert (counted.messages, counted.tokens) == (count, count)
        assert counted.authors == {("ada", None): (count, count)}

    with_store(tmp_path / "hub.sqlite", story)


def test_room_count_follows_new_and_pruned_messages(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        counts = RoomCounts(store)
        assert (await counts.current(1)).messages == 0
        await say(store, 1, 3)
        assert (await counts.current(1)).messages == 3
        await say(store, 1, 2, name="bob")
        assert (await counts.current(1)).messages == 5
        await prune(store, below=4)
        pruned = await counts.current(1)
        assert pruned.messages == 2
        assert set(pruned.authors) == {("bob", None)}

    with_store(tmp_path / "hub.sqlite", story)


def test_unreadable_message_spoils_no_count(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        await say(store, 1, 1)
        await store.write(
            "break",
            lambda connection: (
                connection.execute(
                    sa.update(messages).values(record='{"parts":')
                ).rowcount
            ),
        )
        await say(store, 1, 1)
        counted = await RoomCounts(store).current(1)
        assert (counted.messages, counted.tokens) == (2, 1)

    with_store(tmp_path / "hub.sqlite", story)


def test_totals_never_shrink_and_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()

    async def first(store: Store) -> None:
        counts = HubCounts(store, clock)
        await say(store, 1, KEPT_EVERY)
        assert (await counts.current()).messages == KEPT_EVERY
        await prune(store, below=KEPT_EVERY)
        await say(store, 2, 1)
        clock.now += FRESH_SECS
        assert (await counts.current()).messages == KEPT_EVERY + 1

    async def after_restart(store: Store) -> None:
        counted = await HubCounts(store, clock).current()
        assert (counted.messages, counted.tokens) == (KEPT_EVERY + 1,) * 2

    with_store(tmp_path / "hub.sqlite", first)
    with_store(tmp_path / "hub.sqlite", after_restart)


def test_totals_are_counted_at_most_once_a_second(tmp_path: Path) -> None:
    clock = Clock()

    async def story(store: Store) -> None:
        counts = HubCounts(store, clock)
        assert (await counts.current()).messages == 0
        await say(store, 1, 1)
        assert (await counts.current()).messages == 0
        clock.now += FRESH_SECS
        assert (await counts.current()).messages == 1

    with_store(tmp_path / "hub.sqlite", story)
