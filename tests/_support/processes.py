"""Real `parler` processes: a hub that can be killed, and agents with their own homes.

Every wait is bounded and ends with the process it waits for.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests._support import warm
from tests._support.polling import WAIT

CHECKOUT = Path(__file__).resolve().parents[2]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """This process's environment without our own settings, at home in `folder`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PARLER_", "CLAUDE", "CODEX", "CONDUCTOR"))
    }
    return kept | {"HOME": str(folder), "PYTHONPATH": str(CHECKOUT)} | variables


class HubProcess:
    """A hub with a durable database on a loopback port it keeps over restarts."""

    def __init__(
        self,
        folder: Path,
        *,
        in_memory: bool = False,
        address: str = "127.0.0.1:0",
        plain: bool = False,
        **variables: str,
    ) -> None:
        """Start it; `plain` is without our extensions."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "hub.sqlite"
        self._variables = variables
        self._in_memory = in_memory
        self._program = "tests._support.plain_hub" if plain else "parler"
        self._address = address
        self._process: warm.WarmProcess | subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://{self._address}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", self._program, "hub", "--addr", self._address]
        command += ["--ready-file", str(ready)]
        if not self._in_memory:
            command += ["--db", str(self.database)]
        with (
            Path(os.devnull).open("rb") as nothing,
            (self.folder / "hub.log").open("ab") as log,
        ):
            self._process = warm.start(
                command,
                cwd=self.folder,
                env=environment(self.folder, **self._variables),
                stdin=nothing.fileno(),
                stdout=log.fileno(),
                stderr=log.fileno(),
            )
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                url = json.loads(ready.read_text(encoding="utf-8"))["url"]
            except (FileNotFoundError, json.JSONDecodeError):
                self._pause()
            else:
                self._address = str(url).removeprefix("ws://")
                return
        raise RuntimeError("the hub was not ready in time")

    def open_files(self) -> int:
        """How many files and sockets it has open."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as its operator would."""
        self._end(signal.SIGTERM)

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Have it say nothing for a while, as if the network were gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(WAIT)
            self._process = None

    def _pause(self) -> None:
        assert self._process is not None
        try:
            status = self._process.wait(0.02)
        except subprocess.TimeoutExpired:
            return
        raise RuntimeError(f"the hub ended with status {status}")


@contextmanager
def running_hub(
    folder: Path, *, plain: bool = False, **variables: str
) -> Iterator[HubProcess]:
    """A hub that is stopped when the block ends; `plain`, without our extensions."""
    hub = HubProcess(folder, plain=plain, **variables)
    try:
        yield hub
    finally:
        hub.stop()


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its result."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Its error, of a command with --json."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Agent:
    """Somebody with a home, a name and a shell."""

    def __init__(
        self, folder: Path, name: str, hub: str, role: str | None = None, **more: str
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.home = self.folder / ".parler"
        variables = {"PARLER_NAME": name, "PARLER_HUB": hub, **more}
        if role:
            variables["PARLER_ROLE"] = role
        self.environment = environment(self.folder, **variables)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run a command to its end."""
        done = warm.run(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=stdin,
            timeout=WAIT,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def running(self, *arguments: str) -> Iterator["Running"]:
        """Run a command that stays; it is ended with the block."""
        process = subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield Running(process)
        finally:
            process.kill()
            process.communicate()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "parler", *arguments]


class Running:
    """A command that stays; its output is read line by line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout
        assert process.stderr
        self.process = process
        self._buffers: dict[int, bytes] = {}
        self.stdout, self.stderr = process.stdout, process.stderr

    def until(self, words: str, stream: IO[bytes] | None = None) -> str:
        """Read stdout, or that stream, up to a line with these words."""
        source = (stream or self.stdout).fileno()
        read = ""
        deadline = time.monotonic() + WAIT
        while words not in read:
            read += self._line(source, deadline)
        return read

    def interrupt(self) -> int:
        """Press Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(WAIT)

    def _line(self, source: int, deadline: float) -> str:
        buffer = self._buffers.get(source, b"")
        while b"\n" not in buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([source], [], [], max(left, 0))
            assert ready, "the line did not come in time"
            more = os.read(source, 65536)
            assert more, "the command ended"
            buffer += more
        line, _, self._buffers[source] = buffer.partition(b"\n")
        return line.decode() + "\n"
