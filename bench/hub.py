"""What a hub costs: one JSON line per kind of load, medians of fresh hubs.

    python -m bench.hub LOAD [--rounds N] [--short]

Each round has a new hub on an empty database, on one core, and the load on another.
Rates are of what was acknowledged or delivered; the hub's processor time comes from
/proc. `load_cpu` near 1 means that the load and not the hub was the limit.
"""

import argparse
import asyncio
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from bench import _machine
from bench._hub_held import UNREAD, blob, recall, rooms
from bench._hub_peers import slow, stages, stall
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
from bench._meter import SHORT, Figures, Load, Meter, Sender
from parler.identity.signing import Keypair
from parler.wire.base import RoomName

PULL_LIMIT = 1000
LATENCY_RATE = 50
"""Messages a second where the time to a delivery is measured."""


# ------------------------------------------------------------------------- the loads


async def send(hub: HubProcess, load: Load) -> Figures:
    """Acknowledged sends of agents that each have one message on its way."""
    keypairs = [Keypair.generate() for _ in range(load.senders)]
    froms = sources()
    if load.one_room:
        owner, *others = keypairs
        room = await open_room(hub.url, "load", owner, others, froms)
        rooms = [room] * load.senders
    else:
        rooms = [
            await open_room(hub.url, f"load-{number}", keypair, (), froms)
            for number, keypair in enumerate(keypairs)
        ]
    return await send_as(hub, load, list(zip(keypairs, rooms, strict=True)))


async def send_as(
    hub: HubProcess, load: Load, members: Sequence[tuple[Keypair, RoomName]]
) -> Figures:
    """`send` of agents that are members of their rooms already."""
    meter = Meter(hub)
    async with AsyncExitStack() as stack:
        senders = []
        for keypair, room in members:
            agent = await stack.enter_async_context(
                await Agent.connect(hub.url, keypair)
            )
            messages = Messages(keypair, room, text_bytes=load.text_bytes)
            senders.append(Sender(agent, messages, meter))
        for sender in senders:
            sender.fill(1)
        await asyncio.sleep(load.warm_up)
        await meter.measure(load.seconds)
        return meter.figures("send") | {"frame_bytes": messages.frame_bytes}


async def fanout(hub: HubProcess, load: Load) -> Figures:
    """Deliveries of one sender's messages, as many as go and then a few a second."""
    found: Figures = {}
    froms = sources()
    for number in load.subscribers:
        for name, value in (await _fan(hub, load, number, froms)).items():
            found[f"to_{number}_{name}"] = value
    return found


async def _fan(
    hub: HubProcess, load: Load, subscribers: int, froms: Iterator[str]
) -> Figures:
    owner, *others = (Keypair.generate() for _ in range(1 + subscribers))
    meter = Meter(hub)
    async with AsyncExitStack() as stack:
        room = await open_room(hub.url, f"load-{subscribers}", owner, others, froms)
        sending = await stack.enter_async_context(await Agent.connect(hub.url, owner))
        audience = Audience(meter, Messages(owner, room, text_bytes=load.text_bytes))
        for keypair in others:
            agent = await Agent.connect(hub.url, keypair)
            await stack.enter_async_context(agent)
            await agent.ask("subscribed", "subscribe")
            audience.add(agent)
        await audience.send_through(sending, load)
        return await audience.measure(load)


