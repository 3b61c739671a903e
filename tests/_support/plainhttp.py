"""A small HTTP/1.1 client: sends what it is told, reads what `content-length` says.

It decodes no chunks and follows nothing, like the clients a hub meets. Written from
the protocol, not from the product.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests._support.polling import WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response: names of headers in lower case, the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def json(self) -> Any:
        """The body, which must be JSON and say so."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


@dataclass(slots=True)
class HttpLink:
    """One connection to a hub's HTTP side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    async def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send a request and read its answer."""
        fields = {"Host": self.host} | dict(headers or {})
        if body:
            fields["Content-Length"] = str(len(body))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields.items()
        )
        await self.raw(head.encode("latin-1") + b"\r\n" + body)
        return await self.answer(to_head=method == "HEAD")

    async def raw(self, data: bytes) -> None:
        """Send bytes exactly as given."""
        self.writer.write(data)
        async with asyncio.timeout(WAIT):
            await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read one response."""
        async with asyncio.timeout(WAIT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
            assert status_line.startswith("HTTP/1.1 "), status_line
            headers: dict[str, str] = {}
            for line in lines:
                name, _, value = line.partition(":")
                assert name.lower() not in headers, f"{name} comes twice"
                headers[name.lower()] = value.strip()
            length = 0 if to_head else int(headers["content-length"])
            body = await self.reader.readexactly(length)
        return Answer(status=int(status_line.split()[1]), headers=headers, body=body)

    async def closed(self) -> bytes:
        """Wait until the hub closes; returns what it still said."""
        async with asyncio.timeout(WAIT):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def http_link(
    url: str, *, local_address: str | None = None
) -> AsyncIterator[HttpLink]:
    """Connect to the HTTP side of the hub at `url`, in any of its spellings."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    port = parts.port or (443 if secure else 80)
    assert parts.hostname is not None
    local = (local_address, 0) if local_address else None
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(
            parts.hostname,
            port,
            ssl=ssl.create_default_context() if secure else None,
            local_addr=local,
        )
    try:
        yield HttpLink(reader, writer, parts.netloc)
    finally:
        writer.close()
        try:
            async with asyncio.timeout(WAIT):
                await writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass


async def fetch(
    url: str,
    target: str,
    *,
    local_address: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request on a connection of its own."""
    async with http_link(url, local_address=local_address) as link:
        return await link.ask(target, method=method, headers=headers, body=body)


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
