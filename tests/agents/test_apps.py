"""`parler connect` and `parler mcp` in the real agent CLIs, as people use them."""

import json
import re
from collections.abc import Sequence

import pytest

from tests._support.polling import eventually
from tests.agents._kit.clis import (
    ALL,
    WORKERS,
    Claude,
    Cli,
    Codex,
    Copilot,
    Gemini,
    Turn,
)
from tests.agents._kit.sandbox import Asked, Json, Sandbox
from tests.agents._kit.talking import CodexServer, Terminal
from tests.agents._kit.wired import APPS, trust_hooks, wire

pytestmark = pytest.mark.agents

CONTEXT = "we fixed the parser and left the lexer alone"
OPENING = (
    {
        "call": "parler_open_session",
        "with": {"context": CONTEXT, "approval": False},
    },
    {"say": "it is open"},
)


@pytest.mark.parametrize("kind", WORKERS)
def test_an_app_starts_the_server_that_connect_wrote_until_it_is_removed(
    box: Sandbox, kind: type[Cli]
) -> None:
    machine, [cli] = wire(box, [kind])
    assert cli.servers() == {"parler": True}
    assert "error" not in cli.call("parler", "parler_peers", {}).lower()
    machine.connect("--remove", APPS[kind])
    assert cli.servers() == {}


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in WORKERS])
def test_an_app_that_lists_no_servers_calls_our_tools_until_they_are_removed(
    box: Sandbox, kind: type[Cli]
) -> None:
    machine, [cli] = wire(box, [kind])
    box.model.script({"call": "parler_peers", "with": {}}, {"say": "over"})

    def offered() -> Turn | None:
        turn = cli.turn("who is there?")
        wanted = any("parler_peers" in tool for tool in turn.asked[0].tools)
        return turn if wanted else None  # it waits 3 s for a server, on a busy machine

    before = eventually(offered, "turn with our tools")
    assert before.text == "over"
    assert "error" not in before.asked[-1].results[-1]
    machine.connect("--remove", APPS[kind])
    after = cli.turn("who is there?")
    assert not any("parler" in tool for tool in after.asked[0].tools)


def test_codex_knows_every_key_that_connect_writes(box: Sandbox) -> None:
    wire(box, [Codex])
    with CodexServer(box, "--strict-config") as app:
        assert set(app.servers()) == {"parler"}
        commands = [hook["command"] for hook in app.hooks()]
    assert commands
    assert all("parler hook" in command for command in commands)


