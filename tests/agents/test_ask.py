"""Projects that are asked, answered by the real agent CLIs: held back, and remembering.

The user of each has allowed it everything once and for all; an answer still may read
and nothing else, until the owner of the project grants more.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests._support.polling import eventually
from tests.agents._kit import probe as probes
from tests.agents._kit.clis import WORKERS, Claude, Cli, Codex, Gemini, OpenCode
from tests.agents._kit.sandbox import Peer, Sandbox
from tests.agents._kit.talking import Terminal
from tests.agents._kit.wired import wire as wire_apps

pytestmark = pytest.mark.agents

Step = dict[str, Any]
QUESTION = "how do you retry --webhooks?"
PLAIN = "what else"

SHELLS: dict[type[Cli], Step] = {
    Claude: {"call": "Bash", "with": {"command": "touch made", "description": "x"}},
    Codex: {"call": "exec_command", "with": {"cmd": "touch made"}},
    Gemini: {"call": "run_shell_command", "with": {"command": "touch made"}},
    OpenCode: {"call": "bash", "with": {"command": "touch made", "description": "x"}},
}


def allow_everything(cli: Cli) -> None:
    """What a user does who never wants to be asked."""
    if isinstance(cli, Claude):
        rules = ["Read", "Write", "Edit", "Bash(*)", "mcp__mine__*"]
        permissions = {"allow": rules, "defaultMode": "acceptEdits"}
        cli.merge(".claude/settings.json", {"permissions": permissions})
    elif isinstance(cli, Codex):
        path = cli.file(cli.config)
        text = path.read_text(encoding="utf-8")
        free = 'sandbox_mode = "danger-full-access"\napproval_policy = "never"\n'
        path.write_text(free + text, encoding="utf-8")
        rule = 'prefix_rule(pattern=["touch"], decision="allow")\n'
        cli.file(".codex/rules/mine.rules").write_text(rule, encoding="utf-8")
    elif isinstance(cli, Gemini):
        tools = {"allowed": ["run_shell_command", "write_file", "replace"]}
        cli.merge(cli.config, {"tools": tools})
    else:
        cli.merge(cli.config, {"permission": {"*": "allow", "bash": "allow"}})


def wire(box: Sandbox, kind: type[Cli]) -> Peer:
    """Somebody in another folder, who has made the box's folder a project."""
    cli = kind(box)
    cli.prepare()
    probe = Path(probes.__file__)
    command = [sys.executable, "-I", str(probe), str(box.home / "started")]
    cli.add_server("mine", command, {})
    cli.trust("mine")
    allow_everything(cli)
    ann = box.peer("ann", "ws://127.0.0.1:9")
    given = ("--agent", kind.name, "--timeout", "120")
    done = ann("project", "add", "shop", str(box.project), *given, "--replace")
    assert done.status == 0, done.err
    return ann


def ask(ann: Peer, *words: str) -> Any:
    done = ann("ask", "shop", *words, "--json")
    assert done.status == 0, done.err
    return json.loads(done.out)


def filled(step: Step, box: Sandbox) -> Step:
    text = json.dumps(step).replace("{project}", str(box.project))
    return dict(json.loads(text))


@pytest.mark.parametrize("kind", WORKERS)
def test_an_answer_changes_nothing_until_the_owner_grants_it(
    box: Sandbox, kind: type[Cli]
) -> None:
    ann = wire(box, kind)
    for step in (SHELLS[kind], filled(kind.write, box)):
        box.model.script(step, {"say": "I tried"})
        before = len(box.model.asked)
        assert ask(ann, QUESTION)["status"] == "done"
        tools = box.model.asked[before].tools
        assert not any("mark" in tool for tool in tools), "its servers are not for us"
        ann("project", "forget-session", "shop")
    assert not (box.project / "made").exists()
    assert not (box.home / "started").exists()
    allowed = ann("project", "allow", "shop", "--from", "local", "--write")
    assert allowed.status == 0, allowed.err
    box.model.script(filled(kind.write, box), {"say": "written"})
    assert ask(ann, "please write it")["answer"] == "written"
    assert (box.project / "made").exists()
    (box.project / "made").unlink()
    # What was granted once does not stay with the conversation that goes on.
    assert ann("project", "allow", "shop", "--from", "local").status == 0
    box.model.script(filled(kind.write, box), {"say": "I tried"}, after=2)
    assert ask(ann, "and again")["tier"] == "resumed"
    assert not (box.project / "made").exists()


READS: dict[type[Cli], Step] = {
    Claude: {"call": "Read", "with": {"file_path": "{file}"}},
    Codex: {"call": "exec_command", "with": {"cmd": "cat {file}"}},
    Gemini: {"call": "read_file", "with": {"file_path": "{file}"}},
    OpenCode: {"call": "read", "with": {"filePath": "{file}"}},
}


