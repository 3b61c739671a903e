"""Blobs on disk, and the room that uploads on their way take (protocol 8).

A blob is a file named by its digest in one folder. It appears there whole and synced
or not at all. Which rooms it belongs to is in the store; this module knows only bytes.
"""

import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hub.errors import Refusal
from parler.wire.base import Digest
from parler.wire.codes import ErrorCode

TEMPORARY_SUFFIX = ".part"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Download:
    """A blob on its way to a peer: the frame that announces it, and where it is.

    It is looked for again when its turn comes; `rid` is that of the request.
    """

    incoming: bytes
    path: Path
    digest: Digest
    rid: str | None


@dataclass(slots=True, kw_only=True, eq=False)
class Upload:
    """An announced upload whose bytes have not come yet."""

    digest: Digest
    size: int
    room: int
    media_type: str | None
    rid: str | None
    owner: str
    _pool: "BlobFolder" = field(repr=False)
    _held: bool = True
    expired: bool = False

    def expire(self) -> None:
        """Give up waiting for the bytes."""
        self.expired = True
        self.release()

    def release(self) -> None:
        """Give the reserved bytes back; may be called twice."""
        if self._held:
            self._held = False
            self._pool.release(self.owner, self.size)


class BlobFolder:
    """The folder that holds the blobs of one hub."""

    def __init__(
        self, folder: Path, *, max_in_flight: int, max_per_owner: int = 0
    ) -> None:
        """Take the folder, which is made when first needed.

        Args:
            max_in_flight: Bytes of all uploads that may be awaited at a time.
            max_per_owner: How many of them for one owner; 0 = all.
        """
        self.folder = folder
        self.max_in_flight = max_in_flight
        self.max_per_owner = max_per_owner or max_in_flight
        self.reserved = 0
        self._reserved_for: Counter[str] = Counter()

    def reserve(
        self,
        digest: Digest,
        size: int,
        *,
        owner: str = "",
        room: int,
        media_type: str | None,
        rid: str | None,
    ) -> Upload:
        """Set bytes aside for an upload (protocol 8.1, with 13.8 mended).

        Raises:
            Refusal: Too much is on its way already.
        """
        self.check_pool(size, owner)
        self.reserved += size
        self._reserved_for[owner] += size
        return Upload(
            digest=digest,
            size=size,
            room=room,
            media_type=media_type,
            rid=rid,
            owner=owner,
            _pool=self,
        )

    def release(self, owner: str, size: int) -> None:
        """Take reserved bytes back; for `Upload` alone."""
        self.reserved -= size
        self._reserved_for[owner] -= size
        if not self._reserved_for[owner]:
            del self._reserved_for[owner]

    def check_pool(self, size: int, owner: str) -> None:
        """Refuse an upload there is no room for now.

        Raises:
            Refusal: Too much is on its way already.
        """
        mine = self._reserved_for[owner]
        if (
            self.reserved + size > self.max_in_flight
            or mine + size > self.max_per_owner
        ):
            raise Refusal(
                ErrorCode.AT_CAPACITY, "too many uploads at the moment; try again"
            )

    def write(self, upload: Upload, data: bytes) -> None:
        """Store the bytes of an upload so that they survive a power cut.

        Blocks: call it in a thread.

        Raises:
            Refusal: They are not what was announced.
            OSError: The disk is full or broken.
        """
        if len(data) != upload.size:
            raise Refusal(ErrorCode.PROTOCOL, "the upload has another length")
        if hashlib.sha256(data).hexdigest() != upload.digest:
            raise Refusal(ErrorCode.PROTOCOL, "the upload has another digest")
        self._make_folder()
        temporary = self.folder / f"{secrets.token_hex(16)}{TEMPORARY_SUFFIX}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(self.path(upload.digest))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self.folder)

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; it stays readable even if it is deleted then.

        Raises:
            OSError: There is no such file.
        """
        return self.path(digest).open("rb")

    def delete(self, digest: Digest) -> None:
        """Delete a blob's bytes, if they are there."""
        self.path(digest).unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where a blob is. Only digests the hub computed or stored come here."""
        if not (len(digest) == 64 and digest.isascii() and digest.isalnum()):
            raise ValueError("not a digest")
        return self.folder / digest

    def stored(self) -> Iterator[Digest]:
        """The blobs there are, in no order; blocks as it goes."""
        if self.folder.is_dir():
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if _DIGEST.fullmatch(entry.name) and entry.is_file():
                        yield Digest(entry.name)

    def sweep(self) -> None:
        """Drop what uploads left behind when the hub was killed."""
        if self.folder.is_dir():
            for leftover in self.folder.glob(f"*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sync_folder(self.folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
