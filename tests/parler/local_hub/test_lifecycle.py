"""This machine's own hub: started by whoever needs it, one at a time, and stopped."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("fcntl", reason="a hub needs POSIX")

from hub.admin.lock_file import LockFile
from parler.errors import ConfigError, ConnectFailed
from parler.identity.join_secrets import JoinSecrets
from parler.identity.settings import Flags, HubSource, Settings, resolve_settings
from parler.local_hub import (
    LocalHub,
    Record,
    State,
    ensure_local_hub,
    find_own_hub,
    hub_paths,
    look,
    read_record,
    reconfigure,
    start,
    starts_by_itself,
    stop,
    write_record,
)
from parler.local_hub.port_owner import PortOwner
from parler.local_hub.record import hub_arguments, serves
from parler.machine import files
from tests._support.plainclient import PlainAgent, UnexpectedFrame
from tests._support.polling import WAIT
from tests._support.processes import Agent, HubProcess, environment, running_hub

CROWD = 20
ENSURE = """
import asyncio, sys
from pathlib import Path
from parler.local_hub import ensure_local_hub
sys.stdin.read()
hub = asyncio.run(ensure_local_hub(Path(sys.argv[1]), sys.argv[2]))
print(hub.pid, hub.started)
"""


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def base(home: Path, port: int) -> Iterator[Path]:
    """A home whose own hub is meant to be at `port`; what runs is stopped."""
    base = home / ".parler"
    write_record(hub_paths(base), Record(addr=f"127.0.0.1:{port}"))
    try:
        yield base
    finally:
        seen = look(hub_paths(base))
        if seen.state is not State.STOPPED:
            with contextlib.suppress(ConfigError):
                stop(base, force=True)


def hubs_of(base: Path) -> list[int]:
    """The processes that run a hub for this home."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "run" in (process.info["cmdline"] or ())
        and str(base) in process.info["cmdline"]
    ]


# ------------------------------------------------------------------- for its user alone


def test_the_machines_own_hub_has_a_secret_that_its_user_reads(
    base: Path, port: int, tmp_path: Path
) -> None:
    url = f"ws://127.0.0.1:{port}"
    own = start(base, Record(addr=f"127.0.0.1:{port}"))
    assert own.started
    secret = hub_paths(base).local_secret
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600

    async def stranger() -> None:
        async with PlainAgent.create("eve").dial(url):
            pass

    with pytest.raises(UnexpectedFrame, match="not_authorized"):
        asyncio.run(stranger())
    # An app's agent, and one of this user whose home is elsewhere.
    app, elsewhere = (Agent(tmp_path, name, url) for name in ("app", "elsewhere"))
    app.environment["PARLER_HOME"] = str(base / "agents" / "codex")
    elsewhere.environment["HOME"] = str(base.parent)
    for agent in (app, elsewhere):
        done = agent("rooms")
        assert done.status == 0, done.err
    other_user = Agent(tmp_path, "other", url)
    refused = other_user("rooms", "--json")
    assert refused.status == 6
    assert "/hub/local-secret" in refused.error["next"]
    assert "parler connect --team" in refused.error["next"]
    opened = app("session", "open", "--topic", "x")
    assert "Only your own agents" in opened.out
    key = next(
        line.split()[1] for line in opened.out.splitlines() if line[:7] == "KEY@HUB"
    )
    # With the secret of another hub at hand, one step is enough.
    other_user.environment |= {
        "PARLER_HUB": "ws://127.0.0.1:1",
        "PARLER_JOIN_SECRET": "of another",
    }
    withheld = other_user("session", "join", key, "--json")
    assert f"--hub {url}" in withheld.error["next"]
    other_user.environment["PARLER_JOIN_SECRET"] = "wrong"
    wrong = other_user("session", "join", key, "--hub", url, "--json")
    assert "another one" in wrong.error["message"]
    other_user.environment["PARLER_JOIN_SECRET"] = secret.read_text("utf-8").strip()
    assert other_user("session", "join", key, "--hub", url).status == 0


def test_secret_is_told_to_no_hub_that_only_has_the_port(base: Path, port: int) -> None:
    own = start(base, Record(addr=f"127.0.0.1:{port}"))
    url = f"ws://127.0.0.1:{port}"
    found = find_own_hub([base], url)
    assert found is not None
    assert found.secret == hub_paths(base).local_secret.read_text("utf-8").strip()
    assert find_own_hub([base], f"ws://127.0.0.1:{port + 1}") is None
    assert found.secret not in repr(found)
    stop(base)
    assert own.url == url
    assert find_own_hub([base], url) is None


def test_who_starts_a_hub_that_had_no_secret_is_told_to_restart_apps(
    base: Path, tmp_path: Path
) -> None:
    HubProcess(hub_paths(base).folder).stop()
    ann = Agent(tmp_path, "ann", "")
    ann.environment["PARLER_HOME"] = str(base)
    assert "restart the apps" in ann("hub", "start").out
    stop(base)
    assert "restart the apps" not in ann("hub", "start").out


