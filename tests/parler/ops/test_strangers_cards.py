"""Cards of strangers hide nobody: an attacker fills the directory of a hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.store import agents, directory, schema
from hub.store.agents import Greeting
from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.addressing import find_agent, look_through
from parler.ops.context import OpContext
from parler.ops.directory import (
    DiscoverParams,
    RegisterParams,
    card,
    discover,
    register,
)
from parler.wire.base import AgentId, Code
from parler.wire.codes import Feature
from parler.wire.records import AgentCard, RoomKind, Visibility
from parler.wire.replies import Directory, Invited, Joined, JoinPending
from parler.wire.requests import Discover, Invite, Redeem
from tests._support.actors import stage

MANY = 10_000
DIGITS = str.maketrans("01234567", "ABCDEFGH")
"""To those of an agent's id."""


def fill(connection: sa.Connection, count: int, *, now: int) -> None:
    """Junk that says it is what is looked for, seen later than everybody."""
    junk = [
        AgentId("U" + f"{number:055o}".translate(DIGITS)) for number in range(count)
    ]
    agents.greet_all(
        connection,
        [Greeting(agent=one, name="webdev!", role=None, now=now) for one in junk],
    )
    cards = [AgentCard.of(one, "webdev!", tags=["webdev"]) for one in junk]
    connection.execute(
        sa.insert(schema.directory),
        [
            {
                "agent": card.id,
                "visibility": "public",
                "card": msgspec.json.encode(card).decode(),
                "verified": False,
                "updated": now,
                "name": directory.folded(card.name),
            }
            for card in cards
        ],
    )


@asynccontextmanager
async def crowded(
    folder: Path, count: int
) -> AsyncIterator[tuple[OpContext, OpContext]]:
    """Ann, and webdev whom she does not know, among strangers."""
    async with stage(folder) as at:
        ann, webdev = await at.enter("ann"), await at.enter("webdev")
        await register(webdev, RegisterParams(visibility=Visibility.PUBLIC))
        now = at.hub.clock() + 1000
        put = partial(fill, count=count, now=now)
        await at.hub.hub.store.write("junk", put)
        yield ann, webdev


@pytest.mark.parametrize("count", [100, MANY])
async def test_an_agent_is_found_among_strangers_cards(
    tmp_path: Path, count: int
) -> None:
    async with crowded(tmp_path, count) as (ann, webdev):
        me = webdev.client.agent_id
        assert (await find_agent(ann, "webdev")).agent == me
        assert (await find_agent(ann, fingerprint(me))).agent == me
        assert (await card(ann, "WebDev")).card.id == me
        found = await discover(ann, DiscoverParams(query="webdev", limit=50))
        assert found.agents[0].card.id == me
        assert found.more
        found = await discover(ann, DiscoverParams(limit=count + 1))
        assert me in {one.card.id for one in found.agents}
        assert len(found.agents) == count + 1
        assert not found.more


async def test_a_hub_without_pages_or_names_is_asked_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.connection.connection.FEATURES", [])
    async with crowded(tmp_path, 2000) as (ann, webdev):
        me = webdev.client.agent_id
        assert Feature.DIRECTORY not in ann.client.features
        assert (await find_agent(ann, "webdev")).agent == me
        found = await discover(ann, DiscoverParams(limit=5000))
        assert len(found.agents) == 1000
        assert found.more


async def test_a_stranger_takes_no_name_from_whom_we_know(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await at.enter("ann"), await at.enter("webdev")
        eves = [await at.enter("WebDev") for _ in range(2)]
        for one in (bob, *eves):
            await register(one, RegisterParams())
        with pytest.raises(UsageError) as refused:
            await find_agent(ann, "webdev")
        for one in (bob, *eves):
            assert fingerprint(one.client.agent_id) in refused.value.message
        # A session of theirs, but not the active one.
        invited = await bob.client.request(Invite(kind=RoomKind.CHANNEL), Invited)
        await ann.client.request(Redeem(code=Code(invited.code)), Joined | JoinPending)
        for look in (find_agent(ann, "webdev"), find_agent(ann, " WEBDEV ")):
            assert (await look).agent == bob.client.agent_id
        assert (await card(ann, "webdev")).card.id == bob.client.agent_id


async def test_a_hub_that_shows_pages_without_end_is_left(tmp_path: Path) -> None:
    class Endless:
        features = frozenset({Feature.DIRECTORY})
        asked = 0

        async def request(self, frame: Discover, reply: type[Directory]) -> Directory:
            self.asked += 1
            return Directory(agents=[], next=f"{self.asked}")

    hub = Endless()
    ctx: Any = SimpleNamespace(client=hub)
    cards = await look_through(ctx, Discover(), most=10)
    assert (cards.found, hub.asked) == ({}, 1)
