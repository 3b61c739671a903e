"""Whatever a hub or an agent writes, nobody takes it for our own words.

Every tool, command and resource is tried against a hub that lies in every text.
"""

import asyncio
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import typer

pytest.importorskip("resource", reason="an MCP host's pipes need POSIX")

from parler.cli import app
from parler.identity.identity import set_active_session
from parler.identity.known_rooms import KnownRooms
from parler.identity.person import ensure_person
from parler.identity.signing import fingerprint
from parler.mcp_server.instructions import PROMPTS, RESOURCES
from parler.mcp_server.tools import messages
from parler.mcp_server.tools.registry import ALL
from parler.wire.base import AgentId, MessageId
from tests._support.bundles import bundle, digest
from tests._support.capabilities import declared
from tests._support.gitrepo import Repo
from tests._support.hostile_hub import (
    EVERYWHERE,
    EVIL,
    ROOM,
    HostileHub,
    Lie,
    hostile_hub,
)
from tests._support.mcp_hosts import Host, at_work, environment, home_of
from tests._support.polling import WAIT

MARK = "  | "
MAX_RESULT = 40_000
MAX_WORD = 220
"""Characters in a row that are shown of a word, which somebody else chose."""

QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
AS_OURS = re.compile(rf"\s*({EVIL}|KEY:|you \[|system:|HANDOFF TO YOU)")
AS_US = re.compile(r"\(you\)|^you \[|from you\b")
US = re.compile(r"\bann( [A-Z2-7-]{19})? \(you\)")
"""We, as we call ourselves."""

BRIEF = {"wait_secs": 0, "timeout_secs": 1}


def hidden(text: str) -> Iterator[str]:
    """What a terminal obeys, or does not draw."""
    for char in text:
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp", "Cs") and char != "\n":
            yield f"{char!a}"
        if category == "Cf" and char not in "\u200c\u200d":
            yield f"{char!a}"


def faults_in_result(text: str, lie: Lie) -> Iterator[str]:
    """What is wrong with a text for a model."""
    yield from (f"hidden {one}" for one in sorted(set(hidden(text))))
    if len(text) > MAX_RESULT:
        yield f"{len(text)} characters"
    for line in text.split("\n"):
        if line.startswith(MARK):
            continue
        bare = US.sub("", QUOTED.sub('""', line))
        if EVIL in bare or "BBB" in line:
            yield f"unmarked: {line[:300]}"
        if "L" * MAX_WORD in line:
            yield f"not clipped: {line[:300]}"
        if AS_US.search(bare) and lie.name in ("you", "short"):
            yield f"as if we said it: {line[:300]}"


def faults_on_screen(text: str, lie: Lie) -> Iterator[str]:
    """What is wrong with a text for a terminal."""
    yield from (f"hidden {one}" for one in sorted(set(hidden(text))))
    for line in text.split("\n"):
        bare = US.sub("", QUOTED.sub('""', line))
        if AS_OURS.match(line):
            yield f"starts as ours: {line[:300]}"
        if "L" * MAX_WORD in line:
            yield f"not clipped: {line[:300]}"
        if AS_US.search(bare) and lie.name in ("you", "short"):
            yield f"as if we said it: {line[:300]}"


def arguments_of(tool: Any, hub: HostileHub) -> Iterator[dict[str, Any]]:
    """Its example, as it is and with those who are there."""
    example = json.loads(tool.capability.call)
    taken = {one.encode_name for one in msgspec.structs.fields(tool.args)}
    example |= {name: most for name, most in BRIEF.items() if name in taken}
    yield example
    meant = stand_ins(hub)
    there = {name: meant.get(name, one) for name, one in example.items()}
    if there != example:
        yield there


def stand_ins(hub: HostileHub) -> dict[str, str]:
    """Who and what is there, for what examples name."""
    somebody = fingerprint(hub.liar.value(AgentId))
    return {
        "agent": somebody,
        "project": somebody,
        "to": somebody,
        "room": ROOM,
        "blob": digest(hub.liar.blob),
    }