# -------------------------------------------------------------------- one for everybody


def test_of_twenty_that_start_at_once_one_starts_the_hub(base: Path, port: int) -> None:
    url = f"ws://127.0.0.1:{port}"
    command = [sys.executable, "-c", ENSURE, str(base), url]
    crowd = [
        subprocess.Popen(
            command,
            env=environment(base.parent),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(CROWD)
    ]
    for process in crowd:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    said = [process.communicate(timeout=WAIT) for process in crowd]
    words = [out.split() for out, _ in said]
    assert [process.returncode for process in crowd] == [0] * CROWD, said
    running = hubs_of(base)
    assert len(running) == 1
    pids = {int(pid) for pid, _ in words if pid != b"None"}
    assert pids == set(running)
    assert [started for _, started in words].count(b"True") == 1


def test_a_command_starts_it_says_so_once_and_leaves_it_running(
    base: Path, port: int, tmp_path: Path
) -> None:
    agent = Agent(tmp_path, "ann", f"parler://127.0.0.1:{port}")
    agent.environment |= {"PARLER_HOME": str(base), "SOME_API_KEY": "sk-planted"}
    first = agent("rooms")
    assert first.status == 0, first.err
    assert "started this machine's hub" in first.err
    again = agent("rooms")
    assert (again.status, again.err) == (0, "")
    status = agent("hub", "status", "--json").json
    assert (status["state"], status["healthy"]) == ("running", True)
    assert status["sizes"]["database"] > 0
    assert hubs_of(base) == [status["pid"]]
    process = psutil.Process(status["pid"])
    assert process.cwd() == str(base / "hub")
    assert os.getsid(process.pid) != os.getsid(0)
    if sys.platform == "linux":
        secrets = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"sk-planted" not in secrets
        assert b"PARLER_" not in secrets
    assert "parler-hub up" in agent("hub", "logs").out
    assert agent("hub", "stop", "--json").json == {"stopped": True, "pid": process.pid}
    assert agent("hub", "stop", "--json").json == {"stopped": False}
    assert not hubs_of(base)
    assert agent("doctor", "--json").json["ok"]
    assert not hubs_of(base)
    assert agent("rooms").status == 0


async def test_what_runs_in_the_background_leaves_a_stopped_hub_stopped(
    base: Path, port: int
) -> None:
    url = f"ws://localhost:{port}"
    hub = await ensure_local_hub(base, url, revive=False)
    assert hub.started
    assert stop(base) is not None
    with pytest.raises(ConnectFailed, match="was stopped"):
        await ensure_local_hub(base, url, revive=False)
    again = await ensure_local_hub(base, url)
    assert again.started
    assert again.pid != hub.pid
    kept = await ensure_local_hub(base / "agents" / "codex", url, revive=False)
    assert (kept.pid, kept.started) == (again.pid, False)


async def test_a_crashed_hub_is_started_anew(base: Path, port: int) -> None:
    url = f"ws://127.0.0.1:{port}"
    first = await ensure_local_hub(base, url)
    assert first.pid
    crashed = psutil.Process(first.pid)
    crashed.kill()
    crashed.wait(WAIT)
    second = await ensure_local_hub(base, url, revive=False)
    assert second.started
    assert second.pid != first.pid


async def test_a_hub_that_is_just_ending_is_waited_for_and_replaced(
    base: Path, port: int
) -> None:
    url = f"ws://127.0.0.1:{port}"
    with LockFile(hub_paths(base).running) as old:
        old.say(url=url, ending=True)
        assert look(hub_paths(base)).state is State.ENDING
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(ensure_local_hub(base, url))
            await asyncio.to_thread(lambda: None)
            assert not waiting.done()
            old.close()
    assert waiting.result().started


async def test_a_hub_that_is_being_stopped_is_not_revived_behind_its_owners_back(
    base: Path, port: int
) -> None:
    url = f"ws://127.0.0.1:{port}"
    paths = hub_paths(base)
    with contextlib.ExitStack() as stopping:
        stopping.enter_context(files.locked(paths.starting))
        old = stopping.enter_context(LockFile(paths.running))
        old.say(url=url, ending=True)
        background = ensure_local_hub(base, url, revive=False)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_outcome(background))
            await asyncio.to_thread(paths.stopped.touch)
            stopping.close()
    assert isinstance(waiting.result(), ConnectFailed)
    assert not hubs_of(base)


async def _outcome(asked: Awaitable[LocalHub]) -> LocalHub | ConnectFailed:
    try:
        return await asked
    except ConnectFailed as error:
        return error


