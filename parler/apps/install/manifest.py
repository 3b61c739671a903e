"""What we wrote into the files of which app: connect.json, so that removal is exact.

Nothing else may be needed to unwire: if it is lost, our entries are still recognised
by what they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.machine import files

FILE_NAME = "connect.json"
BACKUPS = "backups"
MAX_BYTES = 128 * 2**20
"""Room for what our entries stand in the place of, in all apps together."""


class Undo(msgspec.Struct, frozen=True, rename="camel"):
    """How to get from our text back to the one before: a piece, exchanged."""

    at: int
    old: str
    new_length: int

    @classmethod
    def between(cls, before: str, after: str) -> "Undo":
        """The way back from `after` to `before`."""
        shared = min(len(before), len(after))
        start = _common(before, after, shared)
        tail = _common(before[start:][::-1], after[start:][::-1], shared - start)
        return cls(start, before[start : len(before) - tail], len(after) - tail - start)

    def apply(self, after: str) -> str:
        """The text before."""
        return after[: self.at] + self.old + after[self.at + self.new_length :]


class FileRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What we did to one file."""

    path: str
    written: str
    """The digest of the file as we left it."""

    undo: Undo | None = None
    """None: others had changed it in between, only what is ours can be cut out."""

    pure: bool = False
    """What is ours stood there as we write it first, with nothing added to it."""

    created: bool = False
    folders: list[str] = []
    """That we made for it, outermost first."""

    made: list[list[str]] = []
    """Containers that we made in it."""

    backup: str | None = None
    """Where the file as it was before is kept."""


class AppRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What we did for one app."""

    files: dict[str, FileRecord] = {}
    """By role."""

    hooks: bool = True
    reservations: bool = False
    approvals: bool = False


class _Book(msgspec.Struct, frozen=True):
    apps: dict[str, AppRecord] = msgspec.field(name="hosts", default_factory=dict)
    version: int = 1


class Manifest:
    """The connect.json of one home."""

    def __init__(self, home: Path) -> None:
        """Take the home; nothing is read yet."""
        self._path = home / FILE_NAME
        self.backups = home / BACKUPS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs of ours from writing meanwhile; raises `ConfigError`."""
        with files.locked(self._path):
            yield

    def get(self, app: str) -> AppRecord:
        """What we did for an app, if anything.

        Raises:
            IdentityError: Other users may read the file.
            ConfigError: It is damaged.
        """
        return self._read().apps.get(app, AppRecord())

    def apps(self) -> list[str]:
        """The apps we did anything for; raises as `get`."""
        return list(self._read().apps)

    def set(self, app: str, record: AppRecord) -> None:
        """Note what we did; nothing at all is forgotten. Raises as `get`."""
        apps = dict(self._read().apps)
        if record.files:
            apps[app] = record
        elif apps.pop(app, None) is None:
            return
        data = msgspec.json.encode(_Book(apps=apps))
        files.write_private(self._path, msgspec.json.format(data, indent=2) + b"\n")

    def _read(self) -> _Book:
        try:
            data = files.read_private(self._path, limit=MAX_BYTES)
        except FileNotFoundError:
            return _Book()
        try:
            return msgspec.json.decode(data, type=_Book)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{self._path} is damaged: {error}",
                next_step=files.aside(self._path),
            ) from None


def _common(one: str, other: str, most: int) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, most
    while low < high:  # halving: a slice compares faster than a loop
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
