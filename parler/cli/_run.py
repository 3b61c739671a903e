"""The command line's composition root: from flags to a connected client.

Reads the process's environment and clock, and builds what operations are given. How
results look is `render` and `views`; what commands there are is in their modules.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parler.cli.render import Output

if TYPE_CHECKING:
    from parler.client import Client
    from parler.config import Settings
    from parler.identity import Identity
    from parler.known_hubs import KnownHubs
    from parler.ops.book import SessionBook
    from parler.ops.context import OpContext
    from parler.transcript import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every command takes."""

    command: str
    json: bool = False
    quiet: bool = False
    hub: str | None = None
    home: str | None = None
    insecure: bool = False

    @property
    def out(self) -> Output:
        """Where this command's words go."""
        return Output(json=self.json, quiet=self.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which hub a command means, in the order of their say."""

    key_hub: str | None = None
    """Named by the ``KEY@HUB`` that was pasted."""

    room: str | None = None
    """Named by ``--room``."""

    in_session: bool = True
    """Without a room, the active session is meant."""

    needs_room: bool = False
    """There must be one or the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command that is being carried out."""

    ctx: "OpContext"
    out: Output
    reader: "Reader"


HERE = Place()
"""The active session."""


def in_room(room: str | None) -> Place:
    """A room that was named, or else the active session."""
    return Place(room=room, needs_room=True)


ELSEWHERE = Place(in_session=False)
"""The configured hub, whatever session is active."""


def carry_out(
    options: Options,
    work: Callable[[Run], Awaitable[None]],
    *,
    place: Place = HERE,
) -> None:
    """Connect as who we are, and do the work of a command."""
    import asyncio

    async def whole() -> None:
        async with connected(options, place) as run:
            await work(run)

    asyncio.run(whole())


def settings_of(options: Options) -> "Settings":
    """The settings of this process, as the command's flags change them."""
    from parler.config import Flags, process_settings

    return process_settings(
        Flags(
            command=options.command,
            home=options.home,
            hub=options.hub,
            insecure=options.insecure,
        )
    )


def identity_of(
    settings: "Settings", out: Output, *, hub: str | None = None
) -> "Identity":
    """Who we are, under the name of this process; made on first use.

    Args:
        hub: The hub that is about to be dialled. Where nothing else was said, it
            becomes that of a new identity (protocol 4.7).
    """
    from parler.identity import ensure_identity
    from parler.signing import fingerprint

    unsaid = settings.hub_source == "default"
    identity, fresh = ensure_identity(
        settings.home,
        hub_url=hub if hub and unsaid else settings.hub,
        name=settings.name,
        role=settings.role,
    )
    if fresh:
        out.note(
            f"first run: you are now {identity.name} "
            f"({fingerprint(identity.agent_id)}), kept in {settings.home}"
        )
    return replace(
        identity,
        name=settings.name or identity.name,
        role=settings.role or identity.role,
    )


@asynccontextmanager
async def connected(options: Options, place: Place) -> AsyncIterator[Run]:
    """A connection to the hub that is meant, and all a command needs with it."""
    from parler.ops.book import SessionBook
    from parler.ops.context import OpContext, room_or_session
    from parler.transcript import Reader

    settings = settings_of(options)
    out = options.out
    book = SessionBook(settings.home)
    if place.needs_room:
        room_or_session(settings.home, place.room)  # before anybody is bothered
    hub = hub_of(options, place, settings, book)
    identity = identity_of(settings, out, hub=hub)
    async with dialled(hub, settings, identity) as client:
        yield Run(
            ctx=OpContext(
                client=client, identity=identity, hub=hub, book=book, now=now
            ),
            out=out,
            reader=Reader(
                agent=identity.agent_id, name=identity.name, role=identity.role
            ),
        )


@asynccontextmanager
async def dialled(
    hub: str, settings: "Settings", identity: "Identity"
) -> "AsyncIterator[Client]":
    """A client of one hub. Its join secret is remembered once the hub took it."""
    from parler import join_secrets
    from parler.client import connect
    from parler.errors import HubError

    secrets = join_secrets.JoinSecrets(settings.base_home / join_secrets.FILE_NAME)
    join_secrets.require_safe_url(hub, allow_plain=settings.allow_plain)
    secret = join_secrets.secret_for(hub, settings, secrets)
    connecting = connect(
        hub,
        identity.keypair,
        name=identity.name,
        role=identity.role,
        secret=secret,
        known_hubs=known_hubs(settings),
        allow_plain=settings.allow_plain,
        now=now,
    )
    entered = False
    try:
        async with connecting as client:
            entered = True
            if secret and secret == settings.join_secret != secrets.for_hub(hub):
                secrets.remember(hub, secret)
            yield client
    except HubError as refused:
        if not entered and join_secrets.is_withheld(hub, settings):
            refused.next_step = (
                f"PARLER_JOIN_SECRET belongs to {settings.hub}; add --hub {hub} "
                "to send it there"
            )
        raise


def hub_of(
    options: Options, place: Place, settings: "Settings", book: "SessionBook"
) -> str:
    """The hub a command dials: its flag, its key, its session's, the configured one."""
    from parler.identity import active_session

    if options.hub:
        return options.hub
    if place.key_hub:
        return place.key_hub
    if place.in_session:
        room = place.room or active_session(settings.home)
        if room and (known := book.hub_of(room)):
            return known
    return settings.hub


def known_hubs(settings: "Settings") -> "KnownHubs":
    """Which hub each challenge belongs to, for all homes of this user."""
    from parler import known_hubs as module

    return module.KnownHubs(settings.base_home / module.FILE_NAME)


def now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
