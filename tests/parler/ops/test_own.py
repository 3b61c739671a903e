"""Whose room is meant, among those of all own identities."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from parler.errors import NotMember, RateLimited, UsageError
from parler.identity.own_agents import OwnAgent
from parler.identity.places import Place
from parler.ops.context import OpContext
from parler.ops.own import (
    Own,
    Seen,
    agent_named,
    bring_in,
    is_ours,
    own_requests,
    own_rooms,
    whose_room,
)
from parler.ops.rooms import rooms_with_topics
from parler.ops.session import OpenParams, join_session, open_session
from parler.runtime.knocks import Knocks
from parler.wire.base import Code, RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.replies import Joined, JoinPending
from parler.wire.requests import JoinRequests, Redeem, ResolveJoin
from tests._support.actors import stage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Family:
    """Identities that are connected already."""

    members: Sequence[OpContext]

    @property
    def agents(self) -> list[OwnAgent]:
        return [OwnAgent(one.identity.home, False, Place()) for one in self.members]

    async def each(self, look: Callable[[Own], Awaitable[T]]) -> Seen[T]:
        pairs = zip(self.agents, self.members, strict=True)
        owns = [Own(agent=a, name=c.identity.name, ctx=c) for a, c in pairs]
        return Seen(found=[await look(own) for own in owns])


async def test_no_members_topic_stands_in_for_a_rooms_own_name(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, mallory = await at.enter("alice"), await at.enter("mallory")
        family = Family([alice])
        mine = await open_session(alice, OpenParams(topic="login"))
        trap = await open_session(mallory, OpenParams(topic=mine.room, gated=False))
        await join_session(alice, parse_join_key(trap.key))

        room, ours = await whose_room(family, mine.room, owns=True)
        assert (room.name, room.topic, ours) == (mine.room, "login", True)
        assert (await whose_room(family, "login"))[0].name == mine.room
        joined, ours = await whose_room(family, trap.room)
        assert (joined.name, joined.topic, ours) == (trap.room, mine.room, False)
        with pytest.raises(NotMember):
            await whose_room(family, "room.zzzzzz")


async def test_of_several_in_one_room_the_owner_acts_or_one_is_named(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        claude, codex = await at.enter("claude"), await at.enter("codex")
        family = Family([claude, codex])
        opened = await open_session(claude, OpenParams(topic="login", gated=False))
        await join_session(codex, parse_join_key(opened.key))

        with pytest.raises(UsageError, match=r"claude in .*, codex in "):
            await whose_room(family, "login")
        assert (await whose_room(family, "login", owns=True))[0].owner == "claude"
        assert (await whose_room(family, "login", anyone=True))[0].name == opened.room
        named = agent_named("codex", family.agents)
        assert named.home == codex.identity.home
        listed = await own_rooms(family, active=None)
        assert [(one.owner, one.topic) for one in listed.rooms] == [
            ("claude", "login"),
            ("codex", "login"),
        ]


class _Board:
    """Where nothing comes to stand."""

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        raise AssertionError(text)

    def withdraw(self, key: str, room: str = "") -> None:
        raise AssertionError(key)


async def test_what_a_hub_is_too_busy_to_say_is_not_taken_for_a_no(
    tmp_path: Path,
) -> None:
    class Busy:
        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        async def request(self, frame: Any, reply: Any) -> Any:
            if isinstance(frame, JoinRequests):
                raise RateLimited("too many requests", hub_code="rate_limited")
            return await self._client.request(frame, reply)

        async def pull(self, room: RoomName, **options: Any) -> Any:
            raise RateLimited("too many requests", hub_code="rate_limited")

    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        mine = await open_session(alice, OpenParams(topic="login"))
        busy: Any = replace(alice, client=Busy(alice.client))
        # Else a session was left or deleted without its user, and knocks were hidden.
        with pytest.raises(RateLimited):
            await is_ours(busy, mine.room)
        with pytest.raises(RateLimited):
            await own_requests(Family([busy]))
        knocks = Knocks(_Board())
        knocks.stale.add(mine.room)
        await knocks.look(busy, None)
        assert (knocks.stale, knocks.not_ours) == ({mine.room}, set())
        bob = await at.enter("bob")
        public = await open_session(bob, OpenParams(topic="market", gated=False))
        await alice.client.request(Redeem(code=Code(public.key)), (Joined, JoinPending))
        alice.known_rooms.remember(alice.hub, public.room)
        assert public.room in {one.name for one in await rooms_with_topics(busy)}
        assert "market" in {one.topic for one in await rooms_with_topics(alice)}
        assert await is_ours(alice, mine.room)
        assert not await is_ours(alice, RoomName("room.zzzzzz"))


async def test_one_of_us_enters_also_where_another_client_of_ours_lets_it_in_first(
    tmp_path: Path,
) -> None:
    class Faster:
        """As a server of the owner's app, which lets in whoever may walk in."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        async def request(self, frame: Any, reply: Any) -> Any:
            if isinstance(frame, ResolveJoin):
                await self._client.request(frame, reply)
            return await self._client.request(frame, reply)

    async with stage(tmp_path) as at:
        claude, ann = await at.enter("claude"), await at.enter("ann")
        opened = await open_session(claude, OpenParams(topic="login"))
        busy: Any = replace(claude, client=Faster(claude.client))
        agent = OwnAgent(claude.identity.home, False, Place())
        host = Own(agent=agent, name="claude", ctx=busy)
        assert await bring_in(host, ann, opened.room)
        assert opened.room in {one.name for one in await rooms_with_topics(ann)}
