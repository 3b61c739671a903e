"""Draws the terminal picture of the demo, docs/demo.svg, from its real output.

What differs from run to run is given a fixed name, so that the picture changes when
the demo does and not otherwise. Some scenes are cut to their titles.
"""

import argparse
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURE = CHECKOUT / "docs" / "demo.svg"
SHOWN = frozenset({"", "1", "3", "6", "7"})
"""Scenes that are shown whole; of the others the title."""

WIDTH = 96
DEMO_SECS = 300
STAND_INS = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:7070"),
    (re.compile(r"\b[A-HJ-NP-Z2-9]{8}\b(?=@| *$)"), "K7QM3XRA"),
    (re.compile(r"\b(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}\b"), "DKQM-HFIP-V6ZF-2F4G"),
    (re.compile(r"\broom\.[a-z2-9]{6}\b"), "room.x4kqe7"),
    (re.compile(r"\[\d+\]"), "[16]"),
    (re.compile(r"\b\d\d:\d\d\b(?= )"), "14:05"),
    (re.compile(r"after \d+\.\d s"), "after 0.2 s"),
    (re.compile(r"checks in \d+ s"), "checks in 15 s"),
)
THEME = TerminalTheme(
    (22, 24, 29),
    (214, 218, 224),
    [
        *((22, 24, 29), (224, 108, 117), (140, 200, 120), (229, 192, 123)),
        *((97, 175, 239), (198, 120, 221), (86, 182, 194), (214, 218, 224)),
    ],
)
SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
FORMAT = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" \
xmlns="http://www.w3.org/2000/svg" xml:space="preserve" \
role="img" aria-label="A run of the demo">
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


def main(arguments: list[str]) -> int:
    """Play the demo and draw it; its failure is ours."""
    parser = argparse.ArgumentParser(prog="scripts/picture", description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    output: Path = parser.parse_args(arguments).output
    played = subprocess.run(
        [CHECKOUT / "scripts" / "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=DEMO_SECS,
        check=False,
    )
    if played.returncode:
        sys.stderr.write(played.stdout)
        return played.returncode
    output.write_text(picture(played.stdout), encoding="utf-8")
    return 0


def picture(said: str) -> str:
    """The picture of what the demo printed."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, height=25
    )
    console.print(Text("$ ./scripts/demo", style="bold"))
    for line in scenes(said):
        console.print(coloured(line), overflow="ellipsis", no_wrap=True)
    drawn = console.export_svg(theme=THEME, code_format=FORMAT, unique_id="demo")
    drawn = SIZE.sub(with_margins, drawn, count=1)
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def with_margins(size: re.Match[str]) -> str:
    """The picture's size, with room around the text."""
    width, height = float(size[1]), float(size[2])
    return f'viewBox="-16 -12 {width + 32:.0f} {height + 28:.0f}"'


def scenes(said: str) -> Iterator[str]:
    """The lines that are shown."""
    scene = ""
    for line in filter(None, said.splitlines()):
        title = re.match(r"(\d+)\. |Every promise", line)
        if title:
            scene = title[1] or ""
            yield ""
            yield stood_in(line) + (" …" if scene not in SHOWN else "")
        elif scene in SHOWN:
            yield stood_in(line)


def stood_in(line: str) -> str:
    """A line with fixed names for what differs each time."""
    for pattern, name in STAND_INS:
        line = pattern.sub(name, line)
    return line


def coloured(line: str) -> Text:
    """A line as a terminal with colours might show it."""
    text = Text(line)
    if re.match(r"\d+\. |Every promise", line):
        text.stylize("bold")
    text.highlight_regex(r"✓", "green")
    text.highlight_regex(r"^  (alice|bob|mallory|hub|someone) ", "cyan")
    text.highlight_regex(r"✗ UNVERIFIED", "bold red")
    text.highlight_regex(r"^ +\| HANDOFF TO YOU.*", "yellow")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