def test_a_session_opened_in_claude_code_is_joined_and_read_in_codex(
    box: Sandbox,
) -> None:
    _, [claude, codex] = wire(box, [Claude, Codex])
    for cli in (claude, codex):
        cli.trust("parler")  # the user says yes
    box.model.script(
        {"call": "parler_open_session", "with": {"context": CONTEXT}},
        {"say": "opened"},
    )
    key = key_in(claude.turn("open a session and give me the key").asked[-1])
    reading = {"call": "parler_recv", "with": {"wait_secs": 30}}
    box.model.script(
        {"call": "parler_join_session", "with": {"key": key}},
        reading | {"gate": "approved"},
    )
    joining = codex.start("join it")
    knocked = box.model.wait("You knocked").results[-1]
    fingerprint = re.search(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", knocked)
    assert fingerprint, knocked
    # It is the same user's, so nobody is asked once the owner's app runs again.
    letting = {"call": "parler_approve_join", "with": {"agent": fingerprint[0]}}
    box.model.script(letting, {"say": "it is in"})
    assert "nobody is waiting" in claude.turn("let it in").asked[-1].results[-1]
    box.model.script(reading, {"say": "read"}, after=2)
    box.model.open("approved")
    assert joining.wait().status == 0
    assert codex.last_words(joining.said()) == "read"
    assert CONTEXT in "".join(box.model.asked[-1].results)


def open_session(
    box: Sandbox, terminal: Terminal, opening: Sequence[Json] = OPENING
) -> str:
    """Wait until the agent in a terminal has opened a session; the key to it."""
    first = box.model.wait("begin")
    while "call" not in first.reply:
        # It does not wait for its servers, and begins without their tools.
        terminal.until("no tool")
        before = len(box.model.asked)
        box.model.script(*opening, after=first.turn + 1)
        terminal.tell("begin again")
        first = box.model.wait("begin", since=before)
    terminal.until("it is open")
    return key_in(box.model.asked[-1])


def key_in(asked: Asked) -> str:
    """The key to a session, in what a model was told."""
    found = re.search(r"KEY: (\S+)", asked.text)
    assert found, asked.text[-3000:]
    return found[1]


@pytest.mark.parametrize("mode", [[], ["--dangerously-skip-permissions"]])
def test_one_enter_lets_an_unknown_joiner_in_and_nothing_else_does(
    box: Sandbox, mode: list[str]
) -> None:
    machine, [claude] = wire(box, [Claude])
    rules = {"allow": ["mcp__parler__parler_open_session"]}
    claude.merge(".claude/settings.json", {"permissions": rules})
    claude.merge(Claude.config, {"bypassPermissionsModeAccepted": True})
    box.variables["IS_SANDBOX"] = "1"  # else it skips nothing as root
    opening = {"call": "parler_open_session", "with": {"context": CONTEXT}}
    letting = {"call": "parler_approve_join", "with": {"agent": "ann"}}
    gated = (opening, OPENING[1])
    box.model.script(*gated)
    with Terminal(box, ["claude", *mode, "begin"]) as terminal:
        key = open_session(box, terminal, gated)
        said = box.model.asked[-1].turn + 1
        box.model.script(letting, {"say": "all done"}, after=said)
        ann = box.peer("ann", machine.hub)
        ann("session", "join", key, "--json")
        terminal.until("Let it in?")
        assert ann("recv", "--json").status == 2
        terminal.type("\r")
        box.model.wait(" is in (")
        terminal.until("all done")
        assert CONTEXT in ann("session", "join", key).out


def test_claude_code_without_a_screen_lets_nobody_in(box: Sandbox) -> None:
    machine, [claude] = wire(box, [Claude])
    claude.trust("parler")
    box.model.script(
        {"call": "parler_open_session", "with": {"context": CONTEXT}},
        {"say": "opened", "gate": "knocked"},
        {"call": "parler_approve_join", "with": {"agent": "ann"}},
        {"say": "tried"},
    )
    turn = claude.start("open a session")
    ann = box.peer("ann", machine.hub)
    ann("session", "join", key_in(box.model.wait("KEY: ")), "--json")
    box.model.open("knocked")
    assert turn.wait().status == 0
    refused = box.model.asked[-1].results[-1]
    assert "NOT approved" in refused
    assert "parler approve" in refused


@pytest.mark.parametrize("kind", [Claude, Codex])
def test_an_idle_terminal_session_is_woken_by_a_message(
    box: Sandbox, kind: type[Cli]
) -> None:
    machine, [cli] = wire(box, [kind])
    cli.trust("parler")
    if kind is Codex:
        trust_hooks(box)
    box.model.script(*OPENING)
    with Terminal(box, [kind.name, "begin"]) as terminal:
        key = open_session(box, terminal)
        ann = box.peer("ann", machine.hub)
        assert ann("session", "join", key, "--json").status == 0
        before = len(box.model.asked)
        assert ann("send", "please rebase onto main", "--json").status == 0
        woken = box.model.wait("please rebase onto main", since=before)
    assert "ann" in woken.text


@pytest.mark.parametrize("kind", [Codex, Gemini, Copilot])
def test_a_turn_ends_with_what_came_meanwhile(box: Sandbox, kind: type[Cli]) -> None:
    machine, [cli] = wire(box, [kind])
    cli.trust("parler")
    if kind is Codex:
        trust_hooks(box)
    opening, closing = OPENING
    box.model.script(opening, closing | {"gate": "sent"}, {"say": "second"})
    turn = cli.start("open a session")
    key = key_in(box.model.wait("KEY: "))
    ann = box.peer("ann", machine.hub)
    assert ann("session", "join", key, "--json").status == 0
    assert ann("send", "please rebase onto main", "--json").status == 0
    box.model.open("sent")
    assert turn.wait().status == 0
    assert "please rebase onto main" in box.model.asked[-1].text


@pytest.mark.parametrize("kind", [Claude, Codex])
def test_a_key_in_the_environment_brings_an_agent_in_and_its_context_with_it(
    box: Sandbox, kind: type[Cli]
) -> None:
    ann = box.peer("ann", box.hub())
    opened = ann("session", "open", "--context", CONTEXT, "--json")
    assert opened.status == 0, opened.err
    key = json.loads(opened.out)["portable"]
    cli = kind(box)
    cli.prepare()
    cli.add_server("parler", ["parler", "mcp"], {"PARLER_SESSION_KEY": key})
    cli.trust("parler")
    reading = {"call": "parler_recv", "with": {"wait_secs": 30}}
    box.model.script(reading, reading, {"say": "read"})
    joining = cli.start("go on")

    def knock() -> str | None:
        waiting = json.loads(ann("session", "requests", "--json").out)["requests"]
        return waiting[0]["fingerprint"] if waiting else None

    fingerprint = eventually(knock, "knock")
    assert not any(CONTEXT in one.text for one in box.model.asked)
    assert ann("session", "approve", fingerprint, "--yes", "--json").status == 0
    assert joining.wait().status == 0
    assert cli.last_words(joining.said()) == "read"
    assert CONTEXT in "".join(box.model.asked[-1].results)


def test_the_doctor_says_which_path_brings_a_message_to_an_idle_app(
    box: Sandbox,
) -> None:
    machine, [claude] = wire(box, [Claude])
    claude.trust("parler")
    box.model.script(*OPENING)
    with Terminal(box, ["claude", "begin"]) as terminal:
        open_session(box, terminal)
        told = machine.shell_of(Claude)("doctor", "--wake", "--json")
        assert told.status == 0, told.out + told.err
        [probe] = json.loads(told.out)["probes"]
    assert probe["arrived"]
    assert any("parler doctor --wake" in one.text for one in box.model.asked)
