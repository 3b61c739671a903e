"""Waiting mail between the one process that reads the hub and those that reach a model.

The consumer of an identity (its MCP server) offers what waits; whoever can show it to
the model, the consumer itself or a hook of the app, takes it here, so that an item is
shown by one of them, and again only if that one died before recording it. Nothing
here talks to a hub or words a text. It is imported at every hook of an app, so it
needs the standard library and `files` alone.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from parler.errors import ConfigError
from parler.machine import files

WAITING_FILE = "waiting.json"
SHOWN_FILE = "shown.json"
HELD_FOLDER = "held"
HOOKS_FOLDER = "hooks"
CONSUMER = "consumer"
"""Its lock, ``consumer.lock``, is held by the process that reads the hub."""

MAX_ITEMS = 200
MAX_TEXT_CHARS = 16_000
MAX_OFFER_BYTES = 700_000
MAX_RECORDS = 600
"""More than can wait at once: what is offered again is still known to be shown."""

MAX_SESSION_BYTES = 200
POLL_SECS = 0.5
_CUT = "\n[… cut: this is not all of it]"


class Item(NamedTuple):
    """Something a model should be given."""

    room: str
    seq: int
    """Its number in the room; 0 for a notice or a knock, which has a `key`."""

    text: str
    """Framed already: the words of a peer are marked as data."""

    urgent: bool
    """It may wake an idle agent; else it waits for the next turn."""

    key: str = ""
    """What tells it from any other, a message's id for example; may be empty with a
    `seq`. Messages should have one: numbers start anew on another hub."""

    @property
    def mark(self) -> tuple[str, int, str]:
        """What an item is recognised by."""
        return self.room, self.seq, self.key


class Shown(NamedTuple):
    """A record that a model was given an item."""

    hub: str
    room: str
    seq: int
    key: str
    via: str
    """The path that brought it."""

    at: int
    """When, in milliseconds since 1970."""

    @property
    def mark(self) -> tuple[str, int, str]:
        """What the item is recognised by."""
        return self.room, self.seq, self.key


class Held:
    """Items on their way to a model, hidden from other takers until it is known
    whether they arrived. If this process dies first, they wait again."""

    def __init__(self, spool: "Spool", items: list[Item], via: str) -> None:
        self.items = items
        self._spool = spool
        self._via = via
        self._stack = ExitStack()
        self._path: Path | None = None

    def confirm(self) -> None:
        """The model has them.

        Raises:
            ConfigError: It cannot be recorded; they are still held.
        """
        if self._path is None:
            return
        with self._spool._locked(files.LOCK_WAIT_SECS):
            self._spool._record(self.items, self._via)
        self.release()

    def release(self) -> None:
        """They did not arrive, or that is unknown: they wait again."""
        path, self._path = self._path, None
        self._stack.close()
        if path is not None:
            for name in (path, _lock_of(path)):
                with suppress(OSError):
                    name.unlink()

    def _begin(self, folder: Path) -> None:
        path = folder / files.random_hex(8)
        self._stack.enter_context(files.locked(path))
        self._path = path
        marks = [list(item.mark) for item in self.items]
        files.write_private(path, json.dumps(marks).encode())


class Spool:
    """What waits in the home of one identity, and what was shown of it."""

    def __init__(self, home: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.home = home
        self._clock = clock
        self._waiting = home / WAITING_FILE
        self._shown = home / SHOWN_FILE
        self._held = home / HELD_FOLDER
        self._offered: bytes | None = None

    def offer(self, items: Sequence[Item], *, hub: str = "") -> int:
        """Replace what waits, in the order in which it should be shown.

        For the consumer alone. Returns how many were taken over: those beyond the
        bounds are to be offered again when the first ones were shown.

        Raises:
            ConfigError: The home is not writable; the former offer stands.
        """
        kept: list[list[object]] = []
        size = 0
        for item in items[:MAX_ITEMS]:
            text = item.text.encode("utf-8", "replace").decode("utf-8")
            if len(text) > MAX_TEXT_CHARS:
                text = text[: MAX_TEXT_CHARS - len(_CUT)] + _CUT
            row = [item.room, item.seq, text, item.urgent, item.key]
            size += len(files.json_bytes({"row": row}))
            if kept and size > MAX_OFFER_BYTES:
                break
            kept.append(row)
        data = files.json_bytes({"hub": hub, "items": kept})
        if data != self._offered or not self._waiting.exists():
            files.write_private(self._waiting, data)
            self._offered = data
        return len(kept)

    def waiting(self) -> list[Item]:
        """What waits and was neither shown nor is on its way; a look, no claim."""
        hub, items = self._read_waiting()
        if not items:
            return []
        hidden = {record.mark for record in self._read_shown() if record.hub == hub}
        hidden |= self._marks_held()
        return [item for item in items if item.mark not in hidden]

    @contextmanager
    def take(
        self,
        *,
        via: str = "",
        max_chars: int | None = None,
        max_bytes: int | None = None,
        wait_secs: float = 2.0,
    ) -> Iterator[list[Item]]:
        """Show what waits: what is still in the list at the end counts as shown.

        At an exception nothing does. With a limit only as many as fit into it are
        given, but one at least. Nobody else takes anything meanwhile, so be quick.

        Raises:
            ConfigError: Somebody else is taking, or the home is not writable.
        """
        with self._locked(wait_secs):
            items = _fitting(self.waiting(), max_chars, max_bytes)
            if items:
                files.check_writable(self._shown)
            yield items
            self._record(items, via)

    def hold(
        self,
        *,
        via: str = "",
        max_chars: int | None = None,
        wait_secs: float = 2.0,
    ) -> Held:
        """As `take`, for one who learns only later whether the model got them.

        Raises:
            ConfigError: Somebody else is taking, or the home is not writable.
        """
        with self._locked(wait_secs):
            held = Held(self, _fitting(self.waiting(), max_chars, None), via)
            if held.items:
                files.check_writable(self._shown)
                held._begin(self._held)
        return held

    def shown(self) -> dict[str, int]:
        """Per room, up to where everything offered was shown: the cursor to set.

        An item that waits or is on its way holds back all later ones of its room.
        """
        hub, items = self._read_waiting()
        records = [record for record in self._read_shown() if record.hub == hub]
        marks = {record.mark for record in records}
        first: dict[str, int] = {}
        for item in items:
            if item.seq and item.mark not in marks:
                first[item.room] = min(item.seq, first.get(item.room, item.seq))
        reached: dict[str, int] = {}
        for record in records:
            if 0 < record.seq < first.get(record.room, record.seq + 1):
                reached[record.room] = max(record.seq, reached.get(record.room, 0))
        return reached

    def history(self) -> list[Shown]:
        """What was shown lately, oldest first; notices among it by their key."""
        return self._read_shown()

    def wait(
        self,
        timeout: float,
        *,
        poll: float = POLL_SECS,
        urgent: bool = False,
        going: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Wait until something waits that nobody has shown; False if nothing did.

        Args:
            urgent: Only what may wake somebody counts.
            going: Asked at each look; waiting ends when it says no.
        """
        deadline = now() + timeout
        seen: object = None
        while going():
            state = self._state()
            # What somebody held may be free without a trace in the files.
            if state != seen or state[2] is not None:
                seen = state
                items = self.waiting()
                if any(item.urgent for item in items) if urgent else items:
                    return True
            left = deadline - now()
            if left <= 0:
                return False
            sleep(min(poll, left))
        return False

    def _state(self) -> tuple[object, object, object]:
        held: object = None
        with suppress(OSError):
            held = sorted(self._held.iterdir()) or None
        return _version(self._waiting), _version(self._shown), held

    @contextmanager
    def _locked(self, wait_secs: float) -> Iterator[None]:
        with files.locked(self._shown, wait_secs=wait_secs):
            yield

    def _record(self, items: Sequence[Item], via: str) -> None:
        if not items:
            return
        hub, _ = self._read_waiting()
        at = int(self._clock() * 1000)
        records = self._read_shown()
        records += [Shown(hub, *item.mark, via, at) for item in items]
        shown = [list(record) for record in records[-MAX_RECORDS:]]
        files.write_private(self._shown, files.json_bytes({"shown": shown}))

    def _read_waiting(self) -> tuple[str, list[Item]]:
        raw = _object(self._waiting)
        hub, found = raw.get("hub"), raw.get("items")
        items: list[Item] = []
        for row in found if isinstance(found, list) else []:
            match row:
                case [str(room), int(seq), str(text), bool(urgent), str(key)]:
                    items.append(Item(room, seq, text, urgent, key))
        return hub if isinstance(hub, str) else "", items[:MAX_ITEMS]

    def _read_shown(self) -> list[Shown]:
        found = _object(self._shown).get("shown")
        records: list[Shown] = []
        for row in found if isinstance(found, list) else []:
            match row:
                case [str(hub), str(room), int(seq), str(key), str(via), int(at)]:
                    records.append(Shown(hub, room, seq, key, via, at))
        return records

    def _marks_held(self) -> set[tuple[str, int, str]]:
        marks: set[tuple[str, int, str]] = set()
        with suppress(OSError):
            for path in list(self._held.iterdir()):
                if path.suffix or path.name.startswith("."):
                    continue
                if files.is_locked(path):
                    marks |= _marks(path)
                else:  # its holder has died
                    for left in (path, _lock_of(path)):
                        with suppress(OSError):
                            left.unlink()
        return marks


