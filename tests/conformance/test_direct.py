"""Sending to agents and services: the target rules of protocol 5.2 and 14.7."""

import pytest

from tests._support.plainclient import Link, signature_state, texts
from tests.conformance.steps import (
    ANY_ERROR,
    Mesh,
    backlog,
    fresh_name,
    join,
    open_room,
    pull,
    room_info,
    roster,
)


def dm(link: Link) -> dict[str, str]:
    """The target that reaches this agent."""
    return {"kind": "dm", "agent": link.id}


async def publish_card(link: Link) -> None:
    """Put the agent into the directory, where the hub has one."""
    card = {"id": link.id, "name": link.agent.name, "kind": "agent"}
    reply = await link.request("register", card=card, visibility="private")
    if reply["type"] == "error":
        pytest.skip(f"this hub keeps no directory: {reply['message']}")
    assert reply["type"] == "registered"


async def test_a_dm_uses_the_room_the_two_already_share(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, kind="dm")
        await join(bob, invited["code"])
        one = await ann.send_text(dm(bob), "hi bob")
        two = await bob.send_text(dm(ann), "hi ann")
        assert one["room"] == two["room"] == invited["room"]
        messages = await backlog(bob, invited["room"])
        assert texts(messages) == ["hi bob", "hi ann"]
        assert signature_state(messages[0], receiver=bob.id) == "valid"
        assert signature_state(messages[1], receiver=ann.id) == "valid"


async def test_a_dm_to_somebody_without_card_or_shared_room_is_refused(
    mesh: Mesh,
) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), _):
        await ann.expect_error(ANY_ERROR, "send", target=dm(bob), parts=[])
        nobody = {"kind": "dm", "agent": "nobody"}
        await ann.expect_error(ANY_ERROR, "send", target=nobody, parts=[])
        assert len((await bob.ask("rooms", "rooms"))["rooms"]) == 1


async def test_a_dm_room_with_one_member_leads_nowhere(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, kind="dm")
        await ann.expect_error(ANY_ERROR, "send", target=dm(bob), parts=[])
        assert await backlog(ann, invited["room"]) == []


@pytest.mark.extension
async def test_a_dm_to_oneself_is_refused_and_reaches_no_peer(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, kind="dm")
        await join(bob, invited["code"])
        await ann.expect_error(ANY_ERROR, "send", target=dm(ann), parts=[])
        assert await backlog(bob, invited["room"]) == []


async def test_two_dm_rooms_of_one_agent_are_not_mixed_up(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        for peer in (bob, cas):
            await join(peer, (await open_room(ann, kind="dm"))["code"])
        to_bob = await ann.send_text(dm(bob), "for bob")
        to_cas = await ann.send_text(dm(cas), "for cas")
        assert to_bob["room"] != to_cas["room"]
        assert texts(await backlog(bob, to_bob["room"])) == ["for bob"]
        assert texts(await backlog(cas, to_cas["room"])) == ["for cas"]
        await cas.expect_error("not_member", "pull", room=to_bob["room"])


async def test_a_dm_to_somebody_with_a_card_opens_a_room_nobody_owns(
    mesh: Mesh,
) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        await publish_card(bob)
        first = await ann.send_text(dm(bob), "hello stranger")
        back = await bob.send_text(dm(ann), "hello")
        again = await ann.send_text(dm(bob), "nice to meet you")
        assert first["room"] == back["room"] == again["room"]
        assert first["room"].startswith("dm.")
        info = await room_info(bob, first["room"])
        assert info is not None
        assert (info["kind"], info["members"]) == ("dm", 2)
        for link in (ann, bob):
            refused = mesh.coded("not_owner")
            await link.expect_error(refused, "delete_room", room=first["room"])


# ---------------------------------------------------------------------------- services


async def test_a_message_to_an_unknown_service_is_refused(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        target = {"kind": "service", "service": fresh_name()}
        await ann.expect_error("unknown_service", "send", target=target, parts=[])
        assert (await ann.ask("rooms", "rooms"))["rooms"] == []


async def test_who_asks_a_service_becomes_a_member_of_its_room(mesh: Mesh) -> None:
    name = fresh_name("code review")
    room = "svc." + name.replace(" ", "_")
    target = {"kind": "service", "service": name}
    async with mesh.links("ann", "bob") as (ann, bob):
        await open_room(ann, kind="service", room=name)
        sent = await bob.send_text(target, "please review")
        assert sent["room"] == room
        assert set(await roster(bob, room)) == {ann.id, bob.id}
        (message,) = (await pull(ann, room))["messages"]
        assert texts([message]) == ["please review"]
        assert signature_state(message) == "valid"
        shouted = {"kind": "service", "service": name.upper()}
        await bob.expect_error("unknown_service", "send", target=shouted, parts=[])


async def test_a_channel_is_no_service(mesh: Mesh) -> None:
    name = fresh_name()
    async with mesh.links("ann", "bob") as (ann, bob):
        await open_room(ann, room=name)
        target = {"kind": "service", "service": name}
        await bob.expect_error("unknown_service", "send", target=target, parts=[])
