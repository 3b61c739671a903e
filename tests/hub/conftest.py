"""A real hub on a loopback socket, in a thread of its own.

The tests speak HTTP to it from outside, and may look at the hub's parts inside.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.app import Hub, build_app
from hub.server.uvicorn_server import bind, make_server, serve
from hub.settings import Settings
from tests._support.plainhttp import Answer, fetch
from tests._support.polling import WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningHub:
    """A hub that serves, and where."""

    hub: Hub
    url: str

    def get(self, target: str, **options: Any) -> Answer:
        """One request on a connection of its own."""
        return asyncio.run(fetch(self.url, target, **options))


StartHub = Callable[..., RunningHub]


@contextmanager
def running(settings: Settings) -> Iterator[RunningHub]:
    """Serve a hub on a free port until the test is over."""
    started: Future[tuple[RunningHub, Callable[[], object]]] = Future()

    async def main() -> None:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        hub = Hub(settings)
        hub.listening_on("127.0.0.1", port)
        hub.store.start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = make_server(
            build_app(hub),
            take_seat=hub.take_seat,
            memory=hub.services.quotas.memory,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(serve(server, listener, stop))
                where = RunningHub(hub=hub, url=f"ws://127.0.0.1:{port}")
                started.set_result(
                    (where, partial(loop.call_soon_threadsafe, stop.set))
                )
                await stop.wait()
                await hub.drain()
        finally:
            listener.close()
            await hub.store.close()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    where, stop = started.result(WAIT)
    try:
        yield where
    finally:
        stop()
        thread.join(WAIT)
        assert not thread.is_alive(), "the hub did not stop"


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[StartHub]:
    """Starts hubs with the given settings; they stop after the test."""
    with ExitStack() as stack:

        def start(**changes: Any) -> RunningHub:
            db = tmp_path / f"{changes.pop('folder', 'hub')}.sqlite"
            values: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": 0,
                "db": db,
            } | changes
            return stack.enter_context(running(Settings(**values)))

        yield start


@contextmanager
def running_hub(folder: Path) -> Iterator[RunningHub]:
    """A hub in a folder, without a budget per address."""
    settings = Settings(
        host="127.0.0.1", port=0, db=folder / "hub.sqlite", max_http_per_min=0
    )
    with running(settings) as started:
        yield started


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One such hub for the tests of a module."""
    with running_hub(tmp_path_factory.mktemp("hub")) as started:
        yield started
