"""What the hub writes down about itself: one line an event, as text or as JSON.

Lines name connections, agents and rooms; they never carry keys, codes, tokens, texts or
query strings. Only the hub's own loggers are let through: those of libraries print
statements with their parameters and requests with their queries.
"""

import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.errors import CannotStart

MAX_LOG_BYTES = 2**20
"""How large a log file grows before it is set aside, in place of an older one."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A log record as one JSON object, with its `extra` fields beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Print one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """The same for people: the `extra` fields follow as ``name=value``."""

    def __init__(self) -> None:
        """Put time, level and logger first."""
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Print one record."""
        text = super().format(record)
        fields = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        return f"{text} {fields}" if fields else text


class BoundedOutput(logging.Handler):
    """Writes to a file of bounded size, and has stdout and stderr go there too.

    What cannot be written, as on a full disk, is dropped: a log must not end its hub.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        """Open the file and send the process's output there.

        Raises:
            CannotStart: It cannot be opened.
        """
        super().__init__()
        self._path = path
        self._max_bytes = max_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open()
        except OSError as error:
            raise CannotStart(f"cannot log to {path}: {error.strerror}") from None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with contextlib.suppress(OSError):
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            if os.fstat(2).st_size + len(line) > self._max_bytes:
                self._rotate()
            os.write(2, line)

    def _rotate(self) -> None:
        if self._path.is_symlink() or not self._path.is_file():
            return  # somebody chose another place for it, /dev/null perhaps
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        handle = os.open(self._path, flags, 0o600)
        try:
            os.dup2(handle, 1)
            os.dup2(handle, 2)
        finally:
            os.close(handle)


def set_up(level: str, *, as_json: bool, file: Path | None = None) -> None:
    """Log to stderr from now on, or to a file of bounded size.

    Raises:
        CannotStart: The file cannot be opened.
    """
    handler = logging.StreamHandler(sys.stderr) if file is None else BoundedOutput(file)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    handler.addFilter(logging.Filter("hub"))  # SQLAlchemy sets a level of its own
    logging.basicConfig(level=logging.CRITICAL, handlers=[handler], force=True)
    logging.getLogger("hub").setLevel(level.upper())


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}
