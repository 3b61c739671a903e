"""What this identity took to do on its own: nothing is done twice, nothing is lost.

Two files lie in ``<home>/autonomous-replay/``, named by the hash of the agent id. The
first is the replay ledger of protocol 2.4, an array of ``author:uid`` that existing
clients read and write too. The second, ``….open.json``, is ours: tasks that were taken
and not finished, each with its phase.

A task is *reserved*, then *started* when its program is about to run, then *ended*
when its outcome is known, and leaves the second file when the outcome was told. Each
step is on disk before the next one begins, so after a crash the phase says what is
owed:

- not in the second file and not in the first: never taken. It is still unread or
  queued at the hub, and comes again.
- reserved: the program never ran. It is done now, as if nothing had been.
- started: the program ran, for a while or to its end; what it did to the world is
  unknown. It is never run again: the one who asked is told ``failed``, and why.
- ended: only telling is owed. The outcome is told again, under the same client id, so
  that the hub stores it once (protocol 5.2).
- only in the first file: finished. Whoever delivers it again is ignored.

The order of the two writes keeps this true between them. Taking writes the second
file first: a crash in between leaves a reserved task, never a finished one. Finishing
makes sure of the first file before it clears the second.

The first file holds the newest 16 384 only. What was signed before the oldest of them
may have been forgotten, so it is refused (`Standing.STALE`) instead of repeated. The
same horizon moves to now if the first file was damaged.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.machine.files import keep_copy, locked, read_bounded, write_private
from parler.wire.base import AgentId, MessageId, Millis, RoomName, Seq
from parler.wire.records import TaskStatus

FOLDER = "autonomous-replay"
MAX_TAKEN = 16_384
"""Keys the ledger keeps (protocol 2.4)."""

MAX_OPEN = 256
"""Unfinished tasks of one identity; more than that means that none ever ends."""

MAX_UID_BYTES = 200
"""Longest unique id of a message that is acted on; authors choose it freely."""

_GENERATION = MAX_TAKEN // 2
_MAX_TAKEN_BYTES = 16 * 2**20
_MAX_OPEN_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


class Phase(StrEnum):
    """How far an unfinished task is."""

    RESERVED = "reserved"
    STARTED = "started"
    ENDED = "ended"


class Standing(StrEnum):
    """What the ledger says of a task that is about to be taken."""

    NEW = "new"
    """It is reserved now."""

    OPEN = "open"
    """It was taken and is not finished."""

    DONE = "done"
    """It was finished."""

    STALE = "stale"
    """It is so old that it may have been finished and forgotten."""


class NextTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """To whom a finished task hands over, and for what."""

    to: str
    next: str
    summary: str | None = None
    hops: int = 0
    """How many workers will have handed it on (protocol 3.1 keeps such fields)."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a task ended: what is told to whoever asked."""

    status: TaskStatus
    text: str = ""
    note: str | None = None
    elapsed_ms: int | None = None
    then: NextTurn | None = None
    returns: bool = False
    """`then` is the turn of whoever asked, and goes with the receipt."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A task that was taken: a message, and how far it is."""

    key: str
    room: RoomName
    message: MessageId
    seq: Seq
    phase: Phase = Phase.RESERVED
    outcome: Outcome | None = None


class _Open(msgspec.Struct, kw_only=True):
    tasks: list[Entry] = []
    # Of what was taken: how many since the generation began, and the newest time that
    # was signed in this one, the one before, and all that came before those.
    count: int = 0
    newest: Millis = 0
    before: Millis = 0
    horizon: Millis = 0


def ledger_path(home: Path, agent: AgentId) -> Path:
    """The replay ledger of an agent (protocol 2.4)."""
    return home / FOLDER / f"{hashlib.sha256(agent.encode()).hexdigest()}.json"


