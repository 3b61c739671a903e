"""Task receipts: how they are spelled, and what they carry."""

from pathlib import Path

import pytest

from parler.errors import UsageError
from parler.identity.message_signing import Signature
from parler.ops.messages import ReceiveParams, SendParams, receive, send
from parler.ops.session import OpenParams, join_session, open_session
from parler.ops.tasks import TaskParams, task, task_status
from parler.wire.base import Digest
from parler.wire.joinkey import parse_join_key
from parler.wire.parts import TaskPart, read_parts
from parler.wire.records import RoomTarget, TaskStatus
from tests._support.actors import stage


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_status_is_understood_in_any_case(status: TaskStatus) -> None:
    assert task_status(f" {status.value.upper()} ") is status


@pytest.mark.parametrize("typed", ["canceled", "Cancelled", "CANCELED"])
def test_a_cancelled_task_has_one_l_or_two(typed: str) -> None:
    assert task_status(typed) is TaskStatus.CANCELLED


@pytest.mark.parametrize("typed", ["", "finished", "done!"])
def test_any_other_status_is_an_error_that_lists_them(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        task_status(typed)
    assert "awaiting" in (refused.value.next_step or "")


async def test_a_receipt_is_signed_and_answers_what_asked_for_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        target = RoomTarget(room=opened.room)
        asked = await send(alice, SendParams(target=target, text="review it"))
        blob = "ab" * 32
        told = await task(
            bob,
            TaskParams(
                target=target,
                status=TaskStatus.DONE,
                task=str(asked.seq),
                note="looks good",
                result=blob,
                tokens=1200,
                elapsed_ms=0,
            ),
        )
        assert (told.room, told.status, told.task) == (opened.room, "done", asked.id)
        [message] = (await receive(alice, ReceiveParams(room=opened.room))).messages
        assert message.signature is Signature.VALID
        assert message.reply_to == asked.id
        assert read_parts(message.parts)[0] == TaskPart(
            status=TaskStatus.DONE,
            task=asked.id,
            note="looks good",
            result=Digest(blob),
            tokens=1200,
            elapsed_ms=0,
        )


async def test_a_correlation_id_of_another_kind_answers_no_message(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams())
        target = RoomTarget(room=opened.room)
        params = TaskParams(target=target, status=TaskStatus.WORKING, task="JIRA-7")
        assert (await task(alice, params)).task == "JIRA-7"
        everything = ReceiveParams(room=opened.room, everything=True)
        [message] = (await receive(alice, everything)).messages
        assert message.reply_to is None


@pytest.mark.parametrize(
    "fields",
    [
        {"result": "report.pdf"},
        {"result": "AB" * 32},
        {"tokens": -1},
        {"tokens": 2**63},
        {"elapsed_ms": -1},
        {"note": "\udc80"},
    ],
)
async def test_a_receipt_that_makes_no_sense_is_not_sent(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams())
        target = RoomTarget(room=opened.room)
        params = TaskParams(target=target, status=TaskStatus.DONE, **fields)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            await task(alice, params)
        everything = ReceiveParams(room=opened.room, everything=True)
        assert (await receive(alice, everything)).messages == []
