"""Handing over files: sending one, and fetching one into the inbox."""

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from parler.client.pending import Progress
from parler.errors import IdentityError, TooManyBytes, UsageError
from parler.handoff import inbox
from parler.handoff.paths import safe_name
from parler.handoff.sniff import guessed_type, look
from parler.identity.identity import is_identity
from parler.ops.attachments import (
    Attachment,
    Sender,
    announced,
    check_size,
)
from parler.ops.capability import SETS, TARGET, Capability, Hints, Means, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.wire.base import Digest, RoomName
from parler.wire.limits import DEFAULT_MAX_BLOB_BYTES
from parler.wire.parts import BundlePart, FilePart, Part, TextPart
from parler.wire.records import Target

_LIST = "parler recv --all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFileParams:
    """Which file goes to whom."""

    path: Annotated[Path, Param("The file.", positional=True)]
    note: Annotated[str | None, Param("A text shown before it.", "TEXT", brief="")] = (
        None
    )
    target: Annotated[Target, TARGET]


class SendFileResult(Result):
    """A file as it was sent."""

    blob: Digest
    name: str
    size: int
    seq: int
    room: RoomName
    media_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchParams:
    """Which file, and where it goes instead of the inbox."""

    what: Annotated[
        str, Param("Its name or id, or the start.", "BLOB|NAME", positional=True)
    ]
    room: Annotated[
        RoomName | None,
        Param("Where it was sent; a whole id needs none.", means=Means.ROOM),
    ] = None
    out: Annotated[
        Path | None,
        Param("A new file or a folder; not the inbox.", "PATH", option="--out -o"),
    ] = None


class FetchResult(Result):
    """Where a file is now, and what it looks like."""

    blob: Digest
    path: str
    name: str
    size: int
    already: bool
    looks_like: str
    warning: str | None = None
    declared: str | None = None
    sender: Sender | None = None


async def send_file(
    ctx: OpContext, params: SendFileParams, *, progress: Progress | None = None
) -> SendFileResult:
    """Upload a file and tell about it.

    Raises:
        UsageError: There is no such file.
        TooManyBytes: A hub does not take so much.
        HubError: The hub refused. Nobody was told.
    """
    check_texts(note=params.note)
    data = await asyncio.to_thread(read_file, params.path)
    name = sent_name(params.path)
    media_type = guessed_type(name)
    stored = await ctx.client.put_blob(
        params.target, data, media_type=media_type, progress=progress
    )
    part = FilePart(blob=stored.id, name=name, size=stored.size, media_type=media_type)
    note: list[Part] = [TextPart(text=params.note)] if params.note else []
    sent = await ctx.client.send(params.target, [*note, part])
    return SendFileResult(
        blob=stored.id,
        name=name,
        size=stored.size,
        seq=sent.seq,
        room=sent.room,
        media_type=media_type,
    )


SEND_FILE = Capability(
    run=send_file,
    about="Send a file to the active session, a room, or one agent.",
    command="send-file",
    example='parler send-file report.pdf --note "final"',
    tool="parler_send_file",
    brief="Send a file of this folder.",
    call='{"path": "report.pdf"}',
    hints=Hints(open_world=True),
)


async def fetch(
    ctx: OpContext, params: FetchParams, *, progress: Progress | None = None
) -> FetchResult:
    """Fetch a file and keep it, whole and verified, where nothing was before.

    Raises:
        UsageError: It is not known which one is meant.
        DigestMismatch: The hub handed out something else.
        VerificationError: The message about it is forged, or announces another length.
        UnsafePath: Something else is in its place.
        OSError: It cannot be written. Nothing half is left.
    """
    digest, found = await announced(
        ctx, params.what, params.room, named=_is_called, next_step=_LIST
    )
    blob = await ctx.client.get_blob(digest, progress=progress)
    check_size(found, len(blob.data))
    name, declared = _claims(found, digest)
    declared = declared or blob.media_type
    kept = await asyncio.to_thread(_keep, ctx, params, digest, blob.data, name)
    seen = look(blob.data, name=kept.path.name, declared=declared)
    return FetchResult(
        blob=digest,
        path=str(kept.path.absolute()),
        name=kept.path.name,
        size=len(blob.data),
        already=kept.already,
        looks_like=seen.kind,
        warning=seen.warning,
        declared=declared,
        sender=found.sender if found else None,
    )


FETCH = Capability(
    run=fetch,
    about="Fetch a file that was sent, into your inbox.",
    more="It is held against its digest, nothing is overwritten, and nothing is "
    "opened.",
    command="fetch",
    example="parler fetch report.pdf",
    tool="parler_fetch",
    brief="Fetch a file that was sent; nothing is overwritten or opened.",
    call='{"what": "report.pdf"}',
    hints=SETS,
)


def read_file(path: Path) -> bytes:
    """All of a regular file that a hub takes.

    Raises:
        UsageError: There is none, or it is no regular file.
        TooManyBytes: It is larger.
        IdentityError: It is an identity of Parler's.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    if not regular:
        raise UsageError(f"{path} is no regular file")
    with os.fdopen(os.open(path, flags), "rb") as file:
        data = file.read(DEFAULT_MAX_BLOB_BYTES + 1)
    if len(data) > DEFAULT_MAX_BLOB_BYTES:
        raise TooManyBytes(
            f"{path} has more than the {DEFAULT_MAX_BLOB_BYTES} bytes that a hub takes",
            next_step="send it in pieces, or compressed",
        )
    if is_identity(data):
        raise IdentityError(
            f"{path} is the private key of an agent: whoever gets it can speak in its "
            "name; nothing was sent"
        )
    return data


def sent_name(path: Path) -> str:
    """What a file is called for others: as here, unless that cannot be said."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return name if name.isprintable() and len(name) <= 255 else safe_name(name)


def _is_called(attachment: Attachment, word: str) -> bool:
    part = attachment.part
    return isinstance(part, FilePart) and word in (part.name, safe_name(part.name))


def _claims(found: Attachment | None, digest: Digest) -> tuple[str, str | None]:
    """The name and type that the sender gives it."""
    match found and found.part:
        case FilePart(name=name, media_type=media_type):
            return name, media_type
        case BundlePart(media_type=media_type):
            return f"{digest[:12]}.bundle", media_type
        case _:
            return "", None


def _keep(
    ctx: OpContext, params: FetchParams, digest: Digest, data: bytes, name: str
) -> inbox.Kept:
    if params.out is None:
        return inbox.keep(ctx.identity.home, digest, data, name=name)
    fallback = f"{digest[:12]}.bin"
    return inbox.keep_as(params.out, data, name=name, fallback=fallback)
