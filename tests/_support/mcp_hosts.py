"""An agent app at the other end of the pipe, saying and hearing whole JSON-RPC frames.

The server runs in the test's own loop, all of it but the process: its pipes are real,
so are its files and its hub. Every wait is bounded.
"""

import asyncio
import json
import os
import select
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parler.identity.settings import Flags, resolve_settings
from parler.mcp_server.server import ToolServer
from parler.runtime.options import server_options
from tests._support.polling import WAIT, comes

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
META = "io.modelcontextprotocol"


@dataclass(slots=True)
class Host:
    """One app, and what it heard."""

    reader: asyncio.StreamReader
    out: int
    transport: asyncio.ReadTransport
    descriptor: int
    name: str = "test-host"
    modern: bool = False
    capabilities: dict[str, Any] = field(default_factory=dict)
    frames: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """How it answers what the server asks."""

    _ids: int = 0

    def says(self, frame: Mapping[str, Any]) -> None:
        """Write a frame."""
        data = json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n"
        os.write(self.out, data)

    def asks(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request; returns its id."""
        self._ids += 1
        params = dict(params or {})
        if self.modern:
            params["_meta"] = {
                f"{META}/protocolVersion": MODERN,
                f"{META}/clientInfo": {"name": self.name, "version": "1"},
                f"{META}/clientCapabilities": self.capabilities,
            } | params.get("_meta", {})
        self.says({"id": self._ids, "method": method, "params": params})
        return self._ids

    async def hears(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame that is wanted, among those heard and those to come."""
        async with asyncio.timeout(WAIT):
            at = 0
            while True:
                while at < len(self.frames):
                    if wanted(self.frames[at]):
                        return self.frames[at]
                    at += 1
                await self._next()

    async def result(self, request: int) -> dict[str, Any]:
        """The answer to a request."""
        frame = await self.hears(
            lambda one: one.get("id") == request and "method" not in one
        )
        assert "result" in frame, frame
        return dict(frame["result"])

    async def error(self, request: int) -> dict[str, Any]:
        """The error that a request came to."""
        frame = await self.hears(
            lambda one: one.get("id") == request and "method" not in one
        )
        assert "error" in frame, frame
        return dict(frame["error"])

    async def shakes_hands(self) -> dict[str, Any]:
        """Open the connection as apps do."""
        result: dict[str, Any] = {}
        if not self.modern:
            request = self.asks(
                "initialize",
                {
                    "protocolVersion": HANDSHAKE,
                    "capabilities": self.capabilities,
                    "clientInfo": {"name": self.name, "version": "1"},
                },
            )
            result = await self.result(request)
            self.says({"method": "notifications/initialized"})
        await self.result(self.asks("tools/list"))
        return result

    def starts(self, tool: str, **arguments: Any) -> int:
        """Call a tool, and do not wait."""
        return self.asks("tools/call", {"name": tool, "arguments": arguments})

    async def calls(self, tool: str, **arguments: Any) -> str:
        """Call a tool; returns what its model reads."""
        return text_of(await self.result(self.starts(tool, **arguments)))

    async def brings(self, words: str, tool: str, **arguments: Any) -> str:
        """Call a tool until its model reads these words; what it then read."""

        async def read() -> str:
            read = await self.calls(tool, **arguments)
            return read if words in read else ""

        return await comes(read)

    def cancels(self, request: int) -> None:
        """Lose interest in an answer."""
        self.says(
            {"method": "notifications/cancelled", "params": {"requestId": request}}
        )

    def looks_away(self) -> None:
        """Read nothing for a while; what the server writes stays in the pipe."""
        self.transport.pause_reading()

    def looks_again(self) -> None:
        """Read on."""
        self.transport.resume_reading()

    async def until_written(self) -> None:
        """Wait until something lies in the pipe, which nobody reads."""

        async def lies_there() -> bool:
            return bool(select.select([self.descriptor], [], [], 0)[0])

        await comes(lies_there)

    async def pings(self) -> None:
        """Show that it is there."""
        method = "tools/list" if self.modern else "ping"
        await self.result(self.asks(method))

    async def _next(self) -> None:
        line = await self.reader.readline()
        assert line, "the server ended"
        frame = json.loads(line)
        if "method" in frame and "id" in frame:
            self.asked.append(frame)
            if self.answer is not None:
                self.says({"id": frame["id"], "result": self.answer(frame)})
        self.frames.append(frame)


def text_of(result: Mapping[str, Any]) -> str:
    """What a model reads of a result."""
    (content,) = result["content"]
    assert content["type"] == "text"
    assert "structuredContent" not in result
    return str(content["text"])


def environment(folder: Path, hub: str, name: str, **more: str) -> dict[str, str]:
    """What the app gives the server."""
    return {
        "PARLER_HOME": str(folder / name / ".parler"),
        "PARLER_HUB": hub,
        "PARLER_NAME": name,
        "PARLER_SHARED_IDENTITY": "1",
        **more,
    }


def home_of(env: Mapping[str, str]) -> Path:
    """Where its identity lives."""
    return Path(env["PARLER_HOME"])


@asynccontextmanager
async def serving(
    env: Mapping[str, str], folder: Path, **fields: Any
) -> AsyncIterator[Host]:
    """A host with its server, which ends with the block as when the app is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = os.pipe(), os.pipe()
    settings = resolve_settings(env, folder, folder, Flags(command="mcp"))
    server = ToolServer(
        settings, server_options(env, folder), env, descriptors=(ours[0], theirs[1])
    )
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    incoming = os.fdopen(theirs[0], "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), incoming
    )
    running = asyncio.ensure_future(server.run())  # noqa: TID251 - awaited below
    host = Host(
        reader=reader, out=ours[1], transport=transport, descriptor=theirs[0], **fields
    )
    try:
        yield host
    finally:
        with suppress(OSError):
            os.close(ours[1])
        try:
            async with asyncio.timeout(WAIT):
                await running
        finally:
            transport.close()
            with suppress(OSError):
                os.close(theirs[1])
            with suppress(OSError):
                os.close(ours[0])


@asynccontextmanager
async def at_work(
    env: Mapping[str, str], folder: Path, **fields: Any
) -> AsyncIterator[Host]:
    """A host that has shaken hands."""
    async with serving(env, folder, **fields) as host:
        await host.shakes_hands()
        yield host
