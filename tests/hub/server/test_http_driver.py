"""What a stranger may make an HTTP connection keep, and for how long."""

import asyncio
from pathlib import Path

import pytest

from hub.server.http_driver import MAX_HEAD_BYTES, HttpDriver
from tests._support.plainhttp import http_link
from tests._support.polling import WAIT
from tests.hub.conftest import RunningHub, StartHub

BEGINNINGS = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a head": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
    "half a body": b"GET /health HTTP/1.1\r\nHost: 127.1\r\n"
    b"Content-Length: 9\r\n\r\n12",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_connection_whose_request_never_arrives_is_closed(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(HttpDriver, "request_secs", 0.05)
    hub = start_hub()

    async def story() -> None:
        async with http_link(hub.url) as link:
            await link.raw(beginning)
            await link.closed()

    asyncio.run(story())


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"a" * 70_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000],
    ids=["a long path", "a long header"],
)
def test_head_without_an_end_is_refused(hub: RunningHub, endless: bytes) -> None:
    async def story() -> bytes:
        async with http_link(hub.url) as link:
            for start in range(0, len(endless), MAX_HEAD_BYTES // 4):
                try:
                    await link.raw(endless[start : start + MAX_HEAD_BYTES // 4])
                except ConnectionError:
                    break
            return await link.closed()

    assert asyncio.run(story())[:12] in (b"HTTP/1.1 431", b"")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_hurts_nobody(hub: RunningHub, nonsense: bytes) -> None:
    async def story() -> bytes:
        async with http_link(hub.url) as link:
            await link.raw(nonsense)
            return await link.closed()

    assert asyncio.run(story())[:12] in (b"HTTP/1.1 400", b"")
    assert hub.get("/health").status == 200


def test_upgrade_to_something_else_is_an_ordinary_request(hub: RunningHub) -> None:
    answer = hub.get("/health", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert answer.status == 200


def test_reader_that_stops_reading_is_dropped(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(HttpDriver, "stall_secs", 0.05)
    _ask_until_dropped(start_hub(name="x" * 2**20))


def test_reader_that_stops_reading_is_dropped_at_once_where_memory_is_short(
    start_hub: StartHub,
) -> None:
    hub = start_hub(name="x" * 2**20, max_waiting_bytes=2**18)
    _ask_until_dropped(hub)
    memory = hub.hub.services.quotas.memory
    assert (memory.held, memory.cut_off) == (0, 1)


def _ask_until_dropped(hub: RunningHub) -> None:
    async def story() -> None:
        async with http_link(hub.url) as link:
            for _ in range(20):
                await link.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # Nothing is read until the hub gave up.
            async with asyncio.timeout(WAIT):
                while True:
                    try:
                        await link.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    except ConnectionError:
                        return
                    await asyncio.sleep(0)

    asyncio.run(story())
