"""Memory: protocol 9; `remember` and `recall` of 3.4."""

import uuid
from typing import Any

import pytest

from tests._support.plainclient import Frame, Link
from tests.conformance.steps import Mesh, admit, open_room


def fresh_word() -> str:
    """A word no earlier run has remembered."""
    return "w" + uuid.uuid4().hex


def vector(*first: float) -> list[float]:
    return [*first, *[0] * (768 - len(first))]


async def remember(link: Link, text: str, **fields: Any) -> None:
    """Keep a fact; `key` and `room` belong to it, the rest to the frame."""
    fact = {"text": text}
    fact |= {name: fields.pop(name) for name in ("key", "room") if name in fields}
    reply = await link.ask("remembered", "remember", fact=fact, **fields)
    assert reply["ok"] is True


async def recall(link: Link, query: str = "", **fields: Any) -> list[Frame]:
    hits: list[Frame] = (await link.ask("recalled", "recall", query=query, **fields))[
        "hits"
    ]
    return hits


async def recalled(link: Link, query: str = "", **fields: Any) -> list[str]:
    return [hit["text"] for hit in await recall(link, query, **fields)]


# -- who sees what


async def test_a_private_fact_is_for_its_author_alone(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(ann, f"{word} is mine", key=word, embedding=vector(1.0))
        [hit] = await recall(ann, word)
        assert hit["author"] == ann.id
        assert "room" not in hit
        for fields in ({"query": word}, {"key": word}, {"embedding": vector(1.0)}):
            assert await recalled(bob, **fields) == []
            assert await recalled(bob, **fields, room=room) == []
            assert await recalled(ann, **fields, room=room) == []


async def test_a_room_fact_is_for_every_member(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(ann, f"{word} is ours", room=room, key=word)
        for fields in ({"query": word}, {"key": word}):
            for scope in ({}, {"room": room}):
                [hit] = await recall(bob, **fields, **scope)
                assert hit["text"] == f"{word} is ours"
                assert (hit["room"], hit["author"], hit["key"]) == (room, ann.id, word)
                assert isinstance(hit["ts"], int)
                assert isinstance(hit["score"], int | float)


async def test_a_stranger_cannot_remember_or_recall_in_a_room(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.room_of("ann") as ([ann], room), mesh.link("eve") as eve:
        await remember(ann, word, room=room)
        for name in (room, "room.nosuch"):
            fact = {"text": word, "room": name}
            await eve.expect_error("not_member", "remember", fact=fact)
            await eve.expect_error("not_member", "recall", query=word, room=name)
        assert await recalled(eve, word) == []


async def test_somebody_who_knocks_finds_nothing_until_approved(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.links("ann", "bob") as (ann, bob):
        invited = await open_room(ann, gated=True)
        await remember(ann, word, room=invited["room"])
        await bob.ask("join_pending", "redeem", code=invited["code"])
        assert await recalled(bob, word) == []
        await admit(ann, bob, invited)
        assert await recalled(bob, word) == [word]


@pytest.mark.extension("membership")
async def test_a_removed_member_finds_nothing_any_more(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(bob, word, room=room)
        await ann.ask("member_removed", "remove_member", room=room, agent=bob.id)
        assert await recalled(bob, word) == []
        await bob.expect_error("not_member", "recall", query=word, room=room)


async def test_the_facts_of_a_deleted_room_are_gone(mesh: Mesh) -> None:
    word = fresh_word()
    async with mesh.room_of("ann") as ([ann], room):
        await remember(ann, word, room=room)
        await ann.ask("room_deleted", "delete_room", room=room)
        assert await recalled(ann, word) == []


# -- keys


async def test_a_fact_under_the_same_key_is_replaced(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "first", key="k")
        await remember(ann, "second", key="k")
        assert await recalled(ann, key="k") == ["second"]
        assert await recalled(ann, "first") == []


async def test_a_fact_without_a_key_is_added(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        for _ in range(2):
            await remember(ann, "again")
            await remember(ann, "again", key=None)
        assert await recalled(ann, "again") == ["again"] * 4


async def test_a_key_is_each_authors_own_in_each_place(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(ann, "private", key="k")
        await remember(ann, "of ann", key="k", room=room)
        await remember(bob, "of bob", key="k", room=room)
        hits = await recall(ann, key="k")
        assert {hit["text"] for hit in hits} == {"private", "of ann", "of bob"}
        times = [hit["ts"] for hit in hits]
        assert times == sorted(times, reverse=True)
        assert all(hit["score"] == 0 for hit in hits)
        assert len(await recall(ann, key="k", room=room)) == 2


async def test_a_key_ignores_the_query_and_an_empty_one_is_none(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple", key="k")
        await remember(ann, "pear")
        assert await recalled(ann, "pear", key="k") == ["apple"]
        assert await recalled(ann, "pear", key="") == ["pear"]
        assert await recalled(ann, "pear", key=None) == ["pear"]
        assert await recalled(ann, "apple", key="K") == []


# -- words


async def test_words_are_found_by_their_beginning(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "Deployment runs on Fridays")
        await remember(ann, "Mittagessen um zwölf")
        assert len(await recall(ann, "DEPLOY, mittag!")) == 2
        assert await recalled(ann, "ployment") == []
        assert await recalled(ann, "Zwölf") == ["Mittagessen um zwölf"]


async def test_a_query_without_words_finds_nothing(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple")
        for query in ("", "   ", "?!", '"', "*"):
            assert await recall(ann, query) == []


@pytest.mark.parametrize(
    "query",
    ['apple" OR "pear', "NEAR(apple", "apple AND", "text:apple*", "(apple", "\0apple"],
)
async def test_a_query_is_words_and_never_syntax(mesh: Mesh, query: str) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple")
        assert await recalled(ann, query) == ["apple"]


async def test_the_better_match_comes_first(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        one, two = fresh_word(), fresh_word()
        await remember(ann, f"{one} and a good deal of other words around it")
        await remember(ann, f"{one} {two}")
        hits = await recall(ann, f"{one} {two}")
        assert hits[0]["text"] == f"{one} {two}"
        assert hits[0]["score"] <= hits[1]["score"] <= 0


async def test_a_very_long_query_is_answered(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple")
        many = " ".join(f"x{number:04}" for number in range(10_000))
        assert await recalled(ann, f"apple {many}") == ["apple"]
        await ann.expect_error("too_large", "recall", query="x" * 65_537)


# -- vectors


async def test_the_nearest_vector_comes_first(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "far", embedding=vector(3, 4), embeddingModel="m")
        await remember(ann, "near", embedding=vector(0.5))
        await remember(ann, "none")
        hits = await recall(ann, embedding=vector())
        assert [hit["text"] for hit in hits] == ["near", "far"]
        assert [hit["score"] for hit in hits] == pytest.approx([0.5, 5.0])


async def test_a_small_room_is_not_starved_by_a_large_one(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann, mesh.link("bob") as bob:
        await remember(ann, "mine", embedding=vector(7))
        for number in range(12):
            await remember(bob, f"crowd {number}", embedding=vector(0.001 * number))
        assert await recalled(ann, embedding=vector(), limit=1) == ["mine"]


async def test_words_and_vector_are_fused_by_rank(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple", embedding=vector(9))
        await remember(ann, "pear", embedding=vector(1))
        hits = await recall(ann, "apple", embedding=vector())
        scores = {hit["text"]: hit["score"] for hit in hits}
        assert list(scores) == ["apple", "pear"]
        assert scores == pytest.approx({"apple": 1 / 61 + 1 / 62, "pear": 1 / 61})


async def test_a_fused_hit_may_have_a_wide_letter_at_any_byte(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        text = "apple " + "x" * 121 + "🦊" * 40  # a letter across byte 128
        await remember(ann, text, embedding=vector(1))
        assert await recalled(ann, "apple", embedding=vector(1)) == [text]
        await ann.ask("pong", "ping")


async def test_an_update_without_a_vector_drops_the_old_one(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "old", key="k", embedding=vector(1))
        await remember(ann, "new", key="k")
        if mesh.hub.ours:  # protocol 13.27
            assert await recalled(ann, embedding=vector(1)) == []
        await remember(ann, "newest", key="k", embedding=vector(2))
        [hit] = await recall(ann, embedding=vector())
        assert (hit["text"], hit["score"]) == ("newest", pytest.approx(2.0))


@pytest.mark.parametrize(
    "embedding", [[], [1.0] * 767, [1.0] * 769, [1e300, *[0.0] * 767]]
)
async def test_a_vector_of_another_shape_is_refused(
    mesh: Mesh, embedding: list[float]
) -> None:
    async with mesh.link("ann") as ann:
        fact = {"text": "apple"}
        await ann.expect_error(None, "remember", fact=fact, embedding=embedding)
        assert await recalled(ann, "apple") == []


# -- limits


async def test_eight_hits_are_given_and_fifty_at_most(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        for number in range(52):
            await remember(ann, f"apple {number}")
        assert len(await recall(ann, "apple")) == 8
        assert len(await recall(ann, "apple", limit=None)) == 8
        assert len(await recall(ann, "apple", limit=3)) == 3
        assert len(await recall(ann, "apple", limit=1000)) == 50


async def test_a_fact_may_be_as_large_as_a_message_and_no_larger(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        text = "apple " + "x" * (2**20 - 200)
        await remember(ann, text)
        assert await recalled(ann, "apple") == [text]
        fact = {"text": "x" * 2**20}
        await ann.expect_error("too_large", "remember", fact=fact)
        fact = {"text": "apple", "key": "x" * 4097}
        await ann.expect_error("too_large", "remember", fact=fact)


async def test_many_large_facts_fit_the_frames_of_every_client(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        for number in range(10):
            await remember(ann, f"apple {number} " + "x" * 900_000)
        hits = await recall(ann, "apple", limit=50)
        assert len(hits) >= 1
        assert len(ann.last_text) < 16 * 2**20
        if mesh.hub.ours:
            assert len(ann.last_text) < 5 * 2**20


# -- forgetting, an extension


async def forget(link: Link, **fields: Any) -> int:
    count: int = (await link.ask("forgotten", "forget", **fields))["count"]
    return count


@pytest.mark.extension("forget")
async def test_a_fact_is_forgotten_by_key_or_by_its_exact_text(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple pie", key="k", embedding=vector(1))
        await remember(ann, "apple")
        await remember(ann, "apple")
        assert await forget(ann, key="other") == 0
        assert await forget(ann, text="appl") == 0
        assert await forget(ann, text="apple") == 2
        assert await recalled(ann, "apple") == ["apple pie"]
        assert await forget(ann, key="k", text="apple") == 0
        assert await forget(ann, key="k") == 1
        for fields in ({"query": "apple"}, {"key": "k"}, {"embedding": vector(1)}):
            assert await recalled(ann, **fields) == []
        await remember(ann, "apple", key="k")
        assert await recalled(ann, key="k") == ["apple"]


@pytest.mark.extension("forget")
async def test_only_ones_own_facts_in_one_place_are_forgotten(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(ann, "of ann", key="k", room=room)
        await remember(ann, "private", key="k")
        await remember(bob, "of bob", key="k", room=room)
        assert await forget(bob, text="of ann", room=room) == 0
        assert await forget(bob, key="k") == 0
        assert await forget(bob, key="k", room=room) == 1
        assert set(await recalled(ann, key="k")) == {"of ann", "private"}
        assert await forget(ann, key="k") == 1
        assert await recalled(ann, key="k") == ["of ann"]


@pytest.mark.extension("forget", "membership")
async def test_whoever_is_not_in_a_room_forgets_nothing_there(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await remember(bob, "of bob", key="k", room=room)
        await ann.ask("member_removed", "remove_member", room=room, agent=bob.id)
        await bob.expect_error("not_member", "forget", key="k", room=room)
        await bob.expect_error("not_member", "forget", key="k", room="room.nosuch")
        assert await recalled(ann, key="k") == ["of bob"]


@pytest.mark.extension("forget")
async def test_forgetting_needs_a_key_or_a_text(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "apple")
        for fields in ({}, {"key": None}, {"key": ""}, {"text": None}):
            await ann.expect_error("bad_frame", "forget", **fields)
        await ann.expect_error("too_large", "forget", key="x" * 4097)
        assert await forget(ann, text="") == 0
        assert await recalled(ann, "apple") == ["apple"]


@pytest.mark.extension("forget")
async def test_keys_and_texts_of_any_letters_are_forgotten(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await remember(ann, "wide letters: 🦊\n\u2028", key="ключ")
        assert await forget(ann, text="wide letters: 🦊\n\u2028", key="ключ") == 1
        assert await forget(ann, key="ключ") == 0
