"""The demo's stage: a temporary folder, real processes in it, and the telling.

Starts and ends every process of the demo and knows where each agent lives. What is
played is in demo.py.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

PARLER = Path(sys.executable).with_name("parler")
COMMAND_SECONDS = 120.0  # what takes longer hangs, also where much else runs

# What git needs to commit, wherever this runs.
GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "demo",
    "GIT_AUTHOR_EMAIL": "demo@example.org",
    "GIT_COMMITTER_NAME": "demo",
    "GIT_COMMITTER_EMAIL": "demo@example.org",
}

Json = dict[str, Any]


class BrokenPromise(Exception):
    """Something did not go as promised; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a `parler` process ended."""

    status: int
    out: str
    err: str

    def json(self) -> Json:
        """The one JSON object on stdout."""
        value: Json = json.loads(self.out)
        return value

    def error_code(self) -> str | None:
        """The code of the JSON error on stderr, if there is one."""
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            code: str = json.loads(self.err.strip().splitlines()[-1])["error"]["code"]
            return code
        return None


class Stops:
    """The signals that end the demo, held back while a process is being started.

    Otherwise one could arrive when a process runs but nobody knows of it yet.
    """

    def __init__(self, stop: Callable[[int], NoReturn], *signals: signal.Signals):
        self._stop = stop
        self._signals = signals
        self._holding = False
        self._came: int | None = None
        for number in signals:
            signal.signal(number, self._caught)

    def _caught(self, number: int, _frame: object) -> None:
        if self._holding:
            self._came = number
        else:
            self._stop(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No signal interrupts the body; one that came meanwhile ends the demo after.

        Signals interrupt the main thread only, so elsewhere there is nothing to do.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._came is not None:
                self._stop(self._came)

    def ignore(self) -> None:
        """From now on nothing interrupts."""
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)


class Running:
    """A process that keeps running, with all it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._said: list[str] = []
        self._news = threading.Condition()
        self._listeners: list[threading.Thread] = []
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            listener = threading.Thread(
                target=self._listen, args=(stream,), daemon=True
            )
            listener.start()
            self._listeners.append(listener)

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            with self._news:
                self._said.append(line)
                self._news.notify_all()

    @property
    def said(self) -> str:
        """All output so far."""
        with self._news:
            return "".join(self._said)

    def ended(self) -> int:
        """Wait for the end and for all output; returns the exit status."""
        try:
            status = self.process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise BrokenPromise(f"does not end; this came:\n{self.said}") from None
        for listener in self._listeners:
            listener.join(COMMAND_SECONDS)
        return status

    def wait_for(self, *texts: str, seconds: float = COMMAND_SECONDS) -> str:
        """Wait until every text was said; returns all output."""
        with self._news:
            if self._news.wait_for(
                lambda: all(text in "".join(self._said) for text in texts), seconds
            ):
                return "".join(self._said)
        raise BrokenPromise(f"waited in vain for {texts}; this came:\n{self.said}")