def test_another_port_is_taken_up_with_all_that_is_stored(
    base: Path, port: int
) -> None:
    first = start(base, read_record(hub_paths(base)) or Record())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        other = int(probe.getsockname()[1])
    second = reconfigure(base, Record(addr=f"127.0.0.1:{other}"))
    assert second.url == f"ws://127.0.0.1:{other}"
    assert hubs_of(base) == [second.pid]
    assert second.pid != first.pid
    assert reconfigure(base, Record(addr=f"127.0.0.1:{other}")).pid == second.pid


def test_a_hub_that_cannot_move_stays_where_it_was(base: Path, port: int) -> None:
    before = Record(addr=f"127.0.0.1:{port}")
    reconfigure(base, before)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        there = int(taken.getsockname()[1])
        with pytest.raises(ConnectFailed):
            reconfigure(base, Record(addr=f"127.0.0.1:{there}"))
    assert read_record(hub_paths(base)) == before
    assert look(hub_paths(base)).is_at(before.url)


# ------------------------------------------------------------ in place of another hub


def test_own_hub_does_not_start_by_itself_where_another_hub_is_known(
    home: Path, tmp_path: Path
) -> None:
    base = home / ".parler"
    with running_hub(tmp_path / "by hand") as hub:
        paths, address = hub_paths(base), hub.url.removeprefix("ws://")
        write_record(paths, Record(addr=address))
        ann = Agent(tmp_path, "ann", hub.url)
        ann.environment["PARLER_HOME"] = str(base)
        assert ann("rooms").status == 0
        hub.stop()
        try:
            refused = ann("rooms", "--json")
            assert refused.error["code"] == "connect_failed"
            assert "which does not run" in refused.error["message"]
            assert "parler hub --db" in refused.error["next"]
            assert look(paths).state is State.STOPPED
            hub.start()
            assert ann("rooms").status == 0
            hub.stop()
            started = ann("hub", "start")
            assert f"parler trust-hub {hub.url}" in started.out
            assert ann("rooms", "--json").error["code"] == "replaced_hub"
            taken = ann("hub", "--addr", address)
            assert taken.status == 3
            assert "parler hub status" in taken.err
            assert ann("trust-hub", hub.url).status == 0
            assert ann("rooms").status == 0
            assert stop(base)
            assert ann("rooms").status == 0  # ours by now: it starts by itself
            assert "trust-hub" not in ann("hub", "start").out
        finally:
            stop(base, force=True)


# -------------------------------------------------------------------- what is not a hub


def test_a_process_id_that_was_given_out_again_is_left_alone(base: Path) -> None:
    paths = hub_paths(base)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            words = {"pid": stranger.pid, "url": "ws://127.0.0.1:1"}
            paths.running.write_text(json.dumps(words), encoding="utf-8")
            assert look(paths).state is State.STOPPED
            assert stop(base) is None
            with LockFile(paths.running) as held:
                held.say(pid=stranger.pid, url="ws://127.0.0.1:1")
                assert look(paths).state is State.RUNNING
                with pytest.raises(ConfigError, match="is not the hub"):
                    stop(base, wait_secs=1)
            assert look(paths).state is State.STOPPED
            assert stranger.poll() is None
        finally:
            stranger.kill()


async def test_another_program_on_the_port_is_named_and_told_nothing(
    base: Path, port: int
) -> None:
    heard = bytearray()

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        heard.extend(await reader.read(65_536))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n<html>my own server</html>")
        writer.close()

    JoinSecrets(base / "secrets.json").remember(f"ws://127.0.0.1:{port}", "hush")
    async with await asyncio.start_server(listen, "127.0.0.1", port):
        with pytest.raises(ConnectFailed) as caught:
            await ensure_local_hub(base, f"ws://127.0.0.1:{port}")
    assert f"process {os.getpid()}" in caught.value.message
    assert f"--port {port + 1}" in str(caught.value.next_step)
    assert heard.startswith(b"GET /.well-known/parler.json HTTP/1.1\r\n")
    assert b"hush" not in heard
    assert not hubs_of(base)


@pytest.mark.parametrize("is_hub", [True, False])
@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("asks_secret", [True, False])
def test_a_hub_of_another_user_is_no_stand_in_for_our_own(
    *, is_hub: bool, is_ours: bool, asks_secret: bool
) -> None:
    found = PortOwner(is_hub=is_hub, is_ours=is_ours, asks_secret=asks_secret)
    assert found.may_stand_in(secret_known=True) is (is_hub and is_ours)
    ours = is_hub and is_ours and not asks_secret
    assert found.may_stand_in(secret_known=False) is ours


# ------------------------------------------------------------------ what can go wrong


async def test_a_hub_that_cannot_start_says_why(base: Path, port: int) -> None:
    hub_paths(base).database.write_bytes(b"no database at all" * 1000)
    with pytest.raises(ConnectFailed, match=r"did not start: it ended at once: ."):
        await ensure_local_hub(base, f"ws://127.0.0.1:{port}")
    assert not hubs_of(base)


