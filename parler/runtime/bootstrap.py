"""From settings to a connected client: what the CLI and the MCP server are built of.

Reads the clock, and builds what operations are given. What was typed or called, and how
results look, is not known here.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from parler.identity.homes import machine_home
from parler.wire.urls import dial_url, is_loopback

if TYPE_CHECKING:
    from parler.client.acquaintance import Acquaintance
    from parler.client.client import Client
    from parler.client.transport import Transport
    from parler.identity.identity import Identity
    from parler.identity.known_hubs import KnownHubs
    from parler.identity.known_rooms import KnownRooms
    from parler.identity.settings import Settings
    from parler.local_hub import OwnHub
    from parler.ops.context import OpContext
    from parler.text.transcript import Reader
    from parler.wire.base import AgentId

_POLL_SECS = 0.02


def identity_of(
    settings: "Settings", *, hub: str | None = None
) -> "tuple[Identity, bool]":
    """Who we are, under the name of this process; and whether we came to be just now.

    Args:
        hub: The hub that is about to be dialled. Where nothing else was said, it
            becomes that of a new identity (protocol 4.7).
    """
    from parler.identity.identity import ensure_identity
    from parler.identity.settings import spelled

    unsaid = settings.hub_source == "default"
    identity, fresh = ensure_identity(
        settings.home,
        hub_url=spelled(hub) if hub and unsaid else settings.hub,
        name=settings.name or settings.new_name,
        role=settings.role,
    )
    named = replace(
        identity,
        name=settings.name or identity.name,
        role=settings.role or identity.role,
    )
    return named, fresh


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStart:
    """How this machine's own hub is started when it is needed."""

    note: Callable[[str], None] | None = None
    """Told in one sentence when it was."""

    revive: bool = False
    """Also if its owner stopped it: for a command that somebody typed, not for what
    runs in the background."""


