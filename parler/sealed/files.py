"""Files of sealed rooms at a hub: sealed on their way there, opened on their way back.

What the hub stores says neither what it is nor how long. The announcement goes into a
message, with the key; whoever has the digest alone opens nothing. Bytes come back only
after the last chunk was verified: what gets a name in a folder is all of the file, and
nothing else.
"""

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from parler.client.blobs import Blob
from parler.client.client import Client, Progress
from parler.sealed import blobs, crypto
from parler.sealed.blobs import SealedBlob
from parler.sealed.crypto import Secret
from parler.sealed.formats import (
    KEY_BYTES,
    VERSION,
    Refused,
    Verdict,
    b64,
    read_attachment,
    unb64,
)
from parler.wire.base import Digest
from parler.wire.records import Target

MEDIA_TYPE = "application/octet-stream"
"""Of all that is sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A file at the hub, and what opens it."""

    blob: Digest
    """Of the sealed bytes."""

    size: int
    """Of the file, in bytes."""

    key: Secret = field(repr=False)

    def announced(self, part: dict[str, Any]) -> dict[str, Any]:
        """A part for a file or a bundle, with where its bytes are and what opens it."""
        seal = {"v": VERSION, "key": b64(self.key)}
        return part | {"blob": self.blob, "size": self.size, "seal": seal}


async def upload(
    client: Client,
    target: Target,
    data: bytes | Path,
    *,
    folder: Path,
    progress: Progress | None = None,
) -> Uploaded:
    """Seal a file and store it where a target's occupants can fetch it.

    It is sealed into a file first, so that only one copy of it is in memory.

    Args:
        data: The bytes, or the file that has them.
        folder: A private one, for the sealed file while it is uploaded.

    Raises:
        ValueError: It has more than 24.5 MiB, or changes meanwhile.
        OSError: It cannot be read, or the sealed file not be written. Nothing is left.
        HubError, TransportError: The hub did not take it.
    """
    key = crypto.new_key()
    descriptor, name = tempfile.mkstemp(prefix="sealing-", dir=folder)
    os.close(descriptor)
    path = Path(name)
    try:
        size, sealed = await asyncio.to_thread(_seal, data, path, key)
        stored = await client.put_blob(
            target, path, media_type=MEDIA_TYPE, progress=progress
        )
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 (one name in a local folder)
    if stored.id != sealed.sha256:
        raise ValueError("the sealed file was changed while it was uploaded")
    return Uploaded(blob=stored.id, size=size, key=key)


async def download(
    client: Client, part: dict[str, Any], *, progress: Progress | None = None
) -> Blob:
    """Fetch the file that an opened message announces, and open it.

    Its digest is that of the sealed bytes, by which the hub knows it.

    Args:
        part: As it was within the message.

    Raises:
        Refused: ``format``, ``base64``, ``chunk``, ``truncated``, ``trailing`` or
            ``padding``: it is not what was announced.
        DigestMismatch: The hub handed out something else.
        HubError, TransportError: The hub did not hand it out.
    """
    announced = read_attachment(part)
    if announced.seal.v != VERSION:
        raise Refused(Verdict.FORMAT)
    key = unb64(announced.seal.key, KEY_BYTES)
    fetched = await client.get_blob(announced.blob, progress=progress)
    opened = BytesIO()
    await asyncio.to_thread(
        blobs.open_blob,
        BytesIO(fetched.data),
        opened,
        size=announced.size,
        file_key=key,
    )
    return Blob(
        digest=announced.blob, data=opened.getvalue(), media_type=announced.media_type
    )


def _seal(data: bytes | Path, path: Path, key: Secret) -> tuple[int, SealedBlob]:
    source = data.open("rb") if isinstance(data, Path) else BytesIO(data)
    with source, path.open("wb") as target:
        size = (
            os.fstat(source.fileno()).st_size if isinstance(data, Path) else len(data)
        )
        return size, blobs.seal_blob(source, target, size=size, file_key=key)
