"""A hub in a process of its own that is killed at the n-th step it takes.

A step is whatever may change what a later hub finds: a call into SQLite by the writer,
a call that changes a file or a folder, a frame that leaves for a peer. They are counted
by the interpreter's own profiler, so the hub has no code for this and no step can be
forgotten when its code changes.
"""

import asyncio
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from tests._support.memory_hub import MemoryHub, memory_hub
from tests._support.polling import WAIT

FILES = frozenset(
    {"open", "mkdir", "write", "flush", "fsync", "rename", "replace", "unlink"}
)
SQL = frozenset({"execute", "executemany", "commit", "rollback"})

Act = Callable[[MemoryHub, Any, "Diary"], Awaitable[None]]
Check = Callable[[MemoryHub, Any, set[str]], Awaitable[None]]


class Steps:
    """Counts the steps of this process, and kills it at one of them."""

    def __init__(self, kill_at: int) -> None:
        self._kill_at = kill_at
        self._armed = False
        self._lock = threading.Lock()
        self.taken: list[str] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Watch all threads that are started from here on, and this one."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def arm(self) -> None:
        """What happens from now on counts."""
        self._armed = True

    def disarm(self) -> None:
        """It does no longer."""
        self._armed = False

    def take(self, name: str) -> None:
        """Note a step that is about to be taken."""
        with self._lock:
            self.taken.append(name)
            if len(self.taken) == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _see(self, frame: FrameType, event: str, arg: Any) -> None:
        if not self._armed:
            return
        if event == "c_call":
            owner = type(getattr(arg, "__self__", None)).__module__
            if arg.__name__ in SQL and owner == "sqlite3":
                if threading.current_thread().name == "writer":
                    self.take(arg.__name__)
            elif arg.__name__ in FILES and _is_ours(frame):
                self.take(arg.__name__)
        elif event == "call" and frame.f_code.co_name == "_deliver":
            self.take("reply")


def _is_ours(frame: FrameType) -> bool:
    path = Path(frame.f_code.co_filename)
    return "hub" in path.parts or path.name == "pathlib.py"


class Diary:
    """What the peers of a hub were told, in a file that survives its process."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self._path = path
        self._steps = steps

    def begin(self) -> None:
        """What the hub does from now on counts."""
        self._steps.arm()

    def note(self, text: str) -> None:
        """Write down what happened."""
        append(self._path, text)
        self._steps.take("noted")


def append(path: Path, text: str) -> None:
    """Add a line that is there even if the process is killed."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{text}\n".encode())
    os.close(handle)


def lines(path: Path) -> list[str]:
    """What was added."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _live(folder: Path, act: Act, state: Any, kill_at: int) -> None:
    """One life of a hub: from its start to its end by our hand, or by itself."""
    steps = Steps(kill_at)

    async def live() -> None:
        async with memory_hub(folder / "hub") as hub:
            await act(hub, state, Diary(folder / "diary", steps))
            steps.disarm()

    with steps.counting():
        asyncio.run(live())
    for name in steps.taken:
        append(folder / "steps", name)


def live_and_die(folder: Path, act: Act, state: Any, kill_at: int) -> bool:
    """Run one life in a process of its own; whether it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hub.app", act.__module__])
    process = context.Process(target=_live, args=(folder, act, state, kill_at))
    process.start()
    process.join(WAIT)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"step {kill_at} of {act.__name__} never came")
    assert process.exitcode in (0, -signal.SIGKILL), f"ended by {process.exitcode}"
    return process.exitcode == -signal.SIGKILL


async def die_at_every_step(
    folder: Path, prepared: Path, act: Act, check: Check, state: Any
) -> list[str]:
    """Kill a hub before each step of `act`, start another, and let `check` judge.

    Statements that follow each other leave the same behind when the hub dies: of such
    a run it dies before the last, when all the others were done and none committed.

    Returns:
        The steps, as a life without a death takes them.
    """

    async def judge(number: int) -> Path:
        place = folder / f"{number}"
        shutil.copytree(prepared, place / "hub")
        killed = await asyncio.to_thread(live_and_die, place, act, state, number)
        assert killed == (number > 0), f"step {number} never came"
        noted = set(lines(place / "diary"))
        async with memory_hub(place / "hub") as hub:
            try:
                await check(hub, state, noted)
            except BaseException as error:
                error.add_note(f"killed before step {number}, after {noted}")
                raise
        return place

    steps = lines(await judge(0) / "steps")
    for number, (step, following) in enumerate(pairwise([*steps, ""]), 1):
        if not step == following == "execute":
            await judge(number)
    return steps
