"""Who is about to change which files: advice among the agents of this machine.

A reservation belongs to a session. It goes by the repository and the path within, so
that work trees and clones agree, lasts for a while that is renewed as long as the
session lives, and ends with the session's host process. It stops nobody by itself: an
app's hook may ask `check_edit` before it edits a file.

`check_edit` runs before every edit, so this module is quick to import.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from parler.machine.processes import Process, ancestors, is_running, machine, uptime_ms
from parler.machine.workspace import workspace_of

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
    """On the clock of this run of the machine."""

    machine: str
    pid: int | None = None
    started: str | None = None

    @property
    def host(self) -> Process | None:
        """The process whose end ends it."""
        if self.pid is None or self.started is None:
            return None
        return Process(self.pid, self.started)

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

    def __init__(self, home: Path, *, uptime: Uptime = uptime_ms) -> None:
        """Use the file in the home that all agents share; nothing is read yet."""
        self._path = home / FILE_NAME
        self._uptime = uptime

    def all(self) -> list[Reservation]:
        """What is reserved now, the oldest first."""
        return _alive(_load(self._path), self._uptime())

    def add(
        self, wanted: Reservation, holder: Holder
    ) -> tuple[Reservation | None, list[Reservation]]:
        """Reserve, unless it overlaps with what another session holds.

        Returns the reservation, or None and what is in its way. The same files
        reserved again by the same session are reserved anew.
        """
        with self._changing() as held:
            others = [one for one in held if not _is_of(one, holder)]
            in_the_way = [one for one in others if overlap(one, wanted)]
            if in_the_way or len(held) >= MAX_RESERVATIONS:
                return None, in_the_way
            held[:] = [
                one
                for one in held
                if one in others or (one.key, one.glob) != (wanted.key, wanted.glob)
            ]
            held.append(wanted)
            return wanted, []

    def renew(self, holder: Holder) -> None:
        """Let a session that lives keep what it holds."""
        now = self._uptime()
        if not any(_is_of(one, holder) for one in self.all()):
            return
        with self._changing() as held:
            held[:] = [
                replace(
                    one,
                    until=min(
                        max(one.until, now + one.for_ms), one.since + MAX_HELD_MS
                    ),
                )
                if _is_of(one, holder)
                else one
                for one in held
            ]

    def remove(self, wanted: Callable[[Reservation], bool]) -> list[Reservation]:
        """Give up those that are wanted; returns them."""
        with self._changing() as held:
            gone = [one for one in held if wanted(one)]
            held[:] = [one for one in held if one not in gone]
            return gone

    @contextmanager
    def _changing(self) -> Iterator[list[Reservation]]:
        from parler.machine.files import (  # slower than all the rest
            locked,
            write_private,
        )

        with locked(self._path):
            before = _load(self._path)
            held = _alive(before, self._uptime())
            others = _elsewhere(before, self._uptime())
            yield held
            if [*others, *held] != before:
                values = [asdict(one) for one in (*others, *held)]
                data = json.dumps({"reservations": values})
                write_private(self._path, data.encode("utf-8", "replace"))


def check_edit(
    path: Path,
    *,
    home: Path,
    agent: str | None = None,
    pid: int | None = None,
    uptime: Uptime = uptime_ms,
) -> Refusal | None:
    """Whether another live session has reserved a file that is about to be changed.

    Args:
        home: The home that all agents of this user share (`homes.machine_home`).
        agent: Who wants to edit, if that is known; counts where a reservation names
            no process.
        pid: A process below the session that wants to edit; else our own.
    """
    if not (home / FILE_NAME).exists():
        return None
    held = Reservations(home, uptime=uptime).all()
    if not held:
        return None
    ours = {seen.process for seen in ancestors(os.getpid() if pid is None else pid)}
    for key, name in _names_of(path):
        for one in held:
            mine = one.host in ours if one.host else one.agent == agent
            if one.key == key and not mine and one.covers(name):
                return Refusal(path=name, reservation=one, left_ms=one.until - uptime())
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


def _is_of(one: Reservation, holder: Holder) -> bool:
    if one.host is None or holder.host is None:
        return one.host == holder.host and one.agent == holder.agent
    return one.host == holder.host


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


def _alive(held: Sequence[Reservation], now: int) -> list[Reservation]:
    here = machine()
    return [
        one
        for one in held
        if one.machine == here
        and one.since <= now < one.until <= now + MAX_FOR_MS
        and (one.host is None or is_running(one.host))
    ]


def _elsewhere(held: Sequence[Reservation], now: int) -> list[Reservation]:
    """Those of other containers on this run of the machine: not ours to drop."""
    here = machine()
    boot = here.partition(" ")[0]
    return [
        one
        for one in held
        if one.machine != here
        and one.machine.partition(" ")[0] == boot
        and one.since <= now < one.until <= now + MAX_FOR_MS
    ]


def _load(path: Path) -> list[Reservation]:
    """What the file says; what it says wrongly is left out."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            value = json.loads(file.read(_MAX_BYTES))
        entries = value["reservations"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return []
    if not isinstance(entries, list):
        return []
    found = [_entry(fields) for fields in entries[:MAX_RESERVATIONS]]
    return [one for one in found if one is not None]


_TEXTS = ("id", "key", "project", "glob", "agent", "name", "why", "machine")
_NUMBERS = ("for_ms", "since", "until")


def _entry(fields: Any) -> Reservation | None:
    if not isinstance(fields, dict):
        return None
    texts: dict[str, Any] = {name: fields.get(name) for name in _TEXTS}
    numbers: dict[str, Any] = {name: fields.get(name) for name in _NUMBERS}
    pid, started = fields.get("pid"), fields.get("started")
    fits = (
        all(isinstance(value, str) for value in texts.values())
        and all(type(value) is int for value in numbers.values())
        and (pid is None or type(pid) is int)
        and (started is None or isinstance(started, str))
    )
    if not fits:
        return None
    return Reservation(**texts, **numbers, pid=pid, started=started)


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
