"""The driver of one WebSocket: what it keeps, and for how long."""

import asyncio
import gc

import pytest

from hub.server import uvicorn_server
from hub.server.uvicorn_server import Driver
from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT
from tests.hub.conftest import StartHub


def drivers() -> int:
    gc.collect()
    return sum(isinstance(each, Driver) for each in gc.get_objects())


def test_a_closed_connection_is_not_kept_for_its_deadline(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storm of handshakes left everything it made behind."""
    monkeypatch.setattr(uvicorn_server, "CLOSE_SECS", 600.0)
    hub = start_hub()

    async def come_and_go() -> None:
        for _ in range(20):
            async with PlainAgent.create("ann").dial(hub.url):
                pass
        async with asyncio.timeout(WAIT):
            while drivers():  # noqa: ASYNC110  (in another thread)
                await asyncio.sleep(0.01)

    asyncio.run(come_and_go())
