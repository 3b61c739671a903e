"""Makes a picture of a terminal: lines with colours in, an SVG out.

Its text is text, so that it can be selected and is read aloud; a title and a
description say what is to be seen.
"""

import io
import re
from collections.abc import Iterable
from html import escape

from rich.ansi import AnsiDecoder
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

STAND_INS = (
    (re.compile(r"127\.0\.0\.1:\d{5}"), "127.0.0.1:47070"),
    (re.compile(r"127\.0\.0\.1:\d{4}(?=…)"), "127.0.0.1:4707"),
    (re.compile(r"\b[A-HJ-NP-Z2-9]{8}\b(?=@| *$)"), "K7QM3XRA"),
    (re.compile(r"\b(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}\b"), "DKQM-HFIP-V6ZF-2F4G"),
    (re.compile(r"\broom\.[a-z2-9]{6}\b"), "room.x4kqe7"),
    (re.compile(r"\b\d\d:\d\d\b"), "14:05"),
    (re.compile(r"· \d\d\.\ds"), "· 2.0s "),
)
"""What differs from run to run, and as many characters instead."""

THEME = TerminalTheme(
    (22, 24, 29),
    (214, 218, 224),
    [
        *((22, 24, 29), (224, 108, 117), (140, 200, 120), (229, 192, 123)),
        *((97, 175, 239), (198, 120, 221), (86, 182, 194), (214, 218, 224)),
    ],
)
SCALE = 0.64
"""So that text is about as large as that of a page beside it."""

SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
FORMAT = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" \
xmlns="http://www.w3.org/2000/svg" xml:space="preserve" \
role="img" aria-labelledby="{unique_id}-title {unique_id}-desc">
<title id="{unique_id}-title">TITLE</title>
<desc id="{unique_id}-desc">ABOUT</desc>
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, \
monospace; line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect fill="#16181d" x="-16" y="-12" width="100%" height="100%" rx="8"/>
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</svg>
"""


def svg(lines: Iterable[Text], *, name: str, title: str, about: str, width: int) -> str:
    """The picture of these lines; `width` is in characters."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, height=25
    )
    for line in lines:
        console.print(line, overflow="ellipsis", no_wrap=True)
    drawn = console.export_svg(theme=THEME, code_format=FORMAT, unique_id=name)
    drawn = SIZE.sub(_with_margins, drawn, count=1)
    for place, words in (("TITLE", title), ("ABOUT", about)):
        drawn = drawn.replace(place, escape(words), 1)
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def screen(captured: str, instead: dict[str, str], *, width: int) -> list[Text]:
    """The lines of a screen, given with the codes of its colours.

    What differs each time is stood in for; `instead` has more of it, the names of
    folders. Nothing moves by that: what is shorter is filled with blanks. Lines of a
    coloured block are filled up to the width, which a capture leaves out.
    """
    lines = list(AnsiDecoder().decode(captured.rstrip()))
    for line in lines:
        shown = line.plain
        for real, name in instead.items():
            shown = shown.replace(real, name.ljust(len(real)))
        line.plain = stood_in(shown)
    while lines and not lines[0].plain.strip():
        del lines[0]
    grounds = [_ground(line) for line in lines]
    for number, (line, ground) in enumerate(zip(lines, grounds, strict=True)):
        beside = {*grounds[max(number - 1, 0) : number], *grounds[number + 1 :][:1]}
        if ground and ground in beside:
            line.append(" " * (width - line.cell_len), Style(bgcolor=ground))
    return lines


def _ground(line: Text) -> Color | None:
    """The colour behind the first character of a line."""
    styles = [span.style for span in line.spans if span.start == 0]
    grounds = [style.bgcolor for style in styles if isinstance(style, Style)]
    return next(filter(None, grounds), None)


def stood_in(line: str) -> str:
    """A line with fixed names for what differs each time."""
    for pattern, name in STAND_INS:
        line = pattern.sub(name, line)
    return line


def _with_margins(size: re.Match[str]) -> str:
    width, height = float(size[1]) + 32, float(size[2]) + 28
    shown = f'width="{width * SCALE:.0f}" height="{height * SCALE:.0f}"'
    return f'{shown} viewBox="-16 -12 {width:.0f} {height:.0f}"'
