"""A web page with bad intentions, and the real browser that somebody opens it in.

The page's site is played here: it serves one page, takes what the page found out, and
can rebind its own name, after which connections to it end at the hub. The browsers are
Debian's; nothing they ask for is looked up beyond this machine.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from tests._support.polling import WAIT

"""How long the browser may take from its start to what the page found out."""

NAME = "evil.example"
"""What the page's site is called; the browser is told that it is on this machine."""

PAGE = Path(__file__).with_name("page.html")
REFUSAL = "this hub does not answer to that name"
"""All that a page may read which rebound its name."""

# In both, the hub is to hold by itself: not all browsers ask their user before a page
# reaches this machine.
_CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=LocalNetworkAccessChecks",
    f"--host-resolver-rules=MAP {NAME} 127.0.0.1,MAP *.invalid ~NOTFOUND",
)
_FIREFOX = {
    "network.dns.localDomains": NAME,
    "network.lna.enabled": False,
    "network.lna.blocking": False,
    # It asks for nothing by itself.
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
}


def _chromium(profile: Path, url: str) -> tuple[str, ...]:
    return (*_CHROMIUM, f"--user-data-dir={profile}", url)


def _firefox(profile: Path, url: str) -> tuple[str, ...]:
    lines = (
        f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
        for name, value in _FIREFOX.items()
    )
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    return ("--headless", "--no-remote", "--profile", str(profile), url)


BROWSERS: dict[str, Callable[[Path, str], tuple[str, ...]]] = {
    "chromium": _chromium,
    "firefox-esr": _firefox,
}
"""Their programs; how each opens a page with a profile of its own."""


@dataclass(slots=True, kw_only=True)
class Site:
    """The attacker's web site."""

    hub: str
    """``host:port`` of the hub it wants to get at."""

    page: Path = PAGE
    port: int = 0
    rebound: bool = False
    plan: dict[str, Any] = field(default_factory=dict)
    report: "asyncio.Future[dict[str, Any]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def url(self, host: str) -> str:
        """Under which the browser finds it."""
        return f"http://{host}:{self.port}"

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection, or hand it to the hub once the name is rebound."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self.rebound and f"host: {NAME}".encode() in head.lower():
                await self._to_hub(head, reader, writer)
            else:
                await self._answer(head, reader, writer)
        writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = head.split(b" ")[1].decode()
        body = b""
        match path:
            case "/":
                page = Template(self.page.read_text(encoding="utf-8"))
                body = page.substitute(plan=json.dumps(self.plan)).encode()
            case "/rebind":
                self.rebound = True
            case "/report":
                lines = head.lower().split(b"\r\n")
                size = next(x for x in lines if x.startswith(b"content-length:"))
                said = await reader.readexactly(int(size.partition(b":")[2]))
                if not self.report.done():
                    self.report.set_result(json.loads(said))
        # Closed, so that no connection from before is used after the rebinding.
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\n"
            b"Access-Control-Allow-Origin: *\r\nContent-Type: text/html\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()

    async def _to_hub(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = self.hub.rpartition(":")
        theirs, ours = await asyncio.open_connection(host, int(port))
        ours.write(head)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, ours))
                group.create_task(_copy(theirs, writer))
        finally:
            ours.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def attackers_site(hub: str) -> AsyncIterator[Site]:
    """The site, on a free port of this machine."""
    site = Site(hub=hub)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


async def open_page(name: str, site: Site, url: str, folder: Path) -> dict[str, Any]:
    """Open a page of the site in a browser; returns what the page got.

    Raises:
        AssertionError: There is no such browser, or the page did not run to its end.
    """
    program = shutil.which(name)
    assert program, f"Debian's {name} is missing: ./scripts/test --attack"
    log, profile = folder / f"{name}.log", folder / name
    profile.mkdir()
    with log.open("wb") as output:
        browser = await asyncio.create_subprocess_exec(
            *(program, *BROWSERS[name](profile, url)),
            env=os.environ | {"HOME": str(profile)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(WAIT):
            return await site.report
    except TimeoutError:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise AssertionError(f"the page reported nothing; {name}:\n{said}") from None
    finally:
        os.killpg(browser.pid, signal.SIGKILL)  # with all it started
        await browser.wait()


def told(report: dict[str, Any], *, about: str) -> None:
    """Print what the attacker got, for whoever reads the suite's output."""
    print(f"\n{about}")  # noqa: T201
    for tried, got in report.items():
        print(f"  {tried:<58} {json.dumps(got, ensure_ascii=False)[:160]}")  # noqa: T201


def frames(report: dict[str, Any]) -> dict[str, Any]:
    """The attempts that got a word out of the hub's WebSocket."""
    return {tried: got for tried, got in report.items() if got.get("frames")}


def read(report: dict[str, Any]) -> dict[str, Any]:
    """The attempts that could read an answer of the hub."""
    return {
        tried: got
        for tried, got in report.items()
        if not got.get("body", REFUSAL).startswith(REFUSAL)
    }


def attempts(kind: str, urls: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """Entries of a plan."""
    return [{"kind": kind, "url": url, **more} for url in urls]
