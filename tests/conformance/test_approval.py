"""Knocking and being let in or turned away: protocol 4.3 (5), 4.4, 4.5 and 14.6."""

import pytest

from tests._support.plainclient import texts
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
    past_expiry,
    pull,
    room_info,
    roster,
    unknown_code,
)

TURNED_AWAY = ("invalid_invite", "not_authorized", None)


async def test_a_gated_key_only_knocks(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        pending = await knock(bob, invited["code"])
        assert pending["room"] == invited["room"]
        assert list(await roster(ann, invited["room"])) == [ann.id]


async def test_a_knocker_can_read_and_write_nothing(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        await ann.send_text(room, "secret")
        await knock(bob, invited["code"])
        target = {"kind": "room", "room": room}
        await bob.expect_error("not_member", "pull", room=room)
        await bob.expect_error("not_member", "pull", room=room, since=0)
        await bob.expect_error("not_member", "pull", room=room, waitSecs=60)
        await bob.expect_error("not_member", "pull", room=room, limit=0, ack=0)
        await bob.expect_error("not_member", "roster", room=room)
        await bob.expect_error("not_member", "send", target=target, parts=[])
        await bob.expect_error(ANY_ERROR, "join_requests", room=room)
        await bob.expect_error(ANY_ERROR, "invite", kind="channel", room=room)
        assert await room_info(bob, room) is None
        assert texts(await backlog(ann, room)) == ["secret"]


async def test_the_owner_sees_who_knocks_oldest_first(mesh: Mesh) -> None:
    bob_agent, cas_agent = mesh.agent("bob", "webdev"), mesh.agent("cas")
    async with (
        mesh.link("ann") as ann,
        mesh.link(bob_agent) as bob,
        mesh.link(cas_agent) as cas,
    ):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        asked = await ann.ask("join_requests", "join_requests", room=room)
        assert asked == asked | {"room": room, "requests": []}
        await knock(bob, invited["code"])
        # Waits a moment by long poll, so that the two times differ.
        await pull(ann, room, waitSecs=1)
        await knock(cas, invited["code"])
        await knock(bob, invited["code"])
        listed = await ann.ask("join_requests", "join_requests", room=room)
        one, two = listed["requests"]
        assert one == one | {"agent": bob.id, "name": "bob", "role": "webdev"}
        assert two == two | {"agent": cas.id, "name": "cas"}
        assert "role" not in two
        assert type(one["requestedAt"]) is int
        assert one["requestedAt"] < two["requestedAt"]


async def test_an_approved_knocker_enters_and_reads_everything(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        await ann.send_text(room, "the story so far")
        await knock(bob, invited["code"])
        resolved = await decide(ann, room, agent=bob.id, approve=True)
        assert resolved == resolved | {"room": room, "agent": bob.id, "approved": True}
        joined = await join(bob, invited["code"])
        assert joined["room"] == room
        pulled = await pull(bob, room)
        assert texts(pulled["messages"]) == ["the story so far"]


async def test_approval_admits_without_another_redeem(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await knock(bob, invited["code"])
        await decide(ann, invited["room"], agent=bob.id, approve=True)
        assert set(await roster(bob, invited["room"])) == {ann.id, bob.id}


async def test_a_denied_knocker_never_gets_in_and_cannot_ask_again(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        await knock(bob, invited["code"])
        resolved = await decide(ann, room, agent=bob.id, approve=False)
        assert resolved["approved"] is False
        for _ in range(2):
            await bob.expect_error(TURNED_AWAY, "redeem", code=invited["code"])
        another = await open_room(ann, room=room, gated=True)
        await bob.expect_error(TURNED_AWAY, "redeem", code=another["code"])
        asked = await ann.ask("join_requests", "join_requests", room=room)
        assert asked["requests"] == []
        await bob.expect_error("not_member", "pull", room=room, since=0)


async def test_the_owner_may_change_a_denial_into_an_approval(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await knock(bob, invited["code"])
        await decide(ann, invited["room"], agent=bob.id, approve=False)
        await decide(ann, invited["room"], agent=bob.id, approve=True)
        await join(bob, invited["code"])


async def test_only_knocks_can_be_resolved_and_only_once(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        answer = {"room": invited["room"], "agent": bob.id, "approve": True}
        await ann.expect_error(ANY_ERROR, "resolve_join", **answer)
        await knock(bob, invited["code"])
        await ann.ask("join_resolved", "resolve_join", **answer)
        await ann.expect_error(ANY_ERROR, "resolve_join", **answer)


async def test_only_the_owner_sees_and_answers_knocks(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas", "mal") as (ann, bob, cas, mal):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        await admit(ann, bob, invited)
        await knock(cas, invited["code"])
        answer = {"room": room, "agent": cas.id, "approve": True}
        for link in (bob, cas, mal):
            refused = (*mesh.coded("not_owner"), "not_member")
            if link is bob:
                refused = tuple(mesh.coded("not_owner"))
            await link.expect_error(refused, "join_requests", room=room)
            await link.expect_error(refused, "resolve_join", **answer)
        await cas.expect_error("not_member", "pull", room=room)


async def test_an_unknown_room_looks_like_a_room_of_somebody_else(mesh: Mesh) -> None:
    async with mesh.links("ann", "mal") as (ann, mal):
        theirs = (await open_room(ann, gated=True))["room"]
        for op, fields in (
            ("join_requests", {}),
            ("resolve_join", {"agent": ann.id, "approve": True}),
            ("delete_room", {}),
            ("roster", {}),
            ("pull", {}),
        ):
            one = await mal.expect_error(ANY_ERROR, op, room=theirs, **fields)
            two = await mal.expect_error(ANY_ERROR, op, room=fresh_name(), **fields)
            assert one.get("code") == two.get("code"), op


async def test_a_knock_uses_up_one_use_and_polling_none(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, gated=True, maxUses=1)
        for _ in range(4):
            await knock(bob, invited["code"])
        refused = mesh.coded("invalid_invite")
        await cas.expect_error(refused, "redeem", code=invited["code"])
        await decide(ann, invited["room"], agent=bob.id, approve=True)
        await join(bob, invited["code"])


async def test_a_knock_outlives_the_key_it_was_made_with(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True, ttlSecs=2)
        room, code = invited["room"], invited["code"]
        await knock(bob, code)
        await past_expiry(ann, room, expires_at=invited["expiresAt"])
        refused = mesh.coded("invalid_invite")
        await bob.expect_error(refused, "redeem", code=code)
        await decide(ann, room, agent=bob.id, approve=True)
        await join(bob, code)


async def test_two_connections_of_one_agent_knock_once(mesh: Mesh) -> None:
    agent = mesh.agent("bob")
    async with (
        mesh.link("ann") as ann,
        mesh.link(agent) as one,
        mesh.link(agent) as two,
    ):
        invited = await open_room(ann, gated=True)
        await one.post("redeem", code=invited["code"])
        await two.post("redeem", code=invited["code"])
        assert (await one.next_reply())["type"] == "join_pending"
        assert (await two.next_reply())["type"] == "join_pending"
        asked = await ann.ask("join_requests", "join_requests", room=invited["room"])
        assert len(asked["requests"]) == 1


# ---------------------------------------------------------------- the gated room, 14.6


@pytest.mark.extension
async def test_only_the_owner_mints_an_open_key_for_a_gated_room(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas", "dan") as (ann, bob, cas, dan):
        invited = await open_room(ann, room=fresh_name(), gated=True)
        room = invited["room"]
        await admit(ann, bob, invited)
        await bob.expect_error("not_owner", "invite", kind="channel", room=room)
        gated = await open_room(bob, room=room, gated=True)
        await knock(cas, gated["code"])
        open_key = await open_room(ann, room=room)
        await join(dan, open_key["code"])


@pytest.mark.extension
async def test_any_member_mints_an_open_key_for_an_open_room(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((_, bob), room), mesh.link("cas") as cas:
        await join(cas, (await open_room(bob, room=room))["code"])


@pytest.mark.extension
async def test_an_auto_named_gated_room_is_guarded_too(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await admit(ann, bob, invited)
        fields = {"kind": "channel", "room": invited["room"]}
        await bob.expect_error("not_owner", "invite", **fields)


@pytest.mark.extension("history")
async def test_a_member_admitted_without_history_never_reads_below_it(
    mesh: Mesh,
) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        for text in ("private", "very private"):
            await ann.send_text(room, text)
        await knock(bob, invited["code"])
        await decide(ann, room, agent=bob.id, approve=True, history="none")
        assert (await pull(bob, room))["messages"] == []
        assert await backlog(bob, room) == []
        info = await room_info(bob, room)
        assert info is not None
        assert info["unread"] == 0
        await ann.send_text(room, "welcome")
        for since in (0, -5):
            seen = await pull(bob, room, since=since)
            assert texts(seen["messages"]) == ["welcome"]
        assert texts((await pull(bob, room, ack=0))["messages"]) == ["welcome"]
        assert len(await backlog(ann, room)) == 3


@pytest.mark.extension("history")
async def test_history_all_is_the_default_and_other_words_are_refused(
    mesh: Mesh,
) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, gated=True)
        room = invited["room"]
        await ann.send_text(room, "old")
        await knock(bob, invited["code"])
        await knock(cas, invited["code"])
        answer = {"room": room, "agent": bob.id, "approve": True}
        await ann.expect_error("bad_frame", "resolve_join", **answer, history="some")
        await ann.ask("join_resolved", "resolve_join", **answer, history="all")
        await decide(ann, room, agent=cas.id, approve=True)
        assert texts(await backlog(bob, room)) == ["old"]
        assert texts(await backlog(cas, room)) == ["old"]


@pytest.mark.extension
async def test_the_eleventh_wrong_code_in_a_minute_is_not_looked_at(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    async with mesh.link("mallory") as mallory:
        for _ in range(10):
            await mallory.expect_error("invalid_invite", "redeem", code=unknown_code())
        await mallory.expect_error("rate_limited", "redeem", code=unknown_code())
        await mallory.ask("pong", "ping")


@pytest.mark.extension
async def test_the_eleventh_knock_in_a_minute_is_refused(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    async with mesh.links("ann", "bob") as (ann, bob):
        keys = [(await open_room(ann, gated=True))["code"] for _ in range(11)]
        for code in keys[:10]:
            await knock(bob, code)
        await bob.expect_error("rate_limited", "redeem", code=keys[10])


@pytest.mark.extension
async def test_asking_again_about_a_pending_knock_is_not_counted(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        for _ in range(40):
            await knock(bob, invited["code"])


@pytest.mark.extension
async def test_many_identities_at_one_address_share_thirty_guesses(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another budget")
    async with mesh.links("a", "b", "c", "d") as links:
        for link in links[:3]:
            for _ in range(10):
                refused = ("invalid_invite", "rate_limited")
                await link.expect_error(refused, "redeem", code=unknown_code())
        await links[3].expect_error("rate_limited", "redeem", code=unknown_code())
        await links[3].ask("pong", "ping")
