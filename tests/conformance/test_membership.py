"""Leaving, removing, listing and revoking keys: protocol 14.5."""

import pytest

from tests._support.plainclient import Link, texts
from tests.conformance.steps import (
    ANY_ERROR,
    Mesh,
    admit,
    backlog,
    decide,
    fresh_name,
    join,
    knock,
    open_room,
    parked,
    pull,
    room_info,
    roster,
    unknown_code,
)

pytestmark = pytest.mark.extension("membership")


async def shut_out(link: Link, room: str) -> None:
    """The agent can neither read nor write nor see the room."""
    target = {"kind": "room", "room": room}
    await link.expect_error("not_member", "pull", room=room)
    await link.expect_error("not_member", "pull", room=room, since=0)
    await link.expect_error("not_member", "pull", room=room, waitSecs=60)
    await link.expect_error("not_member", "roster", room=room)
    await link.expect_error("not_member", "send", target=target, parts=[])
    await link.expect_error(ANY_ERROR, "invite", kind="channel", room=room)
    assert await room_info(link, room) is None


async def remove(owner: Link, room: str, *, agent: str) -> None:
    removed = await owner.ask("member_removed", "remove_member", room=room, agent=agent)
    assert removed == removed | {"room": room, "agent": agent}


async def test_who_leaves_is_out_at_once(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        left = await bob.ask("left", "leave", room=room)
        assert left["room"] == room
        await shut_out(bob, room)
        assert list(await roster(ann, room)) == [ann.id]


async def test_only_a_member_can_leave(mesh: Mesh) -> None:
    async with mesh.links("ann", "mallory") as (ann, mallory):
        room = (await open_room(ann))["room"]
        await mallory.expect_error("not_member", "leave", room=room)
        await mallory.expect_error("not_member", "leave", room=fresh_name())


async def test_who_left_may_come_back_through_an_open_key(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        room = invited["room"]
        await join(bob, invited["code"])
        await bob.ask("left", "leave", room=room)
        await ann.send_text(room, "meanwhile")
        await join(bob, invited["code"])
        assert "meanwhile" in texts(await backlog(bob, room))


async def test_who_left_a_gated_room_knocks_again(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await admit(ann, bob, invited)
        await bob.ask("left", "leave", room=invited["room"])
        await knock(bob, invited["code"])
        await shut_out(bob, invited["room"])


async def test_the_owner_removes_a_member_at_once(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        await remove(ann, room, agent=bob.id)
        await shut_out(bob, room)
        assert set(await roster(cas, room)) == {ann.id, cas.id}


async def test_only_the_owner_removes_and_only_members(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        fields = {"room": room, "agent": cas.id}
        await bob.expect_error("not_owner", "remove_member", **fields)
        async with mesh.link("mallory") as mallory:
            refused = ("not_owner", "not_member")
            await mallory.expect_error(refused, "remove_member", **fields)
            fields["agent"] = mallory.id
            await ann.expect_error(ANY_ERROR, "remove_member", **fields)
        assert set(await roster(cas, room)) == {ann.id, bob.id, cas.id}


async def test_a_removed_member_knocks_again_also_on_an_open_key(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        room = invited["room"]
        await join(bob, invited["code"])
        await remove(ann, room, agent=bob.id)
        await knock(bob, invited["code"])
        await shut_out(bob, room)
        await knock(bob, (await open_room(ann, room=room))["code"])
        asked = await ann.ask("join_requests", "join_requests", room=room)
        assert [request["agent"] for request in asked["requests"]] == [bob.id]
        await decide(ann, room, agent=bob.id, approve=True)
        await join(bob, invited["code"])
        assert set(await roster(bob, room)) == {ann.id, bob.id}


@pytest.mark.parametrize("gated", [False, True], ids=["open", "gated"])
async def test_the_keys_of_a_removed_member_end_with_it(
    mesh: Mesh, gated: bool
) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        opened = await open_room(ann)
        room = opened["room"]
        await join(bob, opened["code"])
        theirs = await open_room(bob, room=room, gated=gated)
        await remove(ann, room, agent=bob.id)
        await cas.expect_error("invalid_invite", "redeem", code=theirs["code"])
        await bob.expect_error("invalid_invite", "redeem", code=theirs["code"])
        left = await ann.ask("invites", "invites", room=room)
        assert [key["code"] for key in left["invites"]] == [opened["code"]]
        await join(cas, opened["code"])


async def test_a_removed_member_that_is_denied_stays_out(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        room = invited["room"]
        await join(bob, invited["code"])
        await remove(ann, room, agent=bob.id)
        await knock(bob, invited["code"])
        await decide(ann, room, agent=bob.id, approve=False)
        await bob.expect_error(ANY_ERROR, "redeem", code=invited["code"])
        await shut_out(bob, room)


async def test_a_removed_member_cannot_slip_back_by_asking_the_service(
    mesh: Mesh,
) -> None:
    name = fresh_name("review")
    target = {"kind": "service", "service": name}
    async with mesh.links("ann", "bob") as (ann, bob):
        room = (await open_room(ann, kind="service", room=name))["room"]
        await bob.send_text(target, "first question")
        await remove(ann, room, agent=bob.id)
        await bob.expect_error(ANY_ERROR, "send", target=target, parts=[])
        await bob.expect_error("not_member", "pull", room=room, since=0)


async def test_the_parked_pull_of_a_removed_member_ends(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        await parked(bob, room, bystander=ann)
        await parked(cas, room, bystander=ann)
        await remove(ann, room, agent=bob.id)
        assert (await bob.next_reply()).get("code") == "not_member"
        await bob.ask("pong", "ping")
        await ann.send_text(room, "we may speak freely")
        assert texts((await cas.next_reply())["messages"]) == ["we may speak freely"]


async def test_the_parked_pull_of_one_who_leaves_ends(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with (
        mesh.link("ann") as ann,
        mesh.link(agent) as one,
        mesh.link(agent) as two,
    ):
        invited = await open_room(ann)
        await join(one, invited["code"])
        await parked(one, invited["room"], bystander=ann)
        await two.ask("left", "leave", room=invited["room"])
        assert (await one.next_reply()).get("code") == "not_member"


async def test_a_removed_or_departed_member_is_handed_nothing_more(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        other = await open_room(ann)
        for link in (bob, cas):
            await join(link, other["code"])
            await link.ask("subscribed", "subscribe")
        await remove(ann, room, agent=bob.id)
        await cas.ask("left", "leave", room=room)
        await ann.send_text(room, "secret")
        await ann.send_text(other["room"], "sentinel")
        for link in (bob, cas):
            assert texts([await link.next_delivery()]) == ["sentinel"]


async def test_messages_of_a_removed_member_stay(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.send_text(room, "I was here")
        await remove(ann, room, agent=bob.id)
        (message,) = await backlog(ann, room)
        assert message["from"]["name"] == "bob"


# ------------------------------------------------------------------------ keys, tokens


async def test_the_owner_lists_the_keys_of_a_room(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        first = await open_room(ann, room=fresh_name(), gated=True, maxUses=7)
        room = first["room"]
        second = await open_room(ann, room=room)
        await join(bob, second["code"])
        listed = await ann.ask("invites", "invites", room=room)
        assert listed["room"] == room
        by_code = {invite["code"]: invite for invite in listed["invites"]}
        assert set(by_code) == {first["code"], second["code"]}
        gated, plain = by_code[first["code"]], by_code[second["code"]]
        assert gated == gated | {
            "kind": "channel",
            "requireApproval": True,
            "uses": 0,
            "maxUses": 7,
            "expiresAt": first["expiresAt"],
        }
        assert plain == plain | {"requireApproval": False, "uses": 1, "maxUses": 50}


async def test_only_the_owner_lists_keys(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((_, bob), room):
        await bob.expect_error("not_owner", "invites", room=room)
        async with mesh.link("mallory") as mallory:
            refused = ("not_owner", "not_member")
            await mallory.expect_error(refused, "invites", room=room)


async def test_a_dm_key_has_one_use(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        invited = await open_room(ann, kind="dm", maxUses=9)
        listed = await ann.ask("invites", "invites", room=invited["room"])
        assert [invite["maxUses"] for invite in listed["invites"]] == [1]


async def test_a_revoked_key_opens_nothing(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        room, code = invited["room"], invited["code"]
        kept = await open_room(ann, room=room)
        revoked = await ann.ask("invite_revoked", "revoke_invite", code=code)
        assert revoked["code"] == code
        await bob.expect_error("invalid_invite", "redeem", code=code)
        listed = await ann.ask("invites", "invites", room=room)
        assert [invite["code"] for invite in listed["invites"]] == [kept["code"]]
        await join(bob, kept["code"])


async def test_a_revoked_key_takes_no_membership_away(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        await ann.ask("invite_revoked", "revoke_invite", code=invited["code"])
        assert await backlog(bob, invited["room"]) == []


async def test_a_key_is_revoked_by_owner_or_minter_only(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        owners = (await open_room(ann, room=room))["code"]
        minted = (await open_room(bob, room=room))["code"]
        another = (await open_room(bob, room=room))["code"]
        await bob.expect_error("not_owner", "revoke_invite", code=owners)
        await cas.expect_error("not_owner", "revoke_invite", code=minted)
        await bob.ask("invite_revoked", "revoke_invite", code=minted)
        await ann.ask("invite_revoked", "revoke_invite", code=another)
        await ann.expect_error(ANY_ERROR, "revoke_invite", code=unknown_code())
        async with mesh.link("dan") as dan:
            for code in (minted, another):
                await dan.expect_error("invalid_invite", "redeem", code=code)
            await join(dan, owners)


async def test_tokens_are_revoked_and_counted(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        minted = await ann.request("mint_directory_token")
        expected = 1 if minted["type"] == "directory_token" else 0
        for count in (expected, 0):
            revoked = await ann.ask("tokens_revoked", "revoke_tokens")
            assert revoked["count"] == count
        room = (await open_room(ann))["room"]
        revoked = await ann.ask("tokens_revoked", "revoke_tokens", room=room)
        assert revoked["count"] == 0


async def test_watch_tokens_are_revoked_by_the_owner_only(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((_, bob), room):
        await bob.expect_error("not_owner", "revoke_tokens", room=room)
        async with mesh.link("mallory") as mallory:
            refused = ("not_owner", "not_member")
            await mallory.expect_error(refused, "revoke_tokens", room=room)


async def test_a_removed_member_reads_nothing_written_after(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.send_text(room, "for both")
        assert len((await pull(bob, room, ack=0))["messages"]) == 1
        await remove(ann, room, agent=bob.id)
        await ann.send_text(room, "for ann")
        await bob.expect_error("not_member", "pull", room=room, ack=0)
