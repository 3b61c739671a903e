"""`parler mcp` as apps start it: the official client, in both eras, over real pipes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import ElicitRequestParams, ElicitResult, TextContent

from parler.wake.spool import consumer_pid
from parler.wire.records import DeliveryState, RosterEntry
from parler.wire.replies import RosterList
from parler.wire.requests import Roster
from tests._support.mcp_hosts import at_work, environment, home_of
from tests._support.mcp_peers import peer
from tests._support.polling import WAIT, comes
from tests._support.processes import CHECKOUT, HubProcess


def command_of(env: dict[str, str], folder: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "parler", "mcp"],
        env={**env, "HOME": str(folder), "PYTHONPATH": str(CHECKOUT)},
        cwd=folder,
    )


def text_of(result: Any) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert result.structured_content is None
    return content.text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_plays_the_main_story(
    hub: HubProcess, tmp_path: Path, mode: Any
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    asked: list[str] = []

    async def decide(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"answer": "let in"})

    server = stdio_client(command_of(env, tmp_path))
    async with (
        Client(server, mode=mode, elicitation_callback=decide) as client,
        peer(hub.url) as bob,
    ):
        era = "2026-07-28" if mode == "auto" else "2025-11-25"
        assert client.protocol_version == era
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "parler_open_session" in names
        opened = await client.call_tool("parler_open_session", {"context": "plan"})
        room = await bob.joins(text_of(opened).split("KEY: ")[1].split()[0])

        async def knock() -> str:
            read = text_of(await client.call_tool("parler_roster", {}))
            return read if "KNOCK" in read else ""

        assert bob.fingerprint in await comes(knock)
        arguments = {"agent": bob.fingerprint}
        approved = await client.call_tool("parler_approve_join", arguments)
        assert "is in" in text_of(approved)
        assert bob.fingerprint in asked[0]
        assert "plan" in (await bob.texts(room))[0]
        assert len((await client.list_prompts()).prompts) == 2
        assert len((await client.list_resources()).resources) == 2


async def test_a_server_killed_after_writing_a_result_has_lost_nothing(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
        key, room = await bob.opens()
        await host.calls("parler_join_session", key=key)
        await host.pings()
    async with peer(hub.url, "bob") as bob:
        pass
    process = start(env, tmp_path)
    try:
        shake(process)
        async with peer(hub.url, "carol") as carol:
            await carol.joins(key)
            seq = await carol.says(room, "survives a kill")
            call(process, 2, "parler_recv", {"wait_secs": 20})
            read = ""
            while "survives a kill" not in read:
                read = answer_to(process, 2)
            process.send_signal(signal.SIGKILL)
            process.wait(WAIT)
            state = (await carol.receipts(room, seq))["ann"].state
            assert state is not DeliveryState.SEEN
            async with at_work(env, tmp_path) as again:
                read = await again.calls("parler_recv", wait_secs=100)
                assert "survives a kill" in read
    finally:
        process.kill()
        process.communicate()
    assert home_of(env).exists()


WRAPPED = """
from tests._support.polling import WAIT
import subprocess, sys
subprocess.run(["sh", "-c", '"$0" -m parler mcp; true', sys.executable])
"""


@pytest.mark.parametrize("whose", ["app", "server"])
async def test_an_app_that_was_killed_has_ended_though_a_wrapper_holds_its_pipe(
    hub: HubProcess, tmp_path: Path, whose: str
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    app = tmp_path / "claude.py"
    app.write_text(WRAPPED, encoding="utf-8")
    async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
        key, room = await bob.opens()
        await host.calls("parler_join_session", key=key)
    process = start(env, tmp_path, command=[sys.executable, str(app)])
    async with peer(hub.url) as bob:
        try:
            await bob.joins(key)
            shake(process)

            async def shown(here: bool) -> RosterEntry | None:
                listed = await bob.client.request(Roster(room=room), RosterList)
                [ann] = [one for one in listed.entries if one.name == "ann"]
                alive = ann.status == "idle" and "wake" in (ann.activity or "")
                return ann if alive is here else None

            await comes(partial(shown, True))
            call(process, 2, "parler_recv", {"wait_secs": 200})
            server = consumer_pid(home_of(env))
            assert server
            os.kill(process.pid if whose == "app" else server, signal.SIGKILL)
            seq = await bob.says(room, "too late for it")
            # It ends when all have that could write to it: the server, too.
            rest = await asyncio.to_thread(process.communicate, timeout=WAIT)
            assert b"too late" not in rest[0]
            ended = await comes(partial(shown, False))
            assert (ended.status, ended.activity) == ("offline", "ended")
            assert (await bob.receipts(room, seq))["ann"].state is not (
                DeliveryState.SEEN
            )
        finally:
            process.kill()
            process.communicate()
        async with at_work(env, tmp_path) as again:
            assert "too late" in await again.calls("parler_recv", wait_secs=100)


def test_the_end_of_stdin_ends_it_and_what_was_asked_is_answered(
    tmp_path: Path,
) -> None:
    env = environment(tmp_path, "ws://127.0.0.1:9", "ann")
    process = start(env, tmp_path)
    assert process.stdin
    process.stdin.write(
        INITIALIZE + b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n'
    )
    out, err = process.communicate(timeout=WAIT)
    frames = [json.loads(line) for line in out.splitlines()]
    assert [frame["id"] for frame in frames] == [1, 2]
    assert process.returncode == 0
    assert err == b""


def test_wrong_arguments_are_told_by_the_command_line(tmp_path: Path) -> None:
    env = environment(tmp_path, "ws://127.0.0.1:9", "ann")
    process = start(env, tmp_path, "--nonsense")
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 2
    assert out == b""
    assert b"--nonsense" in err


def test_nothing_heavy_is_loaded_before_the_lists_are_out() -> None:
    program = (
        "import sys\n"
        "import mcp.server.lowlevel\n"
        "theirs = set(sys.modules)\n"
        "import parler.mcp_server.server, parler.mcp_server.tools.registry\n"
        "heavy = {'typer', 'click', 'rich', 'sqlalchemy', 'uvicorn', 'psutil', 'hub',\n"
        "         'parler.cli', 'parler.mcp_server.backend', 'zeroconf', 'tomlkit'}\n"
        "print(sorted(heavy & (set(sys.modules) - theirs)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
    )
    assert done.stdout.strip() == "[]"


INITIALIZE = (
    json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        }
    ).encode()
    + b"\n"
)


def start(
    env: dict[str, str],
    folder: Path,
    *arguments: str,
    command: Sequence[str] = (sys.executable, "-m", "parler", "mcp"),
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def shake(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin
    process.stdin.write(INITIALIZE)
    process.stdin.flush()
    answer_to(process, 1)


def call(
    process: "subprocess.Popen[bytes]", number: int, tool: str, given: dict[str, Any]
) -> None:
    assert process.stdin
    frame = {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": tool, "arguments": given},
    }
    process.stdin.write(json.dumps(frame).encode() + b"\n")
    process.stdin.flush()


def answer_to(process: "subprocess.Popen[bytes]", number: int) -> str:
    assert process.stdout
    while True:
        line = process.stdout.readline()
        assert line, "the server ended"
        if json.loads(line).get("id") == number:
            return line.decode()
