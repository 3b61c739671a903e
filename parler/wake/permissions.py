"""Permission requests of running apps that wait for the person, and what it decided.

The hook of an app leaves its request as a private file and keeps the digest of its
bytes; a decision is the person's signature over that digest, a verdict and an expiry.
So what is shown is what is answered: another text has another digest, each request has
its own nonce, and nothing but the person's key decides. Whatever is missing, late or
wrong is no decision. Nothing here allows anything by itself, or remembers a verdict.
"""

import hashlib
import os
import re
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from parler.errors import ConfigError
from parler.identity.signing import Keypair, fingerprint, verify
from parler.machine import files
from parler.machine.processes import Process, is_running, machine, process
from parler.wire.base import AgentId

FOLDER = "permissions"
"""Below the machine home."""

MAX_BYTES = 64 * 1024
"""Of a request; a larger one stays with its app."""

MAX_OPEN = 8
"""Requests of one window that wait at a time; further ones stay with their app."""

MAX_LISTED = 64
"""Requests of all windows that are shown; while so many wait, no more are made."""

DECISION_SECS = 30
"""For how long a decision counts: the hook takes it within a moment, or is gone."""

POLL_SECS = 0.2
_LOCK_SECS = 1.0
_MAX_FILES = 1024
_MAX_DECISION_BYTES = 1024
_REQUEST = ".request"
_DECISION = ".decision"
_NAME = re.compile(r"[0-9a-f]{64}")
_PREFIX = b"parler-permission:v1:"


class Verdict(StrEnum):
    """What the person says."""

    PERMIT = "permit"
    REFUSE = "refuse"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an app asks, as the hook wrote it; any process of the user may write one."""

    app: str
    window: str
    """The conversation, in the app's words."""

    folder: str
    tool: str
    input: dict[str, Any]
    """What the tool is to be given, all of it."""

    since: int
    """Epoch milliseconds, as `expires`."""

    expires: int
    nonce: str
    pid: int
    """The hook that waits."""

    started: str
    machine: str

    @property
    def waits(self) -> bool:
        """Whether the hook is there, as far as can be told from this machine."""
        return self.machine != machine() or is_running(Process(self.pid, self.started))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that waits."""

    digest: str
    """SHA-256 of its bytes, in hex."""

    asked: Asked

    @property
    def id(self) -> str:
        """What people type: 80 bits of the digest, so that it names the content."""
        return fingerprint(self.digest)


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Verdict
    expires: int
    sig: str


def requests(home: Path, *, now: int) -> list[Request]:
    """What waits on this machine, the oldest first; what is over is cleared away.

    Args:
        home: The machine home.
        now: Epoch milliseconds.
    """
    folder = home / FOLDER
    if not _is_private(folder):
        return []
    found = []
    for digest in _digests(folder):
        one = _read(folder, digest)
        if one is None:
            continue
        if one.asked.expires <= now or not one.asked.waits:
            _clear(folder, digest)
        else:
            found.append(one)
    found.sort(key=lambda one: (one.asked.since, one.digest))
    return found[:MAX_LISTED]


def decide(
    home: Path, request: Request, verdict: Verdict, *, key: Keypair, now: int
) -> None:
    """Sign what the person decided about exactly this request.

    Raises:
        ConfigError: It cannot be written.
    """
    expires = min(now + DECISION_SECS * 1000, request.asked.expires)
    sig = key.sign(_signed(request.digest, verdict, expires))
    data = msgspec.json.encode(_Decision(verdict=verdict, expires=expires, sig=sig))
    files.write_private(home / FOLDER / f"{request.digest}{_DECISION}", data)


def withdraw(home: Path, *, app: str, window: str) -> None:
    """Take back what a window asked: it goes on, so that was answered on its screen."""
    folder = home / FOLDER
    if not _is_private(folder):
        return
    for digest in _digests(folder):
        one = _read(folder, digest)
        if one and (one.asked.app, one.asked.window) == (app, window):
            _clear(folder, digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a hook asks."""

    app: str
    window: str
    folder: str
    tool: str
    input: Mapping[str, Any]
    secs: float
    """For how long."""


