"""What waits is shown by a result or by a hook, and never by both."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.runtime.shared_spool import SharedSpool
from parler.wake.spool import Held, Item, Spool
from tests._support.polling import WAIT

NOTICES = [Item("", 0, f"text {key}", True, key) for key in ("one", "two")]


class Scene:
    """The agent's mailbox and spool, and a hook that looks into the same home."""

    def __init__(self, folder: Path, spool: Spool | None = None) -> None:
        self.mailbox = Mailbox()
        self.mailbox.begin("ws://one", None)
        for notice in NOTICES:
            self.mailbox.notice(notice)
        self.unwanted: asyncio.Queue[Held] = asyncio.Queue()
        self.hook = Spool(folder)
        self.shared = SharedSpool(
            spool or Spool(folder),
            self.mailbox,
            unwanted=self.unwanted.put_nowait,
            log=LogFile(folder, now=lambda: 0, name="a/1"),
        )

    async def collects(self, limit: int | None = None) -> Held:
        got = await self.shared.collect(self.mailbox.waiting, limit=limit)
        assert got.held is not None
        return got.held


async def test_what_is_held_here_waits_for_nobody_else(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.shared.offer()
    assert scene.hook.waiting() == NOTICES
    got = await scene.shared.collect(scene.mailbox.waiting, limit=1)
    assert (got.items, got.left) == (NOTICES[:1], 1)
    assert scene.hook.waiting() == NOTICES[1:]
    assert scene.mailbox.waiting() == NOTICES[1:]


async def test_what_did_not_arrive_waits_again_and_what_did_does_not(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    first, second = await scene.collects(limit=1), await scene.collects()
    await scene.shared.finish(first, arrived=True)
    await scene.shared.finish(second, arrived=False)
    assert scene.hook.waiting() == scene.mailbox.waiting() == NOTICES[1:]
    assert await scene.shared.has_news()
    assert not await scene.shared.has_news()


async def test_what_a_hook_has_shown_is_dropped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.shared.offer()
    with scene.hook.take(via="stop") as items:
        del items[1:]
    got = await scene.shared.collect(scene.mailbox.waiting)
    assert got.items == NOTICES[1:]
    await scene.shared.settle()
    assert scene.mailbox.offered() == NOTICES[1:]


async def test_what_the_model_says_it_has_is_dropped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.shared.offer()
    assert await scene.shared.mark_seen({("room.a", 1)}) == 0
    assert await scene.shared.mark_seen({("", 0)}) == 2
    assert scene.mailbox.waiting() == []


class SlowSpool(Spool):
    """Takes its time to hold something."""

    holding: Callable[[], object]
    goes_on: threading.Event

    def hold(self, **options: Any) -> Held:
        held = super().hold(**options)
        self.holding()
        assert self.goes_on.wait(WAIT)
        return held


async def test_what_was_held_for_somebody_who_went_away_is_handed_back(
    tmp_path: Path,
) -> None:
    slow = SlowSpool(tmp_path)
    slow.goes_on = threading.Event()
    holding = asyncio.Event()
    loop = asyncio.get_running_loop()
    slow.holding = lambda: loop.call_soon_threadsafe(holding.set)
    scene = Scene(tmp_path, slow)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        call = tasks.create_task(scene.shared.collect(scene.mailbox.waiting))
        await holding.wait()
        call.cancel()
        slow.goes_on.set()
        held = await scene.unwanted.get()
    assert held.items == NOTICES
    assert scene.hook.waiting() == []
    await scene.shared.finish(held, arrived=False)
    assert scene.hook.waiting() == NOTICES


async def test_what_cannot_be_recorded_is_neither_shown_again_nor_told(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    held = await scene.collects()
    (tmp_path / "shown.json").mkdir()
    await scene.shared.finish(held, arrived=True)
    assert "could not be noted" in (tmp_path / "mcp.log").read_text(encoding="utf-8")
    assert scene.mailbox.waiting() == []
    assert scene.mailbox.offered() == NOTICES
