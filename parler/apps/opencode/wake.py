"""Waking OpenCode through the HTTP interface of the server that started us.

Its terminal listens only when it was started with a port, `opencode serve` always.
We find the port by the process that started us, so that no other program on this
machine is mistaken for it. The first request to a fresh server may hang, so requests
have short patience and are repeated.

All servers of a folder list the same sessions, those of its other windows too, so a
session counts as ours only if it was seen at work in this server, or if the window was
opened with it.
"""

import asyncio
import base64
import json
import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPException, HTTPResponse
from itertools import pairwise
from pathlib import Path

from parler.apps.kit.waker import WakeContext, WakeKind

REQUEST_SECS = 1.5
WAKE_SECS = 12.0
TRIES = 3
MAX_ANSWER_BYTES = 16 * 2**20
_POLL_SECS = 0.2
_USER = "opencode"
_LAST = 10
_SILENCE_SECS = 45.0
"""Its events come with a sign of life in between."""

_RESUMING = ("-s", "--session")


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


class Activity:
    """Which sessions work in one server, from when we began to listen."""

    def __init__(self, url: str, authorization: str | None) -> None:
        """Nothing is heard before `listen`."""
        self._url = url
        self._authorization = authorization
        self._seen: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()

    @property
    def listens(self) -> bool:
        """Whether what happens there is heard."""
        return self._thread is not None and self._thread.is_alive()

    def listen(self) -> None:
        """See that somebody listens, and wait for a moment until that is so."""
        if not self.listens:
            self._begun.clear()
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()
        self._begun.wait(REQUEST_SECS)

    def last(self, sessions: Sequence[object], folder: str) -> str | None:
        """The one that worked last, of those of a folder that are no subagent's."""
        own = {
            one["id"]
            for one in sessions
            if isinstance(one, dict)
            and one.get("directory") == folder
            and isinstance(one.get("id"), str)
            and not one.get("parentID")
        }
        return next((one for one in reversed(self._seen) if one in own), None)

    def _follow(self) -> None:
        try:
            url = f"{self._url}/global/event"
            with _open("GET", url, None, self._authorization) as heard:
                busy = _get(f"{self._url}/session/status", self._authorization)
                for session in busy if isinstance(busy, dict) else ():
                    self._note(session)
                self._begun.set()
                while line := heard.readline(MAX_ANSWER_BYTES):
                    if line.startswith(b"data:"):
                        self._take(json.loads(line[5:]))
        except (OSError, HTTPException, ValueError, RecursionError):
            return  # whoever looks for a way next listens anew

    def _take(self, event: object) -> None:
        match event:
            case {
                "payload": {
                    "type": "session.status",
                    "properties": {"sessionID": str(name), "status": {"type": "busy"}},
                }
            }:
                self._note(name)

    def _note(self, session: str) -> None:
        self._seen.pop(session, None)
        self._seen[session] = None


activity = cache(Activity)
"""That of a server, by its URL and what authorizes us."""


async def find_waker(context: WakeContext) -> Server | None:
    """The server above us and the session that our window is in."""
    env = context.env
    process = env.get("OPENCODE_PID", "")
    if not process.isascii() or not process.isdigit():
        return None
    authorization = _basic(env)
    ports, arguments = await asyncio.to_thread(_looked_at, int(process))
    for port in ports:
        url = f"http://127.0.0.1:{port}"
        chosen = context.thread_id or await asyncio.to_thread(
            session_of, url, authorization, arguments, str(Path.cwd().resolve())
        )
        if chosen:
            return Server(url, chosen, authorization=authorization)
    return None


def session_of(
    url: str, authorization: str | None, arguments: Sequence[str], folder: str
) -> str | None:
    """The session that the window of a server is in; None if that is not known.

    Args:
        arguments: What the window was opened with.
    """
    known = activity(url, authorization)
    known.listen()
    query = urllib.parse.urlencode({"directory": folder})
    listed = _get(f"{url}/session?{query}", authorization)
    if not isinstance(listed, list):
        return None
    words = [part for word in arguments for part in word.split("=", 1)]
    opened = (two for one, two in pairwise(words) if one in _RESUMING)
    return known.last(listed, folder) or next(opened, None)


def _get(url: str, authorization: str | None) -> object:
    """An answer that is no empty one, if one of several tries brings it."""
    tries = (ask("GET", url, None, authorization) for _ in range(TRIES))
    return next((answer for answer in tries if answer is not None), None)


def ask(method: str, url: str, body: object, authorization: str | None) -> object:
    """One request; None for whatever is no answer in JSON."""
    try:
        with _open(method, url, body, authorization, REQUEST_SECS) as answer:
            found = answer.read(MAX_ANSWER_BYTES)
        return json.loads(found) if found else None
    except (OSError, HTTPException, ValueError, RecursionError):
        return None


def _open(
    method: str,
    url: str,
    body: object,
    authorization: str | None,
    patience: float = _SILENCE_SECS,
) -> HTTPResponse:
    headers = {"content-type": "application/json"}
    if authorization:
        headers["authorization"] = authorization
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - a loopback URL of our making
        url, data, headers, method=method
    )
    # No proxy: it is this machine, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: HTTPResponse = opener.open(request, timeout=patience)
    return answer


def _looked_at(pid: int) -> tuple[list[int], list[str]]:
    """Where a process above us listens on this machine, and its arguments."""
    import psutil  # slow

    try:
        above = {one.pid for one in psutil.Process(os.getpid()).parents()}
        if pid not in above:
            return [], []
        process = psutil.Process(pid)
        found, arguments = process.net_connections(kind="tcp"), process.cmdline()
    except (psutil.Error, OSError):
        return [], []
    ports = {
        one.laddr.port
        for one in found
        if one.status == psutil.CONN_LISTEN
        and one.laddr.ip in ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104
    }
    return sorted(ports), arguments


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
