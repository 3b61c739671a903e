"""Two windows of one real app in one folder: told apart, woken, restarted, resumed."""

import json
import re
import uuid
from contextlib import suppress
from typing import Any

import pytest

from parler.identity.homes import PLACE_FILE
from parler.identity.places import read_place
from tests._support.polling import WAIT, eventually
from tests.agents._kit.clis import Claude, Cli, Codex, Copilot, Gemini, OpenCode
from tests.agents._kit.sandbox import Peer, Sandbox
from tests.agents._kit.talking import CodexServer, Terminal
from tests.agents._kit.wired import trust_hooks, wire

pytestmark = pytest.mark.agents

TURNS = 6
HELLO = {"say": "hello there"}


def here(shell: Peer) -> dict[str, Any]:
    """Who is on this machine, by name."""
    listed = json.loads(shell("peers", "--json").out)["peers"]
    return {one["name"]: one for one in listed}


def until_here(shell: Peer, *names: str) -> dict[str, Any]:
    """Wait for these, and for nobody else, and until each can be woken."""

    def all_here() -> dict[str, Any] | None:
        found = here(shell)
        ready = all(one["reach"] == "at-once" for one in found.values())
        return found if set(found) == set(names) and ready else None

    found: dict[str, Any] = eventually(all_here, f"{names}")
    return found


def say(box: Sandbox, shell: Peer, name: str, text: str) -> str:
    """Send to one by name; all that the model was told which heard of it."""
    before = len(box.model.asked)
    assert shell("send", "--to", name, text).status == 0
    return box.model.wait(text, since=before).text


def test_two_windows_of_claude_code_are_two_agents(box: Sandbox) -> None:
    machine, [claude] = wire(box, [Claude])
    claude.trust("parler")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO)
    second = str(uuid.uuid4())
    with Terminal(box, ["claude", "--session-id", second, "quokka"]) as terminal:
        terminal.until("hello there")
        ids = {one["agent"] for one in until_here(shell, "project-claude").values()}
        with Terminal(box, ["claude", "numbat"]) as other:
            other.until("hello there")
            found = until_here(shell, "project-claude", "project-claude-2")
            assert len(ids | {one["agent"] for one in found.values()}) == 2
            heard = say(box, shell, "project-claude-2", "for the second")
            assert "numbat" in heard
            assert "quokka" not in heard
            heard = say(box, shell, "project-claude", "for the first")
            assert "quokka" in heard
        with Terminal(box, ["claude", "again"]) as other:
            other.until("hello there")
            assert until_here(shell, "project-claude", "project-claude-2") == found
    with Terminal(box, ["claude", "newer"]) as other:
        other.until("hello there")
        until_here(shell, "project-claude")


def test_a_resumed_conversation_of_claude_code_is_who_it_was(box: Sandbox) -> None:
    machine, [claude] = wire(box, [Claude])
    claude.trust("parler")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO, {"say": "second answer"})
    resumed = str(uuid.uuid4())
    with Terminal(box, ["claude", "quokka"]) as first:
        first.until("hello there")
        until_here(shell, "project-claude")
        with Terminal(box, ["claude", "--session-id", resumed, "numbat"]) as second:
            second.until("hello there")
            until_here(shell, "project-claude", "project-claude-2")
    with Terminal(box, ["claude", "--resume", resumed]) as again:
        again.until("hello there")
        until_here(shell, "project-claude-2")
        assert "numbat" in say(box, shell, "project-claude-2", "are you back?")
        with Terminal(box, ["claude", "--resume", resumed]) as thief:
            thief.until("hello there")
            until_here(shell, "project-claude", "project-claude-2")


def test_two_windows_of_codex_are_two_agents(box: Sandbox) -> None:
    machine, [codex] = wire(box, [Codex])
    codex.trust("parler")
    trust_hooks(box)
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO)
    with Terminal(box, ["codex", "quokka"]) as first:
        first.until("hello there")
        until_here(shell, "project-codex")
        with Terminal(box, ["codex", "numbat"]) as second:
            second.until("hello there")
            until_here(shell, "project-codex", "project-codex-2")
            heard = say(box, shell, "project-codex-2", "for the second")
            assert "numbat" in heard
            assert "quokka" not in heard


def test_two_conversations_in_one_process_of_codex_are_two_agents(box: Sandbox) -> None:
    machine, [codex] = wire(box, [Codex])
    codex.trust("parler")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    with CodexServer(box) as app:
        first, second = app.new_thread(), app.new_thread()
        for thread in (first, second):
            app.call(thread, "parler", "parler_rooms", {})
        names = {"project-codex", "project-codex-2"}
        eventually(lambda: set(here(shell)) == names, "two agents")
        assert "project-codex-2" in app.call(first, "parler", "parler_peers", {})
        wanted = {"glob": "made"}
        assert "reserved " in app.call(first, "parler", "parler_reserve", wanted)
        with pytest.raises(AssertionError, match="in the way"):
            app.call(second, "parler", "parler_reserve", wanted)
        assert "reserved " in app.call(first, "parler", "parler_reserve", wanted)


