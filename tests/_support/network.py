"""Two machines on one wire: network namespaces of our own, without being root.

They end with the processes that hold them; nothing of the real network is touched.
"""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests._support.polling import WAIT
from tests._support.processes import Done, environment

_HOLD = "echo ready; exec sleep 600"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: an address, a home, and commands that run there."""

    holder: int
    address: str
    folder: Path

    @property
    def home(self) -> Path:
        """Where its user's Parler files are."""
        return self.folder / ".parler"

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Done:
        """Run a Parler command to its end."""
        return self.run([sys.executable, "-m", "parler", *arguments], stdin, variables)

    def python(self, program: str) -> Done:
        """Run a Python program to its end."""
        return self.run([sys.executable, "-c", program])

    def typed(self, *arguments: str, answers: dict[str, str]) -> tuple[int, str]:
        """Run a Parler command at a terminal, where somebody answers its questions.

        Args:
            answers: What is typed once the screen shows the words.

        Returns:
            Its exit status and all that was on the screen.
        """
        master, slave = pty.openpty()
        command = [*_inside(self.holder), sys.executable, "-m", "parler", *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(self.folder, TERM="xterm", COLUMNS="120"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        screen = ""
        waiting = dict(answers)
        try:
            while chunk := _shown(master):
                screen += chunk
                for words in [one for one in waiting if one in screen]:
                    os.write(master, f"{waiting.pop(words)}\n".encode())
            return process.wait(WAIT), screen
        finally:
            process.kill()
            process.wait(WAIT)
            os.close(master)

    def run(
        self, command: list[str], stdin: str = "", more: dict[str, str] | None = None
    ) -> Done:
        """Run any program to its end."""
        done = subprocess.run(
            [*_inside(self.holder), *command],
            cwd=self.folder,
            env=environment(self.folder, **(more or {})),
            input=stdin.encode(),
            capture_output=True,
            timeout=WAIT,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def two_machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines in 192.168.77.0/24 that reach each other and nobody else."""
    with _held(["unshare", "-Urn"]) as one, _held(_user(one), "unshare", "-n") as two:
        _ip(one, "link", "add", "lan0", "type", "veth", "peer", "lan0", "netns", two)
        machines = []
        for number, holder in enumerate((one, two), start=1):
            address = f"192.168.77.{number}"
            _ip(holder, "addr", "add", f"{address}/24", "dev", "lan0")
            _ip(holder, "link", "set", "lo", "up")
            _ip(holder, "link", "set", "lan0", "up")
            home = folder / f"machine-{number}"
            home.mkdir(mode=0o700)
            machines.append(Machine(holder, address, home))
        yield machines[0], machines[1]


def _shown(master: int) -> str:
    ready, _, _ = select.select([master], [], [], WAIT)
    assert ready, "the terminal stays silent"
    try:
        return os.read(master, 65_536).decode("utf-8", "replace")
    except OSError:  # the last one at the other end is gone
        return ""


@contextmanager
def _held(words: list[str], *more: str) -> Iterator[int]:
    process = subprocess.Popen(
        [*words, *more, "sh", "-c", _HOLD],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _user(holder: int) -> list[str]:
    return ["nsenter", "--preserve-credentials", "-t", str(holder), "-U"]


def _inside(holder: int) -> list[str]:
    return [*_user(holder), "-n"]


def _ip(holder: int, *words: object) -> None:
    command = [*_inside(holder), "ip", *map(str, words)]
    subprocess.run(command, check=True, timeout=WAIT)
