"""Keys, ids, signatures, and what an agent signs at all (protocol 2.1-2.3, 13.1)."""

import base64
import binascii

import pytest

from parler.identity.signing import (
    InvalidKey,
    Keypair,
    decode_agent_id,
    encode_agent_id,
    fingerprint,
    is_agent_id,
    is_challenge,
    verify,
)

SECRET = bytes(range(32))
ANN = Keypair(SECRET)
BOB = Keypair(b"\x01" * 32)
NONCE = "parler-auth:v1:0123456789ab:1700000000000:7e0bd52e-6c1c-4a44-9d3e-2f24b6c3a111"


def nkey(raw: bytes) -> str:
    raw += binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw).decode().rstrip("=")


def test_id_and_seed_have_their_shape_and_come_back() -> None:
    assert len(ANN.agent_id) == 56
    assert ANN.agent_id[0] == "U"
    assert len(ANN.seed) == 58
    assert ANN.seed[:2] == "SU"
    assert Keypair.from_seed(ANN.seed).agent_id == ANN.agent_id
    assert encode_agent_id(decode_agent_id(ANN.agent_id)) == ANN.agent_id


def test_generated_identities_differ() -> None:
    assert len({Keypair.generate().agent_id for _ in range(20)}) == 20


def test_the_secret_is_in_no_repr_and_in_no_error() -> None:
    assert ANN.seed not in repr(ANN)
    assert ANN.agent_id in repr(ANN)
    with pytest.raises(InvalidKey) as caught:
        Keypair.from_seed(ANN.seed[:-1] + "A")
    assert ANN.seed[2:20] not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def mutations(text: str) -> list[str]:
    """Near misses of an nkey: one wrong, missing, doubled or foreign character."""
    found = []
    for index, char in enumerate(text):
        other = "A" if char != "A" else "B"
        found += [
            text[:index] + other + text[index + 1 :],
            text[:index] + text[index + 1 :],
            text[:index] + char + text[index:],
        ]
    return [
        *found,
        "",
        text.lower(),
        f" {text}",
        f"{text} ",
        f"{text}\n",
        f"{text}=",
        text[:-1] + "=",
        text[:-1] + "1",
        text[:-1] + "é",
        text[:-1] + "\x00",
        text[:-1] + "\ud800",
        "=" * len(text),
        "A" * len(text),
        text * 100,
    ]


def test_no_near_miss_of_an_id_is_one() -> None:
    for text in mutations(ANN.agent_id):
        assert not is_agent_id(text), text
        with pytest.raises(InvalidKey):
            decode_agent_id(text)


def test_no_near_miss_of_a_seed_is_one() -> None:
    for text in mutations(ANN.seed):
        with pytest.raises(InvalidKey):
            Keypair.from_seed(text)


@pytest.mark.parametrize("prefix", [0x00, 0x20, 0x38, 0x68, 0x70, 0x90, 0xA1, 0xA8])
def test_only_users_are_agents(prefix: int) -> None:
    other = nkey(bytes([prefix]) + decode_agent_id(ANN.agent_id))
    assert len(other) == 56
    assert not is_agent_id(other)
    assert not verify(other, b"x", ANN.sign(b"x"))


def test_a_seed_of_another_kind_is_refused() -> None:
    for first, second in ((0x90, 0x00), (0x95, 0x08), (0x96, 0x00)):
        with pytest.raises(InvalidKey):
            Keypair.from_seed(nkey(bytes([first, second]) + SECRET))


def test_unused_trailing_bits_must_be_zero() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    last = alphabet.index(ANN.seed[-1])
    for bits in range(1, 4):
        twin = ANN.seed[:-1] + alphabet[last | bits]
        if twin != ANN.seed:
            with pytest.raises(InvalidKey):
                Keypair.from_seed(twin)


# ------------------------------------------------------------------------- signatures


