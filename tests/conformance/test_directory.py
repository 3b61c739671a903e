"""Cards and bearer tokens: `register`, `discover`, `lookup`, tokens (protocol 10.1).

Every tag is of one test alone, as the directory of a hub is everybody's.
"""

import time
import uuid
from typing import Any

import pytest

from tests._support.plainclient import Frame, Link, canonical_bytes, verifies
from tests.conformance.steps import CODE_ALPHABET, Mesh, join, open_room

DAY_SECS = 86_400


def fresh_tag() -> str:
    return f"tag-{uuid.uuid4().hex}"


def card_of(link: Link, **fields: Any) -> Frame:
    return {"id": link.id, "name": link.agent.name, "kind": "agent", **fields}


async def register(
    link: Link, visibility: str = "public", *, signed: bool = False, **fields: Any
) -> Frame:
    card = card_of(link, **fields)
    sig = {"sig": link.agent.sign(canonical_bytes(card))} if signed else {}
    return await link.ask(
        "registered", "register", card=card, visibility=visibility, **sig
    )


async def found(link: Link, **filters: Any) -> list[str]:
    reply = await link.ask("directory", "discover", **filters)
    return [entry["card"]["id"] for entry in reply["agents"]]


async def entry(link: Link, agent: str) -> Frame:
    card: Frame = (await link.ask("card", "lookup", id=agent))["entry"]
    return card


