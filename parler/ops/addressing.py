"""From what somebody calls an agent to its id: by id, fingerprint or name.

A name is whatever somebody calls itself, so it counts only where it is unique, and
never where it looks like an id or a fingerprint.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parler.errors import HubError, UsageError
from parler.identity.homes import machine_home
from parler.identity.identity import active_session
from parler.identity.signing import fingerprint, is_agent_id
from parler.ops.context import OpContext
from parler.peers.presence import read_live
from parler.text.terminal import shown_name
from parler.wire.base import AgentId, RoomName
from parler.wire.replies import Directory, RosterList
from parler.wire.requests import Discover, Roster
from parler.wire.urls import same_hub

MIN_PREFIX_CHARS = 9
"""Characters of a fingerprint that may stand for it: 40 bits and a dash."""

_FINGERPRINT = re.compile(r"[A-Z2-7]{4}-[A-Z2-7]{4}(-[A-Z2-7]{1,4}){0,2}-?", re.ASCII)
_WHOLE_FINGERPRINT = re.compile(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", re.ASCII)
_LISTED = 20
_LOOKED_THROUGH = 1000
"""Directory cards looked through for a name or fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may be meant."""

    agent: AgentId
    name: str

    def __str__(self) -> str:
        """The name and, since anybody may use it, the fingerprint."""
        return f"{shown_name(self.name)} {fingerprint(self.agent)}"


def as_agent_id(who: str) -> AgentId | None:
    """The id if the text is one."""
    return AgentId(who) if is_agent_id(who) else None


def is_whole_fingerprint(who: str) -> bool:
    """Whether a text is all of a fingerprint."""
    return _WHOLE_FINGERPRINT.fullmatch(who) is not None


def matching(who: str, people: Sequence[Person]) -> list[Person]:
    """Those who may be meant, each once."""
    distinct = {person.agent: person for person in people}.values()
    wanted = who.strip()
    if is_agent_id(wanted):
        return [person for person in distinct if person.agent == wanted]
    short = wanted.upper()
    if _FINGERPRINT.fullmatch(short) and len(short) >= MIN_PREFIX_CHARS:
        return [
            person for person in distinct if fingerprint(person.agent).startswith(short)
        ]
    folded = wanted.casefold()
    return [person for person in distinct if person.name.strip().casefold() == folded]


def pick(who: str, people: Sequence[Person], *, among: str, next_step: str) -> Person:
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
        f"{who!r} could be any of {len(found)} {among}: {listed}",
        next_step="use the fingerprint or the id instead of the name",
    )


async def find_agent(ctx: OpContext, who: str) -> Person:
    """Whom a direct message goes to: an id, a unique name, or a fingerprint.

    Looks among the members of the active session, the agents of this machine that are
    on the same hub, and in the hub's directory.

    Raises:
        UsageError: Nobody is meant, or more than one.
    """
    known = as_agent_id(who.strip())
    if known:
        return Person(agent=known, name="")
    active = active_session(ctx.identity.home)
    people = await members_of(ctx, RoomName(active)) if active else []
    people += _here(ctx)
    refused: HubError | None = None
    try:
        people += await _listed(ctx)
    except HubError as error:
        refused = error
    others = [one for one in people if one.agent != ctx.client.agent_id]
    if refused is not None and not matching(who, others):
        raise UsageError(
            f"nobody called {who!r} is a member of the active session, and the hub "
            f"does not search its directory: {refused.message}",
            next_step="use the agent's id: its `parler whoami` shows it",
        )
    return pick(
        who,
        others,
        among="is a member of the active session or in the hub's directory",
        next_step="parler roster, or use the agent's id: its `parler whoami` shows it",
    )


async def members_of(ctx: OpContext, room: RoomName) -> list[Person]:
    """Who is in a room; nobody if it is on another hub, or we are not in it."""
    try:
        listed = await ctx.client.request(Roster(room=room), RosterList)
    except HubError:
        return []
    return [Person(agent=entry.id, name=entry.name) for entry in listed.entries]


def _here(ctx: OpContext) -> list[Person]:
    live = read_live(machine_home(ctx.identity.home))
    return [
        Person(agent=one.agent, name=one.name)
        for one in live
        if one.hub is not None and same_hub(one.hub, ctx.hub)
    ]


async def _listed(ctx: OpContext) -> list[Person]:
    # Not narrowed by a query: a hub searches in more than the name, a fingerprint is
    # in none of its fields, and a second agent of the same name must be seen.
    found = await ctx.client.request(Discover(limit=_LOOKED_THROUGH), Directory)
    return [Person(agent=entry.card.id, name=entry.card.name) for entry in found.agents]
