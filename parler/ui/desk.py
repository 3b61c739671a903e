"""What the page knows: each own identity at each of its hubs, kept true.

One connection for each, which only looks; what the person decides is done over the
same one, in the name of the identity whose room it is. Readers of the page are told
that something changed, never what: they ask here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from parler.client.acquaintance import Standing
from parler.client.client import Delivery
from parler.client.connection import Note
from parler.errors import HubError, NotMember, ParlerError, UsageError
from parler.identity.own_agents import OwnAgent, own_agents
from parler.identity.signing import fingerprint
from parler.ops.affiliations import Affiliation, affiliations
from parler.ops.context import OpContext
from parler.ops.inbox import Item, Waiting, newest_first, watch
from parler.ops.machine_context import Here
from parler.ops.own import Away, Own, OwnRoom, Seen
from parler.ops.peers import Peer, PeersParams, peers
from parler.ops.permissions import PermissionRequest, permissions
from parler.ops.rooms import Member, entries_of
from parler.runtime.own_hubs import OwnHubs
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import exact
from parler.wire.records import RoomKind, StoredMessage
from parler.wire.replies import Event
from parler.wire.urls import same_hub

MAX_READERS = 32
"""Pages that are kept up to date at a time."""

MAX_KNOWN = 2000
"""Agents whose affiliation is remembered."""

KNOWN_SECS = 60.0
"""For how long: a contact may be made, or ended, meanwhile."""

LOOK_SECS = 10.0
"""For what is asked at one hub in one name."""

AROUND_SECS = 2.0
"""How often it is looked who runs on this machine, and is connected: nothing tells."""

LOST = "the connection is lost, and is tried again"

_EVENTS = ("member", "receipt", "room")

T = TypeVar("T")
Spot = tuple[str, RoomName]
"""A room: its hub and its name."""


@dataclass(slots=True)
class Live:
    """One identity at one hub, while there is a connection."""

    own: Own
    rooms: list[OwnRoom] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    known: bool = False
    stir: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Reader:
    """A page that is open."""

    spot: Spot | None = None
    """The room whose transcript it shows."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    said: bool = True
    """Something may have been said in that room."""

    members: bool = True
    """Those of that room, or how far they read, may be others by now."""


