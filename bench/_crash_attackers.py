"""Attackers that go on through all lives of a hub, in a process of their own.

    python -m bench._crash_attackers URL

They want its memory, places, decoding time and disk while it is killed and started.
Each dials again for as long as the input lasts; then what they got is printed as JSON.
"""

import asyncio
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import msgspec

from bench._load import BINARY, Agent, LoadFailed, framed
from parler.identity.signing import Keypair

ADDRESS = "127.0.0.66"
BACK_SECS = 0.05
"""Before a hub that is gone is dialled again."""

BLOB_BYTES = 64 * 1024
TEXT_BYTES = 30_000
BRACKETS = framed(b'{"op":"ping","x":[' + b"[]," * 600_000 + b"[]]}")
BEGUN = framed(b" " * 2**19)[:-1]
"""A message but for its last byte."""

Got = Counter[str]
GONE = (OSError, LoadFailed, TimeoutError)


async def _enter(url: str) -> Agent:
    return await Agent.connect(url, Keypair.generate(), source=ADDRESS)


async def _own_room(agent: Agent) -> dict[str, str]:
    invited = await agent.ask("invited", "invite", kind="channel")
    return {"kind": "room", "room": invited["room"]}


async def messages(url: str, got: Got) -> None:
    """Long messages to a room of one's own, each a write to the hub's disk."""
    parts = [{"kind": "text", "text": "x" * TEXT_BYTES}]
    async with await _enter(url) as eve:
        target = await _own_room(eve)
        while True:
            await eve.ask("sent", "send", target=target, parts=parts)
            got["messages"] += 1
            await asyncio.sleep(0.1)


async def uploads(url: str, got: Got) -> None:
    """Files, one after the other."""
    async with await _enter(url) as eve:
        target = await _own_room(eve)
        while True:
            data = os.urandom(BLOB_BYTES)
            digest = hashlib.sha256(data).hexdigest()
            announced = {"target": target, "sha256": digest, "size": len(data)}
            await eve.ask("blob_ready", "put_blob", **announced)
            eve.write(framed(data, kind=BINARY))
            if (await eve.next())["type"] != "blob_stored":
                raise LoadFailed("an upload was refused")
            got["uploads"] += 1
            await asyncio.sleep(0.2)


async def brackets(url: str, got: Got) -> None:
    """Frames of 2 MB that take long to read."""
    async with await _enter(url) as eve:
        while True:
            eve.write(BRACKETS)
            await eve.next()
            got["brackets"] += 1
            await asyncio.sleep(0.1)


async def handshakes(url: str, got: Got) -> None:
    """A new identity, again and again."""
    while True:
        async with await _enter(url):
            got["handshakes"] += 1


async def begun(url: str, got: Got) -> None:
    """Messages that never end, of 20 identities."""
    async with AsyncExitStack() as held:
        for _ in range(20):
            eve = await held.enter_async_context(await _enter(url))
            eve.write(BEGUN)
            got["begun"] += 1
        await eve.closed


async def unread(url: str, got: Got) -> None:
    """Pulls of 20 connections that read no answer, of a room that goes on talking."""
    async with AsyncExitStack() as held:
        owner = await held.enter_async_context(await _enter(url))
        invited = await owner.ask("invited", "invite", kind="channel", maxUses=100)
        pull = {"op": "pull", "room": invited["room"], "waitSecs": 60}
        for _ in range(20):
            eve = await held.enter_async_context(await _enter(url))
            await eve.ask("joined", "redeem", code=invited["code"])
            eve.stop_reading()
            for number in range(16):
                eve.write(framed(msgspec.json.encode({**pull, "rid": str(number)})))
            got["unread"] += 1
        target = {"kind": "room", "room": invited["room"]}
        parts = [{"kind": "text", "text": "x" * TEXT_BYTES}]
        while True:
            await owner.ask("sent", "send", target=target, parts=parts)
            await asyncio.sleep(0.5)


async def silent(url: str, got: Got) -> None:
    """100 sockets that say nothing."""
    host, _, port = url.partition("://")[2].partition(":")
    async with AsyncExitStack() as held:
        for _ in range(100):
            reader, writer = await asyncio.open_connection(
                host, int(port), local_addr=(ADDRESS, 0)
            )
            held.callback(writer.close)
            got["silent"] += 1
        await reader.read()


ATTACKS: tuple[Callable[[str, Got], Awaitable[None]], ...] = (
    messages,
    uploads,
    brackets,
    handshakes,
    begun,
    unread,
    silent,
)


async def _again(
    attack: Callable[[str, Got], Awaitable[None]], url: str, got: Got
) -> None:
    while True:
        with suppress(*GONE):  # the hub died, or has had enough
            await attack(url, got)
        await asyncio.sleep(BACK_SECS)


async def _attack(url: str) -> Got:
    got: Got = Counter({attack.__name__: 0 for attack in ATTACKS})
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, __: None)  # connections are lost all the time
    tasks = [asyncio.create_task(_again(attack, url, got)) for attack in ATTACKS]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return got


def main(url: str) -> None:
    """Attack until the input ends; say what came of it, and go without a goodbye."""
    print(json.dumps(asyncio.run(_attack(url))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
