"""Which seat a window has: the one of its project's agents that it works as.

An app may run in several windows in one project. Each takes a seat, a home of its own
with key, mail and active session, and has it for as long as its process runs. A
conversation that is resumed gets the seat it had; any other window the lowest free one,
so that one window is always the first, through every restart.

MCP server, hooks and shell commands of a window come here, and find the same seat by
the process of the app above them. This is imported at every hook of an app, so it needs
quick modules only.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from parler.apps.kit.app import App
from parler.apps.registry import app_named, app_of_program
from parler.apps.running import app_above, app_process, is_shared
from parler.errors import ConfigError
from parler.identity.homes import PLACE_FILE, SEATS, Home, seat_home
from parler.identity.places import MAX_SEATS, Place, is_seat, read_place, write_place
from parler.machine import files
from parler.machine.processes import Process, is_running, machine, process, upward

MAX_CONVERSATIONS = 64
"""Of one seat; the oldest is forgotten first."""

MAX_CONVERSATION_CHARS = 200
MAX_PROJECTS = 1000
"""Looked through for the window of a shell that is elsewhere."""

BEAT_SECS = 20.0
"""How old a record may be before whoever has the seat makes it new."""

STALE_SECS = 60.0
"""A record so old is of a window that is gone, where its process cannot be seen: in
another container, before a restart, on another machine that shares the home."""

LOCK_SECS = 15.0
"""Many windows may open at once, and a disk be slow."""

_LOCK = "seats"


class Window(NamedTuple):
    """One window of an app, as a process of ours below it sees it."""

    process: Process | None
    """Whose life is the window's; None where it cannot be told."""

    conversation: str | None = None
    """As the app calls it, if it told us."""

    is_current: bool = False
    """The conversation is the one that the window is in now, not only the one it was in
    when our process began."""

    takes: bool = True
    """It surely is a window: it may have a seat that nobody has."""


class SeatUnknown(ConfigError):
    """Several windows work here, and nothing tells which of them asks."""

    code = "seat_unknown"