class Ledger:
    """The two files of one identity. Any number of processes may share them."""

    def __init__(
        self, home: Path, agent: AgentId, *, now: Callable[[], Millis]
    ) -> None:
        """Use the files in `home`; nothing is read or written yet."""
        self._taken_path = ledger_path(home, agent)
        self._open_path = self._taken_path.with_suffix(".open.json")
        self._now = now

    def take(self, entry: Entry, *, signed: int) -> Standing:
        """Reserve a task unless it was taken before.

        Args:
            signed: When its author signed it, in epoch milliseconds.

        Raises:
            ConfigError: The files cannot be read or written. Nothing was reserved.
        """
        with self._locked():
            open_, taken = self._open(), self._taken()
            if any(one.key == entry.key for one in open_.tasks):
                return Standing.OPEN
            if entry.key in taken:
                return Standing.DONE
            open_ = self._open()  # a damaged ledger has moved the horizon
            if signed <= open_.horizon:
                return Standing.STALE
            if len(open_.tasks) >= MAX_OPEN:
                raise ConfigError(
                    f"{self._open_path} holds {MAX_OPEN} unfinished tasks",
                    next_step="run the workers of their rooms, which finish them",
                )
            open_.tasks.append(entry)
            _count(open_, signed)
            self._write_open(open_)
            self._write_taken([*taken, entry.key])
            return Standing.NEW

    def start(self, key: str) -> None:
        """Note that the program of a task is about to run."""
        self._change(key, phase=Phase.STARTED)

    def end(self, key: str, outcome: Outcome) -> Entry:
        """Note how a task ended; telling it is owed from now on."""
        return self._change(key, phase=Phase.ENDED, outcome=outcome)

    def finish(self, key: str) -> None:
        """Note that nothing is owed any more: it is never taken again."""
        with self._locked():
            taken = self._taken()
            if key not in taken:  # a crash came between the two writes of `take`
                self._write_taken([*taken, key])
            self._drop(key)

    def release(self, key: str) -> None:
        """Forget that a task was taken: it was not begun, or is somebody else's."""
        with self._locked():
            taken = self._taken()
            if key in taken:
                self._write_taken([one for one in taken if one != key])
            self._drop(key)

    def unfinished(self, room: RoomName) -> list[Entry]:
        """The tasks of a room that were taken and not finished, the oldest first."""
        with self._locked():
            return [entry for entry in self._open().tasks if entry.room == room]

    def _change(self, key: str, **changes: object) -> Entry:
        with self._locked():
            open_ = self._open()
            for index, entry in enumerate(open_.tasks):
                if entry.key == key:
                    changed = msgspec.structs.replace(entry, **changes)
                    open_.tasks[index] = changed
                    self._write_open(open_)
                    return changed
        raise ConfigError(f"{self._open_path} was changed by somebody else")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # "The same name .lock" (protocol 2.4) reads in two ways; both are held.
        with locked(self._taken_path.with_suffix("")), locked(self._taken_path):
            yield

    def _open(self) -> _Open:
        try:
            data = read_bounded(self._open_path, limit=_MAX_OPEN_BYTES)
            return msgspec.json.decode(data, type=_Open)
        except FileNotFoundError:
            return _Open()
        except (msgspec.DecodeError, UnicodeError):
            _keep_aside(self._open_path)
        fresh = _Open(horizon=self._now())
        self._write_open(fresh)
        return fresh

    def _taken(self) -> list[str]:
        try:
            data = read_bounded(self._taken_path, limit=_MAX_TAKEN_BYTES)
            return msgspec.json.decode(data, type=list[str])
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError):
            _keep_aside(self._taken_path)
        open_ = self._open()
        open_.horizon = max(open_.horizon, self._now())
        self._write_open(open_)
        self._write_taken([])
        return []

    def _write_open(self, open_: _Open) -> None:
        write_private(self._open_path, msgspec.json.encode(open_))

    def _write_taken(self, taken: list[str]) -> None:
        write_private(self._taken_path, msgspec.json.encode(taken[-MAX_TAKEN:]))

    def _drop(self, key: str) -> None:
        open_ = self._open()
        open_.tasks = [entry for entry in open_.tasks if entry.key != key]
        self._write_open(open_)


def _count(open_: _Open, signed: int) -> None:
    """Move the horizon so that it covers whatever the ledger may have forgotten."""
    if open_.count >= _GENERATION:
        open_.horizon = max(open_.horizon, open_.before)
        open_.before, open_.newest, open_.count = open_.newest, 0, 0
    open_.count += 1
    open_.newest = max(open_.newest, signed)


def _keep_aside(path: Path) -> None:
    copy = keep_copy(path)
    _log.warning("%s is damaged; it is kept as %s", path, copy.name)