def has_consumer(home: Path) -> bool:
    """Whether a process reads the hub for this identity now."""
    return files.is_locked(home / CONSUMER)


@contextmanager
def consumer(home: Path, *, wait_secs: float = 0.0) -> Iterator[None]:
    """Be the one process that reads the hub for an identity.

    The system ends it with the process. Others look for a moment whether there is
    one, so try again before believing a refusal.

    Raises:
        ConfigError: Another process is.
    """
    path = home / CONSUMER
    with files.locked(path, wait_secs=wait_secs):
        files.write_private(path, f"{os.getpid()}\n".encode())
        yield


def consumer_pid(home: Path) -> int | None:
    """The process that reads the hub, or was the last to do so."""
    try:
        return int(files.read_bounded(home / CONSUMER, limit=20))
    except (FileNotFoundError, ConfigError, ValueError):
        return None


def note_hook(home: Path, event: str, session: str = "") -> None:
    """Leave a trace that the app runs this hook, and in which session; never fails."""
    folder = home / HOOKS_FOLDER
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        text = session.encode("utf-8", "replace")[:MAX_SESSION_BYTES]
        (folder / event).write_bytes(text)


def hooks_seen(home: Path) -> dict[str, float]:
    """The hooks that ever ran in this home, and when last, in seconds since 1970."""
    seen: dict[str, float] = {}
    with suppress(OSError):
        for path in (home / HOOKS_FOLDER).iterdir():
            with suppress(OSError):
                seen[path.name] = path.stat().st_mtime
    return seen


