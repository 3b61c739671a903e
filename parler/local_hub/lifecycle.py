"""Starting this machine's hub in the background, and stopping it.

Whoever needs it first starts it: one process wins a lock, the others wait for what it
started. The hub outlives the command that started it, has no terminal, and inherits no
secret from whatever shell that was.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from parler.errors import ConfigError, ConnectFailed, ParlerError
from parler.identity import join_secrets, known_hubs
from parler.identity.chosen_hub import DEFAULT_PORT
from parler.identity.homes import (
    DEFAULT_HOME,
    machine_home,
    process_environment,
    user_home_of,
)
from parler.local_hub import service
from parler.local_hub.port_owner import (
    PortOwner,
    free_port_after,
    port_owner_of,
    refuse,
)
from parler.local_hub.record import (
    HubPaths,
    Record,
    hub_paths,
    read_record,
    record_for,
    serves,
    write_record,
)
from parler.local_hub.status import Seen, State, find_own_hub, look
from parler.machine import daemon, files

START_SECS = 20.0
"""How long a hub may take until it listens."""

STOP_SECS = 20.0
"""How long it may take to answer who waits and end."""

SERVICE_SECS = 5.0
"""How long the system's service may take until there is a process."""

LOGS = "parler hub logs"
STATUS = "parler hub status"
_POLL_SECS = 0.02
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHub:
    """A hub of this machine that runs."""

    url: str
    """Where it was asked for."""
    pid: int | None
    """None for one that was started by hand, elsewhere."""
    log: Path
    started: bool = False
    """By this call."""


async def ensure_local_hub(
    base_home: Path,
    url: str,
    *,
    note: Note | None = None,
    revive: bool = True,
    wait_secs: float = START_SECS,
) -> LocalHub:
    """See to it that this machine's hub runs under a URL that means it.

    Whether a URL does is for the caller to ask: `starts_by_itself`.

    Args:
        base_home: The settings' base home, be it an app's or the machine's.
        note: Told in one sentence when a hub was started.
        revive: Also start a hub that its owner stopped. A command somebody typed
            does; what runs in the background leaves it stopped.
        wait_secs: How long it may take until it listens.

    Raises:
        ConnectFailed: It does not come up, another program has its port, or it was
            stopped and is not to be revived.
        ConfigError: Its folder cannot be written, or its settings are damaged.
    """
    paths = hub_paths(base_home)
    seen = look(paths)
    if seen.state is State.RUNNING:
        return _found(paths, seen, url)
    record = read_record(paths)
    if seen.state is State.STOPPED:
        owner = await port_owner_of(url)
        if owner and stands_in(owner, base_home, url):
            return LocalHub(url=url, pid=None, log=paths.log)
        if owner and look(paths).state is State.STOPPED:
            raise refuse(url, owner)
        if not revive:
            _require_wanted(paths, url)
        _require_its_place(base_home, url)
    if record is None or not serves(record.addr, url):
        record = record_for(url)
    hub = await asyncio.to_thread(_start, paths, record, url, wait_secs, revive=revive)
    if hub.started and note is not None:
        note(f"started this machine's hub in the background: {url} ({STATUS})")
    return hub


def stands_in(owner: PortOwner, base_home: Path, url: str) -> bool:
    """Whether who has the port of our hub may be dialled in its place: another hub of
    this user that lets us in.

    Raises:
        ConfigError: A file of ours is damaged.
        IdentityError: Other users may read a secret of ours.
    """
    env = process_environment()
    user = user_home_of(env)
    if user and find_own_hub([user / DEFAULT_HOME], url):
        return True
    file = machine_home(base_home) / join_secrets.FILE_NAME
    known = env.get("PARLER_JOIN_SECRET") or join_secrets.JoinSecrets(file).for_hub(url)
    return owner.may_stand_in(secret_known=bool(known))


def _require_its_place(base_home: Path, url: str) -> None:
    """Refuse to start where an address is that of another hub, which does not run.

    An empty hub in its place would make all its rooms seem lost.

    Raises:
        ConnectFailed: It is; both are named.
    """
    ours, user = hub_paths(base_home), user_home_of(process_environment())
    usual = hub_paths(user / DEFAULT_HOME) if user else ours
    record = None
    if usual != ours:
        with contextlib.suppress(ConfigError):  # whoever lives there is told
            record = read_record(usual)
    if record is not None and serves(record.addr, url):
        home = shlex.quote(str(usual.folder.parent))
        raise ConnectFailed(
            url,
            f"that is where your hub in {usual.folder} belongs, which does not run; "
            f"the one of this home, in {ours.folder}, is another",
            next_step=f"parler hub start --home {home}, or in this home: parler "
            f"connect --local --port {free_port_after(record.port)}",
        )
    if token := known_instead(base_home, url):
        raise ConnectFailed(
            url,
            f"your rooms there live on the hub {token}, which does not run; this "
            f"machine's own, in {ours.folder}, is another",
            next_step="start it again as you did (parler hub --db …), or this "
            "machine's own in its place: parler hub start",
        )