def test_a_signature_holds_for_its_author_and_its_bytes_alone() -> None:
    sig = ANN.sign(b"data")
    assert len(sig) == 88
    assert verify(ANN.agent_id, b"data", sig)
    assert not verify(BOB.agent_id, b"data", sig)
    assert not verify(ANN.agent_id, b"datb", sig)
    assert not verify(ANN.agent_id, b"", sig)
    assert ANN.sign(b"data") == sig, "Ed25519 is deterministic"


def test_a_bad_signature_is_false_and_never_an_exception() -> None:
    sig = ANN.sign(b"data")
    raw = base64.b64decode(sig)
    urlsafe = base64.urlsafe_b64encode(raw).decode()
    zero = base64.b64encode(b"\x00" * 64).decode()
    flipped = [
        base64.b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode()
        for i in range(64)
    ]
    bad = [
        "",
        sig[:-2],
        sig[:-1] + "A",
        sig + "=",
        sig[:-4],
        f"{sig} ",
        f"\n{sig[:-1]}",
        sig[:40] + "\n" + sig[40:],
        sig[:87] + "é",
        sig[:87] + "\ud800",
        "*" * 88,
        "=" * 88,
        zero,
        base64.b64encode(raw[:-1]).decode(),
        base64.b64encode(raw + b"\x00").decode(),
        *flipped,
    ]
    if urlsafe != sig:
        bad.append(urlsafe)
    for text in bad:
        assert not verify(ANN.agent_id, b"data", text)


def test_base64_with_loose_trailing_bits_is_not_strict() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sig = ANN.sign(b"data")
    last = alphabet.index(sig[-3])
    for bits in range(1, 16):
        twin = sig[:-3] + alphabet[last ^ bits] + "=="
        assert not verify(ANN.agent_id, b"data", twin)


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ff" * 32,
    ],
    ids=["zero", "neutral", "minus one", "p", "ones"],
)
def test_a_key_of_small_order_signs_nothing(point: str) -> None:
    """Such a key would make one signature good for every text."""
    stranger = encode_agent_id(bytes.fromhex(point))
    for r in (bytes.fromhex(point), b"\x01" + b"\x00" * 31):
        forged = base64.b64encode(r + b"\x00" * 32).decode()
        assert not verify(stranger, b"data", forged)
        assert not verify(stranger, b"other", forged)


def test_an_unusable_id_verifies_nothing() -> None:
    for agent in ("", "U", "x" * 56, ANN.agent_id.lower(), "\ud800" * 56, ANN.seed):
        assert not verify(agent, b"data", ANN.sign(b"data"))


# ------------------------------------------------------------------------- challenges


def test_a_challenge_is_one() -> None:
    assert is_challenge(NONCE)


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        "parler-auth:",
        NONCE + "\n",
        "\n" + NONCE,
        NONCE + " ",
        NONCE.upper(),
        NONCE.replace("v1", "v2"),
        NONCE.replace("0123456789ab", "0123456789a"),
        NONCE.replace("0123456789ab", "0123456789AB"),
        NONCE.replace("0123456789ab", "0123456789ag"),
        NONCE.replace("1700000000000", ""),
        NONCE.replace("1700000000000", "-1"),
        NONCE.replace("1700000000000", "1e9"),
        NONCE.replace("1700000000000", "٣"),
        NONCE.replace("1700000000000", "1" * 20),
        NONCE.replace("-", ""),
        NONCE + ":more",
        '{"from":"' + NONCE + '","parts":[]}',
        '{"id":"U","kind":"agent","name":"x"}',
        NONCE + '{"from":"U"}',
    ],
)
def test_nothing_else_is_signed_as_a_challenge(nonce: str) -> None:
    assert not is_challenge(nonce)


# ------------------------------------------------------------------------ fingerprints


def test_a_fingerprint_is_short_stable_and_of_the_whole_id() -> None:
    shown = fingerprint(ANN.agent_id)
    assert len(shown) == 19
    assert [len(group) for group in shown.split("-")] == [4, 4, 4, 4]
    assert fingerprint(ANN.agent_id) == shown
    seen = {fingerprint(text) for text in mutations(ANN.agent_id)[:-5]}
    assert shown not in seen
    assert fingerprint(BOB.agent_id) != shown
