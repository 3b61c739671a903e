"""What waits for the model in each room, and up to where it was given it.

Pure bookkeeping over messages in the order of their room. Nothing is fetched, shown or
acknowledged here; it is only said what may be.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from parler.client.messages import Message
from parler.identity.identity import AttentionPolicy
from parler.identity.message_signing import Signature
from parler.text.transcript import Reader, handoff_for
from parler.text.untrusted import quoted_message
from parler.wake.attention import Verdict, address_of, is_direct, judge
from parler.wake.spool import Item
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.parts import TaskPart

RECAP = "📋 session context"
"""How the message starts with which a session is opened (protocol 7)."""

MAX_ENTRIES = 400
"""Messages of one room kept here; the rest stays on the hub until these were taken."""

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


@dataclass(slots=True)
class Box:
    """One room that is followed."""

    room: RoomName
    entries: deque[Entry] = field(default_factory=deque)
    fetched: Seq | None = None
    """Up to where messages were fetched; None before the first time."""

    more: bool = False
    """There are others on the hub that had no place here."""

    claimed: Seq = 0
    """Up to here they are on their way to the model by another path."""

    taken: Seq = 0
    """Up to here the model has them, by another path."""

    due: Seq = 0
    """What the hub should be told."""

    skip: tuple[Seq, Seq] | None = None
    """Between these two, a backlog is left out, and it is said so."""

    def add(self, entry: Entry) -> None:
        """The next message."""
        self.entries.append(self._as_shown(entry))
        self.fetched = entry.seq

    def leave_out(self, skip: tuple[Seq, Seq]) -> None:
        """Do not show what is between these two."""
        self.skip = skip
        self.entries = deque(self._as_shown(entry) for entry in self.entries)

    @property
    def full(self) -> bool:
        """Whether nothing more should be fetched now."""
        return len(self.entries) >= MAX_ENTRIES

    def offered(self, *, everything: bool = False) -> Iterator[Item]:
        """What may be shown: up to the last message that may interrupt.

        A message that may not comes with the next one of its room that may, since
        nothing behind it could be acknowledged otherwise.

        Args:
            everything: The agent asked for what is in this room.
        """
        waiting = [
            entry
            for entry in self.entries
            if entry.item and entry.seq > max(self.claimed, self.taken)
        ]
        while waiting and not everything and not waiting[-1].wakes:
            waiting.pop()
        yield from (entry.item for entry in waiting if entry.item)

    def held(self) -> int:
        """How many wait that may not interrupt."""
        return len(list(self.offered(everything=True))) - len(list(self.offered()))

    def settle(self, shown: Collection[tuple[str, int, str]]) -> None:
        """Drop what the model has, and note up to where the hub may be told.

        Args:
            shown: The marks of items that were shown.
        """
        while self.entries:
            entry = self.entries[0]
            if entry.item and entry.seq > self.taken and entry.item.mark not in shown:
                break
            self.due = max(self.due, entry.seq)
            self.entries.popleft()
        if not self.entries:
            # Taken by another path, up to a point that was never fetched here.
            self.due = max(self.due, self.taken)

    def _as_shown(self, entry: Entry) -> Entry:
        left_out = self.skip and self.skip[0] < entry.seq < self.skip[1]
        return Entry(seq=entry.seq) if left_out else entry

    def forget_before(self, seq: Seq) -> None:
        """Drop what another program of this identity has read."""
        while self.entries and self.entries[0].seq < seq:
            self.entries.popleft()


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
    if message.author.id == reader.agent or message.signature is Signature.INVALID:
        return False
    address = address_of(message.stored, message.signature, reader)
    if judge(policy, address) is not Verdict.WAKE:
        return False
    called = {_folded(one) for one in message.stored.mentions or []}
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