@pytest.mark.parametrize("kind", WORKERS)
def test_an_answer_reads_no_keys_and_little_outside_of_the_folder(
    box: Sandbox, kind: type[Cli]
) -> None:
    ann = wire(box, kind)
    key, beside = box.home / ".ssh" / "id", box.folder / "project2" / "notes"
    inside = box.project / "notes"
    for path, text in ((key, "KEPT"), (beside, "KEPT"), (inside, "INSIDE")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    held_back = [key] if kind is Codex else [key, beside]
    if kind is Claude:  # which finds what it may not read behind a link as well
        (box.project / "link").symlink_to(beside)
        held_back.append(box.project / "link")
    for path in (*held_back, inside):
        text = json.dumps(READS[kind]).replace("{file}", str(path))
        box.model.script(json.loads(text), {"say": "I tried"})
        assert ask(ann, PLAIN)["status"] == "done"
        told = box.model.asked[-1].results[-1]
        assert "KEPT" not in told
        assert ("INSIDE" in told) is (path == inside)
        ann("project", "forget-session", "shop")
    assert not (box.home / ".aws").exists()


@pytest.mark.parametrize("kind", WORKERS)
def test_it_remembers_over_all_three_tiers(box: Sandbox, kind: type[Cli]) -> None:
    ann = wire(box, kind)
    hub = box.hub()
    box.model.script(*({"say": f"answer {number}"} for number in range(9)))
    first = ask(ann, QUESTION)
    assert (first["tier"], first["status"]) == ("fresh", "done")
    second = ask(ann, "--follow-up", PLAIN)
    assert second["tier"] == "resumed"
    said = box.model.asked[-1].text
    assert QUESTION in said
    assert PLAIN in said
    ann = Peer(box, ann.variables | {"PARLER_HUB": hub}, ann.place)
    serving = Peer(box, ann.variables, box.project).start("answer")
    eventually(lambda: "Ctrl-C" in serving.said(), "answerer")
    assert serving.process.poll() is None, serving.said()
    third = ask(ann, "and live?")
    assert (third["tier"], third["status"]) == ("live", "done")
    assert QUESTION in box.model.asked[-1].text
    log = json.loads(ann("project", "log", "shop", "--json").out)["lines"]
    assert [line["event"] for line in log] == ["asked", "answered"] * 3


@pytest.mark.parametrize("kind", WORKERS)
def test_a_path_in_a_question_attaches_no_file(box: Sandbox, kind: type[Cli]) -> None:
    ann = wire(box, kind)
    secret = box.home / "secret.txt"
    secret.write_text("KEPT-FROM-OTHERS", encoding="utf-8")
    (box.project / "inside.txt").write_text("KEPT-INSIDE", encoding="utf-8")
    box.model.script({"say": "no"})
    ask(ann, f"read @{secret} and @inside.txt and !`cat {secret}`")
    said = "".join(one.text for one in box.model.asked)
    assert "KEPT" not in said


@pytest.mark.parametrize("kind", WORKERS)
def test_a_conversation_that_the_cli_lost_begins_anew(
    box: Sandbox, kind: type[Cli]
) -> None:
    ann = wire(box, kind)
    box.model.script({"say": "with backoff"}, {"say": "again"})
    assert ask(ann, QUESTION)["tier"] == "fresh"
    [state] = Path(ann.variables["PARLER_HOME"]).rglob("state.json")
    value = json.loads(state.read_text(encoding="utf-8"))
    unknown = {
        Claude: "5f0f3b9e-0000-4000-8000-00000000ffff",
        Gemini: "5f0f3b9e-0000-4000-8000-00000000ffff",
        Codex: "00000000-0000-7000-8000-000000000000",
        OpenCode: "ses_000000000000000000000000",
    }
    value["sessions"] = {kind.name: unknown[kind]}
    state.write_text(json.dumps(value), encoding="utf-8")
    again = ask(ann, PLAIN)
    assert (again["tier"], again["status"]) == ("fresh", "done")
    assert "with backoff" in box.model.asked[-1].text


def test_claude_code_asks_its_person_who_answers_in_another_terminal(
    box: Sandbox,
) -> None:
    machine, [claude] = wire_apps(box, [Claude])
    claude.trust("parler")
    question = {"question": "Deploy?", "choices": ["staging", "live"], "wait_secs": 120}
    box.model.script(
        {"say": "hello there"},
        {"call": "parler_ask_user", "with": question},
        {"say": "it is live"},
    )
    person = Peer(box, {"PARLER_HUB": machine.hub}, box.home)

    def asked() -> bool:
        shown = json.loads(person("inbox", "--json").out)["items"]
        return any(one.get("choices") == question["choices"] for one in shown)

    def is_here() -> bool:
        return "project-claude" in person("peers").out

    with Terminal(box, ["claude", "good morning"]) as terminal:
        terminal.until("hello there")
        eventually(is_here, "Claude Code among the peers")
        terminal.tell("may we deploy?")
        eventually(asked, "the question in the inbox")
        done = person("answer", "project-claude", "2")
        assert (done.status, "“live”" in done.out) == (0, True)
        heard = box.model.wait("Your user answers").text
        assert "| live" in heard
        terminal.until("it is live")
