"""Peers that want to hold up a hub: it ends their connections and goes on."""

import asyncio
import hashlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT
from tests._support.processes import HubProcess

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(
        tmp_path, PARLER_HUB_IDLE_TIMEOUT_SECS="1", PARLER_HUB_MAX_HTTP_PER_MIN="0"
    )
    yield process
    process.stop()


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A masked client frame; the mask is zero, so the payload is as it is."""
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    return head + b"\0\0\0\0" + payload


def upgraded(hub: HubProcess, *, small: bool = False) -> socket.socket:
    host, _, port = hub.url.removeprefix("ws://").partition(":")
    peer = socket.socket()
    if small:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(WAIT)
    peer.connect((host, int(port)))
    peer.sendall(UPGRADE.encode())
    assert peer.recv(12) == b"HTTP/1.1 101"
    return peer


async def live(hub: HubProcess) -> int:
    host, _, port = hub.url.removeprefix("ws://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /api/hub HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(WAIT):
        answer = await reader.read()
    writer.close()
    body = answer.partition(b"\r\n\r\n")[2]
    return int(json.loads(body)["stats"]["liveConnections"])


def send_until_dropped(peer: socket.socket, data: bytes, *, at_most: int) -> bool:
    """Whether the hub ended the connection before it took so many bytes."""
    try:
        for _ in range(at_most // len(data)):
            peer.sendall(data)
    except OSError:
        return True
    return False


async def test_a_peer_that_floods_with_pings_is_cut_off(hub: HubProcess) -> None:
    peer = upgraded(hub)
    pings = frame(9, b"x" * 125) * 64
    assert await asyncio.to_thread(send_until_dropped, peer, pings, at_most=50 * 2**20)
    peer.close()


async def test_a_peer_that_sends_endless_fragments_is_cut_off(hub: HubProcess) -> None:
    peer = upgraded(hub)
    peer.sendall(frame(1, b"", fin=False))
    scraps = frame(0, b"", fin=False) * 4096
    assert await asyncio.to_thread(send_until_dropped, peer, scraps, at_most=50 * 2**20)
    peer.close()


async def test_a_stranger_that_sends_garbage_is_cut_off(hub: HubProcess) -> None:
    async with PlainAgent.create("eve").dial(hub.url, sign_in=False) as eve:
        for _ in range(100):
            await eve.raw("{")
        assert await eve.closed() == 1008


async def test_a_stranger_gets_no_large_frame_parsed(hub: HubProcess) -> None:
    async with PlainAgent.create("eve").dial(hub.url, sign_in=False) as eve:
        await eve.expect_raw_error("too_large", "{" + " " * 70_000)
        await eve.closed()


async def test_a_member_that_reads_nothing_does_not_hold_its_place(
    hub: HubProcess,
) -> None:
    """Its idle time runs out though its goodbye can never be written."""
    async with PlainAgent.create("eve").dial(hub.url) as eve:
        room = (await eve.ask("invited", "invite", kind="channel"))["room"]
        for _ in range(8):
            await eve.send_text(room, "x" * 500_000)
        eve.websocket.transport.pause_reading()
        for _ in range(20):
            await eve.post("pull", room=room, since=0)
        async with asyncio.timeout(WAIT):
            while await live(hub) > 0:  # noqa: ASYNC110  (in another process)
                await asyncio.sleep(0.05)


async def test_blobs_that_are_not_fetched_take_no_open_files(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path, PARLER_HUB_MAX_OPS_PER_MIN="0")
    try:
        async with PlainAgent.create("ann").dial(hub.url) as ann:
            room = (await ann.ask("invited", "invite", kind="channel"))["room"]
            data = os.urandom(2**20)
            digest = hashlib.sha256(data).hexdigest()
            await ann.ask(
                "blob_ready",
                "put_blob",
                target={"kind": "room", "room": room},
                sha256=digest,
                size=len(data),
            )
            await ann.raw(data)
            assert (await ann.next_reply())["type"] == "blob_stored"
            ann.websocket.transport.pause_reading()
            for _ in range(200):
                await ann.post("get_blob", id=digest)
            async with PlainAgent.create("bob").dial(hub.url) as bob:
                await bob.ask("pong", "ping")
            assert hub.open_files() < 60
    finally:
        hub.stop()
