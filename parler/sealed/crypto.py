"""What sealed rooms compute: hashes, derived keys and ciphers, each named by its use.

Nothing here reads a file, knows a frame or decides who may read. The primitives are
`cryptography`'s and the standard library's: SHA-256 and HMAC (FIPS 180-4, RFC 2104),
HKDF (RFC 5869), AES-256-GCM (NIST SP 800-38D) and HPKE (RFC 9180); keys for the last
come from Ed25519 identities in `parler.identity.signing`. Ours are the contexts alone:
every hash, derivation and signature begins with `PREFIX` and a word of its own, so that
none of them is ever taken for another, for a message, a card or a challenge.
"""

import hashlib
import hmac
import secrets
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from parler.identity.signing import InvalidKey, Keypair, exchange_key
from parler.sealed.formats import (
    HASH_BYTES,
    KEY_BYTES,
    SALT_BYTES,
    Refused,
    Verdict,
    b64,
)
from parler.wire.canonical import canonical_json

PREFIX = b"parler-sealed:v1:"
TAG_BYTES = 16
NONCE_BYTES = 12
INVITE_SECRET_BYTES = 16

_MIN_PADDED = 256
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: 0x0020, 0x0001, 0x0002."""


class Secret(bytes):
    """Bytes that are shown nowhere: neither its repr nor a format has them."""

    __slots__ = ()

    def __repr__(self) -> str:
        """How long it is."""
        return f"Secret({len(self)} bytes)"

    __str__ = __repr__


def new_key() -> Secret:
    """A fresh key of 32 bytes: for an epoch, a file or a direct message."""
    return Secret(secrets.token_bytes(KEY_BYTES))


def new_salt() -> bytes:
    """A fresh salt, by which each message has a key of its own."""
    return secrets.token_bytes(SALT_BYTES)


def same(one: bytes, other: bytes) -> bool:
    """Whether two secrets are equal, in a time that says nothing of them."""
    return hmac.compare_digest(one, other)


def padded_length(length: int) -> int:
    """How long a text of so many bytes is made: Padmé, and at least 256.

    Padmé (PURBs, 2019) leaves about log log many sizes and adds at most 12 %.
    """
    if length <= _MIN_PADDED:
        return _MIN_PADDED
    exponent = length.bit_length() - 1
    zeros = exponent - exponent.bit_length()
    return -(-length >> zeros) << zeros


def state_bytes(state: dict[str, Any]) -> bytes:
    """What the signature and the hash of a state cover."""
    return PREFIX + b"state\n" + canonical_json(state)


def state_hash(state: dict[str, Any]) -> bytes:
    """The name of a state; of a genesis, the id of its room."""
    return hashlib.sha256(state_bytes(state)).digest()


def commitment(epoch_key: bytes, epoch: int) -> bytes:
    """What a state says of its key: binding, so that all members have the same one."""
    return _hkdf(epoch_key, b"commit\n" + epoch.to_bytes(4, "big"), HASH_BYTES)


def message_key(epoch_key: bytes, room_id: bytes, salt: bytes) -> tuple[Secret, bytes]:
    """The key and the nonce of one message, which no other message has."""
    both = _hkdf(epoch_key, b"message\n" + room_id, KEY_BYTES + NONCE_BYTES, salt=salt)
    return Secret(both[:KEY_BYTES]), both[KEY_BYTES:]


def message_aad(
    *, author: str, header: dict[str, Any], room_id: bytes, uid: str
) -> bytes:
    """What is bound to a message: who says it, where, once, and in which place.

    Args:
        header: The part without its ``ct``, with whatever fields it came with.
    """
    bound = {"author": author, "header": header, "room": b64(room_id), "uid": uid}
    return PREFIX + b"aad\n" + canonical_json(bound)


def grant_info(*, granter: str, state: bytes, to: str) -> bytes:
    """The context of a grant: from whom, for whom, under which state."""
    bound = {"from": granter, "st": b64(state), "to": to}
    return PREFIX + b"grant\n" + canonical_json(bound)


def direct_info(*, author: str, to: str, uid: str) -> bytes:
    """The context of the key of a direct message, for one of the two."""
    bound = {"from": author, "to": to, "uid": uid}
    return PREFIX + b"dm\n" + canonical_json(bound)


def direct_pair(one: str, other: str) -> bytes:
    """What two agents have in the place of the id of a room."""
    return _hash(b"dm-pair\n" + canonical_json(sorted([one, other])))


def invite_secret(room_id: bytes, r: bytes) -> Secret:
    """The secret half of a session key: a commitment to the room it was made for."""
    return Secret(_hash(b"invite\n" + room_id + r)[:INVITE_SECRET_BYTES])


def knock_proof(secret: bytes, *, agent: str, code: str) -> bytes:
    """What shows an owner that whoever knocks was given the whole key."""
    bound = canonical_json({"agent": agent, "code": code})
    return hmac.digest(secret, PREFIX + b"knock\n" + bound, "sha256")


def entry_digest(
    author: str, parts: list[dict[str, Any]] | None, reply_to: str | None = None
) -> bytes:
    """The digest of an entry of the log.

    Args:
        parts: All of them, as pulled; None of a message that has no canonical JSON.
        reply_to: As pulled.
    """
    said: dict[str, Any] = {"from": author, "parts": parts}
    if parts is None:
        said = {"from": author, "unreadable": True}
    elif reply_to is not None:
        said["replyTo"] = reply_to
    return _hash(b"entry\n" + canonical_json(said))


def next_head(head: bytes, digest: bytes) -> bytes:
    """The head of the log after one more entry; the first is the id of the room."""
    return _hash(b"log\n" + head + digest)


def export_bytes(*, head: str, k: int, room: str) -> bytes:
    """What the signature at the end of an export covers."""
    return PREFIX + b"export\n" + canonical_json({"head": head, "k": k, "room": room})


def blob_key(file_key: bytes) -> Secret:
    """The key of a file's chunks."""
    return _hkdf(file_key, b"blob\n", KEY_BYTES)


