"""Which processes of this machine are meant, and whether they are still the same.

A process id alone proves nothing: it is given out again. Together with the moment its
process started, counted from the start of the machine and not by a clock that may
jump, it names one process. Standard library only on Linux, and fast: hooks use it.
"""

import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

MAX_CHAIN = 64
"""Ancestors that are looked at; nobody has more."""

_PROC = Path("/proc")
_MAX_COMMAND_BYTES = 4096
_MAX_ENVIRON_BYTES = 2**20
_INIT = 1
_DEAD = (b"Z", b"X", b"x")

RUNTIMES = frozenset({"node", "nodejs", "bun", "deno", "python", "python3"})
"""Programs whose first argument says what runs."""


class Process(NamedTuple):
    """One process: its id, and when it started, in the words of this machine."""

    pid: int
    started: str


class Seen(NamedTuple):
    """A process as it looks now."""

    process: Process
    parent: int
    program: str
    """What runs: the program's name, or that of the script a runtime runs."""

    name: str
    """What the system calls it: a program may name itself anew."""

    arguments: tuple[str, ...] = ()
    """What it was started with, as far as it shows."""


def process(pid: int) -> Process | None:
    """The process that has this id now; None if there is none that runs."""
    seen = _seen(pid, with_program=False)
    return seen.process if seen else None


def is_running(one: Process) -> bool:
    """Whether this very process runs, not a later one of the same id; in doubt it does.

    Doubt is a system that does not tell, for want of rights or of open files.
    """
    try:
        seen = _look(one.pid, with_program=False)
    except OSError:
        return True
    return seen is not None and seen.process == one


def ancestors(pid: int) -> list[Seen]:
    """The process and those above it, the nearest first; without the first of all."""
    return list(upward(pid))


def upward(pid: int) -> Iterator[Seen]:
    """As `ancestors`, each looked at when it is asked for."""
    seen_pids: set[int] = set()
    while pid > _INIT and len(seen_pids) < MAX_CHAIN and pid not in seen_pids:
        seen = _seen(pid, with_program=True)
        if seen is None:
            return
        seen_pids.add(pid)
        yield seen
        pid = seen.parent


def ancestor_variables(name: str, pid: int) -> list[str]:
    """A variable in the environments of the processes above, the nearest first."""
    found = [_variable(name, seen.process.pid) for seen in ancestors(pid)[1:]]
    return [value for value in found if value is not None]


def _variable(name: str, pid: int) -> str | None:
    if not sys.platform.startswith("linux"):
        return _variable_by_psutil(name, pid)
    try:
        with (_PROC / str(pid) / "environ").open("rb") as file:
            data = file.read(_MAX_ENVIRON_BYTES)
    except OSError:
        return None
    wanted = f"{name}=".encode()
    for entry in data.split(b"\0"):
        if entry.startswith(wanted):
            return entry.removeprefix(wanted).decode("utf-8", "replace")
    return None


def _variable_by_psutil(name: str, pid: int) -> str | None:
    import psutil

    try:
        return dict(psutil.Process(pid).environ()).get(name)
    except psutil.Error:
        return None


@cache
def machine() -> str:
    """A word for this run of this machine, in whose terms start times are told.

    Another container, another boot or another machine that shares the home has
    another: what is said there about process ids means nothing here.
    """
    if not sys.platform.startswith("linux"):
        return sys.platform
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return sys.platform
    return f"{boot.strip()} {space}"


def uptime_ms() -> int:
    """Milliseconds of this run of the machine, also asleep: no clock that is set."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    elapsed = time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)
    return elapsed // 1_000_000


def _seen(pid: int, *, with_program: bool) -> Seen | None:
    try:
        return _look(pid, with_program=with_program)
    except OSError:
        return None


def _look(pid: int, *, with_program: bool) -> Seen | None:
    """A process as it looks now, or None if none of this id runs.

    Raises:
        OSError: The system does not tell.
    """
    if pid <= 0:
        return None
    if not sys.platform.startswith("linux"):
        return _look_by_psutil(pid, with_program=with_program)
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
        command = b""
        if with_program:
            with (_PROC / str(pid) / "cmdline").open("rb") as file:
                command = file.read(_MAX_COMMAND_BYTES)
    except (FileNotFoundError, ProcessLookupError):
        return None
    before, _, after = stat.rpartition(b")")
    fields = after.split()
    if len(fields) < 20 or fields[0] in _DEAD:
        return None
    words = [word.decode("utf-8", "replace") for word in command.split(b"\0") if word]
    name = before.partition(b"(")[2].decode("utf-8", "replace")
    found = Process(pid, fields[19].decode())
    return Seen(found, int(fields[1]), *_names(name, words), tuple(words[1:]))


def _look_by_psutil(pid: int, *, with_program: bool) -> Seen | None:
    import psutil  # slow, and not needed on Linux

    try:
        found = psutil.Process(pid)
        if found.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        words = found.cmdline() if with_program else []
        name = found.name() if with_program else ""
        parent = found.ppid() if with_program else 0
        started = _started(found)
    except psutil.AccessDenied as denied:
        raise PermissionError(str(denied)) from denied
    except psutil.Error:
        return None
    return Seen(Process(pid, started), parent, *_names(name, words), tuple(words[1:]))


def _started(found: object) -> str:
    # The public time follows a clock that was set; this one does not.
    try:
        return repr(found._proc.create_time(monotonic=True))  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        return repr(found.create_time())  # type: ignore[attr-defined]


def _names(name: str, words: list[str]) -> tuple[str, str]:
    """What runs by its own word, and by the system's."""
    first = _stem(words[0]).lstrip("-") if words else _stem(name)  # a login shell
    if first.rstrip(".0123456789") not in RUNTIMES:
        return first, _stem(name)
    plain = [word for word in words[1:] if not word.startswith("-")]
    script = _stem(plain[0]) if plain else first
    return script, script


def _stem(word: str) -> str:
    base = word.replace("\\", "/").rpartition("/")[2].lower()
    for suffix in (".exe", ".js", ".mjs", ".cjs", ".py", ".cmd"):
        base = base.removesuffix(suffix)
    return base
