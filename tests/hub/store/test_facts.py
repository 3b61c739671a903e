"""Remembering and recalling: who sees what, keys, vectors, bounds (protocol 9)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.errors import Refusal
from hub.store import facts, members, rooms, search
from hub.store.facts import NewFact, Question
from hub.store.schema import fact_pieces as pieces
from hub.store.schema import facts as table
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_PULLED_BYTES
from parler.wire.records import RecallHit, RoomKind
from tests._support.stores import OpenStore, open_store

ANN, BOB, EVE = AgentId("ann"), AgentId("bob"), AgentId("eve")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    with open_store(tmp_path / "hub.sqlite") as opened:
        yield opened


@pytest.fixture
def room(store: OpenStore) -> int:
    """A room of Ann and Bob."""
    return room_of(store, "work", ANN, BOB)


def room_of(store: OpenStore, name: str, *agents: AgentId) -> int:
    def create(connection: sa.Connection) -> int:
        made = rooms.create(
            connection,
            RoomName(name),
            RoomKind.CHANNEL,
            owner=agents[0],
            gated=False,
            now=0,
        )
        for agent in agents:
            members.add(connection, made.id, agent, now=0)
        return made.id

    return store.write(create)


def keep(
    store: OpenStore, text: str, author: AgentId = ANN, now: int = 0, **fields: Any
) -> None:
    limit = fields.pop("max_keyed", 100)
    empty = {"room": None, "key": None, "vector": None, "model": None}
    fact = NewFact(author=author, text=text, **(empty | fields))
    if facts.is_short(text):
        store.write(partial(facts.remember, fact=fact, max_keyed=limit, now=now))
    else:
        settle(store, arrive(store, fact, now=now), fact)


def arrive(store: OpenStore, fact: NewFact, now: int = 0) -> int:
    """Store a long fact with all its words, so far unseen."""
    number = store.write(partial(facts.arrive, fact=fact, max_keyed=100, now=now))
    for piece in search.pieces(fact.text):
        store.write(partial(search.index_piece, fact=number, piece=piece))
    return number


def settle(store: OpenStore, number: int, fact: NewFact) -> None:
    store.write(partial(facts.settle, number=number, fact=fact, max_keyed=100))


def drop_all(store: OpenStore) -> None:
    while store.write(facts.drop_some):
        pass


def left(store: OpenStore) -> tuple[int, int]:
    """How many facts and pieces of them there are, whether found or not."""
    count = [sa.select(sa.func.count()).select_from(each) for each in (table, pieces)]
    return store.read(
        lambda connection: (
            connection.execute(count[0]).scalar_one(),
            connection.execute(count[1]).scalar_one(),
        )
    )


def index_is_sound(store: OpenStore) -> None:
    check = "INSERT INTO facts_fts (facts_fts, rank) VALUES ('integrity-check', 1)"
    store.write(lambda connection: connection.exec_driver_sql(check) and None)


def hits(
    store: OpenStore, agent: AgentId, query: str, **fields: Any
) -> list[RecallHit]:
    empty = {"room": None, "key": None, "vector": None, "limit": 50}
    question = Question(agent=agent, query=query, **(empty | fields))
    return store.read(partial(facts.recall, question=question))


def texts(
    store: OpenStore, agent: AgentId, query: str = "", **fields: Any
) -> list[str]:
    return [hit.text for hit in hits(store, agent, query, **fields)]


def vector(*first: float) -> bytes:
    packed = search.pack([*first, *[0.0] * (768 - len(first))])
    assert packed is not None
    return packed


def test_a_private_fact_is_found_by_its_author_alone(
    store: OpenStore, room: int
) -> None:
    keep(store, "secret plan", key="plan", vector=vector(1.0))
    assert texts(store, ANN, "secret") == ["secret plan"]
    for way in ({"query": "secret"}, {"key": "plan"}, {"vector": vector(1.0)}):
        assert texts(store, BOB, **way) == []
        assert texts(store, BOB, room=room, **way) == []


def test_a_private_fact_is_not_found_in_a_room(store: OpenStore, room: int) -> None:
    keep(store, "secret plan", key="plan")
    assert texts(store, ANN, "secret", room=room) == []
    assert texts(store, ANN, key="plan", room=room) == []


def test_a_room_fact_is_found_by_every_member_and_nobody_else(
    store: OpenStore, room: int
) -> None:
    keep(store, "shared plan", room=room, key="plan", vector=vector(1.0))
    [hit] = hits(store, BOB, "shared")
    assert (hit.room, hit.author, hit.key) == ("work", ANN, "plan")
    for way in ({"query": "shared"}, {"key": "plan"}, {"vector": vector(1.0)}):
        assert texts(store, BOB, **way) == ["shared plan"]
        assert texts(store, EVE, **way) == []


def test_whoever_left_a_room_finds_nothing_there_not_even_its_own(
    store: OpenStore, room: int
) -> None:
    keep(store, "shared plan", author=BOB, room=room)
    store.write(partial(members.remove, room=room, agent=BOB))
    assert texts(store, BOB, "shared") == []


def test_the_facts_of_a_deleted_room_are_gone_from_the_index_too(
    store: OpenStore, room: int
) -> None:
    keep(store, "shared plan", room=room)
    store.write(partial(rooms.delete, room=room))
    assert room_of(store, "work", ANN) != room
    assert texts(store, ANN, "shared") == []


def test_without_a_key_each_fact_is_kept(store: OpenStore) -> None:
    keep(store, "apple")
    keep(store, "apple")
    assert texts(store, ANN, "apple") == ["apple", "apple"]


def test_with_a_key_the_last_one_stays(store: OpenStore, room: int) -> None:
    for place in (None, room):
        keep(store, "old words", key="k", room=place, now=1)
        keep(store, "new words", key="k", room=place, now=2)
        assert texts(store, ANN, "old", room=place) == []
        [hit] = hits(store, ANN, "new", room=place)
        assert (hit.text, hit.ts) == ("new words", 2)
        if place is None:
            store.write(
                lambda connection: connection.execute(sa.delete(table)) and None
            )


def test_a_key_is_of_one_author_and_one_place(store: OpenStore, room: int) -> None:
    other = room_of(store, "other", ANN)
    keep(store, "1", key="k", now=1)
    keep(store, "2", key="k", room=room, now=2)
    keep(store, "3", key="k", room=other, now=3)
    keep(store, "4", key="k", room=room, author=BOB, now=4)
    keep(store, "5", key="K", now=5)
    assert texts(store, ANN, key="k") == ["4", "3", "2", "1"]  # newest first
    assert texts(store, BOB, key="k") == ["4", "2"]
    assert texts(store, ANN, key="k", room=room) == ["4", "2"]
    assert texts(store, ANN, key="k", limit=1) == ["4"]


def test_a_key_wins_over_the_query_and_scores_nothing(store: OpenStore) -> None:
    keep(store, "apple", key="k")
    keep(store, "pear")
    [hit] = hits(store, ANN, "pear", key="k", vector=vector(1.0))
    assert (hit.text, hit.score) == ("apple", 0.0)
    assert texts(store, ANN, "apple", key="unknown") == []


def test_a_new_text_without_a_vector_drops_the_old_one(store: OpenStore) -> None:
    keep(store, "old", key="k", vector=vector(1.0), model="m")
    keep(store, "new", key="k")
    assert texts(store, ANN, vector=vector(1.0)) == []
    row = store.read(lambda connection: connection.execute(sa.select(table)).one())
    assert (row.embedding, row.embedding_model) == (None, None)


def test_a_new_vector_replaces_the_old_one(store: OpenStore) -> None:
    keep(store, "old", key="k", vector=vector(1.0), model="m")
    keep(store, "new", key="k", vector=vector(0.0, 4.0), model="n")
    [hit] = hits(store, ANN, "", vector=vector())
    assert (hit.text, hit.score) == ("new", 4.0)


def test_one_key_too_many_is_refused_but_updates_pass(
    store: OpenStore, room: int
) -> None:
    keep(store, "1", key="a", max_keyed=2)
    keep(store, "2", key="a", room=room, max_keyed=2)
    with pytest.raises(Refusal) as refused:
        keep(store, "3", key="b", max_keyed=2)
    assert refused.value.code is ErrorCode.AT_CAPACITY
    keep(store, "4", key="a", max_keyed=2)
    keep(store, "5", max_keyed=2)
    keep(store, "6", key="b", author=BOB, max_keyed=2)
    assert texts(store, ANN, key="a", room=room) == ["2"]
    assert sorted(texts(store, ANN, "1 2 3 4 5")) == ["2", "4", "5"]


def test_words_and_a_vector_are_fused(store: OpenStore) -> None:
    keep(store, "apple", vector=vector(9.0))
    keep(store, "pear", vector=vector(1.0))
    keep(store, "apple and pear", vector=vector(2.0))
    keep(store, "plum", vector=vector(3.0))
    fused = hits(store, ANN, "apple", vector=vector())
    assert fused[0].text == "apple and pear"
    assert {hit.text for hit in fused[1:]} == {"apple", "pear", "plum"}
    assert all(0 < hit.score <= 2 / 61 for hit in fused)


def test_one_list_alone_keeps_its_own_scores(store: OpenStore) -> None:
    keep(store, "pear", vector=vector(3.0, 4.0))
    assert [hit.score for hit in hits(store, ANN, "plum", vector=vector())] == [5.0]
    assert hits(store, ANN, "pear")[0].score < 0


def test_a_crowd_of_facts_elsewhere_does_not_hide_mine(store: OpenStore) -> None:
    keep(store, "apple", vector=vector(500.0))
    crowd = [
        {"author": BOB, "text": "apple apple", "ts": 0, "embedding": vector(1.0)}
        for _ in range(facts.MAX_CANDIDATES + 50)
    ]
    store.write(lambda connection: connection.execute(sa.insert(table), crowd) and None)
    assert texts(store, ANN, "apple", limit=1) == ["apple"]
    assert texts(store, ANN, vector=vector(), limit=1) == ["apple"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_there_are_never_more_hits_than_asked_for(store: OpenStore, limit: int) -> None:
    for number in range(5):
        keep(store, f"apple {number}", key="k" + str(number), vector=vector(number))
    assert len(texts(store, ANN, "apple", limit=limit)) == limit
    assert len(texts(store, ANN, vector=vector(), limit=limit)) == limit
    assert len(texts(store, ANN, "apple", vector=vector(), limit=limit)) == limit


def test_a_reply_stays_small_enough_for_every_client(store: OpenStore) -> None:
    for number in range(12):
        keep(store, f"apple {number} " + "x" * 700_000)
    found = hits(store, ANN, "apple")
    assert 1 < len(found) < 12
    assert len(msgspec.json.encode(found)) <= MAX_PULLED_BYTES + 100


def test_one_fact_is_found_however_large_it_prints(store: OpenStore) -> None:
    text = "apple " + "\x01" * 1_000_000
    keep(store, text)
    assert len(msgspec.json.encode(text)) > MAX_PULLED_BYTES
    assert texts(store, ANN, "apple") == [text]


def test_a_hit_with_a_letter_of_many_bytes_anywhere_is_found(store: OpenStore) -> None:
    for length in range(124, 130):
        keep(store, "a" * length + "🦊 fox", key=str(length), vector=vector(length))
    assert len(hits(store, ANN, "fox", vector=vector())) == 6


# ------------------------------------------------------------------------- long facts


def long(last: str, **fields: Any) -> NewFact:
    """A fact of four pieces whose last word is `last`."""
    text = " ".join(f"w{number}" for number in range(17_000)) + f" {last}"
    assert len(search.pieces(text)) == 4
    empty = {"room": None, "key": None, "vector": None, "model": None}
    return NewFact(author=ANN, text=text, **(empty | fields))


def test_a_long_fact_is_found_by_every_word_once_it_settled(store: OpenStore) -> None:
    fact = long("fox")
    number = arrive(store, fact)
    assert texts(store, ANN, "fox") == [], "half a fact was found"
    settle(store, number, fact)
    for word in ("w0", "w8999", "w16999", "fox"):
        assert texts(store, ANN, word) == [fact.text]
    index_is_sound(store)


def test_a_long_fact_takes_the_place_of_its_key_at_once(
    store: OpenStore, room: int
) -> None:
    first, second = (long(word, key="k", room=room) for word in ("fox", "owl"))
    keep(store, "short", key="k", room=room)
    settle(store, arrive(store, first), first)
    assert texts(store, BOB, key="k") == [first.text]
    number = arrive(store, second)
    assert texts(store, BOB, key="k") == [first.text]
    settle(store, number, second)
    assert texts(store, BOB, key="k") == [second.text]
    assert texts(store, BOB, "fox") == []
    keep(store, "short again", key="k", room=room)
    assert texts(store, BOB, key="k") == ["short again"]
    drop_all(store)
    assert left(store) == (1, 1)
    index_is_sound(store)


def test_a_long_fact_that_is_forgotten_is_found_no_more_and_goes_in_steps(
    store: OpenStore,
) -> None:
    fact = long("fox", key="k")
    settle(store, arrive(store, fact), fact)
    forget = partial(facts.forget, author=ANN, room=None, key="k", text=None)
    assert store.write(forget) == (1, True)
    assert store.write(forget) == (0, False)
    assert texts(store, ANN, "fox") == texts(store, ANN, key="k") == []
    assert store.write(facts.drop_some) == 1
    assert left(store) == (1, 3)
    drop_all(store)
    assert left(store) == (0, 0)
    index_is_sound(store)


def test_a_fact_that_arrives_in_a_room_that_is_deleted_never_settles(
    store: OpenStore, room: int
) -> None:
    fact = long("fox", room=room)
    number = arrive(store, fact)
    assert store.write(partial(rooms.delete, room=room))
    late = search.Piece(9, start=1, length=9)
    store.write(partial(search.index_piece, fact=number, piece=late))
    with pytest.raises(Refusal):
        settle(store, number, fact)
    drop_all(store)
    assert left(store) == (0, 0)
    index_is_sound(store)


def test_a_fact_that_had_not_settled_when_the_hub_died_is_dropped(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "hub.sqlite") as store:
        arrive(store, long("fox"))
    with open_store(tmp_path / "hub.sqlite") as store:
        drop_all(store)
        assert left(store) == (0, 0)
        index_is_sound(store)


# ---------------------------------------------------------------- what a score may tell


def test_no_order_and_no_score_tells_which_words_strangers_use(
    store: OpenStore, room: int
) -> None:
    keep(store, "apple one", room=room)
    keep(store, "pear two", room=room)
    keep(store, "plum three", room=room)
    before = [(hit.text, hit.score) for hit in hits(store, BOB, "apple pear plum")]
    for number in range(50):
        keep(store, f"pear {number}", author=EVE)
    assert [(hit.text, hit.score) for hit in hits(store, BOB, "apple pear plum")] == (
        before
    )


def test_a_word_that_few_of_my_facts_have_weighs_more(store: OpenStore) -> None:
    for number in range(9):
        keep(store, f"apple {number}")
    keep(store, "apple pie")
    keep(store, "rare pie")
    assert texts(store, ANN, "apple rare")[0] == "rare pie"
    assert texts(store, ANN, "apple pie")[0] == "apple pie"


def test_no_score_tells_what_a_newcomer_may_not_find(
    store: OpenStore, room: int
) -> None:
    newcomer = AgentId("new")

    def scores() -> list[tuple[str, float]]:
        return [
            (hit.text, hit.score) for hit in hits(store, newcomer, "apple pear plum")
        ]

    for number in range(20):
        keep(store, f"apple {number}", room=room)
    add = partial(
        members.add,
        room=room,
        agent=newcomer,
        now=1,
        floor=members.NO_MESSAGES_YET,
    )
    store.write(add)
    for text in ("apple one", "pear two", "plum three"):
        keep(store, text, author=newcomer, room=room)
    seen = scores()
    assert {text for text, _ in seen} == {"apple one", "pear two", "plum three"}
    assert len({score for _, score in seen}) == 1


def test_facts_that_leave_are_found_without_looking_at_all_others(
    store: OpenStore,
) -> None:
    def plans(connection: sa.Connection) -> list[str]:
        raw: Any = connection.connection.driver_connection
        asked: list[str] = []
        raw.set_trace_callback(asked.append)
        facts.drop_some(connection)
        facts.give_up_stale(connection, before=0)
        raw.set_trace_callback(None)
        return [
            " ".join(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}"))
            for sql in asked
        ]

    found = store.write(plans)
    assert len(found) == 2
    assert all("facts_state" in plan for plan in found)


def test_the_facts_of_each_place_are_counted_through_all_they_go_through(
    store: OpenStore, room: int
) -> None:
    def counted() -> dict[str, int]:
        asked = "SELECT place, live FROM fact_counts"
        found = store.read(lambda c: c.exec_driver_sql(asked).all())
        return {place: live for place, live in found}

    keep(store, "mine", key="k")
    keep(store, "mine again", key="k")
    keep(store, "ours", room=room)
    assert counted() == {f"a{ANN}": 1, f"r{room}": 1}
    fact = NewFact(
        author=BOB, room=room, key=None, text="long", vector=None, model=None
    )
    arrive = partial(facts.arrive, fact=fact, max_keyed=9, now=0)
    numbers = [store.write(arrive), store.write(arrive)]
    assert counted()[f"r{room}"] == 1
    store.write(partial(facts.settle, number=numbers[0], fact=fact, max_keyed=9))
    store.write(partial(facts.give_up, number=numbers[1]))
    assert counted()[f"r{room}"] == 2
    leave = sa.update(table).where(table.c.room == room).values(state=2)
    store.write(lambda connection: connection.execute(leave).rowcount)
    assert counted() == {f"a{ANN}": 1}