def known_instead(base_home: Path, url: str) -> str | None:
    """The token of another hub that agents know under an address of ours.

    Raises:
        ConfigError: The file of known hubs is damaged.
    """
    paths, file = hub_paths(base_home), known_hubs.FILE_NAME
    known = known_hubs.KnownHubs(
        paths.folder.parent / file, remember=False, earlier=base_home / file
    )
    token = known.token_of(url)
    return None if token and (_hub_id(paths) or "").startswith(token) else token


def _hub_id(paths: HubPaths) -> str | None:
    """That of the hub's database, if there is one."""
    sqlite3 = import_module("sqlite3")

    with contextlib.suppress(sqlite3.Error):
        uri = f"{paths.database.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            found = database.execute("SELECT value FROM meta WHERE key = 'hub_id'")
            return next((str(value) for (value,) in found), None)
    return None


def use_local_hub(base_home: Path, *, port: int = DEFAULT_PORT) -> LocalHub:
    """Have the hub serve this machine alone, from now on.

    One that served a team is restarted, with all it stores. Takes seconds and blocks:
    on an event loop call it in a thread.

    Raises:
        ConnectFailed: It does not come up, or its port is taken.
        ConfigError: Its files cannot be written.
    """
    return reconfigure(base_home, Record(addr=f"127.0.0.1:{port}"))


def start(
    base_home: Path, record: Record, *, wait_secs: float = START_SECS
) -> LocalHub:
    """Start the hub that a record describes, unless it runs.

    Raises:
        ConnectFailed: It does not come up, or another program has its port.
        ConfigError: Its folder cannot be written.
    """
    paths = hub_paths(base_home)
    _require_free_port(paths, record.url)
    return _start(paths, record, record.url, wait_secs, revive=True)


def reconfigure(
    base_home: Path,
    record: Record,
    *,
    again: bool = False,
    wait_secs: float = START_SECS,
) -> LocalHub:
    """Have the hub run as a record says, from now on.

    Args:
        again: Also restart a hub that runs like that already.

    Raises:
        ConnectFailed: It does not come up, or its place is another's; the former
            decision stands, and what ran before runs again.
        ConfigError: Its folder cannot be written, or the old one cannot be stopped.
    """
    paths = hub_paths(base_home)
    before, ran = read_record(paths), None
    if not look(paths).is_at(record.url):
        _require_free_port(paths, record.url)
        if before is None or before.port != record.port:
            _require_its_place(base_home, record.url)
    if before != record or again:
        ran = stop(base_home)
        write_record(paths, record)
    try:
        return start(base_home, record, wait_secs=wait_secs)
    except ConnectFailed:
        if before is None:
            paths.record.unlink(missing_ok=True)
        elif before != record:
            write_record(paths, before)
            if ran is not None:
                with contextlib.suppress(ParlerError):
                    start(base_home, before, wait_secs=wait_secs)
        raise


def stop(
    base_home: Path, *, wait_secs: float = STOP_SECS, force: bool = False
) -> Seen | None:
    """Stop the hub, and have agents in the background leave it stopped.

    Args:
        force: Kill it if it does not end in time.

    Returns:
        What ran until now, or None if nothing did.

    Raises:
        ConfigError: It cannot be stopped from here, or did not end in time.
    """
    paths = hub_paths(base_home)
    if look(paths).state is State.STOPPED and not paths.folder.is_dir():
        return None
    deadline = time.monotonic() + wait_secs
    with _changing(paths, deadline):
        files.write_private(paths.stopped, b"")
        seen = look(paths)
        if seen.state is State.STOPPED:
            return None
        service.stop(service.this_system(base_home))
        if _ended(paths, min(deadline, time.monotonic() + _POLL_SECS)):
            return seen
        seen = _with_pid(paths, deadline)
        _signal(paths, seen.pid, signal.SIGTERM)
        if _ended(paths, deadline):
            return seen
        if not force:
            raise ConfigError(
                f"the hub (process {seen.pid}) did not end within {wait_secs:g} s",
                next_step="parler hub stop --force",
            )
        _signal(paths, seen.pid, signal.SIGKILL)
        if not _ended(paths, time.monotonic() + wait_secs):
            raise ConfigError(f"the hub (process {seen.pid}) cannot be killed")
        return seen


def _require_free_port(paths: HubPaths, url: str) -> None:
    if look(paths).is_at(url):
        return
    with ThreadPoolExecutor(1) as pool:  # the caller may be on an event loop
        owner = pool.submit(lambda: asyncio.run(port_owner_of(url))).result()
    if owner and not look(paths).is_at(url):
        raise refuse(url, owner)


