"""Keeps a connection to one hub: dials in the background, again whenever it is lost.

Starting does not wait for it. What is done over a connection is handed in (`attend`).
Another hub may be served from some moment on, since a key that a user pastes may belong
to a room on another hub.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from parler.errors import ConfigError, ParlerError, TransportError
from parler.identity.settings import Settings
from parler.machine.backoff import Backoff, system_fraction
from parler.ops.context import OpContext
from parler.runtime import bootstrap
from parler.runtime.log_file import LogFile
from parler.text.terminal import visible

FIRST_SECS = 10.0
AGAIN_SECS = 1.0
"""How long a tool waits for the hub: while it is dialled first, and after it failed."""

LONGEST_PAUSE_SECS = 5.0
REFUSED_PAUSE_SECS = 15.0
"""After an answer that will not change by asking at once again."""

MAX_REASON_CHARS = 300
_GLANCE_SECS = 0.05


class HubAway(TransportError):
    """The hub is not there at this moment; it is being dialled."""

    code = "hub_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is no connection, and since when."""

    reason: str
    since: int
    next_step: str | None = None
    passing: bool = True


class _Moved(Exception):
    """Another hub is to be served."""


class HubLink:
    """Keeps one hub connected."""

    def __init__(
        self,
        hub: str,
        settings: Settings,
        *,
        log: LogFile,
        attend: Callable[[OpContext], Awaitable[None]],
        now: Callable[[], int],
        fraction: Callable[[], float] = system_fraction,
    ) -> None:
        """Nothing is dialled before `run`.

        Args:
            attend: Works over a connection for as long as it is given it.
        """
        self.hub = hub
        self.trouble: Trouble | None = None
        self._settings = settings
        self._log = log
        self._attend = attend
        self._now = now
        self._backoff = Backoff(fraction, first=0.2, longest=LONGEST_PAUSE_SECS)
        self._ctx: OpContext | None = None
        self._changed = asyncio.Event()
        self._move = asyncio.Event()

    @property
    def ctx(self) -> OpContext | None:
        """What operations are given, while there is a connection."""
        ctx = self._ctx
        return ctx if ctx is not None and ctx.client.connected else None

    async def ready(self, secs: float = FIRST_SECS) -> OpContext:
        """A connection, waited for so long at most; less, once it is known to fail.

        Raises:
            HubAway: There is none yet.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            if ctx := self.ctx:
                return ctx
            failing = self.trouble is not None or self._ctx is not None
            left = began + (min(secs, AGAIN_SECS) if failing else secs) - clock()
            if left <= 0:
                raise HubAway(self.state() or "the hub is being dialled")
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _GLANCE_SECS)):
                    await self._changed.wait()

    def state(self) -> str | None:
        """What is wrong with the connection, in a sentence; None if it is there."""
        if self.ctx is not None:
            return None
        if self._ctx is not None:
            return f"the connection to the hub {self.hub} is gone; it is dialled again"
        if self.trouble is None:
            return f"the hub {self.hub} is being dialled"
        secs = max(0, self._now() - self.trouble.since) // 1000
        return (
            f"there is no connection to the hub {self.hub} for {secs} s: "
            f"{_short(self.trouble.reason)}; it is dialled again and again"
        )

    def serve(self, hub: str) -> None:
        """Serve another hub from now on."""
        self.hub = hub
        self.trouble = None
        self._ctx = None  # from this moment on, the other one is not meant any more
        self._backoff.reset()
        self._move.set()

    async def run(self) -> None:
        """Keep it connected until cancelled."""
        while True:
            self._move.clear()
            try:
                await self._once(self.hub)
            except* _Moved:
                self._log.note("another hub is served")
            except* ParlerError as several:
                self._note(_first(several.exceptions))
            except* OSError as several:
                reason = _leaf(several)
                self._note(ConfigError(f"a file of ours: {reason}"))
            except* Exception as several:  # noqa: BLE001 - tools must outlive our faults
                kind = type(_leaf(several)).__name__
                self._note(ConfigError(f"a fault of parler ({kind})"))
            if not self._move.is_set():
                await self._pause()

    async def _once(self, hub: str) -> None:
        identity, fresh = await asyncio.to_thread(
            bootstrap.identity_of, self._settings, hub=hub
        )
        if fresh:
            self._log.note("a new identity was made")
        try:
            async with bootstrap.connected(
                hub, self._settings, identity, for_model=True
            ) as ctx:
                self._ctx = ctx
                self.trouble = None
                self._backoff.reset()
                self._changed.set()
                self._log.note("connected")
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._mind_moves())
                    await self._attend(ctx)
        finally:
            self._ctx = None

    async def _mind_moves(self) -> None:
        await self._move.wait()
        raise _Moved

    async def _pause(self) -> None:
        passing = self.trouble is None or self.trouble.passing
        secs = self._backoff.next() if passing else REFUSED_PAUSE_SECS
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                await self._move.wait()

    def _note(self, error: ParlerError) -> None:
        reason = error.message
        if self.trouble is None or self.trouble.reason != reason:
            self._log.note(f"no connection: {error.code}")
            self.trouble = Trouble(
                reason=reason,
                since=self._now(),
                next_step=error.next_step,
                passing=error.retryable,
            )
        self._changed.set()


def _short(reason: str) -> str:
    """A hub chooses its words itself."""
    shown = visible(reason)
    return shown if len(shown) <= MAX_REASON_CHARS else f"{shown[:MAX_REASON_CHARS]}…"


def _first(errors: Sequence[BaseException]) -> ParlerError:
    error = _leaf(errors[0])
    assert isinstance(error, ParlerError)
    return error


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
