"""From settings to a connected client: what the CLI and the MCP server are built of.

Reads the clock, and builds what operations are given. What was typed or called, and how
results look, is not known here.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from parler.identity.homes import machine_home
from parler.runtime.dialling import (
    AS_NEEDED,
    LocalStart,
    OwnHubNow,
    dialled,
    is_on_loopback,
)

if TYPE_CHECKING:
    from parler.client.acquaintance import Acquaintance
    from parler.client.client import Client
    from parler.identity.identity import Identity
    from parler.identity.known_rooms import KnownRooms
    from parler.identity.settings import Settings
    from parler.ops.context import OpContext
    from parler.text.transcript import Reader
    from parler.wire.base import AgentId


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


@asynccontextmanager
async def connected(
    hub: str,
    settings: "Settings",
    identity: "Identity",
    *,
    local: LocalStart | None = AS_NEEDED,
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
    own = OwnHubNow(hub, settings)
    dialling = dialled(hub, settings, identity, local=local, own=own, look=look)
    async with dialling as client:
        known_rooms = KnownRooms(settings.home)
        ctx = OpContext(
            client=client,
            identity=identity,
            hub=hub,
            shared_as=_shared_as(hub, settings),
            for_this_user=own.is_for_this_user,
            known_rooms=known_rooms,
            acquaintance=_acquaintance(
                client, hub, settings, known_rooms, own.is_for_this_user
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


def _shared_as(hub: str, settings: "Settings") -> str | None:
    """Where others reach a hub that we dial on the loopback, if they can."""
    if not is_on_loopback(hub):
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


def now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
