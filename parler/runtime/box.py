"""The messages of one room that wait for the model, in the order of the room.

Pure bookkeeping: which may be shown now, and up to which number all were shown, so that
the hub may be told. Nothing is fetched, shown or acknowledged here.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from parler.runtime.entry import Entry, Mark
from parler.wake.spool import Item
from parler.wire.base import RoomName, Seq

MAX_ENTRIES = 400
"""Messages of one room kept here; the rest stays on the hub until these were taken."""


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

    def emptied(self) -> "Box":
        """The same room with nothing fetched."""
        return replace(self, entries=deque(), fetched=None, more=False)

    @property
    def full(self) -> bool:
        """Whether nothing more should be fetched now."""
        return len(self.entries) >= MAX_ENTRIES

    def items(self) -> Iterator[Item]:
        """All that is to be shown some time."""
        return (entry.item for entry in self.entries if entry.item)

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

    def settle(self, shown: Collection[Mark]) -> None:
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
