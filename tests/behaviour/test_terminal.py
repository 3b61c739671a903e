"""The person's terminal: what it shows of all own agents, and what it decides."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parler.client.questions import Ask, ask_parts
from parler.identity.chosen_hub import LOCAL, choose
from parler.identity.identity import mint_identity
from parler.identity.signing import fingerprint
from parler.local_hub.record import Record, hub_paths, write_record
from parler.ops.person_only import by_an_agent
from parler.wire.records import DmTarget
from tests._support import warm
from tests._support.mcp_hosts import Host, at_work, text_of
from tests._support.mcp_peers import Peer, peer
from tests._support.polling import comes
from tests._support.processes import (
    WAIT,
    Done,
    HubProcess,
    environment,
    running_hub,
)
from tests._support.terminal import Terminal as Screen
from tests._support.terminal import at_a_terminal

pytestmark = pytest.mark.skipif(
    by_an_agent({}, os.getpid()), reason="an agent runs this, and only a person decides"
)
TOPIC = "flaky login"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal of the user, in no project and with no setting."""

    home: Path

    def run(self, *words: str, **variables: str) -> Done:
        """Run a command to its end, without a terminal to ask on."""
        done = warm.run(
            [sys.executable, "-m", "parler", *words],
            cwd=self.home,
            env=environment(self.home, **variables),
            stdin=b"",
            timeout=WAIT,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def __call__(self, *words: str, **variables: str) -> Done:
        """As `run`, while agents go on."""
        return await asyncio.to_thread(self.run, *words, **variables)

    def staying(
        self, *words: str, **variables: str
    ) -> AbstractContextManager["Screen"]:
        """Run a command on a terminal of 80 columns."""
        env = environment(self.home, COLUMNS="80", **variables)
        return at_a_terminal(*words, cwd=self.home, env=env)


@dataclass(frozen=True, slots=True)
class Desk:
    """Two idle agents of one user, of two apps in one project."""

    claude: Host
    codex: Host
    key: str
    room: str
    terminal: Terminal


@pytest.fixture(autouse=True)
def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of this process belong to the user whose terminal it is."""
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))


@asynccontextmanager
async def desk(hub: HubProcess, tmp_path: Path) -> AsyncIterator[Desk]:
    home = tmp_path / "ann"
    project = home / "shop"
    project.mkdir(parents=True)

    def env(app: str, name: str) -> dict[str, str]:
        return {
            "HOME": str(home),
            "PARLER_HOME": str(home / ".parler/agents" / app),
            "PARLER_HUB": hub.url,
            "PARLER_NAME": name,
        }

    async with (
        at_work(env("claude-code", "shop-claude"), project) as claude,
        at_work(env("codex", "shop-codex"), project) as codex,
    ):
        opened = await claude.calls(
            "parler_open_session", topic=TOPIC, context="we did X"
        )
        await codex.calls("parler_rooms")
        words = opened.split()
        key, room = words[words.index("KEY:") + 1], words[words.index("Session") + 1]
        yield Desk(claude, codex, key, room, Terminal(home))


async def knock(at: Desk, who: Peer) -> None:
    await who.joins(at.key)


async def waiting(at: Desk, *more: str) -> list[dict[str, Any]]:
    """Who waits at the rooms of all agents."""
    listed = (await at.terminal("session", "requests", "--json", *more)).json
    assert set(listed) == {"requests"}
    return list(listed["requests"])


async def test_a_knock_at_idle_agents_is_answered_from_any_terminal(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at, peer(hub.url, "anna") as anna:
        assert "Nothing waits for you." in (await at.terminal()).out
        await knock(at, anna)
        shown = (await at.terminal()).out
        line = f"parler approve {anna.fingerprint}"
        assert f"anna  {anna.fingerprint}  knocks" in shown
        assert f'at "{TOPIC}" of shop-claude' in shown
        assert line in shown
        assert {"shop-claude", "shop-codex"} <= set(shown.split())
        assert "You are in" in await at.codex.calls("parler_join_session", key=at.key)
        assert (
            f'"{TOPIC}"  shop-claude, shop-codex  2 in it' in (await at.terminal()).out
        )

        [request] = await waiting(at)
        assert set(request) >= {"room", "agent", "requestedAt"}
        assert request["owner"] == "shop-claude"
        assert request["fingerprint"] == anna.fingerprint

        # What an agent's shell runs is refused, with a line that works as it is.
        for more in ([], ["--yes"]):
            refused = await at.terminal(
                "approve", "anna", "--json", *more, CLAUDECODE="1"
            )
            assert refused.status == 2
            assert refused.error["next"] == "parler approve anna"
        assert "NOT approved" in await at.claude.calls(
            "parler_approve_join", agent=anna.fingerprint
        )
        no_terminal = await at.terminal("approve", "anna")
        assert (no_terminal.status, line in no_terminal.err) == (2, True)

        def answers(key: str) -> str:
            with at.terminal.staying("approve", "anna") as screen:
                asked = screen.until("]: ")
                assert anna.fingerprint in asked
                assert TOPIC in asked
                screen.type(key)
                screen.until("is in" if key == "y" else "nothing was changed")
                assert screen.end() == (0 if key == "y" else 130)
                return screen.shown

        assert "is in" not in await asyncio.to_thread(answers, "n")
        assert "as shop-claude" in await asyncio.to_thread(answers, "y")
        assert "we did X" in str(await anna.texts(request["room"]))
        assert "Nothing waits for you." in (await at.terminal()).out


async def test_a_name_alone_lets_in_nobody_where_two_could_be_meant(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        desk(hub, tmp_path) as at,
        peer(hub.url, "anna") as anna,
        peer(hub.url, "Anna") as other,
    ):
        opened = await at.codex.calls("parler_open_session", topic="another")
        words = opened.split()
        await knock(at, anna)
        await other.joins(words[words.index("KEY:") + 1])
        refused = await at.terminal("approve", "anna", "--yes", "--json")
        assert refused.status == 2
        for one in (anna, other):
            assert one.fingerprint in refused.error["message"]
        done = await at.terminal("approve", other.fingerprint[:9], "--yes")
        assert "as shop-codex" in done.err
        [left] = await waiting(at)
        assert left["agent"] == anna.client.agent_id
        assert await waiting(at, "--as", "shop-codex") == []


async def test_looking_takes_nothing_from_an_agent_and_does_not_make_it_seem_there(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with peer(hub.url, "anna") as anna:
        async with desk(hub, tmp_path) as at:
            rooms = (await at.terminal("rooms", "--json")).json["rooms"]
            [room] = [one for one in rooms if one["owner"] == "shop-claude"]
            assert (room["topic"], room["active"]) == (TOPIC, True)
            claude = room["ownerId"]
            await knock(at, anna)
            assert (await at.terminal("approve", "anna", "--yes")).status == 0
            await anna.says(room["name"], "in the room")
        # From here on it does not run.
        direct = await anna.tells(claude, "are you there?\nstill?")
        terminal = at.terminal
        asked = ask_parts(Ask(question="which port?"))
        await anna.client.send(DmTarget(agent=claude), asked)
        items = (await terminal("inbox", "--json")).json["items"]
        assert {(one["owner"], one["room"]) for one in items} == {
            ("shop-claude", direct)
        }
        assert {one["kind"]: one["text"] for one in items} == {
            "mail": "are you there?",
            "question": "which port?",
        }
        history = await terminal("history", TOPIC, "-n", "1")
        assert "in the room" in history.out
        assert "we did X" not in history.out
        assert "shop-claude" in (await terminal()).out
        told = await anna.receipts(direct, 1)
        assert told["shop-claude"].state == "stored"

        async with at_work(environment_of(at), terminal.home / "shop") as back:
            read = await back.calls("parler_recv", room=room["name"])
            assert "in the room" in read

            async def brought() -> bool:  # once, with whichever call comes after it
                nonlocal read
                read += await back.calls("parler_rooms")
                return "are you there?" in read

            assert await comes(brought)


def environment_of(at: Desk) -> dict[str, str]:
    home = at.terminal.home
    return {
        "HOME": str(home),
        "PARLER_HOME": str(home / ".parler/agents/claude-code"),
        "PARLER_NAME": "shop-claude",
    }


async def test_sessions_are_listed_by_topic_and_changed_by_it(
    hub: HubProcess, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path)
    opened = {
        topic: terminal.run(
            *("session", "open", "--topic", topic, "--json", "--hub", hub.url)
        ).json["room"]
        for topic in ("flaky login", "release")
    }
    shown = terminal.run("session", "list", "--hub", hub.url).out
    assert f"* {opened['release']} " in shown
    assert all(f'{room}  "{topic}"' in shown for topic, room in opened.items())
    # Where nothing else is said, the hub is that of the room.
    used = terminal.run("session", "use", "Flaky Login", "--json")
    assert used.json == {"room": opened["flaky login"], "topic": "flaky login"}
    assert terminal.run("send", "hi", "--json").json["room"] == opened["flaky login"]
    assert terminal.run("session", "use", opened["release"]).status == 0
    assert terminal.run("whoami", "--json").json["session"] == opened["release"]
    assert terminal.run("history", "FLAKY login").out.endswith(": hi\n")
    for command in (("session", "use"), ("history",)):
        meant = terminal.run(*command, "flaky", "--json").error["message"]
        assert meant.endswith(f"Did you mean {opened['flaky login']}?")
    missing = terminal.run("session", "use", "room.nope", "--hub", hub.url, "--json")
    assert (missing.status, missing.error["next"]) == (6, "parler session list")


async def test_an_agent_asks_its_person_who_answers_from_any_terminal(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at:
        given = {"question": "Deploy?", "choices": ["staging", "live"]}
        asking = at.claude.starts("parler_ask_user", **given, wait_secs=60)

        async def asked() -> dict[str, Any] | None:
            items = (await at.terminal("inbox", "--json")).json["items"]
            return next((one for one in items if one["kind"] == "question"), None)

        item = await comes(asked)
        assert (item["name"], item["choices"]) == ("shop-claude", ["staging", "live"])
        shown = (await at.terminal()).out
        assert "shop-claude" in shown
        assert "1 staging, 2 live" in shown
        assert "    your " in shown  # whose it is, which no name proves
        assert f"parler answer {item['fingerprint']} ANSWER" in shown

        answer = ("answer", "shop-claude", "2", "--json")
        refused = await at.terminal(*answer, CLAUDECODE="1", CLAUDE_PROJECT_DIR="/")
        assert refused.error["next"] == "parler answer shop-claude"
        home = str(at.terminal.home / ".parler")
        by_number = ("--question", str(item["seq"]), "--room", item["room"])
        refused = await at.terminal(
            "answer", "2", *by_number, "--home", home, "--json", GEMINI_CLI="1"
        )
        assert "answer in the name of its user" in refused.error["message"]
        itself = await at.claude.calls(
            "parler_answer", room=item["room"], seq=item["seq"], text="live"
        )
        assert "for a person to answer" in itself

        wrong = await at.terminal("answer", "shop-claude", "both", "--json")
        assert (wrong.status, "1 staging, 2 live" in wrong.error["message"]) == (
            2,
            True,
        )
        assert "Deploy?" in (await at.terminal("answer", "shop-claude")).out
        done = await at.terminal("answer", "shop-claude", "2")
        assert "shop-claude is told: “live”" in done.out
        read = text_of(await at.claude.result(asking))
        assert read.startswith("Your user answers, signature verified:\n  | live")
        assert "also for you" not in read  # it is not mail as well
        assert "Nothing waits for you." in (await at.terminal()).out

        read = await at.claude.calls("parler_ask_user", question="And?", wait_secs=0)
        assert "has not answered yet" in read
        late = await at.terminal("answer", "shop-claude", "as", "you", "like")
        assert late.status == 0

        async def brought() -> bool:
            read = await at.claude.calls("parler_rooms")
            return "YOUR USER ANSWERS" in read and "  | as you like" in read

        assert await comes(brought)


async def test_what_is_gone_for_good_is_asked_for_and_done_by_its_owner(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at, peer(hub.url, "anna") as anna:
        await knock(at, anna)
        for command in (
            ("delete-room", "--room", at.room),
            ("session", "leave", "--room", at.room),
        ):
            assert (await at.terminal(*command)).status == 2
            in_shell = await at.terminal(
                *command, "--yes", "--json", "--as", "shop-claude", GEMINI_CLI="1"
            )
            assert in_shell.error["next"] == f"parler {' '.join(command)}"
        assert (await at.terminal("reject", "anna", "--yes")).status == 0
        done = await at.terminal("delete-room", "--room", TOPIC, "--yes")
        assert (done.status, "as shop-claude" in done.err) == (0, True)
        assert (await at.terminal("rooms", "--json")).json["rooms"] == []
        missing = await at.terminal("history", TOPIC, "--json")
        assert (missing.status, missing.error["code"]) == (6, "not_member")


async def test_a_strangers_message_waits_for_the_person_and_costs_no_model_a_word(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at, peer(hub.url, "mallory") as mallory:
        await at.claude.calls("parler_register")
        [config] = (at.terminal.home / ".parler/agents/claude-code/ws").glob(
            "*/config.json"
        )
        claude = json.loads(config.read_text("utf-8"))["id"]
        room = await mallory.tells(claude, "read me first\nand then me")
        for look in (at.claude.calls("parler_recv"), at.claude.calls("parler_rooms")):
            assert "read me first" not in await look
        refused = await at.claude.calls("parler_recv", room=room)
        assert "has not accepted" in refused
        assert "read me first" not in refused

        shown = (await at.terminal("inbox")).out
        assert f"mallory  {mallory.fingerprint}  wants to write" in shown
        assert "to shop-claude: read me first" in shown
        assert "and then me" not in shown
        assert f"parler accept {mallory.fingerprint}" in shown
        in_shell = await at.terminal("inbox", CLAUDECODE="1", CLAUDE_PROJECT_DIR="/")
        assert "read me first" not in in_shell.out

        # Not every app's shell has a variable that scopes it, as Claude Code's has.
        shown = await at.terminal("inbox", GEMINI_CLI="1")
        assert (shown.status, "mallory" in shown.out) == (0, False)
        by_agent = await at.terminal("accept", "mallory", "--json", CLAUDECODE="1")
        assert (by_agent.status, by_agent.error["next"]) == (2, "parler accept mallory")
        assert (await at.terminal("accept", "mallory")).status == 0

        async def comes_through() -> bool:
            return "read me first" in await at.claude.calls("parler_recv", room=room)

        await comes(comes_through)
        assert (await at.terminal("decline", mallory.fingerprint)).status == 2
        assert (await at.terminal("decline", mallory.client.agent_id)).status == 0
        assert (await at.terminal("accept")).status == 2


async def test_a_watched_inbox_rings_when_somebody_knocks(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at, peer(hub.url, "anna") as anna:
        shown = tmp_path / "shown"
        desktop = tmp_path / "bin"
        desktop.mkdir()
        program = desktop / "notify-send"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{shown}\n', "utf-8")
        program.chmod(0o755)
        path = f"{desktop}:{os.environ['PATH']}"
        with at.terminal.staying("inbox", "--notify", PATH=path) as screen:
            await asyncio.to_thread(screen.until, "Ctrl-C")
            await knock(at, anna)
            text = await asyncio.to_thread(screen.until, "\a")
            assert f"parler approve {anna.fingerprint}" in text

            async def notified() -> bool:
                return shown.exists() and anna.fingerprint in shown.read_text("utf-8")

            await comes(notified)
        absent = await at.terminal("inbox", "--notify", PATH=str(tmp_path))
        assert (absent.status, "notify-send" in absent.err) == (2, True)


async def test_a_hub_that_is_away_is_named_and_hides_no_other(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with desk(hub, tmp_path) as at:
        away = "ws://127.0.0.1:9"
        [config] = (at.terminal.home / ".parler/agents/codex/ws").glob("*/config.json")
        raw: dict[str, Any] = json.loads(config.read_text("utf-8"))
        config.write_text(json.dumps(raw | {"hub_url": away}), "utf-8")
        for command in (("rooms",), ("session", "requests"), ("inbox",)):
            done = await at.terminal(*command)
            assert done.status == 0
            [line] = [one for one in done.err.splitlines() if away in one]
            assert "refused" in line
        listed = (await at.terminal("rooms", "--json")).json
        assert [one["topic"] for one in listed["rooms"]] == [TOPIC]
        assert [one["hub"] for one in listed["unreachable"]] == [away]
        assert fingerprint(raw["id"])  # the home is as it was
    hub.stop()
    assert (await at.terminal()).status == 0
    assert (await at.terminal("rooms")).status == 4


def test_where_nothing_is_set_up_the_next_command_is_named(tmp_path: Path) -> None:
    done = Terminal(tmp_path).run()
    assert (done.status, done.err) == (0, "")
    assert "Next: parler connect" in done.out
    assert list(tmp_path.iterdir()) == []
    choose(tmp_path / ".parler", LOCAL)  # as `parler connect` does without an app
    assert "Next: parler connect APP\n" in Terminal(tmp_path).run().out
    # Who types it alone was asked by an agent, and has none to start.
    nobody = Terminal(tmp_path).run("answer", PATH="/nowhere")
    assert "next: parler inbox, for what agents ask you; else parler" in nobody.err


def test_three_commands_that_are_named_have_a_message_arrive(
    tmp_path: Path, hub: HubProcess
) -> None:
    terminal = Terminal(tmp_path / "ann")
    choose(terminal.home / ".parler", hub.url)
    lines = [line for line in terminal.run().out.split("\n") if line[:2] == "  "]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    for line in lines:
        words = line.replace("~", str(terminal.home)).split()
        variables = dict(word.split("=") for word in words if "=" in word)
        done = terminal.run(*words[len(variables) + 1 :], **variables)
        assert done.status == 0, done.err
    assert " bob: HEY" in done.out


def test_at_a_terminal_an_error_tears_no_word_and_no_next_command(
    tmp_path: Path,
) -> None:
    with Terminal(tmp_path).staying("use", f"{'hub' * 14} {'team' * 10}") as screen:
        shown = screen.until("wss://HOST")
    error, _, step = shown.splitlines()
    assert error == f"error: no hub is called '{'hub' * 14}"
    assert step.startswith("next: one of: local, team; or its address")
    picture = ("session", "picture", "--room", "a b")
    with Terminal(tmp_path).staying(*picture) as screen:
        screen.until("next: parler session picture --room 'a b' -o session.svg")


def test_a_hub_that_refuses_hides_no_agent(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "ann")
    home = terminal.home / ".parler/agents/codex/ws/0"
    with running_hub(tmp_path / "hub", PARLER_HUB_JOIN_SECRET="not told") as hub:
        mint_identity(home, hub_url=hub.url, name="shop-codex")
        done = terminal.run()
        assert (done.status, done.err) == (0, "")
        assert f"{hub.url}  not reached" in done.out
        assert terminal.run("rooms").status == 6


def test_the_line_that_undoes_something_does_and_stands_on_a_terminal_alone(
    tmp_path: Path,
) -> None:
    terminal = Terminal(tmp_path)
    with terminal.staying("reserve", "src/**") as screen:
        screen.until("undo: parler ")
        words = screen.until("\n").split()
        assert screen.end() == 0
    assert "src/**" in terminal.run("reservations").out
    assert terminal.run(*words).out == "released src/**\n"
    piped = terminal.run("reserve", "src/**")
    assert "undo" not in piped.out + piped.err
    note = ("project", "remember", "shop", "we deploy from main")
    with terminal.staying(*note) as screen:
        screen.until("undo: parler ")
        words = screen.until("\n").split()
        assert screen.end() == 0
    assert terminal.run(*words).out == "no notes for shop\n"
    add = ("project", "add", "shop", str(tmp_path), "--agent", "codex")
    assert terminal.run(*add, "--describe", "all of it").status == 0
    allow = ("project", "allow", "shop", "--from", "local", "--write")
    assert terminal.run(*allow).status == 0
    before = terminal.run("project", "list").out
    for act in ("allow", "deny"):
        undone(terminal, "project", act, "shop", "--from", "local")
        assert terminal.run("project", "list").out == before
    undone(terminal, "project", "remove", "shop")
    assert terminal.run("project", "list").out == before


def undone(terminal: Terminal, *words: str) -> None:
    """Do something on a terminal, and then what its lines say takes it back."""
    with terminal.staying(*words) as screen:
        assert screen.end() == 0
        shown = re.sub(r"(?: \\)?\r\n {4}", " ", screen.shown)
    lines = re.findall(r"undo: parler ([^\r\n]*)", shown)
    assert lines, shown
    for line in lines:
        assert terminal.run(*shlex.split(line)).status == 0, line


def test_teammates_are_shut_out_only_if_a_person_says_so(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    paths, record = hub_paths(tmp_path / ".parler"), Record(team=True)
    paths.folder.mkdir(parents=True, mode=0o700)
    write_record(paths, record)
    rotate = ("connect", "--team", "--rotate-secret")
    refused = terminal.run(*rotate)
    assert (refused.status, "--rotate-secret --yes" in refused.err) == (2, True)
    with terminal.staying(*rotate) as screen:
        screen.until("Make a new secret? [y/N]: ")
        screen.type("n")
        assert screen.end() == 130
    assert [one.name for one in paths.folder.iterdir()] == [paths.record.name]
