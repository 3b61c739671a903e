"""Who is on this machine: one small record for each agent session that runs here.

A record lies in a folder of the user's (`live_folder`) and names the process its agent
lives in. It counts as long as that very process runs: it outlives our own helper, and
nothing brings it back once that is gone, not even another process of the same id. No
clock has a say.

Folder and file names in here stay on this machine.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from parler.apps.running import AppProcess, app_above
from parler.errors import ConfigError
from parler.machine.files import locked, read_bounded, write_private
from parler.machine.processes import (
    Process,
    is_running,
    machine,
    process,
)
from parler.machine.workspace import workspace_of
from parler.peers.live_folder import earlier_folder, live_folder
from parler.wire.base import AgentId, Millis, RoomName

MAX_RECORDS = 512
"""Records that are read; who has more has junk there."""

MAX_RECORD_BYTES = 32 * 2**10
MAX_CHANGED = 40
MAX_NAME_CHARS = 256
MAX_SUMMARY_CHARS = 400
MAX_SERVED = 32
_STRAY_SECS = 7 * 86_400
"""After so long, a record of another boot or machine is swept away."""

_NAME = re.compile(r"[0-9a-f]{32}\.json", re.ASCII)


class Kind(StrEnum):
    """What an agent is here for."""

    SESSION = "session"
    """Somebody works with it."""

    ANSWERER = "answerer"
    """A terminal that answers questions to its project."""

    WORKER = "worker"
    """It works while nobody watches."""


class HostProcess(msgspec.Struct, frozen=True):
    """A process by id and start (`parler.machine.processes.Process`)."""

    pid: int
    started: str

    @classmethod
    def of(cls, process: Process) -> "HostProcess":
        """The same, to be kept in a record."""
        return cls(process.pid, process.started)

    @property
    def runs(self) -> bool:
        """Whether this very process runs."""
        return is_running(Process(self.pid, self.started))


class LiveRecord(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True
):
    """An agent session on this machine."""

    agent: AgentId
    name: str
    app: str
    """The agent app's id, such as ``claude-code``."""

    host: HostProcess
    """The process it lives in: the record's life."""

    helper: HostProcess
    """The process of ours that speaks for it."""

    folder: str
    kind: Kind = Kind.SESSION
    machine: str = msgspec.field(default_factory=machine)
    role: str | None = None
    repository: str | None = None
    """What work trees and clones share (`parler.machine.workspace`)."""

    project: str | None = None
    """What the repository is called."""

    branch: str | None = None
    changed: list[str] = []
    """Files with changes that are not committed, by names within the repository."""

    derived: str | None = None
    """What it seems to be doing; made without asking a model."""

    said: str | None = None
    """What it said it is doing."""

    wake: str = "none"
    """How a message reaches it: ``push``, ``turn``, ``next`` or ``none``."""

    hub: str | None = None
    room: RoomName | None = None
    last_taken: Millis | None = None
    """When it last took a message."""

    serves: list[str] = []
    """Projects whose questions it answers."""

    thread: str | None = None
    """The app's own name of the conversation, if it told us."""

    started: Millis = 0

    @property
    def summary(self) -> str | None:
        """What it works on: in its own words, else derived."""
        return self.said or self.derived

    @property
    def key(self) -> str:
        """The name of its record: one for each agent, app's process and kind."""
        host = f"{self.host.pid} {self.host.started} {self.machine}"
        text = f"{self.agent}\n{host}\n{self.kind}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class LiveHandle:
    """Our own record, while we speak for an agent."""

    def __init__(self, base_home: Path, folder: Path, record: LiveRecord) -> None:
        """Use `announce` instead."""
        self.base_home = base_home
        self._folder = folder
        self._record = record

    @property
    def record(self) -> LiveRecord:
        """What was announced last."""
        return self._record

    def update(self, **fields: Any) -> LiveRecord:
        """Change fields; what others changed meanwhile, such as `said`, is kept.

        Raises:
            ConfigError: It cannot be written.
        """
        with _changing(self._folder) as folder:
            current = _read(folder / f"{self._record.key}.json") or self._record
            current = msgspec.structs.replace(current, helper=self._record.helper)
            self._record = _write(folder, current, fields)
        return self._record

    def close(self) -> None:
        """Leave; a record that another helper has taken over meanwhile stays."""
        with suppress(ConfigError), _changing(self._folder) as folder:
            path = folder / f"{self._record.key}.json"
            current = _read(path)
            if current is None or current.helper == self._record.helper:
                _remove(path)