@asynccontextmanager
async def dialled(
    hub: str,
    settings: "Settings",
    identity: "Identity",
    *,
    local: "LocalStart | None" = LocalStart(),
    remember: bool = True,
    look: bool = False,
) -> "AsyncIterator[Client]":
    """A client of one hub. Its join secret is remembered once the hub took it.

    Args:
        local: How this machine's own hub is started if that is meant and it does not
            run; None only dials.
        remember: Whether the hub and its secret are noted.
        look: Not to be seen there (`client.connect`).
    """
    from parler.client.client import connect
    from parler.errors import HubError
    from parler.identity import join_secrets, seen_messages
    from parler.wire.codes import ErrorCode

    shared = machine_home(settings.base_home)
    secrets = join_secrets.JoinSecrets(shared / join_secrets.FILE_NAME)
    join_secrets.require_safe_url(hub, allow_plain=settings.allow_plain)
    own = _OwnHubNow(hub, settings)
    dial = await _dialler(hub, settings, local, own.dial)
    given = join_secrets.secret_for(hub, settings, secrets)
    connecting = connect(
        hub,
        identity.keypair,
        name=identity.name,
        role=identity.role,
        secret=lambda: own.secret or given,
        known_hubs=known_hubs(settings, remember=remember, own_hub=lambda: own.url),
        seen=seen_messages.SeenMessages(shared / seen_messages.FOLDER),
        allow_plain=settings.allow_plain,
        dial=dial,
        look=look,
        now=now,
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
    if not _is_on_loopback(hub):
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
    if local is None or not _is_on_loopback(hub):
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


class _OwnHubNow:
    """This machine's own hub, if it is what is dialled: asked at each connection.

    What took the port after it ended is told nothing: the hub counts that ran before
    the dial and runs still. An agent's home may be apart from the one it belongs to.
    """

    def __init__(self, hub: str, settings: "Settings") -> None:
        from parler.identity.homes import (
            DEFAULT_HOME,
            process_environment,
            user_home_of,
        )

        user = user_home_of(process_environment())
        self._hub = hub
        self._homes = [settings.base_home, *([user / DEFAULT_HOME] if user else [])]
        if not _is_on_loopback(hub):
            self._homes = []
        self._dialled: OwnHub | None = None

    async def dial(self, url: str) -> "Transport":
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
        return own.url if (own := self._now()) else None

    @property
    def secret(self) -> str | None:
        return own.secret if (own := self._now()) else None

    def is_for_this_user(self) -> bool:
        own = self._find()
        return bool(own and own.secret and not own.team)

    def _now(self) -> "OwnHub | None":
        return self._dialled if self._dialled == self._find() else None

    def _find(self) -> "OwnHub | None":
        if not self._homes:
            return None
        from parler.local_hub import find_own_hub

        return find_own_hub(self._homes, self._hub)


@asynccontextmanager
async def connected(
    hub: str,
    settings: "Settings",
    identity: "Identity",
    *,
    local: LocalStart | None = LocalStart(),
    look: bool = False,
    for_model: bool = False,
) -> "AsyncIterator[OpContext]":
    """A connection to a hub, as operations are given it.

    Args:
        look: Not to be seen there (`client.connect`).
        for_model: What is read comes to a model; so it does where an agent runs us.
    """
    from parler.identity.known_rooms import KnownRooms
    from parler.identity.settings import spelled
    from parler.ops.context import OpContext
    from parler.wire.codes import Feature

    hub = spelled(hub)
    async with dialled(hub, settings, identity, local=local, look=look) as client:
        known_rooms = KnownRooms(settings.home)
        for_this_user = _OwnHubNow(hub, settings).is_for_this_user
        ctx = OpContext(
            client=client,
            identity=identity,
            hub=hub,
            shared_as=_shared_as(hub, settings),
            for_this_user=for_this_user,
            known_rooms=known_rooms,
            acquaintance=_acquaintance(
                client, hub, settings, known_rooms, for_this_user
            ),
            for_model=lambda: for_model or _runs_for_an_agent(),
            now=now,
        )
        if Feature.PRESENCE not in client.features:
            from parler.ops.identity import say_again

            await say_again(ctx)
        yield ctx


@asynccontextmanager
async def as_person(hub: str, settings: "Settings") -> "AsyncIterator[OpContext]":
    """A connection in the name of the person whose agent we are, which only looks."""
    from parler.identity.person import ensure_person

    person = ensure_person(machine_home(settings.base_home), hub_url=hub)
    theirs = replace(settings, home=person.home, name=None, role=None)
    async with connected(hub, theirs, person, look=True) as ctx:
        yield ctx


def _runs_for_an_agent() -> bool:
    import os

    from parler.identity.homes import process_environment
    from parler.ops.person_only import by_an_agent

    return by_an_agent(process_environment(), os.getpid())


def _acquaintance(
    client: "Client",
    hub: str,
    settings: "Settings",
    known_rooms: "KnownRooms",
    for_this_user: Callable[[], bool],
) -> "Acquaintance":
    """Whom this agent knows, as its user decided for all agents of this machine."""
    from parler.client.acquaintance import Acquaintance
    from parler.identity.contacts import Contacts
    from parler.identity.own_agents import own_ids
    from parler.identity.people import People
    from parler.identity.senders import Senders

    shared = machine_home(settings.base_home)
    return Acquaintance(
        client,
        hub=hub,
        senders=Senders(shared),
        known_rooms=known_rooms,
        own_agents=lambda: own_ids(shared),
        is_vouched_for=lambda entry: People.read(shared).knows(entry),
        decided_in=[Contacts(shared).path, known_rooms.path],
        everybody_is_ours=for_this_user,
    )


def _is_on_loopback(hub: str) -> bool:
    return is_loopback(urlsplit(dial_url(hub)).hostname or "")


def _shared_as(hub: str, settings: "Settings") -> str | None:
    """Where others reach a hub that we dial on the loopback, if they can."""
    if not _is_on_loopback(hub):
        return None
    from parler.local_hub.lan import reached_as

    return reached_as(settings.base_home, hub)


def reader_of(identity: "Identity") -> "Reader":
    """For whom messages are shown."""
    from parler.errors import ConfigError
    from parler.identity.person import find_person
    from parler.text.transcript import Reader

    found: list[AgentId] = []

    def person() -> "AgentId | None":
        with suppress(ConfigError):  # whoever answers is shown as anybody else then
            if not found and (person := find_person(machine_home(identity.home))):
                found.append(person.agent_id)
        return found[0] if found else None

    return Reader(
        agent=identity.agent_id,
        name=identity.name,
        role=identity.role,
        person=person,
    )


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


def now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
