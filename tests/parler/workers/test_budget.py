"""Budgets: durable, per hour and per conversation, and closed when in doubt."""

from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.wire.base import AgentId, MessageId
from parler.workers.budget import HOUR_MS, Budget

ME = AgentId("U" + "A" * 55)
NOON = 1_700_000_000_000


def budget(home: Path, *, now: int = NOON, **limits: int) -> Budget:
    wanted = {"per_hour": 2, "per_conversation": 2} | limits
    return Budget(home, ME, now=lambda: now, **wanted)


def test_the_hour_is_counted_over_restarts(tmp_path: Path) -> None:
    for number in range(2):
        task = MessageId(str(number))
        assert budget(tmp_path, now=NOON + number).spend(task, reply_to=None) is None
    refused = budget(tmp_path).spend(MessageId("3"), reply_to=None)
    assert refused is not None
    later = budget(tmp_path, now=NOON + HOUR_MS)
    assert later.spend(MessageId("4"), reply_to=None) is None
    assert later.spend(MessageId("5"), reply_to=None) is not None


def test_a_turn_that_is_tried_again_is_counted_once(tmp_path: Path) -> None:
    for _ in range(5):
        assert budget(tmp_path).spend(MessageId("1"), reply_to=None) is None
    assert budget(tmp_path).spend(MessageId("2"), reply_to=None) is None
    for _ in range(2):  # and a refusal is never turned into a turn
        assert budget(tmp_path).spend(MessageId("3"), reply_to=None) is not None


def test_a_clock_set_back_renews_nothing(tmp_path: Path) -> None:
    for number in range(2):
        budget(tmp_path).spend(MessageId(str(number)), reply_to=None)
    earlier = budget(tmp_path, now=NOON - 10 * HOUR_MS)
    assert earlier.spend(MessageId("3"), reply_to=None) is not None


def test_a_conversation_is_followed_along_replies(tmp_path: Path) -> None:
    one = budget(tmp_path, per_hour=0)
    assert one.spend(MessageId("ask"), reply_to=None) is None
    one.link(MessageId("our-handoff"), reply_to="ask")
    again = budget(tmp_path, per_hour=0)
    assert again.spend(MessageId("back"), reply_to="our-handoff") is None
    again.link(MessageId("our-second"), reply_to="back")
    refused = again.spend(MessageId("back-again"), reply_to="our-second")
    assert refused is not None
    assert "conversation" in refused
    assert again.spend(MessageId("other"), reply_to=None) is None


def test_replies_to_one_message_are_one_conversation(tmp_path: Path) -> None:
    one = budget(tmp_path, per_hour=0)
    spent = [one.spend(MessageId(str(n)), reply_to="thread") for n in range(3)]
    assert spent[:2] == [None, None]
    assert spent[2] is not None


def test_no_limit_counts_no_hours(tmp_path: Path) -> None:
    one = budget(tmp_path, per_hour=0, per_conversation=0)
    assert all(
        one.spend(MessageId(str(n)), reply_to="thread") is None for n in range(50)
    )


def test_a_damaged_count_stops_work(tmp_path: Path) -> None:
    budget(tmp_path).spend(MessageId("1"), reply_to=None)
    [file] = (tmp_path / "autonomous-replay").glob("*.budget.json")
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError) as damaged:
        budget(tmp_path).spend(MessageId("2"), reply_to=None)
    assert str(file) in (damaged.value.next_step or "")
