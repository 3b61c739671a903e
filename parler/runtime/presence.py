"""What others are shown of this agent: on the hub, and on this machine.

It is at work while its tools are called, and idle some time later, unless the model
said something else. Where it can be woken, and how, is shown with it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from parler.errors import ConfigError, HubRefused, ParlerError
from parler.identity.identity import Identity
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.identity import end_presence, stay_present
from parler.peers import activity
from parler.peers.presence import announce, record_here
from parler.runtime.log_file import LogFile
from parler.runtime.options import ServerOptions
from parler.wire.records import Visibility

WORKING_SECS = 120.0
"""How long after a call the agent still counts as at work."""

BEAT_SECS = 100.0
"""How often the hub is told anew; it believes nobody longer than 300 s (10.2)."""

GLANCE_SECS = 2.0
IDLE, WORKING = "idle", "working"
MAX_ACTIVITY_CHARS = 200


class Presence:
    """One agent's."""

    def __init__(
        self, options: ServerOptions, *, log: LogFile, clock: Callable[[], float]
    ) -> None:
        """Nobody is told anything yet."""
        self.wake = "none"
        """How this agent is reached while it does nothing."""

        self.app: str | None = None
        self._options = options
        self._log = log
        self._clock = clock
        self._called: float | None = None
        self._said: tuple[str, str | None] | None = None
        self._registered: set[str] = set()
        self._introducing = asyncio.Lock()
        self._stir = asyncio.Event()

    def called(self) -> None:
        """The agent uses its tools."""
        before = self.state
        self._called = self._clock()
        if self.state != before:
            self._stir.set()

    def say(self, status: str, said: str | None) -> None:
        """What the model wants to be shown; it stays until it says otherwise."""
        self._said = (status, said)

    def reachable(self, wake: str) -> None:
        """How it is woken, from now on."""
        if wake != self.wake:
            self.wake = wake
            self._stir.set()

    @property
    def state(self) -> tuple[str, str]:
        """Status and activity."""
        active = (
            self._called is not None and self._clock() - self._called < WORKING_SECS
        )
        status, said = self._said or (WORKING if active else IDLE, None)
        words = [said or self.app or "MCP", f"wake: {self.wake}"]
        return status, " · ".join(words)[:MAX_ACTIVITY_CHARS]

    async def attend(self, ctx: OpContext) -> None:
        """Tell the hub over one connection, until it ends."""
        await self.introduce(ctx)
        shown: tuple[str, str] | None = None
        beat = self._clock()
        try:
            while not self._options.presence_managed:
                late = self._clock() - beat >= BEAT_SECS
                if ctx.client.connected and (self.state != shown or late):
                    with suppress(ParlerError):
                        status, words = self.state
                        await stay_present(ctx, status, activity=words)
                        shown, beat = (status, words), self._clock()
                self._stir.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(GLANCE_SECS):
                        await self._stir.wait()
        finally:
            if shown is not None:
                await end_presence(ctx)

    async def introduce(self, ctx: OpContext) -> None:
        """See that our card is at the hub: who decides about a knock looks at it."""
        async with self._introducing:
            await self._register(ctx)

    async def _register(self, ctx: OpContext) -> None:
        options = self._options
        if not options.register or ctx.hub in self._registered:
            return
        params = RegisterParams(
            visibility=Visibility.PUBLIC if options.public else None,
            tags=list(options.tags),
            skills=list(options.skills),
            description=options.description,
        )
        try:
            await register(ctx, params)
        except HubRefused as refused:
            self._log.note(f"the card was refused: {refused.code}")
        except ParlerError as failed:
            self._log.note(f"the card was not registered: {failed.code}")
            return
        self._registered.add(ctx.hub)

    async def show_here(
        self,
        identity: Identity,
        *,
        home: Path,
        news: Callable[[], dict[str, Any]],
        app: str | None,
    ) -> None:
        """Be seen by the other agents of this machine, until cancelled.

        Args:
            home: What all agents of this user share.
            news: The fields of our record that change.
        """
        known: dict[str, Any] = {"app": app} if app else {}
        record = await asyncio.to_thread(
            partial(
                record_here,
                identity.agent_id,
                identity.name,
                folder=self._options.folder,
                role=identity.role,
                wake=self.wake,
                **news(),
                **known,
            )
        )
        try:
            handle = await asyncio.to_thread(announce, home, record)
        except (ConfigError, OSError) as failed:
            self._log.note(f"not shown on this machine: {type(failed).__name__}")
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(activity.keep_fresh(handle))
                while True:
                    await asyncio.sleep(GLANCE_SECS)
                    fields = news() | {"wake": str(self.wake)}
                    old = handle.record
                    if any(getattr(old, key) != one for key, one in fields.items()):
                        with suppress(ConfigError):
                            await asyncio.to_thread(partial(handle.update, **fields))
        finally:
            handle.close()
