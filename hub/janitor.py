"""Pruning what is too old, now and then, without getting in anybody's way (12.4)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import islice

import sqlalchemy as sa

from hub.services import Services
from hub.store import blobs, engine, retention
from parler.wire.base import Digest

log = logging.getLogger(__name__)

STEP = 200
"""Rows deleted in one transaction: a few milliseconds of the writer's time."""

DAY_MS = 86_400_000
Step = Callable[[sa.Connection], int]


class Janitor:
    """Keeps a hub's database and blobs from growing for ever."""

    def __init__(self, services: Services) -> None:
        """Take the hub's parts and its settings of what to keep."""
        self._services = services

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
        except Exception:  # outermost: no full or damaged disk may end the hub
            log.exception("unknown blobs were not dropped")

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
        """Prune everything that may go."""
        settings, now = self._services.settings, self._services.now()
        await self._repeat(
            "expired keys", partial(retention.expired_keys, now=now, limit=STEP)
        )
        if settings.retention_days and settings.keep_messages_per_room >= 0:
            before = now - int(settings.retention_days * DAY_MS)
            await self._prune_messages(before, settings.keep_messages_per_room)
        await self._repeat(
            "finished work", partial(retention.finished_work, limit=STEP)
        )
        if settings.keep_facts >= 0:
            await self._repeat(
                "facts",
                partial(retention.surplus_facts, keep=settings.keep_facts, limit=STEP),
            )
        await self._prune_blobs(now)
        await self._repeat("vacuum", engine.vacuum_some)

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

    async def _prune_blobs(self, now: int) -> None:
        # Bytes and rows go under the lock that uploads hold, so nothing that was
        # just uploaded again can be deleted.
        ttl = self._services.settings.blob_ttl_days
        forget = partial(
            blobs.forget_useless,
            idle_before=now - int(ttl * DAY_MS) if ttl else 0,
            limit=STEP,
        )
        while True:
            async with self._services.blob_changes:
                digests = await self._services.store.write("forget blobs", forget)
                for digest in digests:
                    await asyncio.to_thread(self._services.blobs.delete, digest)
            if not digests:
                return

    async def _repeat(self, name: str, step: Step) -> None:
        while await self._services.store.write(name, step):
            pass
