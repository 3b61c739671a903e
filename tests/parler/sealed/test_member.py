"""Members of a room at a hub that is honest, and at one that is not."""

from collections.abc import Callable

import pytest

from parler.identity.message_signing import sign_parts
from parler.sealed import crypto, invites
from parler.sealed.changes import Admit, Rekey, Remove, SetAdmin
from parler.sealed.formats import (
    HASH_BYTES,
    ExportKeys,
    GrantedKeys,
    InviteRecord,
    Refused,
    Verdict,
    b64,
    unb64,
)
from parler.sealed.invites import new_invite
from parler.sealed.member import NotReading, OtherRoom
from parler.sealed.store import Phase
from parler.wire.base import Code
from parler.wire.canonical import parse_json
from parler.wire.parts import OtherPart, TextPart
from parler.wire.records import RoomTarget
from tests._support.sealed_rooms import HUB, ROOM, OneRoom, Person, said, text_of

CODE = Code("ABCD2345")


@pytest.fixture
def hub() -> OneRoom:
    return OneRoom()


@pytest.fixture
def ann(hub: OneRoom) -> Person:
    person = Person(1, hub)
    person.open()
    return person


@pytest.fixture
def bob(hub: OneRoom, ann: Person) -> Person:
    person = Person(2, hub)
    ann.say("before")
    ann.change(Admit(agent=person.id))
    assert person.enter()
    return person


def phase(person: Person) -> Phase:
    with person.room() as room:
        return room.phase


def key_of(ann: Person) -> crypto.Secret:
    """Make a session key, and give its secret half."""
    with ann.room() as room:
        invite = new_invite(CODE, expires_at=2_000_000_000_000)
        room.add_invite(invite)
        assert room.position.room_id is not None
        return invite.secret(unb64(room.position.room_id, HASH_BYTES))


def test_a_late_joiner_reads_what_was_said_before(ann: Person, bob: Person) -> None:
    bob.say("hello")
    ann.sync()
    assert ann.texts == bob.texts == ["before", "hello"]
    assert ann.alarms == bob.alarms == []


def test_one_admitted_without_history_reads_on_from_there(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id, history=False))
    assert cid.enter()
    ann.say("after")
    bob.say("bob too")
    cid.sync()
    assert cid.texts == ["after", "bob too"]
    assert bob.texts == ["before", "after", "bob too"]
    cid.say("thanks")
    bob.sync()
    assert bob.texts[-1] == "thanks"
    assert ann.alarms == bob.alarms == cid.alarms == []


def test_who_sees_only_what_follows_its_admission_enters_by_the_chain(
    ann: Person, bob: Person
) -> None:
    ann.change(SetAdmin(agent=bob.id, admin=True))
    bob.sync()
    cid = Person(3, OneRoom())
    bob.change(Admit(agent=cid.id, history=False))
    cid.hub.messages = ann.hub.messages[-1:]
    assert cid.enter()
    for number in range(3):
        ann.say(f"after {number}")
    cid.hub = ann.hub
    cid.sync()
    assert cid.texts == ["after 0", "after 1", "after 2"]
    with cid.room() as theirs, ann.room() as ours:
        assert theirs.position.head == ours.position.head
    cid.say("in step")
    ann.sync()
    assert ann.texts[-1] == "in step"
    assert ann.alarms == cid.alarms == []


def test_who_was_removed_reads_and_says_nothing_that_counts(
    ann: Person, bob: Person
) -> None:
    late = bob.member.say([{"kind": "text", "text": "too late"}])
    ann.change(Remove(agent=bob.id))
    bob.send(late)
    ann.say("without bob")
    bob.sync()
    assert bob.texts == ["before"]
    assert phase(bob) is Phase.REMOVED
    assert ann.texts == ["before", "without bob"]
    with ann.room() as room:
        assert room.verdict(bob.id, late.uid) is Verdict.NOT_A_MEMBER
    with pytest.raises(NotReading):
        bob.member.say([{"kind": "text", "text": "again"}])


def test_who_comes_back_without_history_reads_only_the_new(
    ann: Person, bob: Person
) -> None:
    ann.change(Remove(agent=bob.id))
    ann.say("while away")
    ann.change(Admit(agent=bob.id, history=False))
    ann.say("welcome back")
    bob.sync()
    assert bob.texts == ["before", "welcome back"]


def test_what_was_in_flight_during_a_removal_is_read_and_marked(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id))
    bob.sync()
    flying = bob.member.say([{"kind": "text", "text": "in flight"}])
    ann.change(Remove(agent=cid.id))
    bob.send(flying)
    ann.sync()
    assert ann.texts == ["before", "in flight"]
    with ann.room() as room:
        assert [entry.old_key for entry in room.entries() if entry.plain] == [
            False,
            True,
        ]