class Seats:
    """The seats of one app in one project."""

    def __init__(
        self,
        home: Path,
        *,
        app: str = "",
        folder: str = "",
        here: str | None = None,
        runs: Callable[[Process], bool] = is_running,
    ) -> None:
        """Nothing is read yet.

        Args:
            home: The project's, that of the first seat.
            app: The app's id, and
            folder: the project's folder, for whoever lists the agents of this machine.
            here: What names this run of the machine (`processes.machine`).
            runs: Whether a process of this machine runs.
        """
        self.home = home
        self._app = app
        self._folder = folder
        self._here = here if here is not None else machine()
        self._runs = runs

    def seat_of(self, window: Window) -> int:
        """The seat of a window; it takes one if it has none and may.

        Raises:
            SeatUnknown: It may be one of several, or every seat is taken.
            ConfigError: Another process changes them for too long.
        """
        told = _known_words(window.conversation)
        window = window._replace(conversation=told)
        mine = self.of(window.process)
        if mine is not None and not _tells_more(window, mine):
            self._beat(mine)
            return mine.seat
        if mine is None and not (window.process and window.takes):
            return self._guessed(window)
        try:
            with files.locked(self.home / _LOCK, wait_secs=LOCK_SECS):
                return self._settled(window)
        except files.Unwritable:
            if self._is_writable():
                raise
            return mine.seat if mine else 1  # nothing is kept here, for nobody

    def is_free(self, place: Place) -> bool:
        """Whether nobody has a seat; in doubt somebody has."""
        if place.holder is None:
            return True
        if place.machine == self._here:
            return not self._runs(place.holder)
        return self._age(place.seat) > STALE_SECS

    def places(self) -> Iterator[Place]:
        """The seats that were ever taken, in their order, each read when asked for."""
        for seat in (1, *self._further()):
            place = read_place(seat_home(self.home, seat))
            if place is not None:
                yield place

    def of(
        self, holder: Process | None, places: list[Place] | None = None
    ) -> Place | None:
        """The seat that a process has."""
        if holder is None:
            return None
        for place in self.places() if places is None else places:
            if place.holder == holder and place.machine == self._here:
                return place
        return None

    def may_be_told(self, seat: int) -> bool:
        """Whether the window of a seat may yet turn out to resume another's."""
        mine = read_place(seat_home(self.home, seat))
        if mine is None or mine.conversation is not None:
            return False
        others = (place for place in self.places() if place.seat != seat)
        return any(one.conversations and self.is_free(one) for one in others)

    def conversation_of(self, seat: int) -> str | None:
        """The conversation that the window of a seat is in, if it told."""
        place = read_place(seat_home(self.home, seat))
        return place.conversation if place else None

    # What is decided, with the lock held

    def _settled(self, window: Window) -> int:
        places = list(self.places())
        mine = self.of(window.process, places)
        if mine is None and window.process and not self._runs(window.process):
            raise SeatUnknown("the window that this was started for has ended")
        told = window.conversation
        owner = _owner(told, places)
        goal = mine
        if owner is not None and owner is not mine and self.is_free(owner):
            goal = owner
        if goal is None:
            goal = self._lowest(places)
        if mine is not None and goal is not mine:
            self._write(mine._replace(holder=None, conversation=None))
        self._write(
            goal._replace(
                app=self._app or goal.app,
                folder=self._folder or goal.folder,
                holder=window.process,
                machine=self._here,
                conversation=told or (goal.conversation if goal is mine else None),
                conversations=goal.conversations
                if owner is not None or told is None
                else (*goal.conversations, told)[-MAX_CONVERSATIONS:],
            )
        )
        return goal.seat

    def _lowest(self, places: list[Place]) -> Place:
        known = {place.seat: place for place in places}
        for seat in range(1, MAX_SEATS + 1):
            place = known.get(seat, Place(seat))
            if self.is_free(place):
                return place
        raise SeatUnknown(f"{MAX_SEATS} windows work in this project already")

    # Where no process tells which window it is

    def _guessed(self, window: Window) -> int:
        places = list(self.places())
        owner = _owner(window.conversation, places)
        if owner is not None:
            return owner.seat
        held = [place for place in places if not self.is_free(place)]
        if not held:
            return 1
        silent = [place for place in held if place.conversation is None]
        told = window.conversation if window.is_current else None
        if told and len(silent) == 1:
            with files.locked(self.home / _LOCK):
                place = read_place(seat_home(self.home, silent[0].seat))
                if place == silent[0]:
                    known = (*place.conversations, told)[-MAX_CONVERSATIONS:]
                    self._write(place._replace(conversation=told, conversations=known))
            return silent[0].seat
        if len(held) == 1 and told is None:
            return held[0].seat
        raise SeatUnknown(
            f"nothing tells which window this is; those that work in this project: "
            f"{len(held)}",
            next_step=f"name its home: --home {seat_home(self.home, held[0].seat)}",
        )

    # Files

    def _further(self) -> list[int]:
        try:
            with os.scandir(self.home / SEATS) as entries:
                found = [int(entry.name) for entry in entries if is_seat(entry.name)]
        except OSError:
            return []
        return sorted(found)

    def _path(self, seat: int) -> Path:
        return seat_home(self.home, seat) / PLACE_FILE

    def _write(self, place: Place) -> None:
        write_place(seat_home(self.home, place.seat), place)

    def _beat(self, place: Place) -> None:
        if not 0 <= self._age(place.seat, measured=False) < BEAT_SECS:
            with suppress(OSError):
                os.utime(self._path(place.seat))

    def _age(self, seat: int, *, measured: bool = True) -> float:
        """How many seconds ago a seat's record was made new; 0 where that is unknown.

        Args:
            measured: By the clock of the file system, which all that share it have,
                not by ours.
        """
        lock = self.home / f"{_LOCK}.lock"
        try:
            made = self._path(seat).stat().st_mtime
            if not measured:
                return _now() - made
            os.utime(lock)
            return lock.stat().st_mtime - made
        except OSError:
            return 0.0

    def _is_writable(self) -> bool:
        try:
            files.check_writable(self.home / PLACE_FILE)
        except ConfigError:
            return False
        return True