class Audience:
    """Subscribers of a room, and a sender that waits for the slowest of them.

    A hub drops what a subscriber is too slow for; this one shall drop nothing.
    """

    def __init__(self, meter: Meter, messages: Messages) -> None:
        """Begin without subscribers."""
        self._meter = meter
        self._messages = messages
        self._heard: list[int] = []
        self._sent = self._acknowledged = 0
        self._window = 0
        self._sent_at: dict[int, float] = {}
        self._arrived = asyncio.Event()

    def add(self, agent: Agent) -> None:
        """Count what this subscriber hears."""
        number = len(self._heard)
        self._heard.append(0)

        def heard(frame: bytes) -> None:
            expect(frame, "delivery")
            self._meter.count += 1
            self._heard[number] += 1
            sent_at = self._sent_at.get(self._heard[number])
            if sent_at is not None:
                self._meter.delays.append(time.perf_counter() - sent_at)
            self._go_on()

        agent.on_frame = heard

    async def send_through(self, agent: Agent, load: Load) -> None:
        """Take the sender's connection."""
        self._agent = agent
        self._full_window = load.window

        def acknowledged(frame: bytes) -> None:
            expect(frame, "sent")
            self._acknowledged += 1
            self._go_on()

        agent.on_frame = acknowledged

    async def measure(self, load: Load) -> Figures:
        """The highest rate, then the delays at a low one."""
        self._window = self._full_window
        self._go_on()
        await asyncio.sleep(load.warm_up)
        await self._meter.measure(load.seconds)
        figures = self._meter.figures("delivery")
        self._window = 0
        await self._settle()
        self._meter.start()
        for _ in range(load.latency_messages):
            self._send(timed=True)
            await asyncio.sleep(1 / LATENCY_RATE)
        await self._settle()
        late = self._meter.figures("delivery")
        return {
            **figures,
            "p50_ms_at_50_per_s": late["p50_ms"],
            "p99_ms_at_50_per_s": late["p99_ms"],
        }

    def _go_on(self) -> None:
        through = min(self._acknowledged, *self._heard)
        while self._sent < through + self._window:
            self._send()
        if through == self._sent:
            self._arrived.set()

    def _send(self, *, timed: bool = False) -> None:
        self._arrived.clear()
        self._sent += 1
        if timed:
            self._sent_at[self._sent] = time.perf_counter()
        self._agent.write(self._messages.next())

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(WAIT_SECS):
                await self._arrived.wait()
        except TimeoutError:
            missing = self._sent * len(self._heard) - sum(self._heard)
            raise LoadFailed(f"{missing} deliveries never came") from None


async def pull(hub: HubProcess, load: Load) -> Figures:
    """Readers that catch up with a long room from its beginning."""
    keypairs = [Keypair.generate() for _ in range(load.readers)]
    meter = Meter(hub)
    async with AsyncExitStack() as stack:
        room = await open_room(hub.url, "load", keypairs[0], keypairs[1:], sources())
        await _write_room(hub, load, keypairs[0], room)
        agents = [
            await stack.enter_async_context(await Agent.connect(hub.url, keypair))
            for keypair in keypairs
        ]
        meter.start()
        async with asyncio.timeout(WAIT_SECS), asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(_catch_up(agent, room, load.messages, meter))
        return meter.figures("message")


async def _write_room(
    hub: HubProcess, load: Load, author: Keypair, room: RoomName
) -> None:
    messages = Messages(author, room, text_bytes=load.text_bytes)
    async with await Agent.connect(hub.url, author) as agent:
        sender = Sender(agent, messages, Meter(hub))
        sender.last = load.messages
        sender.fill(load.window)
        async with asyncio.timeout(load.messages / 100 + WAIT_SECS):
            await sender.settled.wait()


async def _catch_up(agent: Agent, room: RoomName, messages: int, meter: Meter) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    read = since = 0

    def ask() -> None:
        frame = {"op": "pull", "room": room, "limit": PULL_LIMIT, "since": since}
        agent.write(framed(msgspec.json.encode({**frame, "rid": "1"})))

    def take(frame: bytes) -> None:
        # Decoding belongs to a reader, not to the hub: count and find the cursor.
        nonlocal read, since
        expect(frame, "pulled")
        number = frame.count(b'{"seq":')
        at = frame.rindex(b'"cursor":') + len('"cursor":')
        since = int(frame[at : at + 20].partition(b",")[0].partition(b"}")[0])
        read += number
        meter.count += number
        if read == messages:
            done.set_result(None)
        elif number == 0:
            done.set_exception(LoadFailed(f"{read} messages instead of {messages}"))
        else:
            ask()

    agent.on_frame = take
    ask()
    await done


async def connect(hub: HubProcess, load: Load) -> Figures:
    """Full handshakes, each on a connection of its own."""
    meter = Meter(hub)
    over = False

    async def dial_again_and_again() -> None:
        keypair = Keypair.generate()
        while not over:
            started = time.perf_counter()
            async with await Agent.connect(hub.url, keypair):
                meter.delays.append(time.perf_counter() - started)
                meter.count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(load.dialling):
            group.create_task(dial_again_and_again())
        await asyncio.sleep(load.warm_up)
        await meter.measure(load.seconds)
        figures = meter.figures("handshake")
        over = True
    return figures


async def idle(hub: HubProcess, load: Load) -> Figures:
    """Memory and processor time of subscribed connections on which nothing happens."""
    async with AsyncExitStack() as stack:
        async with await Agent.connect(hub.url, Keypair.generate()) as agent:
            await agent.ask("subscribed", "subscribe")
        before = hub.usage()
        for _ in range(load.connections):
            agent = await Agent.connect(hub.url, Keypair.generate())
            await stack.enter_async_context(agent)
            await agent.ask("subscribed", "subscribe")
        await asyncio.sleep(load.warm_up)
        after = hub.usage()
        await asyncio.sleep(load.seconds)
        hub.check_alive()
        spent = hub.usage().cpu_secs - after.cpu_secs
        return {
            "kib_per_connection": (after.rss_kib - before.rss_kib) / load.connections,
            "base_mib": before.rss_kib / 1024,
            "idle_cpu": spent / load.seconds,
        }


