"""Strangers that stop on every stage of the way in: the hub goes on, and lets go."""

import asyncio

import pytest

from bench._hub_peers import stages
from hub.server import uvicorn_server
from hub.server.http_driver import HttpDriver
from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT, in_time
from tests.hub.conftest import RunningHub, StartHub

OF_EACH = 5


async def test_who_stops_on_the_way_in_is_let_go_at_the_deadline_and_holds_up_nobody(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(deadline: float) -> None:
        monkeypatch.setattr(HttpDriver, "request_secs", deadline)
        monkeypatch.setattr(uvicorn_server, "CLOSE_SECS", deadline)
        hub = start_hub(handshake_timeout_secs=deadline, max_http_per_min=0)
        await _hold_up(hub)

    await in_time(story, 0.5)


async def _hold_up(hub: RunningHub) -> None:
    host, _, port = hub.url.removeprefix("ws://").partition(":")
    writers: list[asyncio.StreamWriter] = []
    ends: list[asyncio.Task[None]] = []
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        for beginning in [*stages().values()] * OF_EACH:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(beginning)
            writers.append(writer)
            ends.append(group.create_task(_end(reader)))
        async with PlainAgent.create("ann").dial(hub.url) as ann:
            await ann.ask("pong", "ping")
            assert not all(end.done() for end in ends), "nobody was there any more"
        await asyncio.wait(ends)
    for writer in writers:
        writer.close()
    assert hub.hub.live_connections == 0


async def _end(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass
