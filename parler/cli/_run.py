"""From a command's flags to what it works with: which hub, and in whose name.

How a client is connected is `runtime.bootstrap`; how results look is `render` and
`_format`; what commands there are is in their modules.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parler.cli.render import Output
from parler.runtime import bootstrap
from parler.runtime.dialling import LocalStart

if TYPE_CHECKING:
    from parler.identity.identity import Identity
    from parler.identity.known_rooms import KnownRooms
    from parler.identity.settings import Settings
    from parler.ops.context import OpContext
    from parler.text.transcript import Reader


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
    """The settings of this process, as the command's flags change them.

    In an agent's shell they are those of the window that the shell belongs to.
    """
    from parler.identity.homes import process_environment
    from parler.identity.settings import Flags, process_settings
    from parler.peers.seats import shell_app, shell_home

    env = process_environment()
    app = shell_app()
    return process_settings(
        Flags(
            command=options.command,
            home=options.home,
            hub=options.hub,
            insecure=options.insecure,
        ),
        app=app.id if app else None,
        seat=lambda home: shell_home(home, env),
    )


def identity_of(
    options: Options, settings: "Settings", *, hub: str | None = None
) -> "Identity":
    """Who we are, under the name of this process; made on first use, which is said.

    Args:
        hub: The hub that is about to be dialled; see `bootstrap.identity_of`.

    Raises:
        IdentityError: There is none where ``--home`` says: it may be mistyped.
    """
    from parler.identity.identity import check_there
    from parler.identity.signing import fingerprint

    if options.home:
        check_there(settings.home)
    out = options.out
    identity, fresh = bootstrap.identity_of(settings, hub=hub)
    if fresh:
        out.note(
            f"first run: you are now {identity.name} "
            f"({fingerprint(identity.agent_id)}), kept in {settings.home}"
        )
    return identity


@asynccontextmanager
async def connected(options: Options, place: Place) -> AsyncIterator[Run]:
    """A connection to the hub that is meant, and all a command needs with it."""
    from parler.identity.known_rooms import KnownRooms
    from parler.ops.context import room_or_session

    settings = settings_of(options)
    out = options.out
    if place.needs_room:
        room_or_session(settings.home, place.room)  # before anybody is bothered
    hub = hub_of(options, place, settings, KnownRooms(settings.home))
    identity = identity_of(options, settings, hub=hub)
    local = LocalStart(note=out.note, revive=True)
    async with bootstrap.connected(hub, settings, identity, local=local) as ctx:
        yield Run(ctx=ctx, out=out, reader=bootstrap.reader_of(identity))


def hub_of(
    options: Options, place: Place, settings: "Settings", known_rooms: "KnownRooms"
) -> str:
    """The hub a command dials: its flag, its key, its session's, the configured one."""
    from parler.identity.identity import active_session

    if options.hub:
        return options.hub
    if place.key_hub:
        return place.key_hub
    if place.in_session:
        room = place.room or active_session(settings.home)
        if room and (known := known_rooms.hub_of(room)):
            return known
    return settings.hub
