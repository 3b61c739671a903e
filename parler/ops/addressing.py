"""From what somebody calls an agent to its id: by id, fingerprint or name.

A name is whatever somebody calls itself, so it counts only where it is unique, and
never where it looks like an id or a fingerprint.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from parler.errors import HubRefused, UsageError
from parler.identity.homes import machine_home
from parler.identity.identity import active_session
from parler.identity.people import People, Relation
from parler.identity.signing import fingerprint, is_agent_id
from parler.ops.context import OpContext
from parler.peers.presence import read_live
from parler.text.terminal import shown_name
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import Feature
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.records import DirectoryEntry
from parler.wire.replies import Directory, RosterList
from parler.wire.requests import Discover, Roster
from parler.wire.urls import same_hub

MIN_PREFIX_CHARS = 9
"""Characters of a fingerprint that may stand for it: 40 bits and a dash."""

_FINGERPRINT = re.compile(r"[A-Z2-7]{4}-[A-Z2-7]{4}(-[A-Z2-7]{1,4}){0,2}-?", re.ASCII)
_WHOLE_FINGERPRINT = re.compile(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", re.ASCII)
_LISTED = 20
PAGE = 1000
"""Cards a hub lists in one answer at most (protocol 3.4)."""

MAX_LISTED = 100_000
"""Cards looked through for a fingerprint, or listed, in as many answers as it takes."""


class Near(IntEnum):
    """How near somebody is to us; where a name is several agents', nearer ones win."""

    OWN = 0
    CONTACT = 1
    HERE = 2
    """In the active session."""

    MET = 3
    """The hub says that we share a session."""

    STRANGER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Somebody who may be meant."""

    agent: AgentId
    name: Foreign
    near: Near = Near.STRANGER

    def __str__(self) -> str:
        """The name and, since anybody may use it, the fingerprint."""
        return f"{shown_name(self.name)} {fingerprint(self.agent)}"


def as_agent_id(who: str) -> AgentId | None:
    """The id if the text is one."""
    return AgentId(who) if is_agent_id(who) else None


def is_whole_fingerprint(who: str) -> bool:
    """Whether a text is all of a fingerprint."""
    return _WHOLE_FINGERPRINT.fullmatch(who) is not None


def looks_like_a_fingerprint(who: str) -> bool:
    """Whether a text is one, or enough of its beginning to be taken for one."""
    short = who.strip().upper()
    return len(short) >= MIN_PREFIX_CHARS and _FINGERPRINT.fullmatch(short) is not None


def matching(who: str, people: Sequence[Candidate]) -> list[Candidate]:
    """Those who may be meant, each once."""
    distinct = {person.agent: person for person in people}.values()
    wanted = who.strip()
    if is_agent_id(wanted):
        return [person for person in distinct if person.agent == wanted]
    if looks_like_a_fingerprint(wanted):
        short = wanted.upper()
        return [
            person for person in distinct if fingerprint(person.agent).startswith(short)
        ]
    folded = wanted.casefold()
    return [
        person for person in distinct if exact(person.name).strip().casefold() == folded
    ]


def pick(
    who: str, people: Sequence[Candidate], *, among: str, next_step: str
) -> Candidate:
    """The one who is meant.

    Args:
        among: Whom `people` are, to end the sentence "nobody called X …".
        next_step: The command that lists them.

    Raises:
        UsageError: Nobody, or more than one.
    """
    found = matching(who, people)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"nobody called {who!r} {among}", next_step=next_step)
    listed = ", ".join(str(person) for person in found[:_LISTED])
    raise UsageError(
        f"more than one called {who!r} {among}: {listed}",
        next_step="use the fingerprint or the id instead of the name",
    )


async def find_agent(ctx: OpContext, who: str) -> Candidate:
    """Whom a direct message goes to: an id, a unique name, or a fingerprint.

    Where several have that name, our own agents are meant, then those of contacts, then
    members of the active session, then those we share another session with: a stranger
    takes no name from those we know.

    Raises:
        UsageError: Nobody is meant, or more than one.
    """
    known = as_agent_id(who.strip())
    if known:
        return Candidate(agent=known, name=foreign(""))
    active = active_session(ctx.identity.home)
    met = await members_of(ctx, RoomName(active)) if active else []
    people = _but(ctx.client.agent_id, [*met, *_here(ctx)])
    # Who is meant may have to give way to somebody nearer, which the directory tells;
    # a hub that does not search it by name has to list all of it.
    if Feature.DIRECTORY in ctx.client.features or not matching(who, people):
        try:
            people += _but(ctx.client.agent_id, await named(ctx, who))
        except HubRefused as error:
            if not matching(who, people):
                raise UsageError(
                    f"nobody called {who!r} is a member of the active session, and the "
                    f"hub does not search its directory: {error.message}",
                    next_step="use the agent's id: its `parler whoami` shows it",
                ) from None
    return pick(
        who,
        nearest(who, people),
        among="is a member of the active session or in the hub's directory",
        next_step="parler roster, or use the agent's id: its `parler whoami` shows it",
    )


async def members_of(ctx: OpContext, room: RoomName) -> list[Candidate]:
    """Who is in a room; nobody if it is on another hub, or we are not in it."""
    try:
        listed = await ctx.client.request(Roster(room=room), RosterList)
    except HubRefused:
        return []
    return [
        Candidate(agent=entry.id, name=entry.name, near=Near.HERE)
        for entry in listed.entries
    ]


def _here(ctx: OpContext) -> list[Candidate]:
    live = read_live(machine_home(ctx.identity.home))
    return [
        Candidate(agent=one.agent, name=foreign(one.name), near=Near.OWN)
        for one in live
        if one.hub is not None and same_hub(one.hub, ctx.hub)
    ]


async def named(ctx: OpContext, who: str) -> list[Candidate]:
    """Those of the hub's directory who may be meant by a name or a fingerprint."""
    if not looks_like_a_fingerprint(who):
        if Feature.DIRECTORY in ctx.client.features:
            frames = [Discover(name=who)]
        else:
            # A hub searches in more than the name, and not in all that is a name; so
            # what is narrowed by it shows one whom others hide, and what is not a
            # second one of that name.
            frames = [Discover(query=who), Discover()]
    else:
        frames = [Discover()]  # it is in no field of a card
    people: list[Candidate] = []
    home = machine_home(ctx.identity.home)
    known = await asyncio.to_thread(People.read, home)
    for frame in frames:
        cards = await look_through(ctx, frame, most=MAX_LISTED)
        people += [
            Candidate(
                agent=agent,
                name=one.card.name,
                near=_near(known, one, met=agent in cards.known),
            )
            for agent, one in cards.found.items()
        ]
    return people


