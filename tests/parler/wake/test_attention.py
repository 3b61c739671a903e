"""What may interrupt an agent: every row of protocol 10.3."""

import msgspec
import pytest

from parler.identity.identity import AttentionPolicy
from parler.identity.message_signing import Signature
from parler.identity.signing import Keypair
from parler.text.transcript import Reader
from parler.wake.attention import Address, Verdict, address_of, is_direct, judge
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.parts import DispatchPart, HandoffPart, Part, TextPart, encode_parts
from parler.wire.records import Attention, EndpointRef, StoredMessage

WAKE, HOLD, DROP = Verdict.WAKE, Verdict.HOLD, Verdict.DROP
OPEN, DND, FOCUS = Attention.OPEN, Attention.DND, Attention.FOCUS
ROOM, DM = RoomName("team"), RoomName("dm.abc234")
ANN, BOB = (Keypair(bytes([number]) * 32).agent_id for number in (1, 2))
READER = Reader(agent=BOB, name="bob", role="webdev")


def said(*parts: Part, author: AgentId = ANN, room: RoomName = ROOM) -> StoredMessage:
    return StoredMessage(
        seq=1,
        id=MessageId("m"),
        room=room,
        author=EndpointRef(id=author, name="ann"),
        parts=encode_parts(list(parts)),
        ts=0,
    )


@pytest.mark.parametrize(
    ("mode", "plain", "direct", "work"),
    [(OPEN, WAKE, WAKE, WAKE), (DND, HOLD, WAKE, WAKE), (FOCUS, HOLD, HOLD, WAKE)],
)
def test_the_mode_decides_where_no_room_is_set(
    mode: Attention, plain: Verdict, direct: Verdict, work: Verdict
) -> None:
    policy = AttentionPolicy(mode=mode)
    assert judge(policy, Address(room=ROOM)) is plain
    assert judge(policy, Address(room=DM)) is direct
    assert judge(policy, Address(room=ROOM, work=True)) is work
    assert judge(policy, Address(room=DM, work=True)) is work


@pytest.mark.parametrize("mode", list(Attention))
def test_a_quiet_room_wakes_only_with_what_is_meant_for_us(mode: Attention) -> None:
    policy = AttentionPolicy(mode=mode, quiet_rooms=(ROOM, DM))
    assert judge(policy, Address(room=ROOM)) is HOLD
    assert judge(policy, Address(room=ROOM, work=True)) is WAKE
    assert judge(policy, Address(room=DM)) is WAKE


@pytest.mark.parametrize("mode", list(Attention))
def test_a_muted_room_never_wakes_and_is_not_kept(mode: Attention) -> None:
    policy = AttentionPolicy(mode=mode, quiet_rooms=(ROOM,), muted_rooms=(ROOM, DM))
    for room in (ROOM, DM):
        for work in (False, True):
            assert judge(policy, Address(room=room, work=work)) is DROP


def test_another_rooms_setting_has_no_say() -> None:
    policy = AttentionPolicy(quiet_rooms=(RoomName("x"),), muted_rooms=(RoomName("y"),))
    assert judge(policy, Address(room=ROOM)) is WAKE


@pytest.mark.parametrize("to", [None, "Bob", " WEBDEV ", BOB])
def test_a_handoff_to_us_or_to_anyone_is_work(to: str | None) -> None:
    message = said(HandoffPart(next="go on", to=to))
    assert address_of(message, Signature.VALID, READER).work
    assert not address_of(message, Signature.INVALID, READER).work


def test_a_handoff_to_somebody_else_or_by_ourselves_is_none() -> None:
    other = said(HandoffPart(next="go on", to="carol"))
    assert not address_of(other, Signature.VALID, READER).work
    own = said(HandoffPart(next="go on"), author=BOB)
    assert not address_of(own, Signature.VALID, READER).work


def test_a_dispatch_is_work_for_whoever_serves_its_role() -> None:
    message = said(TextPart(text="review"), DispatchPart(role="Review"))

    def is_work(role: str | None, signature: Signature = Signature.VALID) -> bool:
        return address_of(message, signature, READER, worker_role=role).work

    assert is_work("review")
    assert not is_work("deploy")
    assert not is_work(None)
    assert not is_work("review", Signature.INVALID)


def test_roles_are_compared_as_the_hub_compares_them() -> None:
    message = said(DispatchPart(role="ÄRA"))
    for role, same in (("Ära", True), ("ära", False)):
        address = address_of(message, Signature.VALID, READER, worker_role=role)
        assert address.work is same


def test_plain_words_are_direct_only_in_a_direct_room() -> None:
    assert not address_of(said(TextPart(text="hi")), Signature.VALID, READER).direct
    alone = said(TextPart(text="hi"), room=DM)
    assert address_of(alone, Signature.VALID, READER).direct
    assert not is_direct(RoomName("dm"))
    assert not is_direct(RoomName("room.dm.abc"))


def test_unreadable_parts_are_nobodys_work() -> None:
    broken = msgspec.structs.replace(said(), parts=msgspec.Raw(b'{"kind":1}'))
    address = address_of(broken, Signature.UNSIGNED, READER, worker_role="review")
    assert not address.work
