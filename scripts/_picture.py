"""Draws what the pages show: drawings, the demo, the windows of agent apps.

    demo       docs/demo.svg, from what ./scripts/demo really prints
    drawings   docs/pictures, from _drawings.py and the table of docs/performance.md
    windows    docs/pictures, from the real apps, as ./scripts/test --agents runs them

What differs from run to run is given a fixed name. Some scenes of the demo are cut to
their titles.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import _drawings
import _terminal
from rich.text import Text

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURE = CHECKOUT / "docs" / "demo.svg"
SHOWN = frozenset({"", "1", "3", "6", "7"})
"""Scenes that are shown whole; of the others the title."""

WIDTH = 96
DEMO_SECS = 300
STAND_INS = (
    (re.compile(r"\[\d+\]"), "[16]"),
    (re.compile(r"after \d+\.\d s"), "after 0.2 s"),
    (re.compile(r"checks in \d+ s"), "checks in 15 s"),
)


def main(arguments: list[str]) -> int:
    """Draw what is asked for; what fails on the way is our failure."""
    parser = argparse.ArgumentParser(
        prog="scripts/picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", help="default: demo drawings")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, hold drawings against it"
    )
    options = parser.parse_args(arguments)
    for what in options.what or list(KINDS)[:2]:
        if what not in KINDS:
            parser.error(f"no such picture: {what}; there are {', '.join(KINDS)}")
        status = check() if options.check else KINDS[what]()
        if status:
            return status
    return 0


def demo() -> int:
    """Play the demo and draw it."""
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
    PICTURE.write_text(picture(played.stdout), encoding="utf-8")
    return 0


def drawings() -> int:
    """Draw what needs nothing but this checkout."""
    for path, drawn in _drawings.drawings():
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
    return 0


def check() -> int:
    """Say which drawings are not as they would be drawn now."""
    stale = [
        path.relative_to(CHECKOUT)
        for path, drawn in _drawings.drawings()
        if not path.is_file() or path.read_text(encoding="utf-8") != drawn
    ]
    for path in stale:
        print(f"picture: {path} differs; run ./scripts/picture drawings")
    return 1 if stale else 0


def windows() -> int:
    """Have the suite of the real apps keep what it sees."""
    kept = str(CHECKOUT / "docs" / "pictures")
    return subprocess.run(
        [CHECKOUT / "scripts" / "test", "--agents", "tests/agents/test_pictures.py"],
        env=os.environ | {"PARLER_TEST_PICTURES": kept},
        check=False,
    ).returncode


KINDS = {"demo": demo, "drawings": drawings, "windows": windows}


def picture(said: str) -> str:
    """The picture of what the demo printed."""
    lines = [Text("$ ./scripts/demo", style="bold"), *map(coloured, scenes(said))]
    return _terminal.svg(
        lines,
        name="demo",
        title="A run of the demo in a terminal",
        about="\n".join(line.plain for line in lines),
        width=WIDTH,
    )


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
    return _terminal.stood_in(line)


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
