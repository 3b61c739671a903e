"""Words and vectors in SQLite: the index, its query language, the two distances."""

import math
import sqlite3
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hub.store import search
from hub.store.schema import facts
from tests._support.stores import OpenStore, open_store

ALL = sa.select(facts.c.id)
FLOATS = 768


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    with open_store(tmp_path / "hub.sqlite") as opened:
        yield opened


def keep(
    store: OpenStore, text: str, vector: bytes | None = None, *, author: str = "A"
) -> int:
    def insert(connection: sa.Connection) -> int:
        values = {"author": author, "text": text, "ts": 0, "embedding": vector}
        added = sa.insert(facts).values(**values).returning(facts.c.id)
        return connection.execute(added).scalar_one()

    return store.write(insert)


SHELF = search.Shelf(
    places=[search.place_of(None, "A")], size=100, findable=lambda numbers: set(numbers)
)


def found(store: OpenStore, query: str, *, limit: int = 50) -> list[int]:
    look = partial(search.by_text, shelf=SHELF, query=query, limit=limit)
    return [number for number, _ in store.read(look)]


def vector(*first: float) -> bytes:
    packed = search.pack([*first, *[0.0] * (FLOATS - len(first))])
    assert packed is not None
    return packed


def index_is_sound(store: OpenStore) -> None:
    check = "INSERT INTO facts_fts (facts_fts, rank) VALUES ('integrity-check', 1)"
    store.write(lambda connection: connection.exec_driver_sql(check) and None)


# ----------------------------------------------------------------------------- words


def test_a_query_is_cut_at_everything_that_is_no_letter_or_digit() -> None:
    assert search.terms("Foo-bar_baz, x2! ÄÖ\tЖи東京") == [
        "foo",
        "bar",
        "baz",
        "x2",
        "äö",
        "жи東京",
    ]


def test_a_letter_and_its_separate_accent_stay_one_word() -> None:
    assert search.terms("cafe\u0301s") == ["café" + "s"]


def test_words_that_repeat_count_once_and_only_so_many_are_looked_for() -> None:
    assert search.terms("a A a") == ["a"]
    many = search.terms(" ".join(f"w{number}" for number in range(30_000)))
    assert many == [f"w{number}" for number in range(search.MAX_TERMS)]


@pytest.mark.parametrize("query", ["", " \t", "!?-_", "\x00", '"*()^:'])
def test_a_query_without_words_finds_nothing(store: OpenStore, query: str) -> None:
    keep(store, "something")
    assert found(store, query) == []


def test_any_word_that_begins_like_one_of_the_query_is_found(store: OpenStore) -> None:
    deploy = keep(store, "Deployment runs on Fridays")
    lunch = keep(store, "lunch is at noon")
    keep(store, "redeploy never")
    assert set(found(store, "deploy LUNCH")) == {deploy, lunch}


def test_accents_and_case_do_not_matter(store: OpenStore) -> None:
    number = keep(store, "Grüße aus München, ÉCOLE")
    for query in ("grusse", "GRÜ", "munchen", "ecole", "e\u0301cole"):
        assert found(store, query) == ([] if query == "grusse" else [number])


def test_the_better_match_comes_first_with_the_lower_score(store: OpenStore) -> None:
    for other in range(20):
        keep(store, f"filler {other}")
    once = keep(store, "apple and many other things that fill a long line of text")
    twice = keep(store, "apple pie")
    ranked = store.read(
        partial(search.by_text, shelf=SHELF, query="apple pie", limit=5)
    )
    assert [number for number, _ in ranked] == [twice, once]
    assert ranked[0][1] < ranked[1][1] < 0


@pytest.mark.parametrize(
    "query",
    [
        'x" OR text:"y',
        "NEAR(x b)",
        "x AND NOT b",
        "^x",
        "x*b",
        "{text}: x",
        "-z +b",
        "'; DROP TABLE facts; --",
        "\U00016ea0 \U0001e030",  # letters newer than the tokenizer
        "İstanbul",
        "हिन्दी",
        "²⅞Ⅷ",
        "word " * 13_000,
        "x" * 65_536,
    ],
)
def test_no_query_is_read_as_query_language(store: OpenStore, query: str) -> None:
    keep(store, "quite another matter")
    assert found(store, query) == []