def server_window(home: Home, env: Mapping[str, str]) -> Window:
    """The window that an MCP server of ours, this process, was started for."""
    own = os.getpid()
    app = app_named(home.app) if home.app else None
    found = _window(app, own, server=True) if app else None
    if found is None:
        found = Window(app_above(own).process)
    return found._replace(conversation=_by_variables(app, env))


def hook_window(app_id: str, conversation: str, *, is_current: bool) -> Window:
    """The window that ran a hook, this process."""
    app = app_named(app_id)
    found = _window(app, os.getpid()) if app else None
    if found is None:
        found = Window(app_above(os.getpid()).process, takes=False)
    return found._replace(conversation=conversation or None, is_current=is_current)


def shell_window(home: Home, env: Mapping[str, str]) -> Window:
    """The window in whose shell a command, this process, runs."""
    app = app_named(home.app) if home.app else shell_app()
    found = _window(app, os.getpid()) if app else None
    return (found or Window(None))._replace(conversation=_by_variables(app, env))


def shell_app() -> App | None:
    """The agent app in whose shell we are; an editor's terminals are for people."""
    for seen in islice(upward(os.getpid()), 1, None):
        app = app_of_program(seen.program) or app_of_program(seen.name)
        if app is not None:
            return None if app.is_editor else app
    return None


def seats_of(home: Home) -> Seats:
    """The seats of the app and the project that a home is of."""
    assert home.scope is not None
    return Seats(home.scope, app=home.app or "", folder=str(home.project or ""))


def in_seat(home: Home, window: Window) -> Home:
    """The home of a window's seat in a project.

    Raises:
        ConfigError: As for `Seats.seat_of`.
    """
    return home._replace(seat=seats_of(home).seat_of(window))


def shell_home(home: Home, env: Mapping[str, str]) -> Home:
    """The home of the window in whose shell a command, this process, runs.

    The shell may have gone to another folder or work tree, and the window's own may
    have been renamed: it is the window that counts, if it is in one project only.

    Raises:
        ConfigError: As for `Seats.seat_of`.
    """
    window = shell_window(home, env)
    if window.process is not None and seats_of(home).of(window.process) is None:
        found = list(islice(_projects_of(home, window.process), 2))
        if len(found) == 1:
            home = found[0]
    return in_seat(home, window)


def _projects_of(home: Home, window: Process) -> Iterator[Home]:
    """The projects of an app in which a process has a seat."""
    try:
        with os.scandir(home.base / "ws") as entries:
            paths = [Path(entry.path) for entry in islice(entries, MAX_PROJECTS)]
    except OSError:
        return
    for path in paths:
        place = Seats(path).of(window)
        if place is not None:
            yield home._replace(scope=path, project=Path(place.folder or ""))


def _window(app: App, pid: int, *, server: bool = False) -> Window | None:
    seen = app_process(app, pid)
    if seen is None:
        return None
    if not is_shared(seen.process):
        return Window(seen.process)
    # One process of several windows: each has a server, which ends with it.
    return Window(process(pid) if server else None)


def _by_variables(app: App | None, env: Mapping[str, str]) -> str | None:
    names = app.conversation_variables if app else ()
    return next((env[name] for name in names if env.get(name)), None)


def _known_words(conversation: str | None) -> str | None:
    if not conversation:
        return None
    return conversation.encode("utf-8", "replace").decode()[:MAX_CONVERSATION_CHARS]


def _tells_more(window: Window, mine: Place) -> bool:
    """Whether what a window tells of its conversation may change its seat."""
    if window.conversation is None or window.conversation == mine.conversation:
        return False
    return window.is_current or mine.conversation is None


def _owner(conversation: str | None, places: list[Place]) -> Place | None:
    if conversation is None:
        return None
    return next((one for one in places if conversation in one.conversations), None)


def _now() -> float:
    import time

    return time.time()
