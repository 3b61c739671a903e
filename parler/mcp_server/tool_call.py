"""What a tool is given with a call, and what it gives back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parler.apps.kit.app import App
from parler.apps.registry import app_of_client
from parler.errors import ParlerError, UsageError
from parler.identity.identity import active_session, knocked_at, noted_session
from parler.identity.settings import Settings
from parler.ops.context import OpContext, not_in_yet
from parler.wire.base import RoomName

if TYPE_CHECKING:
    from parler.runtime.delivery import Delivery
    from parler.runtime.hub_link import HubLink
    from parler.runtime.joining import Joiner
    from parler.runtime.options import ServerOptions
    from parler.runtime.outbox import Outbox
    from parler.runtime.presence import Presence
    from parler.runtime.receipt import Claim
    from parler.text.transcript import Reader
    from parler.wake.spool import Held

FIRST_PROGRESS_SECS, PROGRESS_SECS = 1.0, 5.0
T = TypeVar("T")

MAX_RESULT_CHARS = 20_000
"""Of one result; what is left out, and how to get it, is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the tools of one server share."""

    settings: Settings
    options: "ServerOptions"
    link: "HubLink"
    delivery: "Delivery"
    outbox: "Outbox"
    joiner: "Joiner"
    presence: "Presence"
    now: Callable[[], int]

    channel_works: Callable[[], None]
    """Note that what was pushed reached the model."""

    @property
    def active(self) -> RoomName | None:
        """The active session."""
        return active_session(self.home)

    @property
    def home(self) -> Path:
        """Where the identity lives."""
        return self.settings.home


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The app that calls."""

    name: str = ""
    handshake: bool = True
    """It speaks a protocol in which the server may say something unasked."""

    @property
    def app(self) -> App | None:
        """Which agent app it is, as far as its own word goes."""
        return app_of_client(self.name)

    @property
    def channel(self) -> str | None:
        """By what we say unasked may reach its model, if it may."""
        return self.app.channel if self.handshake and self.app else None


class Verdict(StrEnum):
    """What a person said to a question of ours."""

    YES = "yes"
    UNANSWERED = "unanswered"
    """They declined or dismissed it, or took too long."""

    CANNOT_ASK = "cannot_ask"
    """The host shows no questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that only a person may decide."""

    text: str
    subject: str
    """What exactly is decided: an answer counts for nothing else."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a call came to."""

    text: str
    failed: bool = False
    holds: "list[Held]" = field(default_factory=list)
    claims: "list[Claim]" = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a tool."""

    services: Services
    host: Host
    tell_progress: Callable[[float, float | None, str], Awaitable[None]]
    hint: Callable[[float, float | None, str], None]
    """As `tell_progress`, without waiting for it."""

    decide: Callable[[Question], Awaitable[Verdict]]
    """Have a person decide."""

    meta: Mapping[str, Any] = field(default_factory=dict)

    async def ctx(self) -> OpContext:
        """What operations are given.

        Raises:
            HubAway: There is no connection.
        """
        return await self.services.link.ready()

    def reader(self, ctx: OpContext) -> "Reader":
        """For whom messages are shown."""
        from parler.runtime.bootstrap import reader_of

        return reader_of(ctx.identity)

    def room(self, named: str | None) -> RoomName:
        """The room that is meant: the named one, else the active session.

        Raises:
            UsageError: None was named and there is no active session.
        """
        room = named or noted_session(self.services.home)
        if room:
            return RoomName(room)
        if knock := knocked_at(self.services.home):
            raise UsageError(
                not_in_yet(knock), next_step="parler_recv with wait_secs, once or again"
            )
        raise UsageError(
            "there is no active session, and no room was named",
            next_step="parler_open_session, or parler_join_session with a key",
        )

    def folder(self, named: str | None) -> Path:
        """A folder, seen from where the agent works."""
        return self.services.options.folder / (named or "")

    async def patiently(self, work: Coroutine[Any, Any, T], what: str) -> T:
        """Do what may take long, and tell the host meanwhile that we are at it."""

        async def tell() -> None:
            clock = asyncio.get_running_loop().time
            started = clock()
            pause = FIRST_PROGRESS_SECS
            while True:
                await asyncio.sleep(pause)
                await self.tell_progress(clock() - started, None, what)
                pause = PROGRESS_SECS

        failed: ParlerError | OSError | None = None
        async with asyncio.TaskGroup() as tasks:
            teller = tasks.create_task(tell())
            try:
                outcome = await work
            except (ParlerError, OSError) as error:
                failed = error  # as it is, not in a group
            teller.cancel()
        if failed is not None:
            raise failed
        return outcome

    def transfer(self, what: str) -> Callable[[int, int], None]:
        """Follows bytes on their way; how far they are goes with the next sign."""
        tenth = -1

        def moved(done: int, total: int) -> None:
            nonlocal tenth
            now = 10 * done // max(total, 1)
            if now != tenth:
                tenth = now
                self.hint(done, total, what)

        return moved


def conversation_of(meta: Mapping[str, Any] | None) -> str | None:
    """What the app calls the conversation that a call belongs to, if it tells."""
    thread = (meta or {}).get("threadId")
    return thread if isinstance(thread, str) and thread else None
