"""Waking Codex through its app-server's control socket, else through its queue.

The terminal of Codex keeps its threads in a background app-server, which listens on a
UNIX socket in CODEX_HOME. A text becomes a message of the thread: it starts a turn in
an idle one and joins the turn of a busy one. We speak only to a server that runs as
our user, has the thread loaded and has another client: the server and its threads
outlive the terminal, and no turn is started where nobody sees it. The connection lives
for one message, and what the server asks us to approve meanwhile is declined:
approving needs a person.
"""

import asyncio
import json
import os
import shutil
import socket
import stat
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from parler._version import __version__
from parler.apps.kit.waker import WakeContext, WakeKind
from parler.machine.backoff import Backoff, system_fraction
from parler.machine.files import random_hex
from parler.machine.processes import ancestors

WAKE_SECS = 15.0
STEER_SECS = 600.0
"""What joins a running turn is in the thread only when its step has ended."""

FIND_SECS = 3.0
QUEUE_SECS = 10.0
RING_AGAIN_SECS = 60.0
"""A queue is not filled with notices that say the same."""

MAX_ANSWER_BYTES = 16 * 2**20
SOCKET = Path("app-server-control") / "app-server-control.sock"
NOTICE = "Parler: new messages wait for this agent. The tool parler_recv shows them."

_OVERLOADED = -32001
_CONFIRM_POLL_SECS = 0.1
_LONGEST_POLL_SECS = 2.0
_TURNS = 3
_OWN_ENDS = 2
"""Of a server's socket: what listens, and our connection."""

_DECLINE: Mapping[str, dict[str, str]] = {
    "item/commandExecution/requestApproval": {"decision": "decline"},
    "item/fileChange/requestApproval": {"decision": "decline"},
    "mcpServer/elicitation/request": {"action": "decline"},
    "applyPatchApproval": {"decision": "denied"},
    "execCommandApproval": {"decision": "denied"},
}
_FAILURES = (OSError, WebSocketException, ValueError, TimeoutError)


