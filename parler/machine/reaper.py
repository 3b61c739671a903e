"""A small program between a worker and the program it runs: no process is left over.

It is run by path, alone, and imports nothing of ours. It ends all processes below
itself when their program has ended, when it is told to, and when the worker is gone,
even killed: the worker holds the other end of a pipe. On Linux it adopts orphans, so
that also a process that made a session of its own is found; elsewhere only the
program's process group is. It ends with the program's exit status, or 128 and the
number of the signal that ended it.

    python reaper.py PIPE GRACE_SECS PROGRAM [ARGUMENT…]
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

CANNOT_RUN = 127
SWEEP_SECS = 5.0
"""How long killing what is left is repeated: a process may start others meanwhile."""

_POLL_SECS = 0.02
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_PROC = Path("/proc")


def main(arguments: list[str]) -> int:
    """Run the program to its end, or to the end of the worker's patience."""
    pipe, grace = int(arguments[0]), float(arguments[1])
    os.set_inheritable(pipe, False)
    adopting = _adopt_orphans()
    bell = _listen_for_children()
    child = _spawn(arguments[2:])
    _let_go_of_streams()
    status = _wait(child, pipe, bell)
    _end_all(child, grace=grace, adopting=adopting)
    return status


def _adopt_orphans() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _listen_for_children() -> int:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _heed)
    return reading


_told_to_stop = False


def _heed(number: int, _: object) -> None:
    global _told_to_stop
    if number != signal.SIGCHLD:
        _told_to_stop = True


def _spawn(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - what we are for
    except OSError as error:
        message = f"cannot run {command[0]}: {error.strerror}\n"
        os.write(2, message.encode("utf-8", "backslashreplace"))
    finally:
        os._exit(CANNOT_RUN)


def _let_go_of_streams() -> None:
    # Whoever reads the program's output sees its end when the program ends.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _wait(child: int, pipe: int, bell: int) -> int:
    """The program's exit status; 143 if it was not waited for."""
    while not _told_to_stop:
        status = _reap(child)
        if status is not None:
            return status
        ready, _, _ = select.select([pipe, bell], [], [])
        if bell in ready:
            os.read(bell, 4096)
        if pipe in ready:
            break
    return 128 + signal.SIGTERM


def _reap(wanted: int | None) -> int | None:
    """Take note of children that ended; the status of the wanted one, if it did."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _end_all(child: int, *, grace: float, adopting: bool) -> None:
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, SWEEP_SECS)):
        deadline = time.monotonic() + patience
        told: set[int] = set()
        while left := _left(child, adopting=adopting):
            for pid in left:
                # The second signal is repeated; a program is asked only once.
                if number == signal.SIGKILL or pid not in told:
                    _signal(pid, number)
                told.add(pid)
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECS)
            _reap(None)


def _left(child: int, *, adopting: bool) -> list[int]:
    """Processes below us that still run; negative is a process group."""
    if adopting:
        return _descendants(os.getpid())
    try:
        os.killpg(child, 0)
    except OSError:
        return []
    return [-child]


def _signal(pid: int, number: int) -> None:
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except OSError:
        return  # it has just ended, or is another user's by now


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_bytes()
        except OSError:
            continue
        state, parent = stat.rpartition(b")")[2].split()[:2]
        if state not in (b"Z", b"X"):
            parents[int(folder.name)] = int(parent)
    below = {root}
    found: list[int] = []
    while fresh := [
        pid for pid, up in parents.items() if up in below and pid not in below
    ]:
        below.update(fresh)
        found += fresh
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
