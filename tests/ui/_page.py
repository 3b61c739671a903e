"""The person's page in a real browser: a hub, windows of apps, and the page's process.

All of it are real processes. The browser is Debian's, driven by Playwright.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pytest

from parler.ops.person_only import by_an_agent
from parler.wire.replies import RoomList
from parler.wire.requests import Rooms
from tests._support.mcp_peers import Peer, peer
from tests._support.polling import WAIT
from tests._support.processes import Agent, Done, HubProcess, running_hub
from tests._support.windows import AppWindow, Desk

TOPIC = "flaky login"
CONTEXT = "We found that the session cookie is lost on refresh."
WAIT_MS = 1000 * WAIT
CALL_SECS = 60.0
NO_LIMITS = {
    "PARLER_HUB_MAX_SENDS_PER_MIN": "0",
    "PARLER_HUB_MAX_ROOM_SENDS_PER_MIN": "0",
    "PARLER_HUB_MAX_OPS_PER_MIN": "0",
    "PARLER_HUB_MAX_KNOCKS_PER_IP_PER_MIN": "0",
}
CHROMIUM = "/usr/bin/chromium"
EVIL = "evil.example"
"""What a site of somebody else is called; the browser is told that it is here."""

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # The page is to hold by itself: not all browsers ask before a site reaches it.
    "--disable-features=LocalNetworkAccessChecks",
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
)
needs_a_person = pytest.mark.skipif(
    by_an_agent({}, os.getpid()), reason="an agent runs this; the page is a person's"
)

T = TypeVar("T")


class Loop:
    """A loop in a thread of its own, for clients that are not processes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()

    def __call__(self, work: Coroutine[Any, Any, T], secs: float = CALL_SECS) -> T:
        """Do something there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(secs)

    def peer(self, hub: str, name: str) -> Peer:
        """Somebody else at a hub, until the end."""
        return self(self._stack.enter_async_context(peer(hub, name)))

    def close(self) -> None:
        """Have everybody leave."""
        self(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECS)
        self._loop.close()


@dataclass
class Machine:
    """A person's machine, its hub, and people elsewhere."""

    folder: Path
    hub: HubProcess
    desk: Desk
    loop: Loop
    person: Agent

    def opens(self, window: AppWindow, topic: str = TOPIC) -> tuple[str, str]:
        """Have an agent open a session; returns its key and room."""
        words = window.calls(
            "parler_open_session", topic=topic, context=CONTEXT
        ).split()
        key, room = words[words.index("KEY:") + 1], words[words.index("Session") + 1]
        return key, room

    def peer(self, name: str) -> Peer:
        """Somebody else at the hub."""
        return self.loop.peer(self.hub.url, name)

    def link(self, *more: str) -> str:
        """A link that lets one browser in."""
        done = self.person("ui", "--print", "--json", *more)
        return str(done.json["url"])

    def stop(self) -> Done:
        """End the page."""
        return self.person("ui", "--stop")


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """All of it; the page is ended with the block."""
    loop = Loop()
    with running_hub(folder / "hub", **NO_LIMITS) as hub:
        person = Agent(folder, "ann", hub.url)
        made = Machine(folder, hub, Desk(person.folder, hub.url), loop, person)
        try:
            yield made
        finally:
            made.stop()
            loop.close()


@contextmanager
def browser() -> Iterator[Any]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(ARGUMENTS)
        )
        yield started
        started.close()


@contextmanager
def chromium_context(started: Any, **options: Any) -> Iterator[Any]:
    """A page of a browser that was never anywhere; it breaks no policy of its own."""
    options = {"viewport": {"width": 1280, "height": 800}} | options
    context = started.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def hear(said: Any) -> None:
        if "Content Security Policy" in said.text or "TrustedHTML" in said.text:
            errors.append(said.text)

    page.on("console", hear)
    yield page
    context.close()
    assert errors == []


def told(what: str, **found: object) -> None:
    """Say what was measured, or tried, as a line of JSON."""
    rounded = {k: round(v) if isinstance(v, float) else v for k, v in found.items()}
    sys.stdout.write(json.dumps({"what": what, **rounded}) + "\n")


async def is_out(who: Peer, room: str) -> bool:
    """Whether somebody is not in a room."""
    listed = (await who.client.request(Rooms(), RoomList)).rooms
    return room not in {one.name for one in listed}


def origin_of(link: str) -> str:
    """Where the page is."""
    return link.partition("/#")[0]


def until(page: Any, holds: str) -> None:
    """Wait until something holds in a page; its policy lets nobody evaluate text."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(f"() => Boolean({holds})"):
        assert time.monotonic() < deadline, holds
        page.wait_for_timeout(5)


Asked = list[tuple[str, dict[str, str]]]


@contextmanager
def listening() -> Iterator[tuple[int, Asked]]:
    """A site of somebody else on this machine: its port, and what it was asked."""
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append((self.path, headers))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>innocent</title><body>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with a page, in short."""
    # The page lets no script in but its own: this one comes by the debugger.
    axe = resources.files("axe_playwright_python") / "axe.min.js"
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document)")["violations"]
    return [
        f"{one['id']} ({one['impact']}): "
        + json.dumps([node["target"] for node in one["nodes"]][:5])
        for one in found
    ]
