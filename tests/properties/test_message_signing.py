"""A change of anything a signature covers shows; of anything else it does not (6.3)."""

import json
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parler.identity.message_signing import Signature, check_message, sign_parts
from parler.identity.signing import Keypair, verify
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.canonical import SIG_KIND, canonical_json
from parler.wire.parts import part_objects, read_parts
from parler.wire.records import EndpointRef, RoomTarget, StoredMessage
from tests.properties.frames import part_objects as any_part
from tests.properties.frames import texts

ANN, EVE = Keypair(b"\x01" * 32), Keypair(b"\x02" * 32)


@st.composite
def messages(draw: st.DrawFn) -> StoredMessage:
    room = RoomName(draw(texts))
    plain = draw(st.lists(any_part, max_size=3))
    assume(all(part["kind"] != SIG_KIND for part in plain))
    reply_to = draw(st.none() | texts)
    raw = sign_parts(
        ANN,
        RoomTarget(room=room),
        read_parts(canonical_json(plain)),
        ts=draw(st.integers(-(2**63), 2**63 - 1)),
        uid=draw(texts),
        reply_to=reply_to,
    )
    return StoredMessage(
        seq=draw(st.integers(1, 2**40)),
        id=MessageId(draw(texts)),
        room=room,
        author=EndpointRef(id=ANN.agent_id, name=draw(texts)),
        parts=raw,
        ts=draw(st.integers(0, 2**45)),
        reply_to=reply_to,
        mentions=draw(st.none() | st.lists(texts, max_size=2)),
    )


def judged(message: StoredMessage) -> Signature:
    return check_message(message, reader=EVE.agent_id)


@given(messages(), st.booleans(), st.none() | st.integers(0, 2))
def test_what_was_signed_is_valid_however_the_hub_prints_it(
    message: StoredMessage, ascii_only: bool, indent: int | None
) -> None:
    assert judged(message) is Signature.VALID
    parts = part_objects(message.parts)
    printed = json.dumps(parts, ensure_ascii=ascii_only, indent=indent).encode()
    again = msgspec.structs.replace(message, parts=msgspec.Raw(printed))
    assert judged(again) is Signature.VALID


@settings(max_examples=150)
@given(
    messages(),
    st.sampled_from(["room", "author", "reply_to", "ts", "uid", "target", "sig"]),
    texts,
    st.integers(-(2**63), 2**63 - 1),
)
def test_any_change_of_a_covered_field_makes_it_invalid(
    message: StoredMessage, field: str, text: str, number: int
) -> None:
    parts = part_objects(message.parts)
    sig = parts[-1]
    changes: dict[str, Any] = {}
    match field:
        case "room":
            assume(text != message.room)
            changes["room"] = RoomName(text)
        case "author":
            author = EVE.agent_id if number % 2 else AgentId(text)
            changes["author"] = EndpointRef(id=author, name="ann")
        case "reply_to":
            assume(text != message.reply_to)
            changes["reply_to"] = text
        case "ts":
            assume(number != sig["ts"])
            sig["ts"] = number
        case "uid":
            assume(text != sig["uid"])
            sig["uid"] = text
        case "target":
            assume(text != message.room)
            sig["target"] = {"kind": "room", "room": text}
        case "sig":
            sig["sig"] = EVE.sign(text.encode()) if number % 2 else text
    changes["parts"] = msgspec.Raw(canonical_json(parts))
    assert judged(msgspec.structs.replace(message, **changes)) is Signature.INVALID


@settings(max_examples=150)
@given(messages(), st.data())
def test_any_change_of_the_parts_makes_it_invalid(
    message: StoredMessage, data: st.DataObject
) -> None:
    parts = part_objects(message.parts)
    plain, sig = parts[:-1], parts[-1]
    changed = data.draw(
        st.lists(any_part, max_size=3)
        | st.permutations(plain).map(list)
        | st.just(plain[:-1])
        | st.builds(lambda part: [*plain, part], any_part)
    )
    assume(all(part["kind"] != SIG_KIND for part in changed))
    same = canonical_json(changed) == canonical_json(plain)
    raw = msgspec.Raw(canonical_json([*changed, sig]))
    verdict = judged(msgspec.structs.replace(message, parts=raw))
    assert verdict is (Signature.VALID if same else Signature.INVALID)


@given(messages(), texts, st.integers(1, 2**40))
def test_a_change_of_anything_else_does_not(
    message: StoredMessage, text: str, number: int
) -> None:
    changed = msgspec.structs.replace(
        message,
        seq=number,
        id=MessageId(text),
        ts=number,
        mentions=[text],
        author=EndpointRef(id=ANN.agent_id, name=text, role=text),
    )
    assert judged(changed) is Signature.VALID


@given(st.binary(max_size=300))
def test_any_parts_of_a_lying_hub_get_a_verdict(raw: bytes) -> None:
    message = StoredMessage(
        seq=1,
        id=MessageId("m"),
        room=RoomName("r"),
        author=EndpointRef(id=ANN.agent_id, name="ann"),
        parts=msgspec.Raw(raw),
        ts=1,
    )
    assert judged(message) is not Signature.VALID


@given(st.text(st.characters()), st.binary(max_size=20), st.text(st.characters()))
def test_verify_never_raises(agent: str, data: bytes, signature: str) -> None:
    assert not verify(agent, data, signature)
    assert not verify(ANN.agent_id, data, signature)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_a_signature_is_of_its_bytes_alone(one: bytes, other: bytes) -> None:
    assert verify(ANN.agent_id, other, ANN.sign(one)) == (one == other)