def test_what_cannot_have_arrived_is_sealed_anew_without_who_was_removed(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id))
    bob.sync()
    assert cid.enter()
    kept = bob.member.say([{"kind": "text", "text": "kept back"}])
    assert bob.member.renew() == kept, "nothing has changed"
    ann.change(Remove(agent=cid.id))
    bob.sync()
    renewed = bob.member.renew()
    assert renewed is not None
    assert renewed.uid != kept.uid
    bob.send(renewed)
    for person in (ann, bob, cid):
        person.sync()
    assert ann.texts == bob.texts == ["before", "kept back"]
    assert cid.texts == ["before"]
    assert ann.alarms == bob.alarms == []


def test_of_two_admins_at_once_the_first_counts_and_the_other_repeats(
    ann: Person, bob: Person
) -> None:
    ann.change(SetAdmin(agent=bob.id, admin=True))
    bob.sync()
    cid, dee = Person(3, ann.hub), Person(4, ann.hub)
    ann.member.intend(Admit(agent=cid.id))
    bob.member.intend(Admit(agent=dee.id))
    first, second = ann.member.outgoing(), bob.member.outgoing()
    assert first
    assert second
    bob.send(second)
    ann.send(first)
    for person in (ann, bob):
        person.sync()
        person.finish()
    assert cid.enter()
    assert dee.enter()
    ann.say("both are in")
    for person in (bob, cid, dee):
        person.sync()
        assert person.texts == ["before", "both are in"]
        assert person.alarms == []


def test_a_key_that_is_lost_is_given_by_whoever_has_it(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id))
    assert cid.enter()
    ann.change(Rekey())
    ann.say("new key")
    bob.sync()
    with bob.room() as room:  # as if its grant had been left out
        room._database.execute("DELETE FROM keys WHERE epoch = 2")
        room._database.execute(
            "UPDATE entries SET verdict = 'waiting', plain = NULL WHERE epoch = 2"
        )
    asked = bob.member.ask()
    assert asked
    bob.send(asked)
    bob.sync()
    assert bob.member.ask() is None, "not twice within a minute"
    cid.sync()
    assert cid.member.outgoing() is None, "whoever is no admin gives others time"
    ann.sync()
    ann.finish()
    cid.now_ms += 15_000
    cid.sync()
    assert cid.member.outgoing() is None, "somebody else has given them"
    (keys, opened) = bob.sync()
    assert (keys.verdict, opened.verdict) == (Verdict.KEYS, Verdict.OPEN)
    assert bob.texts == ["before", "new key"]


def test_a_state_that_the_hub_hides_is_given_by_whoever_has_it(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id))
    assert cid.enter()
    bob.sync()
    full, shown = ann.hub, OneRoom(list(ann.hub.messages))
    ann.change(Rekey())
    cid.say("under the new key")
    ann.change(Rekey())
    cid.say("and the next")
    bob.hub = shown
    shown.messages += [full.messages[-3], full.messages[-1]]
    assert [one.verdict for one in bob.sync()] == [Verdict.UNKNOWN_STATE] * 2
    assert set(bob.alarms) == {"fork"}
    bob.now_ms += 60_000
    for _ in range(2):
        bob.sync()
        assert sorted(bob.alarms) == ["fork", "fork", "withheld"]
    for news in (["under the new key"], ["and the next"]):
        asked = bob.member.ask()
        assert asked
        bob.send(asked)
        full.messages.append(shown.messages[-1])
        ann.sync()
        assert ann.alarms == [], "who asks says nothing of the log"
        ann.finish()
        shown.messages.append(full.messages[-1])
        _, given, *opened = bob.sync()
        assert given.verdict is Verdict.KEYS
        assert [one.plain and text_of(one.plain) for one in opened] == news
        bob.now_ms += 60_000
    assert bob.member.ask() is None
    with bob.room() as theirs, ann.room() as ours:
        assert theirs.current() == ours.current()
    bob.say("no message is lost")
    full.messages.append(shown.messages[-1])
    ann.sync()
    assert ann.alarms == ["fork"], "and now all can see that the hub hid something"


