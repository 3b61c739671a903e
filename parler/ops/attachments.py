"""Finding what was handed over in a room: who sent which bundle or file.

A message whose signature fails hands over nothing. Names and sizes are the sender's
words; what the bytes are is decided by their digest alone.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from parler.errors import HubRefused, UsageError, VerificationError
from parler.identity.identity import active_session
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext
from parler.ops.message_view import pages
from parler.text.terminal import clipped, shown_name
from parler.wire.base import AgentId, Digest, Millis, RoomName
from parler.wire.foreign import Foreign
from parler.wire.parts import BundlePart, FilePart, HandoffPart, Part, TaskPart

if TYPE_CHECKING:
    from parler.client.messages import Message

MAX_ATTACHMENTS = 1000
"""Of a room that has more, the newest are looked at."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PREFIX = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_LISTED = 10

Handed: TypeAlias = BundlePart | FilePart


class Sender(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Who handed something over, where, and what there is to believe of it."""

    id: AgentId
    name: Foreign
    fingerprint: str
    signature: Signature
    room: RoomName
    seq: int
    ts: Millis
    role: Foreign | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A bundle or a file in a message."""

    part: Handed
    sender: Sender

    def __str__(self) -> str:
        """How it is listed among others."""
        name = self.part.name if isinstance(self.part, FilePart) else "a bundle"
        who = f"{shown_name(self.sender.name)} {self.sender.fingerprint}"
        return f"{self.part.blob[:12]} ({shown_name(name)}, from {who})"


Named: TypeAlias = Callable[[Attachment, str], bool]
"""Whether an attachment goes by a name."""


def _nothing(attachment: Attachment, word: str) -> bool:
    return False


def is_blob_id(word: str) -> bool:
    """Whether a word is the whole id of a blob."""
    return _DIGEST.fullmatch(word) is not None


async def attachments(ctx: OpContext, room: RoomName) -> list[Attachment]:
    """What was handed over in a room, the oldest first, also with failed signatures.

    Raises:
        UsageError: A stranger sent it, and a model would read it.
    """
    sent, _ = await _said(ctx, room)
    return sent


async def announced(
    ctx: OpContext,
    word: str,
    room: RoomName | None,
    *,
    named: Named = _nothing,
    next_step: str,
) -> tuple[Digest, Attachment | None]:
    """The blob that is meant, in a room or the active session; see `find`.

    For a whole blob id no room is needed: it only tells who sent it. Of what a handoff
    or a receipt only names, nobody announced more than its id.
    """
    if room is None and is_blob_id(word):
        room = active_session(ctx.identity.home)
        if room is None:
            return Digest(word), None
        try:
            sent, named_only = await _said(ctx, room)
        except HubRefused:  # it is on another hub, or we are no longer in it
            return Digest(word), None
    else:
        sent, named_only = await _said(ctx, ctx.room(room))
    if whole := only_named(word, sent, named_only, named):
        return whole, None
    found = find(word, sent, named=named, next_step=next_step)
    return found.part.blob if found else Digest(word), found


async def blob_named(
    ctx: OpContext, word: str, room: RoomName | None, *, next_step: str
) -> Digest:
    """The blob that an id means, or the beginning of one; see `announced`.

    Raises:
        UsageError: It is neither, or nothing of that id was sent there.
    """
    if is_blob_id(word):
        return Digest(word)
    if not _PREFIX.fullmatch(word):
        raise UsageError(f"{clipped(word)!r} is no blob id", next_step=next_step)
    blob, _ = await announced(ctx, word, room, next_step=next_step)
    return blob


async def _said(ctx: OpContext, room: RoomName) -> tuple[list[Attachment], set[Digest]]:
    """What was handed over in a room, and what its messages name besides."""
    await ctx.require_accepted(room)
    found: deque[Attachment] = deque(maxlen=MAX_ATTACHMENTS)
    named: deque[Digest] = deque(maxlen=MAX_ATTACHMENTS)
    async for batch in pages(ctx.client, room, since=0):
        for message in batch.messages:
            found.extend(_of(message))
            if not message.signature.fails:
                named.extend(filter(is_blob_id, map(_names, message.parts)))
    return list(found), set(named)


def _names(part: Part) -> Digest:
    """The blob that a handoff or a receipt is about."""
    match part:
        case HandoffPart(bundle=blob) | TaskPart(result=blob) if blob:
            return blob
    return Digest("")


def only_named(
    word: str, sent: Sequence[Attachment], ids: set[Digest], named: Named
) -> Digest | None:
    """The one that the beginning of an id means, if nobody announced it."""
    if not _PREFIX.fullmatch(word):
        return None
    announced_ids = {one.part.blob for one in sent}
    meant = {one for one in ids if one.startswith(word)}
    if not meant - announced_ids:
        return None
    meant |= {one.part.blob for one in sent if _may_mean(word, one, named)}
    if len(meant) > 1:
        raise UsageError(
            f"{word!r} could be any of {len(meant)}: {', '.join(sorted(meant))}",
            next_step="use the whole blob id",
        )
    return meant.pop()


def _may_mean(word: str, one: Attachment, named: Named) -> bool:
    """Whether a word is its id, the beginning of it, or its name: anybody can call a
    file like the beginning of another's id, and none is called like a whole one."""
    if _PREFIX.fullmatch(word) and one.part.blob.startswith(word):
        return True
    return not is_blob_id(word) and named(one, word)


def find(
    word: str,
    among: Sequence[Attachment],
    *,
    named: Named = _nothing,
    next_step: str,
) -> Attachment | None:
    """The attachment that is meant: by blob id, by its beginning, or by name.

    A name may have been used again: of several by one sender the last one counts, but
    nobody comes in place of another sender's.

    Returns:
        None for a whole blob id that nobody announced.

    Raises:
        UsageError: Nothing is meant, or things of several senders.
        VerificationError: Only messages with failed signatures speak of it.
    """
    meant = [one for one in among if _may_mean(word, one, named)]
    believed = [one for one in meant if not one.sender.signature.fails]
    if meant and not believed:
        raise VerificationError(
            f"only a message whose signature fails speaks of {word!r}",
            next_step=next_step,
        )
    if not believed:
        if is_blob_id(word):
            return None
        raise UsageError(f"nothing called {word!r} was sent there", next_step=next_step)
    # A hub could add unsigned ones in anybody's name.
    signed = [one for one in believed if one.sender.signature is Signature.VALID]
    believed = signed or believed
    blobs = {one.part.blob: one for one in believed}
    senders = {one.sender.id for one in believed}
    same_name = all(named(one, word) for one in believed)
    if len(blobs) > 1 and not (same_name and len(senders) == 1):
        listed = ", ".join(map(str, list(blobs.values())[-_LISTED:]))
        raise UsageError(
            f"{word!r} could be any of {len(blobs)}: {listed}",
            next_step="use the beginning of the blob id",
        )
    # Whoever repeats it later, with other words, does not stand in its way.
    last = believed[-1].part.blob
    return next(one for one in believed if one.part.blob == last)


def check_size(attachment: Attachment | None, size: int) -> None:
    """Hold what came against what its sender announced.

    Raises:
        VerificationError: It has another length.
    """
    if attachment is not None and attachment.part.size != size:
        raise VerificationError(
            f"the message announces {attachment.part.size} bytes, the blob has {size}; "
            "nothing was kept",
            next_step="ask the sender to send it again",
        )


def _of(message: "Message") -> list[Attachment]:
    stored = message.stored
    author = stored.author
    sender = Sender(
        id=author.id,
        name=author.name,
        role=author.role,
        fingerprint=fingerprint(author.id),
        signature=message.signature,
        room=stored.room,
        seq=stored.seq,
        ts=stored.ts,
    )
    return [
        Attachment(part=part, sender=sender)
        for part in message.parts
        if isinstance(part, BundlePart | FilePart) and is_blob_id(part.blob)
    ]
