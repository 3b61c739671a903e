"""How far a message got with each member (protocol 14.4)."""

import pytest

from tests._support.plainclient import Link
from tests.conformance.steps import Mesh, pull

pytestmark = pytest.mark.extension


async def states(link: Link, room: str, seq: int) -> dict[str, str]:
    reply = await link.ask("receipts", "receipts", room=room, seq=seq)
    assert reply["seq"] == seq
    return {member["name"]: member["state"] for member in reply["members"]}


async def test_a_message_nobody_was_given_is_only_stored(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, _bob), room):
        seq = (await ann.send_text(room, "hi"))["seq"]
        assert await states(ann, room, seq) == {"bob": "stored"}


async def test_pulling_without_acknowledging_is_delivered_not_seen(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seq = (await ann.send_text(room, "hi"))["seq"]
        await pull(bob, room, ack=0)
        assert await states(ann, room, seq) == {"bob": "delivered"}


async def test_acknowledging_is_seen(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seq = (await ann.send_text(room, "hi"))["seq"]
        await pull(bob, room, ack=0)
        await pull(bob, room, ack=seq, limit=0)
        assert await states(ann, room, seq) == {"bob": "seen"}


async def test_a_pushed_message_is_delivered(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        seq = (await ann.send_text(room, "hi"))["seq"]
        await bob.next_delivery()
        await bob.ask("pong", "ping")
        assert await states(ann, room, seq) == {"bob": "delivered"}


async def test_the_roster_tells_both_positions(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        first = (await ann.send_text(room, "one"))["seq"]
        second = (await ann.send_text(room, "two"))["seq"]
        await pull(bob, room, ack=0)
        await pull(bob, room, ack=first, limit=0)
        await states(ann, room, second)
        entries = (await ann.ask("roster", "roster", room=room))["entries"]
        entry = next(entry for entry in entries if entry["name"] == "bob")
        assert (entry["delivered"], entry["seen"]) == (second, first)


async def test_members_are_told_when_a_position_moves(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.ask("subscribed", "subscribe", events=["receipt"])
        seq = (await ann.send_text(room, "hi"))["seq"]
        await pull(bob, room, ack=0)
        await pull(bob, room, ack=seq, limit=0)
        event = await ann.next_event()
        while event["agent"] != bob.id or event["seen"] < seq:
            event = await ann.next_event()
        assert event["event"] == "receipt"
        assert event["delivered"] == seq


async def test_a_stranger_learns_nothing_of_a_message(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room), mesh.link("eve") as eve:
        seq = (await ann.send_text(room, "hi"))["seq"]
        await eve.expect_error("not_member", "receipts", room=room, seq=seq)
