"""Deliveries: protocol 5.4.

That somebody is *not* told is shown with a sentinel: a later message that must
arrive, and arrives first.
"""

from tests._support.plainclient import signature_state, texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    decide,
    join,
    knock,
    open_room,
    room_info,
    stored_cursor,
)


async def test_subscribers_are_handed_what_the_log_holds(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        await ann.send_text(room, "hi", mentions=["Bob"], replyTo="r")
        delivered = await bob.next_delivery()
        assert [delivered] == await backlog(bob, room)
        assert signature_state(delivered) == "valid"


async def test_every_subscribed_member_and_connection_is_told(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with (
        mesh.links("ann", "cas") as (ann, cas),
        mesh.link(agent) as one,
        mesh.link(agent) as two,
    ):
        invited = await open_room(ann)
        await join(one, invited["code"])
        await join(cas, invited["code"])
        for link in (one, two, cas):
            await link.ask("subscribed", "subscribe")
        await ann.send_text(invited["room"], "all")
        for link in (one, two, cas):
            assert texts([await link.next_delivery()]) == ["all"]


async def test_the_author_is_not_told_on_any_connection(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with (
        mesh.link(agent) as one,
        mesh.link(agent) as two,
        mesh.link("bob") as bob,
    ):
        invited = await open_room(one)
        await join(bob, invited["code"])
        for link in (one, two):
            await link.ask("subscribed", "subscribe")
        await one.send_text(invited["room"], "mine")
        await bob.send_text(invited["room"], "sentinel")
        for link in (one, two):
            assert texts([await link.next_delivery()]) == ["sentinel"]


async def test_who_did_not_subscribe_is_not_told(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.send_text(room, "before")
        await bob.ask("subscribed", "subscribe")
        await ann.send_text(room, "sentinel")
        assert texts([await bob.next_delivery()]) == ["sentinel"]


async def test_a_subscription_ends_with_its_connection(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with mesh.link("ann") as ann:
        invited = await open_room(ann)
        async with mesh.link(agent) as bob:
            await join(bob, invited["code"])
            await bob.ask("subscribed", "subscribe")
        async with mesh.link(agent) as bob:
            await ann.send_text(invited["room"], "unseen")
            await bob.ask("subscribed", "subscribe")
            await ann.send_text(invited["room"], "sentinel")
            assert texts([await bob.next_delivery()]) == ["sentinel"]


async def test_subscribing_twice_delivers_once(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        for _ in range(3):
            await bob.ask("subscribed", "subscribe")
        await ann.send_text(room, "one")
        await ann.send_text(room, "two")
        heard = [await bob.next_delivery(), await bob.next_delivery()]
        assert texts(heard) == ["one", "two"]


async def test_a_subscription_covers_rooms_entered_later(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        await bob.ask("subscribed", "subscribe")
        for kind in ("channel", "dm", "service"):
            invited = await open_room(ann, kind=kind)
            await join(bob, invited["code"])
            await ann.send_text(invited["room"], kind)
            delivered = await bob.next_delivery()
            assert delivered["room"] == invited["room"]


async def test_only_members_are_told(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        private, shared = await open_room(ann), await open_room(ann)
        await join(bob, shared["code"])
        await bob.ask("subscribed", "subscribe")
        await ann.send_text(private["room"], "secret")
        await ann.send_text(shared["room"], "sentinel")
        assert texts([await bob.next_delivery()]) == ["sentinel"]


async def test_a_knocker_is_told_nothing_until_approved(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await bob.ask("subscribed", "subscribe")
        await knock(bob, invited["code"])
        await ann.send_text(invited["room"], "secret")
        await decide(ann, invited["room"], agent=bob.id, approve=True)
        await ann.send_text(invited["room"], "sentinel")
        assert texts([await bob.next_delivery()]) == ["sentinel"]


async def test_a_repeated_send_is_not_delivered_again(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        for _ in range(2):
            await ann.send_text(room, "once", clientId="c1")
        await ann.send_text(room, "sentinel")
        heard = [await bob.next_delivery(), await bob.next_delivery()]
        assert texts(heard) == ["once", "sentinel"]


async def test_a_delivery_moves_no_cursor(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        await ann.send_text(room, "x")
        await bob.next_delivery()
        assert await stored_cursor(bob, room) == 0
        info = await room_info(bob, room)
        assert info is not None
        assert info["unread"] == 1


async def test_deliveries_come_in_order(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        await cas.ask("subscribed", "subscribe")
        target = {"kind": "room", "room": room}
        for _ in range(40):
            await ann.post("send", target=target, parts=[])
            await bob.post("send", target=target, parts=[])
        seqs = [(await cas.next_delivery())["seq"] for _ in range(80)]
        assert seqs == sorted(set(seqs))
        assert seqs == [message["seq"] for message in await backlog(cas, room)]


async def test_what_a_reader_passed_is_never_followed_by_something_older(
    mesh: Mesh,
) -> None:
    """A cursor that stands at n has seen every message up to n (design 4)."""
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        target = {"kind": "room", "room": room}
        for _ in range(40):
            await ann.post("send", target=target, parts=[])
            await bob.post("send", target=target, parts=[])
        heard: list[int] = []
        while len(heard) < 80:
            batch = await cas.ask("pulled", "pull", room=room, waitSecs=5, limit=7)
            assert batch["messages"]
            heard += [message["seq"] for message in batch["messages"]]
        assert heard == [message["seq"] for message in await backlog(cas, room)]
