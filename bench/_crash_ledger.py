"""What agents saw while a hub crashed, and what is wrong with it afterwards.

Pure bookkeeping: nobody here talks to a hub. Every count of `Verdict` must be zero,
since it counts something that a hub promised would never happen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import NamedTuple

from parler.wire.base import AgentId, RoomName


class Said(NamedTuple):
    """A message as the bench knows it: whose it is, and which of its author."""

    author: AgentId
    number: int


class Line(NamedTuple):
    """A message where it stands in the log."""

    seq: int
    said: Said


@dataclass(slots=True, kw_only=True)
class Reading:
    """What one reader got of one room."""

    seen: dict[int, Said] = field(default_factory=dict)
    acked: int = 0
    """The cursor whose storage was confirmed to the reader."""
    redelivered: int = 0
    redelivered_after_ack: int = 0
    invalid: int = 0

    def take(self, line: Line, *, valid: bool) -> None:
        """Note one message of a batch."""
        self.invalid += not valid
        if line.seq <= self.acked:
            self.redelivered_after_ack += 1
        elif line.seq in self.seen:
            self.redelivered += 1  # allowed: nobody had confirmed the ack
        self.seen.setdefault(line.seq, line.said)

    def confirm(self, cursor: int) -> None:
        """Note that the hub has stored this cursor."""
        self.acked = max(self.acked, cursor)


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Everything that was said, confirmed and read."""

    sent: int = 0
    acknowledged: dict[RoomName, dict[Said, int]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    refused: Counter[str] = field(default_factory=Counter)
    readings: dict[tuple[AgentId, RoomName], Reading] = field(
        default_factory=lambda: defaultdict(Reading)
    )
    cursor_back: int = 0

    @property
    def confirmed(self) -> int:
        """How many messages were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def compare_cursor(self, reader: AgentId, room: RoomName, stored: int) -> None:
        """Hold a stored cursor against the one that was confirmed."""
        self.cursor_back += stored < self.readings[reader, room].acked


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How often each promise was broken."""

    lost: int
    """Acknowledged, and not in the log."""
    misplaced: int
    """Acknowledged under another position than it has."""
    duplicated: int
    reordered: int
    """Stands before an earlier message of the same author."""
    cursor_back: int
    """A stored cursor was below one that had been confirmed."""
    skipped: int
    """In the log, and never seen by a reader that follows."""
    redelivered_after_ack: int
    vanished: int
    """Seen by a reader, and not, or not so, in the log."""
    invalid: int
    """Read with a signature that does not hold."""
    unconfirmed: int
    """Sent, and neither acknowledged although the hub was back."""

    @property
    def ok(self) -> bool:
        """Whether all promises were kept."""
        return not any(getattr(self, count.name) for count in fields(self))


def judge(ledger: Ledger, logs: Mapping[RoomName, list[Line]]) -> Verdict:
    """Hold what was seen against the logs as they are in the end."""
    lost = misplaced = duplicated = reordered = skipped = vanished = 0
    for room, log in logs.items():
        places: dict[Said, list[int]] = defaultdict(list)
        for line in log:
            places[line.said].append(line.seq)
        duplicated += sum(len(seqs) - 1 for seqs in places.values())
        reordered += _reordered(log)
        for said, seq in ledger.acknowledged[room].items():
            lost += said not in places
            misplaced += said in places and seq not in places[said]
        stored = dict(log)
        for (_, read), reading in ledger.readings.items():
            if read == room:
                skipped += len(stored.keys() - reading.seen.keys())
                vanished += len(reading.seen.items() - stored.items())
    readings = ledger.readings.values()
    return Verdict(
        lost=lost,
        misplaced=misplaced,
        duplicated=duplicated,
        reordered=reordered,
        cursor_back=ledger.cursor_back,
        skipped=skipped,
        redelivered_after_ack=sum(r.redelivered_after_ack for r in readings),
        vanished=vanished,
        invalid=sum(reading.invalid for reading in readings),
        unconfirmed=ledger.sent - ledger.confirmed,
    )


def _reordered(log: Iterable[Line]) -> int:
    by_author: dict[AgentId, list[int]] = defaultdict(list)
    for _, said in sorted(log):
        by_author[said.author].append(said.number)
    return sum(
        one > next_
        for numbers in by_author.values()
        for one, next_ in pairwise(numbers)
    )
