"""From what somebody calls an agent to its id."""

from parler.errors import HubError, UsageError
from parler.identity.identity import active_session
from parler.ops.context import OpContext
from parler.ops.people import Person, as_agent_id, matching, pick
from parler.peers.presence import machine_home, read_live
from parler.wire.base import RoomName
from parler.wire.replies import Directory, RosterList
from parler.wire.requests import Discover, Roster
from parler.wire.urls import same_hub

_LOOKED_THROUGH = 1000
"""Directory cards looked through for a name or fingerprint."""


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
    people = [*await _members(ctx), *_here(ctx)]
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


async def _members(ctx: OpContext) -> list[Person]:
    room = active_session(ctx.identity.home)
    if not room:
        return []
    try:
        listed = await ctx.client.request(Roster(room=RoomName(room)), RosterList)
    except HubError:
        return []  # the session lives on another hub, or we are no longer in it
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