def at_home(home: Path, hub: HostileHub, *, is_open: bool = False) -> None:
    """Make the room the active session; its members are known unless it is open."""
    ensure_person(home, hub_url=hub.url)
    KnownRooms(home).remember(hub.url, ROOM, is_open=is_open)
    set_active_session(home, ROOM)


async def told_by(host: Host, method: str, params: dict[str, Any]) -> str:
    """All the texts of an answer, or of the error instead."""
    request = host.asks(method, params)
    frame = await host.hears(lambda one: one.get("id") == request)
    answer = frame.get("result") or frame["error"]
    held = answer.get("content") or answer.get("contents") or answer.get("messages")
    if held is None:
        return str(answer["message"])
    return "\n".join(one.get("text") or one["content"]["text"] for one in held)


async def read_all(host: Host, hub: HostileHub, home: Path) -> dict[str, str]:
    """Everything that a model can be given, by what gave it."""
    seen: dict[str, str] = {}
    for tool in ALL:
        for arguments in arguments_of(tool, hub):
            at_home(home, hub)
            params = {"name": tool.name, "arguments": arguments}
            seen[str(params)] = await told_by(host, "tools/call", params)
    at_home(home, hub)
    for resource in RESOURCES:
        uri = {"uri": resource["uri"]}
        seen[resource["uri"]] = await told_by(host, "resources/read", uri)
    for prompt in PROMPTS:
        name = {"name": prompt["name"]}
        seen[prompt["name"]] = await told_by(host, "prompts/get", name)
    return seen


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """For each lie what is handed over with it."""
    return {
        lie.name: asyncio.run(handed_over(tmp_path_factory.mktemp("handed"), lie))
        for lie in EVERYWHERE
    }


async def handed_over(folder: Path, lie: Lie) -> tuple[Path, bytes]:
    """A work tree, and commits on top of it whose every word is a lie."""
    origin = Repo.init(folder / "origin")
    origin.commit("report.pdf")
    work = origin.clone(folder / "work")
    word = lie.word[:200].replace("\x00", "").encode("utf-8", "replace").decode()
    origin.commit(word.replace("/", "-"), message=word)
    return work.folder, await bundle(origin, base="HEAD~1")


