"""Writes ``mcp.log``, a short file of bounded length that `parler doctor` shows.

Only our own words go in: no message, no name, no key and no secret.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from parler.errors import ConfigError
from parler.machine.files import locked, read_bounded, write_private

FILE_NAME = "mcp.log"
MAX_LINES = 200
"""Lines kept when it is cut; it is cut at twice as many."""

MAX_LINE_CHARS = 300
_LOCK_SECS = 0.5


class LogFile:
    """The ``mcp.log`` of a home (protocol 2.4). It never fails its caller."""

    def __init__(self, home: Path, *, now: Callable[[], int], name: str) -> None:
        """Nothing is written yet.

        Args:
            now: Epoch milliseconds.
            name: Tells apart the servers that share the file.
        """
        self._path = home / FILE_NAME
        self._now = now
        self._name = name

    def note(self, text: str) -> None:
        """Add a line."""
        flat = " ".join(text.split())[:MAX_LINE_CHARS]
        line = f"{self._now() // 1000}\t{self._name}: {flat}\n"
        with suppress(ConfigError, OSError), locked(self._path, wait_secs=_LOCK_SECS):
            kept = self._lines()
            if len(kept) < 2 * MAX_LINES:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)
                self._path.chmod(0o600)
                return
            text = "".join([*kept[-MAX_LINES + 1 :], line])
            write_private(self._path, text.encode())

    def _lines(self) -> list[str]:
        try:
            data = read_bounded(self._path)
        except FileNotFoundError:
            return []
        return data.decode("utf-8", "replace").splitlines(keepends=True)
