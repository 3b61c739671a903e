"""How far something is, on a terminal: rate and rest, and gone when it is done."""

import sys
import threading

import pytest

from parler.cli import _progress
from parler.cli.render import Output
from tests._support.polling import WAIT
from tests.parler.cli.test_colour import Screen

KIB = 1024


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def watched(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """From here on stderr; not in a fixture, after which pytest captures anew."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    return screen


def test_a_long_transfer_tells_rate_and_rest_and_leaves_no_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, clock = watched(monkeypatch), Clock()
    tell = _progress.transfer("sending", clock)
    rows = []
    for at, done in ((0, 0), (0.5, 100), (2, 200), (2.1, 210), (4, 300), (9, 1000)):
        clock.now = at
        tell(done * KIB, 1000 * KIB)
        rows.append(screen.getvalue())
        screen.seek(0)
        screen.truncate()
    soon, short, first, close, second, end = rows
    assert soon == short == close == ""
    assert first == "\rsending 20 % of 1000.0 KiB, 100.0 KiB/s, 8 s left"
    assert second.strip() == "sending 30 % of 1000.0 KiB, 75.0 KiB/s, 9 s left"
    assert end == f"\r{' ' * (len(second.rstrip()) - 1)}\r"


def test_who_waits_is_told_for_how_long_and_other_words_have_a_row_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, drawn = watched(monkeypatch), threading.Event()
    draw = _progress._draw

    def heard(text: str) -> None:
        draw(text)
        if text:
            drawn.set()

    monkeypatch.setattr(_progress, "_draw", heard)
    monkeypatch.setattr(_progress, "PATIENCE_SECS", 0.001)
    out = Output(json=False, quiet=False)
    with out.waiting("waiting for them", 180):
        assert drawn.wait(WAIT)
        out.note("Codex is there")
    shown = screen.getvalue()
    assert "\rwaiting for them, 0 s of at most 3 min" in shown
    assert "\rCodex is there\n" in shown
    assert screen.getvalue()[-1] in "\r\n"


@pytest.mark.parametrize("out", [{"json": True}, {"quiet": True}])
def test_nobody_is_told_who_did_not_want_to_be(
    out: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = watched(monkeypatch)
    silent = Output(**{"json": False, "quiet": False} | out)
    assert silent.progress("sending") is None
    with silent.waiting("waiting"):
        pass
    assert screen.getvalue() == ""


def test_what_git_does_one_by_one_is_told_kind_by_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, clock = watched(monkeypatch), Clock()
    tell = _progress.counting(clock)
    for at, what, done in ((0, "packing", 1), (5, "packing", 11), (5, "writing", 1)):
        clock.now = at
        tell(what, done, 100)
    assert screen.getvalue() == "\rpacking 11 % of 100, 2/s, 44 s left"
    _progress.clear()
