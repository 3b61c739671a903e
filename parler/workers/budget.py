"""How often this identity may start work on its own: per hour and per conversation.

The counts are on disk, so a restart does not renew them, and work that cannot be
counted is not started. Two agents that hand a turn back and forth stay within one
conversation: it is followed along the replies, and by the hops a handoff carries.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.machine.files import aside, locked, read_bounded, write_private
from parler.wire.base import AgentId, MessageId, Millis
from parler.workers.ledger import ledger_path

HOUR_MS = 3_600_000
MAX_PER_CONVERSATION = 8
"""Turns this identity takes in one conversation, ever."""

MAX_HOPS = 8
"""Handoffs from worker to worker, without a person, that are followed."""

_MAX_CONVERSATIONS = 2000
_MAX_LINKS = 8000
_MAX_COUNTED = 256
_MAX_BYTES = 16 * 2**20


class _Counts(msgspec.Struct):
    starts: list[Millis] = []
    turns: dict[str, int] = {}
    """By the message a conversation began with; the newest come last."""

    links: dict[str, str] = {}
    """To which conversation a message belongs."""

    counted: list[str] = []
    """The messages counted last, so that none is counted again after a crash."""


class Budget:
    """The counts of one identity. Any number of processes may share them."""

    def __init__(
        self,
        home: Path,
        agent: AgentId,
        *,
        per_hour: int,
        now: Callable[[], Millis],
        per_conversation: int = MAX_PER_CONVERSATION,
    ) -> None:
        """Use the file in `home`; nothing is read or written yet.

        Args:
            per_hour: Turns within any hour; 0 is no limit.
            per_conversation: Turns within one conversation; 0 is no limit.
        """
        self._path = ledger_path(home, agent).with_suffix(".budget.json")
        self._per_hour = per_hour
        self._per_conversation = per_conversation
        self._now = now

    def spend(self, message: MessageId, *, reply_to: str | None) -> str | None:
        """Count one turn; or say why there must be none.

        Raises:
            ConfigError: It cannot be counted.
        """
        with self._changing() as counts:
            if message in counts.counted:
                return None
            now = self._now()
            # Also a start in the future counts: a clock set back renews nothing.
            counts.starts = [at for at in counts.starts if at > now - HOUR_MS]
            root = counts.links.get(reply_to or "") or reply_to or message
            counts.links[message] = root
            if 0 < self._per_hour <= len(counts.starts):
                return f"this worker has used its {self._per_hour} turns of this hour"
            turns = counts.turns.pop(root, 0)
            counts.turns[root] = turns
            if 0 < self._per_conversation <= turns:
                return (
                    f"this worker has taken {turns} turns in this conversation; "
                    "a person has to begin a new one"
                )
            counts.turns[root] = turns + 1
            counts.counted = [*counts.counted, message][-_MAX_COUNTED:]
            if self._per_hour:
                counts.starts.append(now)
            return None

    def link(self, message: MessageId, *, reply_to: str) -> None:
        """Note that a message of ours goes on with a conversation."""
        with self._changing() as counts:
            counts.links[message] = counts.links.get(reply_to, reply_to)

    @contextmanager
    def _changing(self) -> Iterator[_Counts]:
        with locked(self._path):
            counts = self._read()
            yield counts
            _forget_oldest(counts.turns, _MAX_CONVERSATIONS)
            _forget_oldest(counts.links, _MAX_LINKS)
            write_private(self._path, msgspec.json.encode(counts))

    def _read(self) -> _Counts:
        try:
            data = read_bounded(self._path, limit=_MAX_BYTES)
            return msgspec.json.decode(data, type=_Counts)
        except FileNotFoundError:
            return _Counts()
        except (msgspec.DecodeError, UnicodeError):
            raise ConfigError(
                f"{self._path} is damaged: what was spent is not known",
                next_step=f"{aside(self._path)}; its counts begin anew",
            ) from None


def _forget_oldest(numbered: dict[str, int] | dict[str, str], limit: int) -> None:
    for key in list(numbered)[: max(0, len(numbered) - limit)]:
        del numbered[key]