def test_a_state_that_lost_is_not_passed_off_as_the_winner(
    ann: Person, bob: Person
) -> None:
    ann.change(SetAdmin(agent=bob.id, admin=True))
    bob.sync()
    bob.member.intend(Rekey())
    lost = bob.member.outgoing()
    ann.change(Rekey())
    assert lost
    bob.send(lost)
    bob.sync()
    link = parse_json(lost.parts)[1]
    chain = [{"state": link["state"], "sig": link["sig"]}]
    with bob.room() as room:
        room.drop_outgoing()
        room._database.execute("DELETE FROM changes")
        give = bob.member._prepare_gift(room, ann.id, [1], None)
    assert give
    body = parse_json(give.parts)[1] | {"chain": chain}
    body |= {"st": b64(crypto.state_hash(link["state"]))}
    part = OtherPart(kind=body.pop("kind"), fields=body)
    parts = sign_parts(bob.keypair, RoomTarget(ROOM), [part], ts=1, uid="forged")
    ann.hub.messages.append(said(bob.id, bytes(parts), seq=9999))
    with ann.room() as room:
        before = room.current()
    assert [one.verdict for one in ann.sync()][-1] is Verdict.UNKNOWN_STATE
    with ann.room() as room:
        assert room.current() == before


def test_who_comes_to_a_pruned_log_reads_all_that_is_left(
    ann: Person, bob: Person
) -> None:
    ann.change(SetAdmin(agent=bob.id, admin=True))
    ann.change(Rekey())
    bob.sync()
    dee = Person(4, ann.hub)
    bob.change(Admit(agent=dee.id))
    ann.say("gone")
    ann.say("left")
    bob.sync()
    del ann.hub.messages[:-1]
    pruned = ann.hub
    bob.change(Remove(agent=dee.id))
    bob.say("still left")
    cid = Person(3, pruned)
    bob.change(Admit(agent=cid.id))
    assert cid.enter()
    cid.finish()
    cid.say("thanks")
    for person in (ann, bob):
        person.sync()
        assert person.texts[-1] == "thanks"
    assert cid.texts == ["left", "still left", "thanks"]
    assert ann.alarms == bob.alarms == cid.alarms == []


def test_who_finds_none_of_its_words_any_more_says_that_it_counts_anew(
    ann: Person, bob: Person
) -> None:
    bob.say("gone")
    ann.say("left")
    del ann.hub.messages[:-1]
    ann.change(Admit(agent=Person(3, ann.hub).id))
    again = Person(2, ann.hub)  # bob, whose home is new
    assert again.enter()
    again.finish()
    ann.sync()
    ann.finish()
    again.say("from the same bob")
    ann.sync()
    assert ann.texts[-1] == again.texts[-1] == "from the same bob"
    assert ann.alarms == again.alarms == []


def test_who_asks_in_a_loop_is_answered_three_times_an_hour(
    ann: Person, bob: Person
) -> None:
    given = []
    for minute in range(80):
        ann.now_ms = bob.now_ms = 1_790_000_000_000 + minute * 60_000
        with bob.room() as room:
            room._database.execute("DELETE FROM keys")
        asked = bob.member.ask()
        assert asked
        bob.send(asked)
        bob.sync()
        ann.sync()
        if (outgoing := ann.member.outgoing()) is not None:
            ann.send(outgoing)
            ann.sync()
            given.append(minute)
    assert given == [0, 1, 2, 61, 62, 63]


def test_who_leaves_is_removed_by_an_admin(ann: Person, bob: Person) -> None:
    bob.sync()
    bob.send(bob.member.leave())
    ann.sync()
    assert ann.member.outgoing() is None
    ann.now_ms += 10_000
    ann.finish()
    ann.say("without bob")
    bob.sync()
    assert bob.texts == ["before"]
    assert phase(bob) is Phase.LEFT


def test_who_left_and_came_back_is_not_removed_by_who_reads_that_later(
    ann: Person, bob: Person
) -> None:
    cid = Person(3, ann.hub)
    ann.change(Admit(agent=cid.id))
    ann.change(SetAdmin(agent=cid.id, admin=True))
    assert cid.enter()
    bob.sync()
    bob.send(bob.member.leave())
    ann.change(Remove(agent=bob.id))
    ann.change(Admit(agent=bob.id))
    cid.sync()
    cid.now_ms += 10_000
    assert cid.member.outgoing() is None


def test_the_key_confirms_the_room_and_shows_another_one(ann: Person) -> None:
    secret = key_of(ann)
    bob, cid = Person(2, ann.hub), Person(3, OneRoom())
    bob.member.expect(secret)
    assert not bob.enter()
    ann.change(Admit(agent=bob.id, code=CODE))
    assert bob.enter()

    liar = Person(9, cid.hub)
    liar.open()
    cid.member.expect(secret)
    key_of(liar)
    liar.change(Admit(agent=cid.id, code=CODE))
    with pytest.raises(OtherRoom):
        cid.enter()
    assert phase(cid) is Phase.REFUSED
    with pytest.raises(NotReading):
        cid.sync()
    assert cid.texts == []


