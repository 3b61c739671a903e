"""Minting and redeeming open keys: protocol 4.1, 4.2, 4.3 and the op `rooms`."""

import re
from urllib.parse import urlsplit

import pytest

from tests.conformance.steps import (
    ANY_ERROR,
    CHANNEL_SUFFIX,
    CODE,
    Mesh,
    backlog,
    fresh_name,
    join,
    open_room,
    past_expiry,
    room_info,
    roster,
    unknown_code,
)


async def test_invite_answers_with_code_link_room_kind_and_expiry(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        invited = await open_room(ann)
        assert re.fullmatch(CODE, invited["code"])
        assert re.fullmatch(rf"room\.{CHANNEL_SUFFIX}", invited["room"])
        assert invited["kind"] == "channel"
        assert type(invited["expiresAt"]) is int
        assert invited["url"].endswith(f"/join/{invited['code']}")
        assert urlsplit(invited["url"]).scheme


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("channel", rf"room\.{CHANNEL_SUFFIX}"),
        ("dm", rf"dm\.{CHANNEL_SUFFIX}"),
        ("service", rf"svc\.{CHANNEL_SUFFIX}"),
    ],
)
async def test_a_room_without_a_name_gets_one(
    mesh: Mesh, kind: str, pattern: str
) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        one, two = await open_room(ann, kind=kind), await open_room(ann, kind=kind)
        assert re.fullmatch(pattern, one["room"])
        assert one["room"] != two["room"]
        assert (await join(bob, one["code"]))["kind"] == kind
        info = await room_info(bob, one["room"])
        assert info is not None
        assert info["kind"] == kind


async def test_names_are_cleaned_character_by_character(mesh: Mesh) -> None:
    stem = fresh_name()
    async with mesh.link("ann") as ann:
        invited = await open_room(ann, room=f"  {stem} Ünï/x.Y\n")
        assert invited["room"] == f"{stem}__n__x_Y"
        kept = await open_room(ann, room=f"{stem}_Kept-AS-is_9")
        assert kept["room"] == f"{stem}_Kept-AS-is_9"


