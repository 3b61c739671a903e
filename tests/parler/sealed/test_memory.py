"""Facts of sealed rooms, and finding what was opened here."""

from pathlib import Path
from typing import Any

import pytest

from parler.sealed.changes import Admit
from parler.sealed.formats import FactRecord, print_struct
from parler.sealed.reader import Reader
from parler.wire.records import Fact, RoomKind
from parler.wire.replies import Invited, Recalled, Remembered
from parler.wire.requests import Invite, Recall, Remember
from tests._support.actors import stage
from tests._support.sealed_rooms import HUB, OneRoom, Person

FACTS = (
    "The payments service retries webhooks three times",
    "webhooks go out from the payments queue; webhooks are signed",
    "Retries wait a minute",
    "the database is Postgres",
    "a long note about queues, payments and webhooks, and how many of them fail each "
    "day when the upstream is slow",
)
QUERIES = ("webhook", "payments webhooks", "retr", "POSTGRES", "nothing", "minute day")


def put(text: str, key: str | None = None) -> dict[str, Any]:
    return print_struct(FactRecord(op="put", key=key, text=text))


def drop(text: str | None = None, key: str | None = None) -> dict[str, Any]:
    return print_struct(FactRecord(op="forget", key=key, text=text))


@pytest.fixture
def ann() -> Person:
    person = Person(1, OneRoom())
    person.open()
    return person


@pytest.fixture
def bob(ann: Person) -> Person:
    person = Person(2, ann.hub)
    ann.change(Admit(agent=person.id))
    assert person.enter()
    return person


def tell(person: Person, *parts: dict[str, Any]) -> None:
    person.sync()
    person.send(person.member.say(list(parts)))
    person.sync()


def recall(person: Person, query: str = "", **given: Any) -> list[str]:
    return [hit.text for hit in person.store.recall(HUB, query, **given)]


def test_of_an_author_the_last_word_in_the_log_counts(ann: Person, bob: Person) -> None:
    tell(ann, put("colour red", "colour"), put("colour everywhere"))
    tell(bob, put("colour green", "colour"))
    tell(ann, put("colour blue", "colour"), drop("colour everywhere"))
    tell(bob, drop("colour blue"), drop("colour green", "other"))
    ann.sync()
    for person in (ann, bob):
        assert recall(person, key="colour") == ["colour blue", "colour green"]
        assert sorted(recall(person, "colou")) == ["colour blue", "colour green"]
    assert bob.member.facts(key="colour", text=None) == 1
    tell(bob, drop(key="colour"))
    assert recall(bob, "colour") == ["colour blue"]
    tell(ann, *[{"kind": "com.parler.fact", "op": op} for op in ("put", "forget", "x")])
    assert recall(ann, "colour") == ["colour blue"]


def test_what_was_opened_late_takes_its_place_in_the_log(
    ann: Person, bob: Person
) -> None:
    tell(ann, put("one", "k"), put("two", "k"), drop("gone"))
    with bob.room() as room:
        keys = dict(room.epoch_keys())
        room._database.execute("DELETE FROM keys")
    bob.sync()
    tell(ann, put("three", "k"))
    with bob.room() as room:  # the last one is opened before the others
        room.add_key(1, keys[1], ann.id)
    bob.sync()
    assert recall(bob, key="k") == ["three"]
    with bob.room() as room:
        Reader(room, bob.keypair).open_shut()
    assert recall(bob, key="k") == ["three"]
    assert recall(bob, "one two three") == ["three"]


def test_messages_are_found_by_what_was_opened(ann: Person, bob: Person) -> None:
    ann.say("the Zauberwort is here")
    bob.say("nothing of it")
    bob.sync()
    (found,) = bob.store.search(HUB, "zauber")
    assert (found.author, found.text) == (ann.id, "the Zauberwort is here")
    assert found.ts == ann.now_ms
    ann.say("another zauberstab")
    bob.sync()
    assert len(bob.store.search(HUB, "zauber")) == 2
    assert bob.store.search("wss://other.example", "zauber") == []
    bob.store.forget(HUB, found.room)
    assert bob.store.search(HUB, "zauber") == []


async def test_recalling_is_what_the_hub_would_find(
    tmp_path: Path, ann: Person
) -> None:
    async with stage(tmp_path) as place:
        agent = await place.enter("ann", home=tmp_path / "ann")
        room = (await agent.client.request(Invite(kind=RoomKind.CHANNEL), Invited)).room
        for text in FACTS:
            fact = Fact(text=text, room=room)
            await agent.client.request(Remember(fact=fact), Remembered)
        tell(ann, *map(put, FACTS))
        for query in QUERIES:
            hits = await agent.client.request(Recall(query=query, room=room), Recalled)
            assert recall(ann, query) == [hit.text for hit in hits.hits]
