"""One continuing conversation for each pair of asking and asked project, on disk.

A folder for each pair holds the transcript, which is only ever appended to, and what
is needed to go on: which session of which app, and durable notes. Each line of the
transcript is on disk before the next step begins, so after a crash it says how far a
question came: *asked*, then *answered*, *failed* or *declined*. A line that a crash
cut off is passed over. One question of a pair is answered at a time.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from parler.apps.registry import app_id
from parler.ask.alias import Alias, alias_of
from parler.errors import ConfigError, UsageError
from parler.machine.files import (
    Unwritable,
    keep_copy,
    locked,
    make_private_dir,
    read_bounded,
    write_private,
)
from parler.wire.base import Millis

FOLDER = "asks"
MAX_NOTES = 50
MAX_NOTE_CHARS = 1000
MAX_REFUSED_CHARS = 300
MAX_REFUSED_BYTES = 2**20
MAX_TEXT_CHARS = 64_000
"""Of a question or an answer that a line holds."""

_LOCK_POLL_SECS = 0.1
_MAX_LINE_BYTES = 2**20
_TAIL_BYTES = 16 * 2**20
_MAX_PAIRS = 1000


class Tier(StrEnum):
    """Who answered."""

    LIVE = "live"
    """A session that runs anyway."""

    RESUMED = "resumed"
    """The agent was started and went on with this conversation."""

    FRESH = "fresh"
    """The agent was started and knew nothing of this conversation."""


class Event(StrEnum):
    """What a line of a transcript tells."""

    ASKED = "asked"
    ANSWERED = "answered"
    FAILED = "failed"
    DECLINED = "declined"
    FORGOTTEN = "forgotten"
    """From here on the agent does not remember what was said before."""


class Line(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line of a transcript."""

    event: Event
    turn: str
    """Which question this is about."""

    at: Millis
    asker: str
    """Who asked: a project or an agent, as it calls itself."""

    project: str
    text: str = ""
    asker_id: str | None = None
    answerer: str | None = None
    tier: Tier | None = None
    app: str | None = None
    session: str | None = None
    permission: str | None = None
    elapsed_ms: int | None = None
    usd: float | None = None
    tokens: int | None = None
    note: str | None = None
    message: str | None = None
    """The message on the hub that carried the question."""


class State(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a pair needs to go on."""

    asker: str = ""
    sessions: dict[str, str] = {}
    """The app's own name of our conversation with it, by its id."""

    last: str | None = None
    """Who answered last: an agent's id if a live session did."""

    notes: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: the key that stays, and what it is called."""

    key: str
    label: str
    agent: str | None = None


class Thread:
    """The conversation of one pair."""

    def __init__(self, home: Path, alias: Alias, asker: Asker) -> None:
        """Use the pair's folder; nothing is read or written yet."""
        self.alias = alias_of(alias)
        self.asker = asker
        self.use(home / FOLDER / self.alias / _pair(asker.key))

    def use(self, folder: Path) -> None:
        """Use a folder that `pairs_of` found, of whoever it is."""
        self.folder = folder
        self._transcript = folder / "transcript.jsonl"
        self._state = folder / "state.json"

    @asynccontextmanager
    async def turn(self, *, wait_secs: float) -> AsyncIterator[None]:
        """Have the pair for one question.

        Raises:
            UsageError: Another question is being answered for so long.
        """
        busy = UsageError(
            f"another question of {self.asker.label!r} to {self.alias} is still "
            "being answered",
            next_step="ask again when it has been",
        )
        async with held(self.folder / "turn", wait_secs=wait_secs, busy=busy):
            yield

    def append(self, line: Line) -> None:
        """Add a line; when this returns it is on disk.

        Raises:
            ConfigError: It cannot be written.
        """
        append_line(self._transcript, line)

    def lines(self) -> list[Line]:
        """What was said, the oldest first; of a very long transcript the end."""
        return read_lines(self._transcript)

    def state(self) -> State:
        """What is needed to go on; after damage, nothing but the transcript is left."""
        try:
            state = msgspec.json.decode(read_bounded(self._state), type=State)
        except FileNotFoundError:
            return State(asker=self.asker.label)
        except (msgspec.DecodeError, UnicodeError):
            keep_copy(self._state)
            self._state.unlink(missing_ok=True)
            return State(asker=self.asker.label)
        state.sessions = {app_id(key): one for key, one in state.sessions.items()}
        return state

    def save(self, state: State) -> None:
        """Keep what is needed to go on.

        Raises:
            ConfigError: It cannot be written.
        """
        write_private(self._state, msgspec.json.encode(state))

    def remember(self, note: str) -> list[str]:
        """Add a note that is put before each question; returns all of them.

        Raises:
            UsageError: It is empty, too long, or there are too many.
        """
        text = note.strip()
        if not 0 < len(text) <= MAX_NOTE_CHARS:
            raise UsageError(f"a note has 1 to {MAX_NOTE_CHARS} characters")
        with locked(self._state):
            state = self.state()
            if text not in state.notes:
                if len(state.notes) >= MAX_NOTES:
                    raise UsageError(
                        f"there are {MAX_NOTES} notes already",
                        next_step="parler project remember NAME --forget N",
                    )
                state.notes.append(text)
            self.save(state)
            return state.notes

    def forget_note(self, number: int) -> list[str]:
        """Drop a note by its number, from 1 on; returns what is left.

        Raises:
            UsageError: There is none of that number.
        """
        with locked(self._state):
            state = self.state()
            if not 1 <= number <= len(state.notes):
                raise UsageError(f"there is no note {number}")
            del state.notes[number - 1]
            self.save(state)
            return state.notes

    def keep_session(self, key: str, session: str | None, last: str | None) -> None:
        """Note where the conversation goes on."""
        with locked(self._state):
            state = self.state()
            state.asker = self.asker.label
            state.last = last
            state.sessions.pop(key, None)
            if session:
                state.sessions[key] = session
            self.save(state)

    def keep_last(self, agent: str) -> None:
        """Note which agent that runs answered."""
        with locked(self._state):
            state = self.state()
            state.asker, state.last = self.asker.label, agent
            self.save(state)

    def forget_sessions(self) -> int:
        """Let the next question begin anew; returns how many sessions were dropped."""
        with locked(self._state):
            state = self.state()
            dropped = len(state.sessions) + bool(state.last and not state.sessions)
            state.sessions, state.last = {}, None
            self.save(state)
            return dropped


@asynccontextmanager
async def held(
    path: Path, *, wait_secs: float, busy: UsageError
) -> AsyncIterator[None]:
    """Hold a lock for as long as the block runs, without stopping the loop.

    Raises:
        UsageError: `busy`, if somebody else holds it for so long.
    """
    make_private_dir(path.parent)
    deadline = time.monotonic() + wait_secs
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(path, wait_secs=0))
                break
            except Unwritable:
                if time.monotonic() >= deadline:
                    raise busy from None
            await asyncio.sleep(_LOCK_POLL_SECS)
        yield


