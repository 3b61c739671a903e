"""Remembering, recalling and forgetting, against the real hub."""

from pathlib import Path

import pytest

from parler.errors import HubError, NotMember, UsageError
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext
from parler.ops.memory import (
    ForgetParams,
    RecallParams,
    RememberParams,
    forget,
    recall,
    remember,
)
from parler.ops.session import OpenParams, join_session, leave_session, open_session
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from tests._support.actors import Stage, stage


async def pair(at: Stage) -> tuple[OpContext, OpContext, RoomName]:
    alice, bob = await at.enter("alice"), await at.enter("bob")
    opened = await open_session(alice, OpenParams(gated=False))
    await join_session(bob, parse_join_key(opened.key))
    return alice, bob, opened.room


async def found(ctx: OpContext, query: str = "", key: str | None = None) -> list[str]:
    result = await recall(ctx, RecallParams(query=query, key=key))
    return [hit.text for hit in result.hits]


async def test_a_fact_of_a_room_is_recalled_with_its_author(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        kept = await remember(
            alice, RememberParams(text="deploys are blue-green", key="how", room=room)
        )
        assert (kept.ok, kept.key, kept.room) == (True, "how", room)
        for params in (RecallParams(query="blue"), RecallParams(key="how", room=room)):
            [hit] = (await recall(bob, params)).hits
            assert (hit.text, hit.key, hit.room) == (
                "deploys are blue-green",
                "how",
                room,
            )
            assert (hit.author, hit.name) == (alice.client.agent_id, "alice")
            assert hit.fingerprint == fingerprint(hit.author)
            assert not hit.mine
        [own] = (await recall(alice, RecallParams(key="how"))).hits
        assert own.mine


async def test_what_is_private_stays_so(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await remember(alice, RememberParams(text="my plan"))
        [hit] = (await recall(alice, RecallParams(query="plan"))).hits
        assert hit.room is None
        assert await found(bob, "plan") == []
        here = RecallParams(query="plan", room=room)
        assert (await recall(alice, here)).hits == []


async def test_a_fact_outlives_its_authors_membership_without_a_name(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await remember(bob, RememberParams(text="still true", room=room))
        await leave_session(bob, room)
        [hit] = (await recall(alice, RecallParams(query="true"))).hits
        assert (hit.author, hit.name) == (bob.client.agent_id, None)
        assert await found(bob, "true") == []


async def test_as_many_are_recalled_as_were_asked_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        for number in range(10):
            await remember(alice, RememberParams(text=f"apple {number}"))
        assert len(await found(alice, "apple")) == 8
        for limit, count in ((3, 3), (10, 10), (5000, 10)):
            params = RecallParams(query="apple", limit=limit)
            assert len((await recall(alice, params)).hits) == count


async def test_forgetting_takes_ones_own_and_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        for who in (alice, bob):
            fact = RememberParams(text=f"of {who.identity.name}", key="k", room=room)
            await remember(who, fact)
        await remember(bob, RememberParams(text="private", key="k"))
        gone = await forget(bob, ForgetParams(key="k", room=room))
        assert (gone.count, gone.room) == (1, room)
        assert set(await found(bob, key="k")) == {"of alice", "private"}
        nothing = ForgetParams(text="of alice", room=room)
        assert (await forget(bob, nothing)).count == 0
        assert (await forget(bob, ForgetParams(text="private"))).count == 1


async def test_strangers_keep_out_of_a_rooms_memory(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        _, _, room = await pair(at)
        eve = await at.enter("eve")
        with pytest.raises(NotMember):
            await remember(eve, RememberParams(text="x", room=room))
        with pytest.raises(NotMember):
            await recall(eve, RecallParams(query="x", room=room))
        with pytest.raises(NotMember):
            await forget(eve, ForgetParams(key="x", room=room))


async def test_nothing_is_asked_of_the_hub_without_something_to_ask(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        for text in ("", " \n", "\udc80"):
            with pytest.raises(UsageError):
                await remember(alice, RememberParams(text=text))
        for recalled in (RecallParams(), RecallParams(query="\udc80")):
            with pytest.raises(UsageError):
                await recall(alice, recalled)
        for forgotten in (ForgetParams(), ForgetParams(key="")):
            with pytest.raises(UsageError):
                await forget(alice, forgotten)


async def test_a_hub_that_cannot_forget_is_not_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.connection.connection.FEATURES", [])
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        await remember(alice, RememberParams(text="apple", key="k"))
        with pytest.raises(HubError, match="cannot forget") as refused:
            await forget(alice, ForgetParams(key="k"))
        assert refused.value.next_step
        assert await found(alice, "apple") == ["apple"]
