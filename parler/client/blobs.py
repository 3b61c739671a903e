"""Bytes by their digest: what they must be before anybody gets them.

How they travel is not known here, nor where they are kept.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from parler.errors import DigestMismatch, TooManyBytes, UsageError
from parler.wire.base import Digest
from parler.wire.limits import MAX_CLIENT_MESSAGE_BYTES
from parler.wire.replies import BlobIncoming

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes that are the ones asked for. What they are is the sender's word."""

    digest: Digest
    data: bytes = field(repr=False)
    media_type: str | None
    """As declared by whoever uploaded them first."""


def as_digest(text: str) -> Digest:
    """The digest that a text is.

    Raises:
        UsageError: It is none.
    """
    if not _DIGEST.fullmatch(text):
        raise UsageError(f"a blob id is 64 characters of 0-9a-f, not {text[:80]!r}")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    """The digest of some bytes (protocol 2.2)."""
    return Digest(hashlib.sha256(data).hexdigest())


def verified(wanted: Digest, data: bytes, *, announced: BlobIncoming) -> Blob:
    """What a hub handed out, if it is what was asked for.

    Raises:
        DigestMismatch: It is something else.
    """
    if len(data) != announced.size:
        raise DigestMismatch(f"{announced.size} bytes", f"{len(data)} bytes")
    actual = digest_of(data)
    if actual != wanted:
        raise DigestMismatch(wanted, actual)
    return Blob(digest=wanted, data=data, media_type=announced.media_type)


def read_bounded(path: Path) -> bytes:
    """All of a file, if a message can carry it.

    Raises:
        TooManyBytes: It is larger.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_CLIENT_MESSAGE_BYTES + 1)
    if len(data) > MAX_CLIENT_MESSAGE_BYTES:
        raise TooManyBytes(f"{path} has more than {MAX_CLIENT_MESSAGE_BYTES} bytes")
    return data