async def test_a_card_is_kept_as_it_was_registered(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        fields = {
            "role": "planner",
            "description": "plans — ☕",
            "tags": ["a", "é"],
            "skills": [{"id": "decompose", "name": "Decompose"}],
            "meta": {"n": 1},
            "protocolVersion": "0.2",
        }
        registered = await register(ann, "public", **fields)
        assert registered["id"] == ann.id
        assert (registered["visibility"], registered["verified"]) == ("public", False)
        kept = await entry(bob, ann.id)
        assert kept["card"] == card_of(ann, **fields)
        assert (kept["visibility"], kept["verified"]) == ("public", False)
        assert "sig" not in kept
        assert kept["status"] == "idle"
        assert isinstance(kept["hub"], str)
        assert kept["firstSeen"] <= kept["lastSeen"]


async def test_a_signed_card_can_be_verified_by_anybody(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        registered = await register(ann, signed=True, tags=["é"], meta={"x": [1, "ü"]})
        assert registered["verified"] is True
        kept = await entry(bob, ann.id)
        assert kept["verified"] is True
        assert verifies(ann.id, canonical_bytes(kept["card"]), kept["sig"])


async def test_a_card_of_somebody_else_is_refused(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        await ann.expect_error("invalid_card", "register", card=card_of(bob))
        reply = await ann.ask("card", "lookup", id=bob.id)
        assert reply.get("entry") is None


@pytest.mark.parametrize("sig", ["", "x", "A" * 86 + "==", "☃"])
async def test_a_wrong_signature_is_refused(mesh: Mesh, sig: str) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error("invalid_card", "register", card=card_of(ann), sig=sig)
        assert (await ann.ask("card", "lookup", id=ann.id)).get("entry") is None


async def test_a_signature_of_another_card_is_refused(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        sig = ann.agent.sign(canonical_bytes(card_of(ann, role="admin")))
        await ann.expect_error("invalid_card", "register", card=card_of(ann), sig=sig)


async def test_the_last_card_replaces_the_one_before(mesh: Mesh) -> None:
    tag, other = fresh_tag(), fresh_tag()
    async with mesh.link("ann") as ann:
        await register(ann, signed=True, tags=[tag])
        await register(ann, "private", tags=[other])
        assert await found(ann, tag=tag) == []
        assert await found(ann, tag=other) == [ann.id]
        kept = await entry(ann, ann.id)
        assert (kept["visibility"], kept["verified"]) == ("private", False)


async def test_a_card_is_private_unless_it_says_otherwise(mesh: Mesh) -> None:
    tag = fresh_tag()
    async with mesh.links("ann", "bob") as (ann, bob):
        await ann.ask("registered", "register", card=card_of(ann, tags=[tag]))
        assert await found(bob, tag=tag) == [ann.id]
        assert await found(bob, tag=tag, scope="public") == []
        assert (await entry(bob, ann.id))["visibility"] == "private"


async def test_an_unknown_agent_has_no_entry(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        assert (await ann.ask("card", "lookup", id="nobody")).get("entry") is None


async def test_filters_are_parts_of_words_in_any_case_and_all_must_fit(
    mesh: Mesh,
) -> None:
    tag = fresh_tag()
    async with mesh.links("Zoë Anders", "bob") as (zoe, bob):
        skills = [{"id": f"rev-{tag}", "name": "Code Review"}]
        await register(zoe, tags=[tag, "50%_done"], skills=skills)
        await register(bob, tags=[tag])
        for filters in (
            {"tag": tag[:-1].upper()},
            {"query": tag, "tag": tag},
        ):
            assert set(await found(bob, **filters)) == {zoe.id, bob.id}
        for filters in (
            {"skill": f"REV-{tag}"},
            {"skill": "code rev", "tag": tag},
            {"query": "zoë and", "tag": tag},
            {"query": "code review", "tag": tag},
            {"tag": "50%_D", "query": tag},
        ):
            assert await found(bob, **filters) == [zoe.id]
        for filters in (
            {"tag": tag, "skill": "no such skill"},
            {"tag": f"{tag}x"},
            {"tag": "50_", "query": tag},
            {"tag": tag, "status": "working"},
        ):
            assert await found(bob, **filters) == []


async def test_the_status_is_that_of_now_and_filtered_before_the_limit(
    mesh: Mesh,
) -> None:
    tag = fresh_tag()
    async with mesh.links("ann", "bob", "cas") as (ann, bob, cas):
        for link in (ann, bob, cas):
            await register(link, tags=[tag])
        await ann.ask("presence_ok", "presence", status="Working", activity="tests")
        assert await found(bob, tag=tag, status="wORKING", limit=1) == [ann.id]
        kept = await entry(bob, ann.id)
        assert (kept["status"], kept["activity"]) == ("Working", "tests")


async def test_the_latest_hello_comes_first_up_to_the_limit(mesh: Mesh) -> None:
    tag = fresh_tag()
    async with mesh.links("ann", "bob", "cas") as links:
        for link in links:
            await register(link, tags=[tag])
        names = await found(links[0], tag=tag)
        assert sorted(names) == sorted(link.id for link in links)
        seen = [(await entry(links[0], agent))["lastSeen"] for agent in names]
        assert seen == sorted(seen, reverse=True)
        assert await found(links[0], tag=tag, limit=2) == names[:2]


@pytest.mark.extension("directory")
async def test_a_name_is_found_whatever_strangers_put_on_their_cards(
    mesh: Mesh,
) -> None:
    name = fresh_tag()
    async with mesh.links(f" {name.upper()}", "eve", f"{name}x", "ann") as links:
        webdev, eve, longer, ann = links
        await register(webdev)
        skills = [{"id": name, "name": name}]
        await register(eve, tags=[name], skills=skills)
        await register(longer)
        assert await found(ann, name=f"{name} ") == [webdev.id]
        assert await found(ann, name=name[:-1]) == []
        assert (await found(ann, query=name))[0] == webdev.id, "though seen first"


@pytest.mark.extension("directory")
async def test_pages_show_every_card_once(mesh: Mesh) -> None:
    tag = fresh_tag()
    async with mesh.links(*(f"n{number}" for number in range(7))) as links:
        for link in links:
            await register(link, tags=[tag])
        everybody = await found(links[0], tag=tag)
        shown, after = [], {}
        for size in (3, 3, 1):
            page = await links[0].ask(
                "directory", "discover", tag=tag, limit=3, **after
            )
            assert len(page["agents"]) == size
            shown += [one["card"]["id"] for one in page["agents"]]
            after = {"after": page["next"]} if "next" in page else {}
        assert not after
        assert shown == everybody
        exact = await links[0].ask("directory", "discover", tag=tag, limit=7)
        assert "next" not in exact


@pytest.mark.extension("directory")
@pytest.mark.parametrize("after", ["", "x", "0.0.-1.UABC", "0.0.1", "9.9.9.9"])
async def test_what_is_no_place_in_the_directory_is_refused(
    mesh: Mesh, after: str
) -> None:
    async with mesh.link("eve") as eve:
        await eve.expect_error("bad_frame", "discover", after=after)


@pytest.mark.extension("directory")
async def test_who_shares_a_session_comes_before_strangers(mesh: Mesh) -> None:
    tag = fresh_tag()
    async with mesh.room_of("ann", "bob") as ([ann, bob], _), mesh.link("eve") as eve:
        for link in (bob, eve, ann):
            await register(link, tags=[tag])
        # Nobody has to agree to a direct message, or to be asked by a service.
        await eve.send_text({"kind": "dm", "agent": ann.id}, "know me")
        await eve.ask("joined", "serve", service=tag)
        await ann.send_text({"kind": "service", "service": tag}, "hello")
        page = await ann.ask("directory", "discover", tag=tag)
        assert page["known"] == [bob.id]
        assert page["agents"][0]["card"]["id"] == bob.id
        first = await ann.ask("directory", "discover", tag=tag, limit=1)
        rest = await found(ann, tag=tag, after=first["next"])
        assert set(rest) == {ann.id, eve.id}


@pytest.mark.parametrize(
    ("asked", "lasts"),
    [(None, 3600), (60, 60), (0, 0), (10**9, 365 * DAY_SECS)],
)
async def test_tokens_last_as_long_as_asked_up_to_a_year(
    mesh: Mesh, asked: int | None, lasts: int
) -> None:
    ttl = {} if asked is None else {"ttlSecs": asked}
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        minted = await ann.ask("directory_token", "mint_directory_token", **ttl)
        watch = await ann.ask("watch", "mint_watch", room=room, **ttl)
        assert watch["room"] == room
        for token in (minted, watch):
            assert len(token["token"]) == 32
            assert set(token["token"]) <= set(CODE_ALPHABET)
            left = token["expiresAt"] / 1000 - time.time()
            assert lasts - 120 < left < lasts + 120
        assert minted["token"] != watch["token"]


async def test_only_the_owner_lets_others_watch(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "eve") as (ann, bob, eve):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        for link in (bob, eve):
            await link.expect_error(
                mesh.coded("not_owner"), "mint_watch", room=invited["room"]
            )
