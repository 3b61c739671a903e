"""Request ids: protocol 14.1 and 14.2."""

from typing import Any

import pytest

from tests._support.plainclient import texts
from tests.conformance.steps import (
    Mesh,
    fresh_name,
    join,
    open_room,
    parked,
)

pytestmark = pytest.mark.extension("rid")
AT_ONCE = 32  # protocol 14.2


async def test_welcome_names_the_features(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        features = ann.welcome["features"]
        assert all(isinstance(name, str) for name in features)
        assert len(set(features)) == len(features)
        assert {"rid", "events", "membership"} <= set(features)


async def test_the_reply_carries_the_rid_of_its_request(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        for rid in ("1", "x" * 64, "é" * 32, 'a"\\b', " "):
            reply = await ann.ask("pong", "ping", rid=rid)
            assert reply["rid"] == rid


async def test_without_rid_the_reply_has_none(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.ask("pong", "ping", rid="1")
        assert "rid" not in await ann.ask("pong", "ping")
        assert "rid" not in await ann.ask("rooms", "rooms", rid=None)


async def test_challenge_and_welcome_carry_it_too(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        fields = ann.agent.introduction()
        challenge = await ann.ask("challenge", "hello", **fields, rid="first")
        assert challenge["rid"] == "first"
        fields |= {"sig": ann.agent.prove(challenge["nonce"]), "rid": "second"}
        assert (await ann.ask("welcome", "hello", **fields))["rid"] == "second"


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("roster", {"room": "x" * 40}),
        ("roster", {"room": "x" * 5000}),
        ("redeem", {"code": "0000"}),
        ("hello", {"id": "x", "name": "x"}),
    ],
    ids=["not_member", "too_large", "invalid_invite", "protocol"],
)
async def test_errors_carry_it_too(mesh: Mesh, op: str, fields: dict[str, Any]) -> None:
    async with mesh.link("ann") as ann:
        error = await ann.expect_error((), op, **fields, rid="e")
        assert error["rid"] == "e"


async def test_also_the_error_before_the_handshake(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        error = await ann.expect_error("unauthenticated", "ping", rid="e")
        assert error["rid"] == "e"


@pytest.mark.parametrize("op", ["dance", "pull"], ids=["unknown op", "missing field"])
async def test_a_well_formed_rid_on_a_malformed_frame_is_echoed(
    mesh: Mesh, op: str
) -> None:
    """Otherwise a client that pipelines cannot tell which request failed."""
    async with mesh.link("ann") as ann:
        error = await ann.expect_error("bad_frame", op, rid="e")
        assert error["rid"] == "e"


@pytest.mark.parametrize("rid", ["", "x" * 65, "é" * 33, 7, ["a"], True])
async def test_a_malformed_rid_is_refused(mesh: Mesh, rid: object) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error(("bad_frame", "too_large"), "ping", rid=rid)
        await ann.ask("pong", "ping")


async def test_replies_overtake_a_parked_pull(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.post("pull", room=room, waitSecs=30, rid="wait")
        await bob.post("ping", rid="2")
        await bob.post("rooms", rid="3")
        assert (await bob.next_reply()) == {"type": "pong", "rid": "2"}
        assert (await bob.next_reply())["rid"] == "3"
        await ann.send_text(room, "now")
        pulled = await bob.next_reply()
        assert pulled["rid"] == "wait"
        assert texts(pulled["messages"]) == ["now"]


async def test_one_may_send_while_waiting_on_the_same_connection(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.post("pull", room=room, waitSecs=30, rid="wait")
        target = {"kind": "room", "room": room}
        await ann.post("send", target=target, parts=[], rid="send")
        heard = {(await ann.next_reply())["rid"] for _ in range(2)}
        assert heard == {"wait", "send"}


async def test_parked_pulls_end_in_the_order_of_their_news(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        other = await open_room(ann)
        await join(bob, other["code"])
        await bob.post("pull", room=room, waitSecs=30, rid="first")
        await bob.post("pull", room=other["room"], waitSecs=30, rid="second")
        await bob.ask("pong", "ping", rid="3")
        await ann.send_text(other["room"], "x")
        assert (await bob.next_reply())["rid"] == "second"
        await ann.send_text(room, "x")
        assert (await bob.next_reply())["rid"] == "first"


async def test_an_error_ends_a_waiting_pull_with_its_rid(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.post("pull", room=room, waitSecs=30, rid="wait")
        await bob.ask("pong", "ping", rid="2")
        await ann.ask("room_deleted", "delete_room", room=room)
        error = await bob.next_reply()
        assert (error.get("code"), error.get("rid")) == ("not_member", "wait")


async def test_nothing_else_is_reordered(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        target = {"kind": "room", "room": room}
        for number in range(30):
            op = ("send", "ping", "pull", "roster", "dance")[number % 5]
            fields = {"target": target, "parts": [], "room": room}
            await ann.post(op, rid=str(number), **fields)
        heard = [(await ann.next_reply())["rid"] for _ in range(30)]
        assert heard == [str(number) for number in range(30)]


async def test_a_parked_pull_without_rid_still_holds_up_what_follows(
    mesh: Mesh,
) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        await bob.post("ping")
        await ann.ask("pong", "ping")
        await ann.send_text(room, "x")
        heard = [(await bob.next_reply())["type"] for _ in range(2)]
        assert heard == ["pulled", "pong"]


async def test_thirty_one_waiting_pulls_leave_room_for_one_request(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        for number in range(AT_ONCE - 1):
            await ann.post("pull", room=room, waitSecs=30, rid=str(number))
        assert (await ann.ask("pong", "ping", rid="through"))["rid"] == "through"


async def test_beyond_thirty_two_in_flight_the_hub_stops_reading(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        for number in range(AT_ONCE):
            if number == AT_ONCE - 1:  # all before it are known to be waiting
                await bob.ask("pong", "ping", rid="through")
            await bob.post("pull", room=room, waitSecs=30, ack=0, rid=str(number))
        await bob.post("ping", rid="behind")
        for _ in range(5):
            await ann.ask("pong", "ping")
        await ann.send_text(room, "x")
        heard = [(await bob.next_reply())["rid"] for _ in range(AT_ONCE + 1)]
        assert heard[0] != "behind"
        assert set(heard) == {str(number) for number in range(AT_ONCE)} | {"behind"}


async def test_the_same_rid_may_be_used_again(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        for op in ("ping", "rooms", "roster"):
            assert (await ann.request(op, room=fresh_name(), rid="r"))["rid"] == "r"