@given(st.text(max_size=60))
def test_any_text_becomes_words_of_letters_and_digits(query: str) -> None:
    for term in search.terms(query):
        assert term
        assert '"' not in term
        assert "\x00" not in term


def test_the_index_follows_what_is_changed_and_deleted(store: OpenStore) -> None:
    one, other = keep(store, "first"), keep(store, "with \x00 nul and 🦊")
    changed = sa.update(facts).where(facts.c.id == one).values(text="second")
    store.write(lambda connection: connection.execute(changed) and None)
    assert (found(store, "first"), found(store, "second")) == ([], [one])
    assert found(store, "nul") == [other]
    index_is_sound(store)
    store.write(lambda connection: connection.execute(sa.delete(facts)) and None)
    assert found(store, "second nul") == []
    index_is_sound(store)


def test_a_fact_that_was_not_stored_is_not_found(store: OpenStore) -> None:
    class Stopped(Exception):
        pass

    def half(connection: sa.Connection) -> None:
        connection.execute(sa.insert(facts).values(author="A", text="ghost", ts=0))
        raise Stopped

    with pytest.raises(Stopped):
        store.write(half)
    assert found(store, "ghost") == []
    index_is_sound(store)


def test_what_may_be_found_is_settled_before_anything_is_cut_off(
    store: OpenStore,
) -> None:
    mine = keep(store, "apple", vector(9.0))
    for _ in range(30):
        keep(store, "apple apple", vector(1.0))
    allowed = sa.select(facts.c.id).where(facts.c.id == mine)
    shelf = replace(SHELF, findable=lambda numbers: {mine} & set(numbers))
    words = partial(search.by_text, shelf=shelf, query="apple", limit=1)
    near = partial(search.by_vector, allowed=allowed, vector=vector(1.0), limit=1)
    assert [number for number, _ in store.read(words)] == [mine]
    assert [number for number, _ in store.read(near)] == [mine]


def test_a_search_walks_no_matches_of_other_places(store: OpenStore) -> None:
    """A stranger's facts must not make everybody's recall slow."""
    mine = keep(store, "apple")
    for number in range(50):
        keep(store, f"apple {number}", author=f"B{number % 2}")
    asked: list[int] = []

    def findable(numbers: Collection[int]) -> set[int]:
        asked.extend(numbers)
        return set(numbers)

    look = partial(
        search.by_text, shelf=replace(SHELF, findable=findable), query="apple", limit=9
    )
    assert [number for number, _ in store.read(look)] == [mine]
    assert asked == [mine]


def test_a_search_may_look_in_more_places_than_an_agent_can_be_in(
    store: OpenStore,
) -> None:
    mine = keep(store, "apple")
    rooms = [search.place_of(number, "A") for number in range(5_000)]
    shelf = replace(SHELF, places=[*rooms, *SHELF.places])
    look = partial(search.by_text, shelf=shelf, query="apple", limit=9)
    assert [number for number, _ in store.read(look)] == [mine]


def test_a_word_that_very_many_facts_have_still_finds_the_newest_of_them(
    store: OpenStore,
) -> None:
    def insert(connection: sa.Connection) -> None:
        many = [{"author": "A", "text": f"common {n}", "ts": 0} for n in range(2_100)]
        connection.execute(sa.insert(facts), many)

    assert search.MAX_COMPARED < 2_100
    both = keep(store, "common and rare")
    store.write(insert)
    newest = keep(store, "common enough")
    shelf = replace(SHELF, size=2_102)
    look = partial(search.by_text, shelf=shelf, query="common rare", limit=2)
    (first, best), (second, worst) = store.read(look)
    assert (first, second) == (both, newest)
    assert best < worst < 0


