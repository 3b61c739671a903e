"""Loads of what a hub holds for its agents: blobs, memory, and many rooms."""

import asyncio
import hashlib
import itertools
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from bench import _machine
from bench._hub_process import WAIT_SECS, HubProcess
from bench._load import (
    BINARY,
    Agent,
    LoadFailed,
    Messages,
    expect,
    framed,
    open_room,
    sources,
)
from bench._meter import Figures, Load, Meter, Sender
from parler.identity.signing import Keypair
from parler.wire.base import RoomName

VOCABULARY = 5_000
UNREAD = 20
"""Messages that wait in each of many rooms."""

REMEMBERING = 8
BIG_FACTS = 5


@asynccontextmanager
async def _bystander(hub: HubProcess) -> AsyncIterator[Meter]:
    """Somebody who sends one message after the other, and how long each takes."""
    keypair, meter = Keypair.generate(), Meter(hub)
    room = await open_room(
        hub.url, f"aside-{os.urandom(4).hex()}", keypair, (), sources()
    )
    async with await Agent.connect(hub.url, keypair) as agent:
        sender = Sender(agent, Messages(keypair, room, text_bytes=300), meter)
        sender.fill(1)
        yield meter
        sender.fill(0)


def _delays(meter: Meter, suffix: str) -> Figures:
    if not meter.delays:
        raise LoadFailed("a bystander got nothing acknowledged")
    return {
        f"send_p50_ms_{suffix}": _machine.percentile(meter.delays, 0.5) * 1e3,
        f"send_p99_ms_{suffix}": _machine.percentile(meter.delays, 0.99) * 1e3,
        f"send_max_ms_{suffix}": max(meter.delays) * 1e3,
    }


# ------------------------------------------------------------------------------ blobs


async def blob(hub: HubProcess, load: Load) -> Figures:
    """Blobs up and down, one at a time, and what a bystander's sends take meanwhile."""
    keypair = Keypair.generate()
    contents = [os.urandom(load.blob_bytes) for _ in range(load.blobs)]
    room = await open_room(hub.url, "load", keypair, (), sources())
    async with (
        _bystander(hub) as beside,
        await Agent.connect(hub.url, keypair) as agent,
    ):
        await asyncio.sleep(load.warm_up)
        await beside.measure(load.seconds)
        quiet = _delays(beside, "without")
        before = hub.usage()
        beside.start()
        began = time.perf_counter()
        for data in contents:
            await upload(agent, room, data)
        uploaded = time.perf_counter() - began
        began = time.perf_counter()
        for data in contents:
            await download(agent, hashlib.sha256(data).hexdigest(), len(data))
        downloaded = time.perf_counter() - began
        after = hub.usage()
        mebibytes = load.blobs * load.blob_bytes / 2**20
        return {
            "upload_mib_per_s": mebibytes / uploaded,
            "download_mib_per_s": mebibytes / downloaded,
            "hub_cpu_ms_per_mib": (after.cpu_secs - before.cpu_secs) / mebibytes * 1e3,
            "growth_mib": (after.rss_kib - before.rss_kib) / 1024,
            **_delays(beside, "beside"),
            **quiet,
        }


async def upload(agent: Agent, room: RoomName, data: bytes) -> None:
    """Store a blob in a room."""
    await agent.ask(
        "blob_ready",
        "put_blob",
        target={"kind": "room", "room": room},
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    agent.write(framed(data, kind=BINARY))
    async with asyncio.timeout(WAIT_SECS):
        stored = await agent.next()
    if stored["type"] != "blob_stored":
        raise LoadFailed(f"an upload was answered by {stored}")


async def download(agent: Agent, digest: str, size: int) -> None:
    """Fetch a blob of that size."""
    agent.expect_binary()
    await agent.ask("blob_incoming", "get_blob", id=digest)
    async with asyncio.timeout(WAIT_SECS):
        await agent.whole(size)


# ----------------------------------------------------------------------------- memory


async def recall(hub: HubProcess, load: Load) -> Figures:
    """Facts remembered and found by words, and sends beside a fact of a mebibyte."""
    chance = random.Random(1)
    words = [f"w{number:x}{chance.getrandbits(20):x}" for number in range(VOCABULARY)]
    keypairs = [Keypair.generate() for _ in range(REMEMBERING)]
    room = await open_room(hub.url, "load", keypairs[0], keypairs[1:], sources())
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(await Agent.connect(hub.url, keypair))
            for keypair in keypairs
        ]
        filled = await ask_in_turns(
            hub,
            agents,
            "remembered",
            (
                {"op": "remember", "fact": {"room": room, "text": text}}
                for text in _texts(chance, words, load.facts, load.text_bytes)
            ),
        )
        queries = iter(lambda: " ".join(_pick(chance, words, 3)), None)
        found = await ask_in_turns(
            hub,
            agents,
            "recalled",
            ({"op": "recall", "query": query, "room": room} for query in queries),
            seconds=load.seconds,
        )
        return {
            "recall_per_s": found["per_s"],
            "hub_cpu_us_per_recall": found["cpu_us"],
            "p50_ms": found["p50_ms"],
            "p99_ms": found["p99_ms"],
            "remember_per_s": filled["per_s"],
            "hub_cpu_us_per_remember": filled["cpu_us"],
            **await _big_facts(hub, load, agents[0], chance),
        }