def pairs_of(home: Path, alias: Alias) -> list[Path]:
    """The folders of all conversations with a project."""
    folder = home / FOLDER / alias_of(alias)
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path for path in found if len(path.name) == _PAIR_CHARS][:_MAX_PAIRS]


def transcript_of(home: Path, alias: Alias) -> list[Line]:
    """Everything that was asked of a project, and what came of it, in order of time."""
    lines = read_lines(home / FOLDER / alias_of(alias) / "refused.jsonl")
    for folder in pairs_of(home, alias):
        lines += read_lines(folder / "transcript.jsonl")
    return sorted(lines, key=lambda line: line.at)


def note_refusal(home: Path, alias: Alias, line: Line) -> None:
    """Write down a question that nobody was asked, since it was not permitted.

    Anybody on a hub may cause it, so that it is short, and the oldest go.
    """
    path = home / FOLDER / alias_of(alias) / "refused.jsonl"
    with suppress(OSError):
        if path.stat().st_size > MAX_REFUSED_BYTES:
            path.replace(path.with_name("refused.1.jsonl"))
    append_line(path, refused(line))


def refused(line: Line) -> Line:
    """A line that costs whoever caused it more than us."""
    return msgspec.structs.replace(line, text=line.text[:MAX_REFUSED_CHARS])


def append_line(path: Path, line: Line) -> None:
    """Add a line to a transcript; when this returns it is on disk.

    Raises:
        ConfigError: It cannot be written.
    """
    text = line.text
    if len(text) > MAX_TEXT_CHARS:
        text = text[: MAX_TEXT_CHARS - 1] + "…"
    line = msgspec.structs.replace(line, text=_encodable(text))
    data = msgspec.json.encode(line) + b"\n"
    make_private_dir(path.parent)
    with locked(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "rb+", buffering=0) as file:
                if _ends_torn(file.fileno()):
                    data = b"\n" + data  # what a crash cut off stays a line of its own
                while data:
                    data = data[os.write(file.fileno(), data) :]
                os.fsync(file.fileno())
            _sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def read_lines(path: Path) -> list[Line]:
    """The lines of a transcript that can be read; of a long one the end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    return list(_decoded(data.split(b"\n")))


def open_turns(lines: Iterable[Line]) -> dict[str, int]:
    """Questions that were asked and have no end, and how often each was begun."""
    begun: dict[str, int] = {}
    for line in lines:
        if line.event is Event.ASKED:
            begun[line.turn] = begun.get(line.turn, 0) + 1
        else:
            begun.pop(line.turn, None)
    return begun


def ending(lines: Iterable[Line], turn: str) -> Line | None:
    """How a question ended, if it did."""
    ends = (Event.ANSWERED, Event.FAILED, Event.DECLINED)
    found = [line for line in lines if line.turn == turn and line.event in ends]
    return found[-1] if found else None


_PAIR_CHARS = 24


def _pair(key: str) -> str:
    data = key.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:_PAIR_CHARS]


def _decoded(lines: Iterable[bytes]) -> Iterable[Line]:
    for line in lines:
        if not line or len(line) > _MAX_LINE_BYTES:
            continue
        try:
            found = msgspec.json.decode(line, type=Line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        app = app_id(found.app) if found.app else None
        yield found if app == found.app else msgspec.structs.replace(found, app=app)


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
