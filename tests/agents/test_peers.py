"""Agents of one machine in the real apps: they see, wake, ask and spare one another."""

import json
import re
from typing import Any

import psutil
import pytest

from tests._support.polling import eventually
from tests.agents._kit.clis import Claude, Codex, Gemini
from tests.agents._kit.sandbox import Peer, Sandbox
from tests.agents._kit.talking import Terminal
from tests.agents._kit.wired import trust_hooks, wire

pytestmark = pytest.mark.agents

HELLO = {"say": "hello there"}


def peers(shell: Peer) -> dict[str, Any]:
    """Who is here, by app."""
    listed = json.loads(shell("peers", "--json").out)["peers"]
    return {one["app"]: one for one in listed}


def test_three_apps_see_each_other_and_an_idle_one_is_woken(box: Sandbox) -> None:
    machine, clis = wire(box, [Claude, Codex, Gemini])
    for cli in clis:
        cli.trust("parler")
    trust_hooks(box)
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO)
    with (
        Terminal(box, ["claude", "begin"]) as one,
        Terminal(box, ["codex", "begin"]) as two,
        Terminal(box, ["gemini"]),
    ):
        for terminal in (one, two):
            terminal.until("hello there")
        eventually(lambda: len(peers(shell)) == 3, "three peers")
        eventually(lambda: peers(shell)["codex"]["reach"] == "at-once", "way in")
        codex = peers(shell)["codex"]
        before = len(box.model.asked)
        sent = json.loads(
            shell("send", "--to", codex["name"], "do you import it?", "--json").out
        )
        box.model.wait("do you import it?", since=before)
        where = (str(sent["seq"]), "--room", sent["room"], "--json")

        def state() -> str:
            [member] = json.loads(shell("status", *where).out)["members"]
            return str(member["state"])

        eventually(lambda: state() == "seen", "receipt")
        for process in box.named("claude"):
            process.send_signal(psutil.signal.SIGKILL)
        eventually(lambda: "claude-code" not in peers(shell), "end")
        assert {"codex", "gemini"} <= set(peers(shell))


def test_claude_is_woken_in_the_first_session_of_a_new_machine(box: Sandbox) -> None:
    machine, [claude] = wire(box, [Claude])
    claude.trust("parler")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO)
    with Terminal(box, ["claude", "begin"]) as terminal:
        terminal.until("hello there")

        def reach() -> str:
            here = peers(shell).get("claude-code")
            return str(here["reach"]) if here else "not here"

        eventually(lambda: reach() == "at-once", "way in")
        name = peers(shell)["claude-code"]["name"]
        before = len(box.model.asked)
        shell("send", "--to", name, "do you import it?")
        box.model.wait("do you import it?", since=before)


def test_a_live_session_answers_with_the_tools_it_has(box: Sandbox) -> None:
    machine, [codex] = wire(box, [Codex])
    codex.trust("parler")
    trust_hooks(box)
    shell = box.peer("ann", machine.hub)
    ann = Peer(box, {"PARLER_HUB": machine.hub}, shell.place)
    added = ann("project", "add", "shop", str(box.project), "--agent", "codex")
    assert added.status == 0, added.err
    given = {
        "text": "with a queue",
        "room": {"read": r"parler_send room=(\S+)"},
        "reply_to": {"read": r"reply_to=([0-9a-f-]+)"},
    }
    box.model.script(HELLO, {"call": "parler_send", "with": given}, {"say": "told"})
    with Terminal(box, ["codex", "begin"]) as terminal:
        terminal.until("hello there")
        eventually(
            lambda: peers(ann).get("codex", {}).get("reach") == "at-once", "way in"
        )
        asked = json.loads(ann("ask", "shop", "how do you retry?", "--json").out)
    assert (asked["tier"], asked["answer"]) == ("live", "with a queue")


def test_a_file_that_another_reserved_is_not_edited(box: Sandbox) -> None:
    machine, [claude] = wire(box, [Claude])
    machine.connect("--reservations", "--hub", machine.hub, "claude-code")
    rules = {"allow": ["Write"], "defaultMode": "acceptEdits"}
    claude.merge(".claude/settings.json", {"permissions": rules})
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    assert shell("reserve", "made", "--why", "moving it").status == 0
    step = json.loads(json.dumps(claude.write).replace("{project}", str(box.project)))
    for held in (True, False):
        box.model.script(step, {"say": "I tried"})
        told = claude.turn("write it").asked[-1].results[-1]
        assert (box.project / "made").exists() is not held
        assert bool(re.search(r"is reserved .*moving it", told)) is held
        shell("release")


PATCH = """\
apply_patch <<'END'
*** Begin Patch
*** Add File: made
+by an agent
*** End Patch
END
"""


def test_codex_patches_no_file_that_another_reserved(box: Sandbox) -> None:
    machine, [codex] = wire(box, [Codex])
    machine.connect("--reservations", "--hub", machine.hub, "codex")
    trust_hooks(box)
    config = codex.file(codex.config)
    text = config.read_text(encoding="utf-8")
    config.write_text(f'sandbox_mode = "workspace-write"\n{text}', encoding="utf-8")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    assert shell("reserve", "made", "--why", "moving it").status == 0
    for held in (True, False):
        patch = {"call": "exec_command", "with": {"cmd": PATCH}}
        box.model.script(patch, {"say": "I tried"})
        told = codex.turn("write it").asked[-1].results[-1]
        assert (box.project / "made").exists() is not held
        assert bool(re.search(r"is reserved .*moving it", told)) is held
        shell("release")
