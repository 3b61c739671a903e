"""Waking OpenCode through the HTTP interface of the server that started us.

Its terminal listens only when it was started with a port, `opencode serve` always.
We find the port by the process that started us, so that no other program on this
machine is mistaken for it. The first request to a fresh server may hang, so requests
have short patience and are repeated.
"""

import asyncio
import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from parler.apps.kit.waker import WakeContext, WakeKind

REQUEST_SECS = 1.5
WAKE_SECS = 12.0
TRIES = 3
MAX_ANSWER_BYTES = 16 * 2**20
_POLL_SECS = 0.2
_USER = "opencode"
_LAST = 10


class Server:
    """A session in a server that listens."""

    kind = WakeKind.PUSH

    def __init__(self, url: str, session: str, *, authorization: str | None) -> None:
        self._url = url
        self._session = urllib.parse.quote(session, safe="")
        self._authorization = authorization

    async def wake(self, text: str) -> bool:
        """Make the text a message of the session; True when it is found in there."""
        body = {"parts": [{"type": "text", "text": text}]}
        try:
            async with asyncio.timeout(WAKE_SECS):
                before = await self._count(text)
                if before is None:
                    return False
                # Never twice: an answer that is late may still mean that it was taken.
                await self._once("POST", "prompt_async", body)
                while True:
                    found = await self._count(text)
                    if found is not None and found > before:
                        return True
                    await asyncio.sleep(_POLL_SECS)
        except TimeoutError:
            return False

    async def _count(self, text: str) -> int | None:
        for _ in range(TRIES):
            answer = await self._once("GET", f"message?limit={_LAST}", None)
            if isinstance(answer, list):
                return sum(_holds(message, text) for message in answer)
        return None

    async def _once(self, method: str, path: str, body: object) -> object:
        url = f"{self._url}/session/{self._session}/{path}"
        return await asyncio.to_thread(ask, method, url, body, self._authorization)


async def find_waker(context: WakeContext) -> Server | None:
    """The server above us and the session in our folder that was used last."""
    env = context.env
    process = env.get("OPENCODE_PID", "")
    if not process.isascii() or not process.isdigit():
        return None
    authorization = _basic(env)
    where = str(Path.cwd().resolve())
    for port in await asyncio.to_thread(_ports, int(process)):
        url = f"http://127.0.0.1:{port}"
        query = urllib.parse.urlencode({"directory": where})
        for _ in range(TRIES):
            listed = await asyncio.to_thread(
                ask, "GET", f"{url}/session?{query}", None, authorization
            )
            if isinstance(listed, list):
                chosen = context.thread_id or newest(listed, where)
                if chosen:
                    return Server(url, chosen, authorization=authorization)
                break
    return None


def newest(sessions: list[object], folder: str) -> str | None:
    """The session of a folder that was used last, not one of a subagent."""
    best: tuple[float, str] | None = None
    for one in sessions:
        match one:
            case {"parentID": str()}:
                continue
            case {"id": str(name), "directory": str(place), "time": {"updated": at}}:
                newer = isinstance(at, int | float) and (not best or at > best[0])
                if newer and place == folder:
                    best = (at, name)
    return best[1] if best else None


def ask(method: str, url: str, body: object, authorization: str | None) -> object:
    """One request; None for whatever is no answer in JSON."""
    headers = {"content-type": "application/json"}
    if authorization:
        headers["authorization"] = authorization
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - a loopback URL of our making
        url, data, headers, method=method
    )
    # No proxy: it is this machine, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=REQUEST_SECS) as answer:
            found = answer.read(MAX_ANSWER_BYTES)
        return json.loads(found) if found else None
    except (OSError, ValueError, RecursionError, urllib.error.URLError):
        return None


def _ports(pid: int) -> list[int]:
    """Where a process above us listens on this machine alone."""
    import psutil  # slow

    try:
        above = {one.pid for one in psutil.Process(os.getpid()).parents()}
        if pid not in above:
            return []
        found = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return []
    return sorted(
        {
            one.laddr.port
            for one in found
            if one.status == psutil.CONN_LISTEN
            and one.laddr.ip in ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104
        }
    )


def _holds(message: object, text: str) -> bool:
    match message:
        case {"info": {"role": "user"}, "parts": [*parts]}:
            return any(
                isinstance(part, dict) and part.get("text") == text for part in parts
            )
    return False


def _basic(env: Mapping[str, str]) -> str | None:
    password = env.get("OPENCODE_SERVER_PASSWORD")
    if not password:
        return None
    user = env.get("OPENCODE_SERVER_USERNAME") or _USER
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
