"""Looking after this machine's own hub: its state, start, stop, log and service."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from parler.errors import ConfigError, UsageError
from parler.local_hub import lifecycle, service
from parler.local_hub.port_owner import port_owner_of
from parler.local_hub.probe import ask
from parler.local_hub.record import (
    HubPaths,
    Record,
    hub_paths,
    read_record,
    secret_file,
)
from parler.local_hub.status import Seen, State, look
from parler.ops.capability import Capability, Param
from parler.ops.context import Result

MAX_LOG_BYTES = 4 * 2**20
"""Of a log that is read; the hub keeps less."""

_POLL_SECS = 0.25


_OWNER = "the hub of this machine is for a person to look after"


class Sizes(Result):
    """How much room it takes, in bytes."""

    database: int
    blobs: int
    log: int


class TeamState(Result):
    """What other machines see of it."""

    addresses: list[str]
    """The likeliest first."""
    fingerprint: str | None
    """What a teammate's `connect --team` shows beside its name."""


class StatusResult(Result):
    """The state of this machine's hub."""

    state: str
    url: str
    healthy: bool
    """It answers, and its database can be asked."""
    sizes: Sizes
    folder: str
    log: str
    pid: int | None = None
    version: str | None = None
    started: int | None = None
    """Epoch milliseconds."""
    uptime_secs: int | None = None
    service: str | None = None
    """Who starts it at login, if somebody does: a file."""
    service_active: bool = False
    stopped_by_owner: bool = False
    team: TeamState | None = None
    in_its_place: str | None = None
    """Who has its port while it does not run."""


class StartResult(Result):
    """The hub runs."""

    url: str
    pid: int | None
    started: bool
    """By this command."""
    instead_of: str | None = None
    """The token of another hub that agents know there."""
    new_secret: bool = False
    """It asks for one from now on, and did not before."""


class StopResult(Result):
    """The hub does not run."""

    stopped: bool
    """By this command."""
    pid: int | None = None


class ServiceResult(Result):
    """What became of the service."""

    file: str
    installed: bool
    changed: bool
    running: bool
    to_do: list[str]
    """Commands that have to be typed, because they could not be run from here."""
    hint: str | None = None


async def status(base_home: Path, *, now: Callable[[], int]) -> StatusResult:
    """Look at the hub; changes nothing.

    Raises:
        ConfigError: Its files are damaged or cannot be read.
    """
    place = hub_paths(base_home)
    record = read_record(place) or Record()
    seen = look(place)
    own = service.this_system(base_home)
    return StatusResult(
        state=seen.state.value,
        url=record.url if seen.url is None else dialable(seen.url),
        healthy=seen.state is State.RUNNING and await _answers(seen, record),
        pid=seen.pid,
        version=seen.version,
        started=seen.started,
        uptime_secs=max(now() - seen.started, 0) // 1000 if seen.started else None,
        sizes=_sizes(place),
        folder=str(place.folder),
        log=str(place.log),
        service=str(own.file) if own.installed else None,
        service_active=service.active(own),
        stopped_by_owner=seen.state is State.STOPPED and place.stopped.exists(),
        team=_team(record, seen),
        in_its_place=await _in_its_place(record, seen),
    )


STATUS = Capability(
    run=status,
    about="Show whether the hub runs, where, and how much room it takes.",
    command="hub status",
    example="parler hub status --json",
    no_tool=_OWNER,
)


def begin(base_home: Path) -> StartResult:
    """Start the hub in the background, unless it runs.

    Raises:
        ConnectFailed: It does not come up.
        ConfigError: Its folder cannot be written.
    """
    place = hub_paths(base_home)
    record = read_record(place) or Record()
    had_none = place.database.exists() and not secret_file(place, record).exists()
    hub = lifecycle.start(base_home, record)
    return StartResult(
        url=hub.url,
        pid=hub.pid,
        started=hub.started,
        new_secret=hub.started and had_none,
        instead_of=lifecycle.known_instead(base_home, hub.url),
    )


START = Capability(
    run=begin,
    about="Start the hub in the background.",
    command="hub start",
    no_tool=_OWNER,
)


def end(
    base_home: Path,
    *,
    force: Annotated[bool, Param("Kill it if it does not end in time.")] = False,
) -> StopResult:
    """Stop the hub; agents in the background will not start it again.

    Raises:
        ConfigError: It cannot be stopped from here.
    """
    seen = lifecycle.stop(base_home, force=force)
    return StopResult(stopped=seen is not None, pid=seen.pid if seen else None)


