"""Where each signed message was met first, so that no copy passes for a new one.

A signature says who wrote something and for which room; whoever has read it can put it
again into a room of that name, on this hub or on another one. So the agents of a user
remember the place of each message that they read: met there again it was read again,
met elsewhere it is a replay. What names the hub that it was met at beats what names
none, because anybody can strip that name off a copy and have it read first.

One file for each name of a room, with records of `RECORD_BYTES` that are appended. A
copy fits no room of another name, so that no other file is asked; direct messages,
whose rooms are named by hubs, share one. All processes of a user share the files;
what one appended another sees at its next look.
"""

import hashlib
import logging
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from parler.errors import ConfigError
from parler.identity.known_hubs import names_one_hub
from parler.identity.settings import dialled, hub_key
from parler.machine.files import locked, read_bounded, write_private
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.urls import is_loopback

FOLDER = "seen-messages"
MAX_SEEN = 16_384
"""Messages remembered for each name of a room; the oldest are forgotten first."""

MAX_ROOMS = 1000
"""Names of rooms; the file that was not written for longest goes first."""

MAX_OPEN = 64
"""Rooms that one process keeps in memory, about 4 MiB each at most."""

LOCK_WAIT_SECS = 0.5

_KEY_BYTES = 16
_PLACE = struct.Struct("<8s8s8sQ")
RECORD_BYTES = _KEY_BYTES + _PLACE.size
_SUFFIX = ".seen"
_DIRECT = "dm."

_log = logging.getLogger(__name__)


class Standing(Enum):
    """What is known of a message at the place where it was met."""

    NEW = auto()
    SAME = auto()
    ELSEWHERE = auto()


class Sighting(NamedTuple):
    """A message whose signature is good, and where it was met."""

    author: AgentId
    uid: str
    room: RoomName
    seq: Seq
    named: bool = False
    """Its author signed it for this very hub, instead of for none."""


def _are_same(one: bytes, other: bytes) -> bool:
    """Whether two places are one: of a record, what comes after the key."""
    room, token, url, seq = _PLACE.unpack(one)
    room_2, token_2, url_2, seq_2 = _PLACE.unpack(other)
    # A hub may be reached by several addresses, and may be given another name.
    return (room, seq) == (room_2, seq_2) and (token == token_2 or url == url_2)