def test_a_query_of_many_common_words_is_answered_by_some_of_them(
    store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody shall keep the hub busy for minutes with one question."""
    monkeypatch.setattr(search, "MAX_WORK", 60)
    one, other = keep(store, "apple"), keep(store, "pear")
    assert found(store, "apple pear") == [other, one]
    places = [search.place_of(number, "A") for number in range(100)]
    shelf = replace(SHELF, places=[*places, *SHELF.places])
    look = partial(search.by_text, shelf=shelf, query="apple pear", limit=9)
    assert [number for number, _ in store.read(look)] == [one]


def test_the_name_of_a_place_is_no_word_of_its_facts(store: OpenStore) -> None:
    keep(store, "apple")
    assert found(store, SHELF.places[0]) == []


def test_a_database_that_is_opened_again_still_has_its_index(tmp_path: Path) -> None:
    with open_store(tmp_path / "hub.sqlite") as store:
        number = keep(store, "durable", vector(1.0))
    with open_store(tmp_path / "hub.sqlite") as store:
        assert found(store, "durable") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "x" * search.PIECE_BYTES,
        "one two, " * 20_000,
        "x" * 100_000,
        "ж東🦊" * 30_000,
        "\x00" * 70_000,
    ],
    ids=["empty", "short", "one", "words", "one word", "wide letters", "nuls"],
)
def test_a_text_is_cut_between_words_or_at_least_between_letters(text: str) -> None:
    data, end = text.encode(), 0
    for piece in search.pieces(text):
        assert piece.start == end + 1
        assert piece.length <= search.PIECE_BYTES
        words = data[end : end + piece.length].decode()
        end += piece.length
        if " " in text and end < len(data):
            assert words[-1] in " ,"
    assert end == len(data)


# --------------------------------------------------------------------------- vectors


def test_a_vector_has_exactly_768_numbers_of_32_bits() -> None:
    assert search.pack([1] * FLOATS) == b"\x00\x00\x80\x3f" * FLOATS
    for wrong in ([], [1.0] * 767, [1.0] * 769, [1e39, *[0.0] * 767]):
        assert search.pack(wrong) is None


def test_the_nearest_vectors_come_first_with_their_distance(store: OpenStore) -> None:
    far, near = keep(store, "far", vector(3.0, 4.0)), keep(store, "near", vector(1.0))
    keep(store, "none")
    look = partial(search.by_vector, allowed=ALL, vector=vector(), limit=9)
    assert store.read(look) == [(near, 1.0), (far, 5.0)]
    assert store.read(partial(look, limit=1)) == [(near, 1.0)]
    assert store.read(partial(look, limit=0)) == []


def test_a_distance_is_always_a_finite_number(store: OpenStore) -> None:
    largest = 3.4e38
    keep(store, "one end", vector(*[largest] * FLOATS))
    other = vector(*[-largest] * FLOATS)
    look = partial(search.by_vector, allowed=ALL, vector=other, limit=1)
    [(_, score)] = store.read(look)
    assert 0 < score <= sys.float_info.max


def test_our_distance_is_the_euclidean_one() -> None:
    assert search.distance(vector(3.0), vector(0.0, 4.0)) == 5.0
    assert search.distance(vector(1.5), vector(1.5)) == 0.0


def test_both_distances_agree() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        if not search.load_extension(connection):
            pytest.skip("this interpreter cannot load sqlite-vec")
        pairs = [
            (vector(), vector()),
            (vector(3.0), vector(0.0, 4.0)),
            (
                vector(*[math.sin(at) for at in range(FLOATS)]),
                vector(*[math.cos(at) for at in range(FLOATS)]),
            ),
        ]
        for one, other in pairs:
            row = connection.execute("SELECT vec_distance_l2(?, ?)", (one, other))
            [loaded] = row.fetchone()
            assert loaded == pytest.approx(search.distance(one, other), rel=1e-5)
    finally:
        connection.close()


def test_a_connection_can_compare_vectors_in_any_interpreter() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        search.equip(connection)
        query = "SELECT vec_distance_l2(?, ?)"
        assert connection.execute(
            query, (vector(3.0), vector(0.0, 4.0))
        ).fetchone() == (5.0,)
        if hasattr(connection, "enable_load_extension"):
            with pytest.raises(sqlite3.OperationalError, match="not authorized"):
                connection.execute("SELECT load_extension('anything')")
    finally:
        connection.close()


# ---------------------------------------------------------------------------- fusion


def test_a_single_list_is_left_as_it_is() -> None:
    words = [(7, -1.5), (3, -0.5)]
    assert search.fuse(words, []) == words
    assert search.fuse([], words) == words
    assert search.fuse([], []) == []


def test_two_lists_are_fused_by_rank() -> None:
    fused = search.fuse([(1, -9.0), (2, -8.0)], [(2, 0.1), (3, 0.2)])
    assert [number for number, _ in fused] == [2, 1, 3]
    assert dict(fused) == pytest.approx({1: 1 / 61, 2: 1 / 62 + 1 / 61, 3: 1 / 62})
