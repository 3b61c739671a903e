"""The command ``connect`` on a user's machine, with several apps in it."""

import io
import json
import pwd
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parler.apps.install.manifest import AppRecord, Manifest
from parler.apps.registry import all_apps, app_named
from parler.cli import app
from parler.client.client import Client, connect
from parler.identity.chosen_hub import SHARED_HUB, read_choice
from parler.identity.homes import find_home
from parler.identity.identity import ensure_identity, find_identity, update_identity
from parler.identity.join_secrets import JoinSecrets
from parler.identity.settings import Flags, resolve_settings
from parler.identity.signing import Keypair
from parler.local_hub import Record, hub_paths, look, stop, write_record
from parler.machine.program import command_for_apps
from parler.ops.connect import Arrival, Setting, verify, wire
from parler.wire.records import AgentCard, Visibility
from parler.wire.replies import Registered
from parler.wire.requests import Register
from tests._support.polling import WAIT
from tests._support.processes import running_hub
from tests.parler.apps._files import HUB, desk

NOWHERE = "ws://127.0.0.1:9"
Run = Callable[..., Any]


@pytest.fixture
def parler(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed parler, which is the one that runs; its own hub is stopped."""
    own = home / ".parler"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_record(hub_paths(own), Record(addr=f"127.0.0.1:{port}"))
    program = home / "bin" / "parler"
    program.parent.mkdir()
    text = f'#!/bin/sh\nexec {sys.executable} -P -m parler "$@"\n'
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.delenv("PARLER_HOME")
    monkeypatch.chdir(home)
    for folder in (".codex", ".cursor", ".config/zed"):
        (home / folder).mkdir(parents=True)
    yield program
    stop(own, force=True)


@pytest.fixture
def run(parler: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command; its JSON, if it ends as expected."""

    def call(*arguments: str, status: int = 0) -> Any:
        assert app.run(["connect", "--json", *arguments]) == status
        shown = capfd.readouterr()
        if shown.out:
            return json.loads(shown.out)
        return json.loads(shown.err.splitlines()[-1])["error"]

    return call


def outcomes(result: Any) -> dict[str, str]:
    return {one["id"]: one["outcome"] for one in result["hosts"]}


def entry(home: Path, path: str = ".cursor/mcp.json") -> Any:
    return json.loads((home / path).read_bytes())["mcpServers"]["parler"]


def hub_at(home: Path) -> str:
    """The hub that whoever lives there uses."""
    return resolve_settings({}, None, None, Flags(home=str(home))).hub


def told(home: Path, hub: str) -> None:
    """What an earlier version wrote for Cursor, or its user since."""
    path = home / ".cursor/mcp.json"
    server = {"command": "/opt/old/parler", "args": ["mcp"], "env": {"PARLER_HUB": hub}}
    path.write_text(json.dumps({"mcpServers": {"parler": server}}), encoding="utf-8")


def test_bare_it_wires_what_is_here_and_says_what_to_restart(
    run: Run, home: Path, parler: Path
) -> None:
    result = run()
    assert outcomes(result) == {"codex": "wired", "cursor": "wired", "zed": "wired"}
    assert all(one["restart"] for one in result["hosts"])
    assert entry(home)["command"] == str(parler)
    assert set(outcomes(run()).values()) == {"unchanged"}


def test_one_hub_is_chosen_for_all_apps_and_the_shell(run: Run, home: Path) -> None:
    run("cursor", "--hub", "http://127.0.0.1:9001/")
    run()
    for folder in (".parler", ".parler/agents/cursor", ".parler/agents/codex"):
        assert hub_at(home / folder) == "ws://127.0.0.1:9001"
    run("codex", "--hub", "ws://127.0.0.1:9002")
    assert "PARLER_HUB" not in entry(home)["env"]
    listed = run("--list", status=9)["hosts"]
    assert {one["hub"] for one in listed if "hub" in one} == {"ws://127.0.0.1:9002"}
    assert hub_at(home / ".parler") == "ws://127.0.0.1:9002"


def test_app_that_was_told_a_hub_keeps_it_until_one_is_named(
    run: Run, home: Path
) -> None:
    told(home, "ws://127.0.0.1:9001")
    kept = run()
    assert entry(home)["env"]["PARLER_HUB"] == "ws://127.0.0.1:9001"
    cursor = next(one for one in kept["hosts"] if one["id"] == "cursor")
    assert "parler use" in cursor["notes"][0]
    # There is not one choice yet: its shell must not dial another hub than it.
    assert not (home / ".parler" / "hub.json").exists()
    run("codex", "--hub", "ws://127.0.0.1:9002")
    assert "PARLER_HUB" not in entry(home)["env"]
    told(home, "ws://127.0.0.1:9002")
    run()
    assert "PARLER_HUB" not in entry(home)["env"]


def test_apps_that_an_earlier_version_wired_are_the_choice(
    run: Run, home: Path
) -> None:
    run()
    (home / ".parler" / "hub.json").unlink()
    told(home, "ws://127.0.0.1:9001")
    for app_id in ("codex", "cursor", "zed"):
        update_identity(
            home / ".parler" / "agents" / app_id, hub_url="ws://127.0.0.1:9001"
        )
    ensure_identity(home / ".parler", hub_url=SHARED_HUB)
    assert hub_at(home / ".parler") == "ws://127.0.0.1:9001"
    for _ in range(2):
        run()
        assert read_choice(home / ".parler").hub == "ws://127.0.0.1:9001"
        assert "PARLER_HUB" not in entry(home)["env"]


def test_whose_server_the_public_one_is_comes_before_anything_is_written(
    parler: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for flags, chosen in ((["--print"], False), ([], True)):
        assert app.run(["connect", "--shared", *flags]) == 0
        said = capfd.readouterr().err
        assert f"{SHARED_HUB} is a public server that somebody else runs" in said
        assert (hub_at(home / ".parler") == SHARED_HUB) is chosen


def test_the_apps_shell_finds_the_same_home_and_hub(run: Run, home: Path) -> None:
    run("codex", "--hub", "ws://127.0.0.1:9001")
    env = {"CODEX_THREAD_ID": "t"}
    found = find_home(env, home / "work", home, command="whoami")
    assert found.base == home / ".parler" / "agents" / "codex"
    saved = find_identity(found.base)
    assert saved is not None
    assert saved.hub_url == "ws://127.0.0.1:9001"
    run("codex", "--hub", "ws://127.0.0.1:9002")
    moved = find_identity(found.base)
    assert moved is not None
    assert moved.hub_url == "ws://127.0.0.1:9002"
    assert moved.agent_id == saved.agent_id


def test_print_shows_a_diff_and_writes_nothing(
    home: Path, parler: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(home.rglob("*"))
    assert app.run(["connect", "--print"]) == 0
    shown = capfd.readouterr().out
    assert '+      "command": ' in shown
    assert "+[mcp_servers.parler]" in shown
    assert sorted(home.rglob("*")) == before


def test_remove_puts_everything_back(run: Run, home: Path) -> None:
    zed = home / ".config/zed/settings.json"
    zed.write_bytes(b'// mine\n{\n  "vim_mode": true,\n}\n')
    run()
    assert b"parler" in zed.read_bytes()
    shown = run("--remove", "--print")
    assert {one["outcome"] for one in shown["hosts"]} >= {"planned"}
    assert b"parler" in zed.read_bytes()
    result = run("--remove")
    assert outcomes(result)["zed"] == "removed"
    assert outcomes(result)["amp"] == "nothing to remove"
    assert zed.read_bytes() == b'// mine\n{\n  "vim_mode": true,\n}\n'
    assert list((home / ".cursor").iterdir()) == []


def test_file_that_another_program_keeps_writing_is_changed_all_the_same(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, note, writes = home / ".cursor/mcp.json", Manifest.set, iter(range(1, 4))
    path.write_text("{}", encoding="utf-8")

    def note_and_write(self: Manifest, app: str, record: AppRecord) -> None:
        note(self, app, record)  # right before the file is replaced
        if count := next(writes, 0):
            path.write_text(json.dumps({"count": count}), encoding="utf-8")

    monkeypatch.setattr(Manifest, "set", note_and_write)
    assert outcomes(run("cursor", "--hub", HUB)) == {"cursor": "wired"}
    said = json.loads(path.read_text(encoding="utf-8"))
    assert said["count"] == 3
    assert "parler" in said["mcpServers"]
    run("cursor", "--remove")
    assert path.read_text(encoding="utf-8") == '{"count": 3}'


def test_a_mistyped_app_is_a_usage_error_with_candidates(run: Run, home: Path) -> None:
    error = run("cusror", status=2)
    assert error["code"] == "usage"
    assert "cursor" in error["next"]
    assert not (home / ".parler" / "hub.json").exists()
    everything = run("xyzzy", status=2)
    assert all(one.id in everything["next"] for one in all_apps())


def test_one_app_that_fails_does_not_keep_the_others(run: Run, home: Path) -> None:
    (home / ".cursor/mcp.json").write_bytes(b"{broken")
    result = run(status=9)
    assert outcomes(result) == {"codex": "wired", "cursor": "failed", "zed": "wired"}
    failed = next(one for one in result["hosts"] if one["id"] == "cursor")
    assert "line 1, column 2" in failed["detail"]
    assert "PARLER_HOME" in failed["snippet"]
    assert (home / ".cursor/mcp.json").read_bytes() == b"{broken"


def test_an_app_that_is_not_here_is_wired_if_it_is_named(run: Run, home: Path) -> None:
    assert outcomes(run("amp")) == {"amp": "wired"}
    assert (home / ".config/amp/settings.json").exists()
    assert "amp" in outcomes(run())


def test_without_any_app_it_says_so(run: Run, home: Path) -> None:
    for folder in (".codex", ".cursor", ".config/zed"):
        (home / folder).rmdir()
    assert run()["hosts"] == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--local", "--team"),
        ("--shared", "--hub", HUB),
        ("--join", HUB, "--local"),
        ("--list", "--remove"),
        ("--list", "--print"),
        ("--list", "--local"),
        ("--remove", "--hub", HUB),
        ("--verify", "--remove"),
        ("--port", "7070"),
        ("--rotate-secret",),
        ("--address", "x", "--local"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    run: Run, home: Path, flags: tuple[str, ...]
) -> None:
    before = sorted(home.rglob("*"))
    assert run(*flags, status=2)["code"] == "usage"
    assert sorted(home.rglob("*")) == before


def test_a_plain_hub_beyond_this_network_is_refused(run: Run) -> None:
    assert run("--hub", "ws://hub.example.org", status=3)["code"] == "config"


def test_without_a_home_nobodys_apps_are_touched(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert run(status=3)["code"] == "config"
    assert not (home / ".cursor/mcp.json").exists()


def test_a_secret_stays_in_our_own_home(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLER_JOIN_SECRET", "hunter2-the-secret")
    result = run("--hub", NOWHERE)
    assert "hunter2" not in json.dumps(result)
    holders = [
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.is_file() and b"hunter2" in path.read_bytes()
    ]
    assert holders == [".parler/secrets.json"]
    assert JoinSecrets(home / ".parler/secrets.json").for_hub(NOWHERE) is not None
    run("--shared")
    assert JoinSecrets(home / ".parler/secrets.json").for_hub("wss://x.org") is None


def test_a_secret_an_earlier_client_wrote_is_taken_over(run: Run, home: Path) -> None:
    old = {"PARLER_HUB": HUB, "PARLER_JOIN_SECRET": "hunter2", "PARLER_NAME": "ada"}
    server = {"command": "/opt/old/parler", "args": ["mcp"], "env": old}
    path = home / ".cursor/mcp.json"
    path.write_text(json.dumps({"mcpServers": {"parler": server}}), encoding="utf-8")
    run("cursor")
    assert b"hunter2" not in path.read_bytes()
    assert entry(home)["env"]["PARLER_NAME"] == "ada"
    assert JoinSecrets(home / ".parler/secrets.json").for_hub(HUB) == "hunter2"


def test_invite_from_stdin_is_tried_and_joined(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub(tmp_path / "team", PARLER_HUB_JOIN_SECRET="the-secret") as hub:
        address = hub.url.removeprefix("ws://")

        def invited(secret: str, **more: Any) -> Any:
            text = f"parler-team://{address}#{secret}\n".encode()
            stdin = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8")
            monkeypatch.setattr(sys, "stdin", stdin)
            return run("cursor", "--join", "-", **more)

        refused = invited("another", status=6)
        assert refused["code"] == "not_authorized"
        assert "--join -" in refused["next"]
        written = sorted(path.name for path in (home / ".parler").rglob("*"))
        assert written == ["hub", "local.json"]
        assert not (home / ".cursor/mcp.json").exists()
        invited("the-secret")
        assert hub_at(home / ".parler") == hub.url
        secrets = JoinSecrets(home / ".parler/secrets.json")
        assert secrets.for_hub(hub.url) == "the-secret"
        states = {one["id"]: one["state"] for one in run("--list")["hosts"]}
        assert states["cursor"] == "working"
        # Rotated since: the list tries it, and does not say that it works.
        secrets.remember(hub.url, "another")
        cursor = next(one for one in run("--list", "cursor", status=9)["hosts"])
        assert cursor["state"] == "broken"
        assert cursor["troubles"][0]["mend"] == f"parler connect --join {hub.url}"
    invited("the-secret", status=4)


def test_a_secret_given_as_an_option_is_tried_kept_and_warned_about(
    run: Run, home: Path, tmp_path: Path
) -> None:
    with running_hub(tmp_path / "team", PARLER_HUB_JOIN_SECRET="the-secret") as hub:
        given = ("--hub", hub.url, "--join-secret")
        assert run(*given, "another", status=6)
        run(*given, "the-secret", "--verify-timeout-secs", "5")
        secrets = JoinSecrets(home / ".parler/secrets.json")
        assert secrets.for_hub(hub.url) == "the-secret"
    assert "--hub" in run("--join-secret", "the-secret", status=2)["next"]


def test_hub_whose_secret_nobody_knows_is_not_wired(
    run: Run, home: Path, tmp_path: Path
) -> None:
    with running_hub(tmp_path / "team", PARLER_HUB_JOIN_SECRET="the-secret") as hub:
        for flag in ("--join", "--hub"):
            error = run("cursor", flag, hub.url, status=6)
            assert "asks for a secret" in error["message"]
            assert "--join -" in error["next"]
            assert not (home / ".cursor/mcp.json").exists()


def test_several_agents_are_told_apart_by_name(run: Run, home: Path) -> None:
    run("--name", "ada")
    assert entry(home)["env"]["PARLER_NAME"] == "ada-cursor"
    run("cursor", "--name", "ada")
    assert entry(home)["env"]["PARLER_NAME"] == "ada"


def test_without_hooks_none_are_written_and_that_is_remembered(
    run: Run, home: Path
) -> None:
    run("cursor", "--no-hooks")
    assert not (home / ".cursor/hooks.json").exists()
    run("cursor")
    assert not (home / ".cursor/hooks.json").exists()
    run("cursor", "--hooks", "--reservations")
    assert b"pre-edit" in (home / ".cursor/hooks.json").read_bytes()


def test_the_list_tells_how_each_app_is_and_makes_nothing(
    run: Run, home: Path, parler: Path
) -> None:
    run("--hub", "ws://127.0.0.1:9")
    before = sorted(home.rglob("*"))
    result = run("--list", status=9)
    states = {one["id"]: one["state"] for one in result["hosts"]}
    assert states["cursor"] == "broken"
    assert states["amp"] == "not here"
    assert result["ok"] is False
    cursor = next(one for one in result["hosts"] if one["id"] == "cursor")
    assert "nothing listens" in cursor["troubles"][0]["what"]
    assert cursor["command"] == str(parler)
    parler.unlink()
    moved = next(one for one in run("--list", "cursor", status=9)["hosts"])
    assert "is gone" in moved["troubles"][0]["what"]
    assert sorted(home.rglob("*")) == sorted({*before} - {parler})


def test_it_reads_well(parler: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert app.run(["connect", "--hub", "ws://127.0.0.1:9"]) == 0
    shown = capfd.readouterr().out
    assert "✓ Cursor: wired → ws://127.0.0.1:9" in shown
    assert "Codex: restart codex" in shown
    assert app.run(["connect", "--list"]) == 9
    assert "✗ cursor" in capfd.readouterr().out
    assert app.run(["connect", "--remove"]) == 0
    assert app.run(["connect", "--remove"]) == 0
    assert "nothing of ours" in capfd.readouterr().out


def test_the_local_hub_is_there_before_apps_are_wired_to_it(
    run: Run, home: Path
) -> None:
    with socket.socket() as one, socket.socket() as other, socket.socket() as taken:
        for listener in (one, other, taken):
            listener.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [one.getsockname()[1], other.getsockname()[1]]
        refused = taken.getsockname()[1]
        one.close()
        other.close()
        place = hub_paths(home / ".parler")
        try:
            for port in ports:
                run("cursor", "--local", "--port", str(port))
                assert hub_at(home / ".parler") == f"ws://127.0.0.1:{port}"
                assert look(place).is_at(f"ws://127.0.0.1:{port}")
            error = run("cursor", "codex", "--local", "--port", str(refused), status=4)
            assert error["next"]
            assert hub_at(home / ".parler") == f"ws://127.0.0.1:{port}"
            assert not (home / ".codex/config.toml").exists()
            assert look(place).is_at(f"ws://127.0.0.1:{port}")
        finally:
            stop(home / ".parler", force=True)


def test_a_mistyped_app_starts_no_hub_and_asks_for_no_secret(
    run: Run, home: Path
) -> None:
    for hub in ("--local", "--team", "--join=ws://192.168.7.9:7070"):
        assert run("cusror", hub, status=2)["next"] == "parler connect cursor"
    assert [path.name for path in (home / ".parler").rglob("*")] == [
        "hub",
        "local.json",
    ]


async def test_verify_sees_agents_come_by_their_id_and_misses_those_that_do_not(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "cursor")
    zed = app_named("zed")
    assert zed is not None
    with running_hub(tmp_path / "hub") as hub:
        setting = Setting(
            machine=one.machine,
            home=tmp_path / ".parler",
            command=("/usr/local/bin/parler",),
            hub=hub.url,
            pinned=True,
        )
        assert wire([one.app, zed], setting).ok
        came: list[Arrival] = []
        project = tmp_path / ".parler" / "agents" / "cursor" / "ws" / "0123"
        keypair = ensure_identity(project, hub_url=hub.url)[0].keypair

        @asynccontextmanager
        async def dial(url: str) -> AsyncIterator[Client]:
            async with (
                connect(url, Keypair.generate(), name="nobody") as client,
                connect(url, keypair, name="cursor") as agent,
            ):
                yield Looking(client, agent, keypair)  # type: ignore[misc]

        found = await verify(
            [one.app],
            setting,
            dial=dial,
            timeout=WAIT,
            poll_secs=0.01,
            seen=came.append,
        )
        assert found.ok
        assert [arrival.agent for arrival in came] == [keypair.agent_id]
        missed = await verify([zed], setting, dial=dial, timeout=0.2, poll_secs=0.01)
        assert not missed.ok
        assert "nobody came" in (missed.hosts[0].detail or "")


class Looking:
    """A client in whose background an agent appears after the first look."""

    def __init__(self, client: Client, agent: Client, keypair: Keypair) -> None:
        self._client, self._agent, self._keypair = client, agent, keypair
        self._looked = 0

    async def request(self, frame: Any, reply: Any) -> Any:
        """Ask the hub; once it was asked about both homes, the agent registers."""
        answer = await self._client.request(frame, reply)
        self._looked += 1
        if self._looked == 2:
            card = AgentCard.of(self._keypair.agent_id, "cursor")
            await self._agent.request(
                Register(card=card, visibility=Visibility.PRIVATE), Registered
            )
        return answer


def test_the_program_is_named_so_that_it_survives_an_upgrade(tmp_path: Path) -> None:
    versioned = tmp_path / "venvs" / "1.0" / "bin" / "parler"
    link = tmp_path / "bin" / "parler"
    for path in (versioned, link):
        path.parent.mkdir(parents=True)
    versioned.write_bytes(b"#!/bin/sh\n")
    versioned.chmod(0o755)
    link.symlink_to(versioned)
    env = {"PATH": str(link.parent)}

    def found(argv0: str, **more: str) -> tuple[str, ...]:
        return command_for_apps(
            argv0, executable="/usr/bin/py", env=env | more, cwd=tmp_path
        )

    assert found(str(versioned)) == (str(link),)
    assert found("parler") == (str(link),)
    assert found(str(versioned), PATH="/nowhere") == (str(versioned),)
    assert found("/x/parler/__main__.py") == ("/usr/bin/py", "-P", "-m", "parler")


def test_a_program_in_a_cache_is_not_written_into_apps(tmp_path: Path) -> None:
    cached = tmp_path / "uv" / "archive-v0" / "abc" / "bin" / "parler"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"#!/bin/sh\n")
    cached.chmod(0o755)

    def found(path: str) -> tuple[str, ...]:
        env = {"PATH": path}
        return command_for_apps(
            str(cached), executable="/usr/bin/py", env=env, cwd=tmp_path
        )

    with pytest.raises(Exception, match="cache"):
        found(str(cached.parent))
    installed = tmp_path / "bin" / "parler"
    installed.parent.mkdir()
    installed.write_bytes(b"#!/bin/sh\n")
    installed.chmod(0o755)
    assert found(f"{installed.parent}") == (str(installed),)


def test_what_an_earlier_client_chose_as_home_stays(tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    mine = tmp_path / ".parler"
    ensure_identity(mine, hub_url="ws://127.0.0.1:1")
    env = {"PARLER_HOME": str(mine), "PARLER_HUB": HUB}
    server = {"command": "/opt/old/parler", "args": ["mcp"], "env": env}
    one.has(json.dumps({"mcpServers": {"parler": server}}))
    setting = Setting(
        machine=one.machine, home=mine, command=("/usr/local/bin/parler",), hub=HUB
    )
    assert wire([one.app], setting).ok
    assert entry(tmp_path)["env"]["PARLER_HOME"] == str(mine)
    pinned = replace(setting, hub="ws://127.0.0.1:2", pinned=True)
    assert wire([one.app], pinned).ok
    kept = find_identity(mine)
    assert kept is not None
    assert kept.hub_url == "ws://127.0.0.1:1"