def _found(paths: HubPaths, seen: Seen, url: str) -> LocalHub:
    if not seen.is_at(url):
        raise ConnectFailed(
            url,
            f"the local hub runs at {seen.url} instead",
            next_step="parler hub stop, or name that one",
        )
    return LocalHub(url=url, pid=seen.pid, log=paths.log)


def _start(
    paths: HubPaths, record: Record, url: str, wait_secs: float, *, revive: bool
) -> LocalHub:
    deadline = time.monotonic() + wait_secs
    with _changing(paths, deadline):
        seen = _settled(paths, deadline)
        if seen.state is State.RUNNING:
            return _found(paths, seen, url)
        if not revive:  # it may have been about to end when we looked first
            _require_wanted(paths, url)
        paths.stopped.unlink(missing_ok=True)
        if read_record(paths) != record:
            write_record(paths, record)
        if service.start(service.this_system(paths.folder.parent)):
            seen = _begun(paths, min(deadline, time.monotonic() + SERVICE_SECS))
        if seen.state is State.STOPPED:
            with _spawned(paths) as life:
                seen = _listening(paths, deadline, life)
        else:
            seen = _listening(paths, deadline, None)
    hub = _found(paths, seen, url)
    return LocalHub(url=url, pid=hub.pid, log=paths.log, started=True)


def _require_wanted(paths: HubPaths, url: str) -> None:
    if paths.stopped.exists():
        raise ConnectFailed(
            url, "the local hub was stopped", next_step="parler hub start"
        )


def _settled(paths: HubPaths, deadline: float) -> Seen:
    """Wait while a hub comes up that somebody else started, or one goes down."""
    while True:
        seen = look(paths)
        if seen.state in (State.RUNNING, State.STOPPED):
            return seen
        if time.monotonic() >= deadline:
            raise _failed(paths, f"it has been {seen.state} for too long")
        time.sleep(_POLL_SECS)


def _begun(paths: HubPaths, deadline: float) -> Seen:
    """What the system's service manager made of it; it may say yes and do nothing."""
    while True:
        seen = look(paths)
        if seen.state is not State.STOPPED or time.monotonic() >= deadline:
            return seen
        time.sleep(_POLL_SECS)


@contextlib.contextmanager
def _changing(paths: HubPaths, deadline: float) -> Iterator[None]:
    left = max(deadline - time.monotonic(), 0.0)
    with files.locked(paths.starting, wait_secs=left):
        yield


@contextlib.contextmanager
def _spawned(paths: HubPaths) -> Iterator[int]:
    """Start the hub; gives a file that ends when the hub's process does."""
    if not daemon.can_start():
        raise ConfigError(
            "a hub cannot be started in the background on this system",
            next_step="parler connect --hub URL, of a hub that runs elsewhere",
        )
    with daemon.started(
        service.hub_command(paths.folder.parent),
        folder=paths.folder,
        log=paths.log,
        env=daemon.environment(process_environment()),
    ) as life:
        yield life


def _listening(paths: HubPaths, deadline: float, life: int | None) -> Seen:
    while True:
        seen = look(paths)
        if seen.state is State.RUNNING:
            return seen
        gone = life is None or daemon.has_ended(life, _POLL_SECS)
        if life is None:
            time.sleep(_POLL_SECS)
        elif gone and look(paths).state is State.STOPPED:
            raise _failed(paths, f"it ended at once: {daemon.last_words(paths.log)}")
        elif gone:
            life = None  # another one, started elsewhere, is on its way
        if time.monotonic() >= deadline:
            raise _failed(paths, "it is not ready in time")


def _failed(paths: HubPaths, why: str) -> ConnectFailed:
    record = read_record(paths) or Record()
    return ConnectFailed(
        record.url, f"the local hub did not start: {why}", next_step=LOGS
    )


def _ended(paths: HubPaths, deadline: float) -> bool:
    while look(paths).state is not State.STOPPED:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECS)
    return True


def _with_pid(paths: HubPaths, deadline: float) -> Seen:
    while True:
        seen = look(paths)
        if seen.pid is not None or seen.state is State.STOPPED:
            return seen
        if time.monotonic() >= deadline:
            raise ConfigError(f"{paths.running} is held, and nobody says by whom")
        time.sleep(_POLL_SECS)


def _signal(paths: HubPaths, pid: int | None, number: signal.Signals) -> None:
    if pid is None:
        return
    if not daemon.holds(pid, paths.running):
        if look(paths).state is State.STOPPED:
            return
        raise ConfigError(
            f"process {pid} is not the hub: it runs in another container, "
            f"or as another user; stop it there",
            next_step=shlex.join(["fuser", "-v", str(paths.running)]),
        )
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
