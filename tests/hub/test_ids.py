"""Everything random the hub hands out has its pinned shape (protocol 2.3, 4.1)."""

import hashlib
import re
import uuid

from hub.ids import (
    SUFFIX_ALPHABET,
    bearer_token,
    challenge,
    hub_id,
    hub_token,
    join_secret,
    message_id,
    room_name,
    session_key,
)
from parler.identity.signing import is_challenge
from tests._support.memory_hub import NOON_MS


def test_a_message_id_is_a_uuid_of_version_7_that_sorts_by_time() -> None:
    made = [message_id(NOON_MS + step) for step in range(50)]
    assert made == sorted(made)
    assert len(set(made)) == 50
    for text in made:
        parsed = uuid.UUID(text)
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122
        assert str(parsed) == text


def test_a_message_id_keeps_the_time_and_all_the_randomness() -> None:
    zeros = uuid.UUID(message_id(NOON_MS, bytes))
    ones = uuid.UUID(message_id(NOON_MS, lambda count: b"\xff" * count))
    assert zeros.int >> 80 == ones.int >> 80 == NOON_MS
    assert (zeros.int ^ ones.int).bit_count() == 74
    assert zeros.version == ones.version == 7
    assert zeros.variant == ones.variant == uuid.RFC_4122


def test_keys_tokens_secrets_and_names_have_their_alphabets() -> None:
    keys = {session_key() for _ in range(200)}
    assert len(keys) == 200
    assert all(re.fullmatch("[A-HJ-NP-Z2-9]{8}", key) for key in keys)
    assert re.fullmatch("[A-HJ-NP-Z2-9]{32}", bearer_token())
    assert re.fullmatch("[A-HJ-NP-Za-kmnp-z2-9]{32}", join_secret())
    assert not set(SUFFIX_ALPHABET) & set("ilo01")
    assert len(SUFFIX_ALPHABET) == 31
    for prefix in ("room", "dm", "svc"):
        assert re.fullmatch(rf"{prefix}\.[{SUFFIX_ALPHABET}]{{6}}", room_name(prefix))


def test_token_of_a_hub_is_that_of_its_url_or_else_of_its_id() -> None:
    one, other = hub_id(), hub_id()
    assert re.fullmatch("[0-9a-f]{32}", one)
    assert hub_token(one, None) == one[:12] != hub_token(other, None)
    of_url = hashlib.sha256(b"wss://hub.example").hexdigest()[:12]
    assert hub_token(one, "wss://hub.example") == of_url


def test_a_challenge_is_one_that_clients_sign_and_names_the_hub() -> None:
    made = challenge("0123456789ab", NOON_MS)
    assert is_challenge(made)
    _, version, token, expires, _ = made.split(":")
    assert version == "v1"
    assert token == "0123456789ab"
    assert int(expires) == NOON_MS + 60_000
    assert challenge("0123456789ab", NOON_MS) != made