STOP = Capability(
    run=end,
    about="Stop the hub. A command that needs it starts it again; agents do not.",
    command="hub stop",
    no_tool=_OWNER,
)


def last_lines(base_home: Path, count: int) -> list[str]:
    """The end of the hub's log.

    Raises:
        UsageError: There is no log yet.
    """
    place = hub_paths(base_home)
    lines: list[str] = []
    for path in (place.log.with_name(f"{place.log.name}.1"), place.log):
        lines += _text(path).splitlines()
    if not place.log.exists():
        raise UsageError(
            f"there is no log in {place.folder}: no hub was started here",
            next_step="parler hub start",
        )
    return lines[-count:] if count else []


def follow_log(
    base_home: Path, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Lines as the hub writes them, also after it began a new file; without end."""
    path = hub_paths(base_home).log
    position, number = _end_of(path)
    rest = ""
    while True:
        size, current = _end_of(path)
        if current != number or size < position:
            position, number, rest = 0, current, ""
        if size > position:
            text = _text(path, start=position)
            position = size
            *whole, rest = (rest + text).split("\n")
            yield from whole
        else:
            sleep(_POLL_SECS)


class LogLines(Result):
    """The end of the log, then each further line."""

    lines: list[str]


LOGS = Capability(
    run=last_lines,
    also=[follow_log],
    result=[LogLines],
    about="Show the end of the hub's log.",
    command="hub logs",
    example="parler hub logs -f",
    no_tool=_OWNER,
)


def install_service(base_home: Path) -> ServiceResult:
    """Have the system start the hub at login, and take over the one that runs.

    Raises:
        ConfigError: Its file cannot be written, or is somebody else's.
    """
    place = hub_paths(base_home)
    own = service.this_system(base_home)
    was_running = look(place).state is not State.STOPPED
    if was_running and not service.active(own):
        lifecycle.stop(base_home)
    to_do = service.install(own)
    if was_running or not to_do:
        begin(base_home)
    return ServiceResult(
        file=str(own.file),
        installed=True,
        changed=True,
        running=look(place).state is State.RUNNING,
        to_do=to_do,
        hint=own.hint,
    )


INSTALL_SERVICE = Capability(
    run=install_service,
    about="Have the system start the hub at login, as a service of yours alone.",
    command="hub install-service",
    no_tool=_OWNER,
)


def uninstall_service(base_home: Path) -> ServiceResult:
    """Undo `install_service`; the hub starts when it is needed, as before.

    Raises:
        ConfigError: The file is somebody else's, or cannot be removed.
    """
    own = service.this_system(base_home)
    to_do = service.uninstall(own)
    running = look(hub_paths(base_home)).state is State.RUNNING
    return ServiceResult(
        file=str(own.file),
        installed=False,
        changed=to_do is not None,
        running=running,
        to_do=to_do or [],
    )


UNINSTALL_SERVICE = Capability(
    run=uninstall_service,
    about="Undo install-service.",
    command="hub uninstall-service",
    no_tool=_OWNER,
)


def dialable(url: str) -> str:
    """The URL that this machine dials for a hub that listens everywhere."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:")


async def _answers(seen: Seen, record: Record) -> bool:
    try:
        answer = await ask(dialable(seen.url) if seen.url else record.url)
    except (OSError, TimeoutError, ConfigError):
        return False
    return answer is not None and answer.is_hub


async def _in_its_place(record: Record, seen: Seen) -> str | None:
    if seen.state is not State.STOPPED:
        return None
    owner = await port_owner_of(record.url)
    return owner.what if owner else None


def _team(record: Record, seen: Seen) -> TeamState | None:
    if not record.team:
        return None
    return TeamState(addresses=list(seen.lan), fingerprint=seen.fingerprint)


def _sizes(place: HubPaths) -> Sizes:
    database = [
        place.database.with_name(place.database.name + suffix)
        for suffix in ("", "-wal", "-shm")
    ]
    logs = [place.log, place.log.with_name(f"{place.log.name}.1")]
    try:
        blobs = [path for path in place.blobs.iterdir() if path.is_file()]
    except OSError:
        blobs = []
    return Sizes(database=_size(database), blobs=_size(blobs), log=_size(logs))


def _size(paths: list[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _end_of(path: Path) -> tuple[int, int]:
    try:
        status_ = path.stat()
    except OSError:
        return 0, 0
    return status_.st_size, status_.st_ino


def _text(path: Path, *, start: int = 0) -> str:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(MAX_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