def test_a_proof_shows_who_was_given_the_key(ann: Person) -> None:
    secret, bob, cid = key_of(ann), Person(2, ann.hub).id, Person(3, ann.hub).id
    proof = invites.prove_knock(secret, agent=bob, code=CODE)
    invites.check_knock(["", proof], secret, agent=bob, code=CODE)
    for other in (cid, bob):
        proofs = [proof] if other == cid else ["no base64", proof[:-2]]
        with pytest.raises(Refused, match="knock"):
            invites.check_knock(proofs, secret, agent=other, code=CODE)


def test_a_key_that_one_admin_revokes_proves_nothing_to_the_other(
    ann: Person, bob: Person
) -> None:
    ann.change(SetAdmin(agent=bob.id, admin=True))
    cid = Person(3, ann.hub)
    secret, sent = ann.member.invite(CODE, 2_000_000_000_000)
    ann.send(sent)
    for person in (ann, bob):
        person.sync()
    proof = invites.prove_knock(invites.read_secret(secret), agent=cid.id, code=CODE)
    assert bob.member.invited_with([proof], cid.id) == CODE
    revoked = bob.member.revoke(CODE)
    assert revoked
    bob.send(revoked)
    bob.sync()
    again = ann.member.invite(CODE, 2_000_000_000_000)[1]  # before it was told
    ann.sync()
    ann.send(again)
    for person in (ann, bob):
        person.sync()
        assert person.member.invited_with([proof], cid.id) is None
        assert person.alarms == []
    assert ann.member.revoke(CODE) is None


def test_what_means_something_outside_is_not_hidden_within(
    ann: Person, bob: Person
) -> None:
    kinds = ["text", "com.parler.sig", "com.parler.grant", "com.parler.dispatch"]
    bob.sync()
    bob.send(bob.member.say([{"kind": kind, "text": "hi"} for kind in kinds]))
    (reading,) = ann.sync()
    assert reading.parts == [{"kind": "text", "text": "hi"}]
    assert reading.dropped == kinds[1:]


def test_nobody_but_an_admin_changes_anything(ann: Person, bob: Person) -> None:
    with pytest.raises(NotReading):
        bob.member.intend(Rekey())
    ann.change(SetAdmin(agent=bob.id, admin=True))
    bob.sync()
    with pytest.raises(Refused, match="owner removed"):
        bob.member.intend(Remove(agent=ann.id))
    with pytest.raises(Refused, match="author not a member"):
        bob.member.intend(Remove(agent=bob.id))


def test_a_crash_sends_the_same_bytes_again_and_they_count_once(
    ann: Person, bob: Person
) -> None:
    outgoing = ann.member.say([{"kind": "text", "text": "once"}])
    ann.send(outgoing)
    again = ann.member.outgoing()
    assert again == outgoing
    ann.send(again)
    bob.sync()
    ann.sync()
    assert ann.member.outgoing() is None
    ann.say("twice")
    bob.sync()
    assert bob.texts == ["before", "once", "twice"]
    assert ann.alarms == bob.alarms == []


def test_a_key_that_stands_twice_is_no_word_of_its_author(
    ann: Person, bob: Person
) -> None:
    outgoing = ann.member.say([{"kind": "text", "text": "one or other"}])
    twice = outgoing.parts.replace(b'"n":', b'"n":7,"n":', 1)
    spaced = outgoing.parts.replace(b'"n":', b'"n": ', 1)
    for parts, verdict in ((twice, Verdict.SIGNATURE), (spaced, Verdict.OPEN)):
        seq = bob.hub.messages[-1].seq + 1
        bob.hub.messages.append(said(ann.id, parts, seq=seq))
        assert [one.verdict for one in bob.sync()] == [verdict]


Lie = Callable[[OneRoom], None]


def drop_one(hub: OneRoom) -> None:
    del hub.messages[-3]


def swap_two(hub: OneRoom) -> None:
    one, other = hub.messages[-3:-1]
    hub.messages[-3:-1] = [
        said(other.author.id, bytes(other.parts), seq=one.seq),
        said(one.author.id, bytes(one.parts), seq=other.seq),
    ]


def repeat_one(hub: OneRoom) -> None:
    old = hub.messages[-1]
    hub.messages.append(said(old.author.id, bytes(old.parts), seq=old.seq + 1))


def plant_plain(hub: OneRoom) -> None:
    ann = Person(1, hub).keypair
    parts = sign_parts(
        ann, RoomTarget(hub.messages[0].room), [TextPart("old")], ts=1, uid="old"
    )
    seq = hub.messages[-1].seq + 1
    hub.messages.append(said(ann.agent_id, bytes(parts), seq=seq))


