"""Whom this agent knows: whose direct messages come through without a person's word.

Known are the user's own agents, those whom a contact vouches for, the members of rooms
that one enters by approval, whoever was accepted, and whoever we wrote to first. A
direct message of somebody else is a request: the hub has stored it and goes on keeping
it, and the person decides (`identity.senders`).

The hub is asked here; what its answers are worth is decided by signatures.
"""

import asyncio
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeAlias

from parler.client.client import Client
from parler.client.messages import Message
from parler.errors import ConfigError, HubRefused
from parler.identity.known_rooms import KnownRooms
from parler.identity.senders import Decisions, Senders
from parler.wire.base import AgentId, Millis, RoomName
from parler.wire.records import DirectoryEntry, RoomKind
from parler.wire.replies import Card, RoomList, RosterList
from parler.wire.requests import Lookup, Rooms, Roster

MAX_SHARED_ROOMS = 50
"""Rooms whose members are looked through."""

MAX_JUDGED = 10_000
"""Strangers that are not looked up again while nothing was decided."""

LOOKED_THROUGH = 100
"""Messages of a direct room, from its start, that are looked through for our own."""

Stamp: TypeAlias = tuple[int, ...]


class Standing(StrEnum):
    """What becomes of somebody's direct messages."""

    KNOWN = "known"
    STRANGER = "stranger"
    DECLINED = "declined"


class _Judged(NamedTuple):
    standing: Standing
    others: frozenset[AgentId]
    """Who writes there beside us."""

    since: Millis
    """When they first did."""


class Acquaintance:
    """Whom one agent knows at one hub, over one connection."""

    def __init__(
        self,
        client: Client,
        *,
        hub: str,
        senders: Senders,
        known_rooms: KnownRooms,
        own_agents: Callable[[], Collection[AgentId]],
        is_vouched_for: Callable[[DirectoryEntry], bool],
        decided_in: Collection[Path],
        everybody_is_ours: Callable[[], bool],
    ) -> None:
        """Nothing is asked yet.

        Args:
            own_agents: The agents of this user on this machine.
            is_vouched_for: Whether a card is of an agent of ours, or of a contact's.
            decided_in: Files that change with whom we know.
            everybody_is_ours: Whether the hub lets in nobody else's agents.
        """
        self._client = client
        self._hub = hub
        self._senders = senders
        self._known_rooms = known_rooms
        self._own_agents = own_agents
        self._is_vouched_for = is_vouched_for
        self._decided_in = (senders.path, *decided_in)
        self._everybody_is_ours = everybody_is_ours
        self._stamp: Stamp = ()
        self._standing: dict[RoomName, _Judged] = {}
        self._members: frozenset[AgentId] | None = None
        self._looking = asyncio.Lock()

    def as_of(self) -> Stamp:
        """What was decided so far: another value whenever something was."""
        stamp = tuple(map(_modified, self._decided_in))
        if stamp != self._stamp:
            self._stamp = stamp
            self.forget()
        return stamp

    def forget(self) -> None:
        """Something was decided, or rooms are others: judge anew."""
        self._standing.clear()
        self._members = None

    def member_changed(self, room: RoomName, agent: AgentId | None) -> None:
        """Somebody came or left: judge what that may change, and nothing else.

        Members of open rooms come and go as they like, and are not known by it.
        """
        if agent is None or agent == self._client.agent_id:
            self.forget()
        elif self._is_gated(room):
            self._members = None
            for direct, known in list(self._standing.items()):
                if agent in known.others:
                    del self._standing[direct]

    def judged(self, room: RoomName) -> Standing | None:
        """What is known already; None if nobody asked."""
        known = self._standing.get(room)
        return known.standing if known else None

    def since(self, room: RoomName) -> Millis:
        """When the other side of a direct room that was judged first wrote."""
        known = self._standing.get(room)
        return known.since if known else 0

    async def standing(self, room: RoomName) -> Standing:
        """What becomes of the messages in a direct room.

        Raises:
            HubError: The hub does not let us read it, or is too busy.
            TransportError: The hub did not answer.
        """
        self.as_of()
        known = self._standing.get(room)
        if known is None:
            known = await self._judge(room)
            if len(self._standing) >= MAX_JUDGED:
                self._standing.clear()
            self._standing[room] = known
        return known.standing

    async def sender(self, room: RoomName) -> Message | None:
        """The first message in a direct room that is not ours."""
        batch = await self._client.pull(room, since=0, limit=LOOKED_THROUGH)
        me = self._client.agent_id
        return next((one for one in batch.messages if one.author.id != me), None)

    async def _judge(self, room: RoomName) -> _Judged:
        batch = await self._client.pull(room, since=0, limit=LOOKED_THROUGH)
        me = self._client.agent_id
        theirs = [one for one in batch.messages if one.author.id != me]
        others = frozenset(one.author.id for one in theirs)
        wrote = len(theirs) < len(batch.messages) or self._wrote_in(room)
        standing = await self._standing_of(others, wrote=wrote)
        return _Judged(standing, others, theirs[0].ts if theirs else 0)

    async def _standing_of(
        self, others: frozenset[AgentId], *, wrote: bool
    ) -> Standing:
        decisions = self._decisions()
        if others & set(decisions.declined):
            return Standing.DECLINED
        if (
            wrote
            or decisions.strangers
            or others <= set(decisions.accepted)
            or self._everybody_is_ours()
            or others <= set(self._own_agents())
            or others <= await self._members_of_our_rooms()
        ):
            return Standing.KNOWN
        for agent in others:
            if not await self._has_voucher(agent):
                return Standing.STRANGER
        return Standing.KNOWN

    # Of damaged files nothing counts as said: nobody is let through by guess, and
    # nobody is kept out who is known otherwise.

    def _decisions(self) -> Decisions:
        try:
            return self._senders.read()
        except ConfigError:
            return Decisions()

    def _wrote_in(self, room: RoomName) -> bool:
        try:
            return self._known_rooms.knows(self._hub, room)
        except ConfigError:
            return False

    def _is_gated(self, room: RoomName) -> bool:
        try:
            return not self._known_rooms.is_open(self._hub, room)
        except ConfigError:
            return False

    async def _has_voucher(self, agent: AgentId) -> bool:
        try:
            entry = (await self._client.request(Lookup(id=agent), Card)).entry
        except HubRefused:
            return False
        return (
            entry is not None and entry.card.id == agent and self._is_vouched_for(entry)
        )

    async def _members_of_our_rooms(self) -> frozenset[AgentId]:
        async with self._looking:  # many rooms are judged at once
            if self._members is None:
                self._members = await self._look_for_members()
            return self._members

    async def _look_for_members(self) -> frozenset[AgentId]:
        found: set[AgentId] = set()
        rooms = (await self._client.request(Rooms(), RoomList)).rooms
        gated = [
            one.name
            for one in rooms
            if one.kind is RoomKind.CHANNEL and self._is_gated(one.name)
        ]
        for room in gated[:MAX_SHARED_ROOMS]:
            try:
                roster = await self._client.request(Roster(room=room), RosterList)
            except HubRefused:
                continue  # deleted, or left, meanwhile
            found.update(entry.id for entry in roster.entries)
        return frozenset(found)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
