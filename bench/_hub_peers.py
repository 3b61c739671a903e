"""Loads whose peers do not do their part: they read nothing, or never come in."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from bench import _machine
from bench._hub_process import WAIT_SECS, HubProcess
from bench._load import (
    Agent,
    LoadFailed,
    Messages,
    expect,
    framed,
    open_room,
    sources,
)
from bench._meter import Figures, Load
from parler.identity.signing import Keypair
from parler.wire.base import RoomName

TICK_SECS = 0.005
SAMPLES = 40
"""How often the hub's memory is looked at while messages pass."""

DEADLINE_SECS = 60.0
"""Until when a hub must have closed whoever never came in."""

PROBE_SECS = 0.05

# ------------------------------------------------------------ a peer that never reads


async def slow(hub: HubProcess, load: Load) -> Figures:
    """What a subscriber that reads nothing costs the hub and the others.

    As many messages pass without it as with it, half of them before and half after;
    what is compared is of one hub, so nothing but the slow peer makes the difference.
    """
    owner, *others = (Keypair.generate() for _ in range(2 + load.listeners))
    froms = sources()
    async with AsyncExitStack() as stack:
        room = await open_room(hub.url, "load", owner, others, froms)
        fresh = hub.usage().rss_kib
        crowd = Crowd(hub, load, owner, room)
        crowd.agent = await stack.enter_async_context(
            await Agent.connect(hub.url, owner)
        )
        for keypair in others[1:]:
            agent = await Agent.connect(hub.url, keypair)
            await stack.enter_async_context(agent)
            await agent.ask("subscribed", "subscribe")
            crowd.listen(agent)
        await crowd.pass_messages(load.messages // 4)  # what any hub takes once
        first = await crowd.pass_messages(load.messages // 2)
        async with await Agent.connect(hub.url, others[0]) as idle:
            await idle.ask("subscribed", "subscribe")
            idle.stop_reading()
            beside = await crowd.pass_messages(load.messages)
        second = await crowd.pass_messages(load.messages // 2)
        figures: Figures = {
            "growth_mib": beside.growth_mib,
            "growth_mib_since_start": (hub.usage().rss_kib - fresh) / 1024,
        }
        alone = Passed.together(first, second)
        for name, value in beside.figures().items():
            figures |= {name: value, f"{name}_without": alone.figures()[name]}
        for name in ("p50_ms", "p99_ms"):
            figures[f"{name}_ratio"] = figures[name] / figures[f"{name}_without"]
        return figures


@dataclass(frozen=True, slots=True)
class Passed:
    """How messages passed: each delay, and what they cost the hub."""

    messages: int
    delays: list[float]
    growth_mib: float
    cpu_secs: float

    @classmethod
    def together(cls, *all_: "Passed") -> "Passed":
        """Several as one."""
        return cls(
            sum(one.messages for one in all_),
            [delay for one in all_ for delay in one.delays],
            max(one.growth_mib for one in all_),
            sum(one.cpu_secs for one in all_),
        )

    def figures(self) -> Figures:
        """What is printed of it."""
        return {
            "p50_ms": _machine.percentile(self.delays, 0.5) * 1e3,
            "p99_ms": _machine.percentile(self.delays, 0.99) * 1e3,
            "hub_cpu_us_per_message": self.cpu_secs / self.messages * 1e6,
        }


class Crowd:
    """One that talks at an even rate, and listeners whose delay is measured."""

    def __init__(
        self, hub: HubProcess, load: Load, author: Keypair, room: RoomName
    ) -> None:
        """Say nothing yet."""
        self.agent: Agent
        self._hub = hub
        self._rate = load.rate
        self._messages = Messages(author, room, text_bytes=load.text_bytes)
        self._sent_at: list[float] = []
        self._heard: list[int] = []
        self._delays: list[float] = []

    def listen(self, agent: Agent) -> None:
        """Note when this subscriber hears what."""
        number = len(self._heard)
        self._heard.append(0)

        def heard(frame: bytes) -> None:
            expect(frame, "delivery")
            at = self._sent_at[self._heard[number]]
            self._delays.append(time.perf_counter() - at)
            self._heard[number] += 1

        agent.on_frame = heard

    async def pass_messages(self, count: int) -> Passed:
        """Say so much; returns the delays and how far the hub grew meanwhile."""
        self._hub.check_alive()
        self.agent.on_frame = lambda frame: expect(frame, "sent")
        self._sent_at.clear()
        self._delays.clear()
        self._heard = [0] * len(self._heard)
        before = self._hub.usage()
        highest = before.rss_kib
        began = time.perf_counter()
        step = max(1, count // SAMPLES)
        while len(self._sent_at) < count:
            await asyncio.sleep(TICK_SECS)
            due = int((time.perf_counter() - began) * self._rate)
            for _ in range(min(due, count) - len(self._sent_at)):
                self._sent_at.append(time.perf_counter())
                self.agent.write(self._messages.next())
                if len(self._sent_at) % step == 0:
                    highest = max(highest, self._hub.usage().rss_kib)
        await self._all_heard(count)
        highest = max(highest, self._hub.usage().rss_kib)
        return Passed(
            count,
            self._delays.copy(),
            (highest - before.rss_kib) / 1024,
            self._hub.usage().cpu_secs - before.cpu_secs,
        )

    async def _all_heard(self, count: int) -> None:
        deadline = time.perf_counter() + WAIT_SECS
        while min(self._heard) < count:
            if time.perf_counter() > deadline:
                raise LoadFailed(f"{count - min(self._heard)} deliveries never came")
            await asyncio.sleep(TICK_SECS)


# --------------------------------------------------- strangers that stop on the way in

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: c29tZXRoaW5nIHJhbmRvbQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def stages() -> dict[str, bytes]:
    """How far a stranger gets before it stops: what it has sent by then."""
    who = Keypair.generate().agent_id
    hello = framed(json.dumps({"op": "hello", "id": who, "name": "stall"}).encode())
    return {
        "dialled": b"",
        "half a request line": _UPGRADE[:6],
        "half a request": _UPGRADE[:-2],
        "upgraded": _UPGRADE,
        "half a hello": _UPGRADE + hello[: len(hello) // 2],
        "an unfinished hello": _UPGRADE + b"\x01" + hello[1:],
        "the challenge unread": _UPGRADE + hello,
        "half a proof": _UPGRADE + hello + framed(b" " * 60_000)[:30_000],
    }


class _Stranger(asyncio.Protocol):
    """A connection that says its beginning, and then neither reads nor writes."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._beginning)
        self.transport.pause_reading()


async def stall(hub: HubProcess, load: Load) -> Figures:
    """Strangers that stop at every stage of the way in, and a client that works.

    `closed_secs` runs from the last of them that dialled until the hub has closed all;
    the absolute deadlines are 15 s for the upgrade and 15 s for the hello.
    """
    where = urlsplit(hub.url)
    assert where.hostname is not None
    assert where.port is not None
    host, port = where.hostname, where.port
    loop = asyncio.get_running_loop()
    beginnings = list(stages().values())
    quiet, beside = list[float](), list[float]()
    async with _client(hub, quiet):
        await asyncio.sleep(load.warm_up + load.seconds)
    files, before = _sockets(hub), hub.usage()
    strangers: list[_Stranger] = []
    try:
        async with _client(hub, beside):
            for number in range(load.stalled):
                beginning = beginnings[number % len(beginnings)]
                _, stranger = await loop.create_connection(
                    lambda beginning=beginning: _Stranger(beginning),  # type: ignore[misc]
                    host,
                    port,
                )
                strangers.append(stranger)
            began = time.perf_counter()
            highest = hub.usage().rss_kib
            while _sockets(hub) > files + 2:  # the client's own
                if time.perf_counter() > began + DEADLINE_SECS:
                    raise LoadFailed("strangers are still there at the deadline")
                await asyncio.sleep(PROBE_SECS)
                highest = max(highest, hub.usage().rss_kib)
            closed = time.perf_counter() - began
    finally:
        for stranger in strangers:
            stranger.transport.abort()
    grown = highest - before.rss_kib
    return {
        "closed_secs": closed,
        "growth_mib": grown / 1024,
        "kib_per_stranger": grown / load.stalled,
        "handshake_p50_ms": _machine.percentile(beside, 0.5) * 1e3,
        "handshake_p99_ms": _machine.percentile(beside, 0.99) * 1e3,
        "handshake_p99_ms_without": _machine.percentile(quiet, 0.99) * 1e3,
    }


@asynccontextmanager
async def _client(hub: HubProcess, delays: list[float]) -> AsyncIterator[None]:
    """Somebody who comes in and asks again and again while the block runs."""
    over = asyncio.Event()

    async def ask_again_and_again() -> None:
        keypair = Keypair.generate()
        while not over.is_set():
            began = time.perf_counter()
            async with await Agent.connect(hub.url, keypair) as agent:
                await agent.ask("pong", "ping")
            delays.append(time.perf_counter() - began)
            await asyncio.sleep(PROBE_SECS)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask_again_and_again())
        yield
        over.set()


def _sockets(hub: HubProcess) -> int:
    return sum(1 for _ in _links(hub.pid))


def _links(pid: int) -> Iterator[Path]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("socket:"):
                yield entry
        except OSError:  # closed meanwhile
            continue
