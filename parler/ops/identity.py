"""Who we are, what we say we are doing, and which hub we trust."""

from pathlib import Path

from parler._version import __version__
from parler.identity.identity import Identity, active_session
from parler.identity.known_hubs import KnownHubs
from parler.identity.known_rooms import KnownRooms
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.wire.base import AgentId
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.replies import PresenceOk
from parler.wire.requests import Presence


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


def describe(identity: Identity, *, hub: str, home: Path) -> WhoamiResult:
    """What others know of us, and what our commands will do."""
    session = active_session(home)
    return WhoamiResult(
        id=identity.agent_id,
        fingerprint=fingerprint(identity.agent_id),
        name=identity.name,
        role=identity.role,
        hub=hub,
        home=str(home),
        session=session,
        session_hub=KnownRooms(home).hub_of(session) if session else None,
    )


class PresenceResult(Result):
    """What others are shown of us."""

    status: str
    activity: str | None = None


async def presence(
    ctx: OpContext, status: str, *, activity: str | None = None
) -> PresenceResult:
    """Say what we are doing; a status without activity clears it."""
    await ctx.client.request(Presence(status=status, activity=activity), PresenceOk)
    return PresenceResult(status=status, activity=activity)


class TrustResult(Result):
    """The hub as it was noted."""

    hub: str


def trust(known_hubs: KnownHubs, url: str) -> TrustResult:
    """Accept the challenge that was last refused under a URL.

    Raises:
        ConfigError: Nothing was refused under it.
    """
    return TrustResult(hub=known_hubs.trust(url))


class VersionResult(Result):
    """The program's version, and that of the protocol it speaks."""

    version: str
    protocol: str


def versions() -> VersionResult:
    """The versions of program and protocol."""
    return VersionResult(version=__version__, protocol=PROTOCOL_VERSION)
