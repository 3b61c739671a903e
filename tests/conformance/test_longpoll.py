"""Pulls that wait: the second half of protocol 5.3, and what 1.3 says about them.

Whether a pull really waits is shown by order, never by a clock: it must return a
message that was sent only after the hub had ample opportunity to answer too early.
"""

import asyncio

import pytest

from tests._support.plainclient import texts
from tests._support.polling import WAIT
from tests.conformance.steps import (
    Mesh,
    join,
    open_room,
    parked,
    pull,
    stored_cursor,
)


async def test_an_empty_pull_really_waits_for_a_message(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        await bob.post("ping")
        sent = await ann.send_text(room, "at last")
        pulled = await bob.next_reply()
        assert pulled["type"] == "pulled"
        assert texts(pulled["messages"]) == ["at last"]
        assert pulled["cursor"] == sent["seq"]
        assert (await bob.next_reply())["type"] == "pong"


async def test_requests_behind_a_parked_pull_keep_their_place(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        for op in ("ping", "rooms", "ping"):
            await bob.post(op)
        await ann.send_text(room, "x")
        heard = [(await bob.next_reply())["type"] for _ in range(4)]
        assert heard == ["pulled", "pong", "rooms", "pong"]


async def test_a_pull_with_something_to_read_does_not_wait(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.send_text(room, "there already")
        pulled = await pull(bob, room, waitSecs=60)
        assert texts(pulled["messages"]) == ["there already"]


async def test_at_the_deadline_the_batch_is_empty(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        sent = await ann.send_text(room, "read before")
        pulled = await pull(bob, room, ack=sent["seq"], waitSecs=1)
        assert pulled["messages"] == []
        assert pulled["cursor"] == sent["seq"]


async def test_zero_seconds_are_no_wait(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        assert (await pull(ann, room, waitSecs=0))["messages"] == []


async def test_a_longer_wait_than_allowed_is_shortened_not_refused(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann, waitSecs=2**63)
        await ann.send_text(room, "x")
        assert texts((await bob.next_reply())["messages"]) == ["x"]


async def test_own_messages_wake_too(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with mesh.link(agent) as one, mesh.link(agent) as two:
        room = (await open_room(one))["room"]
        await parked(one, room, bystander=two)
        await two.send_text(room, "from my other window")
        assert texts((await one.next_reply())["messages"]) == ["from my other window"]


async def test_a_message_elsewhere_wakes_nobody(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        other = await open_room(ann)
        await join(bob, other["code"])
        await parked(bob, room, bystander=ann)
        await ann.send_text(other["room"], "elsewhere")
        await ann.ask("pong", "ping")
        await ann.send_text(room, "here")
        assert texts((await bob.next_reply())["messages"]) == ["here"]


async def test_a_repeat_and_a_newcomer_wake_nobody(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann)
        room = invited["room"]
        await join(bob, invited["code"])
        first = await ann.send_text(room, "once", clientId="c1")
        await parked(bob, room, bystander=ann, ack=first["seq"])
        await ann.send_text(room, "once", clientId="c1")
        await join(cas, invited["code"])
        await ann.send_text(room, "news")
        assert texts((await bob.next_reply())["messages"]) == ["news"]


async def test_all_that_wait_are_woken(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas", "dan") as ((ann, *others), room):
        for link in others:
            await parked(link, room, bystander=ann)
        await ann.send_text(room, "everybody")
        for link in others:
            assert texts((await link.next_reply())["messages"]) == ["everybody"]


async def test_a_waiting_pull_without_ack_advances_on_read(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        sent = await ann.send_text(room, "x")
        await bob.next_reply()
        assert await stored_cursor(bob, room) == sent["seq"]


async def test_a_waiting_pull_with_ack_does_not(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        first = await ann.send_text(room, "read")
        await parked(bob, room, bystander=ann, ack=first["seq"])
        await ann.send_text(room, "not yet")
        assert texts((await bob.next_reply())["messages"]) == ["not yet"]
        assert await stored_cursor(bob, room) == first["seq"]


async def test_limit_zero_does_not_read_also_when_woken(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.send_text(room, "x")
        pulled = await pull(bob, room, limit=0, waitSecs=1)
        assert pulled["messages"] == []
        assert len((await pull(bob, room))["messages"]) == 1


async def test_who_hangs_up_while_waiting_finds_everything_later(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with mesh.link("ann") as ann:
        invited = await open_room(ann)
        async with mesh.link(agent) as bob:
            await join(bob, invited["code"])
            await parked(bob, invited["room"], bystander=ann, ack=0)
        await ann.send_text(invited["room"], "you missed this")
        async with mesh.link(agent) as bob:
            pulled = await pull(bob, invited["room"])
            assert texts(pulled["messages"]) == ["you missed this"]


@pytest.mark.extension
async def test_websocket_pings_are_answered_during_a_wait(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        pong = await bob.websocket.ping()
        await asyncio.wait_for(pong, WAIT)
        await ann.send_text(room, "x")
        assert texts((await bob.next_reply())["messages"]) == ["x"]


@pytest.mark.extension
async def test_pushes_flow_during_a_wait(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        other = await open_room(ann)
        await join(bob, other["code"])
        await bob.ask("subscribed", "subscribe")
        await parked(bob, room, bystander=ann)
        await ann.send_text(other["room"], "elsewhere")
        assert texts([await bob.next_delivery()]) == ["elsewhere"]
        assert not bob.replies
        await ann.send_text(room, "here")
        assert texts((await bob.next_reply())["messages"]) == ["here"]