@dataclass(slots=True, kw_only=True)
class Stage:
    """All that has to be cleared away, whatever happens."""

    stops: Stops
    folder: Path
    url: str = ""
    hub: "subprocess.Popen[str] | None" = None
    checks: int = 0
    _processes: "list[subprocess.Popen[str]]" = field(default_factory=list)
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def database(self) -> Path:
        return self.folder / "hub.sqlite"

    # -- telling

    def title(self, text: str) -> None:
        """A step of the story begins."""
        print(f"\n{text}", flush=True)

    def tell(self, who: str, text: str) -> None:
        """Somebody does something."""
        print(f"  {who:<8}{text}", flush=True)

    def check(self, holds: object, promise: str, *, otherwise: object = "") -> None:
        """A promise, kept or broken."""
        if not holds:
            detail = f"\n{otherwise}" if otherwise else ""
            raise BrokenPromise(f"not true: {promise}{detail}")
        self.checks += 1
        print(f"        ✓ {promise}", flush=True)

    # -- processes

    def spawn(
        self, home: Path, arguments: list[str], *, place: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start `parler` with a home of its own and nothing of our environment."""
        home.mkdir(exist_ok=True)
        environment = {"HOME": str(home), "PARLER_HOME": str(home / ".parler")}
        return self._start([str(PARLER), *arguments], place or home, environment)

    def git(self, place: Path, *arguments: str) -> str:
        """Run git in a folder, which must succeed; returns what it printed."""
        process = self._start(["git", *arguments], place, GIT)
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise BrokenPromise(f"git {shlex.join(arguments)} hangs") from None
        if process.returncode != 0:
            raise BrokenPromise(f"git {shlex.join(arguments)} failed\n{err}{out}")
        return out.strip("\n")

    def _start(
        self, command: list[str], place: Path, environment: dict[str, str]
    ) -> "subprocess.Popen[str]":
        with self.stops.held(), self._lock:
            if self._closed:
                raise BrokenPromise("the demo is over")
            path = os.environ.get("PATH", os.defpath)
            process = subprocess.Popen(
                command,
                cwd=place,
                env={"PATH": path, "LANG": "C.UTF-8"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is ours to handle
            )
            self._processes.append(process)
        return process

    def start_hub(self, *, port: int = 0) -> None:
        """Start the hub on the one database and wait for its ready file."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["hub", "--addr", f"127.0.0.1:{port}"]
        arguments += ["--db", str(self.database), "--ready-file", str(ready)]
        self.hub = self.spawn(self.folder / "hub-home", arguments)
        output = Running(self.hub)
        deadline = time.monotonic() + COMMAND_SECONDS
        while not ready.exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.hub.wait(0.02)  # the file, or the end of the process
                raise BrokenPromise(f"the hub did not start:\n{output.said}")
            if time.monotonic() > deadline:
                raise BrokenPromise(f"the hub is not ready:\n{output.said}")
        self.url = json.loads(ready.read_text(encoding="utf-8"))["url"]

    def end_hub(self, how: signal.Signals) -> int:
        """Send the hub a signal, wait for its end, and return its exit status."""
        assert self.hub is not None
        self.hub.send_signal(how)
        return self.hub.wait(COMMAND_SECONDS)

    def restart_hub(self) -> None:
        """Start the hub again, on the same port and database."""
        self.start_hub(port=urlsplit(self.url).port or 0)

    def edit_database(self, old: str, new: str) -> int:
        """Change a text in the stored messages; returns how many messages changed."""
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            with database:
                changed = database.execute(
                    "UPDATE messages SET record = replace(record, :old, :new)"
                    " WHERE instr(record, :old) > 0",
                    {"old": old, "new": new},
                ).rowcount
            return changed

    def clear(self) -> None:
        """End every process that still lives, and remove the folder."""
        self.stops.ignore()
        with self._lock:
            self._closed = True
        for process in self._processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class Agent:
    """One agent: a name, a home, and what it has read so far."""

    stage: Stage
    name: str
    role: str | None = None
    place: Path | None = None  # where its commands run, if not in its home
    read: list[int] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.stage.folder / self.name

    @property
    def config(self) -> Path:
        return self.home / ".parler" / "config.json"

    def start(self, *arguments: str, tell: bool = True) -> "subprocess.Popen[str]":
        """Start `parler ARGUMENTS`, told as somebody would type it."""
        if tell:
            typed = shlex.join(a for a in arguments if a != "--json")
            self.stage.tell(self.name, f"$ parler {typed}")
        return self.stage.spawn(self.home, list(arguments), place=self.place)

    def attempt(self, *arguments: str, tell: bool = True) -> Outcome:
        """Run `parler ARGUMENTS --json` to its end, however it ends."""
        return ended(self.start(*arguments, "--json", tell=tell), arguments)

    def do(self, *arguments: str, tell: bool = True) -> Json:
        """Run `parler ARGUMENTS --json`, which must succeed."""
        outcome = self.attempt(*arguments, tell=tell)
        if outcome.status != 0:
            raise BrokenPromise(
                f"{self.name}: parler {shlex.join(arguments)} ended with status "
                f"{outcome.status}\n{outcome.err}{outcome.out}"
            )
        return outcome.json()

    def take(self, messages: list[Json]) -> None:
        """Note what was read; nothing may come twice or out of order."""
        for message in messages:
            seq = message["seq"]
            if self.read and seq <= self.read[-1]:
                raise BrokenPromise(f"{self.name} was shown message {seq} again")
            self.read.append(seq)

    def news(self, *, tell: bool = True) -> list[Json]:
        """What `recv` shows: only what this agent has not read yet."""
        messages: list[Json] = self.do("recv", tell=tell)["messages"]
        self.take(messages)
        return messages

    def everything(self, *, tell: bool = True) -> list[Json]:
        """What `recv --all` shows: the whole conversation."""
        messages: list[Json] = self.do("recv", "--all", tell=tell)["messages"]
        return messages


def ended(process: "subprocess.Popen[str]", arguments: tuple[str, ...]) -> Outcome:
    """Wait for the end of a process, not longer than a command may take."""
    try:
        out, err = process.communicate(timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise BrokenPromise(f"parler {shlex.join(arguments)} hangs") from None
    return Outcome(status=process.returncode, out=out, err=err)


def texts(message: Json) -> str:
    """The text of a message."""
    return " ".join(p["text"] for p in message["parts"] if p["kind"] == "text")


def in_background(work: Callable[[], None]) -> Callable[[], None]:
    """Start `work` in a thread; the result waits for it and raises what it raised."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever waits
            failures.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()

    def wait() -> None:
        thread.join(COMMAND_SECONDS)
        if thread.is_alive():
            raise BrokenPromise("a side of the conversation hangs")
        for failure in failures:
            raise failure

    return wait
