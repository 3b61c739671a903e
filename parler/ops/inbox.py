"""What waits for the person of this machine, and the glance over all there is.

That is what nobody else takes care of: who knocks, questions and direct messages to
the person, and those to agents that are not there to be shown them. Looking takes
nothing away.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from parler.client.acquaintance import Standing
from parler.client.client import Delivery
from parler.client.connection import Note
from parler.client.messages import Message
from parler.client.questions import ask_of
from parler.errors import HubRefused
from parler.identity.homes import machine_home
from parler.identity.message_signing import Signature
from parler.identity.people import People
from parler.identity.signing import fingerprint
from parler.ops.affiliations import Affiliation, affiliations
from parler.ops.capability import Capability
from parler.ops.context import OpContext, Result
from parler.ops.machine_context import Here
from parler.ops.own import Away, Household, Own, OwnKnock, OwnRoom, knocks_at, rooms_of
from parler.ops.peers import Peer, PeersParams, Reach, peers, reach_of
from parler.ops.permissions import PermissionRequest, permissions
from parler.ops.questions import UserQuestion, questions_to
from parler.ops.requests import MAX_LOOKED_INTO, message_requests, standing_in
from parler.ops.rooms import read_up_to
from parler.peers.presence import read_live
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.records import RoomKind
from parler.wire.replies import Event
from parler.wire.urls import same_hub

MAX_LOOKED_AT = 50
"""Unread messages of a direct room that are looked at, and such rooms."""

MAX_LINE_CHARS = 200
_BROUGHT = frozenset({Reach.AT_ONCE, Reach.TURN_END, Reach.NEXT_TURN})


class Kind(StrEnum):
    """What waits."""

    KNOCK = "knock"
    """Somebody wants to be let in."""

    REQUEST = "request"
    """Somebody wrote whom we do not know."""

    QUESTION = "question"
    MAIL = "mail"


class Item(Result):
    """One thing that waits."""

    kind: Kind
    owner: str
    """The name of the identity of ours that it is for."""

    owner_id: AgentId
    room: RoomName
    hub: str
    since: int
    """Epoch milliseconds."""

    agent: AgentId | None = None
    """Who it is from."""

    name: Foreign | None = None
    role: Foreign | None = None
    fingerprint: str | None = None
    topic: Foreign | None = None
    affiliation: Affiliation | None = None
    text: Foreign | None = None
    """The first line of what was said."""

    seq: Seq | None = None
    """Of the message in its room, the first of several."""

    count: int = 1
    last: Seq | None = None
    """Of mail: up to where it is read by reading it, and no question with it; none if a
    question comes before."""

    signature: Signature | None = None
    asks_person: bool = False
    """A question of an agent to its person, which `parler answer` answers."""

    choices: list[Foreign] = msgspec.field(default_factory=list)
    """Of such a question: what the answer is one of, if it is not free."""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from any other thing that waits, also later."""
        when = str(self.since)
        return (self.kind, self.hub, self.room, self.owner_id, self.agent or "", when)


class InboxResult(Result):
    """What waits, newest first; `admitted` were let in by this look."""

    items: list[Item]
    admitted: list[OwnKnock] = msgspec.field(default_factory=list)
    unreachable: list[Away] = msgspec.field(default_factory=list)
    permissions: list[PermissionRequest] = msgspec.field(default_factory=list)
    """What apps of this machine ask, the oldest first."""


class GlanceResult(Result):
    """What waits, who is here, and the rooms; `admitted` as that of the inbox."""

    items: list[Item]
    agents: list[Peer]
    rooms: list[OwnRoom]
    admitted: list[OwnKnock] = msgspec.field(default_factory=list)
    unreachable: list[Away] = msgspec.field(default_factory=list)
    permissions: list[PermissionRequest] = msgspec.field(default_factory=list)
    """As of the inbox."""


async def inbox(household: Household, here: Here) -> InboxResult:
    """What waits for the person.

    Raises:
        ParlerError: No hub could be asked.
    """
    attended = attended_agents(here)

    async def look(own: Own) -> Waiting:
        return await waiting_for(own, await rooms_of(own), attended)

    seen = await household.each(look)
    return InboxResult(
        items=newest_first([item for one in seen.found for item in one.items]),
        admitted=[knock for one in seen.found for knock in one.admitted],
        unreachable=seen.away,
        permissions=permissions(here),
    )


