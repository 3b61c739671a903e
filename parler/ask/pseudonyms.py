"""Words that stand for our projects in questions that pass over a hub.

An answerer on this machine has to know which project asks, and the hub must not. So the
question carries a word, and the file here says to answerers of this machine what it
stands for.
"""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from parler.ask.thread import FOLDER, Asker
from parler.machine.files import locked, read_bounded, write_private

FILE_NAME = "askers.json"
MAX_PSEUDONYMS = 1000


class _Known(msgspec.Struct, frozen=True):
    key: str
    label: str


class _File(msgspec.Struct):
    salt: str = ""
    askers: dict[str, _Known] = {}


class Pseudonyms:
    """The projects of this machine that ask, by their words."""

    def __init__(
        self, home: Path, *, token: Callable[[int], str] = secrets.token_hex
    ) -> None:
        """Use the file in the home that all agents share; nothing is read yet."""
        self._path = home / FOLDER / FILE_NAME
        self._token = token

    def word_of(self, asker: Asker) -> str:
        """The word for a project, the same one each time.

        Raises:
            ConfigError: It cannot be written.
        """
        with locked(self._path):
            file = self._read()
            salt = file.salt or self._token(16)
            word = hashlib.sha256(f"{salt}\n{asker.key}".encode()).hexdigest()[:32]
            known = _Known(asker.key, asker.label)
            if file.salt != salt or file.askers.get(word) != known:
                file.askers.pop(word, None)
                kept = list(file.askers.items())[-(MAX_PSEUDONYMS - 1) :]
                file = _File(salt, {**dict(kept), word: known})
                write_private(self._path, msgspec.json.encode(file))
            return word

    def find(self, word: str, *, agent: str) -> Asker | None:
        """The project that a word stands for, as an agent of it asks."""
        known = self._read().askers.get(word)
        if known is None:
            return None
        return Asker(key=known.key, label=known.label, agent=agent)

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(read_bounded(self._path), type=_File)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeError):
            return _File()
