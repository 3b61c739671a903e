"""The hub's log: useful, and silent about what agents say and hold."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from hub.admin.logs import JsonLines, TextLines, set_up


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger, own = logging.getLogger(), logging.getLogger("hub")
    before = (list(logger.handlers), logger.level, own.level)
    yield logger
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    own.setLevel(before[2])


def written(
    formatter: logging.Formatter, level: int, name: str, **extra: object
) -> str:
    record = logging.getLogger(name).makeRecord(
        name, level, "file.py", 1, "something %s", ("happened",), None, extra=extra
    )
    return formatter.format(record)


def test_a_json_line_has_its_extra_fields_beside_the_message() -> None:
    line = json.loads(written(JsonLines(), logging.INFO, "hub.x", agent="ABCD"))
    assert line["message"] == "something happened"
    assert line["level"] == "info"
    assert line["agent"] == "ABCD"


def test_a_text_line_ends_in_its_extra_fields() -> None:
    line = written(TextLines(), logging.INFO, "hub.x", agent="ABCD", close=1000)
    assert line.endswith("hub.x: something happened agent=ABCD close=1000")


def test_libraries_are_not_heard_even_when_debugging(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = io.StringIO()
    monkeypatch.setattr("sys.stderr", heard)
    set_up("debug", as_json=True)
    for name in ("sqlalchemy.engine.Engine", "uvicorn.error", "websockets.server"):
        logging.getLogger(name).error("INSERT … ('planted text',)")
    logging.getLogger("hub.connection.connection").debug("heard")
    assert [json.loads(line)["message"] for line in heard.getvalue().splitlines()] == [
        "heard"
    ]
