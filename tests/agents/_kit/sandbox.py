"""A scratch home and project folder in which real programs run, offline.

In it are a scripted model, a hub, agents that use `parler` in a shell, and whatever a
test starts. All of it ends with the sandbox, daemons included: a process is known by
the HOME in its environment. Every wait has a bound.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from parler.wake.spool import WAITING_FILE
from tests._support.polling import WAIT, eventually
from tests._support.processes import Done
from tests.agents._kit.network import private_network

HERE = Path(__file__).parent
PARLER = Path(sys.executable).with_name("parler")
TRIES, TRY_SECS = 24, 5.0
"""How often Enter is pressed, and how long a model may take to hear of it."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Started:
    """A program that runs, and where its output goes."""

    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path

    def wait(self, wait: float = WAIT) -> Done:
        """Its end."""
        try:
            status = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.output.name} runs on after {wait:g} s; it said {self.said()}"
            ) from None
        return Done(status, _text(self.output), _text(self.errors))

    def said(self) -> str:
        """What it has said so far."""
        return _text(self.output) + _text(self.errors)


class Ends:
    """Something to be closed with a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


class Sandbox(Ends):
    """Opened with `with`; `clis` is where npm put the agent CLIs."""

    def __init__(self, folder: Path, clis: Path) -> None:
        self.folder = folder
        self.home, self.project = folder / "home", folder / "project"
        self.logs, self._temporary = folder / "logs", folder / "tmp"
        self.path = [str(clis), *_tools(folder / "bin")]
        self.variables: dict[str, str] = {}
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        for place in (self.home, self.project, self.logs, self._temporary):
            place.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self.network = private_network(stack)
            stack.callback(self._sweep)
            self._stack = stack.pop_all()
        try:
            self.model = Model(self)
            self.run(["git", "init", "--quiet"])
        except BaseException:
            self._stack.close()
            raise
        return self

    def keeps(self, text: str) -> bool:
        """Whether this waits to be told to an agent of an app by its hooks."""
        waiting = (self.home / ".parler" / "agents").rglob(WAITING_FILE)
        return any(text in one.read_text(encoding="utf-8") for one in waiting)

    def close(self) -> None:
        """End all that runs in it."""
        self._stack.close()

    # -- programs

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of ours, but what a program needs to find its way here."""
        return {
            "HOME": str(self.home),
            "USER": "somebody",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PATH": os.pathsep.join(self.path),
            "TMPDIR": str(self._temporary),
            **self.network.variables,
            **self.variables,
            **more,
        }

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        variables: dict[str, str] | None = None,
        **streams: Any,
    ) -> "subprocess.Popen[bytes]":
        """Start a program that ends with the sandbox."""
        process = subprocess.Popen(
            [*self.network.enter, *map(str, command)],
            env=self.environment(**(variables or {})),
            cwd=cwd or self.project,
            start_new_session=True,
            **streams,
        )
        self._stack.callback(end, process)
        return process

    def log(self, name: str) -> Path:
        """A new file for what a program says."""
        self._count += 1
        return self.logs / f"{self._count:03}-{name}"

    def start(
        self,
        command: Sequence[str | Path],
        *,
        stdin: str = "",
        cwd: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> Started:
        """Start a program; through files, so a daemon it leaves holds nothing up."""
        log = self.log(Path(command[0]).name)
        given, out, err = (log.with_suffix(f".{name}") for name in ("in", "out", "err"))
        given.write_text(stdin, encoding="utf-8")
        with given.open("rb") as reads, out.open("wb") as says, err.open("wb") as warns:
            process = self.popen(
                command,
                cwd=cwd,
                variables=variables,
                stdin=reads,
                stdout=says,
                stderr=warns,
            )
        return Started(process, out, err)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        wait: float = WAIT,
        stdin: str = "",
        cwd: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> Done:
        """Run a program to its end, which must be a good one."""
        started = self.start(command, stdin=stdin, cwd=cwd, variables=variables)
        done = started.wait(wait)
        assert done.status == 0, f"{command}: {done.status}\n{done.err}{done.out}"
        return done

    def processes(self) -> list[psutil.Process]:
        """All that runs here."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def command_lines(self) -> list[list[str]]:
        """With what all that runs here was started."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                found.append(process.cmdline())
        return found

    def named(self, *names: str) -> list[psutil.Process]:
        """What runs here under one of these names, as a script or by itself."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                words = process.cmdline()[:2]
                if process.status() != psutil.STATUS_ZOMBIE and any(
                    Path(word).name in names for word in words
                ):
                    found.append(process)
        return found

    def _sweep(self) -> None:
        left = self.processes()
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=WAIT)
        assert not self.processes(), "something of the sandbox cannot be ended"

    # -- Parler

    def hub(self) -> str:
        """Start a hub; where it listens."""
        ready = self.folder / "hub.json"
        database = self.folder / "hub.sqlite"
        command = [str(PARLER), "hub", "--addr", "127.0.0.1:0", "--db", str(database)]
        hub = self.start([*command, "--ready-file", str(ready)], cwd=self.folder)

        def listens() -> str | None:
            assert hub.process.poll() is None, hub.said()
            with suppress(FileNotFoundError):
                return str(json.loads(ready.read_text(encoding="utf-8"))["url"])
            return None

        return str(eventually(listens, "hub"))

    def peer(self, name: str, hub: str, *, place: Path | None = None) -> "Peer":
        """Somebody with a shell and a home of Parler's own."""
        home = self.folder / "peers" / name
        place = place or home / "work"
        place.mkdir(parents=True, exist_ok=True)
        variables = {"PARLER_HOME": str(home / ".parler"), "PARLER_NAME": name}
        return Peer(self, variables | {"PARLER_HUB": hub}, place)


@dataclass(frozen=True)
class Peer:
    """Uses `parler` in a shell."""

    box: Sandbox
    variables: dict[str, str]
    place: Path

    def start(self, *arguments: str, **more: str) -> Started:
        """Start a command."""
        return self.box.start(
            [PARLER, *arguments], cwd=self.place, variables=self.variables | more
        )

    def __call__(self, *arguments: str, wait: float = WAIT, **more: str) -> Done:
        """Run a command to its end."""
        return self.start(*arguments, **more).wait(wait)


@dataclass(frozen=True)
class Asked:
    """One request that reached the model."""

    turn: int
    tools: list[str]
    reply: Json
    results: list[str]
    """What tools said so far."""

    text: str
    """Every string in it."""


class Model:
    """The scripted model of a sandbox; see model.py for the steps."""

    def __init__(self, box: Sandbox) -> None:
        errors = box.log("model").with_suffix(".err")
        with errors.open("wb") as warns:
            self._process = box.popen(
                [sys.executable, "-I", HERE / "model.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=warns,
            )
        self._news = threading.Condition()
        self._asked: list[Asked] = []
        self._answers: queue.Queue[Json] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        port = self._answers.get(timeout=WAIT)["port"]
        self.url = f"http://127.0.0.1:{port}"

    def script(self, *steps: Json, after: int = 0) -> None:
        """What it says from now on; to go on with a conversation, `after` replies."""
        self._order(do="script", steps=[{}] * after + list(steps))

    def open(self, gate: str) -> None:
        """Let the steps go on that wait for this gate."""
        self._order(do="open", gate=gate)

    @property
    def asked(self) -> list[Asked]:
        """All requests of agents so far, oldest first."""
        self._order(do="answer")  # what was asked before was told before
        with self._news:
            return list(self._asked)

    def wait(self, text: str, *, since: int = 0, wait: float = WAIT) -> Asked:
        """The first request that carries a text, of those from number `since` on."""

        def found() -> Asked | None:
            return next((one for one in self._asked[since:] if text in one.text), None)

        with self._news:
            request = self._news.wait_for(found, wait)
            assert request, f"{text!r} did not reach the model within {wait:g} s"
            return request

    def hear(self, line: str, enter: Callable[[], object], since: int) -> Asked:
        """Have Enter pressed until a typed line is told.

        Some apps take one that follows fast for one within the text.
        """
        for _ in range(TRIES):
            enter()
            with suppress(AssertionError):
                return self.wait(line, since=since, wait=TRY_SECS)
        raise AssertionError(f"{line!r} was not told")

    def _order(self, **order: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._answers.get(timeout=WAIT)

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            if said.pop("is") != "asked":
                self._answers.put(said)
            elif said["tools"]:
                said.pop("dialect")
                with self._news:
                    self._asked.append(Asked(**said))
                    self._news.notify_all()


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a program and its group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, how)
                process.wait(WAIT)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()


def _tools(folder: Path) -> list[str]:
    """Where programs may look for others; node and git by a link, nothing beside."""
    folder.mkdir(parents=True)
    for name in ("node", "git"):
        found = shutil.which(name)
        assert found, f"{name} is missing"
        (folder / name).symlink_to(found)
    (folder / "parler").symlink_to(PARLER)
    return [str(folder), "/usr/bin", "/bin"]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
