"""The pictures of the pages: what a person sees in each real app when it joins.

Each is drawn from a window as it is, and has to contain what its page tells of. With
PARLER_TEST_PICTURES, which `scripts/picture windows` sets, they are kept there.
"""

import json
import os
import runpy
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

JOIN = "join the Parler session"
KNOCKED = "I asked to be let in. Anna sees me as"
IN = "I am in. The API is split, and the cart page still calls /v1: I move it to /v2."
RECAP = "The API is split; the cart page still calls /v1."
PLACE = "/home/bob/project/shop"


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
    # Told with the prompt; by a call; when a turn ends.
    Gemini: Window(rows=70, ready="Type your message", going_on=(), cut=True),
    OpenCode: Window(
        rows=32,
        ready="ctrl+p commands",
        going_on=({"call": "parler_recv", "with": {}},),
    ),
    Copilot: Window(
        rows=36,
        ready="/ commands",
        going_on=({"say": "Nothing else is to be done here."},),
        flags=("--allow-tool", "parler"),
    ),
}


def prepare(box: Sandbox, kind: type[Cli]) -> tuple[Peer, str]:
    """Wire an app of bob's; anna's shell, and the key to her session."""
    box.project = box.folder / "shop"
    box.project.mkdir()
    box.run(["git", "init", "--quiet"])
    box.variables["USER"] = "bob"
    machine, [cli] = wire(box, [kind])
    cli.trust("parler")
    if kind is Codex:
        trust_hooks(box)
    if kind is Copilot:
        cli.merge(".copilot/config.json", {"trusted_folders": [str(box.project)]})
    anna = box.peer("anna", machine.hub)
    opened = anna(
        *("session", "open", "--topic", "cart split"), "--context", RECAP, "--json"
    )
    return anna, str(json.loads(opened.out)["portable"])


def joined(box: Sandbox, kind: type[Cli], window: Window) -> str:
    """What is on the screen when anna's session was joined."""
    anna, key = prepare(box, kind)
    shell = Peer(box, {}, box.project)
    knocked = f"{KNOCKED} shop-{APPS[kind].removesuffix('-code')}."
    box.model.script(
        {"call": "parler_join_session", "with": {"key": key}},
        {"say": knocked},
        *(window.going_on or ()),
        {"say": IN},
    )

    def here() -> Any:
        return json.loads(shell("peers", "--json").out)["peers"]

    with Screen(box, [kind.name, *window.flags], rows=window.rows) as screen:
        screen.until(window.ready)
        eventually(here, "agent in the window")
        screen.tell(f"{JOIN} {key}")
        screen.until(knocked)
        waiting = anna("session", "requests", "--json").out
        [knock] = json.loads(waiting)["requests"]
        assert anna("session", "approve", knock["fingerprint"], "--yes").status == 0
        if window.going_on is not None:
            screen.until(window.ready, idle=True)
            screen.tell("go on")
        return screen.until(IN, window.ready, str(box.project), idle=True)


@pytest.mark.parametrize("kind", WINDOWS, ids=lambda kind: str(kind.name))
def test_a_window_that_joins_looks_as_its_page_shows(
    box: Sandbox, kind: type[Cli], tmp_path: Path
) -> None:
    captured = joined(box, kind, WINDOWS[kind])
    terminal = runpy.run_path(str(CHECKOUT / "scripts" / "_terminal.py"))
    lines = terminal["screen"](captured, {str(box.project): PLACE}, width=COLUMNS)
    if WINDOWS[kind].cut:
        typed = [number for number, line in enumerate(lines) if JOIN in line.plain]
        lines = lines[typed[0] - 1 :]
    name = APPS[kind]
    drawn = terminal["svg"](
        lines,
        name=name,
        title=f"The window of {kind.name}",
        about="\n".join(line.plain.rstrip() for line in lines),
        width=COLUMNS,
    )
    folder = Path(os.environ.get("PARLER_TEST_PICTURES") or tmp_path)
    (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
    texts = "".join(ElementTree.fromstring(drawn).itertext())
    shown = "".join(texts.split())
    for words in ("K7QM3XRA@ws://127.0.0.1:47070", KNOCKED, IN, PLACE):
        assert "".join(words.split()) in shown
    assert str(box.folder) not in drawn
