"""Which hub is used: chosen once, for the shell and all agents of a user.

Real processes: hubs, terminals, shells of a person and of an app's agent.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl", reason="a hub needs POSIX")

from parler.local_hub import Record, State, hub_paths, look, stop, write_record
from tests._support.polling import WAIT
from tests._support.processes import Agent, Done, running_hub
from tests._support.terminal import Terminal, at_a_terminal

NOBODY = 65_534
SECRET = "hunter2-of-the-team"
UNKNOWN_KEY = "ABCDEFGH"


class User(Agent):
    """Somebody new, for whom nothing says which hub is meant, and who has Cursor."""

    def __init__(self, folder: Path, name: str = "ann") -> None:
        super().__init__(folder, name, "")
        for variable in ("PARLER_HUB", "PARLER_NAME"):
            del self.environment[variable]
        (self.folder / ".cursor").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.paths = hub_paths(self.home)
        self.url = f"ws://127.0.0.1:{self.port}"

    def has_its_hub(self) -> None:
        """Let the own hub be where no other test has one."""
        write_record(self.paths, Record(addr=f"127.0.0.1:{self.port}"))

    def in_agents_shell(self, *arguments: str) -> Done:
        """Run a command as an app's shell would."""
        plain = self.environment
        self.environment = plain | {"CODEX_THREAD_ID": "t"}
        try:
            return self(*arguments)
        finally:
            self.environment = plain

    def in_app(self, *arguments: str) -> Done:
        """Run a command in the home that its app's server has."""
        entry = json.loads((self.folder / ".cursor/mcp.json").read_bytes())
        said = entry["mcpServers"]["parler"]["env"]
        assert set(said) == {"PARLER_HOME"}
        plain = self.environment
        self.environment = plain | said
        try:
            return self(*arguments)
        finally:
            self.environment = plain

    def written(self) -> list[str]:
        """The files that are there of ours and of its app, but for its own hub's."""
        found = [self.home, self.folder / ".cursor"]
        files = [path for folder in found for path in folder.rglob("*")]
        return [
            path.name for path in files if path.is_file() and path.name != "local.json"
        ]


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    user.has_its_hub()
    yield user
    stop(user.home, force=True)


@contextmanager
def another_users(url: str) -> Iterator[str]:
    """A hub behind a port that another user listens on; its URL. Needs root."""
    there = url.removeprefix("ws://").split(":")
    os.seteuid(NOBODY)
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    finally:
        os.seteuid(0)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hub_reader, hub_writer = await asyncio.open_connection(*there)
        await asyncio.gather(pump(reader, hub_writer), pump(hub_reader, writer))

    async def serve() -> None:
        async with await asyncio.start_server(relay, sock=listener):
            started.set()
            await asyncio.to_thread(ended.wait)

    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(WAIT)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join(WAIT)


def chosen(user: User) -> Any:
    return json.loads((user.home / "hub.json").read_text(encoding="utf-8"))["hub"]


def asked(terminal: Terminal) -> None:
    shown = terminal.until("1, 2 or 3 [1]:")
    for words in ("on this machine", "in this network", "whose address you have"):
        assert words in shown


# ------------------------------------------------------------------- the first choice


def test_a_person_is_asked_once_and_this_machine_is_the_answer(ann: User) -> None:
    with at_a_terminal("connect", cwd=ann.folder, env=ann.environment) as terminal:
        asked(terminal)
        assert ann.written() == []
        terminal.type("")
        assert terminal.end() == 0, terminal.shown
    assert f"hub: {ann.url}, for your shell and every wired app" in terminal.shown
    assert chosen(ann) == "local"
    assert look(ann.paths).state is State.RUNNING
    with at_a_terminal("connect", cwd=ann.folder, env=ann.environment) as again:
        assert again.end() == 0
    assert "on this machine" not in again.shown


def test_refused_secret_is_asked_for_again_before_anything_is_written(
    ann: User, tmp_path: Path
) -> None:
    with running_hub(tmp_path / "team", PARLER_HUB_JOIN_SECRET=SECRET) as hub:
        with at_a_terminal("connect", cwd=ann.folder, env=ann.environment) as terminal:
            asked(terminal)
            terminal.type("3")
            terminal.until("address:")
            terminal.type(hub.url)
            for wrong in ("hunter1", "hunter3"):
                terminal.until("Join secret")
                terminal.type(wrong)
                terminal.until("did not take that secret")
                assert ann.written() == []
            terminal.until("Join secret")
            terminal.type(SECRET)
            assert terminal.end() == 0, terminal.shown
        assert SECRET not in terminal.shown
        assert chosen(ann) == hub.url
        assert ann("rooms").status == 0
        assert ann("connect", "--list").status == 0
    assert look(ann.paths).state is State.STOPPED


