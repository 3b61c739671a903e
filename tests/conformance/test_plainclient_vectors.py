"""The test client itself, against the frozen vectors: keys, bytes, signatures.

Needs no hub. A mistake here would make every other file in this folder worthless.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests._support.plainclient import (
    SIG_KIND,
    PlainAgent,
    UnexpectedFrame,
    canonical,
    decode_id,
    decode_seed,
    encode_id,
    encode_seed,
    message_bytes,
    parse,
    signature_state,
    verifies,
)

CHECKOUT = Path(__file__).resolve().parents[2]


@cache
def vectors() -> Any:
    """The copy in the checkout, else the contract folder beside it."""
    copies = sorted((CHECKOUT / "tests").glob("vectors/**/vectors.json"))
    found = [*copies, CHECKOUT.parent / "shared" / "vectors.json"][0]
    return parse(found.read_text(encoding="utf-8"))


def owner() -> PlainAgent:
    return PlainAgent.create("bob", seed=vectors()["seed"])


def test_seed_and_id_are_the_frozen_ones() -> None:
    seed = bytes.fromhex(vectors()["seedHex"])
    assert encode_seed(seed) == vectors()["seed"]
    assert decode_seed(vectors()["seed"]) == seed
    assert owner().id == vectors()["id"]
    assert decode_id(vectors()["id"]).hex() == vectors()["publicKeyHex"]
    assert encode_id(decode_id(vectors()["peerId"])) == vectors()["peerId"]


@pytest.mark.parametrize("change", ["lower", "short", "long", "checksum", "blank"])
def test_a_mistyped_id_is_not_an_id(change: str) -> None:
    good: str = vectors()["id"]
    bad = {
        "lower": good.lower(),
        "short": good[:-1],
        "long": good + "A",
        "checksum": good[:20] + ("A" if good[20] != "A" else "B") + good[21:],
        "blank": "",
    }[change]
    with pytest.raises(ValueError, match=r"nkey|alphabet|padding|base32|Non-"):
        decode_id(bad)


def test_the_challenge_signature_is_the_frozen_one() -> None:
    challenge = vectors()["challenge"]
    assert challenge["nonce"].encode().hex() == challenge["signedBytesHex"]
    assert owner().prove(challenge["nonce"]) == challenge["sig"]


def test_nothing_but_a_challenge_is_signed_as_one() -> None:
    with pytest.raises(UnexpectedFrame):
        owner().prove('{"from":"somebody","parts":[]}')


def test_card_bytes_and_signatures_are_the_frozen_ones() -> None:
    for card in vectors()["cards"]:
        assert canonical(card["card"]) == card["canonical"], card["name"]
        data = bytes.fromhex(card["canonicalHex"])
        assert canonical(card["card"]).encode() == data
        assert owner().sign(data) == card["sig"]


def test_message_bytes_and_signatures_are_the_frozen_ones() -> None:
    for message in vectors()["messages"]:
        data = message_bytes(
            message["from"],
            message["target"],
            parts=message["parts"],
            ts=message["ts"],
            uid=message["uid"],
            reply_to=message["replyTo"],
        )
        assert data.decode() == message["canonical"], message["name"]
        assert data.hex() == message["canonicalHex"]
        assert owner().sign(data) == message["sig"]
        assert verifies(message["from"], data, message["sig"])


def test_a_received_vector_is_valid_only_unchanged_and_in_its_room() -> None:
    vector = vectors()["messages"][0]
    message = {
        "room": "team",
        "from": {"id": vector["from"], "name": "bob"},
        "parts": [*vector["parts"], vector["sigPart"]],
    }
    assert signature_state(message) == "valid"
    assert signature_state(message | {"room": "other"}) == "invalid"
    edited = [{"kind": "text", "text": "do not ship it"}, vector["sigPart"]]
    assert signature_state(message | {"parts": edited}) == "invalid"
    assert signature_state(message | {"parts": vector["parts"]}) == "unsigned"


def test_own_signed_parts_verify_and_carry_one_signature() -> None:
    agent = PlainAgent.create("ann")
    parts: list[dict[str, Any]] = [
        {"kind": "text", "text": "hi"},
        {"kind": "data", "data": None},
    ]
    twice = agent.signed_parts("r", agent.signed_parts("r", parts), "reply")
    assert [part["kind"] for part in twice] == ["text", "data", SIG_KIND]
    message = {"room": "r", "from": {"id": agent.id}, "parts": twice}
    assert signature_state(message | {"replyTo": "reply"}) == "valid"
    assert signature_state(message) == "invalid"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0", "-0.0"),
        ("0", "0"),
        ("0.0", "0.0"),
        ("-0.0", "-0.0"),
        ("1.0", "1.0"),
        ("100.0", "100.0"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("0.00001", "0.00001"),
        ("0.000001", "1e-6"),
        ("1.5e-7", "1.5e-7"),
        ("12.5", "12.5"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
    ],
)
def test_numbers_have_one_spelling(text: str, expected: str) -> None:
    assert canonical(parse(text)) == expected


def test_keys_are_sorted_by_code_point_not_by_utf16_unit() -> None:
    assert canonical({"\U0001f680": 1, "\uffee": 2}) == '{"\uffee":2,"\U0001f680":1}'


def test_the_content_id_is_sha256_in_lower_case_hex() -> None:
    content = vectors()["contentId"]
    assert hashlib.sha256(content["bytesUtf8"].encode()).hexdigest() == content["id"]


def test_canonical_text_is_json_again() -> None:
    value = {"z": [1, True, None, "\u2028\x7f\x00"], "a": {"b": -1.5}}
    assert json.loads(canonical(value)) == value
