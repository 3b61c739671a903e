"""Asking an address whether a hub is there, without saying who asks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from parler.local_hub.probe import ask

HUB = b'{"name":"a \\u001b[2J hub","mode":"private","protocolVersion":"0.2"}'


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answer(body: bytes, *, date: float | None = None, status: bytes = b"200") -> bytes:
    head = b"HTTP/1.1 " + status + b" x\r\n"
    if date is not None:
        head += b"Date: " + formatdate(date, usegmt=True).encode() + b"\r\n"
    return head + b"\r\n" + body


async def test_a_hub_tells_what_it_is_and_what_time_it_has() -> None:
    now = time.time()
    async with answering(answer(HUB, date=now + 100)) as url:
        found = await ask(url, now=lambda: now)
    assert found is not None
    assert found.is_hub
    assert (found.mode, found.protocol) == ("private", "0.2")
    assert "\x1b" not in str(found.name)
    assert found.skew_secs is not None
    assert 99 <= found.skew_secs <= 101


async def test_nobody_is_none() -> None:
    async with answering(b"") as url:
        pass
    assert await ask(url) is None
    assert await ask(url.replace("127.0.0.1", "localhost")) is None


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        answer(b"<html>"),
        answer(b"{}"),
        answer(b'{"protocolVersion":1}'),
        answer(b"[" * 60_000 + b"{"),
        answer(HUB, status=b"404"),
        answer(b"{" * 200_000),
    ],
)
async def test_anything_else_is_no_hub(said: bytes) -> None:
    async with answering(said) as url:
        found = await ask(url)
    assert found is not None
    assert not found.is_hub


async def test_who_says_nothing_is_not_waited_for() -> None:
    async with answering(None) as url:
        with pytest.raises(TimeoutError):
            await ask(url, timeout=0.05)


async def test_an_odd_clock_is_no_clock() -> None:
    body = b"HTTP/1.1 200 x\r\nDate: yesterday\r\n\r\n" + HUB
    async with answering(body) as url:
        found = await ask(url)
    assert found is not None
    assert found.skew_secs is None