def record_here(
    agent: AgentId, name: str, *, folder: Path, kind: Kind = Kind.SESSION, **fields: Any
) -> LiveRecord:
    """A record of this process, and of the agent app above it.

    Whoever answers or works by itself is in no app. `fields` are further ones of
    the record; an `app` that is not given is found by the processes above.
    """
    own = process(os.getpid()) or Process(os.getpid(), "")
    above = AppProcess(own, None) if kind is not Kind.SESSION else app_above(own.pid)
    workspace = workspace_of(folder)
    known: dict[str, Any] = {
        "app": above.app.id if above.app else "parler",
        "repository": workspace.repository,
        "project": workspace.name,
        "branch": workspace.branch,
        "started": time.time_ns() // 1_000_000,
    }
    return LiveRecord(
        agent=agent,
        name=name,
        host=HostProcess.of(above.process),
        helper=HostProcess.of(own),
        folder=str(workspace.folder),
        kind=kind,
        **(known | fields),
    )


def announce(base_home: Path, record: LiveRecord) -> LiveHandle:
    """Show an agent to the others on this machine.

    A record that this agent left in this app is taken over, with what it `said`, also
    from where an earlier version put it.

    Raises:
        ConfigError: It cannot be written.
    """
    with _changing(live_folder(base_home)) as folder:
        name = f"{record.key}.json"
        earlier = earlier_folder(base_home) / name
        old = _read(folder / name) or _read(earlier)
        kept = {"said": old.said, "last_taken": old.last_taken} if old else {}
        unset = {
            name: value for name, value in kept.items() if not getattr(record, name)
        }
        handle = LiveHandle(base_home, folder, _write(folder, record, unset))
        if earlier.parent != folder:
            _remove(earlier)
        return handle


def amend(base_home: Path, record: LiveRecord, **fields: Any) -> LiveRecord | None:
    """Change a record that another process of ours announced; None if it is gone.

    Raises:
        ConfigError: It cannot be written.
    """
    for place in _folders(base_home):
        if not (place / f"{record.key}.json").exists():
            continue
        with _changing(place) as folder:
            current = _read(folder / f"{record.key}.json")
            if current is not None and _lives(current):
                return _write(folder, current, fields)
    return None


def read_live(base_home: Path) -> list[LiveRecord]:
    """All agents that run on this machine now; what the dead left is swept away."""
    found: dict[str, LiveRecord] = {}
    for path in (path for place in _folders(base_home) for path in _paths(place)):
        record = _read(path)
        if record is None or record.key != path.stem:
            continue
        if record.machine != machine():
            _sweep_stray(path)
        elif _lives(record):
            found.setdefault(record.key, record)
        else:
            _remove(path)  # its process can never run again
    return sorted(found.values(), key=lambda one: (one.name.casefold(), one.key))


def _folders(base_home: Path) -> list[Path]:
    """Where records may be, the right place first."""
    return list(dict.fromkeys((live_folder(base_home), earlier_folder(base_home))))


def _lives(record: LiveRecord) -> bool:
    return record.machine == machine() and record.host.runs


def _write(folder: Path, record: LiveRecord, fields: dict[str, Any]) -> LiveRecord:
    record = _bounded(msgspec.structs.replace(record, **fields))
    write_private(folder / f"{record.key}.json", msgspec.json.encode(record))
    return record


def _bounded(record: LiveRecord) -> LiveRecord:
    changed = [_clip(name, MAX_NAME_CHARS) for name in record.changed[:MAX_CHANGED]]
    return msgspec.structs.replace(
        record,
        name=_clip(record.name, MAX_NAME_CHARS),
        folder=_encodable(record.folder),
        changed=changed,
        project=_clip(record.project, MAX_NAME_CHARS) if record.project else None,
        branch=_clip(record.branch, MAX_NAME_CHARS) if record.branch else None,
        derived=_clip(record.derived, MAX_SUMMARY_CHARS) if record.derived else None,
        said=_clip(record.said, MAX_SUMMARY_CHARS) if record.said else None,
        serves=record.serves[:MAX_SERVED],
    )


def _clip(text: str, limit: int) -> str:
    text = _encodable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _encodable(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def _read(path: Path) -> LiveRecord | None:
    """A record of ours; None for anything else that lies there."""
    try:
        if path.is_symlink() or not _is_ours(path):
            return None
        data = read_bounded(path, limit=MAX_RECORD_BYTES)
        return msgspec.json.decode(data, type=LiveRecord)
    except (OSError, ConfigError, msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _is_ours(path: Path) -> bool:
    return not hasattr(os, "geteuid") or path.lstat().st_uid == os.geteuid()


def _paths(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for name in sorted(names)[:MAX_RECORDS]:
        yield folder / name


def _sweep_stray(path: Path) -> None:
    # Age decides only about what is not shown anyway, so a wrong clock does no harm.
    with suppress(OSError):
        if abs(time.time() - path.stat().st_mtime) > _STRAY_SECS:
            path.unlink()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@contextmanager
def _changing(folder: Path) -> Iterator[Path]:
    with locked(folder / "records"):
        yield folder
