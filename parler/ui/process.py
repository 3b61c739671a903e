"""The one process that serves the page of a user: started, found again, ended.

It is found by a lock that it holds while it lives. How a browser gets in is told
through the file system, which other users cannot read: whoever starts the page leaves
the digest of a token there, and who brings that token takes it away.
"""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from parler._version import __version__
from parler.errors import ConfigError, UsageError
from parler.machine import daemon, files
from parler.ui.guard import HOST

PORT = 7171
"""The usual one; another is taken where it is not free."""

START_SECS = 20.0
STOP_SECS = 10.0
TOKEN_SECS = 600
"""How long a link lets a browser in that was not there yet."""

MAX_TOKENS = 32
_POLL_SECS = 0.02
_LOCK_SECS = 2.0
"""Whoever looks whether the lock is held may hold it for a moment."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says of itself."""

    pid: int
    port: int
    version: str = ""
    """Of Parler, as it started."""

    @property
    def origin(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class Place:
    """Its files, in the machine home."""

    folder: Path

    @classmethod
    def of(cls, machine_home: Path) -> "Place":
        """Those of a user's machine home."""
        return cls(machine_home / "ui")

    @property
    def running(self) -> Path:
        """Says where it listens, and is locked while it does."""
        return self.folder / "running.json"

    @property
    def starting(self) -> Path:
        """Locked while one is started or ended."""
        return self.folder / "starting"

    @property
    def log(self) -> Path:
        """What went wrong."""
        return self.folder / "log"

    @property
    def tokens(self) -> Path:
        """The digests of those that let a browser in once."""
        return self.folder / "tokens"


def find(place: Place) -> Running | None:
    """The process that serves the page now."""
    if not files.is_locked(place.running):
        return None
    try:
        found = files.read_private(place.running)
        return msgspec.json.decode(found, type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None  # it is about to say so


def ensure(
    place: Place,
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    wait_secs: float = START_SECS,
) -> Running:
    """Find the process that serves the page, or start one by a command.

    One of another version than ours, from before an upgrade, is ended and followed by
    one of ours at its port.

    Raises:
        ConfigError: It does not come up.
    """
    if not daemon.can_start():
        raise ConfigError(
            "the page cannot be started in the background on this system",
            next_step="parler inbox",
        )
    deadline = time.monotonic() + wait_secs
    with files.locked(place.starting, wait_secs=wait_secs):
        if (running := find(place)) and running.version == __version__:
            return running
        if running:
            _end(place, running, deadline)
            if "--port" not in command:
                command = [*command, "--port", str(running.port)]
        env = daemon.environment(variables)
        env |= {k: v for k, v in variables.items() if k.startswith("PARLER_")}
        with daemon.started(
            command, folder=place.folder, log=place.log, env=env
        ) as life:
            while (running := find(place)) is None:
                ended = daemon.has_ended(life, _POLL_SECS)
                if ended or time.monotonic() >= deadline:
                    why = daemon.last_words(place.log) if ended else "it takes too long"
                    raise ConfigError(f"the page did not start: {why}")
        return running


def stop(place: Place, *, wait_secs: float = STOP_SECS) -> Running | None:
    """End the process; returns what ran, None if nothing did.

    Raises:
        ConfigError: It does not end.
    """
    deadline = time.monotonic() + wait_secs
    with files.locked(place.starting, wait_secs=wait_secs):
        running = find(place)
        if running is None:
            return None
        _end(place, running, deadline)
    return running


def _end(place: Place, running: Running, deadline: float) -> None:
    lock = place.running.with_name(f"{place.running.name}.lock")
    if not daemon.holds(running.pid, lock):
        raise ConfigError(
            f"process {running.pid} is not the page: it runs in another container, "
            "or as another user; stop it there"
        )
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    while files.is_locked(place.running):
        if time.monotonic() >= deadline:
            raise ConfigError(f"the page (process {running.pid}) does not end")
        time.sleep(_POLL_SECS)


@contextmanager
def serving(place: Place, port: int | None) -> Iterator[socket.socket]:
    """Be the one process, listening; others find it until the block ends.

    Args:
        port: This one and no other; None takes the usual one, or any that is free.

    Raises:
        ConfigError: There is one already.
        UsageError: The port is taken.
    """
    with files.locked(place.running, wait_secs=_LOCK_SECS), _listening(port) as server:
        port = server.getsockname()[1]
        own = Running(pid=os.getpid(), port=port, version=__version__)
        files.write_private(place.running, msgspec.json.encode(own))
        try:
            yield server
        finally:
            place.running.unlink(missing_ok=True)


@contextmanager
def _listening(port: int | None) -> Iterator[socket.socket]:
    server = None
    for tried in (PORT, 0) if port is None else (port,):
        try:
            server = socket.create_server((HOST, tried))
        except OSError as error:
            if tried != PORT or port is not None:
                raise UsageError(
                    f"port {tried} cannot be had: {error.strerror}",
                    next_step="parler ui --port 0 takes any that is free",
                ) from None
        else:
            break
    assert server is not None
    with server:
        yield server


def mint_token(place: Place) -> str:
    """A token that lets one browser in, once, for `TOKEN_SECS`."""
    token = secrets.token_urlsafe(32)
    for spent in sorted(_tokens(place), key=_made)[: -MAX_TOKENS + 1 or None]:
        spent.unlink(missing_ok=True)
    files.write_private(place.tokens / _name(token), b"")
    return token


def take_token(place: Place, token: str, now: Callable[[], float] = time.time) -> bool:
    """Whether a token lets somebody in; from then on it does not."""
    path = place.tokens / _name(token)
    made = _made(path)
    try:
        path.unlink()  # of two who bring it at once, one gets further
    except OSError:
        return False
    return -_LOCK_SECS <= now() - made <= TOKEN_SECS


def _name(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _tokens(place: Place) -> list[Path]:
    try:
        return list(place.tokens.iterdir())
    except OSError:
        return []


def _made(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
