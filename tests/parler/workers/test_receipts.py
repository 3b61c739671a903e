"""What others' receipts tell."""

import pytest

from parler.identity.signing import Keypair
from parler.wire.base import MessageId
from parler.wire.parts import TaskPart, TextPart
from parler.wire.records import TaskStatus
from parler.workers import receipts as module
from parler.workers.ledger import NextTurn, Outcome
from parler.workers.receipts import Receipts, final, handing_on
from tests.parler.workers._messages import ANN, BOB, EVE, message

TASK = MessageId("task-1")


def says(author: Keypair, status: TaskStatus, uid: str = "u") -> module.Message:
    return message([TaskPart(status=status, task=TASK)], author=author, uid=uid)


def test_the_first_who_accepted_has_it() -> None:
    log = Receipts()
    first, second = says(EVE, TaskStatus.ACCEPTED), says(BOB, TaskStatus.ACCEPTED)
    log.note(first)
    log.note(second)
    taker = log.first_taker(TASK, before=None, ignoring=())
    assert taker == first.author
    assert log.first_taker(TASK, before=first.seq, ignoring=()) is None
    assert log.first_taker(TASK, before=None, ignoring=(EVE.agent_id,)) == second.author


def test_who_gave_it_back_does_not_have_it() -> None:
    log = Receipts()
    log.note(says(EVE, TaskStatus.ACCEPTED))
    log.note(says(EVE, TaskStatus.CANCELLED))
    assert log.first_taker(TASK, before=None, ignoring=()) is None


def test_nothing_follows_an_end() -> None:
    log = Receipts()
    for status in (TaskStatus.DONE, TaskStatus.WORKING, TaskStatus.FAILED):
        log.note(says(EVE, status))
    assert log.endings(TASK) == {EVE.agent_id: TaskStatus.DONE}


def test_only_validly_signed_receipts_count() -> None:
    forged = says(EVE, TaskStatus.DONE)
    log = Receipts()
    log.note(
        module.Message(
            stored=forged.stored,
            signature=module.Signature.INVALID,
            parts=forged.parts,
        )
    )
    assert log.endings(TASK) == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TASKS", 2)
    monkeypatch.setattr(module, "MAX_AUTHORS", 1)
    log = Receipts()
    for number in range(3):
        part = TaskPart(status=TaskStatus.DONE, task=f"t{number}")
        log.note(message([part], author=ANN))
    assert log.endings(MessageId("t0")) == {}
    assert log.endings(MessageId("t2")) == {ANN.agent_id: TaskStatus.DONE}
    log.note(message([TaskPart(status=TaskStatus.DONE, task="t2")], author=EVE))
    assert set(log.endings(MessageId("t2"))) == {ANN.agent_id}


def test_the_end_is_told_with_its_text_and_time() -> None:
    outcome = Outcome(status=TaskStatus.DONE, text="built", elapsed_ms=12)
    text, task = final(TASK, outcome)
    assert text == TextPart(text="built")
    assert task == TaskPart(status=TaskStatus.DONE, task=TASK, elapsed_ms=12)
    assert final(TASK, Outcome(status=TaskStatus.FAILED, note="why")) == [
        TaskPart(status=TaskStatus.FAILED, task=TASK, note="why")
    ]


def test_a_handoff_carries_its_hops() -> None:
    part = handing_on(NextTurn(to="carol", next="test", hops=3))
    assert part.kind == "com.parler.handoff"  # type: ignore[union-attr]
    assert part.fields == {"to": "carol", "next": "test", "hops": 3}  # type: ignore[union-attr]