def ask(
    home: Path,
    question: Question,
    *,
    person: AgentId,
    is_heard: Callable[[float], bool],
    now: Callable[[], float] = time.time,
) -> Verdict | None:
    """Put a question to the person and wait; None if there is no decision.

    Args:
        person: Whose signature counts.
        is_heard: Waits for so many seconds, and tells whether the app still listens.

    Raises:
        ConfigError: Our folder is not private, or cannot be written.
        ValueError: The input is nothing that can be shown as it is.
    """
    folder = home / FOLDER
    with _asked(folder, question, now) as digest:
        if digest is None:
            return None
        end = time.monotonic() + question.secs
        while time.monotonic() < end and is_heard(POLL_SECS):
            verdict = _decided(folder, digest, person, now=int(now() * 1000))
            if verdict is not None:
                return verdict
            if not (folder / f"{digest}{_REQUEST}").exists():
                return None  # withdrawn
    return None


def listener(descriptor: int) -> Callable[[float], bool]:
    """Waits, and tells whether anybody reads what we would write there."""
    if sys.platform == "win32":

        def pause(seconds: float) -> bool:
            time.sleep(seconds)
            return True

        return pause
    poller = select.poll()
    poller.register(descriptor, 0)  # errors and hang-ups are always told
    return lambda seconds: not poller.poll(seconds * 1000)


@contextmanager
def _asked(
    folder: Path, question: Question, now: Callable[[], float]
) -> Iterator[str | None]:
    """The digest of the request while it waits; None if it stays with its app."""
    me = process(os.getpid())
    if me is None:
        yield None
        return
    files.make_private_dir(folder)
    if not _is_private(folder):
        raise ConfigError(f"{folder} is open to others, or not a folder of yours")
    since = int(now() * 1000)
    asked = Asked(
        app=question.app,
        window=question.window,
        folder=question.folder,
        tool=question.tool,
        input=dict(question.input),
        since=since,
        expires=since + int(question.secs * 1000),
        nonce=files.random_hex(16),
        pid=me.pid,
        started=me.started,
        machine=machine(),
    )
    data = msgspec.json.encode(asked)
    if len(data) > MAX_BYTES or msgspec.json.decode(data, type=Asked) != asked:
        yield None
        return
    digest = hashlib.sha256(data).hexdigest()
    with files.locked(folder / "requests", wait_secs=_LOCK_SECS):
        waiting = requests(folder.parent, now=since)
        window = (question.app, question.window)
        own = [one for one in waiting if (one.asked.app, one.asked.window) == window]
        is_full = len(own) >= MAX_OPEN or len(waiting) >= MAX_LISTED
        if not is_full:
            files.write_private(folder / f"{digest}{_REQUEST}", data)
    if is_full:
        yield None
        return
    try:
        yield digest
    finally:
        _clear(folder, digest)


def _decided(folder: Path, digest: str, person: AgentId, *, now: int) -> Verdict | None:
    path = folder / f"{digest}{_DECISION}"
    try:
        data = files.read_private(path, limit=_MAX_DECISION_BYTES)
        said = msgspec.json.decode(data, type=_Decision)
    except (OSError, ConfigError, ValueError, RecursionError):
        return None
    if not now < said.expires <= now + DECISION_SECS * 1000:
        return None
    signed = _signed(digest, said.verdict, said.expires)
    return said.verdict if verify(person, signed, said.sig) else None


def _signed(digest: str, verdict: Verdict, expires: int) -> bytes:
    return _PREFIX + f"{digest}:{verdict}:{expires}".encode()


def _digests(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MAX_FILES)]
    except OSError:
        return []
    stems = [name.removesuffix(_REQUEST) for name in names if name.endswith(_REQUEST)]
    return [stem for stem in stems if _NAME.fullmatch(stem)]


def _read(folder: Path, digest: str) -> Request | None:
    path = folder / f"{digest}{_REQUEST}"
    try:
        if path.is_symlink():
            return None
        data = files.read_private(path, limit=MAX_BYTES)
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        asked = msgspec.json.decode(data, type=Asked)
    except (OSError, ConfigError, ValueError, RecursionError):
        return None
    return Request(digest=digest, asked=asked)


def _clear(folder: Path, digest: str) -> None:
    for suffix in (_REQUEST, _DECISION):
        with suppress(OSError):
            (folder / f"{digest}{suffix}").unlink()


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if sys.platform == "win32":
        return True
    return found.st_uid == os.getuid() and not found.st_mode & 0o077
