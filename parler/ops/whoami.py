"""Who we are, without asking any hub."""

from pathlib import Path

from parler.identity.identity import Identity, active_session
from parler.identity.known_rooms import SessionBook
from parler.identity.signing import fingerprint
from parler.ops.context import Result
from parler.wire.base import AgentId


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
        session_hub=SessionBook(home).hub_of(session) if session else None,
    )
