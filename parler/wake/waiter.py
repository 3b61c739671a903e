"""Waiting beside an idle session until mail comes that may wake it.

One process waits for each app process, and no longer than that lives, has the home and
somebody reads the hub for it. Where several windows share an identity, only the one
whose MCP server reads the hub is told of mail.
"""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from parler.apps.running import AppProcess, app_above
from parler.errors import ConfigError
from parler.machine.files import is_locked, locked
from parler.machine.processes import is_running
from parler.wake.spool import POLL_SECS, Spool, consumer_pid, has_consumer

MAX_WAIT_SECS = 12 * 3600.0
"""The app ends what it started after a time of its own; we come first."""

ALONE_SECS = 45.0
"""So long nobody may read the hub: the server starts after the session, or anew."""

WAITERS_FOLDER = "waiters"


def wait_for_home(
    home: Path,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait for the home that an app's server makes in a new project.

    Returns:
        False if none came for so long that nobody would read the hub either.
    """
    deadline = now() + ALONE_SECS
    while not home.is_dir():
        if now() >= deadline:
            return False
        sleep(POLL_SECS)
    return True


def wait_for_mail(
    home: Path,
    *,
    is_ours: Callable[[], bool] = lambda: True,
    timeout: float = MAX_WAIT_SECS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait for urgent mail; False if another waits, or nobody would be woken.

    Args:
        is_ours: Whether the home is still that of the session above us.
    """
    above = app_above(os.getpid())
    folder = home / WAITERS_FOLDER
    _sweep(folder)
    going = _Going(home, above, now, is_ours)
    spool = Spool(home)
    deadline = now() + timeout
    try:
        with locked(folder / str(above.process.pid), wait_secs=0):
            sleep(POLL_SECS)  # what waits already, the turn's end may still show
            while spool.wait(
                deadline - now(), urgent=True, going=going, now=now, sleep=sleep
            ):
                if of_this_window(home, above):
                    return True
                sleep(POLL_SECS)
    except ConfigError:
        return False
    return False


def is_armed(home: Path) -> bool:
    """Whether somebody waits beside a session of this home."""
    with suppress(OSError):
        return any(is_locked(path.with_suffix("")) for path in _locks(home))
    return False


def of_this_window(home: Path, above: AppProcess | None = None) -> bool:
    """Whether the session above us is the one that the hub is read for.

    In doubt it is: better the wrong window is told than none.
    """
    pid = consumer_pid(home)
    if pid is None or not has_consumer(home):
        return True
    mine = above or app_above(os.getpid())
    other = app_above(pid)
    if mine.app is None or other.app != mine.app:
        return True
    return other.process == mine.process


class _Going:
    """Whether there is still a session to wake."""

    def __init__(
        self,
        home: Path,
        above: AppProcess,
        now: Callable[[], float],
        is_ours: Callable[[], bool],
    ) -> None:
        self._home = home
        self._is_ours = is_ours
        self._above = above
        self._now = now
        self._heard = now()

    def __call__(self) -> bool:
        if not is_running(self._above.process) or _nobody_listens():
            return False
        if not self._is_ours():
            return False
        if has_consumer(self._home):
            self._heard = self._now()
        return self._now() - self._heard < ALONE_SECS


def _nobody_listens() -> bool:
    """Whether the app has closed its end of our output: it is gone, or gave us up."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return bool(poll.poll(0))


def _locks(home: Path) -> list[Path]:
    return list((home / WAITERS_FOLDER).glob("*.lock"))


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for path in _locks(folder.parent):
            if not is_locked(path.with_suffix("")):
                path.unlink()
