"""Who is about to change which files: advice among the agents of this machine.

A reservation belongs to a session. It goes by the repository and the path within, so
that work trees and clones agree, lasts for a while that is renewed as long as the
session lives, and ends with the session's host process. Whether a process of another
container or machine lives cannot be told: what such a session reserved ends by its age.
It stops nobody by itself: an app's hook may ask `check_edit` before it edits a file.

`check_edit` runs before every edit, so this module is quick to import.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from parler.apps.running import is_shared
from parler.errors import ConfigError
from parler.machine.processes import Process, ancestors, is_running, machine, uptime_ms
from parler.machine.workspace import workspace_of
from parler.peers.live_folder import live_folder

FILE_NAME = "reservations.json"
MAX_RESERVATIONS = 256
MAX_GLOB_CHARS = 512
MAX_WHY_CHARS = 300
MAX_PARTS = 64
MIN_FOR_MS = 60_000
MAX_FOR_MS = 24 * 3_600_000
MAX_HELD_MS = 24 * 3_600_000
"""However long the session lives, nothing is kept longer without asking again."""

_MAX_BYTES = 4 * 2**20
_WILD = frozenset("*?[")

Uptime = Callable[[], int]


def epoch_ms() -> int:
    """The time by the clock of this machine."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who reserves: an agent, and the process that its session lives in."""

    agent: str
    name: str
    host: Process | None
    """None: somebody at a terminal, whose reservation only time ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Files that somebody asked the others to leave alone for a while."""

    id: str
    key: str
    """The repository, or the folder where there is none."""

    project: str
    glob: str
    agent: str
    name: str
    why: str
    for_ms: int
    since: int
    until: int
    """As `since` on the clock of that run of the machine (`processes.uptime_ms`)."""

    machine: str
    pid: int | None = None
    started: str | None = None
    until_at: int = field(default=0, compare=False)
    """The same moment in epoch milliseconds, for other machines."""

    @property
    def host(self) -> Process | None:
        """The process whose end ends it."""
        if self.pid is None or self.started is None:
            return None
        return Process(self.pid, self.started)

    def is_of(self, above: Collection[Process], agent: str | None) -> bool:
        """Whether it belongs to the session of these processes, or to this agent.

        The agent has the last word where processes say nothing: at a terminal,
        elsewhere, and in a process that serves several windows.
        """
        here = self.machine == machine()
        if self.host is None or not here:
            return self.agent == agent and (here or bool(agent))
        return self.host in above and not _is_told_apart(self, agent)

    def left_ms(self, uptime: int, clock: int) -> int:
        """How long it lasts at the most; 0 or less if it is over."""
        end, now = self.until, uptime
        if _run(self.machine) != _run(machine()):
            end, now = self.until_at, clock
        elif self.since > uptime:
            return 0
        left = end - now
        return left if left <= MAX_FOR_MS else 0

    def covers(self, path: str) -> bool:
        """Whether a path within the repository is meant."""
        return _matches(_parts(self.glob), _parts(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file is reserved by another session that is alive."""

    path: str
    reservation: Reservation
    left_ms: int

    @property
    def text(self) -> str:
        """One line for an agent; the reason is its author's words."""
        held = self.reservation
        minutes = max(1, round(self.left_ms / 60_000))
        why = (
            f", who says: {json.dumps(held.why, ensure_ascii=False)}"
            if held.why
            else ""
        )
        return (
            f"{self.path} is reserved ({held.glob}) by the agent "
            f"{json.dumps(held.name, ensure_ascii=False)} for {minutes} more min{why}. "
            "Work on something else, or ask it: parler peers."
        )


class Reservations:
    """The reservations of this machine's agents; processes share the file."""

    def __init__(
        self, home: Path, *, uptime: Uptime = uptime_ms, clock: Uptime = epoch_ms
    ) -> None:
        """Nothing is read yet.

        Args:
            home: The machine home; an earlier version has its file there.
        """
        self._path, self._earlier = _paths(home)
        self._uptime = uptime
        self._clock = clock

    def all(self) -> list[Reservation]:
        """What is reserved now, the oldest first.

        Raises:
            ConfigError: It cannot be read.
        """
        return self._alive([one for found in self._files() for one in found])

    def left_ms(self, one: Reservation) -> int:
        """How long one of them lasts, unless it is renewed."""
        return one.left_ms(self._uptime(), self._clock())

    def _alive(self, held: Sequence[Reservation]) -> list[Reservation]:
        here = machine()
        return [
            one
            for one in held
            if self.left_ms(one) > 0
            and (one.host is None or one.machine != here or is_running(one.host))
        ]

    def add(
        self, wanted: Reservation, holder: Holder
    ) -> tuple[Reservation | None, list[Reservation]]:
        """Reserve, unless it overlaps with what another session holds.

        Returns the reservation, or None and what is in its way. The same files
        reserved again by the same session are reserved anew.

        Raises:
            ConfigError: What is reserved cannot be read, or written.
        """
        above = (holder.host,) if holder.host else ()
        with self._changing() as held:
            others = [one for one in held if not one.is_of(above, holder.agent)]
            in_the_way = [one for one in others if overlap(one, wanted)]
            if in_the_way or len(held) >= MAX_RESERVATIONS:
                return None, in_the_way
            held[:] = [
                one
                for one in held
                if one in others or (one.key, one.glob) != (wanted.key, wanted.glob)
            ]
            left = wanted.until - self._uptime()
            held.append(replace(wanted, until_at=self._clock() + left))
            return wanted, []

    def renew(self, holder: Holder) -> None:
        """Let a session that lives keep what it holds."""
        if not any(_is_held_by(one, holder) for one in self.all()):
            return
        with self._changing() as held:
            held[:] = [
                self._renewed(one) if _is_held_by(one, holder) else one for one in held
            ]

    def _renewed(self, one: Reservation) -> Reservation:
        now = self._uptime()
        until = min(max(one.until, now + one.for_ms), one.since + MAX_HELD_MS)
        return replace(one, until=until, until_at=self._clock() + until - now)

    def remove(self, wanted: Callable[[Reservation], bool]) -> list[Reservation]:
        """Give up those that are wanted; returns them."""
        with self._changing() as held:
            gone = [one for one in held if wanted(one)]
            held[:] = [one for one in held if one not in gone]
            return gone

    def _files(self) -> list[list[Reservation]]:
        """What our file says, and what only the earlier one does."""
        ours = _load(self._path)
        known = {one.id for one in ours}
        return [ours, [one for one in _load(self._earlier) if one.id not in known]]

    @contextmanager
    def _changing(self) -> Iterator[list[Reservation]]:
        from parler.machine.files import locked  # slower than all the rest

        with ExitStack() as stack:
            stack.enter_context(locked(self._path))
            if self._earlier.exists():
                stack.enter_context(locked(self._earlier))
            ours, theirs = self._files()
            held = self._alive([*ours, *theirs])
            yield held
            # What an earlier version reserved stays where that version looks for it.
            there = {one.id for one in theirs}
            _store(self._path, [one for one in held if one.id not in there], ours)
            _store(self._earlier, [one for one in held if one.id in there], theirs)


def _store(
    path: Path, after: Sequence[Reservation], before: Sequence[Reservation]
) -> None:
    from parler.machine.files import write_private

    if after != before:
        values = [asdict(one) for one in after]
        data = json.dumps({"reservations": values})
        write_private(path, data.encode("utf-8", "replace"))


def any_reserved(home: Path) -> bool:
    """Whether somebody has ever reserved anything; a quick look."""
    return any(path.exists() for path in _paths(home))


def check_edit(
    path: Path,
    *,
    home: Path,
    agent: str | None = None,
    pid: int | None = None,
    uptime: Uptime = uptime_ms,
    clock: Uptime = epoch_ms,
) -> Refusal | None:
    """Whether another live session has reserved a file that is about to be changed.

    Args:
        home: The home that all agents of this user share (`homes.machine_home`).
        agent: Who wants to edit, if that is known; counts where a reservation names
            no process.
        pid: A process below the session that wants to edit; else our own.

    Raises:
        ConfigError: What is reserved cannot be read.
    """
    reserved = Reservations(home, uptime=uptime, clock=clock)
    held = reserved.all()
    if not held:
        return None
    ours = {seen.process for seen in ancestors(os.getpid() if pid is None else pid)}
    for key, name in _names_of(path):
        for one in held:
            mine = one.is_of(ours, agent)
            if one.key == key and not mine and one.covers(name):
                left = reserved.left_ms(one)
                return Refusal(path=name, reservation=one, left_ms=left)
    return None


def place_of(glob: str, folder: Path) -> tuple[str, str, str]:
    """Repository key, project and pattern within it, for what was typed in a folder.

    Raises:
        ValueError: The pattern names nothing within the folder's repository.
    """
    workspace = workspace_of(folder)
    typed = glob.strip().replace("\\", "/")
    if not typed or len(typed) > MAX_GLOB_CHARS or "\0" in typed:
        raise ValueError(f"a pattern has 1 to {MAX_GLOB_CHARS} characters")
    base = "/" if typed.startswith("/") else f"{workspace.folder.as_posix()}/"
    parts: list[str] = []
    for part in PurePosixPath(base + typed).parts[1:]:
        if part == "..":
            if parts and "**" in parts[-1]:
                raise ValueError("a pattern does not go up again")
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    top = (
        workspace.top.as_posix().strip("/").split("/")
        if workspace.top.parts[1:]
        else []
    )
    if parts[: len(top)] != top or len(parts) == len(top):
        raise ValueError(f"{typed!r} names nothing within {workspace.top}")
    within = parts[len(top) :]
    if len(within) > MAX_PARTS:
        raise ValueError(f"a pattern has at most {MAX_PARTS} parts")
    return workspace.key, workspace.name, "/".join(within)


def overlap(one: Reservation, other: Reservation) -> bool:
    """Whether a path could be meant by both; in doubt, yes."""
    return one.key == other.key and _meet(_parts(one.glob), _parts(other.glob))


def _is_held_by(one: Reservation, holder: Holder) -> bool:
    """Whether it is this very session's, and so lives as long as that."""
    if one.machine != machine() or one.host != holder.host:
        return False
    if one.host is None:
        return one.agent == holder.agent
    return not _is_told_apart(one, holder.agent)


def _is_told_apart(one: Reservation, agent: str | None) -> bool:
    """Whether this is another agent, of whom one process of an app has several."""
    if not agent or one.agent == agent or one.host is None:
        return False
    return is_shared(one.host)


def _paths(home: Path) -> tuple[Path, Path]:
    """The file, and where an earlier version had it."""
    return live_folder(home) / FILE_NAME, home / FILE_NAME


def _run(machine: str) -> str:
    """Which run of which machine: what the containers on it share."""
    return machine.partition(" ")[0]


def _names_of(path: Path) -> Iterator[tuple[str, str]]:
    """Under which names a file may be reserved: as it is called, and where it leads."""
    seen = set()
    for one in (path, Path(os.path.realpath(path))):
        workspace = workspace_of(one.parent)
        try:
            within = (workspace.folder / one.name).relative_to(workspace.top).as_posix()
        except ValueError:
            continue
        if (workspace.key, within) not in seen:
            seen.add((workspace.key, within))
            yield workspace.key, within


def _load(path: Path) -> list[Reservation]:
    """What the file says; what it says wrongly is left out."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
            value = json.loads(file.read(_MAX_BYTES))
        entries = value["reservations"]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    if not isinstance(entries, list):
        return []
    found = [_entry(fields) for fields in entries[:MAX_RESERVATIONS]]
    return [
        one if one.until_at else replace(one, until_at=written + one.for_ms)
        for one in found
        if one is not None
    ]


_TEXTS = ("id", "key", "project", "glob", "agent", "name", "why", "machine")
_NUMBERS = ("for_ms", "since", "until")


def _entry(fields: Any) -> Reservation | None:
    if not isinstance(fields, dict):
        return None
    texts: dict[str, Any] = {name: fields.get(name) for name in _TEXTS}
    numbers: dict[str, Any] = {name: fields.get(name) for name in _NUMBERS}
    pid, started = fields.get("pid"), fields.get("started")
    until_at = fields.get("until_at", 0)
    fits = (
        all(isinstance(value, str) for value in texts.values())
        and all(type(value) is int for value in numbers.values())
        and (pid is None or type(pid) is int)
        and (started is None or isinstance(started, str))
        and type(until_at) is int
    )
    if not fits:
        return None
    return Reservation(**texts, **numbers, pid=pid, started=started, until_at=until_at)


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part][: 2 * MAX_PARTS]


def _matches(pattern: list[str], path: list[str]) -> bool:
    """Whether a pattern means a path; a folder's name means all that is below it."""
    # After each part of the path: how much of the pattern may be used up.
    at = _skip(pattern, {0})
    for part in path:
        if len(pattern) in at:
            return True
        step = {i for i in at if i < len(pattern) and pattern[i] == "**"}
        step |= {
            i + 1
            for i in at
            if i < len(pattern) and pattern[i] != "**" and fnmatchcase(part, pattern[i])
        }
        at = _skip(pattern, step)
    return len(pattern) in at


def _skip(pattern: list[str], at: set[int]) -> set[int]:
    for i in range(len(pattern)):
        if i in at and pattern[i] == "**":
            at.add(i + 1)
    return at


def _meet(one: list[str], other: list[str]) -> bool:
    """Whether two patterns may mean the same path."""
    at = {(0, 0)}
    while at:
        step: set[tuple[int, int]] = set()
        for i, j in at:
            if i == len(one) or j == len(other):
                rest = one[i:] or other[j:]
                ended = other if i < len(one) else one
                if all(part == "**" for part in rest) or _may_be_folder(ended):
                    return True
                continue
            for a, b, forward in ((one[i], other[j], 1), (other[j], one[i], 0)):
                if a == "**":
                    step.add((i + 1, j) if forward else (i, j + 1))
                    step.add((i, j + 1) if forward else (i + 1, j))
                elif b != "**" and _alike(a, b):
                    step.add((i + 1, j + 1))
        at = step
    return False


def _may_be_folder(pattern: list[str]) -> bool:
    """A folder's name means all below it; what has a suffix is taken for a file."""
    return not pattern or "." not in pattern[-1].strip(".")


def _alike(one: str, other: str) -> bool:
    if _WILD & set(one) and _WILD & set(other):
        return True
    return fnmatchcase(one, other) or fnmatchcase(other, one)
