"""What a model is shown of a message, and what it is not."""

from typing import Any

import pytest

from parler.client.messages import Message
from parler.identity.identity import AttentionPolicy
from parler.runtime.entry import MAX_CHARS, RECAP, Entry, entry_of, mentions_us
from parler.wire.parts import HandoffPart, Part, TaskPart, TextPart
from parler.wire.records import Attention, TaskStatus
from tests.parler.workers._messages import BOB, ME, NOON, ROOM, message

OPEN = AttentionPolicy()
FOCUS = AttentionPolicy(mode=Attention.FOCUS)
HANDOFF = HandoffPart(next="look at the logs", to="bob")


def entry(
    parts: list[Part], policy: AttentionPolicy = OPEN, **more: Any
) -> tuple[Message, Entry]:
    said = message(parts, **more)
    return said, entry_of(said, ME, policy, now=NOON)


def text_of(made: Entry) -> str:
    assert made.item is not None
    return made.item.text


def test_a_message_is_shown_as_data_from_its_author() -> None:
    said, made = entry([TextPart(text="the build is green")], reply_to="question")
    assert "  | the build is green" in text_of(made)
    assert "signature verified" in text_of(made)
    assert made.item is not None
    assert made.item.mark == (ROOM, said.seq, said.id)
    assert (made.wakes, made.trusted, made.reply_to) == (True, True, "question")


def test_our_own_words_and_muted_rooms_are_passed_over() -> None:
    _, own = entry([TextPart(text="mine")], author=BOB)
    muted = AttentionPolicy(muted_rooms=(ROOM,))
    _, dropped = entry([TextPart(text="theirs")], muted)
    assert own.item is dropped.item is None


def test_what_attention_holds_back_does_not_interrupt() -> None:
    _, chat = entry([TextPart(text="just chatting")], FOCUS)
    _, handoff = entry([HANDOFF], FOCUS)
    assert (chat.wakes, handoff.wakes) == (False, True)


def test_a_receipt_is_shown_but_wakes_nobody() -> None:
    _, made = entry([TaskPart(task="m1", status=TaskStatus.DONE)])
    assert made.item is not None
    assert made.wakes
    assert not made.item.urgent


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ([TextPart(text="x" * 20_000)], MAX_CHARS),
        ([TextPart(text=RECAP + "x" * 20_000)], 12_000),
        ([HandoffPart(next="x" * 20_000, to="bob")], 6000),
    ],
    ids=["message", "recap", "handoff"],
)
def test_long_messages_are_cut_handoffs_and_recaps_later(
    parts: list[Part], shown: int
) -> None:
    assert shown // 2 < text_of(entry(parts)[1]).count("x") <= shown


def test_a_message_of_another_room_counts_only_if_it_names_us() -> None:
    said = message([TextPart(text="hello all")])
    assert not mentions_us(said, ME, OPEN)
    assert mentions_us(message([HANDOFF]), ME, OPEN)
    assert not mentions_us(message([HANDOFF], author=BOB), ME, OPEN)