BEGUN: dict[type[Cli], list[str]] = {
    Gemini: ["gemini", "--prompt-interactive"],
    OpenCode: ["opencode", "--port", "0", "--prompt"],
    Copilot: ["copilot", "--allow-all-tools", "--interactive"],
}
"""What opens a window with a first prompt."""

RESUMABLE = (Gemini, Copilot)
"""Those that tell us which conversation of before a window is opened with."""


@pytest.mark.parametrize("kind", BEGUN)
def test_two_windows_of_an_app_are_two_agents(box: Sandbox, kind: type[Cli]) -> None:
    machine, [cli] = wire(box, [kind])
    cli.trust("parler")
    shell = Peer(box, {"PARLER_HUB": machine.hub}, box.project)
    box.model.script(HELLO, {"call": "parler_recv", "with": {}}, {"say": "read it"})
    names = [f"project-{kind.name}", f"project-{kind.name}-2"]
    words, mail = ["quokka", "numbat"], ["mind the lexer", "mind the parser"]

    def until_seats(*wanted: str) -> dict[str, str]:
        def seats() -> dict[str, str] | None:
            found = {one: entry["agent"] for one, entry in here(shell).items()}
            return found if set(found) == set(wanted) else None

        found: dict[str, str] = eventually(seats, f"{wanted}")
        return found

    def opened(word: str) -> Terminal:
        terminal = Terminal(box, [*BEGUN[kind], word])
        box.model.wait(word)
        return terminal

    homes = box.home / ".parler" / "agents"

    def came(text: str) -> bool:
        return box.keeps(text) or any(text in one.text for one in box.model.asked)

    def told(terminal: Terminal, text: str) -> None:
        for _ in range(TURNS):  # what an app did not show in one turn comes in another
            terminal.tell("news")
            with suppress(AssertionError):
                box.model.wait(text, wait=WAIT / TURNS)
                return
        raise AssertionError(f"{text!r} did not reach the model")

    with opened(words[0]) as first:
        until_seats(names[0])
        with opened(words[1]) as second:
            agents = until_seats(*names)
            assert len(set(agents.values())) == 2
            for name, text in zip(names, mail, strict=True):
                assert shell("send", "--to", name, text).status == 0
            for terminal, text in zip((first, second), mail, strict=True):
                eventually(lambda text=text: came(text), "mail of the window")
                told(terminal, text)
        for asked in box.model.asked:
            for word, text in zip(words, reversed(mail), strict=True):
                assert word not in asked.text or text not in asked.text
        until_seats(names[0])
        with Terminal(box, [*BEGUN[kind], "wombat"]):
            assert until_seats(*names) == agents
    if kind in RESUMABLE:
        [earlier] = (read_place(one.parent) for one in homes.rglob(f"2/{PLACE_FILE}"))
        assert earlier is not None
        with Terminal(box, [kind.name, f"--resume={earlier.conversations[0]}"]):
            until_seats(names[1])


WHOAMI = "parler whoami --json"
SHELLS: dict[type[Cli], dict[str, Any]] = {
    Claude: {"call": "Bash", "with": {"command": WHOAMI}},
    Gemini: {"call": "run_shell_command", "with": {"command": WHOAMI}},
    OpenCode: {"call": "bash", "with": {"command": WHOAMI, "description": "who"}},
    Copilot: {"call": "bash", "with": {"command": WHOAMI, "description": "who"}},
}


@pytest.mark.parametrize("kind", SHELLS)
def test_a_command_in_an_apps_shell_is_the_agent_of_its_window(
    box: Sandbox, kind: type[Cli]
) -> None:
    _, [cli] = wire(box, [kind])
    cli.trust("parler")
    cli.merge(".claude/settings.json", {"permissions": {"allow": ["Bash(parler *)"]}})
    cli.merge(".gemini/settings.json", {"tools": {"allowed": ["run_shell_command"]}})
    box.model.script(
        {"call": "parler_peers", "with": {}}, SHELLS[kind], {"say": "over"}
    )
    asked = cli.turn("who are you?").asked
    [tool, shell] = max((one.results for one in asked), key=len)
    mine = re.search(r"(\S+) \(you\)", tool)
    assert mine, tool
    assert f'"fingerprint":"{mine[1]}"' in shell