async def _big_facts(
    hub: HubProcess, load: Load, agent: Agent, chance: random.Random
) -> Figures:
    """What sends of others take beside facts as large as a message may be.

    All their words are different, which is what takes an index the longest.
    """
    each = load.fact_bytes * 15 // 16 // len(f"{1 << 31:x} ")
    texts = [
        " ".join(f"{chance.getrandbits(32) | 1 << 31:x}" for _ in range(each))
        for _ in range(BIG_FACTS)
    ]
    async with _bystander(hub) as beside:
        await asyncio.sleep(load.warm_up)
        await beside.measure(load.seconds)
        quiet = _delays(beside, "without")
        beside.start()
        taken = []
        for number, text in enumerate([*texts, *texts]):  # each is replaced once
            began = time.perf_counter()
            fact = {"key": f"big-{number % BIG_FACTS}", "text": text}
            await agent.ask("remembered", "remember", fact=fact)
            taken.append(time.perf_counter() - began)
        return {
            "big_remember_p50_ms": _machine.percentile(taken, 0.5) * 1e3,
            **_delays(beside, "beside_big"),
            **quiet,
        }


def _pick(chance: random.Random, words: list[str], count: int) -> list[str]:
    """Words of which some are common and most are rare."""
    return [words[int(len(words) * chance.random() ** 3)] for _ in range(count)]


def _texts(
    chance: random.Random, words: list[str], count: int, size: int
) -> "itertools.islice[str]":
    each = size // (len(words[-1]) + 1)
    endless = iter(lambda: " ".join(_pick(chance, words, each)), None)
    return itertools.islice(endless, count)


async def ask_in_turns(
    hub: HubProcess,
    agents: list[Agent],
    expected: str,
    frames: Any,
    *,
    seconds: float | None = None,
) -> Figures:
    """Ask on all connections, each one thing after the other."""
    meter = Meter(hub)
    meter.start()
    deadline = None if seconds is None else time.perf_counter() + seconds

    async def ask(agent: Agent) -> None:
        for frame in frames:
            began = time.perf_counter()
            agent.write(framed(msgspec.json.encode(frame)))
            async with asyncio.timeout(WAIT_SECS):
                answer = await agent.next()
            if answer["type"] != expected:
                raise LoadFailed(f"{frame['op']!r} was answered by {answer}")
            meter.delays.append(time.perf_counter() - began)
            meter.count += 1
            if deadline is not None and time.perf_counter() > deadline:
                return

    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(ask(agent))
    figures = meter.figures("one")
    return {
        "per_s": figures["one_per_s"],
        "cpu_us": figures["hub_cpu_us_per_one"],
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
    }


# ------------------------------------------------------------------------------ rooms


async def rooms(hub: HubProcess, load: Load) -> Figures:
    """One agent that lists all its rooms, in each of which something is unread."""
    owner, other = Keypair.generate(), Keypair.generate()
    async with await Agent.connect(hub.url, owner) as author:
        for number in range(load.rooms):
            made = await author.ask(
                "invited", "invite", kind="channel", room=f"r{number}"
            )
            room = made["room"]
            messages = Messages(owner, room, text_bytes=load.text_bytes)
            for _ in range(UNREAD):
                author.write(messages.next())
            for _ in range(UNREAD):
                expect(msgspec.json.encode(await author.next()), "sent")
    async with (
        await Agent.connect(hub.url, owner) as agent,
        await Agent.connect(hub.url, other) as beside,
    ):
        listed = await agent.ask("rooms", "rooms")
        if len(listed["rooms"]) != load.rooms:
            raise LoadFailed(f"{len(listed['rooms'])} rooms were listed")
        whole = itertools.repeat({"op": "rooms"})
        figures = await ask_in_turns(hub, [agent], "rooms", whole, seconds=load.seconds)
        pings = itertools.repeat({"op": "ping"})
        async with asyncio.TaskGroup() as group:
            group.create_task(
                ask_in_turns(hub, [agent], "rooms", whole, seconds=load.seconds)
            )
            answered = group.create_task(
                ask_in_turns(hub, [beside], "pong", pings, seconds=load.seconds)
            )
        return {
            "listing_per_s": figures["per_s"],
            "hub_cpu_us_per_listing": figures["cpu_us"],
            "p50_ms": figures["p50_ms"],
            "p99_ms": figures["p99_ms"],
            "ping_p99_ms_beside": answered.result()["p99_ms"],
        }
