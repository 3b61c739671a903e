"""A real hub in a small machine: little memory, few descriptors, one core.

What an attacker of resources is measured against. Numbers are read from the kernel, not
from the hub.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT, environment

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the hub's process may use, as in `fly.toml`."""

    memory: int = 512 * MIB
    """Bytes it may have of its own: the heap and the stacks (RLIMIT_DATA)."""

    files: int = 1536
    """Open files and sockets (RLIMIT_NOFILE)."""

    core: int = min(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedHub:
    """A hub that runs within limits."""

    url: str
    pid: int
    limits: Limits
    log: Path

    @property
    def address(self) -> str:
        """``host:port`` it listens on."""
        return self.url.removeprefix("ws://")

    @property
    def resident(self) -> int:
        """Bytes of memory it has now."""
        return self._status("VmRSS")

    @property
    def resident_peak(self) -> int:
        """Bytes of memory it had at most."""
        return self._status("VmHWM")

    @property
    def open_files(self) -> int:
        """Files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in lines.splitlines())
        return int(fields[name].split()[0]) * 1024


@contextmanager
def limited_hub(
    folder: Path, *flags: str, limits: Limits | None = None
) -> Iterator[LimitedHub]:
    """A hub on a free loopback port, with its database in `folder`."""
    limits = limits or Limits()
    ready, log = folder / "ready.json", folder / "hub.log"
    command = ["prlimit", f"--data={limits.memory}", f"--nofile={limits.files}", "--"]
    command += ["taskset", "-c", str(limits.core), sys.executable, "-m", "parler"]
    command += ["hub", "--addr", "127.0.0.1:0", "--db", str(folder / "hub.sqlite")]
    command += ["--ready-file", str(ready), *flags]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        url = _listening(process, ready, log)
        yield LimitedHub(url=url, pid=process.pid, limits=limits, log=log)
    finally:
        process.terminate()
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)


def _listening(process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> str:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            return str(json.loads(ready.read_text(encoding="utf-8"))["url"])
        except (FileNotFoundError, json.JSONDecodeError):
            pass
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise AssertionError(f"the hub did not come up:\n{said}")
