"""Who is told the secret of this machine's own hub, at first and ever after."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="a hub needs POSIX")

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from parler.identity.settings import Flags, Settings, resolve_settings
from parler.local_hub import Record, State, hub_paths, look, start, stop, write_record
from parler.runtime.bootstrap import identity_of
from parler.runtime.dialling import LocalStart, dialled
from parler.wire.replies import Pong
from parler.wire.requests import Ping
from tests._support.polling import WAIT
from tests._support.processes import HubProcess


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def base(home: Path, port: int) -> Iterator[Path]:
    """A home whose own hub is meant to be at `port`; what runs is stopped."""
    base = home / ".parler"
    write_record(hub_paths(base), Record(addr=f"127.0.0.1:{port}"))
    yield base
    if look(hub_paths(base)).state is not State.STOPPED:
        stop(base, force=True)


def settings_of(base: Path, url: str) -> Settings:
    variables = {"PARLER_HOME": str(base), "PARLER_HUB": url}
    return resolve_settings(variables, base.parent, base.parent, Flags(command="rooms"))


@pytest.mark.parametrize("apart", [False, True], ids=["own home", "home apart"])
async def test_secret_is_not_told_to_who_took_the_port_of_the_own_hub(
    base: Path, port: int, tmp_path: Path, *, apart: bool
) -> None:
    url = f"ws://127.0.0.1:{port}"
    start(base, Record(addr=f"127.0.0.1:{port}"))
    secret = hub_paths(base).local_secret.read_text("utf-8").strip()
    async with connect(f"{url}/ws") as hub:
        await hub.send(json.dumps({"op": "hello", "id": "0" * 64, "name": "eve"}))
        challenge = await hub.recv()
    proofs: asyncio.Queue[str] = asyncio.Queue()

    async def fake(victim: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            await victim.recv()
            await victim.send(challenge)
            proofs.put_nowait(str(await victim.recv()))

    def description(server: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        return server.respond(HTTPStatus.OK, '{"protocolVersion":"1.0"}')

    settings = settings_of(tmp_path / "elsewhere" if apart else base, url)
    identity, _ = identity_of(settings)
    local = LocalStart(revive=True) if not apart else None
    async with dialled(url, settings, identity, local=local):
        await asyncio.to_thread(stop, base)
        taken = serve(fake, "127.0.0.1", port, process_request=description)
        async with taken, asyncio.timeout(WAIT):
            proof = await proofs.get()
    assert secret not in proof
    assert json.loads(proof)["sig"]


async def test_client_of_a_hub_without_secret_is_let_in_when_it_has_one(
    base: Path,
) -> None:
    paths = hub_paths(base)
    old = HubProcess(paths.folder, PARLER_HUB_RUNNING_FILE=str(paths.running))
    settings = settings_of(base, old.url)
    write_record(paths, Record(addr=old.url.removeprefix("ws://")))
    identity, _ = identity_of(settings)
    async with dialled(old.url, settings, identity) as client:
        await asyncio.to_thread(old.stop)
        await asyncio.to_thread(start, base, Record(addr=old.url.removeprefix("ws://")))
        assert paths.local_secret.exists()
        await client.request(Ping(), Pong, timeout=WAIT)
