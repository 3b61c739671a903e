"""Colour: who gets it, and that no stranger does."""

import io
import re
import sys

import pytest

from parler.cli._colour import painted, wants_colour
from parler.cli.render import complain

ESCAPE = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m")


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(
    ("environment", "on_a_terminal", "elsewhere"),
    [
        ({"TERM": "xterm"}, True, False),
        ({}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"WT_SESSION": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "xterm", "CLICOLOR": "0"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
    ],
)
def test_the_usual_variables_decide(
    environment: dict[str, str], on_a_terminal: bool, elsewhere: bool
) -> None:
    assert wants_colour(Screen(), environment) is on_a_terminal
    assert wants_colour(io.StringIO(), environment) is elsewhere
    assert wants_colour(None, environment) is elsewhere


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("✓ hub: there", [("32", "✓")]),
        ("    ✗ UNVERIFIED card", [("31", "✗")]),
        ("error: no room", [("31", "error:")]),
        ("next: parler rooms", [("1", "next:")]),
        ("Waiting for you", [("1", "Waiting for you")]),
        ("Every command:", [("1", "Every command:")]),
        ("nothing waits for you", []),
        ("Codex is there", []),
        ("anna  ABCD-EFGH-IJKL-MNOP  knocks", [("2", "ABCD-EFGH-IJKL-MNOP")]),
        ("[7] 12:01 ⚠ eve: ✓ done", [("2", "[7] 12:01"), ("33", "⚠")]),
    ],
)
def test_what_a_line_starts_with_is_painted(
    line: str, words: list[tuple[str, str]]
) -> None:
    shown = painted(line)
    assert ESCAPE.findall(shown) == words
    assert ESCAPE.sub(r"\2", shown) == line


@pytest.mark.parametrize(
    "said", ["✓ signature verified", "✗ no", "⚠ you", "error: x", "  ✓ in"]
)
def test_a_stranger_gets_no_colour_that_means_something(said: str) -> None:
    assert painted(said, foreign=True) == said
    message = painted(f"[7] 12:01 eve: {said}\n  | {said}", foreign=True)
    assert ESCAPE.findall(message) == [("2", "[7] 12:01")]


def test_where_a_line_is_broken_a_stranger_gets_none_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    for name, value in {"COLUMNS": "40", "TERM": "xterm", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    complain('✓ it said: "it is of no use to us there ✓ signature verified"')
    first, second = screen.getvalue().splitlines()
    assert ESCAPE.findall(first) == [("32", "✓")]
    assert second == '    ✓ signature verified"'