def remote_bytes(secret: bytes, about: str, length: int) -> Secret:
    """What a person's machine and one of its phones derive from their secret."""
    return _hkdf(secret, b"remote\n" + about.encode(), length)


def encrypt(key: bytes, nonce: bytes, plain: bytes, aad: bytes | None = None) -> bytes:
    """Seal bytes with AES-256-GCM; the tag is at the end."""
    return AESGCM(key).encrypt(nonce, plain, aad)


def decrypt(
    key: bytes,
    nonce: bytes,
    sealed: bytes,
    aad: bytes | None = None,
    *,
    verdict: Verdict = Verdict.TAG,
) -> bytes:
    """Open what `encrypt` sealed.

    Raises:
        Refused: `verdict`, if anything of it is not as it was.
    """
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):  # the latter of less than a tag
        raise Refused(verdict) from None


def seal_to(agent: str, plain: bytes, info: bytes) -> bytes:
    """Seal bytes to an identity with HPKE in base mode, single shot (RFC 9180, 6.1).

    Raises:
        Refused: ``id``, if nothing can be sealed to it.
    """
    return _HPKE.encrypt(plain, _public(agent), info)


def open_sealed_to(keypair: Keypair, sealed: bytes, info: bytes) -> bytes:
    """Open what was sealed to us by `seal_to`.

    Raises:
        Refused: ``hpke``.
    """
    secret = X25519PrivateKey.from_private_bytes(keypair.exchange_secret())
    try:
        return _HPKE.decrypt(sealed, secret, info)
    except (InvalidTag, ValueError):
        raise Refused(Verdict.HPKE) from None


def check_id(agent: str) -> None:
    """Hold an id against what can be a member.

    Raises:
        Refused: ``id``.
    """
    _public(agent)


@lru_cache(maxsize=4096)
def _public(agent: str) -> X25519PublicKey:
    try:
        return X25519PublicKey.from_public_bytes(exchange_key(agent))
    except InvalidKey:
        raise Refused(Verdict.ID) from None


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(PREFIX + data).digest()


def _hkdf(key: bytes, info: bytes, length: int, salt: bytes | None = None) -> Secret:
    derive = HKDF(algorithm=SHA256(), length=length, salt=salt, info=PREFIX + info)
    return Secret(derive.derive(key))