class Refused(ValueError):
    """The app-server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _above_us() -> set[int]:
    """The processes that started us: with the server among them, threads are its."""
    return {seen.process.pid for seen in ancestors(os.getpid())[1:]}


def _is_watched(pid: int | None, path: Path) -> bool:
    """Whether a server has another client than us; in doubt it has."""
    import psutil  # slow

    if pid is None:
        return True
    real = os.path.realpath(path)
    try:
        ends = psutil.Process(pid).net_connections(kind="unix")
    except (psutil.Error, OSError):
        return True
    there = len([end for end in ends if end.laddr == real])
    return there == 0 or there > _OWN_ENDS


async def find_waker(context: WakeContext) -> "AppServer | Queue | None":
    """The way into a thread; without its id, into the one whose hooks ran last."""
    thread, env = context.thread_id or context.hook_session(), context.env
    if not thread:
        return None
    path = _codex_home(env) / SOCKET
    if _is_our_socket(path):
        server = AppServer(path, thread)
        return server if await server.has_thread() else None
    program = shutil.which("codex", path=env.get("PATH"))
    if program is None or await asyncio.to_thread(_is_headless):
        return None
    return Queue(program, env, thread)


class AppServer:
    """A thread in the app-server behind a control socket."""

    kind = WakeKind.PUSH

    def __init__(
        self,
        path: Path,
        thread: str,
        *,
        token: Callable[[int], str] = random_hex,
        fraction: Callable[[], float] = system_fraction,
        above: Callable[[], set[int]] = _above_us,
        watched: Callable[[int | None, Path], bool] = _is_watched,
    ) -> None:
        self._watched = watched
        self._path = path
        self._above = above
        self._thread = thread
        self._token = token
        self._fraction = fraction

    async def has_thread(self) -> bool:
        """Whether the server has the thread, or may load it."""
        try:
            async with asyncio.timeout(FIND_SECS), self._connected() as rpc:
                await self._status(rpc)
        except _FAILURES:
            return False
        return True

    async def wake(self, text: str) -> bool:
        """Make the text a message of the thread; True when it is found in there."""
        mark = f"parler-{self._token(8)}"
        try:
            async with asyncio.timeout(WAKE_SECS) as limit, self._connected() as rpc:
                joined = await self._put(rpc, text, mark)
                if joined:
                    limit.reschedule(asyncio.get_running_loop().time() + STEER_SECS)
                return await self._arrived(rpc, mark, until_over=joined)
        except _FAILURES:
            return False

    async def _put(self, rpc: "_Rpc", text: str, mark: str) -> bool:
        """Hand the text over; whether it joins a running turn."""
        content = [{"type": "text", "text": text}]
        message = {
            "threadId": self._thread,
            "input": content,
            "clientUserMessageId": mark,
        }
        if await self._status(rpc) == "active":
            turn = await self._running(rpc)
            if turn is not None:
                try:
                    await rpc.ask("turn/steer", **message, expectedTurnId=turn)
                    return True
                except Refused:
                    pass  # it has just ended, or cannot be steered
        await rpc.ask("turn/start", **message)
        return False

    async def _status(self, rpc: "_Rpc") -> str:
        try:
            found = await rpc.ask("thread/read", threadId=self._thread)
        except Refused:
            if rpc.pid not in self._above():
                raise  # it is not the server that this thread lives in
            await rpc.ask("thread/resume", threadId=self._thread, excludeTurns=True)
            found = await rpc.ask("thread/read", threadId=self._thread)
        return str(_at(found, "thread", "status", "type"))

    async def _running(self, rpc: "_Rpc") -> str | None:
        for turn in await self._turns(rpc, items="notLoaded"):
            if _at(turn, "status") == "inProgress":
                return str(_at(turn, "id"))
        return None

    async def _arrived(self, rpc: "_Rpc", mark: str, *, until_over: bool) -> bool:
        """Whether the text comes into the thread, before the running turn is over."""
        pause, over = _CONFIRM_POLL_SECS, False
        while True:
            turns = await self._turns(rpc, items="full")
            for turn in turns:
                items = _at(turn, "items")
                for item in items if isinstance(items, list) else []:
                    if _at(item, "clientId") == mark:
                        return True
            if over:
                return False
            # One more look: the turn may have ended between the two.
            over = until_over and all(
                _at(turn, "status") != "inProgress" for turn in turns
            )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECS)

    async def _turns(self, rpc: "_Rpc", *, items: str) -> list[object]:
        found = await rpc.ask(
            "thread/turns/list",
            threadId=self._thread,
            limit=_TURNS,
            sortDirection="desc",
            itemsView=items,
        )
        turns = _at(found, "data")
        return turns if isinstance(turns, list) else []

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["_Rpc"]:
        async with unix_connect(
            str(self._path),
            uri="ws://localhost/",
            compression=None,
            max_size=MAX_ANSWER_BYTES,
            open_timeout=FIND_SECS,
            close_timeout=1,
            ping_interval=None,
        ) as connection:
            rpc = _Rpc(connection, Backoff(self._fraction))
            if not rpc.is_our_user():
                raise Refused(0, "another user's server listens there")
            if not await asyncio.to_thread(self._watched, rpc.pid, self._path):
                raise Refused(0, "nobody is connected but us")
            about = {"name": "parler", "title": "Parler", "version": __version__}
            await rpc.ask(
                "initialize",
                clientInfo=about,
                capabilities={"experimentalApi": True},
            )
            await rpc.tell("initialized")
            yield rpc


class _Rpc:
    """Requests, one after the other, on one connection."""

    def __init__(self, connection: ClientConnection, pace: Backoff) -> None:
        self._connection = connection
        self._pace = pace
        self._asked = 0
        self.pid, self._uid = _peer(connection.transport.get_extra_info("socket"))

    def is_our_user(self) -> bool:
        """Whether our user runs the server, as far as the system tells."""
        return sys.platform == "win32" or self._uid in (None, os.geteuid())

    async def tell(self, method: str) -> None:
        """Send a notification."""
        await self._send({"method": method, "params": {}})

    async def ask(self, method: str, **params: object) -> object:
        """Send a request and wait for its answer; again while the server is busy.

        Raises:
            Refused: The answer is another error.
            ValueError: It is no JSON-RPC.
        """
        while True:
            try:
                return await self._ask(method, params)
            except Refused as refused:
                if refused.code != _OVERLOADED:
                    raise
                await asyncio.sleep(self._pace.next())

    async def _ask(self, method: str, params: Mapping[str, object]) -> object:
        self._asked += 1
        await self._send({"id": self._asked, "method": method, "params": params})
        while True:
            message = json.loads(await self._connection.recv())
            if not isinstance(message, dict):
                raise ValueError("not a JSON-RPC message")
            if "method" in message:
                await self._decline(message)
            elif message.get("id") == self._asked:
                break
        if "error" in message:
            code, text = _at(message, "error", "code"), _at(message, "error", "message")
            raise Refused(code if isinstance(code, int) else 0, str(text))
        return message.get("result")

    async def _decline(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            return  # a notification
        answer = _DECLINE.get(str(message["method"]))
        if answer is not None:
            await self._send({"id": message["id"], "result": answer})
            return
        error = {"code": -32601, "message": "nobody answers here"}
        await self._send({"id": message["id"], "error": error})

    async def _send(self, message: dict[str, object]) -> None:
        await self._connection.send(json.dumps(message))


class Queue:
    """The command ``codex queue``: it rings, and the text comes by another way.

    Arguments are visible to other users of the machine, so only a notice is queued.
    Nothing tells when it was read.
    """

    kind = WakeKind.PUSH

    def __init__(
        self,
        program: str,
        env: Mapping[str, str],
        thread: str,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = [program, "queue", f"--thread={thread}", f"--message={NOTICE}"]
        self._env = dict(env)
        self._now = now
        self._rang: float | None = None

    async def wake(self, text: str) -> bool:
        """Ring, at most once in a while; never confirmed."""
        if self._rang is not None and self._now() - self._rang < RING_AGAIN_SECS:
            return False
        self._rang = self._now()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return False
        try:
            async with asyncio.timeout(QUEUE_SECS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        return False


def _codex_home(env: Mapping[str, str]) -> Path:
    given = env.get("CODEX_HOME")
    return (
        Path(given) if given else Path(env.get("HOME") or "~").expanduser() / ".codex"
    )


def _is_headless() -> bool:
    """Whether `codex exec` runs us: nobody would come back for what is queued."""
    import psutil  # slow

    for seen in ancestors(os.getpid()):
        if any(one.startswith("codex") for one in (seen.program, seen.name)):
            with suppress(psutil.Error, OSError):
                if {"exec", "e"} & set(psutil.Process(seen.process.pid).cmdline()):
                    return True
    return False


def _is_our_socket(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()


def _peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """Process and user at the other end, where the system tells."""
    if sys.platform.startswith("linux"):
        data = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        pid, uid, _ = struct.unpack("3i", data)
        return pid, uid
    return None, None


def _at(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
