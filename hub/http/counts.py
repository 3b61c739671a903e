"""Keeping count of what the hub and single rooms hold, at the price of one look at
each message.

Counting happens when somebody asks, never on the way of a message.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hub.store import totals, viewer
from hub.store.engine import Store
from hub.store.viewer import Count, RoomCount

MAX_ROOMS = 256
"""Rooms with a count in memory; the one asked for longest ago is dropped first."""

FRESH_SECS = 1.0
KEPT_EVERY = 1000
"""Messages after which the count of the whole hub is written down."""


class HubCounts:
    """Messages and tokens of the whole hub, ever."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Count what is in `store`.

        Args:
            clock: Seconds that never go back.
        """
        self._store = store
        self._clock = clock
        self._busy = asyncio.Lock()
        self._count: Count | None = None
        self._kept = 0
        self._as_of = 0.0

    async def current(self) -> Count:
        """The count, at most a second old."""
        async with self._busy:
            if self._count is None:
                self._count = await self._store.read("totals", totals.load)
                self._kept = self._count.seq
            elif self._clock() - self._as_of < FRESH_SECS:
                return self._count
            count = await self._count_on(self._count)
            self._as_of = self._clock()
            if count.seq - self._kept >= KEPT_EVERY:
                await self._store.write("totals", partial(totals.keep, count=count))
                self._kept = count.seq
            return count

    async def _count_on(self, count: Count) -> Count:
        more = True
        while more:
            count, more = await self._store.read(
                "count", partial(viewer.count_all, count=count)
            )
            self._count = count  # whoever gives up waiting loses no work
        return count


@dataclass(slots=True)
class _Room:
    count: RoomCount = field(default_factory=RoomCount)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class RoomCounts:
    """Messages and tokens of single rooms, as they are held now."""

    def __init__(self, store: Store) -> None:
        """Count what is in `store`."""
        self._store = store
        self._rooms: OrderedDict[int, _Room] = OrderedDict()

    async def current(self, number: int) -> RoomCount:
        """The count of a room."""
        room = self._rooms.setdefault(number, _Room())
        self._rooms.move_to_end(number)
        if len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)
        async with room.busy:
            await self._count_on(number, room)
            held = await self._store.read("held", partial(viewer.held, room=number))
            if held < room.count.messages:  # some were pruned: begin anew
                room.count = RoomCount()
                await self._count_on(number, room)
            return room.count

    async def _count_on(self, number: int, room: _Room) -> None:
        more = True
        while more:
            room.count, more = await self._store.read(
                "count room",
                partial(viewer.count_room, room=number, count=room.count),
            )
