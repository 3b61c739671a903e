"""Workers that run the real agent CLIs: what those are given, may do, and answer."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parler.wake.spool import Item, Spool
from tests._support.polling import eventually
from tests.agents._kit import probe as probes
from tests.agents._kit.clis import WORKERS, Claude, Cli, Codex, Gemini, OpenCode
from tests.agents._kit.sandbox import Peer, Sandbox, Started
from tests.agents._kit.wired import trust_hooks, wire

pytestmark = pytest.mark.agents

WORDS = "count the --words; $(touch pwned)"
SECRET = "hunter22-is-the-join-secret"

Step = dict[str, Any]


@dataclass(frozen=True)
class Room:
    """A session of somebody who asks and somebody whose worker answers."""

    asker: Peer
    worker: Peer

    def ask(self, words: str = WORDS) -> None:
        done = self.asker("handoff", "--for", "bob", "--next", words, "--json")
        assert done.json["seq"]

    def work(self, kind: type[Cli], *flags: str) -> Started:
        """Let bob do one task."""
        given = ("--runner", kind.name, "--once", "--json", *flags)
        return self.worker.start("work", *given, PARLER_JOIN_SECRET=SECRET)

    def heard(self) -> tuple[list[str], str]:
        """The receipts that came back, in order, and the answer."""
        messages = self.asker("recv", "--json").json["messages"]
        assert all(message["signature"] == "valid" for message in messages)
        parts = [part for message in messages for part in message["parts"]]
        told = [part for part in parts if part["kind"] == "com.parler.task"]
        said = [part["text"] for part in parts if part["kind"] == "text"]
        return [part["status"] for part in told], "\n".join(said)


@pytest.fixture
def room(box: Sandbox) -> Room:
    return room_at(box, box.hub())


def room_at(box: Sandbox, hub: str) -> Room:
    ann, bob = box.peer("ann", hub), box.peer("bob", hub, place=box.project)
    opened = ann("session", "open", "--no-approval", "--json").json
    assert bob("session", "join", opened["portable"], "--json").status == 0
    return Room(ann, bob)


def filled(step: Step, box: Sandbox) -> Step:
    """A step with the project folder in it."""
    text = json.dumps(step).replace("{project}", str(box.project))
    return dict(json.loads(text))


def servers_of(user: Cli) -> None:
    """Give the user a server whose tools are not for peers, and let it run unasked."""
    probe = Path(probes.__file__)
    command = [sys.executable, "-I", str(probe), str(user.box.home / "started")]
    user.add_server("mine", command, {})
    user.trust("mine")


@pytest.mark.parametrize("kind", WORKERS)
def test_a_handoff_is_done_by_the_real_cli(
    box: Sandbox, room: Room, kind: type[Cli]
) -> None:
    cli = kind(box)
    cli.prepare()
    servers_of(cli)
    assert any("mark" in tool for tool in cli.turn("hello").asked[0].tools)
    box.model.script(
        filled(kind.write, box) | {"gate": "seen"}, {"say": "there are four words"}
    )
    room.ask()
    working = room.work(kind)
    asked = box.model.wait(WORDS)
    assert not any("count the" in " ".join(line) for line in box.command_lines())
    [one, *_] = box.named(kind.name)
    assert SECRET not in one.environ().values()
    assert one.environ()["PARLER_HOME"] == "/dev/null/parler"
    box.model.open("seen")
    assert working.wait().json["status"] == "done"
    assert room.heard() == (["accepted", "working", "done"], "there are four words")
    assert (box.project / "made").read_text(encoding="utf-8") == "by an agent"
    assert "written by that agent" in " ".join(asked.text.split())
    assert not (box.project / "pwned").exists()
    assert not any("mark" in tool for tool in asked.tools)


TRESPASSES: tuple[tuple[type[Cli], Step, str], ...] = (
    # Asks its classifier, which here knows nothing: what it cannot judge is denied.
    (Claude, {"call": "Bash", "with": {"command": "{dial}"}}, "denied"),
    (Codex, {"call": "exec_command", "with": {"cmd": "{dial}"}}, "not permitted"),
    (Gemini, {"call": "run_shell_command", "with": {"command": "{dial}"}}, "no tool"),
    (OpenCode, {"call": "bash", "with": {"command": "{dial}"}}, "no tool"),
)


@pytest.mark.parametrize(("kind", "step", "refusal"), TRESPASSES)
def test_a_runner_cannot_reach_out_of_its_folder(
    box: Sandbox, room: Room, kind: type[Cli], step: Step, refusal: str
) -> None:
    kind(box).prepare()
    port = box.model.url.rpartition(":")[2]
    dial = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
    command = f'python3 -c "{dial}" && touch dialled'
    step = json.loads(json.dumps(step).replace('"{dial}"', json.dumps(command)))
    box.model.script(step)
    room.ask()
    ended = room.work(kind).wait()
    assert ended.json["status"] == "done"
    assert refusal in room.heard()[1]
    assert not (box.project / "dialled").exists()


def test_what_a_user_allows_codex_outside_its_sandbox_is_not_for_peers(
    box: Sandbox, room: Room
) -> None:
    codex = Codex(box)
    codex.prepare()
    rule = 'prefix_rule(pattern=["python3"], decision="allow")\n'
    codex.file(".codex/rules/mine.rules").write_text(rule, encoding="utf-8")
    port = box.model.url.rpartition(":")[2]
    dial = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
    command = f"python3 -c {json.dumps(dial)}"
    box.model.script({"call": "exec_command", "with": {"cmd": command}})
    assert "not permitted" not in codex.turn("dial").text.lower()
    room.ask()
    assert room.work(Codex).wait().json["status"] == "done"
    assert "not permitted" in room.heard()[1].lower()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Claude, "Not logged in"),
        (Codex, "401 Unauthorized"),
        (Gemini, "set an Auth method"),
        (OpenCode, "Error: no such key"),
    ],
)
def test_a_cli_that_nobody_logged_in_is_a_task_that_failed(
    box: Sandbox, room: Room, kind: type[Cli], reason: str
) -> None:
    if kind in (Codex, OpenCode):  # these need an answer to know
        kind(box).prepare()
        box.model.script({"refuse": 401})
    room.ask()
    ended = room.work(kind, "--timeout-secs", "120").wait()
    assert ended.json["status"] == "failed"
    told, said = room.heard()
    assert told == ["accepted", "working", "failed"]
    assert reason in (ended.json["note"] + said)


@pytest.mark.parametrize("kind", WORKERS)
def test_a_cli_that_hangs_is_ended_with_all_it_started(
    box: Sandbox, room: Room, kind: type[Cli]
) -> None:
    kind(box).prepare()
    box.model.script({"say": "never", "gate": "shut"})
    room.ask()
    working = room.work(kind, "--timeout-secs", "8")
    eventually(lambda: box.named(kind.name), f"{kind.name} at work")
    ended = working.wait().json
    assert ended["status"] == "failed"
    assert "8 s" in ended["note"]
    assert room.heard()[0] == ["accepted", "working", "failed"]
    eventually(lambda: not box.named(kind.name), "end of its processes")


def test_a_worker_without_its_cli_takes_nothing(box: Sandbox, room: Room) -> None:
    box.path = box.path[1:]
    room.ask()
    for kind in WORKERS:
        ended = room.work(kind).wait()
        assert (ended.status, ended.error["code"]) == (2, "usage")
        assert f"no {kind.name} on PATH" in ended.error["message"]
    assert room.heard() == ([], "")


@pytest.mark.parametrize("kind", [Claude, Codex, Gemini])
def test_a_worker_leaves_alone_what_waits_for_the_users_own_agent(
    box: Sandbox, kind: type[Cli]
) -> None:
    machine, [cli] = wire(box, [kind])
    if kind is Codex:
        trust_hooks(box)
    box.model.script({"say": "hello"})
    cli.turn("hello")
    [identity] = (box.home / ".parler" / "agents").glob("*/ws/*/config.json")
    mail = Item("room.a", 1, "WAITING MAIL", urgent=True, key="1")
    Spool(identity.parent).offer([mail])
    room = room_at(box, machine.hub)
    room.ask()
    assert room.work(kind).wait().json["status"] == "done"
    assert not any("WAITING MAIL" in asked.text for asked in box.model.asked)
    assert Spool(identity.parent).waiting() == [mail]