async def test_a_home_that_cannot_be_written_is_one_sentence(
    home: Path, port: int
) -> None:
    base = home / ".parler"
    base.mkdir()
    (base / "hub").write_text("in the way", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot"):
        await ensure_local_hub(base, f"ws://127.0.0.1:{port}")


async def test_a_start_that_takes_too_long_elsewhere_is_not_waited_for_without_end(
    base: Path, port: int
) -> None:
    with (
        files.locked(hub_paths(base).starting),
        pytest.raises(ConfigError, match="another process has held"),
    ):
        await ensure_local_hub(base, f"ws://127.0.0.1:{port}", wait_secs=0.1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_log_on_a_full_disk_does_not_end_the_hub(base: Path, port: int) -> None:
    hub_paths(base).log.symlink_to("/dev/full")
    url = f"ws://127.0.0.1:{port}"
    hub = await ensure_local_hub(base, url)
    assert (await ensure_local_hub(base, url)).pid == hub.pid
    seen = stop(base)
    assert seen is not None
    assert seen.pid == hub.pid


def test_a_damaged_record_is_told_with_its_remedy(base: Path) -> None:
    paths = hub_paths(base)
    for text in ("{", "[]", '{"addr":"127.0.0.1"}', '{"addr":"0.0.0.0:7070"}'):
        paths.record.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="damaged") as caught:
            read_record(paths)
        assert caught.value.next_step


# ------------------------------------------------------------------- which URL means it


def settings(base: Path, hub: str, source: str = "env") -> Settings:
    named = {"PARLER_HUB": hub} if source == "env" else {}
    flags = Flags(command="rooms", hub=hub if source == "flag" else None)
    variables = {"PARLER_HOME": str(base), **named}
    found = resolve_settings(variables, base.parent, base.parent, flags)
    assert found.hub_source == HubSource(source)
    return found


@pytest.mark.parametrize(
    "hub",
    [
        "parler://127.0.0.1:7070",
        "ws://localhost:7070/",
        "127.0.0.1:7070",
        "http://LOCALHOST:7070/ws",
    ],
)
def test_the_default_address_starts_by_itself_if_it_was_configured(
    home: Path, hub: str
) -> None:
    base = home / ".parler"
    assert starts_by_itself(settings(base, hub), hub)
    assert not starts_by_itself(settings(base, hub, "flag"), hub)
    elsewhere = settings(base, "wss://hub.example")
    assert not starts_by_itself(elsewhere, hub)  # a pasted KEY@HUB


@pytest.mark.parametrize(
    "hub",
    [
        "ws://127.0.0.1:9",
        "ws://127.0.0.2:7070",
        "wss://127.0.0.1:7070",
        "ws://[::1]:7070",
        "ws://127.0.0.1:7070/path",
        "ws://192.168.1.5:7070",
        "wss://hub.example",
    ],
)
def test_any_other_address_does_not(home: Path, hub: str) -> None:
    base = home / ".parler"
    assert not starts_by_itself(settings(base, hub), hub)


def test_once_there_is_one_its_address_means_it_whoever_names_it(
    base: Path, port: int
) -> None:
    url = f"ws://127.0.0.1:{port}"
    for source in ("env", "flag"):
        assert starts_by_itself(settings(base, url, source), url)
    default = "ws://127.0.0.1:7070"
    assert not starts_by_itself(settings(base, default), default)


@pytest.mark.parametrize(
    ("addr", "url", "does"),
    [
        ("127.0.0.1:7070", "ws://127.0.0.1:7070", True),
        ("127.0.0.1:7070", "ws://127.0.0.1:7071", False),
        ("0.0.0.0:7070", "ws://127.0.0.1:7070", True),
        ("0.0.0.0:7070", "ws://localhost:7070", True),
        ("0.0.0.0:7070", "ws://[::1]:7070", False),
        ("0.0.0.0:7070", "ws://192.168.1.5:7070", False),
        ("[::1]:7070", "ws://[::1]:7070", True),
        ("127.0.0.1:80", "ws://127.0.0.1", True),
    ],
)
def test_an_address_serves_what_reaches_it(addr: str, url: str, *, does: bool) -> None:
    assert serves(addr, url) is does


def test_a_hub_beyond_the_loopback_has_a_secret_and_keeps_strangers_out(
    home: Path,
) -> None:
    paths = hub_paths(home / ".parler")
    with pytest.raises(ConfigError, match="join secret"):
        write_record(paths, Record(addr="0.0.0.0:7070"))
    arguments = hub_arguments(paths, Record(addr="0.0.0.0:7070", team=True))
    assert {"--join-secret-file", "--lan-only", "--announce"} <= set(arguments)
    assert "--public" not in arguments
