"""Turns a message into what a model is shown of it, or into nothing.

Whether it may interrupt is decided by `wake/attention`; its author's words are marked
as data by `text/untrusted`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from parler.client.messages import Message
from parler.identity.identity import AttentionPolicy
from parler.identity.message_signing import Signature
from parler.text.transcript import Reader, handoff_for
from parler.text.untrusted import quoted_message
from parler.wake.attention import Verdict, address_of, judge
from parler.wake.spool import Item
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.foreign import exact
from parler.wire.names import is_direct
from parler.wire.parts import TaskPart

Mark: TypeAlias = tuple[str, int, str]
"""What an item is recognised by (`Item.mark`)."""

RECAP = "📋 session context"
"""How the message starts with which a session is opened (protocol 7)."""

MAX_CHARS = 1200
MAX_HANDOFF_CHARS = 6000
MAX_SEED_CHARS = 12_000
"""Of an author's words, in what is shown unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message of a room, as far as it has to be shown."""

    seq: Seq
    item: Item | None = None
    """None: our own, or passed over for good."""

    wakes: bool = False
    author: AgentId | None = None
    trusted: bool = False
    """Its signature is good."""

    reply_to: str | None = None


def entry_of(
    message: Message,
    reader: Reader,
    policy: AttentionPolicy,
    *,
    now: int,
    max_chars: int | None = MAX_CHARS,
) -> Entry:
    """A message as it has to be shown, if it has to be."""
    if message.author.id == reader.agent:
        return Entry(seq=message.seq)
    address = address_of(message.stored, message.signature, reader)
    verdict = judge(policy, address)
    if verdict is Verdict.DROP:
        return Entry(seq=message.seq)
    wakes = verdict is Verdict.WAKE and not _is_receipt(message)
    return Entry(
        seq=message.seq,
        item=item_of(message, reader, now=now, urgent=wakes, max_chars=max_chars),
        wakes=verdict is Verdict.WAKE,
        author=message.author.id,
        trusted=message.signature is Signature.VALID,
        reply_to=message.stored.reply_to,
    )


def item_of(
    message: Message,
    reader: Reader,
    *,
    now: int,
    urgent: bool,
    max_chars: int | None = MAX_CHARS,
) -> Item:
    """A message as it is handed to a model."""
    if max_chars is not None:
        if message.text.startswith(RECAP):
            max_chars = max(max_chars, MAX_SEED_CHARS)
        elif handoff_for(reader, message.stored, message.signature):
            max_chars = max(max_chars, MAX_HANDOFF_CHARS)
    text = quoted_message(
        message.stored, message.signature, reader, now=now, max_chars=max_chars
    )
    return Item(message.room, message.seq, text, urgent, message.id)


def mentions_us(message: Message, reader: Reader, policy: AttentionPolicy) -> bool:
    """Whether a message of a room that is not followed should be shown all the same."""
    if message.author.id == reader.agent or message.signature.fails:
        return False
    address = address_of(message.stored, message.signature, reader)
    if judge(policy, address) is not Verdict.WAKE:
        return False
    called = {_folded(exact(one)) for one in message.stored.mentions or []}
    mine = {_folded(one) for one in (reader.agent, reader.name, reader.role or "")}
    return bool((called & mine) - {""}) or (
        handoff_for(reader, message.stored, message.signature) is not None
    )


def is_followed(room: RoomName, active: RoomName | None) -> bool:
    """Whether everything of a room is shown, not only what mentions us."""
    return room == active or is_direct(room)


def _is_receipt(message: Message) -> bool:
    # A receipt reports on work; it must not start any (protocol 7).
    return any(isinstance(part, TaskPart) for part in message.parts)


def _folded(text: str) -> str:
    return text.strip().casefold()