class SeenMessages:
    """The memory of one user; any number of threads and processes may share it.

    If it cannot be read or written it goes on for this process alone.
    """

    def __init__(self, folder: Path) -> None:
        """Use the files in `folder`; nothing is read or written yet."""
        self._folder = folder
        self._open: dict[str, _Book] = {}
        self._noting = threading.Lock()

    def note(
        self, sightings: Sequence[Sighting], *, token: str, url: str
    ) -> list[Standing]:
        """Judge messages by where they were met, and remember those that are new.

        Args:
            token: What the hub's challenge calls it (protocol 2.3).
            url: Under which address it was dialled, in any spelling.
        """
        with self._noting:
            return self._note(sightings, token, url)

    def _note(
        self, sightings: Sequence[Sighting], token: str, url: str
    ) -> list[Standing]:
        address = _address(url)
        hub = token if names_one_hub(token, url) else f"{token} at {address}"
        at = (_short(hub), _short(address))
        news: dict[str, dict[bytes, bytes]] = {}
        found = []
        for one in sightings:
            name = _file_name(one.room)
            if name not in news:
                self._look_at(name)
                news[name] = {}
            key = _key(one)
            place = _PLACE.pack(_short(one.room), *at, one.seq)
            places = self._book(name).places
            if known := places.get(_key(one._replace(named=True))) or places.get(key):
                same = _are_same(known, place)
                found.append(Standing.SAME if same else Standing.ELSEWHERE)
                continue
            found.append(Standing.NEW)
            self._book(name).remember({key: place})
            news[name][key] = place
        for name, records in news.items():
            if records:
                self._write(name, records)
        return found

    def _book(self, name: str) -> "_Book":
        book = self._open.pop(name, None) or _Book(self._folder / name)
        self._open[name] = book  # the newest last
        while len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
        return book

    def _look_at(self, name: str) -> None:
        book = self._book(name)
        try:
            book.refresh()
        except (ConfigError, OSError) as error:
            _log.warning("cannot read %s: %s", book.path, error)

    def _write(self, name: str, records: dict[bytes, bytes]) -> None:
        book = self._book(name)
        try:
            # One lock for all: rooms are named by hubs, and locks are never removed.
            with locked(self._folder / "all", wait_secs=LOCK_WAIT_SECS):
                if not book.path.exists():
                    self._make_room()
                book.append(records)
        except (ConfigError, OSError) as error:
            _log.warning("cannot remember what was read in %s: %s", book.path, error)

    def _make_room(self) -> None:
        """Forget the rooms that were not written for longest."""
        written: list[tuple[int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                written.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(written)[: max(0, len(written) - MAX_ROOMS + 1)]:
            with suppress(OSError):  # somebody reads it, on Windows
                path.unlink()


class _Book:
    """One file, and what was read of it so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[bytes, bytes] = {}
        self._looked_at: os.stat_result | None = None
        self._read_bytes = 0
        self._last = b""
        """The record before that, by which an exchanged file is told."""

    def refresh(self) -> dict[bytes, bytes]:
        """Read and return what others added, or all of it if the file was replaced.

        Raises:
            ConfigError: It cannot be read, or is not ours.
            OSError: It cannot be looked at.
        """
        try:
            status = self.path.stat()
            if _version(status) == _version(self._looked_at):
                return {}
            found = _records(self._read_on())
        except FileNotFoundError:
            self._looked_at, self._read_bytes, self._last = None, 0, b""
            return {}
        self._looked_at = status
        self.remember(found)
        return found

    def _read_on(self) -> bytes:
        limit = 4 * MAX_SEEN * RECORD_BYTES
        start = self._read_bytes - len(self._last)
        data = read_bounded(self.path, limit=limit, start=start)
        if not data.startswith(self._last):
            start, self._last = 0, b""
            data = read_bounded(self.path, limit=limit)
        whole = len(data) // RECORD_BYTES * RECORD_BYTES
        added = data[len(self._last) : whole]
        self._read_bytes = start + whole
        self._last = data[max(0, whole - RECORD_BYTES) : whole]
        return added

    def remember(self, places: dict[bytes, bytes]) -> None:
        """Keep places in memory, and not more of them than in a file."""
        self.places.update(places)
        if len(self.places) > 2 * MAX_SEEN:
            for oldest in list(self.places)[:-MAX_SEEN]:
                del self.places[oldest]

    def append(self, records: dict[bytes, bytes]) -> None:
        """Add records, whole even after a crash, and forget the oldest in time.

        The caller holds the lock. What another process added meanwhile stands.
        """
        others = self.refresh()
        data = b"".join(key + at for key, at in records.items() if key not in others)
        if not data:
            return
        if self._read_bytes + len(data) > 2 * MAX_SEEN * RECORD_BYTES:
            self._replace(data)
            return
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        flags |= getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(self.path, flags, 0o600), "wb") as file:
            file.truncate(self._read_bytes)  # what a crash left of a record
            file.seek(self._read_bytes)
            file.write(data)
            file.flush()
            self._looked_at = os.fstat(file.fileno())
        self._read_bytes += len(data)
        self._last = data[-RECORD_BYTES:]

    def _replace(self, added: bytes) -> None:
        data = read_bounded(self.path, limit=4 * MAX_SEEN * RECORD_BYTES)
        whole = data[: len(data) // RECORD_BYTES * RECORD_BYTES] + added
        write_private(self.path, whole[-MAX_SEEN * RECORD_BYTES :])
        self.places = {}
        self._looked_at, self._read_bytes, self._last = None, 0, b""
        self.refresh()


def _version(status: os.stat_result | None) -> tuple[int, ...] | None:
    """What differs between two looks at a file if it was written between them."""
    if status is None:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _records(data: bytes) -> dict[bytes, bytes]:
    """The first place of each message."""
    found: dict[bytes, bytes] = {}
    for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        key = data[at : at + _KEY_BYTES]
        found.setdefault(key, data[at + _KEY_BYTES : at + RECORD_BYTES])
    return found


def _file_name(room: RoomName) -> str:
    name = _DIRECT if room.startswith(_DIRECT) else room
    return _hash(name)[:16].hex() + _SUFFIX


def _key(one: Sighting) -> bytes:
    kind = "named" if one.named else "unnamed"
    return _hash(f"{kind}:{one.author}:{one.uid}")[:_KEY_BYTES]


def _address(url: str) -> str:
    """One name for all spellings of an address, those of the loopback included."""
    parts = urlsplit(dialled(url))
    if not is_loopback(parts.hostname or ""):
        return hub_key(url)
    return f"loopback:{parts.port}{parts.path}"


def _short(text: str) -> bytes:
    return _hash(text)[:8]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