@dataclass(slots=True)
class Heard:
    """What came in a room while we listened."""

    seq: int = 0
    at: float = 0.0
    new: int = 0
    """Messages, since the page last showed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRoom:
    """A room, whoever of ours is in it."""

    hub: str
    seats: list[OwnRoom]
    """The person first."""

    has_person: bool

    heard: "Heard"
    is_strange: bool = False
    """A direct one that somebody began whom none of ours knows, as far as was asked."""

    @property
    def one(self) -> OwnRoom:
        """As the first of ours sees it, with whatever topic any of them knows."""
        return next((one for one in self.seats if one.topic), self.seats[0])

    @property
    def unread(self) -> int:
        """What the person has not read; without the person, what came unlooked at."""
        return self.seats[0].unread if self.has_person else self.heard.new

    @property
    def is_direct(self) -> bool:
        """Whether it is of two."""
        return self.one.kind is RoomKind.DM


@dataclass(slots=True)
class Desk:
    """The person's desk: what waits, who is here, all rooms, at all hubs."""

    machine: Path
    """The machine home."""

    hubs: OwnHubs
    here: Callable[[], Here]
    agents: Sequence[OwnAgent] = ()
    """The identities by now, the person first."""

    readers: set[Reader] = field(default_factory=set)
    lives: dict[tuple[Path, str], Live] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    """Why a hub is not reached."""

    peers: list[Peer] = field(default_factory=list)
    permissions: list[PermissionRequest] = field(default_factory=list)
    """What apps of this machine ask."""

    _heard: dict[Spot, Heard] = field(default_factory=dict)
    _known: dict[tuple[str, AgentId], tuple[float, Affiliation | None]] = field(
        default_factory=dict
    )

    # Kept true

    async def stay(self) -> None:
        """Keep all of it true, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_around())
            await self.hubs.stay(self._watch, self.trouble, self._own_agents)

    def _own_agents(self) -> Sequence[OwnAgent]:
        self.agents = own_agents(self.machine)
        return self.agents

    async def _watch(self, own: Own) -> None:
        key = (own.agent.home, own.ctx.hub)
        live = self.lives[key] = Live(own)
        self.away.pop(own.ctx.hub, None)
        try:
            await watch(own, self.here(), self, events=_EVENTS, stir=live.stir)
        finally:
            del self.lives[key]
            self.changed()

    async def _look_around(self) -> None:
        while True:
            with suppress(ParlerError):  # the doctor says what is wrong with a file
                found = (await peers(self.here(), PeersParams())).peers
                if found != self.peers:
                    self.peers = found
                    self.changed()
            self.look_at_permissions()
            self._note_connections()
            await asyncio.sleep(AROUND_SECS)

    def look_at_permissions(self) -> None:
        """See what apps of this machine ask now."""
        found = permissions(self.here())
        if found != self.permissions:
            self.permissions = found
            self.changed()

    def _note_connections(self) -> None:
        """A connection that is lost is waited out by its client, without a word."""
        there = {hub: True for _, hub in self.lives}
        for (_, hub), live in self.lives.items():
            there[hub] &= live.own.ctx.client.connected
        for hub, connected in there.items():
            if connected == (self.away.get(hub) != LOST):
                continue
            if connected:
                del self.away[hub]
            else:
                self.away[hub] = LOST
            self.changed()

    def put(self, own: Own, rooms: list[OwnRoom], waiting: Waiting) -> None:
        """Take what there is at one place now (`parler.ops.inbox.Board`)."""
        live = self.lives[own.agent.home, own.ctx.hub]
        live.known = True
        if (live.rooms, live.items) != (rooms, waiting.items):
            live.rooms, live.items = rooms, waiting.items
            self.changed()

    def heard(self, own: Own, note: Note) -> None:
        """Take a hint of what changed in a room."""
        match note:
            case Delivery(message=message):
                spot = (own.ctx.hub, message.room)
                self._count(own, message)
            case Event(room=room):
                spot = (own.ctx.hub, room)
                for reader in self.readers:
                    reader.members = reader.members or reader.spot == spot
            case _:
                self.changed()
                return
        self.said(spot)

    def _count(self, own: Own, message: StoredMessage) -> None:
        heard = self._heard.setdefault((own.ctx.hub, message.room), Heard())
        if message.seq <= heard.seq:  # another of ours heard it already
            return
        heard.seq, heard.at = message.seq, asyncio.get_running_loop().time()
        heard.new += 1
        live = self.lives.get((own.agent.home, own.ctx.hub))
        for one in live.rooms if live and own.agent.is_person else ():
            if one.name == message.room:
                one.unread += 1
        self.changed()

    def looked(self, spot: Spot) -> None:
        """Take that the person was shown a room up to its end."""
        if heard := self._heard.get(spot):
            heard.new = 0
        for live in self.lives.values():
            for one in live.rooms if live.own.agent.is_person else ():
                if (one.hub, one.name) == spot:
                    one.unread = 0
        self.changed()

    def trouble(self, hub: str, error: ParlerError) -> None:
        """Take why a hub is not reached."""
        known = next((one for one in self.away if same_hub(one, hub)), hub)
        if self.away.get(known) != error.message:
            self.away[known] = error.message
            self.changed()

    # Who reads

    @contextmanager
    def reading(self, spot: Spot | None) -> Iterator[Reader]:
        """A reader, told of news until the block ends.

        Raises:
            UsageError: There are too many.
        """
        if len(self.readers) >= MAX_READERS:
            raise UsageError(f"{MAX_READERS} pages are open: close one")
        reader = Reader(spot)
        self.readers.add(reader)
        try:
            yield reader
        finally:
            self.readers.discard(reader)

    def changed(self) -> None:
        """Have all readers look again."""
        for reader in self.readers:
            reader.news.set()

    def said(self, spot: Spot) -> None:
        """Have the readers of a room look again."""
        for reader in self.readers:
            if reader.spot == spot:
                reader.said = True
                reader.news.set()

    def stir(self) -> None:
        """Look at once at all that waits, because something was decided."""
        for live in self.lives.values():
            live.stir.set()

    # What there is

    @property
    def person_id(self) -> AgentId | None:
        """Who the person is, connected somewhere or not."""
        first = next((one for one in self.agents if one.is_person), None)
        return first.identity.agent_id if first and first.identity else None

    @property
    def own_ids(self) -> frozenset[AgentId]:
        """Who all of us are."""
        known = (one.identity for one in self.agents)
        return frozenset(one.agent_id for one in known if one)

    @property
    def complete(self) -> bool:
        """Whether everybody has been heard of by now."""
        return bool(self.lives) and all(one.known for one in self.lives.values())

    @property
    def items(self) -> list[Item]:
        """All that waits for the person, as it is read."""
        found = (item for live in self.lives.values() for item in live.items)
        return newest_first(list(found))

    @property
    def waiting(self) -> int:
        """How many things wait for the person."""
        return len(self.items) + len(self.permissions)

    @property
    def rooms(self) -> list[SeenRoom]:
        """All rooms: sessions before direct ones, those of strangers last; of each the
        latest heard first."""
        seats: dict[Spot, list[OwnRoom]] = {}
        known: set[Spot] = set()
        person = self.person_id
        for live in self._ordered():
            for one in live.rooms:
                seats.setdefault((one.hub, one.name), []).append(one)
                if not _is_strange(live.own.ctx, one):
                    known.add((one.hub, one.name))
        found = [
            SeenRoom(
                hub=spot[0],
                seats=own,
                has_person=own[0].owner_id == person,
                heard=self._heard.get(spot) or Heard(),
                is_strange=spot not in known,
            )
            for spot, own in seats.items()
        ]
        return sorted(
            found,
            key=lambda room: (
                room.is_strange,
                room.is_direct,
                -room.heard.at,
                not room.unread,
                exact(room.one.topic) or room.one.name,
            ),
        )

    def room(self, spot: Spot) -> SeenRoom:
        """A room of ours.

        Raises:
            NotMember: None of ours is in it.
        """
        for one in self.rooms:
            if same_hub(one.hub, spot[0]) and one.one.name == spot[1]:
                return one
        raise NotMember(f"no agent of yours is in a room {spot[1]!r}", hub_code=None)

    async def each(self, look: Callable[[Own], Awaitable[T]]) -> Seen[T]:
        """Look in the name of each identity at each hub that is reached."""

        async def at(live: Live) -> T | Away:
            hub = live.own.ctx.hub
            try:
                async with asyncio.timeout(LOOK_SECS):
                    return await look(live.own)
            except TimeoutError:
                return Away(hub=hub, reason=f"no answer within {LOOK_SECS:g} s")
            except ParlerError as error:
                return Away(hub=hub, reason=error.message)

        found = await asyncio.gather(*map(at, self._ordered()))
        seen: Seen[T] = Seen()
        for one in found:
            if isinstance(one, Away):
                seen.away.append(one)
            else:
                seen.found.append(one)
        return seen

    def _ordered(self) -> list[Live]:
        return sorted(
            self.lives.values(),
            key=lambda one: (not one.own.agent.is_person, str(one.own.agent.home)),
        )

    def as_(self, owner: str, hub: str) -> Own:
        """The identity of ours by its id, connected to a hub.

        Raises:
            UsageError: It is not there now.
        """
        for live in self.lives.values():
            ctx = live.own.ctx
            if ctx.identity.agent_id == owner and same_hub(ctx.hub, hub):
                return live.own
        raise UsageError("that agent of yours is not connected to its hub now")

    def whose(self, spot: Spot) -> Own:
        """Whoever of ours reads a room, the person first.

        Raises:
            NotMember: None of ours is in it.
        """
        room = self.room(spot)
        return self.as_(room.seats[0].owner_id, room.hub)

    @asynccontextmanager
    async def person(self, hub: str) -> AsyncIterator[Own]:
        """The person, at a hub where it may never have been.

        Raises:
            UsageError: There is no person.
            ParlerError: The hub is not reached.
        """
        agent = next((one for one in self.agents if one.is_person), None)
        if agent is None or agent.identity is None:
            raise UsageError("there is nobody to speak as", next_step="parler whoami")
        try:
            yield self.as_(agent.identity.agent_id, hub)
        except UsageError:
            pass
        else:
            return
        async with self.hubs.connected(agent, agent.identity, hub) as ctx:
            yield Own(agent=agent, name=ctx.identity.name, ctx=ctx)

    async def members(self, spot: Spot) -> list[Member]:
        """The members of a room of ours.

        Raises:
            NotMember: None of ours is in it.
            ParlerError: The hub does not say.
        """
        ctx = self.whose(spot).ctx
        entries = await entries_of(ctx, spot[1])
        known = await self.belonging(ctx, [one.id for one in entries])
        return [
            Member(
                **msgspec.structs.asdict(one),
                fingerprint=fingerprint(one.id),
                affiliation=known[one.id],
            )
            for one in entries
        ]

    async def belonging(
        self, ctx: OpContext, agents: Sequence[AgentId]
    ) -> dict[AgentId, Affiliation | None]:
        """What is known of some agents, as it was asked for a little while ago."""
        now = asyncio.get_running_loop().time()
        wanted = list(dict.fromkeys(agents))
        fresh = {
            one: self._known[ctx.hub, one][1]
            for one in wanted
            if (ctx.hub, one) in self._known and self._known[ctx.hub, one][0] > now
        }
        unknown = [one for one in wanted if one not in fresh]
        if not unknown:
            return fresh
        try:
            found = await affiliations(ctx, unknown)
        except HubError:  # asked again next time
            return fresh | dict.fromkeys(unknown)
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        for one in unknown:
            fresh[one] = found.get(one)
            self._known[ctx.hub, one] = (now + KNOWN_SECS, found.get(one))
        return fresh


def _is_strange(ctx: OpContext, room: OwnRoom) -> bool:
    """Whether a room may be a stranger's; nobody is asked for it."""
    if room.kind is not RoomKind.DM or ctx.acquaintance is None:
        return False
    standing = ctx.acquaintance.judged(room.name)
    if standing is None:  # nobody looks into what was read, nor into the end of a flood
        return room.unread > 0
    return standing is not Standing.KNOWN
