"""Signing what an agent says, and judging what a hub delivers (protocol 6.3, 6.4).

The hub checks no message signature. Every reader does, here, and binds the message
to the room and the hub it came from, so that a lying hub or a copied message is
noticed. The hub's name is beside what older clients sign, so a copy can leave it out;
the message's uid, which is signed, says that it had one. Of a message whose uid does
not, only who remembers the original notices that (`parler.identity.seen_messages`).
"""

import re
import uuid
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET

from parler.identity.signing import Keypair, verify
from parler.wire.base import AgentId
from parler.wire.canonical import SIG_KIND, hub_bytes, message_bytes
from parler.wire.names import service_room
from parler.wire.parts import (
    InvalidParts,
    Part,
    SigPart,
    encode_parts,
    part_objects,
    read_part,
)
from parler.wire.records import (
    DmTarget,
    RoomTarget,
    ServiceTarget,
    StoredMessage,
    Target,
)

_NAMES_HUB = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
"""A UUID of version 8 (RFC 9562), which no other client makes; theirs have 4."""


class Signature(StrEnum):
    """What a reader may believe of a message's author."""

    VALID = "valid"
    UNSIGNED = "unsigned"
    INVALID = "invalid"

    REPLAYED = "replayed"
    """Genuine, and said at another hub, or before: a copy that somebody put here."""

    @property
    def fails(self) -> bool:
        """Whether it is no word of its author, here and now."""
        return self in (Signature.INVALID, Signature.REPLAYED)


def fresh_uid(hub_token: str | None) -> str:
    """A new id for a message, which says whether its signature names a hub."""
    made = str(uuid.uuid4())
    return made if hub_token is None else f"{made[:14]}8{made[15:]}"


def sign_parts(
    keypair: Keypair,
    target: Target,
    parts: list[Part],
    *,
    ts: int,
    uid: str,
    reply_to: str | None = None,
    hub_token: str | None = None,
) -> msgspec.Raw:
    """Print `parts` with the author's signature as the last one (protocol 6.3).

    Args:
        target: Exactly as it will stand in the send.
        ts: The author's clock, in epoch milliseconds.
        uid: A fresh unique id of this message, of `fresh_uid`.
        hub_token: That in the challenge of the hub it goes to.

    Raises:
        ValueError: A part that has no canonical JSON.
    """
    plain = [part for part in parts if not _is_signature(part)]
    signed = message_bytes(
        author=keypair.agent_id,
        target=target,
        parts=part_objects(encode_parts(plain)),
        ts=ts,
        uid=uid,
        reply_to=reply_to,
    )
    signature = SigPart(sig=keypair.sign(signed), ts=ts, uid=uid, target=target)
    if hub_token is not None:
        signature.hub = hub_token
        signature.hub_sig = keypair.sign(hub_bytes(hub_token, signature.sig))
    return encode_parts([*plain, signature])


def check_message(
    message: StoredMessage,
    *,
    reader: AgentId | None,
    hub_token: str | None = None,
    former_tokens: Collection[str] = (),
) -> Signature:
    """Judge a delivered message (protocol 6.4, with the room binding of step 3).

    Args:
        reader: Who received it. A direct message is only valid for the agent it was
            written to, and for its author.
        hub_token: That in the challenge of the hub it came from, if that is known.
        former_tokens: What that very hub was called before.
    """
    try:
        objects = part_objects(message.parts)
    except InvalidParts:
        return Signature.INVALID
    candidates = [fields for fields in objects if fields["kind"] == SIG_KIND]
    part = next((p for p in map(_read_signature, candidates) if p), None)
    if part is None:
        # A mangled signature is a failed one, not a missing one (protocol 13.13).
        return Signature.INVALID if candidates else Signature.UNSIGNED
    try:
        signed = message_bytes(
            author=message.author.id,
            target=part.target,
            parts=objects,
            ts=part.ts,
            uid=part.uid,
            reply_to=message.reply_to,
        )
    except (ValueError, RecursionError):
        return Signature.INVALID
    genuine = verify(message.author.id, signed, part.sig)
    bound = belongs_to(part.target, message, reader=reader)
    if not genuine or not bound:
        return Signature.INVALID
    return _at_hub(message, part, (hub_token, *former_tokens))


def _at_hub(
    message: StoredMessage, part: SigPart, hub: tuple[str | None, ...]
) -> Signature:
    """Judge a genuine message by the hub that its author names.

    Args:
        hub: What the hub that is read is called, and was called.
    """
    if part.hub in (None, UNSET) and part.hub_sig in (None, UNSET):
        stripped = _NAMES_HUB.fullmatch(part.uid)
        return Signature.INVALID if stripped else Signature.VALID  # an older client's
    if not isinstance(part.hub, str) or not isinstance(part.hub_sig, str):
        return Signature.INVALID
    try:
        signed = hub_bytes(part.hub, part.sig)
    except UnicodeEncodeError:
        return Signature.INVALID
    if not verify(message.author.id, signed, part.hub_sig):
        return Signature.INVALID
    here = hub[0] is None or part.hub in hub
    return Signature.VALID if here else Signature.REPLAYED


def belongs_to(
    target: Target, message: StoredMessage, *, reader: AgentId | None
) -> bool:
    """Whether a message written to `target` may stand in its room (6.4 step 3)."""
    match target:
        case RoomTarget(room=room):
            return room == message.room
        case ServiceTarget(service=service):
            return message.room == service_room(service)
        case DmTarget(agent=agent):
            between_us = reader in (None, agent, message.author.id)
            return between_us and message.room.startswith("dm.")


def _is_signature(part: Part) -> bool:
    return isinstance(part, SigPart) or getattr(part, "kind", None) == SIG_KIND


def _read_signature(fields: dict[str, Any]) -> SigPart | None:
    part = read_part(fields)
    return part if isinstance(part, SigPart) else None
