"""What is done with a room in the page, over a real hub in memory."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.ops.messages import SendParams, send
from parler.wire.joinkey import parse_join_key
from parler.wire.parts import BundlePart, HandoffPart, TaskPart
from parler.wire.records import RoomTarget, TaskStatus
from parler.wire.replies import Joined, JoinPending
from parler.wire.requests import Redeem
from tests._support.memory_hub import until
from tests.parler.ui.test_pages import HOSTILE, At, decision, knocks, page


async def done(at: At, act: str, **given: object) -> Any:
    status, said = await at.browser.does(act, **at.spot, **given)
    assert status == 200, said
    return json.loads(said)


async def test_a_room_is_named_opened_and_closed_by_its_owner(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        renamed = await done(at, "rename", topic="<b>cart</b>")
        at.desk.stir()
        await until(lambda: at.desk.rooms[0].one.topic == "<b>cart</b>")
        _, form = await at.browser.get("/room/form/rename", **at.spot)
        assert 'value="&lt;b&gt;cart&lt;/b&gt;"' in form
        assert renamed["undo"]["given"]["topic"] == "flaky login"

        made = await done(at, "invite", ttl="3600", uses="1")
        key = parse_join_key(made["undo"]["given"]["code"])
        assert "<svg" in made["piece"]
        assert f"/join/{key.code}" in made["piece"]
        assert key.code in (await at.browser.get("/room/form/keys", **at.spot))[1]
        assert (await done(at, made["undo"]["act"], code=key.code))["undo"] is None
        assert key.code not in (await at.browser.get("/room/form/keys", **at.spot))[1]
        free = await done(at, "invite", ttl="9" * 15, uses="0", open=True)
        assert "in at once" in free["piece"]
        code = free["undo"]["given"]["code"]
        carl = await at.stage.enter("carl")
        reply = await carl.client.request(Redeem(code=code), (Joined, JoinPending))
        assert isinstance(reply, Joined)

        _, menu = await at.browser.get("/room/form/menu", **at.spot)
        assert "Change the topic" in menu
        assert (await at.browser.get("/room/form/nothing", **at.spot))[0] == 400


async def test_the_turn_is_handed_over_in_the_name_of_the_person(
    tmp_path: Path,
) -> None:
    async with page(tmp_path) as at:
        said = await done(at, "hand", next="deploy it", to="shop-claude", summary="")
        assert (said["said"], said["undo"]) == ("handed over to shop-claude", None)
        last = (await at.agent.client.pull(at.opened.room, since=0)).messages[-1]
        assert last.author.id == at.person.identity.agent_id
        [part] = [one for one in last.parts if isinstance(one, HandoffPart)]
        assert (part.next, part.to, part.summary) == ("deploy it", "shop-claude", None)
        _, form = await at.browser.get("/room/form/hand", **at.spot)
        assert 'value="shop-claude"' in form


async def test_what_was_said_is_found_again_and_kept(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        target = RoomTarget(room=at.opened.room)
        for text in ("hay", "a Needle " + HOSTILE, "hay"):
            await send(at.agent, SendParams(text=text, target=target))
        _, found = await at.browser.get("/room/found", **at.spot, words="nEEDLE")
        assert found.count("<li>") == 1
        assert "seq=3" in found
        assert "<b>" not in found
        _, none = await at.browser.get("/room/found", **at.spot, who="nobody")
        assert "Nothing like it" in none
        today = time.strftime("%Y-%m-%d", time.localtime(at.agent.now() / 1000))
        _, first = await at.browser.get("/room/first", **at.spot, day=today)
        assert json.loads(first) == {"seq": 1}
        for wrong in ("soon", "", "10000-01-01"):
            given = {**at.spot, "day": wrong}
            assert (await at.browser.get("/room/first", **given))[0] == 400
        _, kept = await at.browser.get("/room/file", **at.spot, shape="jsonl")
        assert [json.loads(one)["seq"] for one in kept.splitlines()] == [1, 2, 3, 4]
        assert (await at.browser.get("/room/file", **at.spot, shape="exe"))[0] == 400


async def test_what_was_handed_over_is_shown_with_what_takes_it(
    tmp_path: Path,
) -> None:
    async with page(tmp_path) as at:
        blob = "a" * 64
        parts = [
            BundlePart(blob=blob, vcs="git", size=7, summary="fix https://a.example"),  # type: ignore[arg-type]
            TaskPart(status=TaskStatus.DONE, note="see https://b.example/1"),
        ]
        await at.agent.client.send(RoomTarget(room=at.opened.room), parts)
        _, shown = await at.browser.get("/room", **at.spot)
        assert "<code>parler apply aaaaaaaaaaaa --room" in shown
        assert 'data-url="https://b.example/1"' in shown
        assert 'href="https://' not in shown
        bob = await knocks(at, "bob")
        _, shown = await at.browser.get("/room", **at.spot)
        assert ">Approve<" in shown
        await at.browser.does("approve", **decision(at))
        await until(lambda: not at.desk.items)
        _, shown = await at.browser.get("/room", **at.spot)
        assert f'data-agent="{bob.identity.agent_id}" data-confirm="Put bob' in shown
        assert msgspec.json.encode(bob.identity.agent_id).decode() in shown


@pytest.mark.parametrize("act", ["hand", "invite", "rename", "revoke"])
async def test_nothing_is_done_by_what_says_not_what(tmp_path: Path, act: str) -> None:
    async with page(tmp_path) as at:
        for given in ({}, at.spot, at.spot | {"ttl": [], "topic": 1, "next": {}}):
            assert (await at.browser.does(act, **given))[0] == 400