def nearest(who: str, people: Sequence[Candidate]) -> list[Candidate]:
    """Of those who may be meant, the nearest ones."""
    meant = [one for one in people if matching(who, [one])]
    near = min((one.near for one in meant), default=Near.STRANGER)
    return [one for one in meant if one.near is near]


def _near(known: People, entry: DirectoryEntry, *, met: bool) -> Near:
    person = known.behind(entry.card.id, entry.card, entry.sig)
    if person is not None and person.relation is Relation.OWN:
        return Near.OWN
    if person is not None and person.relation is Relation.CONTACT:
        return Near.CONTACT
    return Near.MET if met else Near.STRANGER


@dataclass(slots=True)
class Cards:
    """What a directory lists, as far as it was asked."""

    found: dict[AgentId, DirectoryEntry] = field(default_factory=dict)
    known: set[AgentId] = field(default_factory=set)
    """Those of them who are in a session with us."""

    more: bool = False
    """Whether there may be others."""


async def look_through(ctx: OpContext, frame: Discover, *, most: int) -> Cards:
    """Ask for cards, page after page; a hub without pages shows one."""
    cards = Cards()
    found, paged = cards.found, Feature.DIRECTORY in ctx.client.features
    while True:
        limit = min(most - len(found), PAGE)
        asked = msgspec.structs.replace(frame, limit=limit)
        page = await ctx.client.request(asked, Directory)
        before = len(found)
        for entry in page.agents:
            found.setdefault(entry.card.id, entry)
        cards.known.update(page.known or ())
        cards.more = page.next is not None if paged else len(page.agents) >= limit
        if not (paged and cards.more) or len(found) == before or len(found) >= most:
            return cards
        frame = msgspec.structs.replace(frame, after=exact(page.next))


def _but(me: AgentId, people: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in people if one.agent != me]
