"""The rooms that are in use, with their members, in memory.

Loads and changes both go through the writer and are applied in commit order, so an
entry is never older than the last thing the hub answered. The store decides who may
write; this only spares it the question of whom to tell.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from hub.store import members, rooms
from hub.store.engine import Store
from hub.store.rooms import Room
from parler.wire.base import AgentId, RoomName

MAX_ROOMS = 10_000
"""Rooms kept in memory; the one used longest ago is dropped first."""


@dataclass(slots=True)
class LiveRoom:
    """A room and who is in it now."""

    room: Room
    members: set[AgentId] = field(default_factory=set)
    guests: set[AgentId] = field(default_factory=set)
    """Those of them who are handed nothing but their own work (protocol 14.10)."""

    def hear(self, requester: AgentId | None) -> set[AgentId]:
        """The members who may have a message that belongs to somebody's work."""
        if not self.guests:
            return self.members
        return {
            agent
            for agent in self.members
            if agent not in self.guests or agent == requester
        }


class RoomCache:
    """A bounded cache of rooms."""

    def __init__(self, store: Store) -> None:
        """Take the store that rooms are loaded from."""
        self._store = store
        self._rooms: OrderedDict[RoomName, LiveRoom] = OrderedDict()

    def known(self, name: RoomName) -> LiveRoom | None:
        """The room of that name, if it is in memory."""
        live = self._rooms.get(name)
        if live is not None:
            self._rooms.move_to_end(name)
        return live

    async def get(self, name: RoomName) -> LiveRoom | None:
        """The room of that name, or None."""
        if (live := self.known(name)) is not None:
            return live

        def load(connection: sa.Connection) -> LiveRoom | None:
            room = rooms.by_name(connection, name)
            if room is None:
                return None
            return LiveRoom(
                room,
                set(members.of_room(connection, room.id)),
                set(members.guests(connection, room.id)),
            )

        loaded = await self._store.write("load room", load, after=self._loaded)
        # Whoever loaded it first has the one that is kept up to date.
        return self._rooms.get(name, loaded)

    def joined(self, room: Room, agent: AgentId, *, guest: bool = False) -> None:
        """Apply a membership that was committed."""
        if (live := self._rooms.get(room.name)) is not None:
            live.members.add(agent)
            if guest:
                live.guests.add(agent)

    def guests(self, room: Room, guests: Iterable[AgentId]) -> None:
        """Apply who is a guest of a service now, as it was committed."""
        if (live := self._rooms.get(room.name)) is not None:
            live.guests = set(guests)

    def left(self, room: Room, agent: AgentId) -> None:
        """Apply the end of a membership that was committed."""
        if (live := self._rooms.get(room.name)) is not None:
            live.members.discard(agent)
            live.guests.discard(agent)

    def deleted(self, room: Room) -> None:
        """Apply a deletion that was committed."""
        self._rooms.pop(room.name, None)

    def _loaded(self, live: LiveRoom | None) -> None:
        if live is None or live.room.name in self._rooms:
            return
        self._rooms[live.room.name] = live
        if len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)
