"""Size bounds of protocol 3.2 and the budgets per agent of 12.2.

The budgets are tested at their defaults, so only on a hub this suite started.
"""

from typing import Any

import pytest

from tests.conformance.steps import Mesh, backlog, fresh_name, open_room

LONG = "é" * 2048 + "x"  # 4097 bytes, 2049 characters
JUST = "é" * 2048

OVERLONG: dict[str, dict[str, Any]] = {
    "roster room": {"op": "roster", "room": LONG},
    "pull room": {"op": "pull", "room": LONG},
    "parked pull room": {"op": "pull", "room": LONG, "waitSecs": 60},
    "redeem code": {"op": "redeem", "code": LONG},
    "invite room": {"op": "invite", "kind": "channel", "room": LONG},
    "join_requests room": {"op": "join_requests", "room": LONG},
    "resolve_join agent": {
        "op": "resolve_join",
        "room": "x",
        "agent": LONG,
        "approve": True,
    },
    "delete_room room": {"op": "delete_room", "room": LONG},
    "presence status": {"op": "presence", "status": LONG},
    "presence activity": {"op": "presence", "status": "idle", "activity": LONG},
    "send room": {"op": "send", "parts": [], "target": {"kind": "room", "room": LONG}},
    "send agent": {"op": "send", "parts": [], "target": {"kind": "dm", "agent": LONG}},
    "send service": {
        "op": "send",
        "parts": [],
        "target": {"kind": "service", "service": LONG},
    },
}


@pytest.mark.parametrize("name", OVERLONG)
async def test_a_field_over_4096_bytes_is_too_large(mesh: Mesh, name: str) -> None:
    async with mesh.link("ann") as ann:
        fields = dict(OVERLONG[name])
        await ann.expect_error("too_large", fields.pop("op"), **fields)
        await ann.ask("pong", "ping")


async def test_a_field_of_4096_bytes_is_fine(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error("not_member", "roster", room=JUST)
        await ann.ask("presence_ok", "presence", status=JUST, activity=JUST)


@pytest.mark.parametrize(
    "fields",
    [
        {"replyTo": LONG},
        {"clientId": LONG},
        {"mentions": [LONG]},
        {"mentions": ["x"] * 257},
        {"parts": [{"kind": "text", "text": "x" * 1024 * 1024}]},
        {"parts": [{"kind": "org.example.big", "blob": "x" * 1024 * 1024}]},
    ],
    ids=["replyTo", "clientId", "mention", "mentions", "text", "extension"],
)
async def test_an_oversized_message_is_not_stored(
    mesh: Mesh, fields: dict[str, Any]
) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        whole = {"target": {"kind": "room", "room": room}, "parts": []} | fields
        await ann.expect_error("too_large", "send", **whole)
        assert await backlog(ann, room) == []


async def test_a_message_of_almost_a_mebibyte_comes_back_whole(mesh: Mesh) -> None:
    text = "x" * (1024 * 1024 - 1024)
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.send_text(room, text, mentions=["m"] * 256, replyTo=JUST)
        (message,) = await backlog(ann, room)
        assert message["parts"][0]["text"] == text
        assert message["mentions"] == ["m"]
        assert message["replyTo"] == JUST


async def test_a_batch_too_big_for_one_frame_is_cut_and_continues(mesh: Mesh) -> None:
    """Protocol 13.18: existing clients cannot read frames beyond 16 MiB."""
    text = "x" * (1024 * 1024 - 1024)
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        for _ in range(18):
            await ann.send_text(room, text)
        seen, since = 0, 0
        while seen < 18:
            await ann.post("pull", room=room, since=since)
            batch = await ann.next_reply()
            assert batch["type"] == "pulled"
            assert len(ann.last_text) < 16 * 1024 * 1024
            assert batch["messages"], "at least one message per batch"
            seen, since = seen + len(batch["messages"]), batch["cursor"]
        assert seen == 18


async def test_the_601st_frame_in_a_minute_is_refused_malformed_or_not(
    mesh: Mesh,
) -> None:
    """Malformed frames count too: garbage is no way round the limit (13.4)."""
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    async with mesh.links("ann", "bob") as (ann, bob):
        for _ in range(20):
            await ann.expect_raw_error("bad_frame", "{")
        for _ in range(580):
            await ann.post("ping")
        for _ in range(580):
            assert (await ann.next_reply())["type"] == "pong"
        await ann.expect_error("rate_limited", "ping")
        await ann.expect_raw_error("rate_limited", "{")
        await bob.ask("pong", "ping")


@pytest.mark.extension
async def test_a_heavy_read_dressed_as_a_long_poll_is_limited_too(mesh: Mesh) -> None:
    """Protocol 13.4."""
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        for _ in range(620):
            await ann.post("pull", room=room, since=0, waitSecs=0)
        heard = [await ann.next_reply() for _ in range(620)]
        assert heard[-1].get("code") == "rate_limited"


async def test_the_budget_belongs_to_the_agent_not_to_the_connection(
    mesh: Mesh,
) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    agent = mesh.agent("ann")
    async with mesh.link(agent) as one, mesh.link(agent) as two:
        for link in (one, two):
            for _ in range(300):
                await link.post("ping")
        for link in (one, two):
            for _ in range(300):
                assert (await link.next_reply())["type"] == "pong"
        await one.expect_error("rate_limited", "ping")
        await two.expect_error("rate_limited", "ping")


async def test_the_241st_send_in_a_minute_is_refused_also_after_failed_ones(
    mesh: Mesh,
) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    nowhere = {"kind": "room", "room": fresh_name()}
    async with mesh.link("ann") as ann:
        for _ in range(240):
            await ann.post("send", target=nowhere, parts=[])
        for _ in range(240):
            assert (await ann.next_reply())["code"] == "not_member"
        await ann.expect_error("rate_limited", "send", target=nowhere, parts=[])
        await ann.ask("pong", "ping")
