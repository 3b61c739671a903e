"""The pictures of the pages: what a person sees in each real app.

Each is drawn from a window as it is, and has to contain what its page tells of. With
PARLER_TEST_PICTURES, which `scripts/picture windows` sets, they are kept there.
"""

import json
import os
import re
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests._support.polling import eventually
from tests._support.processes import CHECKOUT
from tests.agents._kit.clis import Claude, Cli, Codex, Copilot, Gemini, OpenCode
from tests.agents._kit.sandbox import Peer, Sandbox
from tests.agents._kit.screen import COLUMNS, Screen
from tests.agents._kit.wired import APPS, trust_hooks, wire

pytestmark = pytest.mark.agents

WINDOWS_TRIED = 3
JOIN = "join the Parler session"
KNOCKED = "I asked to be let in. Anna sees me as"
IN = "I am in. The API is split, and the cart page still calls /v1: I move it to /v2."
RECAP = "The API is split; the cart page still calls /v1."
PLACE = "/home/you/project/shop"
OPEN = "It is open. Give the key to whoever shall join; you are asked who comes in."
TERMINAL = runpy.run_path(str(CHECKOUT / "scripts" / "_terminal.py"))


@dataclass(frozen=True)
class Window:
    """One app as it is pictured."""

    rows: int
    ready: str
    """What it shows when one can type."""

    going_on: tuple[dict[str, Any], ...] | None = None
    """What its model does when its user says so; None if it is woken."""

    flags: tuple[str, ...] = ()
    cut: bool = False
    """What it says as it starts is left out."""


WINDOWS: dict[type[Cli], Window] = {
    Claude: Window(rows=40, ready="? for shortcuts"),
    Codex: Window(rows=36, ready="? for shortcuts"),
    # The next is told with the prompt, the last one as its turn ends.
    Gemini: Window(rows=70, ready="Type your message", going_on=(), cut=True),
    OpenCode: Window(rows=34, ready="ctrl+p commands", flags=("--port", "4096")),
    Copilot: Window(
        rows=36,
        ready="/ commands",
        going_on=({"say": "Nothing else is to be done here."},),
        flags=("--allow-tool", "parler"),
    ),
}


def prepare(box: Sandbox, kind: type[Cli], user: str) -> str:
    """Wire an app of somebody who lets it do what it likes; the hub."""
    box.project = box.folder / "shop"
    box.project.mkdir()
    box.run(["git", "init", "--quiet"])
    box.variables["USER"] = user
    machine, [cli] = wire(box, [kind])
    cli.trust("parler")
    if kind is Codex:
        trust_hooks(box)
    if kind is Copilot:
        cli.merge(".copilot/config.json", {"trusted_folders": [str(box.project)]})
    return machine.hub


def until_here(box: Sandbox) -> None:
    """Wait until the agent of the window is there."""
    shell = Peer(box, {}, box.project)

    def here() -> Any:
        return json.loads(shell("peers", "--json").out)["peers"]

    eventually(here, "agent in the window")


def joined(box: Sandbox, kind: type[Cli], window: Window) -> str:
    """What is on the screen when anna's session was joined."""
    anna = box.peer("anna", prepare(box, kind, "bob"))
    recap = ("--topic", "cart split", "--context", RECAP)
    opened = anna("session", "open", *recap, "--json")
    key = json.loads(opened.out)["portable"]
    knocked = f"{KNOCKED} shop-{APPS[kind].removesuffix('-code')}."
    box.model.script(
        {"call": "parler_join_session", "with": {"key": key}},
        {"say": knocked},
        *(window.going_on or ()),
        {"say": IN},
    )
    with begun(box, [kind.name, *window.flags], window, f"{JOIN} {key}") as screen:
        screen.until(knocked)
        waiting = anna("session", "requests", "--json").out
        [knock] = json.loads(waiting)["requests"]
        assert anna("session", "approve", knock["fingerprint"], "--yes").status == 0
        if window.going_on is not None:
            # Its hooks tell what is there; nothing wakes it for what comes after.
            eventually(lambda: box.keeps(RECAP), "word that waits for it")
            screen.until(window.ready, idle=True)
            screen.tell("go on")
        return screen.until(IN, window.ready, str(box.project), idle=True)


@contextmanager
def begun(
    box: Sandbox, command: list[str], window: Window, line: str
) -> Iterator[Screen]:
    """A window whose model was told a line, and had our tools for it."""
    for _ in range(WINDOWS_TRIED):
        with Screen(box, command, rows=window.rows) as screen:
            screen.until(window.ready)
            until_here(box)
            if "call" in screen.tell(line).reply:
                yield screen
                return
    raise AssertionError("the app does not offer our tools")


def keep(name: str, title: str, lines: list[Any], folder: Path) -> str:
    """Draw the lines and keep the picture; all its texts, without blanks."""
    drawn = TERMINAL["svg"](
        lines,
        name=name,
        title=title,
        about="\n".join(line.plain.rstrip() for line in lines),
        width=COLUMNS,
    )
    folder = Path(os.environ.get("PARLER_TEST_PICTURES") or folder)
    (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
    return "".join("".join(ElementTree.fromstring(drawn).itertext()).split())


@pytest.mark.parametrize("kind", WINDOWS, ids=lambda kind: str(kind.name))
def test_a_window_that_joins_looks_as_its_page_shows(
    box: Sandbox, kind: type[Cli], tmp_path: Path
) -> None:
    captured = joined(box, kind, WINDOWS[kind])
    place = {str(box.project): PLACE}
    lines = TERMINAL["screen"](captured, place, width=COLUMNS)
    if WINDOWS[kind].cut:
        typed = [number for number, line in enumerate(lines) if JOIN in line.plain]
        lines = lines[typed[0] - 1 :]
    shown = keep(APPS[kind], f"The window of {kind.name}", lines, tmp_path)
    for words in ("K7QM3XRA@ws://127.0.0.1:47070", KNOCKED, IN, PLACE):
        assert "".join(words.split()) in shown
    assert str(box.folder) not in shown


def test_a_window_asks_its_user_who_may_come_in(box: Sandbox, tmp_path: Path) -> None:
    hub = prepare(box, Claude, "anna")
    box.model.script(
        {"call": "parler_open_session", "with": {"context": RECAP}},
        {"say": OPEN},
        {"call": "parler_approve_join", "with": {"agent": "bob"}},
        {"say": "Bob's agent is in."},
    )
    line = "open a Parler session and give me the key"
    with begun(box, ["claude"], WINDOWS[Claude], line) as screen:
        screen.until(OPEN)
        key = re.findall(r"KEY: (\S+)", box.model.asked[-1].text)[-1]
        bob = box.peer("bob", hub).start("session", "join", key, "--wait", "60")
        captured = screen.until("Let it in?", "Accept", "Decline")
        screen.press("Enter")
        screen.until("Bob's agent is in.")
        assert bob.wait().status == 0
    lines = TERMINAL["screen"](captured, {str(box.project): PLACE}, width=COLUMNS)
    shown = keep("approve", "Who may come in is asked", lines, tmp_path)
    assert "bobDKQM-HFIP-V6ZF-2F4Gknocks" in shown
