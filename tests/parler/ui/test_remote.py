"""What counts as a phone's word, and how often."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.client.messages import Message
from parler.errors import UsageError
from parler.identity.devices import MAX_DEVICES, MAX_DONE, Device, Devices
from parler.identity.message_signing import Signature
from parler.identity.signing import Keypair
from parler.ui.remote import KIND, MAX_COUNTER, Line, Look
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.foreign import foreign
from parler.wire.parts import OtherPart, Part, encode_parts
from parler.wire.records import EndpointRef, StoredMessage

PHONE, PERSON, STRANGER = (Keypair.generate().agent_id for _ in range(3))
ROOM = RoomName("dm.abc234")
U1 = AgentId("U1")
LINE = Line(bytes(range(32)), ROOM, PHONE, PERSON)
LOOK = {"do": "look", "id": "1"}


def message(
    *parts: Part,
    author: AgentId = PHONE,
    signature: Signature = Signature.VALID,
    room: str = ROOM,
) -> Message:
    """A message as the hub hands it out."""
    stored = StoredMessage(
        seq=1,
        id=MessageId("m"),
        room=RoomName(room),
        author=EndpointRef(id=author, name=foreign("phone")),
        parts=encode_parts([*parts]),
        ts=0,
    )
    return Message(stored=stored, signature=signature, parts=[*parts])


def said(counter: int = 1, value: object = LOOK) -> OtherPart:
    """What a phone says, sealed."""
    return LINE.seal(PHONE, PERSON, counter, value)


def test_a_phone_is_heard_by_its_author_its_signature_and_its_secret() -> None:
    good = said(7)
    assert LINE.hear(message(good)) == (7, Look(id="1"))
    for other in (
        message(good, author=STRANGER),
        message(good, signature=Signature.UNSIGNED),
        message(good, signature=Signature.REPLAYED),
        message(good, room="dm.other2"),
        message(LINE.seal(PERSON, PHONE, 7, LOOK)),  # our own words, sent back
        message(Line(bytes(32), ROOM, PHONE, PERSON).seal(PHONE, PERSON, 7, LOOK)),
        message(OtherPart(KIND, {**good.fields, "n": 8})),  # under another counter
        message(),
    ):
        assert LINE.hear(other) is None


@pytest.mark.parametrize("counter", [True, 0, -1, 1.0, "1", None, MAX_COUNTER + 1])
def test_a_counter_is_a_number_that_counts(counter: object) -> None:
    assert LINE.hear(message(OtherPart(KIND, {**said().fields, "n": counter}))) is None


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_a_phone_asks_for_nothing_but_what_phones_may(value: dict[str, object]) -> None:
    asked: list[object] = [
        value,
        {**value, "do": "remove", "id": "1"},
        {"do": "look"},
        [],
        None,
    ]
    for one in asked:
        assert LINE.hear(message(said(1, one))) is None
    long = {"do": "decide", "id": "1", "key": "k", "act": "answer", "text": "x" * 4001}
    assert LINE.hear(message(said(1, long))) is None


def test_each_message_has_a_key_of_its_own_and_tells_little_by_its_size() -> None:
    boxes = {said(n).fields["box"] for n in range(1, 50)}
    boxes.add(LINE.say(1, LOOK).fields["box"])
    assert len(boxes) == 50
    approve = {"do": "decide", "id": "1", "key": "k" * 32, "act": "approve", "text": ""}
    assert (
        len(
            {
                len(said(1, {**approve, "act": one}).fields["box"])
                for one in ("approve", "reject")
            }
        )
        == 1
    )


def test_six_digits_tell_phones_apart() -> None:
    other = Line(LINE.secret, ROOM, STRANGER, PERSON)
    assert LINE.comparison == LINE.comparison != other.comparison
    assert len(LINE.comparison) == 7


def device(number: int = 1) -> Device:
    """A phone that was paired."""
    return Device(
        name="phone",
        id=AgentId(f"U{number}"),
        hub="wss://h",
        room=ROOM,
        secret=b"s",
        since=1,
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from("abc"), st.booleans()),
        max_size=12,
    )
)
def test_whatever_is_repeated_in_whatever_order_is_begun_once(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, str, bool]]
) -> None:
    devices = Devices(tmp_path_factory.mktemp("home"))
    devices.add(device())
    highest, begun = 0, set()
    for counter, command, ends in sent:
        found = devices.begin(U1, counter, command, once=True, now=counter)
        assert (found is None) == (counter <= highest)
        if found is None:
            continue
        highest = counter
        assert found.is_new == (command not in begun)
        begun.add(command)
        if ends and found.is_new:
            devices.end(U1, command, f"done {command}")
        elif not found.is_new:
            assert found.answer in (None, f"done {command}")


def test_a_removed_phone_begins_nothing_and_says_nothing(tmp_path: Path) -> None:
    devices = Devices(tmp_path)
    devices.add(device())
    assert [devices.next(U1), devices.next(U1)] == [1, 2]
    assert devices.remove("PHONE").id == "U1"
    assert devices.begin(U1, 99, "a", once=True, now=1) is None
    assert devices.next(U1) is None
    with pytest.raises(UsageError, match="no phone is called"):
        devices.remove("phone")


def test_phones_and_what_is_kept_of_them_are_bounded(tmp_path: Path) -> None:
    devices = Devices(tmp_path)
    names = [devices.add(device(n)).name for n in range(MAX_DEVICES)]
    assert names[:3] == ["phone", "phone-2", "phone-3"]
    with pytest.raises(UsageError, match="are the most"):
        devices.add(device(99))
    for n in range(1, MAX_DONE + 10):
        devices.begin(U1, n, f"c{n}", once=True, now=n)
    [kept] = [one for one in devices.all() if one.id == "U1"]
    assert [*kept.done] == [f"c{n}" for n in range(10, MAX_DONE + 10)]
    assert devices.path.stat().st_mode & 0o077 == 0
