"""Those who want all of a hub for themselves, each a program of its own.

    python -m tests.attack._attackers NAME URL

It prints a line when the attack is under way, goes on until its input ends, and then
prints what it got, as JSON. It says nothing of how long anything took: the machine is
shared with whoever it attacks.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Coroutine

from websockets.exceptions import ConnectionClosed

from tests._support.plainclient import Link, PlainAgent, UnexpectedFrame

ADDRESS = "127.0.0.66"
"""Where all of them come from, unless they say otherwise."""

GONE = (OSError, ConnectionClosed, UnexpectedFrame, TimeoutError)
MIB = 2**20
Got = dict[str, object]
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


_open: list[object] = []
"""What holds connections open; nothing here is closed but by going away."""


async def signed_in(url: str, count: int) -> list[Link]:
    """As many connections as the hub lets in, each of an identity of its own."""
    links: list[Link] = []
    while len(links) < count:
        names = range(len(links), min(len(links) + 16, count))
        agents = [
            PlainAgent.create(f"eve{name}", local_address=ADDRESS) for name in names
        ]
        dialled = [agent.dial(url) for agent in agents]
        _open.extend(dialled)
        came = await asyncio.gather(
            *(each.__aenter__() for each in dialled), return_exceptions=True
        )
        links += [link for link in came if isinstance(link, Link)]
        if len(links) <= names[-1]:
            break
    return links


async def until_told() -> None:
    """Say that the attack is on, and go on until the input ends."""
    print("on", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)


async def meanwhile(*attacks: Coroutine[object, object, None]) -> None:
    """Do all of these until the input ends."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attack) for attack in attacks]
        await asyncio.sleep(1)
        await until_told()
        for task in tasks:
            task.cancel()


async def silent_sockets(url: str) -> Got:
    """1,600 sockets that say nothing, opened again as they are closed."""
    return await _hold_sockets(url, b"")


async def silent_upgrades(url: str) -> Got:
    """1,600 WebSockets that never sign in."""
    return await _hold_sockets(url, UPGRADE)


async def _hold_sockets(url: str, words: bytes) -> Got:
    host, _, port = url.removeprefix("ws://").partition(":")
    opened = 0

    async def hold() -> None:
        nonlocal opened
        while True:
            writer = None
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    host, int(port), local_addr=(ADDRESS, 0)
                )
                opened += 1
                writer.write(words)
                while await reader.read(4096):
                    pass
            if writer is not None:
                writer.close()
            await asyncio.sleep(5)

    await meanwhile(*(hold() for _ in range(1600)))
    return {"sockets": opened}


async def silent_sign_ins(url: str) -> Got:
    """1,024 identities that sign in and say nothing more."""
    links = await signed_in(url, 1024)
    await until_told()
    return {"places": len(links)}


async def unread_pulls(url: str) -> Got:
    """100 connections with 32 parked pulls each, and one message of 500 KB for all."""
    links = await signed_in(url, 100)
    owner = links[0]
    invited = await owner.ask("invited", "invite", kind="channel", maxUses=200)
    for link in links[1:]:
        await link.ask("joined", "redeem", code=invited["code"])
    room = invited["room"]
    for link in links:
        for number in range(32):
            await link.post("pull", room=room, waitSecs=60, rid=str(number))
        link.websocket.transport.pause_reading()
    sender = PlainAgent.create("mallory", local_address=ADDRESS)
    async with sender.dial(url) as mallory:
        await mallory.ask("joined", "redeem", code=invited["code"])
        large = [{"kind": "text", "text": "x" * 500_000}]
        target = {"kind": "room", "room": room}
        # While it still reads that many pulls the hub may have no room for this.
        while (await mallory.request("send", target=target, parts=large))[
            "type"
        ] != "sent":
            pass
        await until_told()
    return {"connections": len(links)}


async def begun_messages(url: str) -> Got:
    """200 identities with all but the last byte of a message of 2 MiB each."""
    head = bytes([0x81, 0x80 | 127]) + (2 * MIB).to_bytes(8) + bytes(4)
    links = await signed_in(url, 200)
    for link in links:
        with contextlib.suppress(OSError):
            link.websocket.transport.write(head + b" " * (2 * MIB - 1))
    await until_told()
    return {"connections": len(links)}


async def handshakes(url: str) -> Got:
    """Handshakes one after the other, for as long as it may."""
    count = 0

    async def storm() -> None:
        nonlocal count
        while True:
            agent = PlainAgent.create("eve", local_address=ADDRESS)
            with contextlib.suppress(*GONE):
                async with agent.dial(url):
                    count += 1

    await meanwhile(*(storm() for _ in range(16)))
    return {"handshakes": count}


async def brackets(url: str) -> Got:
    """60 identities, together seven frames a second of 2 MB of brackets."""
    frame = '{"op":"ping", "x":[' + "[]," * 660_000 + "[]]}"
    sent = 0
    links = await signed_in(url, 60)

    async def post() -> None:
        nonlocal sent
        while True:
            for link in links:
                with contextlib.suppress(*GONE):
                    await link.raw(frame)
                    sent += 1
                await asyncio.sleep(1 / 7)

    await meanwhile(post())
    return {"frames": sent}


async def uploads(url: str) -> Got:
    """One key that uploads as many files as it may, then messages of 900 KB."""
    got = {"blobs": 0, "messages": 0}
    agent = PlainAgent.create("eve", local_address=ADDRESS)
    async with agent.dial(url) as eve:
        room = (await eve.ask("invited", "invite", kind="channel"))["room"]

        async def fill() -> None:
            for number in range(100):
                data = number.to_bytes(4) + os.urandom(8) * (2 * MIB)
                ready = await eve.request(
                    "put_blob",
                    target={"kind": "room", "room": room},
                    sha256=hashlib.sha256(data).hexdigest(),
                    size=len(data),
                )
                if ready["type"] == "error":
                    break
                await eve.websocket.send(data)
                if (await eve.next_reply())["type"] == "blob_stored":
                    got["blobs"] += len(data)
            for _ in range(240):
                sent = await eve.request(
                    "send",
                    target={"kind": "room", "room": room},
                    parts=[{"kind": "text", "text": "x" * 900_000}],
                )
                got["messages"] += 900_000 * (sent["type"] == "sent")

        await meanwhile(fill())
    return dict(got)


ATTACKERS: dict[str, Callable[[str], Awaitable[Got]]] = {
    attack.__name__: attack
    for attack in (
        silent_sockets,
        silent_upgrades,
        silent_sign_ins,
        unread_pulls,
        begun_messages,
        handshakes,
        brackets,
        uploads,
    )
}


async def play(attack: Callable[[str], Awaitable[Got]], url: str) -> None:
    """Attack, say what came of it, and go without a goodbye."""
    print(json.dumps(await attack(url)), flush=True)  # noqa: T201
    os._exit(0)


def main() -> None:
    """Be the attacker that was asked for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    attack = ATTACKERS[sys.argv[1]]
    asyncio.run(play(attack, sys.argv[2]))


if __name__ == "__main__":
    main()