def session_of_hooks(home: Path) -> str | None:
    """The app's session whose hook ran last, if it told its name."""
    seen = hooks_seen(home)
    if not seen:
        return None
    last = max(seen, key=lambda event: seen[event])
    with suppress(FileNotFoundError, ConfigError, ValueError):
        path = home / HOOKS_FOLDER / last
        return files.read_bounded(path, limit=MAX_SESSION_BYTES).decode() or None
    return None


def _fitting(
    items: list[Item], max_chars: int | None, max_bytes: int | None
) -> list[Item]:
    fitting: list[Item] = []
    chars = size = 0
    for item in items:
        chars += len(item.text)
        size += len(item.text.encode("utf-8", "replace"))
        fits = (max_chars is None or chars <= max_chars) and (
            max_bytes is None or size <= max_bytes
        )
        if fitting and not fits:
            break
        fitting.append(item)
    return fitting


def _object(path: Path) -> dict[str, object]:
    # What cannot be read counts as empty: at worst an item is shown twice.
    try:
        return files.json_object(files.read_private(path))
    except (FileNotFoundError, ConfigError, ValueError):
        return {}


def _marks(path: Path) -> set[tuple[str, int, str]]:
    try:
        rows = json.loads(files.read_private(path))
    except (FileNotFoundError, ConfigError, ValueError):
        return set()
    marks: set[tuple[str, int, str]] = set()
    for row in rows if isinstance(rows, list) else []:
        match row:
            case [str(room), int(seq), str(key)]:
                marks.add((room, seq, key))
    return marks


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
