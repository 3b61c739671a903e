"""Our codec, canonical bytes and signatures against the frozen vectors."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.identity.message_signing import Signature, check_message, sign_parts
from parler.identity.signing import Keypair, decode_agent_id, is_challenge, verify
from parler.wire.base import AgentId
from parler.wire.canonical import (
    SIG_KIND,
    canonical_json,
    card_bytes,
    message_bytes,
    parse_json,
)
from parler.wire.codec import decode_reply, decode_request, encode
from parler.wire.names import service_room
from parler.wire.parts import part_objects, read_parts
from parler.wire.records import AgentCard, StoredMessage, Target
from parler.wire.replies import Delivery
from parler.wire.requests import Register, Send

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "v1" / "vectors.json"


@cache
def vectors() -> Any:
    return parse_json(VECTORS.read_text(encoding="utf-8"))


def keypair() -> Keypair:
    return Keypair.from_seed(vectors()["seed"])


def named(kind: str) -> list[str]:
    found = json.loads(VECTORS.read_text(encoding="utf-8"))[kind]
    return [vector["name"] for vector in found]


def vector(kind: str, name: str) -> Any:
    return next(item for item in vectors()[kind] if item["name"] == name)


def stored(message: Any, **changes: Any) -> StoredMessage:
    target = message["target"]
    match target["kind"]:
        case "dm":
            room = "dm.abcdef"
        case "service":
            room = service_room(target["service"])
        case _:
            room = target["room"]
    fields: dict[str, Any] = {
        "seq": 1,
        "id": "0190",
        "room": room,
        "from": {"id": message["from"], "name": "bob"},
        "parts": [*message["parts"], message["sigPart"]],
        "ts": 5,
    }
    if message["replyTo"] is not None:
        fields["replyTo"] = message["replyTo"]
    text = canonical_json({"type": "delivery", "message": fields | changes})
    reply = decode_reply(text)
    assert isinstance(reply, Delivery)
    return reply.message


def test_seed_gives_the_frozen_id_and_comes_back() -> None:
    assert Keypair(bytes.fromhex(vectors()["seedHex"])).seed == vectors()["seed"]
    assert keypair().agent_id == vectors()["id"]
    assert keypair().seed == vectors()["seed"]
    assert decode_agent_id(vectors()["id"]).hex() == vectors()["publicKeyHex"]


def test_challenge_is_one_we_sign_and_the_signature_is_the_frozen_one() -> None:
    challenge = vectors()["challenge"]
    assert is_challenge(challenge["nonce"])
    assert challenge["nonce"].encode().hex() == challenge["signedBytesHex"]
    assert keypair().sign(challenge["nonce"].encode()) == challenge["sig"]


@pytest.mark.parametrize("name", named("cards"))
def test_card_bytes_and_signature(name: str) -> None:
    item = vector("cards", name)
    frame = {"op": "register", "card": item["card"], "sig": item["sig"]}
    request = decode_request(canonical_json(frame))
    assert isinstance(request, Register)
    assert card_bytes(request.card).decode() == item["canonical"]
    assert card_bytes(request.card).hex() == item["canonicalHex"]
    assert keypair().sign(card_bytes(request.card)) == item["sig"]
    assert verify(request.card.id, card_bytes(request.card), item["sig"])


@pytest.mark.parametrize("name", named("cards"))
def test_a_card_keeps_its_bytes_on_the_way_through_our_frames(name: str) -> None:
    item = vector("cards", name)
    card = msgspec.convert(item["card"], AgentCard)
    again = decode_request(encode(Register(card=card)))
    assert isinstance(again, Register)
    assert card_bytes(again.card).decode() == item["canonical"]


@pytest.mark.parametrize("name", named("messages"))
def test_message_bytes_and_signature(name: str) -> None:
    item = vector("messages", name)
    data = message_bytes(
        author=item["from"],
        target=msgspec.convert(item["target"], Target),
        parts=item["parts"],
        ts=item["ts"],
        uid=item["uid"],
        reply_to=item["replyTo"],
    )
    assert data.decode() == item["canonical"]
    assert data.hex() == item["canonicalHex"]
    assert keypair().sign(data) == item["sig"]


@pytest.mark.parametrize("name", named("messages"))
def test_signing_gives_the_frozen_signature_part(name: str) -> None:
    item = vector("messages", name)
    raw = sign_parts(
        keypair(),
        msgspec.convert(item["target"], Target),
        read_parts(canonical_json(item["parts"])),
        ts=item["ts"],
        uid=item["uid"],
        reply_to=item["replyTo"],
    )
    assert part_objects(raw)[-1] == item["sigPart"]
    plain = [part for part in item["parts"] if part["kind"] != SIG_KIND]
    assert part_objects(raw)[:-1] == plain


@pytest.mark.parametrize("name", named("messages"))
def test_a_delivered_vector_is_valid_for_its_reader_only_unchanged(name: str) -> None:
    item = vector("messages", name)
    reader = AgentId(item["target"].get("agent", vectors()["peerId"]))
    assert check_message(stored(item), reader=reader) is Signature.VALID
    edited = [*item["parts"], {"kind": "text", "text": "+"}, item["sigPart"]]
    assert check_message(stored(item, parts=edited), reader=reader) is Signature.INVALID


@pytest.mark.parametrize("name", named("messages"))
def test_a_vector_survives_being_sent_as_a_frame(name: str) -> None:
    item = vector("messages", name)
    frame = {
        "op": "send",
        "target": item["target"],
        "parts": [*item["parts"], item["sigPart"]],
    }
    text = canonical_json(frame)
    request = decode_request(text)
    assert isinstance(request, Send)
    again = decode_request(encode(request))
    assert isinstance(again, Send)
    assert bytes(again.parts) == bytes(request.parts)


def test_content_id_is_sha256_in_lower_case_hex() -> None:
    content = vectors()["contentId"]
    assert hashlib.sha256(content["bytesUtf8"].encode()).hexdigest() == content["id"]
