"""Pruning what is too old, now and then, without getting in anybody's way (12.4)."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import islice
from typing import TypeVar

import sqlalchemy as sa

from hub.handlers.blobs import drop_useless
from hub.services import Services
from hub.store import blobs, engine, facts, retention, shares
from parler.wire.base import Digest

log = logging.getLogger(__name__)

STEP = 200
"""Rows deleted in one transaction: a few milliseconds of the writer's time."""

FACT_STEP = 20
"""Facts let go of in one transaction: each takes the words of a page or two along."""

FOUND_TOGETHER = 10_000
"""Rows that one look at everything finds."""

ARRIVAL_MS = 3_600_000
"""How long a long fact may take to be indexed; it is a matter of seconds."""

MAX_JUMP_MS = 3_600_000
"""How far the clock may run from the time that passed before it is not believed."""

DAY_MS = 86_400_000
T = TypeVar("T")
Step = Callable[[sa.Connection], int]


class Pruner:
    """Keeps a hub's database and blobs from growing for ever."""

    def __init__(
        self, services: Services, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the hub's parts and its settings of what to keep.

        Args:
            elapsed: Seconds that never go back, to hold the clock against.
        """
        self._services = services
        self._elapsed = elapsed
        self._looked_at = services.now(), elapsed()

    async def run(self) -> None:
        """Tidy up once per interval, the first time after one."""
        interval = self._services.settings.janitor_interval_secs
        while interval:
            await asyncio.sleep(interval)
            try:
                await self.tidy()
            except Exception:  # outermost: no full or damaged disk may end the hub
                log.exception("tidying up failed; trying again in %s s", interval)

    async def run_once(self) -> None:
        """Do what is needed once, when the hub starts."""
        try:
            await self.drop_unknown_blobs()
            await self._repeat("facts that go", facts.drop_some)
        except Exception:  # outermost: no full or damaged disk may end the hub
            log.exception("what a killed hub left behind was not dropped")

    async def drop_unknown_blobs(self) -> None:
        """Delete blobs the database does not know: left when the hub was killed.

        Whatever they are, they take disk that no budget counts. Without a database
        file nothing is known and nothing is deleted.
        """
        if self._services.settings.db is None:
            return
        dropped = 0
        async for digests in self._stored_blobs():
            async with self._services.blob_changes:
                unknown = await self._services.store.read(
                    "unknown blobs", partial(blobs.unknown, digests=digests)
                )
                for digest in unknown:
                    await asyncio.to_thread(self._services.blobs.delete, digest)
            dropped += len(unknown)
        if dropped:
            log.warning("dropped %s blobs the database does not know", dropped)

    async def _stored_blobs(self) -> AsyncIterator[list[Digest]]:
        names = self._services.blobs.stored()
        while some := await asyncio.to_thread(lambda: list(islice(names, STEP))):
            yield some

    async def tidy(self) -> None:
        """Prune everything that may go.

        After a jump of the clock nothing is deleted for its age until the next run, so
        that whoever set it wrong has that long to set it right.
        """
        settings, now = self._services.settings, self._services.now()
        believed = not self._clock_jumped(now)
        if believed:
            await self._repeat(
                "expired keys", partial(retention.expired_keys, now=now, limit=STEP)
            )
            await self._repeat(
                "stale facts", partial(facts.give_up_stale, before=now - ARRIVAL_MS)
            )
            await self._services.store.write(
                "old shares", partial(shares.forget, before=now - DAY_MS)
            )
            if settings.retention_days and settings.keep_messages_per_room >= 0:
                before = now - int(settings.retention_days * DAY_MS)
                await self._prune_messages(before, settings.keep_messages_per_room)
        await self._find_and_drop(
            "finished work", retention.work_of_no_message, retention.drop_work, STEP
        )
        if settings.keep_facts >= 0:
            surplus = partial(retention.surplus_facts, keep=settings.keep_facts)
            await self._find_and_drop("facts", surplus, retention.drop_facts, FACT_STEP)
        await self._repeat("facts that go", facts.drop_some)
        ttl = settings.blob_ttl_days if believed else 0
        idle_before = now - int(ttl * DAY_MS) if ttl else 0
        await drop_useless(self._services, idle_before=idle_before)
        await self._repeat("vacuum", engine.vacuum_some)

    def _clock_jumped(self, now: int) -> bool:
        (clock, began), elapsed = self._looked_at, self._elapsed()
        self._looked_at = now, elapsed
        jump = (now - clock) - int((elapsed - began) * 1000)
        if abs(jump) <= MAX_JUMP_MS:
            return False
        log.warning(
            "the clock jumped by %s s: nothing is deleted for its age this time",
            jump // 1000,
        )
        return True

    async def _prune_messages(self, before: int, keep: int) -> None:
        online = list(self._services.online)
        rooms = await self._services.store.read(
            "full rooms", partial(retention.full_rooms, keep=keep)
        )
        for room in rooms:
            await self._repeat(
                "old messages",
                partial(
                    retention.old_messages,
                    room=room,
                    before=before,
                    keep=keep,
                    online=online,
                    limit=STEP,
                ),
            )

    async def _find_and_drop(
        self,
        name: str,
        find: Callable[..., list[T]],
        drop: Callable[..., int],
        step: int,
    ) -> None:
        """Look for what may go beside the writer, which only deletes it."""
        store, dropped = self._services.store, 1
        while dropped:
            dropped = 0
            look = partial(find, limit=FOUND_TOGETHER)
            found = await store.read(name, look, long=True)
            for start in range(0, len(found), step):
                some = found[start : start + step]
                dropped += await store.write(name, partial(drop, which=some))

    async def _repeat(self, name: str, step: Step) -> None:
        while await self._services.store.write(name, step):
            pass
