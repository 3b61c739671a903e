"""Whether this machine's hub runs, read from a file that the hub keeps locked.

The system frees the lock when the hub ends in whatever way, so a process id in that
file is believed only while somebody holds it. Cheap enough to ask before every command.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from parler.errors import ConfigError
from parler.local_hub.record import (
    HubPaths,
    Record,
    hub_paths,
    read_record,
    secret_file,
    serves,
)
from parler.machine import files

_MAX_BYTES = 64 * 1024


class State(StrEnum):
    """How far a hub is."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found."""

    state: State
    pid: int | None = None
    url: str | None = None
    """Where it listens, which is no address to dial if it listens everywhere."""
    version: str | None = None
    started: int | None = None
    """Epoch milliseconds."""
    fingerprint: str | None = None
    lan: tuple[str, ...] = ()

    def is_at(self, url: str) -> bool:
        """Whether it is what a loopback URL dials."""
        return self.url is not None and serves(urlsplit(self.url).netloc, url)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHub:
    """This machine's own hub, which runs."""

    url: str
    """As it was asked for."""
    secret: str | None = field(repr=False)
    """None for one that was started before it had one."""
    team: bool
    """Other machines may join."""
    pid: int | None
    started: int | None
    """Epoch milliseconds."""


def find_own_hub(homes: Iterable[Path], url: str) -> OwnHub | None:
    """The hub of one of these homes, if it runs under a URL now.

    The lock that it holds says so: what else may have the port is told no secret.

    Raises:
        ConfigError: Its files are damaged or cannot be read.
        IdentityError: Other users may read its secret.
    """
    for paths in dict.fromkeys(hub_paths(home) for home in homes):
        seen = look(paths)
        if not seen.is_at(url):
            continue
        record = read_record(paths) or Record()
        path = secret_file(paths, record)
        try:
            secret = files.read_private(path).decode("utf-8", "replace").strip()
        except FileNotFoundError:
            secret = ""
        return OwnHub(
            url=url,
            secret=secret or None,
            team=record.team,
            pid=seen.pid,
            started=seen.started,
        )
    return None


def is_starting(homes: Iterable[Path], url: str) -> bool:
    """Whether the hub of one of these homes is about to run under a URL.

    Raises:
        ConfigError: Its files are damaged or cannot be read.
    """
    return any(
        look(paths).state is State.STARTING
        and serves((read_record(paths) or Record()).addr, url)
        for paths in map(hub_paths, homes)
    )


class _Words(msgspec.Struct, frozen=True):
    pid: int
    url: str | None = None
    version: str | None = None
    started: int | None = None
    fingerprint: str | None = None
    lan: list[str] = []
    ending: bool = False


STOPPED = Seen(state=State.STOPPED)


def look(paths: HubPaths) -> Seen:
    """See whether the hub runs.

    Raises:
        ConfigError: The file cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(paths.running, flags)
    except (FileNotFoundError, NotADirectoryError):
        return STOPPED
    except OSError as error:
        raise ConfigError(f"cannot read {paths.running}: {error.strerror}") from None
    try:
        return _said(handle) if _is_held(handle) else STOPPED
    finally:
        os.close(handle)


def _said(handle: int) -> Seen:
    try:
        words = msgspec.json.decode(os.read(handle, _MAX_BYTES).rstrip(), type=_Words)
    except msgspec.DecodeError:  # it has just begun
        return Seen(state=State.STARTING)
    fields: dict[str, Any] = msgspec.structs.asdict(words)
    fields["lan"] = tuple(words.lan)
    state = State.RUNNING if words.url else State.STARTING
    if fields.pop("ending"):
        state = State.ENDING
    return Seen(state=state, **fields)


if sys.platform == "win32":

    def _is_held(handle: int) -> bool:
        """No hub runs on Windows outside its Linux."""
        return False

else:
    import fcntl

    def _is_held(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise ConfigError(f"cannot lock a file: {error.strerror}") from None
        fcntl.flock(handle, fcntl.LOCK_UN)
        return False
