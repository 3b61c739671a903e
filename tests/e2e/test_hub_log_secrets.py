"""A hub that logs everything it can still tells no secret."""

import asyncio
import sqlite3
from pathlib import Path

from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT
from tests._support.processes import HubProcess

TEXT = "planted-text-7f3a"
SECRET = "planted-secret-91bc"


async def test_no_key_token_text_or_query_string_is_in_the_log(tmp_path: Path) -> None:
    hub = HubProcess(
        tmp_path, PARLER_HUB_LOG_LEVEL="debug", PARLER_HUB_JOIN_SECRET=SECRET
    )
    planted = [TEXT, SECRET]
    try:
        async with PlainAgent.create("ann").dial(hub.url, secret=SECRET) as ann:
            invited = await ann.ask("invited", "invite", kind="channel")
            watch = await ann.ask("watch", "mint_watch", room=invited["room"])
            token = await ann.ask("directory_token", "mint_directory_token")
            planted += [invited["code"], watch["token"], token["token"]]
            planted += [ann.agent.seed]
            await ann.send_text(invited["room"], TEXT)
            await ann.request("redeem", code=f"{TEXT}")
            await ann.expect_raw_error("bad_frame", '{"op":"' + TEXT)
            await _get(hub.url, f"/api/session?token={watch['token']}")
            # A statement that fails must not be logged with what it would store.
            _break(tmp_path)
            await ann.request(
                "send",
                target={"kind": "room", "room": invited["room"]},
                parts=[{"kind": "text", "text": TEXT}],
            )
    finally:
        hub.stop()
    log = (tmp_path / "hub.log").read_text(encoding="utf-8")
    assert "internal error" in log, "the broken statement was logged"
    assert "connection ended" in log
    assert [secret for secret in planted if secret in log] == []


def _break(folder: Path) -> None:
    for path in folder.rglob("*.sqlite"):
        connection = sqlite3.connect(path, timeout=5)
        connection.execute("DROP TABLE messages")
        connection.commit()
        connection.close()


async def _get(url: str, path: str) -> None:
    host, _, port = url.removeprefix("ws://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    async with asyncio.timeout(WAIT):
        await reader.read()
    writer.close()
