"""How much of each load there is, and what is counted and timed while it runs."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from bench import _machine
from bench._hub_process import WAIT_SECS, HubProcess
from bench._load import Agent, LoadFailed, Messages, expect

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much of each kind of load there is."""

    rounds: int = 5
    seconds: float = 3.0
    warm_up: float = 0.5
    senders: int = 64
    one_room: bool = False
    text_bytes: int = 300
    subscribers: tuple[int, ...] = (10, 100)
    window: int = 16
    latency_messages: int = 200
    messages: int = 20_000
    readers: int = 8
    dialling: int = 16
    connections: int = 1000
    listeners: int = 4
    rate: int = 1000
    """Messages a second that pass a peer which reads none."""

    stalled: int = 1000
    blob_bytes: int = 8 * 2**20
    blobs: int = 8
    facts: int = 10_000
    fact_bytes: int = 2**20
    rooms: int = 200


SHORT = Load(
    rounds=1,
    seconds=0.3,
    warm_up=0.1,
    senders=4,
    subscribers=(2,),
    latency_messages=10,
    messages=300,
    readers=2,
    dialling=2,
    connections=20,
    listeners=2,
    stalled=16,
    blob_bytes=2**20,
    blobs=2,
    facts=50,
    fact_bytes=2**17,
    rooms=5,
)


class Meter:
    """Counts what happens between `start` and `figures`, and what it cost the hub."""

    def __init__(self, hub: HubProcess) -> None:
        """Count, but measure nothing yet."""
        self._hub = hub
        self.count = 0
        self.delays: list[float] = []

    def start(self) -> None:
        """Forget the warm-up."""
        self._hub.check_alive()
        self.count, self.delays = 0, []
        self._cost = self._hub.usage().cpu_secs
        self._own = time.process_time()
        self._began = time.perf_counter()

    async def measure(self, seconds: float) -> None:
        """Start, and count for so long: longer if nothing has come by then."""
        self.start()
        await asyncio.sleep(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECS):
                while not self.count:  # noqa: ASYNC110  (many things count)
                    await asyncio.sleep(0.01)

    def figures(self, each: str) -> Figures:
        """Rate and cost of what was counted, named after one of it."""
        wall = time.perf_counter() - self._began
        cpu = self._hub.usage().cpu_secs - self._cost
        own = time.process_time() - self._own
        self._hub.check_alive()
        if not self.count:
            raise LoadFailed(f"not a single {each}")
        found = {
            f"{each}_per_s": self.count / wall,
            f"hub_cpu_us_per_{each}": cpu / self.count * 1e6,
            "hub_cpu": cpu / wall,
            "load_cpu": own / wall,
        }
        if self.delays:
            found["p50_ms"] = _machine.percentile(self.delays, 0.5) * 1e3
            found["p99_ms"] = _machine.percentile(self.delays, 0.99) * 1e3
        return found


class Sender:
    """Sends again whenever fewer than `window` of its messages are on their way."""

    def __init__(self, agent: Agent, messages: Messages, meter: Meter) -> None:
        """Send nothing yet."""
        self._agent = agent
        self._messages = messages
        self._meter = meter
        self._sent_at: dict[int, float] = {}
        self._sent = self._acknowledged = 0
        self.last: int | None = None
        self.settled = asyncio.Event()
        agent.on_frame = self._acknowledge

    def fill(self, window: int) -> None:
        """Keep so many messages on their way."""
        self._window = window
        while self._sent < self._acknowledged + window and self._sent != self.last:
            self._sent_at[self._sent] = time.perf_counter()
            self._sent += 1
            self._agent.write(self._messages.next())

    def _acknowledge(self, frame: bytes) -> None:
        expect(frame, "sent")
        delay = time.perf_counter() - self._sent_at.pop(self._acknowledged)
        self._meter.delays.append(delay)
        self._meter.count += 1
        self._acknowledged += 1
        if self._acknowledged == self.last:
            self.settled.set()
        self.fill(self._window)
