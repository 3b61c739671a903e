"""Files of sealed rooms, and what they show to somebody who has nothing else."""

import msgspec
import pytest

from parler.sealed import export
from parler.sealed.changes import Admit, Remove
from parler.sealed.export import NotAligned, Transcript
from parler.sealed.formats import Refused, Verdict
from parler.wire.records import StoredMessage
from tests._support.sealed_rooms import HUB, ROOM, OneRoom, Person, said


def lines(person: Person, *, with_keys: bool = False) -> list[bytes]:
    with person.room() as room:
        made = export.export(
            room, person.keypair, hub=HUB, name=ROOM, now=0, with_keys=with_keys
        )
        return list(made)


def check(person: Person, *, with_keys: bool = False) -> Transcript:
    return export.check(lines(person, with_keys=with_keys))


@pytest.fixture
def ann() -> Person:
    person = Person(1, OneRoom())
    person.open()
    return person


@pytest.fixture
def bob(ann: Person) -> Person:
    person = Person(2, ann.hub)
    ann.change(Admit(agent=person.id))
    person.enter()
    ann.say("Zauberwort")
    person.say("two")
    ann.sync()
    return person


def test_a_file_shows_all_but_what_was_said_and_with_keys_that_too(
    ann: Person, bob: Person
) -> None:
    ann.change(Remove(agent=bob.id))
    ann.say("three")
    plain, opening = check(ann), check(ann, with_keys=True)
    assert plain.contradictions == opening.contradictions == []
    assert (plain.texts, opening.texts) == (0, 3)
    assert plain.verdicts == {Verdict.STATE: 3, Verdict.WAITING: 3}
    assert b"Zauberwort" not in b"".join(lines(ann, with_keys=True))
    bob.sync()
    assert export.compare(plain, check(bob)) is None


def test_who_entered_in_the_middle_has_a_file_too(ann: Person, bob: Person) -> None:
    cid = Person(3, OneRoom())
    ann.change(Admit(agent=cid.id, history=False))
    cid.hub.messages = ann.hub.messages[-1:]
    cid.enter()
    with pytest.raises(NotAligned):
        lines(cid)
    ann.say("one")
    ann.say("two")
    cid.hub = ann.hub
    cid.sync()
    checked = check(cid, with_keys=True)
    assert checked.contradictions == []
    assert (checked.head.start, checked.texts) == (5, 2)
    assert export.compare(checked, check(ann)) is None


def test_a_changed_file_is_told(ann: Person, bob: Person) -> None:
    intact = lines(ann, with_keys=True)
    other = lines(ann, with_keys=True)[-2].replace(b'"1":"', b'"1":"AAAA', 1)
    changed = [
        [*intact[:2], *intact[3:]],
        [*intact[:2], intact[3], intact[2], *intact[4:]],
        [*intact[:3], intact[3].replace(b'"salt":"', b'"salt":"A', 1), *intact[4:]],
        [*intact[:-2], intact[-1].replace(b'"k":4', b'"k":5')],
        [*intact[:-2], intact[-1].replace(b'"sig":"', b'"sig":"A')],
        [*intact[:-2], other, intact[-1]],
        [*intact[:-1]],
        [*intact, intact[-1]],
        [b"[]", *intact],
        [],
    ]
    assert [is_told(some) for some in changed] == [True] * len(changed)
    keys = msgspec.json.decode(intact[-2])
    keys["keys"]["1"] = "A" * 43 + "="
    some = [*intact[:-2], msgspec.json.encode(keys), intact[-1]]
    found = export.check(some).contradictions
    assert [one.kind for one in found] == [Verdict.KEY_COMMITMENT]


def test_two_files_of_a_fork_show_where_and_whose_words_part(
    ann: Person, bob: Person
) -> None:
    *before, one, two = ann.hub.messages
    bob.hub = OneRoom([*before, one, two])
    cid = Person(2, OneRoom([*before, at(two, one.seq), at(one, two.seq)]))
    cid.enter()
    cid.send(cid.member.say([{"kind": "text", "text": "of the other log"}]))
    cid.sync()
    ann.say("of this log")
    fork = export.compare(check(ann), check(cid))
    assert fork is not None
    assert fork.k == 3
    assert {witness.agent for witness in fork.witnesses} == {ann.id, bob.id}


def is_told(some: list[bytes]) -> bool:
    """Whether a file is refused, or shown to contradict itself."""
    try:
        return bool(export.check(some).contradictions)
    except Refused as refused:
        return refused.verdict in (Verdict.FORMAT, Verdict.BASE64)


def at(message: StoredMessage, seq: int) -> StoredMessage:
    return said(message.author.id, bytes(message.parts), seq=seq, name=message.id)
