"""Who is asking: the agent behind a connection, as it proved itself."""

import asyncio
from dataclasses import dataclass

from hub.notifier import Listener
from parler.wire.base import AgentId


@dataclass(slots=True, kw_only=True)
class Caller:
    """An authenticated agent on one connection."""

    agent: AgentId
    name: str
    role: str | None
    ip: str | None
    listener: Listener
    stopping: asyncio.Event
    """Set when the hub stops: whatever waits answers now."""

    events: frozenset[str] = frozenset()
    touched_ms: int = 0
