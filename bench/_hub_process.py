"""A hub as a child process: started, killed, stopped, and what it cost so far.

It knows flags, signals and /proc, and nothing of what a hub says.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WAIT_SECS = 120.0
"""What takes longer hangs, on however busy a machine."""

UNLIMITED = (
    "--max-ops-per-min=0",
    "--max-sends-per-min=0",
    "--max-room-sends-per-min=0",
    "--max-http-per-min=0",
    "--idle-timeout-secs=0",
    "--max-connections=20000",
    "--log-level=warning",
)
"""No rate limit of the hub stands in the way of a load."""


UNSYNCED = (
    "-c",
    "from hub import app; from hub.store import engine; engine._PRAGMAS += "
    "('synchronous = NORMAL',); raise SystemExit(app.main())",
)
"""A program that is the hub but for this: it acknowledges what is not synced."""


class HubFailed(RuntimeError):
    """The hub did not start or ended by itself; the text has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used so far."""

    cpu_secs: float
    rss_kib: int


class HubProcess:
    """One hub on one database and one port, through as many lives as it is given."""

    def __init__(
        self,
        db: Path,
        run_dir: Path,
        *,
        core: int | None = None,
        program: Sequence[str] = ("-m", "hub"),
        flags: Sequence[str] = UNLIMITED,
        limits: Mapping[int, int] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            db: The database file.
            run_dir: A folder for the ready file and the log, made if it is missing.
            core: The processor to pin the hub to.
            program: What Python runs.
            flags: What the hub is told beside where it is.
            limits: Of the system, by its constant `RLIMIT_`.
        """
        self.database = db
        run_dir.mkdir(parents=True, exist_ok=True)
        self._ready = run_dir / "ready.json"
        self._log = run_dir / "hub.log"
        self._core = core
        self._program = program
        self._flags = flags
        self._limits = limits or {}
        self._port = 0
        self._child: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """The process of the present life."""
        assert self._child is not None, "start the hub first"
        return self._child.pid

    def start(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the hub and wait until it listens.

        Raises:
            HubFailed: It does not.
        """
        self.launch(environment=environment)
        self.wait_until_ready()

    def launch(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the hub, on the port of its first life, and do not wait for it."""
        self._ready.unlink(missing_ok=True)
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PARLER_")}
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    *self._program,
                    f"--addr=127.0.0.1:{self._port}",
                    f"--db={self.database}",
                    f"--ready-file={self._ready}",
                    *self._flags,
                ],
                env={**plain, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for which, limit in self._limits.items():  # before Python has even started
            resource.prlimit(self._child.pid, which, (limit, limit))
        if self._core is not None:
            os.sched_setaffinity(self._child.pid, {self._core})

    def wait_until_ready(self) -> None:
        """Return when the hub listens.

        Raises:
            HubFailed: It ended, or took too long.
        """
        assert self._child is not None, "launch the hub first"
        deadline = time.monotonic() + WAIT_SECS
        while not self._ready.exists():
            if self._child.poll() is not None or time.monotonic() > deadline:
                status = self._child.poll()
                self.kill()
                raise HubFailed(f"the hub did not start ({status}):\n{self._tail()}")
            time.sleep(0.005)
        self.url = json.loads(self._ready.read_text(encoding="utf-8"))["url"]
        self._port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """End the present life by SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(WAIT_SECS)

    def check_alive(self) -> None:
        """Raise `HubFailed` if the hub ended although nobody ended it."""
        if self._child is not None and self._child.poll() is not None:
            status = self._child.returncode
            raise HubFailed(f"the hub ended by itself ({status}):\n{self._tail()}")

    def stop(self) -> int:
        """Ask the hub to end, and return its exit status; one that hangs is killed."""
        assert self._child is not None, "start the hub first"
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(WAIT_SECS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def usage(self) -> Usage:
        """Processor time and memory of the present life, from /proc."""
        return process_usage(self.pid)

    def complaints(self) -> list[str]:
        """What the hub logged as an error, in all its lives."""
        if not self._log.exists():
            return []
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if " ERROR " in line]

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]


def process_usage(pid: int) -> Usage:
    """What a process, with all its threads, has used so far."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, see proc(5)
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    rss = status.partition("VmRSS:")[2].split()[0]
    return Usage(cpu_secs=ticks / os.sysconf("SC_CLK_TCK"), rss_kib=int(rss))
