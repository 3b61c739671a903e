"""Pruning what is too old, now and then, without getting in anybody's way (12.4)."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from hub.errors import Refusal
from hub.services import Services
from hub.store import blobs, engine, retention

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
            except (Refusal, OSError):  # a full disk must not end the hub
                log.exception("tidying up failed; trying again in %s s", interval)

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