def test_without_a_terminal_it_is_this_machine_for_shell_and_agents(ann: User) -> None:
    assert ann("connect").status == 0
    pid = look(ann.paths).pid
    assert pid is not None
    for speaks in (ann, ann.in_app, ann.in_agents_shell):
        assert speaks("rooms").status == 0
        status = speaks("hub", "status", "--json").json
        assert (status["pid"], status["url"]) == (pid, ann.url)
        assert speaks("whoami", "--json").json["hub"] == ann.url
    assert ann("use", ann.url.replace("127.0.0.1", "localhost")).status == 0
    assert chosen(ann) == "local"
    agent = ann.home / "agents" / "cursor"
    assert ann("hub", "status", "--home", str(agent), "--json").json["pid"] == pid
    assert ann("hub", "stop", "--home", str(agent / "ws" / "x")).status == 0
    assert look(ann.paths).state is State.STOPPED
    assert list((ann.home / "agents").rglob("hub.sqlite")) == []


def test_an_agents_shell_does_not_choose_the_hub_of_its_user(ann: User) -> None:
    named = ["--hub", "wss://a.example"]
    for chooses in (["use", named[1]], ["connect", *named, "cursor"]):
        refused = ann.in_agents_shell(*chooses, "--json")
        assert refused.status == 2
        assert refused.error["next"] == f"parler {' '.join(chooses)}"
    assert ann.in_agents_shell("connect", *named, "--print").status == 0
    # A variable is an agent's to set as well.
    ann.environment["PARLER_HUB"] = named[1]
    refused = ann.in_agents_shell("connect", "cursor", "--json")
    assert refused.status == 2, refused.out
    assert refused.error["next"] == f"parler connect {' '.join(named)} cursor"
    assert ann.in_agents_shell("connect", "--list").status == 0
    del ann.environment["PARLER_HUB"]
    assert not (ann.home / "hub.json").exists()
    wired = ann.in_agents_shell("connect", "cursor", "--json")
    assert wired.json["hub"] == ann.url


def test_commands_dial_this_machine_where_nobody_named_a_hub(ann: User) -> None:
    opened = ann("session", "open", "--no-approval", "--json").json
    assert opened["portable"].endswith(f"@{ann.url}")
    for key in (UNKNOWN_KEY, f"{UNKNOWN_KEY}@{ann.url}"):
        refused = ann("session", "join", key, "--json")
        assert "KEY@HUB" in refused.error["next"]


# ------------------------------------------------------------------------ one for all


def test_all_follow_the_choice_and_rooms_stay_where_they_are(
    ann: User, tmp_path: Path
) -> None:
    with running_hub(tmp_path / "one") as one, running_hub(tmp_path / "other") as other:
        assert ann("connect", "--hub", one.url).status == 0
        room = ann("session", "open", "--topic", "x", "--json").json["room"]
        used = ann("use", other.url.replace("ws://", "http://"), "--as", "work")
        assert used.status == 0
        assert "Cursor" in used.out
        assert f"1 room stays on {one.url}" in used.out
        for speaks in (ann, ann.in_app):
            assert speaks("whoami", "--json").json["hub"] == other.url
        assert ann("send", "still here").status == 0
        assert room in ann("rooms").out
        assert room not in ann("rooms", "--hub", other.url).out
        known = {hub["name"]: hub for hub in ann("hubs", "--json").json["hubs"]}
        assert known["work"]["chosen"]
        assert known["work"]["reachable"]
        assert "1 room" in known[one.url.removeprefix("ws://")]["from"]
        assert known["local"]["detail"] == "does not run"
        assert ann("use", one.url.removeprefix("ws://")).status == 0
        assert ann("use", "work").status == 0
        assert chosen(ann) == other.url
        elsewhere = ann("use", "wrok", "--json")
        assert elsewhere.status == 2
        assert "work" in elsewhere.error["next"]
        assert ann("use", one.url, "--as", "work").status == 2
        ann.environment["PARLER_HUB"] = one.url
        assert "unset PARLER_HUB" in ann("use", "work").err
        assert ann("whoami", "--json").json["hub"] == one.url
    assert look(ann.paths).state is State.STOPPED


