"""Events: protocol 14.3; `receipt` belongs to another feature and is left out."""

import pytest

from tests._support.plainclient import Link, texts
from tests.conformance.steps import (
    Mesh,
    admit,
    decide,
    event_named,
    join,
    knock,
    open_room,
)

pytestmark = pytest.mark.extension("events")
EVERY = ["join_request", "join_resolved", "member", "room"]


async def listen(link: Link, *events: str) -> None:
    await link.ask("subscribed", "subscribe", events=list(events or EVERY))


async def test_the_owner_is_told_of_a_knock(mesh: Mesh) -> None:
    agent = mesh.agent("bob", "webdev")
    async with mesh.links("ann", "cas") as (ann, cas), mesh.link(agent) as bob:
        invited = await open_room(ann, gated=True)
        await listen(ann)
        await knock(bob, invited["code"])
        event = await event_named(ann, "join_request")
        listed = await ann.ask("join_requests", "join_requests", room=invited["room"])
        (request,) = listed["requests"]
        assert event == event | request | {"type": "event", "room": invited["room"]}
        await knock(cas, invited["code"])
        event = await event_named(ann, "join_request")
        assert (event["agent"], event["name"]) == (cas.id, "cas")
        assert "role" not in event


async def test_asking_again_is_not_told_again(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, gated=True)
        await listen(ann, "join_request")
        for _ in range(3):
            await knock(bob, invited["code"])
        await knock(cas, invited["code"])
        heard = [(await ann.next_event())["agent"] for _ in range(2)]
        assert heard == [bob.id, cas.id]


async def test_members_other_than_the_owner_hear_of_no_knock(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, gated=True)
        await admit(ann, bob, invited)
        await listen(bob)
        await knock(cas, invited["code"])
        await decide(ann, invited["room"], agent=cas.id, approve=True)
        event = await bob.next_event()
        assert (event["event"], event["agent"]) == ("member", cas.id)


@pytest.mark.parametrize("approve", [True, False])
async def test_the_knocker_is_told_the_decision(mesh: Mesh, approve: bool) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await listen(bob)
        await knock(bob, invited["code"])
        await decide(ann, invited["room"], agent=bob.id, approve=approve)
        event = await event_named(bob, "join_resolved")
        assert event == event | {"room": invited["room"], "approved": approve}


async def test_who_is_told_yes_can_read_at_once(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await listen(bob, "join_resolved")
        await knock(bob, invited["code"])
        await ann.post("resolve_join", room=invited["room"], agent=bob.id, approve=True)
        await event_named(bob, "join_resolved")
        await bob.ask("pulled", "pull", room=invited["room"])


async def test_members_are_told_who_joins_leaves_and_is_removed(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann)
        room = invited["room"]
        await join(bob, invited["code"])
        await listen(bob, "member")
        about = {"room": room, "agent": cas.id, "name": "cas"}
        await join(cas, invited["code"])
        event = await event_named(bob, "member", change="joined")
        assert event == event | about
        await cas.ask("left", "leave", room=room)
        event = await event_named(bob, "member", change="left")
        assert event == event | about
        await join(cas, invited["code"])
        await ann.ask("member_removed", "remove_member", room=room, agent=cas.id)
        await event_named(bob, "member", change="joined")
        event = await event_named(bob, "member", change="removed")
        assert event == event | about


async def test_joining_again_is_no_news(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        await listen(ann, "member")
        await join(bob, invited["code"])
        await join(cas, invited["code"])
        assert (await ann.next_event())["agent"] == cas.id


async def test_members_are_told_that_a_room_is_deleted(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await listen(bob, "room")
        await ann.ask("room_deleted", "delete_room", room=room)
        event = await event_named(bob, "room")
        assert event == event | {"room": room, "change": "deleted"}


async def test_only_the_events_asked_for_are_sent(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        await listen(bob, "room")
        async with mesh.link("cas") as cas:
            await join(cas, invited["code"])
        await ann.ask("room_deleted", "delete_room", room=invited["room"])
        assert (await bob.next_event())["event"] == "room"


async def test_an_old_client_never_sees_an_event(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with (
        mesh.link("ann") as ann,
        mesh.link(agent) as old,
        mesh.link(agent) as new,
        mesh.link("cas") as cas,
    ):
        invited = await open_room(ann)
        await join(old, invited["code"])
        await old.ask("subscribed", "subscribe")
        await listen(new, "member")
        await join(cas, invited["code"])
        await event_named(new, "member", agent=cas.id)
        await ann.send_text(invited["room"], "sentinel")
        assert texts([await old.next_delivery()]) == ["sentinel"]
        await old.ask("pong", "ping")
        assert not old.events


async def test_strangers_hear_nothing(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "mal") as (ann, bob, mal):
        invited, theirs = await open_room(ann), await open_room(mal)
        await listen(mal)
        await join(bob, invited["code"])
        await ann.ask("room_deleted", "delete_room", room=invited["room"])
        await join(bob, theirs["code"])
        event = await mal.next_event()
        assert (event["event"], event["room"]) == ("member", theirs["room"])


async def test_events_do_not_stand_for_replies(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        await listen(ann)
        await bob.post("redeem", code=invited["code"])
        for _ in range(5):
            await ann.ask("pong", "ping")
        assert (await bob.next_reply())["type"] == "joined"
        assert (await event_named(ann, "member"))["agent"] == bob.id


@pytest.mark.parametrize("events", ["member", [1], {"member": True}])
async def test_malformed_events_are_refused(mesh: Mesh, events: object) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error("bad_frame", "subscribe", events=events)


async def test_events_come_with_deliveries(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await listen(bob)
        await ann.send_text(room, "hello")
        assert texts([await bob.next_delivery()]) == ["hello"]