@pytest.mark.parametrize("lie", EVERYWHERE, ids=lambda lie: lie.name)
async def test_no_result_of_a_tool_has_foreign_words_as_ours(
    lie: Lie,
    tmp_path: Path,
    handed: dict[str, tuple[Path, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "OUTCOME_SECS", 0.1)
    monkeypatch.setattr(messages, "FETCH_SECS", 0.1)
    work, blob = handed[lie.name]
    with hostile_hub(lie, blob) as hub:
        env = environment(tmp_path, hub.url, "ann") | {"PARLER_TOOLS": "full"}
        home = home_of(env)
        home.mkdir(parents=True)
        at_home(home, hub)
        async with at_work(env, work) as host:
            seen = await read_all(host, hub, home)
    wrong = {
        what: faults
        for what, text in seen.items()
        if (faults := list(faults_in_result(text, lie)))
    }
    assert not wrong, told(wrong)


def told(wrong: dict[str, list[str]]) -> str:
    """What went wrong where, a line for each."""
    return "\n".join(f"{where}: {one}" for where, all_ in wrong.items() for one in all_)


LOCAL = (
    *("parler connect", "parler init", "parler hub", "parler project", "parler doctor"),
    *("parler trust-hub", "parler version", "parler use local", "parler use team"),
)
"""Commands that show nothing of what a hub answers in its frames."""

ENDLESS = (
    "recv --watch",
    "inbox --watch",
    "project serve",
    "parler work",
    "parler supervise",
)


def command_lines(*, endless: bool) -> Iterator[str]:
    """The examples of every command that talks to a hub, and `parler` alone."""
    if not endless:
        yield "parler"
    for one in declared().values():
        for line in (one.example or f"parler {one.command}").splitlines():
            piped = "|" in line or "<" in line
            stays = any(words in line for words in ENDLESS)
            left_out = piped or (line.startswith(LOCAL) and not stays)
            if one.command and not left_out and stays == endless:
                yield line


def words_of(line: str, hub: HostileHub) -> list[list[str]]:
    """A command line as it is, and with those who are there."""
    there = stand_ins(hub)
    meant = {
        **dict.fromkeys(("KEY@HUB", "KEY"), f"ABCD2345@{hub.url}"),
        "wss://hub.example.org": hub.url,
        **dict.fromkeys(
            ("ABCD-EFGH-IJKL-MNOP", "planner", "reviewer", "anna"), there["agent"]
        ),
        "3f2a9c04b1de": there["blob"],
        "ID": str(hub.liar.value(MessageId)),
        "./review.sh": "cat",
        "--wait": "--wait=0",
    }
    typed = shlex.split(line)[1:]
    if "--wait" in typed:
        del typed[typed.index("--wait") + 1]
    if not typed:
        return [typed, typed]
    if typed[0] == "ask":
        typed += ["--timeout", "1"]
    with_them = [meant.get(word, word) for word in typed]
    with_them += ["--yes"] if asks(typed) else []
    return [typed, with_them, [*with_them, "--json"]]


def asks(typed: list[str]) -> bool:
    """Whether a command asks the person first."""
    command = whole_tree()
    for word in typed:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
    return any("--yes" in one.opts for one in command.params)


@cache
def whole_tree() -> click.Command:
    """All commands."""
    return typer.main.get_command(app.app)


# A command's connections end with its process, which goes on here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("line", list(command_lines(endless=False)))
def test_no_command_prints_foreign_words_as_ours(
    line: str,
    tmp_path: Path,
    handed: dict[str, tuple[Path, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong: dict[str, list[str]] = {}
    for lie in EVERYWHERE[:-1]:  # broken frames are the same to all commands
        work, blob = handed[lie.name]
        home = tmp_path / lie.name / "home"
        monkeypatch.chdir(work)
        monkeypatch.setenv("PARLER_HOME", str(home))
        with hostile_hub(lie, blob) as hub:
            monkeypatch.setenv("PARLER_HUB", hub.url)
            for number, typed in enumerate(words_of(line, hub)):
                if number == 0 and lie is not EVERYWHERE[0]:
                    continue  # nobody is there: the hub is asked for less
                at_home(home, hub, is_open=number > 0)
                monkeypatch.setattr(sys, "stdin", io.StringIO())
                app.run(typed)
                out, err = capfd.readouterr()
                check = faults_in_json if "--json" in typed else faults_on_screen
                faults = [*check(out, lie), *check(err, lie)]
                wrong[f"{lie.name}: {shlex.join(typed)}"] = faults
    wrong = {where: faults for where, faults in wrong.items() if faults}
    assert not wrong, told(wrong)


def faults_in_json(text: str, lie: Lie) -> Iterator[str]:
    """What is wrong with what a program reads."""
    yield from (f"hidden {one}" for one in sorted(set(hidden(text))))
    for line in text.splitlines():
        if line.startswith("{"):
            json.loads(line)


@pytest.mark.parametrize("lie", EVERYWHERE[:2], ids=lambda lie: lie.name)
@pytest.mark.parametrize("line", list(command_lines(endless=True)))
def test_no_command_that_stays_prints_foreign_words_as_ours(
    line: str, lie: Lie, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (tmp_path / "answer.py").write_text("input()", encoding="utf-8")
    with hostile_hub(lie) as hub:
        at_home(home, hub)
        environment = os.environ | {
            "PARLER_HOME": str(home),
            "PARLER_HUB": hub.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "parler", *words_of(line, hub)[1]],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if line.startswith("parler supervise"):
            hub.many = 6  # it asks no more once it has read all there is
        hub.idle = lambda: process.send_signal(signal.SIGINT)
        try:
            shown, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
            process.wait()
    faults = list(faults_on_screen(shown.decode(), lie))
    assert not faults, told({line: faults})