def test_config_tells_where_every_setting_comes_from(ann: User) -> None:
    def told() -> dict[str, tuple[str | None, str]]:
        listed = ann("config", "--json").json["settings"]
        return {one["name"]: (one["value"], one["from"]) for one in listed}

    assert told()["hub"] == (ann.url, "default: this machine's own")
    assert not (ann.home / "config.json").exists()
    assert ann("use", "ws://127.0.0.1:9").status == 0
    assert told()["hub"] == ("ws://127.0.0.1:9", str(ann.home / "hub.json"))
    ann.environment |= {"PARLER_NAME": "ada", "PARLER_JOIN_SECRET": SECRET}
    settings = told()
    assert settings["name"] == ("ada", "PARLER_NAME")
    assert settings["join secret"] == ("set", "PARLER_JOIN_SECRET")
    assert SECRET not in json.dumps(settings)
    assert ann("config", "--hub", "ws://127.0.0.1:8").out.startswith("hub ")


def test_damaged_choice_sends_nobody_elsewhere(ann: User) -> None:
    assert ann("use", "local").status == 0
    (ann.home / "hub.json").write_text("{", encoding="utf-8")
    for speaks in (ann, ann.in_agents_shell):
        refused = speaks("rooms", "--json")
        assert refused.status == 3
        assert "parler use local" in refused.error["next"]


# ------------------------------------------------------------- in place of another hub


def test_hub_is_not_started_where_another_one_is_chosen_or_belongs(
    ann: User, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{ann.port}"
    assert ann("use", "ws://127.0.0.1:9").status == 0
    away = ann("rooms", "--hub", ann.url, "--json")
    assert away.status == 4
    assert look(ann.paths).state is State.STOPPED
    with running_hub(tmp_path / "by hand") as hub:
        write_record(ann.paths, Record(addr=hub.url.removeprefix("ws://")))
        joined = ann("connect", "--local")
        assert "another hub of yours runs" in joined.err
        assert ann("rooms").status == 0
        assert "another hub of yours" in ann("hub", "status").out
        hub.stop()
        for command in (("connect", "--local"), ("rooms",), ("use", "local")):
            refused = ann(*command, "--json")
            assert refused.status == 4
            assert "which does not run" in refused.error["message"]
            assert str(ann.paths.folder) in refused.error["message"]
            assert "parler hub start" in refused.error["next"]
        # Nor by way of the team, or of another port and back.
        write_record(ann.paths, Record(addr=address))
        moved = ann("connect", "--local", "--port", hub.url.rpartition(":")[2])
        assert moved.status == 4
        assert look(ann.paths).state is State.STOPPED


def test_second_home_starts_no_hub_where_that_of_the_first_belongs(
    ann: User,
) -> None:
    assert ann("use", "local").status == 0
    first = look(ann.paths).pid
    other = {"PARLER_HOME": str(ann.folder / "second")}
    write_record(hub_paths(ann.folder / "second"), Record(addr=f"127.0.0.1:{ann.port}"))
    plain, ann.environment = ann.environment, ann.environment | other
    assert ann("rooms").status == 0
    stop(ann.home)
    refused = ann("rooms", "--json")
    assert refused.status == 4
    assert f"parler hub start --home {ann.home}" in refused.error["next"]
    ann.environment = plain
    assert ann("rooms").status == 0
    assert look(ann.paths).pid not in (None, first)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs another user"
)
def test_hub_of_another_user_is_never_taken_for_ones_own(
    ann: User, tmp_path: Path
) -> None:
    with running_hub(tmp_path / "theirs") as hub, another_users(hub.url) as theirs:
        port = theirs.rpartition(":")[2]
        write_record(ann.paths, Record(addr=f"127.0.0.1:{port}"))
        for command in (("connect", "--local"), ("connect",), ("rooms",)):
            refused = ann(*command, "--json")
            assert refused.status == 4
            assert "a hub of user nobody" in refused.error["message"]
            assert "parler connect --local --port " in refused.error["next"]
            assert f"parler use {theirs}" in refused.error["next"]
            assert not (ann.home / "hub.json").exists()
        assert "taken by a hub of user nobody" in ann("hubs").out
        assert "hub of user nobody" in ann("hub", "status").out
        # Named, it is theirs, and ours stays as it is.
        assert ann("use", theirs).status == 0
        assert ann("rooms").status == 0
        assert look(ann.paths).state is State.STOPPED
