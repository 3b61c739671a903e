"""The log of a room as one member has it, and what it says of an entry.

The values that `reader` and `store` hand each other: `Log` is what a reader keeps and
asks, and is implemented in `store`. Nothing here computes or decides.

Rows are counted from 1 in the order in which this client took them. The position of a
row is what all members count, from the genesis on: `base` more than the row, once this
client knows where it is in the log.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from parler.sealed.crypto import Secret
from parler.sealed.formats import Plaintext, Verdict
from parler.sealed.state import SignedState
from parler.wire.base import AgentId, Millis, Seq
from parler.wire.records import StoredMessage


class Alarm(StrEnum):
    """A contradiction between signed messages: of the hub, or of who states it."""

    WITHHELD = "withheld"
    FORK = "fork"
    TWO_ORDERS = "two orders"
    REPLAY = "replay"
    TWO_COPIES = "two copies"
    WRONG_KEY = "wrong key"
    REPLACED = "replaced"
    OTHER_ROOM = "other room"
    DOWNGRADE = "downgrade"


class Place(StrEnum):
    """What became of a state."""

    CURRENT = "current"
    PAST = "past"
    LOST = "lost"
    """It was valid, and another one came before it."""

    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class KnownState:
    """A state, and the rows in which it was current.

    `made` is None of one that was never current; `until` is None while it is.
    """

    place: Place
    made: SignedState | None
    until: int | None


@dataclass(frozen=True, slots=True)
class LastWord:
    """The newest of an author's messages that are numbered."""

    n: int
    digest: bytes
    row: int


@dataclass(slots=True, kw_only=True)
class Position:
    """How far a room has been read, and who it is."""

    room_id: str | None = None
    owner: AgentId | None = None
    owner_left: bool = False
    current: str | None = None
    """The hash of the current state."""

    admission: str | None = None
    """The state that let us in, if we entered in the middle and have yet to meet it."""

    whole: bool = True
    """Whether we have it from its genesis on."""

    admitted: bool = False
    """Whether we are or were a member."""

    seq: Seq = 0
    rows: int = 0
    base: int | None = None
    head: bytes | None = None
    gap: int = 0
    """The last row before messages that the hub no longer has."""

    asked_at: Millis | None = None
    """When we last asked for keys, or for a state."""

    anew: bool = False
    """Whether we were a member before what we can see, so that our messages are counted
    anew and we have to say so."""

    lacks: str | None = None
    """A state that a member has written under, and that we were not shown."""

    lacks_row: int = 0
    """Where that was."""

    lacks_since: Millis | None = None

    @property
    def aligned(self) -> bool:
        """Whether we know where we are in the log that all members count."""
        return self.base is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row as it is kept."""

    row: int
    message: StoredMessage
    digest: bytes
    head: bytes | None
    verdict: Verdict
    uid: str | None = None
    """Of a genuine signature only."""

    n: int | None = None
    epoch: int | None = None
    """Whose key it waits for, or was opened with."""

    old_key: bool = False
    written: Millis | None = None
    """When its author says that it was; signed."""

    plain: Plaintext | None = field(default=None, repr=False)


class Log(Protocol):
    """What a member keeps of a room. Whoever calls holds one transaction around it."""

    position: Position

    def state(self, name: str) -> KnownState | None:
        """A state by its hash."""

    def add_state(self, name: str, place: Place, made: SignedState | None) -> None:
        """Keep a state that is not current, or its name alone."""

    def advance(self, made: SignedState, row: int) -> None:
        """Make a state the current one, from a row on."""

    def commitment(self, epoch: int) -> str | None:
        """What a state that is or was current says of the key of an epoch."""

    def epoch_keys(self) -> dict[int, Secret]:
        """All keys, by epoch."""

    def add_key(self, epoch: int, key: Secret, granter: AgentId) -> None:
        """Keep a key for good."""

    def has(self, author: AgentId, uid: str) -> bool:
        """Whether an author's message is there."""

    def last_word(self, author: AgentId) -> LastWord | None:
        """The newest numbered message of an author."""

    def numbered(self, author: AgentId, n: int) -> int | None:
        """The row of an author's message of a number."""

    def note_word(self, author: AgentId, word: LastWord) -> None:
        """Take a message for the newest of its author."""

    def row(self, row: int) -> tuple[bytes | None, bytes] | None:
        """The head and the digest of a row."""

    def rows_by_prefix(self, prefix: bytes, after: int) -> list[int]:
        """At most two rows behind one whose digests begin like that."""

    def set_heads(self, heads: list[tuple[int, bytes]]) -> None:
        """Fill in the heads of rows that were read before we were aligned."""

    def append(self, entry: Entry) -> None:
        """Keep a row."""

    def shut(self, epoch: int) -> list[Entry]:
        """What was not opened for want of a key, in log order.

        Also what was before our time: somebody may come back, with more than before.
        """

    def unplaced(self) -> list[Entry]:
        """What was written under states that we do not know, in log order."""

    def settle(self, entry: Entry) -> None:
        """Keep what became of a row that was shut, or could not be placed."""

    def shut_before(self, epoch: int) -> None:
        """Of what waits, give up what belongs to earlier epochs."""

    def alarm(self, kind: Alarm, row: int, other: int | None, agent: AgentId) -> None:
        """Keep a contradiction, with the rows that show it, and whose word it is."""
