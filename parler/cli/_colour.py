"""Colour on a terminal, and none elsewhere: which words get it, and when.

A finished line is painted by what it starts with. Green, yellow and red are ours alone:
a line that may start with a stranger's words gets none of them, but before a message.
"""

import re
from collections.abc import Mapping
from typing import Final, TextIO

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}

_ANY: Final = r"""
    (?P<bold>\*|next:|Usage:)(?=\ )
    | (?P<dim>(?:—|undo:)\ .*)                     # a hint between messages
    | (?P<dim_>\[\d+\]\ (?:\d{4}-\d\d-\d\d\ )?\d\d:\d\d(?:\ \(signed\ [\d\ :-]+\))?)
      (?:\ (?P<yellow_>⚠)|\ (?P<red_>✗\ [A-Z]+))?(?=\ )
    | (?P<bold_>═+(?:\ HANDOFF\ TO\ YOU\ ═+)?)$
    | (?P<bold__>[^\s\[].{0,70}:|Waiting\ for\ you|Agents|Rooms|Hub)$  # a heading
"""
_OURS: Final = r"""
    \s* (?: (?P<green>✓) | (?P<red>✗) | (?P<yellow>[⚠!]) ) (?=\s)
    | (?P<red__>error:) | (?P<yellow__>warning:)
"""
_FOREIGN_START: Final = re.compile(_ANY, re.VERBOSE)
_START: Final = re.compile(f"{_ANY}|{_OURS}", re.VERBOSE)
_FINGERPRINT: Final = re.compile(r"\b[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}\b", re.ASCII)


def wants_colour(stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether what goes there is painted, by the variables that others heed too."""
    if environment.get("NO_COLOR"):
        return False
    for forced in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environment.get(forced, "0") not in ("", "0"):
            return True
    if environment.get("CLICOLOR") == "0" or stream is None or not stream.isatty():
        return False
    # Without TERM nobody knows what it can show; Windows' own says so otherwise.
    known = environment.get("TERM") or environment.get("WT_SESSION", "dumb")
    return known != "dumb"


def painted(text: str, *, foreign: bool = False) -> str:
    """Lines with colour."""
    start = _FOREIGN_START if foreign else _START
    return "\n".join(_painted(line, start) for line in text.split("\n"))


def _painted(line: str, start: re.Pattern[str]) -> str:
    found = start.match(line)
    spans = []
    if found is not None:
        spans = [
            (*found.span(name), _CODES[name.rstrip("_")])
            for name, part in found.groupdict().items()
            if part is not None
        ]
    if not line.startswith("["):  # else it is a message, and may only look like one
        spans += [(*one.span(), _CODES["dim"]) for one in _FINGERPRINT.finditer(line)]
    shown, last = "", 0
    for first, end, code in sorted(spans):
        if first >= last:
            shown += f"{line[last:first]}\x1b[{code}m{line[first:end]}\x1b[0m"
            last = end
    return shown + line[last:]
