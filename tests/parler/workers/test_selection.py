"""Which message starts work, and above all which does not."""

import msgspec
import pytest

from parler.client.messages import read_message
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.wire.base import RoomName
from parler.wire.parts import (
    DispatchPart,
    HandoffPart,
    OtherPart,
    Part,
    TaskPart,
    TextPart,
)
from parler.wire.records import DmTarget, RoomTarget, TaskStatus
from parler.workers.selection import (
    MAX_SKEW_MS,
    Ignored,
    Request,
    Rules,
    choose,
    choose_dispatched,
)
from tests.parler.workers._messages import ANN, BOB, EVE, ME, NOON, message

HANDOFFS = Rules(me=ME)
EVERYTHING = Rules(me=ME, everything=True)
TURN = HandoffPart(next="fix it")


def chosen(*parts: Part, rules: Rules = HANDOFFS, **more: object) -> Request | Ignored:
    return choose(message(parts, **more), rules, now=NOON)  # type: ignore[arg-type]


@pytest.mark.parametrize("to", [None, "bob", " BOB ", "webdev", BOB.agent_id])
def test_a_handoff_to_us_or_anyone_starts_work(to: str | None) -> None:
    found = chosen(HandoffPart(next="fix it", to=to))
    assert isinstance(found, Request)
    assert found.key == f"{ANN.agent_id}:uid-1"
    assert found.handoff is not None
    assert found.reserved_for_us is (to == BOB.agent_id)


@pytest.mark.parametrize("to", ["carol", "", "backend", ANN.agent_id])
def test_a_handoff_to_somebody_else_starts_none(to: str) -> None:
    for rules in (HANDOFFS, EVERYTHING):
        found = chosen(TextPart(text="hi"), HandoffPart(next="x", to=to), rules=rules)
        assert found == Ignored()


def test_plain_text_starts_work_only_if_everything_does() -> None:
    assert chosen(TextPart(text="hello")) == Ignored()
    assert isinstance(chosen(TextPart(text="hello"), rules=EVERYTHING), Request)
    assert chosen(TextPart(text="  \n"), rules=EVERYTHING) == Ignored()


@pytest.mark.parametrize("to", ["bob", "webdev", BOB.agent_id])
def test_a_receipt_that_hands_the_turn_to_us_by_name_starts_work(to: str) -> None:
    receipt = TaskPart(status=TaskStatus.DONE, task="message-0")
    found = chosen(TextPart(text="did it"), receipt, HandoffPart(next="merge", to=to))
    assert isinstance(found, Request)
    assert found.reports
    assert not getattr(chosen(HandoffPart(next="merge", to=to)), "reports", True)
    other = HandoffPart(next="merge", to="carol")
    assert chosen(receipt, other, rules=EVERYTHING) == Ignored()


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_receipt_starts_none_whatever_else_is_in_it(status: TaskStatus) -> None:
    for part in (
        TaskPart(status=status),
        OtherPart(kind="com.parler.task", fields={"status": "nonsense"}),
    ):
        assert chosen(TURN, part, rules=EVERYTHING) == Ignored()
        found = choose_dispatched(message([TURN, part]), EVERYTHING, now=NOON)
        assert isinstance(found, Ignored)
        assert found.warning


def test_our_own_messages_start_none() -> None:
    assert chosen(TURN, author=BOB) == Ignored()


def test_role_work_in_a_room_is_left_to_its_queue() -> None:
    work = (TextPart(text="review"), DispatchPart(role="webdev"))
    assert chosen(*work, rules=EVERYTHING) == Ignored()


def test_an_unsigned_handoff_starts_none_and_says_so() -> None:
    signed = message([TURN])
    plain = msgspec.Raw(b'[{"kind":"com.parler.handoff","next":"rm -rf"}]')
    stored = msgspec.structs.replace(signed.stored, parts=plain)
    found = choose(read_message(stored, reader=BOB.agent_id), HANDOFFS, now=NOON)
    assert isinstance(found, Ignored)
    assert "unsigned" in (found.warning or "")


def test_a_message_copied_from_another_room_starts_none() -> None:
    elsewhere = RoomTarget(room=RoomName("room.other"))
    copied = message([TURN], target=elsewhere)
    assert copied.signature is Signature.INVALID
    found = choose(copied, HANDOFFS, now=NOON)
    assert isinstance(found, Ignored)
    assert "invalid" in (found.warning or "")


def test_a_changed_message_starts_none() -> None:
    signed = message([TURN])
    changed = bytes(signed.stored.parts).replace(b"fix it", b"rm -rf")
    stored = msgspec.structs.replace(signed.stored, parts=msgspec.Raw(changed))
    found = choose(read_message(stored, reader=BOB.agent_id), HANDOFFS, now=NOON)
    assert isinstance(found, Ignored)


@pytest.mark.parametrize("form", [ANN.agent_id, fingerprint(ANN.agent_id)])
def test_only_who_is_allowed_may_ask(form: str) -> None:
    rules = Rules(me=ME, allowed=frozenset({form}))
    assert isinstance(chosen(TURN, rules=rules), Request)
    stranger = chosen(TURN, rules=rules, author=EVE, name="ann")
    assert isinstance(stranger, Ignored)
    assert fingerprint(EVE.agent_id) in (stranger.warning or "")


def test_a_signature_from_the_future_starts_none() -> None:
    assert isinstance(chosen(TURN, ts=NOON + MAX_SKEW_MS), Request)
    assert isinstance(chosen(TURN, ts=NOON + MAX_SKEW_MS + 1), Ignored)


def test_an_overlong_unique_id_starts_none() -> None:
    assert isinstance(chosen(TURN, uid="u" * 200), Request)
    assert isinstance(chosen(TURN, uid="u" * 201), Ignored)


def test_hops_are_read_from_the_handoff() -> None:
    for said, hops in ((3, 3), (-1, 0), (True, 0), ("9", 0), (None, 0), (2.0, 0)):
        fields = {"next": "x", "hops": said}
        found = chosen(OtherPart(kind="com.parler.handoff", fields=fields))
        assert isinstance(found, Request)
        assert found.hops == hops


def test_a_direct_message_is_for_us_alone() -> None:
    room = RoomName("dm.abc")
    found = choose(
        message([TextPart(text="hi")], room=room, target=DmTarget(agent=BOB.agent_id)),
        EVERYTHING,
        now=NOON,
    )
    assert isinstance(found, Request)
    assert found.reserved_for_us
