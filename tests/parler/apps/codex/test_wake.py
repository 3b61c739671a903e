"""A text becomes a message of a Codex thread, and is confirmed by the thread itself."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve

from parler.apps.codex import APPS, wake
from parler.apps.codex.wake import AppServer, Queue
from parler.apps.kit.waker import WakeKind
from parler.wake.spool import note_hook
from parler.wake.wakers import find_waker
from tests._support.polling import WAIT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="UNIX sockets")
(CODEX,) = APPS
THREAD = "01a1fb86-66fe-7b42-b4b1-b37bfc92eead"


class Server:
    """An app-server as far as we speak with it, with one thread."""

    def __init__(self) -> None:
        self.thread = THREAD
        self.status = "idle"
        self.turns: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.answered: list[dict[str, Any]] = []
        self.busy = 0
        """So many requests are refused as too much."""

        self.loses_texts = False
        self.unloaded = False
        self.steerable = True

    async def serve(self, connection: ServerConnection) -> None:
        async for line in connection:
            message = json.loads(line)
            if "method" not in message:
                self.answered.append(message)
            elif "id" in message:
                answer = self.answer(message["method"], message.get("params", {}))
                await connection.send(json.dumps({"id": message["id"], **answer}))
                if message["method"] in ("turn/start", "turn/steer"):
                    await self.ask_back(connection)

    async def ask_back(self, connection: ServerConnection) -> None:
        await connection.send(json.dumps({"method": "turn/started", "params": {}}))
        for number, method in enumerate(
            ("item/commandExecution/requestApproval", "item/tool/call")
        ):
            asked = {"id": f"s{number}", "method": method, "params": {}}
            await connection.send(json.dumps(asked))

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if self.busy:
            self.busy -= 1
            return self.error("overloaded", code=-32001)
        if method == "initialize":
            return {"result": {}}
        if params["threadId"] != self.thread:
            return self.error("thread not loaded")
        match method:
            case "thread/resume":
                self.unloaded = False
            case "thread/read" if self.unloaded:
                return self.error("thread not loaded")
            case "thread/read":
                return {"result": {"thread": {"status": {"type": self.status}}}}
            case "turn/start":
                self.turns.insert(0, {"id": "t1", "status": "inProgress", "items": []})
                self.take(params)
            case "turn/steer":
                if not self.steerable:
                    self.turns[0]["status"] = "completed"
                    return self.error("no active turn")
                assert params["expectedTurnId"] == self.turns[0]["id"]
                self.take(params)
            case "thread/turns/list":
                return {"result": {"data": self.turns}}
        return {"result": {}}

    def take(self, params: dict[str, Any]) -> None:
        if self.loses_texts:
            self.turns[0]["status"] = "interrupted"
            return
        self.turns[0]["items"].append(
            {"clientId": params["clientUserMessageId"], "content": params["input"]}
        )

    def error(self, message: str, *, code: int = -32600) -> dict[str, Any]:
        return {"error": {"code": code, "message": message}}

    @property
    def texts(self) -> list[str]:
        return [
            item["content"][0]["text"] for turn in self.turns for item in turn["items"]
        ]


@asynccontextmanager
async def app_server() -> AsyncIterator[tuple[Server, dict[str, str]]]:
    """A server on the control socket of a CODEX_HOME, and the variables that name it.

    The folder is not pytest's: the path of a socket has to be short. A terminal is
    connected as well.
    """
    with tempfile.TemporaryDirectory(prefix="cx") as folder:
        server = Server()
        path = Path(folder) / wake.SOCKET
        path.parent.mkdir()
        async with (
            unix_serve(server.serve, str(path)),
            unix_connect(str(path), "ws://x/"),
        ):
            yield server, {"CODEX_HOME": folder, "PATH": folder}


async def found(env: dict[str, str], home: Path) -> AppServer:
    waker = await find_waker(CODEX, env=env, thread_id=THREAD, home=home)
    assert isinstance(waker, AppServer)
    assert waker.kind is WakeKind.PUSH
    return waker


async def test_idle_thread_gets_a_turn(home: Path) -> None:
    async with app_server() as (server, env):
        waker = await found(env, home)
        assert await waker.wake("hello")
        assert server.texts == ["hello"]
        assert "turn/steer" not in server.asked


async def test_text_joins_the_turn_of_a_busy_thread(home: Path) -> None:
    async with app_server() as (server, env):
        server.status = "active"
        server.turns = [{"id": "t7", "status": "inProgress", "items": []}]
        assert await (await found(env, home)).wake("hello")
        assert server.texts == ["hello"]
        assert "turn/start" not in server.asked


async def test_turn_that_ended_meanwhile_is_followed_by_a_new_one(home: Path) -> None:
    async with app_server() as (server, env):
        server.status, server.steerable = "active", False
        server.turns = [{"id": "t7", "status": "inProgress", "items": []}]
        assert await (await found(env, home)).wake("hello")
        assert server.texts == ["hello"]


async def test_text_that_its_turn_never_took_is_not_confirmed(home: Path) -> None:
    async with app_server() as (server, env):
        server.status, server.loses_texts = "active", True
        server.turns = [{"id": "t7", "status": "inProgress", "items": []}]
        assert not await (await found(env, home)).wake("hello")


async def test_what_we_are_asked_to_approve_is_declined(home: Path) -> None:
    async with app_server() as (server, env):
        assert await (await found(env, home)).wake("hello")
        first, second = server.answered[:2]
        assert first == {"id": "s0", "result": {"decision": "decline"}}
        assert "error" in second


async def test_busy_server_is_asked_again(home: Path) -> None:
    async with app_server() as (server, env):
        path = Path(env["CODEX_HOME"]) / wake.SOCKET
        waker = AppServer(path, THREAD, fraction=lambda: 0.0)
        server.busy = 3
        assert await waker.wake("hello")
        assert server.texts == ["hello"]


async def test_no_turn_is_started_where_nobody_looks(home: Path) -> None:
    async with app_server() as (server, env):
        path = Path(env["CODEX_HOME"]) / wake.SOCKET
        waker = AppServer(path, THREAD, watched=lambda *_: False)
        assert not await waker.has_thread()
        assert not await waker.wake("hello")
        assert server.asked == []


async def test_thread_of_another_server_is_left_alone(home: Path) -> None:
    async with app_server() as (server, env):
        server.thread = "another"
        waker = await find_waker(CODEX, env=env, thread_id=THREAD, home=home)
        assert waker is None
        assert "thread/resume" not in server.asked


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells who listens")
async def test_server_that_started_us_loads_its_thread_again(home: Path) -> None:
    async with app_server() as (server, env):
        server.unloaded = True
        path = Path(env["CODEX_HOME"]) / wake.SOCKET
        waker = AppServer(path, THREAD, above=lambda: {os.getpid()})
        assert await waker.wake("hello")
        assert server.texts == ["hello"]


async def test_thread_is_known_from_the_hooks(home: Path) -> None:
    async with app_server() as (_, env):
        assert await find_waker(CODEX, env=env, thread_id=None, home=home) is None
        note_hook(home, "stop", THREAD)
        waker = await find_waker(CODEX, env=env, thread_id=None, home=home)
        assert isinstance(waker, AppServer)


async def test_file_in_place_of_the_socket_is_not_spoken_to(home: Path) -> None:
    path = home / wake.SOCKET
    path.parent.mkdir()
    path.write_bytes(b"")
    env = {"CODEX_HOME": str(home)}
    assert await find_waker(CODEX, env=env, thread_id=THREAD, home=home) is None


async def test_queue_rings_without_the_text_and_not_too_often(home: Path) -> None:
    program = home / "codex"
    rung = home / "rung"
    program.write_text(f'#!/bin/sh\necho "$@" >> {rung}\n', encoding="utf-8")
    program.chmod(0o700)
    now = 0.0
    env = {"PATH": str(home), "CODEX_HOME": str(home)}
    waker = await find_waker(CODEX, env=env, thread_id=THREAD, home=home)
    assert isinstance(waker, Queue)
    waker = Queue(str(program), env, THREAD, now=lambda: now)
    async with asyncio.timeout(WAIT):
        assert not await waker.wake("a secret of a peer")
        assert not await waker.wake("another")
        now = 61.0
        assert not await waker.wake("another")
    lines = rung.read_text(encoding="utf-8").splitlines()
    assert lines == [f"queue --thread={THREAD} --message={wake.NOTICE}"] * 2
