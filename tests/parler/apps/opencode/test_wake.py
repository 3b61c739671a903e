"""A text becomes a message of the session that an OpenCode window is in."""

import asyncio
import base64
import json
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from parler.apps.opencode import APPS
from parler.apps.opencode.wake import Server, activity, session_of
from parler.wake.wakers import find_waker
from tests._support.polling import WAIT, eventually

(OPENCODE,) = APPS


class Sessions:
    """What the server holds, and how it behaves."""

    def __init__(self) -> None:
        self.messages: list[object] = []
        self.listed: list[object] = []
        self.busy: dict[str, object] = {}
        self.heard: queue.Queue[bytes | None] = queue.Queue()
        self.deaf = False
        self.authorization: set[str | None] = set()

    def happens(self, kind: str, session: str) -> None:
        told = {"sessionID": session, "status": {"type": "busy"}}
        event = json.dumps({"payload": {"type": kind, "properties": told}})
        self.heard.put(f"data: {event}\n\n".encode())


@contextmanager
def serving(sessions: Sessions) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            sessions.authorization.add(self.headers["authorization"])
            if self.path == "/global/event":
                self.stream()
            elif self.path == "/session/status":
                self.answer(200, sessions.busy)
            elif self.path.startswith("/session?"):
                self.answer(200, sessions.listed)
            else:
                self.answer(200, sessions.messages)

        def stream(self) -> None:
            self.send_response(200)
            self.end_headers()
            while (event := sessions.heard.get()) is not None:
                self.wfile.write(event)
                self.wfile.flush()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not sessions.deaf:
                message = {"info": {"role": "user"}, "parts": body["parts"]}
                sessions.messages.append(message)
            self.answer(204, None)

        def answer(self, status: int, value: object) -> None:
            self.send_response(status)
            data = b"" if value is None else json.dumps(value).encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            sessions.heard.put(None)
            server.shutdown()
            thread.join()


async def test_text_is_confirmed_by_the_sessions_messages() -> None:
    sessions = Sessions()
    with serving(sessions) as url:
        waker = Server(url, "ses_1", authorization="Basic x")
        assert await waker.wake("hello")
        assert await waker.wake("hello"), "the same words again"
    assert len(sessions.messages) == 2
    assert sessions.authorization == {"Basic x"}


async def test_text_that_does_not_show_up_is_not_confirmed() -> None:
    sessions = Sessions()
    sessions.deaf = True
    with serving(sessions) as url:
        waker = Server(url, "ses_1", authorization=None)
        async with asyncio.timeout(WAIT):
            waiting = asyncio.timeout(0.5)
            try:
                async with waiting:
                    await waker.wake("hello")
            except TimeoutError:
                assert waiting.expired()


async def test_server_that_is_gone_is_no_error() -> None:
    with serving(Sessions()) as url:
        pass
    assert not await Server(url, "ses_1", authorization=None).wake("hello")


def test_session_that_works_in_this_server_is_meant_whatever_is_newer() -> None:
    sessions = Sessions()
    sessions.listed = [
        {"id": "of another window", "directory": "/p", "time": {"updated": 9}},
        {"id": "mine", "directory": "/p", "time": {"updated": 1}},
        {"id": "elsewhere", "directory": "/q"},
        {"id": "subagent", "directory": "/p", "parentID": "mine"},
        {"id": 3},
        "junk",
    ]
    with serving(sessions) as url:
        assert session_of(url, None, ["opencode"], "/p") is None
        assert session_of(url, None, ["opencode", "-s", "given"], "/p") == "given"
        assert session_of(url, None, ["opencode", "--session=given"], "/p") == "given"
        for name in ("mine", "subagent", "elsewhere"):
            sessions.happens("session.status", name)
        sessions.happens("session.updated", "of another window")
        sessions.heard.put(None)
        eventually(lambda: not activity(url, None).listens, "end of the events")
        assert session_of(url, None, ["opencode", "-s", "given"], "/p") == "mine"


def test_session_that_works_as_we_begin_to_listen_is_meant() -> None:
    sessions = Sessions()
    sessions.listed = [{"id": "mine", "directory": "/p"}]
    sessions.busy = {"mine": {"type": "busy"}}
    with serving(sessions) as url:
        assert session_of(url, None, ["opencode"], "/p") == "mine"


async def test_only_the_server_that_started_us_is_spoken_to(home: Path) -> None:
    with serving(Sessions()):
        for pid in ("", "x", "٣", "999999999", str(os.getpid())):
            env = {"OPENCODE_PID": pid}
            waker = await find_waker(OPENCODE, env=env, thread_id="s", home=home)
            assert waker is None


async def test_password_of_the_server_is_passed_on() -> None:
    from parler.apps.opencode.wake import _basic

    assert _basic({}) is None
    given = _basic({"OPENCODE_SERVER_PASSWORD": "geheim"})
    assert given == "Basic " + base64.b64encode(b"opencode:geheim").decode()
