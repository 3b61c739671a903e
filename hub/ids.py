"""Everything random that the hub hands out: message ids, keys, names, nonces."""

import hashlib
import secrets
import uuid
from collections.abc import Callable

from parler.wire.base import Code, MessageId, RoomName
from parler.wire.joinkey import ALPHABET, CODE_LENGTH

SUFFIX_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits of a room suffix: no i, l, o, 0, 1 (protocol 4.1)."""

_READABLE = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
CHALLENGE_TTL_MS = 60_000
TOKEN_DIGITS = 12

RandomBytes = Callable[[int], bytes]

_BLOCK = 4096


class RandomBlock:
    """Random bytes of the system, asked for by the block: a system call each is dear.

    For one thread.
    """

    def __init__(self) -> None:
        """Ask for nothing yet."""
        self._bytes = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        """So many bytes that were never given before; at most a block."""
        end = self._at + size
        if end > len(self._bytes):
            self._bytes, self._at, end = secrets.token_bytes(_BLOCK), 0, size
        found = self._bytes[self._at : end]
        self._at = end
        return found


_random_bytes = RandomBlock()


def message_id(now_ms: int, random_bytes: RandomBytes = _random_bytes) -> MessageId:
    """A UUIDv7 (RFC 9562 5.7): sorts by time, and cannot be guessed."""
    value = int.from_bytes(random_bytes(10))
    high = (now_ms & (2**48 - 1)) << 80
    value = high | (value & ~(0xF << 76) & (2**80 - 1)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{value:032x}"
    return MessageId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def session_key() -> Code:
    """An invite code: 40 random bits (protocol 4.1)."""
    return Code(_pick(ALPHABET, CODE_LENGTH))


def bearer_token() -> str:
    """A directory or watch token: 160 random bits (protocol 4.1)."""
    return _pick(ALPHABET, 32)


def join_secret() -> str:
    """A join secret for a hub that has none yet (protocol 12.1)."""
    return _pick(_READABLE, 32)


def room_name(prefix: str) -> RoomName:
    """A fresh room name such as ``dm.k3x9ab`` (protocol 4.2)."""
    return RoomName(f"{prefix}.{_pick(SUFFIX_ALPHABET, 6)}")


def hub_id() -> str:
    """A new hub's id: 128 random bits in hex."""
    return secrets.token_hex(16)


def hub_token(hub_id: str, url: str | None) -> str:
    """What stands for a hub in its nonces (protocol 2.3).

    That of its URL, if it was given one, and else of its id: any number of hubs share
    a bind address. Of a hub that keeps nothing, `url` is that bind address: clients
    take it for nobody's.
    """
    if url is None:
        return hub_id[:TOKEN_DIGITS]
    return hashlib.sha256(url.encode()).hexdigest()[:TOKEN_DIGITS]


def challenge(token: str, now_ms: int) -> str:
    """A nonce of a hub to sign, valid for a minute (protocol 2.3)."""
    return f"parler-auth:v1:{token}:{now_ms + CHALLENGE_TTL_MS}:{uuid.uuid4()}"


def _pick(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
