"""Deleting rooms and exact room names: protocol 4.5, 4.6, 14.7, and `roster`."""

import pytest

from tests._support.plainclient import texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    fresh_name,
    join,
    open_room,
    parked,
    pull,
    room_info,
    roster,
)


async def test_deleting_a_room_ends_it_for_everybody(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.send_text(room, "hello")
        deleted = await ann.ask("room_deleted", "delete_room", room=room)
        assert deleted["room"] == room
        for link in (ann, bob):
            await link.expect_error("not_member", "pull", room=room, since=0)
            await link.expect_error("not_member", "roster", room=room)
            assert await room_info(link, room) is None
        target = {"kind": "room", "room": room}
        await bob.expect_error("not_member", "send", target=target, parts=[])


async def test_only_the_owner_deletes_a_room(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.expect_error(mesh.coded("not_owner"), "delete_room", room=room)
        async with mesh.link("mallory") as mallory:
            refused = (*mesh.coded("not_owner"), "not_member")
            await mallory.expect_error(refused, "delete_room", room=room)
        assert await backlog(ann, room) == []


async def test_the_keys_of_a_deleted_room_open_nothing(mesh: Mesh) -> None:
    name = fresh_name()
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, room=name)
        gated = await open_room(ann, room=name, gated=True)
        await ann.ask("room_deleted", "delete_room", room=name)
        refused = mesh.coded("invalid_invite")
        for again in range(2):
            await bob.expect_error(refused, "redeem", code=invited["code"])
            await bob.expect_error(refused, "redeem", code=gated["code"])
            if not again:
                await open_room(cas, room=name)


async def test_the_name_of_a_deleted_room_is_free_and_empty(mesh: Mesh) -> None:
    name = fresh_name()
    async with mesh.links("ann", "bob") as (ann, bob):
        old = await open_room(ann, room=name)
        await join(bob, old["code"])
        sent = await ann.send_text(name, "old")
        await ann.ask("room_deleted", "delete_room", room=name)
        await open_room(bob, room=name)
        assert await backlog(bob, name) == []
        await ann.expect_error("not_member", "pull", room=name)
        newer = await bob.send_text(name, "new")
        assert newer["seq"] > sent["seq"]
        assert texts((await pull(bob, name))["messages"]) == ["new"]
        await bob.ask("room_deleted", "delete_room", room=name)


@pytest.mark.extension
async def test_a_parked_pull_does_not_outlive_its_room(mesh: Mesh) -> None:
    """Protocol 13.24."""
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await parked(bob, room, bystander=ann)
        await ann.ask("room_deleted", "delete_room", room=room)
        reply = await bob.next_reply()
        assert reply.get("code") == "not_member"


@pytest.mark.extension
async def test_an_auto_named_room_can_be_named_again(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        first = await open_room(ann)
        again = await open_room(ann, room=first["room"])
        assert again["room"] == first["room"]
        assert (await join(bob, again["code"]))["room"] == first["room"]
        from_bob = await open_room(bob, room=first["room"])
        assert (await join(cas, from_bob["code"]))["room"] == first["room"]


async def test_roster_is_sorted_by_name_and_for_members_only(mesh: Mesh) -> None:
    async with mesh.room_of("cleo", "ann", "bob") as ((cleo, *_), room):
        entries = (await cleo.ask("roster", "roster", room=room))["entries"]
        assert [entry["name"] for entry in entries] == ["ann", "bob", "cleo"]
        for entry in entries:
            assert entry["status"] == "idle"
            assert type(entry["lastSeen"]) is int
        async with mesh.link("mallory") as mallory:
            await mallory.expect_error("not_member", "roster", room=room)


async def test_roster_shows_name_and_role_of_the_latest_hello(mesh: Mesh) -> None:
    agent = mesh.agent("bob", "webdev")
    async with mesh.link("ann") as ann, mesh.link(agent) as bob:
        invited = await open_room(ann)
        await join(bob, invited["code"])
        entry = (await roster(ann, invited["room"]))[bob.id]
        assert entry["name"] == "bob"
        assert entry["role"] == "webdev"


async def test_rooms_keep_their_messages_apart(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        one, two = (await open_room(ann))["room"], (await open_room(ann))["room"]
        await ann.send_text(one, "in one")
        await ann.send_text(two, "in two")
        assert texts(await backlog(ann, one)) == ["in one"]
        assert texts(await backlog(ann, two)) == ["in two"]
