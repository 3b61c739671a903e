"""Has each message shown once although two can show it: we, and the app's hooks.

Both go by the spool, a few files in the identity's home. We write into it what waits;
before we show something ourselves we hold it there, so that no hook shows it too.
"""

import asyncio
from collections.abc import Callable

from parler.errors import ConfigError
from parler.runtime.entry import Mark
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.runtime.receipt import Collected
from parler.wake.spool import Held, Item, Shown, Spool


class SharedSpool:
    """The spool of one identity, beside its mailbox."""

    def __init__(
        self,
        spool: Spool,
        mailbox: Mailbox,
        *,
        unwanted: Callable[[Held], None],
        log: LogFile,
    ) -> None:
        """Nothing is offered yet.

        Args:
            unwanted: Given what was held for somebody who was cancelled meanwhile.
        """
        self._spool = spool
        self._mailbox = mailbox
        self._unwanted = unwanted
        self._log = log
        self._lock = asyncio.Lock()
        self._newest: list[Shown] = []

    async def offer(self) -> None:
        """Have hooks find what waits."""
        async with self._lock:
            items = self._mailbox.offered()
            hub = self._mailbox.hub
            try:
                await asyncio.to_thread(self._spool.offer, items, hub=hub)
            except ConfigError as failed:
                self._log.note(f"nothing can be offered to hooks: {failed.code}")

    async def collect(
        self,
        choose: Callable[[], list[Item]],
        *,
        limit: int | None = None,
        max_chars: int | None = None,
    ) -> Collected:
        """Hold what waits, until `finish`.

        Args:
            choose: What waits and is meant; asked when nobody else takes anything.
        """
        async with self._lock:
            items = choose()
            held = await self._hold(items[:limit], max_chars)
        return Collected(held=held, left=len(items) - len(held.items if held else []))

    async def _hold(self, items: list[Item], max_chars: int | None) -> Held | None:
        rest = self._mailbox.offered()
        hub = self._mailbox.hub

        def hold() -> Held:
            self._spool.offer(items, hub=hub)
            try:
                return self._spool.hold(via="mcp", max_chars=max_chars)
            finally:
                self._spool.offer(rest, hub=hub)

        holding = asyncio.get_running_loop().run_in_executor(None, hold)
        try:
            held = await asyncio.shield(holding)
        except asyncio.CancelledError:
            holding.add_done_callback(self._hold_unwanted)
            raise
        except ConfigError as busy:
            self._log.note(f"nothing was taken: {busy.code}")
            return None
        self._mailbox.hold(held.items)
        return held

    def _hold_unwanted(self, holding: "asyncio.Future[Held]") -> None:
        if not holding.cancelled() and holding.exception() is None:
            self._unwanted(holding.result())

    async def finish(self, held: Held, *, arrived: bool) -> None:
        """What was held came to the model, or did not."""
        try:
            async with self._lock:
                if arrived:
                    await asyncio.to_thread(held.confirm)
                    self._mailbox.confirm([item.mark for item in held.items])
                else:
                    await asyncio.to_thread(held.release)
                    self._mailbox.release(held.items)
        except ConfigError as failed:
            # They are still held: not shown by anybody else, and not acknowledged.
            self._log.note(f"what was shown could not be noted: {failed.code}")

    async def mark_seen(self, places: set[tuple[str, int]]) -> int:
        """The model has the messages at these rooms and numbers; how many waited."""

        def record() -> set[Mark]:
            with self._spool.take(via="channel") as items:
                items[:] = [item for item in items if (item.room, item.seq) in places]
                return {item.mark for item in items}

        async with self._lock:
            seen = await asyncio.to_thread(record)
        self._mailbox.confirm(seen)
        return len(seen)

    async def settle(self) -> None:
        """Let the mailbox know what was shown, by hooks too."""
        history = await asyncio.to_thread(self._spool.history)
        hub = self._mailbox.hub
        self._mailbox.settle({one.mark for one in history if one.hub == hub})

    async def has_news(self) -> bool:
        """Whether something was shown since this was asked last."""
        newest = (await asyncio.to_thread(self._spool.history))[-1:]
        changed = newest != self._newest
        self._newest = newest
        return changed
