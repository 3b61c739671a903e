"""What the hub writes down about itself: one line an event, as text or as JSON.

Lines name connections, agents and rooms; they never carry keys, codes, tokens, texts or
query strings. Only the hub's own loggers are let through: those of libraries print
statements with their parameters and requests with their queries.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

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


def set_up(level: str, *, as_json: bool) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    handler.addFilter(logging.Filter("hub"))  # SQLAlchemy sets a level of its own
    logging.basicConfig(level=logging.CRITICAL, handlers=[handler], force=True)
    logging.getLogger("hub").setLevel(level.upper())


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}
