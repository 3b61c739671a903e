"""Messages as a reader gets them."""

import asyncio

import msgspec
import pytest

from parler.client.messages import Batch, read_message
from parler.identity.message_signing import Signature, sign_parts
from parler.identity.signing import Keypair
from parler.wire.base import RoomName
from parler.wire.parts import DataPart, OtherPart, TextPart
from parler.wire.records import DmTarget, RoomTarget, StoredMessage, Target
from tests._support.transports import stored

ANN, BOB, EVE = Keypair(b"a" * 32), Keypair(b"b" * 32), Keypair(b"e" * 32)
DEN = RoomName("den")


def said_by_ann(target: Target, room: str) -> StoredMessage:
    parts = sign_parts(ANN, target, [TextPart(text="hi")], ts=1, uid="u1")
    return stored(7, room=room, author=ANN.agent_id, parts=parts)


def test_a_signed_message_is_valid_in_its_room() -> None:
    message = read_message(
        said_by_ann(RoomTarget(room=DEN), "den"), reader=BOB.agent_id
    )
    assert message.signature is Signature.VALID
    assert (message.text, message.seq, message.room) == ("hi", 7, "den")
    assert (message.author.name, message.id) == ("ann", "0190-7")
    assert message.ts == 1_700_000_000_007


def test_a_signed_message_copied_to_another_room_is_invalid() -> None:
    copied = said_by_ann(RoomTarget(room=DEN), "attic")
    assert read_message(copied, reader=BOB.agent_id).signature is Signature.INVALID


def test_a_direct_message_is_invalid_for_anybody_else() -> None:
    direct = said_by_ann(DmTarget(agent=BOB.agent_id), "dm.x")
    assert read_message(direct, reader=BOB.agent_id).signature is Signature.VALID
    assert read_message(direct, reader=EVE.agent_id).signature is Signature.INVALID


def test_an_unsigned_message_says_so() -> None:
    assert read_message(stored(1), reader=BOB.agent_id).signature is Signature.UNSIGNED


def test_several_text_parts_read_as_lines_and_others_stay_apart() -> None:
    raw = (
        b'[{"kind":"text","text":"a"},{"kind":"data","data":1},'
        b'{"kind":"text","text":"b"},{"kind":"org.x.y","z":2}]'
    )
    message = read_message(stored(1, parts=raw), reader=BOB.agent_id)
    assert message.text == "a\nb"
    assert [type(part) for part in message.parts] == [
        TextPart,
        DataPart,
        TextPart,
        OtherPart,
    ]


@pytest.mark.parametrize("raw", [b"7", b"[1]", b'[{"text":"no kind"}]'])
def test_unreadable_parts_make_an_invalid_message_and_no_error(raw: bytes) -> None:
    message = read_message(stored(1, parts=raw), reader=BOB.agent_id)
    assert message.signature is Signature.INVALID
    assert message.parts == []
    assert message.text == ""


def test_acknowledging_a_batch_commits_its_cursor_in_its_room() -> None:
    committed: list[tuple[str, int]] = []

    async def commit(room: RoomName, seq: int) -> None:
        committed.append((room, seq))

    batch = Batch(room=DEN, messages=[], cursor=9, commit=commit)
    asyncio.run(batch.ack())
    assert committed == [("den", 9)]


def test_values_are_frozen() -> None:
    message = read_message(stored(1), reader=BOB.agent_id)
    with pytest.raises(AttributeError):
        message.signature = Signature.VALID  # type: ignore[misc]
    assert isinstance(message.stored.parts, msgspec.Raw)
