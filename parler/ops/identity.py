"""Who we are, what we say we are doing, and which hub we trust."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from parler._version import __version__
from parler.errors import HubError, ParlerError
from parler.identity.homes import machine_home
from parler.identity.identity import Identity, active_session, mint_identity
from parler.identity.known_hubs import KnownHubs
from parler.identity.known_rooms import KnownRooms
from parler.identity.person import find_person
from parler.identity.shown_presence import (
    ShownPresence,
    note_presence,
    presence_shown,
)
from parler.identity.signing import fingerprint
from parler.ops.capability import SETS, Capability, Param
from parler.ops.context import OpContext, Result
from parler.wire.base import AgentId
from parler.wire.codes import PROTOCOL_VERSION, Feature
from parler.wire.records import ENDED, OFFLINE
from parler.wire.replies import PresenceOk
from parler.wire.requests import Presence

GOODBYE_SECS = 2.0
"""How long a hub may take to hear that we end."""


class WhosePerson(Result):
    """The person of this machine, by whom others know its agents."""

    id: AgentId
    name: str
    fingerprint: str


class WhoamiResult(Result):
    """An identity, and where it is active."""

    id: AgentId
    fingerprint: str
    name: str
    hub: str
    home: str
    role: str | None = None
    session: str | None = None
    session_hub: str | None = None
    person: WhosePerson | None = None
    """Whose agent we are; None for the person itself, and before it was needed."""


def describe(identity: Identity, *, hub: str, home: Path) -> WhoamiResult:
    """What others know of us, and what our commands will do."""
    session = active_session(home)
    person = find_person(machine_home(home))
    return WhoamiResult(
        id=identity.agent_id,
        fingerprint=fingerprint(identity.agent_id),
        name=identity.name,
        role=identity.role,
        hub=hub,
        home=str(home),
        session=session,
        session_hub=KnownRooms(home).hub_of(session) if session else None,
        person=WhosePerson(
            id=person.agent_id,
            name=person.name,
            fingerprint=fingerprint(person.agent_id),
        )
        if person and person.agent_id != identity.agent_id
        else None,
    )


INIT = Capability(
    run=mint_identity,
    result=[WhoamiResult],
    about="Make an identity: your own key, name and role.",
    command="init",
    example="parler init --name alice --role webdev",
    no_tool="an agent's identity is made with its first command or server",
)
WHOAMI = Capability(
    run=describe,
    about="Show your id, name, fingerprint, hub and active session.",
    command="whoami",
    example="parler whoami --json",
    no_tool="the tools that need it say it",
)


class PresenceResult(Result):
    """What others are shown of us."""

    status: str
    activity: str | None = None


async def presence(
    ctx: OpContext,
    status: Annotated[str, Param("As: idle, working, waiting.", positional=True)],
    *,
    activity: Annotated[str | None, Param("In a few words.", "TEXT")] = None,
) -> PresenceResult:
    """Say what we are doing; a status without activity clears it."""
    await _say(ctx, Presence(status=status, activity=activity))
    return PresenceResult(status=status, activity=activity)


async def stay_present(ctx: OpContext, status: str, *, activity: str | None) -> None:
    """Say what we are doing for as long as we are connected (protocol 14.11).

    At a hub that knows no such thing it is as `presence`; see `end_presence`.
    """
    await _say(ctx, Presence(status=status, activity=activity, while_connected=True))


async def say_again(ctx: OpContext) -> None:
    """Say what was said before, to a hub that forgot it when we said hello."""
    if Feature.PRESENCE in ctx.client.features:
        return
    said = presence_shown(ctx.identity.home, ctx.hub, now=ctx.now())
    if said is not None:
        again = Presence(status=said.status, activity=said.activity)
        with suppress(HubError):
            await ctx.client.request(again, PresenceOk)


async def end_presence(ctx: OpContext) -> None:
    """Be seen as ended by a hub that does not see it by the end of the connection."""
    if Feature.PRESENCE in ctx.client.features:
        return
    with suppress(ParlerError, TimeoutError):
        async with asyncio.timeout(GOODBYE_SECS):
            await presence(ctx, OFFLINE, activity=ENDED)


async def _say(ctx: OpContext, said: Presence) -> None:
    await ctx.client.request(said, PresenceOk)
    if Feature.PRESENCE not in ctx.client.features:
        shown = ShownPresence(ctx.hub, said.status, said.activity, ctx.now())
        await asyncio.to_thread(note_presence, ctx.identity.home, shown)


PRESENCE = Capability(
    run=presence,
    about="Tell others what you are doing.",
    command="presence",
    example='parler presence working --activity "the API"',
    tool="parler_presence",
    call='{"status": "working", "activity": "fixing the login"}',
    hints=SETS,
)


class TrustHubResult(Result):
    """The hub as it was noted."""

    hub: str


def trust(
    known_hubs: KnownHubs,
    url: Annotated[str, Param("The refused hub's URL.", positional=True)],
) -> TrustHubResult:
    """Accept the challenge that was last refused under a URL.

    Raises:
        ConfigError: Nothing was refused under it.
    """
    return TrustHubResult(hub=known_hubs.trust(url))


TRUST_HUB = Capability(
    run=trust,
    about="Accept a hub that showed another hub's challenge.",
    more="It was refused for it. Only if both addresses are one hub: else somebody "
    "could sign in there as you.",
    command="trust-hub",
    example="parler trust-hub wss://hub.example.org",
    no_tool="which hub is trusted is for a person to decide",
)


class VersionResult(Result):
    """The program's version, and that of the protocol it speaks."""

    version: str
    protocol: str


def versions() -> VersionResult:
    """The versions of program and protocol."""
    return VersionResult(version=__version__, protocol=PROTOCOL_VERSION)


VERSION = Capability(
    run=versions,
    about="Show the version of the program and of its protocol.",
    command="version",
    example="parler version --json",
    no_tool="apps are told it when they connect",
)
