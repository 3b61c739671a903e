"""A command at a terminal: what it shows is read, and answers are typed."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests._support.processes import WAIT


class Terminal:
    """A running `parler` whose three streams are one terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", handle: int) -> None:
        self._process, self._handle = process, handle
        self.shown = ""
        """All that was shown so far."""
        self._read = 0

    def until(self, words: str) -> str:
        """Read up to these words; returns what came since those of the last call."""
        start = self._read
        deadline = time.monotonic() + WAIT
        while words not in self.shown[start:]:
            assert self._more(deadline), f"{words!r} was not shown: {self.shown}"
        self._read = self.shown.index(words, start) + len(words)
        return self.shown[start : self._read]

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        os.write(self._handle, f"{line}\n".encode())

    def end(self) -> int:
        """Read until it ends; returns its exit status."""
        deadline = time.monotonic() + WAIT
        while self._more(deadline):
            pass
        return self._process.wait(WAIT)

    def _more(self, deadline: float) -> bool:
        left = max(deadline - time.monotonic(), 0)
        ready, _, _ = select.select([self._handle], [], [], left)
        assert ready, f"nothing more was shown: {self.shown}"
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # the other end was closed
            return False
        self.shown += data.decode()
        return bool(data)


@contextmanager
def at_a_terminal(
    *arguments: str, cwd: Path, env: Mapping[str, str]
) -> Iterator[Terminal]:
    """Run a command of `parler` at a terminal; it is ended with the block.

    What it shows has no colour unless `env` asks for it.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "parler", *arguments],
        cwd=cwd,
        env={"NO_COLOR": "1", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(WAIT)
        os.close(ours)
