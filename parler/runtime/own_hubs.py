"""Looking at each hub in the name of each identity of this user.

Side by side, a few at a time, each for a bounded time. Whoever looks is not seen: what
the agents themselves do at the hub, and how they seem, stays as it is. A hub that
cannot be reached is named once and hides nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

from parler.errors import ConnectFailed, ParlerError, TransportError
from parler.identity.chosen_hub import SHARED_HUB
from parler.identity.identity import Identity
from parler.identity.known_rooms import KnownRooms
from parler.identity.own_agents import OwnAgent
from parler.identity.settings import HubSource, Settings
from parler.machine.backoff import Backoff, system_fraction
from parler.ops.context import OpContext
from parler.ops.own import Away, Own, Seen
from parler.runtime import bootstrap
from parler.runtime.dialling import LocalStart
from parler.wire.urls import same_hub

AT_ONCE = 8
"""Connections at a time."""

LOOK_SECS = 20.0
"""For one connection and what is asked over it."""

GLANCE_SECS = 3.0
"""As `LOOK_SECS`, for who only wants a quick look."""

AGAIN_SECS = 2.0
"""How soon whoever stays looks for new identities, and tries a hub again."""

MAX_LOOKS = 200
"""Identities that are looked at, at one hub each time."""

T = TypeVar("T")
_Who: TypeAlias = tuple[OwnAgent, Identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHubs:
    """The identities that are meant, and where to look (`parler.ops.own.Household`)."""

    settings: Settings
    """Of this process."""

    agents: Sequence[OwnAgent]
    local: LocalStart | None
    """How this machine's own hub is started; None only looks."""

    hub: str | None = None
    """Only this one, whatever hubs they know."""

    look_secs: float = LOOK_SECS

    async def each(self, look: Callable[[Own], Awaitable[T]]) -> Seen[T]:
        """Look in the name of each identity at each of its hubs.

        Raises:
            ParlerError: No hub could be asked.
        """
        gate = asyncio.Semaphore(AT_ONCE)

        async def at(hub: str, who: _Who) -> T | ParlerError:
            async with gate:
                return await self._at(hub, who, look)

        async def all_at(hub: str, who: Sequence[_Who]) -> list[T | ParlerError]:
            # The first one finds out whether it is there at all.
            first = await at(hub, who[0])
            if isinstance(first, TransportError):
                return [first]
            return [first, *await asyncio.gather(*(at(hub, one) for one in who[1:]))]

        seen: Seen[T] = Seen()
        errors: list[ParlerError] = []
        by_hub = self._by_hub()
        each = await asyncio.gather(*(all_at(*one) for one in by_hub.items()))
        for hub, results in zip(by_hub, each, strict=True):
            seen.found += [one for one in results if not isinstance(one, ParlerError)]
            failed = [one for one in results if isinstance(one, ParlerError)]
            seen.away += [Away(hub=hub, reason=one.message) for one in failed[:1]]
            errors += failed
        if errors and not seen.found:
            raise errors[0]
        return seen

    async def _at(
        self, hub: str, who: _Who, look: Callable[[Own], Awaitable[T]]
    ) -> T | ParlerError:
        agent, identity = who
        try:
            async with (
                asyncio.timeout(self.look_secs),
                self.connected(agent, identity, hub) as ctx,
            ):
                return await look(Own(agent=agent, name=ctx.identity.name, ctx=ctx))
        except TimeoutError:
            return ConnectFailed(hub, f"no answer within {self.look_secs:g} s")
        except ParlerError as error:
            return error

    def _by_hub(self) -> dict[str, list[_Who]]:
        by_hub: dict[str, list[_Who]] = {}
        for agent, identity, hub in islice(self.places(), MAX_LOOKS):
            known = next((one for one in by_hub if same_hub(one, hub)), hub)
            by_hub.setdefault(known, []).append((agent, identity))
        return by_hub

    async def stay(
        self,
        watch: Callable[[Own], Awaitable[None]],
        trouble: Callable[[str, ParlerError], None],
        agents: Callable[[], Sequence[OwnAgent]],
    ) -> None:
        """Watch at each hub in the name of each identity, until cancelled.

        What a watch raises that is no `ParlerError` ends it all.

        Args:
            trouble: Told of a hub that is not reached, each time it is tried.
            agents: The identities there are by now; looked for again and again.
        """

        async def at(agent: OwnAgent, identity: Identity, hub: str) -> None:
            pace = Backoff(system_fraction)
            while True:
                try:
                    async with self.connected(agent, identity, hub) as ctx:
                        pace.reset()
                        await watch(Own(agent=agent, name=ctx.identity.name, ctx=ctx))
                except* ParlerError as several:
                    trouble(hub, first_of(several))
                await asyncio.sleep(max(pace.next(), AGAIN_SECS))

        watched: set[tuple[Path, str]] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = replace(self, agents=await asyncio.to_thread(agents))
                for agent, identity, hub in islice(now.places(), MAX_LOOKS):
                    if (agent.home, hub) not in watched:
                        watched.add((agent.home, hub))
                        tasks.create_task(at(agent, identity, hub))
                await asyncio.sleep(AGAIN_SECS)

    def connected(
        self, agent: OwnAgent, identity: Identity, hub: str
    ) -> AbstractAsyncContextManager[OpContext]:
        """A connection in the name of one of them, which only looks."""
        settings = self.settings
        if agent.home != settings.home:
            settings = replace(settings, home=agent.home, name=None, role=None)
        elif settings.name:
            identity = replace(identity, name=settings.name)
        return bootstrap.connected(hub, settings, identity, local=self.local, look=True)

    def places(self) -> Iterator[tuple[OwnAgent, Identity, str]]:
        """Each identity that can be read, with each of its hubs."""
        for agent in self.agents:
            identity = agent.identity
            if identity is None:
                continue
            if self.hub is not None:
                yield agent, identity, self.hub
                continue
            for hub in self._hubs(agent, identity):
                yield agent, identity, hub

    def _hubs(self, agent: OwnAgent, identity: Identity) -> list[str]:
        """Where an identity may have rooms."""
        chosen = self.settings.hub_source is HubSource.CHOICE
        is_this_one = agent.home == self.settings.home
        usual = self.settings.hub if is_this_one or chosen else identity.hub_url
        # Earlier versions saved a hub that nobody had named.
        hubs = [] if same_hub(usual, SHARED_HUB) and not chosen else [usual]
        try:
            known = KnownRooms(agent.home).hubs()
        except ParlerError:
            known = []
        for hub in known:
            if not any(same_hub(hub, one) for one in hubs):
                hubs.append(hub)
        return hubs


def first_of(several: BaseExceptionGroup[BaseException]) -> ParlerError:
    """The first of several errors of ours."""
    first = several.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, ParlerError)
    return first