async def glance(household: Household, here: Here) -> GlanceResult:
    """What waits, which agents are here, and all rooms.

    Raises:
        ParlerError: No hub could be asked.
    """
    attended = attended_agents(here)

    async def look(own: Own) -> tuple[Waiting, list[OwnRoom]]:
        rooms = await rooms_of(own)
        return await waiting_for(own, rooms, attended), rooms

    seen = await household.each(look)
    return GlanceResult(
        items=newest_first([item for one, _ in seen.found for item in one.items]),
        admitted=[knock for one, _ in seen.found for knock in one.admitted],
        agents=(await peers(here, PeersParams())).peers,
        rooms=[room for _, rooms in seen.found for room in rooms],
        unreachable=seen.away,
        permissions=permissions(here),
    )


INBOX = Capability(
    run=inbox,
    also=[glance, permissions],
    result=[InboxResult, GlanceResult],
    about="Show what waits for you: knocks, questions, messages.",
    more="For you and all your agents, as far as none of them is there to be shown it. "
    "Looking takes nothing away. `parler` alone shows it with your agents and rooms.",
    command="inbox",
    example="""\
parler inbox
parler inbox --watch""",
    no_tool="it is the person's; agents are told what is for them",
)


def attended_agents(here: Here) -> frozenset[AgentId]:
    """The agents that run here and are shown their mail without anybody asking."""
    live = read_live(here.home)
    return frozenset(one.agent for one in live if reach_of(one) in _BROUGHT)


