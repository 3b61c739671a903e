"""Ed25519 identities: nkey ids and seeds, signing, verifying, X25519, fingerprints.

Nothing here reads a file or knows a frame. The arithmetic is libsodium's, through
PyNaCl; ours are only the nkey spelling and the rule that a bad signature is False.
"""

import base64
import binascii
import hashlib
import re
from functools import lru_cache

from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as SodiumError
from nacl.signing import SigningKey, VerifyKey

from parler.wire.base import AgentId

_PREFIX_USER = 20 << 3
_PREFIX_SEED = 18 << 3
_PUBLIC_LENGTH = 56
_SEED_LENGTH = 58
_SIGNATURE_LENGTH = 88
_CHALLENGE = re.compile(
    r"parler-auth:v1:[0-9a-f]{12}:[0-9]{1,19}:"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII,
)


class InvalidKey(ValueError):
    """A text that is no agent id or no seed. Never carries the text itself."""


class Keypair:
    """An agent's secret key. Its repr shows the public half only."""

    __slots__ = ("_key", "agent_id")

    agent_id: AgentId

    def __init__(self, secret: bytes) -> None:
        """Take a 32-byte seed (RFC 8032)."""
        self._key = SigningKey(secret)
        self.agent_id = encode_agent_id(bytes(self._key.verify_key))

    @classmethod
    def generate(cls) -> "Keypair":
        """Make a new identity from the system's randomness."""
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def from_seed(cls, seed: str) -> "Keypair":
        """Read an nkey seed (protocol 2.1).

        Raises:
            InvalidKey: Not an nkey seed of a user, or its checksum is wrong.
        """
        raw = _decode_nkey(seed, _SEED_LENGTH)
        if raw[:2] != _seed_prefix():
            raise InvalidKey("not the seed of an agent")
        return cls(raw[2:])

    @property
    def seed(self) -> str:
        """The secret as an nkey seed: 58 characters starting with ``SU``."""
        return _encode_nkey(_seed_prefix() + bytes(self._key))

    def sign(self, data: bytes) -> str:
        """Sign bytes; the signature is base64 with padding (protocol 2.2)."""
        return base64.b64encode(self._key.sign(data).signature).decode()

    def exchange_secret(self) -> bytes:
        """The X25519 secret (RFC 7748) whose public half is `exchange_key` of our id.

        Whoever has it reads what is sealed to us; it goes to the cipher and no further.
        """
        return bytes(self._key.to_curve25519_private_key())

    def __repr__(self) -> str:
        """Never the secret."""
        return f"Keypair({self.agent_id})"


def verify(agent_id: str, data: bytes, signature: str) -> bool:
    """Whether `signature` is `agent_id`'s over `data`; never raises."""
    try:
        public = decode_agent_id(agent_id)
        raw = _decode_signature(signature)
        VerifyKey(public).verify(data, raw)
    except (InvalidKey, BadSignatureError, ValueError):
        return False
    return True


def exchange_key(agent_id: str) -> bytes:
    """The X25519 public key (RFC 7748) of an id: the same point, the other curve.

    An id and its negative have the same one, so whatever is sealed to it names the id.

    Raises:
        InvalidKey: No agent id, or a point that is not of the prime-order group.
    """
    try:
        return bytes(VerifyKey(decode_agent_id(agent_id)).to_curve25519_public_key())
    except SodiumError:
        raise InvalidKey("the id is no point of the prime-order group") from None


def is_challenge(nonce: str) -> bool:
    """Whether a nonce is one that an agent may sign (protocol 13.1).

    The key that answers challenges also signs messages and cards: a hub that could
    choose the text would get a signature over anything.
    """
    return _CHALLENGE.fullmatch(nonce) is not None


def encode_agent_id(public_key: bytes) -> AgentId:
    """The nkey id of a 32-byte public key (protocol 2.1)."""
    return AgentId(_encode_nkey(bytes([_PREFIX_USER]) + public_key))


@lru_cache(maxsize=1024)
def decode_agent_id(text: str) -> bytes:
    """The 32-byte public key of an agent id.

    Raises:
        InvalidKey: Not the nkey id of a user, or its checksum is wrong.
    """
    raw = _decode_nkey(text, _PUBLIC_LENGTH)
    if raw[0] != _PREFIX_USER:
        raise InvalidKey("not the id of an agent")
    return raw[1:]


def is_agent_id(text: str) -> bool:
    """Whether a text is an agent id."""
    try:
        decode_agent_id(text)
    except InvalidKey:
        return False
    return True


def fingerprint(agent_id: str) -> str:
    """The short form of an id that people compare: 80 bits as ``ABCD-EFGH-…``.

    It hashes the id, so that somebody who wants a look-alike cannot choose the
    characters that are shown and has to search 2^80 keys.
    """
    digest = hashlib.sha256(agent_id.encode()).digest()[:10]
    text = base64.b32encode(digest).decode()
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def _seed_prefix() -> bytes:
    # The user prefix is spread over both bytes behind the seed's five bits (2.1).
    return bytes([_PREFIX_SEED | (_PREFIX_USER >> 5), (_PREFIX_USER & 31) << 3])


def _encode_nkey(raw: bytes) -> str:
    return _base32(raw + _checksum(raw))


def _decode_nkey(text: str, length: int) -> bytes:
    if len(text) != length or not text.isascii():
        raise InvalidKey("wrong length")
    try:
        raw = base64.b32decode(text + "=" * (-length % 8))
    except binascii.Error:
        raise InvalidKey("not base32") from None
    if _base32(raw) != text:  # unused trailing bits must be zero
        raise InvalidKey("not canonical base32")
    if _checksum(raw[:-2]) != raw[-2:]:
        raise InvalidKey("the checksum does not match")
    return raw[:-2]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")


def _checksum(raw: bytes) -> bytes:
    # crc_hqx is CRC-16 with polynomial 0x1021 and no reflection: XMODEM from 0.
    return binascii.crc_hqx(raw, 0).to_bytes(2, "little")


def _decode_signature(text: str) -> bytes:
    if len(text) != _SIGNATURE_LENGTH:
        raise ValueError("wrong length")
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw
