"""Dialling a hub: which one may be spoken to, with what secret, and starting our own.

What is done over the connection is not known here (`bootstrap`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from parler.identity.homes import (
    DEFAULT_HOME,
    machine_home,
    process_environment,
    user_home_of,
)
from parler.wire.urls import dial_url, is_loopback

if TYPE_CHECKING:
    from parler.client.client import Client
    from parler.client.transport import Transport
    from parler.identity.identity import Identity
    from parler.identity.known_hubs import KnownHubs
    from parler.identity.settings import Settings
    from parler.local_hub import OwnHub

_POLL_SECS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStart:
    """How this machine's own hub is started when it is needed."""

    note: Callable[[str], None] | None = None
    """Told in one sentence when it was."""

    revive: bool = False
    """Also if its owner stopped it: for a command that somebody typed, not for what
    runs in the background."""


AS_NEEDED = LocalStart()


@asynccontextmanager
async def dialled(
    hub: str,
    settings: "Settings",
    identity: "Identity",
    *,
    local: LocalStart | None = AS_NEEDED,
    own: "OwnHubNow | None" = None,
    remember: bool = True,
    look: bool = False,
) -> "AsyncIterator[Client]":
    """A client of one hub. Its join secret is remembered once the hub took it.

    Args:
        local: How this machine's own hub is started if that is meant and it does not
            run; None only dials.
        own: What tells whether it is this machine's own hub.
        remember: Whether the hub and its secret are noted.
        look: Not to be seen there (`client.connect`).
    """
    from parler.client.client import connect
    from parler.errors import HubError
    from parler.identity import join_secrets, seen_messages
    from parler.identity.known_rooms import KnownRooms
    from parler.identity.settings import spelled
    from parler.sealed.sealing import SealedRooms
    from parler.wire.codes import ErrorCode

    shared = machine_home(settings.base_home)
    secrets = join_secrets.JoinSecrets(shared / join_secrets.FILE_NAME)
    join_secrets.require_safe_url(hub, allow_plain=settings.allow_plain)
    own = own or OwnHubNow(hub, settings)
    dial = await _dialler(hub, settings, local, own.dial)
    given = join_secrets.secret_for(hub, settings, secrets)
    sealing = SealedRooms(
        identity, KnownRooms(identity.home), hub=spelled(hub), now=_now
    )
    connecting = connect(
        hub,
        identity.keypair,
        name=identity.name,
        role=identity.role,
        secret=lambda: own.secret or given,
        known_hubs=known_hubs(settings, remember=remember, own_hub=lambda: own.url),
        seen=seen_messages.SeenMessages(shared / seen_messages.FOLDER),
        sealing=sealing,
        allow_plain=settings.allow_plain,
        dial=dial,
        look=look,
    )
    entered = False
    try:
        async with connecting as client:
            entered = True
            typed = remember and given == settings.join_secret
            if given and typed and given != secrets.for_hub(hub) and not own.secret:
                secrets.remember(hub, given)
            yield client
    except HubError as refused:
        if not entered and refused.hub_code == ErrorCode.NOT_AUTHORIZED:
            refused.next_step = _cure(hub, settings, given)
        raise
    finally:
        sealing.close()


def _cure(hub: str, settings: "Settings", given: str | None) -> str:
    """What lets us in at a hub that wants another secret than the one given, if any."""
    from parler.identity.join_secrets import is_withheld

    if given is not None:
        which = "that of PARLER_JOIN_SECRET"
        if given != settings.join_secret:
            which = "the one remembered for it"
        return (
            f"{which} is not its secret, or no longer: ask whoever runs {hub} for it, "
            "and give it in PARLER_JOIN_SECRET"
        )
    give = "give it in PARLER_JOIN_SECRET"
    if is_withheld(hub, settings):
        give += f" (that of {settings.hub} was not sent), with --hub {hub}"
    if not is_on_loopback(hub):
        return f"ask whoever runs {hub} for its join secret, and {give}"
    return (
        "this is the own hub of another home or user: its secret is in <that home>"
        f"/hub/local-secret, readable by its user only; {give}. For others its user "
        "runs: parler connect --team"
    )


async def _dialler(
    hub: str,
    settings: "Settings",
    local: LocalStart | None,
    dial_only: "Callable[[str], Awaitable[Transport]]",
) -> "Callable[[str], Awaitable[Transport]]":
    """What opens a connection, now and whenever it was lost."""
    if local is None or not is_on_loopback(hub):
        return dial_only
    from parler import local_hub
    from parler.errors import ConfigError

    if not local_hub.starts_by_itself(settings, hub):
        return dial_only
    await local_hub.ensure_local_hub(
        settings.base_home, hub, note=local.note, revive=local.revive
    )

    async def dial(url: str) -> "Transport":
        with suppress(ConfigError):  # that would end a client which may yet recover
            await local_hub.ensure_local_hub(settings.base_home, hub, revive=False)
        return await dial_only(url)

    return dial


def _now() -> int:
    import time

    return time.time_ns() // 1_000_000


class OwnHubNow:
    """This machine's own hub, if it is what is dialled: asked at each connection.

    What took the port after it ended is told nothing: the hub counts that ran before
    the dial and runs still. An agent's home may be apart from the one it belongs to.
    """

    def __init__(self, hub: str, settings: "Settings") -> None:
        """Nothing is looked for yet."""
        user = user_home_of(process_environment())
        self._hub = hub
        self._homes = [settings.base_home, *([user / DEFAULT_HOME] if user else [])]
        if not is_on_loopback(hub):
            self._homes = []
        self._dialled: OwnHub | None = None

    async def dial(self, url: str) -> "Transport":
        """Open a connection, once the hub is not just being started."""
        import asyncio

        from parler.client.transport import dial_websocket

        if self._homes:
            from parler.local_hub import is_starting

            while is_starting(self._homes, self._hub):  # noqa: ASYNC110 - a process's
                await asyncio.sleep(_POLL_SECS)
            self._dialled = self._find()
        return await dial_websocket(url)

    @property
    def url(self) -> str | None:
        """Where it listens, if it is what was dialled."""
        return own.url if (own := self._now()) else None

    @property
    def secret(self) -> str | None:
        """Its own, if it is what was dialled."""
        return own.secret if (own := self._now()) else None

    def is_for_this_user(self) -> bool:
        """Whether nobody else gets in."""
        own = self._find()
        return bool(own and own.secret and not own.team)

    def _now(self) -> "OwnHub | None":
        return self._dialled if self._dialled == self._find() else None

    def _find(self) -> "OwnHub | None":
        if not self._homes:
            return None
        from parler.local_hub import find_own_hub

        return find_own_hub(self._homes, self._hub)


def known_hubs(
    settings: "Settings",
    *,
    remember: bool = True,
    own_hub: Callable[[], str | None] = lambda: None,
) -> "KnownHubs":
    """Which hub each challenge belongs to, for all homes of this user."""
    from parler.identity import known_hubs as module

    shared = machine_home(settings.base_home)
    return module.KnownHubs(
        shared / module.FILE_NAME,
        remember=remember,
        own_hub=own_hub,
        earlier=None
        if shared == settings.base_home
        else settings.base_home / module.FILE_NAME,
    )


def is_on_loopback(hub: str) -> bool:
    """Whether a hub is dialled on this machine."""
    return is_loopback(urlsplit(dial_url(hub)).hostname or "")