def newest_first(items: list[Item]) -> list[Item]:
    """As a person reads them; who knocks stands before what was said."""
    return sorted(items, key=lambda one: (one.kind is not Kind.KNOCK, -one.since))


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one look at one place found."""

    items: list[Item]
    admitted: list[OwnKnock]
    """Who was let in by it, as had been decided."""


async def waiting_for(
    own: Own, rooms: list[OwnRoom], attended: Collection[AgentId]
) -> Waiting:
    """What waits at the rooms of one identity."""
    # Who may walk in was decided before; nobody else may be there to let it in.
    knocks, admitted = await knocks_at(own, rooms, admit=True)
    items = list(map(_knock, knocks))
    questions = await questions_to(own, rooms) if own.agent.is_person else []
    is_open = [one for one in questions if one.is_open(own.ctx.now())]
    # Anybody may have the name of an agent of ours.
    asking = await affiliations(own.ctx, [one.agent for one in is_open])
    items += [_question(own, one, asking.get(one.agent)) for one in is_open]
    # An old one that nobody has read is mail like any other.
    done = [one for one in questions if one.answer_seq is not None]
    asked = {(one.room, one.seq) for one in [*is_open, *done]}
    open_ = {(one.room, one.seq) for one in is_open}
    direct = [one for one in rooms if one.kind is RoomKind.DM and one.unread]
    unread = {one.name: one for one in _likely_first(own.ctx, direct)[:MAX_LOOKED_INTO]}
    # In an agent's shell a model would read it.
    unasked = [] if own.ctx.for_model() else list(unread)
    strangers = await message_requests(own.ctx, unasked)
    items += [_item(own, unread[r], m, Kind.REQUEST) for r, m in strangers]
    if own.ctx.identity.agent_id in attended:
        return Waiting(items, admitted)
    if not unread:
        return Waiting(items, admitted)
    # What the person says itself waits for an agent, not for the person.
    people = await asyncio.to_thread(People.read, machine_home(own.agent.home))
    mine = {own.ctx.client.agent_id, people.own}
    looked_at = 0
    for room in unread.values():
        if looked_at >= MAX_LOOKED_AT:
            break
        if await standing_in(own.ctx, room.name) is Standing.KNOWN:
            looked_at += 1
            items += await _mail(own, room, asked, open_, mine)
    return Waiting(items, admitted)


def _likely_first(ctx: OpContext, rooms: list[OwnRoom]) -> list[OwnRoom]:
    """Where we wrote before comes first: strangers may have opened any other."""
    records = ctx.known_rooms.records()
    written = {one.room for one in records if same_hub(one.hub, ctx.hub)}
    return sorted(rooms, key=lambda one: one.name not in written)


def _knock(one: OwnKnock) -> Item:
    return Item(
        kind=Kind.KNOCK,
        owner=one.owner,
        owner_id=one.owner_id,
        room=one.room,
        hub=one.hub,
        since=one.requested_at,
        agent=one.agent,
        name=one.name,
        role=one.role,
        fingerprint=one.fingerprint,
        topic=one.topic,
        affiliation=one.affiliation,
    )


async def _mail(
    own: Own,
    room: OwnRoom,
    asked: Collection[tuple[RoomName, Seq]],
    open_: Collection[tuple[RoomName, Seq]],
    mine: Collection[AgentId | None],
) -> list[Item]:
    """The unread messages of a direct room, as one item; each question as its own.

    Args:
        asked: Questions that are shown already, or answered.
        open_: Those of them that wait for an answer.
        mine: Whose words are no mail.
    """
    ctx = own.ctx
    try:
        seen = await read_up_to(ctx, room.name) or 0
        batch = await ctx.client.pull(room.name, since=seen, limit=MAX_LOOKED_AT)
    except HubRefused:
        return []
    news = [
        one
        for one in batch.messages
        if one.author.id not in mine and (room.name, one.seq) not in asked
    ]
    questions = [one for one in news if ask_of(one)]
    words = [one for one in news if not ask_of(one)]
    items = [_item(own, room, one, Kind.QUESTION) for one in questions]
    if words:
        wait = [one.seq for one in questions]
        wait += [seq for of, seq in open_ if of == room.name]
        read = [one.seq for one in words if one.seq < min(wait, default=one.seq + 1)]
        mail = _item(own, room, words[0], Kind.MAIL, count=len(words))
        mail.last = read[-1] if read else None
        items.append(mail)
    return items


def _item(
    own: Own, room: OwnRoom, message: Message, kind: Kind, *, count: int = 1
) -> Item:
    author = message.author
    return Item(
        kind=kind,
        owner=own.name,
        owner_id=own.ctx.identity.agent_id,
        room=room.name,
        hub=own.ctx.hub,
        since=message.ts,
        agent=author.id,
        name=author.name,
        role=author.role,
        fingerprint=fingerprint(author.id),
        text=foreign(_first_line(message.text)),
        seq=message.seq,
        count=count,
        signature=message.signature,
    )


def _question(own: Own, one: UserQuestion, whose: Affiliation | None) -> Item:
    return Item(
        kind=Kind.QUESTION,
        owner=own.name,
        owner_id=own.ctx.identity.agent_id,
        room=one.room,
        hub=one.hub,
        since=one.since,
        agent=one.agent,
        name=one.name,
        fingerprint=one.fingerprint,
        affiliation=whose,
        text=foreign(_first_line(exact(one.question))),
        signature=Signature.VALID,
        seq=one.seq,
        asks_person=True,
        choices=one.choices,
    )


def _first_line(text: str) -> str | None:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line), "")[:MAX_LINE_CHARS] or None


# Staying

LOOK_AGAIN_SECS = 15.0
"""How often a hub is asked that announces nothing."""

PAUSE_SECS = 0.5
"""Between two looks: news come in crowds."""

_EVENTS = ("join_request", "join_resolved")


class Board(Protocol):
    """Where what waits is put up."""

    def put(self, own: Own, rooms: list[OwnRoom], waiting: Waiting) -> None:
        """All there is at one place now. Whatever it raises ends the watch."""

    def heard(self, own: Own, note: Note) -> None:
        """The hub said something there; it may be put up soon after."""


async def watch(
    own: Own,
    here: Here,
    board: Board,
    *,
    events: Sequence[str] = (),
    stir: asyncio.Event | None = None,
) -> None:
    """Keep a board true about one identity at one hub, until the connection ends.

    Args:
        events: Of which the board wants to hear besides.
        stir: Set by whoever knows that something changed.

    Raises:
        ParlerError: The connection is gone for good.
    """
    client = own.ctx.client
    stir = stir or asyncio.Event()
    others: set[RoomName] = set()
    """Rooms in which messages are no news for the person."""

    async def listen(stir: asyncio.Event) -> None:
        async for note in client.notifications():
            board.heard(own, note)
            if _matters(note, others):
                stir.set()

    await client.subscribe({*_EVENTS, *events})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(stir))
        while True:
            stir.clear()
            rooms = await rooms_of(own)
            others |= {one.name for one in rooms if one.kind is not RoomKind.DM}
            attended = await asyncio.to_thread(attended_agents, here)
            board.put(own, rooms, await waiting_for(own, rooms, attended))
            await asyncio.sleep(PAUSE_SECS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECS):
                    await stir.wait()


def _matters(note: Note, others: Collection[RoomName]) -> bool:
    """Whether something may wait that did not before."""
    match note:
        case Delivery(message=message):
            return message.room not in others
        case Event(event=event):
            return event != "receipt"
        case _:
            return True