async def test_a_blank_name_becomes_an_underscore(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("the room `_` may belong to somebody there")
    async with mesh.link("ann") as ann:
        assert (await open_room(ann, room=" \t "))["room"] == "_"


async def test_a_service_room_is_named_after_the_service(mesh: Mesh) -> None:
    name = fresh_name("code review")
    async with mesh.link("ann") as ann:
        invited = await open_room(ann, kind="service", room=name)
        assert invited["room"] == "svc." + name.replace(" ", "_")
        assert invited["kind"] == "service"


async def test_a_dm_invite_ignores_the_name_and_admits_one(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        invited = await open_room(ann, kind="dm", room=fresh_name(), maxUses=9)
        assert re.fullmatch(rf"dm\.{CHANNEL_SUFFIX}", invited["room"])
        joined = await join(bob, invited["code"])
        assert joined == joined | {"room": invited["room"], "kind": "dm"}
        refused = mesh.coded("invalid_invite")
        await cas.expect_error(refused, "redeem", code=invited["code"])


async def test_the_creator_is_a_member_at_once(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        assert list(await roster(ann, room)) == [ann.id]
        assert await backlog(ann, room) == []


async def test_rooms_are_listed_by_name_with_members_and_unread(mesh: Mesh) -> None:
    stem = fresh_name()
    async with mesh.links("ann", "bob") as (ann, bob):
        for suffix in ("c", "a", "b"):  # the last one is shared
            last = await open_room(ann, room=f"{stem}-{suffix}")
        await join(bob, last["code"])
        await bob.send_text(last["room"], "hi")
        listed = (await ann.ask("rooms", "rooms"))["rooms"]
        assert [info["name"][-1] for info in listed] == ["a", "b", "c"]
        assert listed[1] == {
            "name": f"{stem}-b",
            "kind": "channel",
            "members": 2,
            "unread": 1,
        }
        assert [info["unread"] for info in listed] == [0, 1, 0]


async def test_a_stranger_has_no_rooms(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        assert (await ann.ask("rooms", "rooms"))["rooms"] == []


async def test_redeem_makes_a_member_that_reads_the_whole_backlog(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        await ann.send_text(invited["room"], "before you came")
        await bob.expect_error("not_member", "pull", room=invited["room"])
        joined = await join(bob, invited["code"])
        assert joined["room"] == invited["room"]
        assert joined["kind"] == "channel"
        pulled = await bob.ask("pulled", "pull", room=invited["room"])
        assert pulled["messages"][0]["parts"][0]["text"] == "before you came"


async def test_an_existing_room_keeps_its_owner_and_members(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        name = fresh_name()
        first = await open_room(ann, room=name)
        await join(bob, first["code"])
        second = await open_room(bob, room=name)
        assert second["room"] == name
        assert second["code"] != first["code"]
        await join(cas, second["code"])
        await bob.expect_error(mesh.coded("not_owner"), "delete_room", room=name)
        assert set(await roster(cas, name)) == {ann.id, bob.id, cas.id}


async def test_a_stranger_cannot_mint_for_an_existing_room(mesh: Mesh) -> None:
    async with mesh.links("ann", "mallory") as (ann, mallory):
        name = fresh_name()
        await open_room(ann, room=name)
        await mallory.expect_error(ANY_ERROR, "invite", kind="channel", room=name)
        await mallory.expect_error("not_member", "pull", room=name)


async def test_approval_is_only_asked_for_in_channels(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        for kind in ("dm", "service"):
            invited = await open_room(ann, kind=kind, gated=True)
            await join(bob, invited["code"])


# ------------------------------------------------------------------------------ redeem


@pytest.mark.parametrize("frame", ["{}", "  {}\n", "x/join/{}", "parler://h/join/{}/"])
async def test_a_code_is_found_inside_what_people_paste(mesh: Mesh, frame: str) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        joined = await join(bob, frame.format(invited["code"]))
        assert joined["room"] == invited["room"]


async def test_the_link_the_hub_prints_can_be_redeemed(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        assert (await join(bob, invited["url"]))["room"] == invited["room"]


async def test_an_unknown_code_is_refused_in_the_words_clients_look_for(
    mesh: Mesh,
) -> None:
    async with mesh.link("ann") as ann:
        code = mesh.coded("invalid_invite")
        error = await ann.expect_error(code, "redeem", code=unknown_code())
        assert "invalid or unknown invite code" in error["message"]


async def test_codes_are_case_sensitive(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        code = (await open_room(ann))["code"]
        refused = mesh.coded("invalid_invite")
        await bob.expect_error(refused, "redeem", code=code.lower())
        await bob.expect_error(refused, "redeem", code="")
        await join(bob, code)


async def test_uses_run_out_but_members_may_redeem_again_for_free(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "cas", "dan") as (ann, bob, cas, dan):
        invited = await open_room(ann, maxUses=2)
        code, refused = invited["code"], mesh.coded("invalid_invite")
        for _ in range(3):
            await join(ann, code)
            await join(bob, code)
        await join(cas, code)
        await dan.expect_error(refused, "redeem", code=code)
        await join(bob, code)
        await dan.expect_error("not_member", "pull", room=invited["room"])


async def test_zero_uses_admit_nobody(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        code = (await open_room(ann, maxUses=0))["code"]
        refused = mesh.coded("invalid_invite")
        await bob.expect_error(refused, "redeem", code=code)
        await join(ann, code)


async def test_an_expired_code_admits_only_those_already_inside(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, ttlSecs=0)
        await past_expiry(ann, invited["room"], expires_at=invited["expiresAt"])
        refused = mesh.coded("invalid_invite")
        await bob.expect_error(refused, "redeem", code=invited["code"])
        await join(ann, invited["code"])


async def test_a_key_lives_for_a_day_by_default_and_a_year_at_most(mesh: Mesh) -> None:
    day, year = 86_400, 365 * 86_400
    async with mesh.link("ann") as ann:
        default = await open_room(ann)
        explicit = await open_room(ann, ttlSecs=day)
        beyond = await open_room(ann, ttlSecs=1000 * day)
        longest = await open_room(ann, ttlSecs=year)
        enormous = await open_room(ann, ttlSecs=2**63)
        times = [
            frame["expiresAt"]
            for frame in (default, explicit, beyond, longest, enormous)
        ]
        assert times == sorted(times)
        assert times[1] - times[0] < 60_000
        assert times[4] - times[2] < 60_000
        assert times[3] - times[1] > (year - 2 * day) * 1000


async def test_redeeming_twice_does_not_move_the_cursor_back(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann)
        await ann.send_text(invited["room"], "one")
        await join(bob, invited["code"])
        first = await bob.ask("pulled", "pull", room=invited["room"])
        await join(bob, invited["code"])
        again = await bob.ask("pulled", "pull", room=invited["room"])
        assert again["messages"] == []
        assert again["cursor"] == first["cursor"]


@pytest.mark.extension
async def test_entering_with_an_open_key_is_no_knock(mesh: Mesh) -> None:
    """Knocks and guesses are limited per address, entering is not (14.6)."""
    async with mesh.link("ann") as ann:
        invited = await open_room(ann)
        for number in range(35):
            async with mesh.link(f"guest{number}") as guest:
                await join(guest, invited["code"])
