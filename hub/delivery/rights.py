"""Who is still handed something and must look again whether it may have it.

Nothing is decided here: whoever hands out for long is woken when a membership ended,
and asks the store, which has the truth.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from parler.wire.base import AgentId


class Rights:
    """Those who look again when an agent lost a right."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._watching: dict[AgentId, set[asyncio.Event]] = {}

    @contextmanager
    def watched(self, agent: AgentId) -> Iterator[asyncio.Event]:
        """Register before the first look: the event is set when a right ended."""
        ended = asyncio.Event()
        watching = self._watching.setdefault(agent, set())
        watching.add(ended)
        try:
            yield ended
        finally:
            watching.discard(ended)
            if not watching and self._watching.get(agent) is watching:
                del self._watching[agent]

    def ended(self, agents: Iterable[AgentId]) -> None:
        """Have whoever hands something to these look again."""
        for agent in agents:
            for ended in self._watching.get(agent, ()):
                ended.set()
