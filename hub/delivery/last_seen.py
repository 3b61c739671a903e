"""Stores when each agent connected last, and not again within the same minute.

An agent that asks in short-lived connections would otherwise cost a commit each time,
for a row that says the same but for its second.
"""

from functools import partial

from hub.store import agents
from hub.store.agents import Greeting
from hub.store.engine import Store
from parler.wire.base import AgentId

FRESH_MS = 60_000
"""How long a greeting is believed to say what the database says; `last_seen` and the
time of a presence may lag behind by so much."""

MAX_KNOWN = 10_000
"""Agents that are remembered; a stranger pushes out who connected longest ago."""


class LastSeen:
    """Who was noted when, and under which name."""

    def __init__(self, store: Store) -> None:
        """Know nobody."""
        self._store = store
        self._known: dict[AgentId, Greeting] = {}
        self.max_known = MAX_KNOWN

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    async def note(
        self, agent: AgentId, name: str, role: str | None, *, now: int
    ) -> None:
        """Note that an agent connected under this name and role (protocol 2.3).

        Raises:
            Refusal: It cannot be stored.
        """
        known = self._known.pop(agent, None)
        if (
            known is not None
            and (known.name, known.role) == (name, role)
            and 0 <= now - known.now < FRESH_MS
        ):
            self._known[agent] = known
            return
        greeting = Greeting(agent=agent, name=name, role=role, now=now)
        await self._store.write_one_of_many("greet", agents.greet_all, greeting)
        self._known[agent] = greeting
        while len(self._known) > self.max_known:
            del self._known[next(iter(self._known))]

    async def note_new(
        self, agent: AgentId, name: str, role: str | None, *, now: int
    ) -> None:
        """Note an agent that was never here before it looks (protocol 14.12).

        Raises:
            Refusal: It cannot be stored.
        """
        known = partial(agents.name_of, agent=agent)
        if agent in self._known or await self._store.read("name", known) is not None:
            return
        greeting = Greeting(agent=agent, name=name, role=role, now=now)
        await self._store.write("greet", partial(agents.greet_new, greeting=greeting))