@pytest.mark.parametrize(
    ("lie", "alarms"),
    [
        (drop_one, {"withheld", "fork"}),
        (swap_two, {"fork"}),
        (repeat_one, {"replay"}),
        (plant_plain, {"downgrade"}),
    ],
)
def test_a_lie_of_the_hub_is_noticed_at_the_next_word(
    ann: Person, bob: Person, lie: Lie, alarms: set[str]
) -> None:
    ann.say("one")
    bob.say("two")
    ann.say("three")
    lied = OneRoom(list(ann.hub.messages))
    lie(lied)
    cid = Person(2, lied)  # bob, with another view
    assert cid.enter()
    assert set(cid.alarms) == alarms
    assert "old" not in cid.texts
    with cid.room() as room:
        room.add_request(ann.id, [1], due=0)
    assert cid.member.outgoing() is None, "nobody gets keys until a person has looked"


def test_who_is_no_member_alarms_nobody(ann: Person, bob: Person) -> None:
    sten = Person(9, OneRoom(list(ann.hub.messages)))
    other = Person(9, OneRoom())
    other.open()
    lies = [other.hub.messages[0], other.say("forged"), other.say("again")]
    for message in [*lies, *lies]:
        seq = ann.hub.messages[-1].seq + 1
        ann.hub.messages.append(said(sten.id, bytes(message.parts), seq=seq))
    ann.say("undisturbed")
    bob.sync()
    assert ann.alarms == bob.alarms == []
    assert bob.texts == ["before", "undisturbed"]


def test_another_room_beside_it_does_not_keep_a_joiner_out(ann: Person) -> None:
    secret, bob, sten = key_of(ann), Person(2, ann.hub), Person(9, OneRoom())
    bob.member.expect(secret)
    sten.open()
    key_of(sten)
    sten.change(Admit(agent=bob.id, code=CODE))
    for message in sten.hub.messages:
        seq = ann.hub.messages[-1].seq + 1
        ann.hub.messages.append(said(sten.id, bytes(message.parts), seq=seq))
    with pytest.raises(OtherRoom):
        bob.enter()
    ann.change(Admit(agent=bob.id, code=CODE))
    ann.say("the right one")
    assert bob.enter()
    assert bob.texts == ["the right one"]


@pytest.mark.parametrize("kept", [0, 3])
def test_a_log_that_does_not_continue_ours_stops_the_room(
    ann: Person, bob: Person, kept: int
) -> None:
    bob.say("mine")
    bob.hub = OneRoom(bob.hub.messages[:kept])
    assert bob.sync() == []
    assert phase(bob) is Phase.STOPPED
    assert bob.alarms == ["replaced"]
    with pytest.raises(NotReading):
        bob.member.say([{"kind": "text", "text": "into nowhere"}])

    other = Person(8, OneRoom())  # another room under its name, with a key of its own
    other.open()
    secret = key_of(other)
    bob.hub = other.hub
    bob.member.expect(secret)
    other.change(Admit(agent=bob.id, code=CODE))
    other.say("anew")
    assert bob.enter()
    assert bob.texts == ["anew"]
    bob.member.expect(None)
    assert phase(bob) is Phase.READING
    assert bob.enter()
    assert sorted(bob.store.names(HUB).values()) == ["reading", "stopped"]


def test_what_retention_took_is_a_gap_and_the_log_is_found_again(
    ann: Person, bob: Person
) -> None:
    ann.say("gone")
    ann.say("seen")
    ann.say("placed")
    kept = OneRoom(ann.hub.messages[-2:])
    bob.hub = kept
    bob.member.skip(kept.messages)
    bob.sync()
    assert bob.texts == ["before", "seen", "placed"]
    with bob.room() as theirs, ann.room() as ours:
        assert theirs.position.head == ours.position.head
    assert bob.alarms == []


def test_secrets_are_in_no_repr(ann: Person) -> None:
    secret = key_of(ann)
    with ann.room() as room:
        (invite,), (key,) = room.invites(0), room.epoch_keys().values()
        shown = [repr(invite), repr(key), f"{key}", str(secret), f"{secret!r}"]
    spelled = b64(key)
    for struct in (
        GrantedKeys(keys={"1": spelled}, r=spelled),
        InviteRecord(code=CODE, r=spelled, exp=0),
        ExportKeys(keys={"1": spelled}),
    ):
        shown += [repr(struct), f"{[struct]}"]
    assert not any(mark in text for text in shown for mark in ("\\x", "b'", spelled))