LOADS: dict[str, Callable[[HubProcess, Load], Coroutine[Any, Any, Figures]]] = {
    "send": send,
    "fanout": fanout,
    "pull": pull,
    "connect": connect,
    "idle": idle,
    "slow": slow,
    "stall": stall,
    "blob": blob,
    "recall": recall,
    "rooms": rooms,
}


# ------------------------------------------------------------------------ the program


def main(arguments: Sequence[str]) -> int:
    """Run one kind of load and print its line."""
    options = _parser().parse_args(arguments)
    load = _load(options)
    pinned = _machine.pin_load()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as folder:
        facts = _machine.facts(Path(folder), pinned=pinned)
        with runner() as running:
            rounds = [
                running.run(_round(options.load, load, Path(folder, f"{n}"), pinned))
                for n in range(load.rounds)
            ]
    line: dict[str, Any] = {"bench": f"hub {options.load}", "rounds": load.rounds}
    line |= _shape(options.load, load) | _machine.medians(rounds)
    rates = [next(iter(figures.values())) for figures in rounds]
    line["spread"] = _machine.tidy((max(rates) - min(rates)) / (max(rates) or math.inf))
    print(json.dumps(line | {"machine": facts}, ensure_ascii=False))
    return 0


async def _round(name: str, load: Load, folder: Path, pinned: bool) -> Figures:
    core = _machine.HUB_CORE if pinned else None
    hub = HubProcess(folder / "data" / "hub.sqlite", folder, core=core)
    return await against(hub, lambda hub: LOADS[name](hub, load))


async def against(
    hub: HubProcess, load: Callable[[HubProcess], Coroutine[Any, Any, Figures]]
) -> Figures:
    """Run a load against a hub that is started for it and killed afterwards."""
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(str(context.get("exception") or context))
    )
    try:
        await asyncio.to_thread(hub.start)
        figures = await load(hub)
    finally:
        hub.kill()
    if failures:
        raise LoadFailed("; ".join(failures[:3]))
    return figures


def runner() -> asyncio.Runner:
    """What runs a load: on uvloop where there is one, and with many open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.Runner(loop_factory=_loop_factory())


def _shape(name: str, load: Load) -> dict[str, Any]:
    """What the figures of a load are figures of."""
    shape: dict[str, Any] = {
        "send": {"senders": load.senders, "one_room": load.one_room},
        "fanout": {"window": load.window},
        "pull": {"messages": load.messages, "readers": load.readers},
        "connect": {"dialling": load.dialling},
        "idle": {"connections": load.connections},
        "slow": {
            "messages": load.messages,
            "rate": load.rate,
            "listeners": load.listeners,
        },
        "blob": {"blobs": load.blobs, "blob_bytes": load.blob_bytes},
        "recall": {"facts": load.facts, "fact_bytes": load.fact_bytes},
        "rooms": {"rooms": load.rooms, "unread": UNREAD},
        "stall": {"strangers": load.stalled, "stages": len(stages())},
    }[name]
    if name in ("send", "fanout", "pull", "slow"):
        shape["text_bytes"] = load.text_bytes
    return shape


def _load(options: argparse.Namespace) -> Load:
    given = {
        name: getattr(options, name)
        for name in (
            "rounds",
            "seconds",
            "one_room",
            "senders",
            "connections",
            "messages",
            "rate",
        )
        if getattr(options, name) is not None
    }
    return replace(SHORT if options.short else Load(), **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.hub", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--rounds", type=int, help="each with a new hub (5)")
    parser.add_argument("--seconds", type=float, help="measured in each round (3)")
    parser.add_argument("--senders", type=int, help="of `send` (64)")
    parser.add_argument(
        "--one-room", action="store_true", default=None, help="all senders in one room"
    )
    parser.add_argument("--connections", type=int, help="of `idle` (1000)")
    parser.add_argument("--messages", type=int, help="of `pull` and `slow` (20000)")
    parser.add_argument("--rate", type=int, help="of `slow`, a second (1000)")
    parser.add_argument("--short", action="store_true", help="to see that it works")
    parser.add_argument("--dir", help="put the database on this disk")
    return parser


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
