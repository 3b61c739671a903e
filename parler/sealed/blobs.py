"""Files in sealed rooms: sealed and opened in chunks, from one stream to another.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015) with
AES-256-GCM, as in age: a chunk's nonce has its number and whether it is the last, so
none can be taken away, added, repeated or moved. Where the streams come from, and that
nothing gets its final name before the last chunk has been verified, is the caller's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from parler.sealed import crypto
from parler.sealed.crypto import NONCE_BYTES, TAG_BYTES
from parler.sealed.formats import Refused, Verdict
from parler.wire.base import Digest

CHUNK_BYTES = 65_536
MAX_FILE_BYTES = 25_690_112
"""With padding and tags it is as long as a blob may be on a hub: 25 MiB."""


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """What was uploaded: its digest and its size in bytes."""

    sha256: Digest
    size: int


def seal_blob(
    source: BinaryIO, target: BinaryIO, *, size: int, file_key: bytes
) -> SealedBlob:
    """Seal `size` bytes of one stream into another.

    Args:
        file_key: Fresh for each upload, so that a file sent twice is not recognised.

    Raises:
        ValueError: It is too large, or the source has fewer or more bytes.
    """
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size} bytes; at most {MAX_FILE_BYTES} can be sealed")
    key, digest, written = crypto.blob_key(file_key), hashlib.sha256(), 0
    left = size
    for nonce, length in _chunks(size):
        plain = source.read(min(length, left))
        if len(plain) != min(length, left):
            raise ValueError("the file became shorter while it was sealed")
        left -= len(plain)
        sealed = crypto.encrypt(key, nonce, plain.ljust(length, b"\0"))
        digest.update(sealed)
        written += target.write(sealed)
    if source.read(1):
        raise ValueError("the file became longer while it was sealed")
    return SealedBlob(sha256=Digest(digest.hexdigest()), size=written)


def open_blob(
    source: BinaryIO, target: BinaryIO, *, size: int, file_key: bytes
) -> None:
    """Open a sealed file; only if this returns is what the target got to be used.

    Args:
        size: As announced within the message.

    Raises:
        Refused: ``chunk``, ``truncated``, ``trailing`` or ``padding``.
    """
    if not 0 <= size <= MAX_FILE_BYTES:
        raise Refused(Verdict.TRUNCATED)
    key, left = crypto.blob_key(file_key), size
    for nonce, length in _chunks(size):
        sealed = source.read(length + TAG_BYTES)
        short = len(sealed) < length + TAG_BYTES
        if not sealed or (short and nonce.endswith(b"\1")):
            raise Refused(Verdict.TRUNCATED)
        plain = crypto.decrypt(key, nonce, sealed, verdict=Verdict.CHUNK)
        content, padding = plain[:left], plain[left:]
        if padding.strip(b"\0"):
            raise Refused(Verdict.PADDING)
        left -= len(content)
        target.write(content)
    if source.read(1):
        raise Refused(Verdict.TRAILING)


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """The nonce of a chunk."""
    return bytes(7) + number.to_bytes(4, "big") + bytes([last])


def _chunks(size: int) -> Iterator[tuple[bytes, int]]:
    """The nonce and the length of each chunk of a padded file."""
    padded = crypto.padded_length(size)
    count = -(-padded // CHUNK_BYTES)
    for number in range(count):
        last = number == count - 1
        length = padded - number * CHUNK_BYTES if last else CHUNK_BYTES
        nonce = chunk_nonce(number, last=last)
        assert len(nonce) == NONCE_BYTES
        yield nonce, length
