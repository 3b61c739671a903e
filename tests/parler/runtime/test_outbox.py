"""What is said while the hub is away: kept, told, stored once, and bounded."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from parler.runtime.log_file import LogFile
from parler.runtime.outbox import MAX_QUEUED, Outbox, OutboxFull, Queued
from parler.wire.base import RoomName
from tests._support.mcp_hosts import at_work, environment, home_of
from tests._support.mcp_peers import peer
from tests._support.polling import comes
from tests._support.processes import HubProcess


async def test_what_is_said_while_the_hub_is_down_is_stored_once_it_is_back(
    tmp_path: Path,
) -> None:
    hub = HubProcess(tmp_path / "hub")
    try:
        env = environment(tmp_path, hub.url, "ann")
        async with at_work(env, tmp_path) as host:
            opened = await host.calls("parler_open_session", context="the plan")
            room = RoomName(opened.split()[1])
            await host.calls("parler_send", text="before")
            hub.kill()
            for text in ("during one", "during two"):
                read = await host.calls("parler_send", text=text)
                assert "QUEUED, NOT YET STORED" in read
                assert "hub" in read.splitlines()[0]
            assert "2 messages are queued" in await host.calls("parler_roster")
            mode = (home_of(env) / "outbox.json").stat().st_mode
            assert mode & 0o077 == 0
        async with at_work(env, tmp_path) as host:  # a new process takes them over
            await host.calls("parler_send", text="during three")
            hub.start()

            async def told() -> str:
                read = await host.calls("parler_recv")
                return read if "is stored now" in read else ""

            await comes(told)

            async def said() -> list[str]:
                read = await host.calls("parler_recv", since=0, limit=50)
                said = [
                    line.split("]: ")[1] for line in read.splitlines() if "]: " in line
                ]
                return said if "during three" in said else []

            assert (await comes(said))[1:] == [
                "before",
                "during one",
                "during two",
                "during three",
            ]
            assert room
    finally:
        hub.stop()


async def test_a_message_that_is_refused_later_is_told(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host:
        await host.calls("parler_open_session")
        home = home_of(env)
    gone = {
        "client_id": str(uuid.uuid4()),
        "hub": hub.url.removeprefix("ws://"),
        "tool": "parler_send",
        "arguments": {"text": "into the void", "room": "room.nowhere"},
        "queued_at": 1,
    }
    path = home / "outbox.json"
    path.write_text(json.dumps({"queued": [gone]}), encoding="utf-8")
    path.chmod(0o600)
    async with at_work(env, tmp_path) as host:

        async def told() -> str:
            read = await host.calls("parler_rooms")
            return read if "was NOT sent" in read else ""

        assert "not a member" in await comes(told)
    assert json.loads(path.read_text(encoding="utf-8")) == {"queued": []}


def queued(**fields: Any) -> Queued:
    known: dict[str, Any] = {
        "client_id": str(uuid.uuid4()),
        "hub": "127.0.0.1:9",
        "tool": "parler_send",
        "arguments": {"text": "hello"},
        "queued_at": 1,
    }
    return Queued(**(known | fields))


def outbox(home: Path) -> Outbox:
    async def post(ctx: object, one: Queued) -> str:
        raise AssertionError("there is no hub")

    return Outbox(
        home,
        post=post,
        told=lambda text, key: None,
        log=LogFile(home, now=lambda: 0, name="test"),
    )


async def test_an_outbox_is_bounded_in_number_and_size(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    with pytest.raises(OutboxFull):
        await box.add(queued(arguments={"text": "x" * 950_000}))
    for _ in range(MAX_QUEUED):
        await box.add(queued())
    with pytest.raises(OutboxFull):
        await box.add(queued())
    assert await box.count("ws://127.0.0.1:9") == MAX_QUEUED
    assert await box.count("ws://127.0.0.1:10") == 0


async def test_a_damaged_outbox_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.json"
    path.write_text("{", encoding="utf-8")
    path.chmod(0o600)
    box = outbox(tmp_path)
    await box.add(queued())
    assert await box.count("ws://127.0.0.1:9") == 1
    assert (tmp_path / "outbox.damaged.json").exists()


async def test_windows_share_an_outbox(tmp_path: Path) -> None:
    one, other = outbox(tmp_path), outbox(tmp_path)
    await asyncio.gather(*(box.add(queued()) for box in (one, other) for _ in range(5)))
    assert await one.count("ws://127.0.0.1:9") == 10


async def test_what_is_sent_twice_is_stored_once(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
        key, room = await bob.opens()
        await host.calls("parler_join_session", key=key)
        again = {
            "client_id": "the-very-same",
            "hub": hub.url.removeprefix("ws://"),
            "tool": "parler_send",
            "arguments": {"text": "only once", "room": room},
            "queued_at": 1,
        }
        path = home_of(env) / "outbox.json"
        for _ in range(2):
            path.write_text(json.dumps({"queued": [again]}), encoding="utf-8")
            path.chmod(0o600)
            await host.calls("parler_send", text="stirs it")

            async def empty() -> bool:
                return json.loads(path.read_text(encoding="utf-8")) == {"queued": []}

            await comes(empty)
        said = await bob.texts(room)
        assert said.count("only once") == 1
        assert said.count("stirs it") == 2
