"""The product and its limits side by side: what each figure is, and what it should be.

    python -m bench all [--short] [--only ROW,ROW] [--rounds N] [--dir DIR] [--write]

Every figure is measured in turn with what stands beside it, on the same cores, so that
a noisy machine is noisy for both. Each side gives a JSON line, each figure a line of
the table. `--short` only shows that all of it runs; `--write` puts the table into
docs/performance.md.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import _machine, _report, _starts, hub, mcp
from bench._grown import Grown, Size, grow, queries_file
from bench._hub_held import ask_in_turns, download, upload
from bench._hub_peers import slow as slow_peer
from bench._hub_process import WAIT_SECS, HubProcess
from bench._judge import Judge, Verdict
from bench._load import BINARY, Agent, framed, open_room, sources
from bench._meter import SHORT, Figures, Load
from parler.identity.signing import Keypair

Sides = dict[str, Figures]
BARE = ("-m", "bench._bare")
GROWN = Size(
    messages=1_000_000, rooms=10_000, rooms_of_one=1_000, facts=100_000, senders=64
)
SHORT_GROWN = Size(messages=2_000, rooms=50, rooms_of_one=20, facts=200, senders=4)


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run: where it works, how much it does, and what it has made for all rows."""

    folder: Path
    load: Load
    size: Size
    connections: int
    starts: int
    pinned: bool
    made: int = 0
    grown: Grown | None = None

    def process(self, program: Sequence[str] = ("-m", "hub")) -> HubProcess:
        """A server on an empty database, not started yet."""
        self.made += 1
        folder = self.folder / f"{self.made}"
        return self._process(folder / "data" / "hub.sqlite", folder, program)

    def grown_process(self) -> HubProcess:
        """A hub on the database that was used for a year."""
        return self._process(self.grown_database, self.folder / "grown", ("-m", "hub"))

    @property
    def grown_database(self) -> Path:
        """Where that database is."""
        return self.folder / "grown" / "data" / "hub.sqlite"

    def growth(self) -> Grown:
        """Who is in that database; outside the loop it is made, if it is missing."""
        if self.grown is None:
            self.grown_database.parent.mkdir(parents=True)
            self.grown = grow(self.grown_database, self.size)
        return self.grown

    def raw(self, work: str, database: Path, *more: str) -> Figures:
        """What the database costs without a hub, on the hub's core."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bench._raw", work, str(database)),
                *("--seconds", str(self.load.seconds), *more),
            ],
            capture_output=True,
            check=True,
            timeout=WAIT_SECS + self.load.seconds,
            preexec_fn=self._to_hub_core,
        )
        figures: Figures = json.loads(done.stdout)
        return figures

    def _to_hub_core(self) -> None:
        if self.pinned:
            os.sched_setaffinity(0, {_machine.HUB_CORE})

    def _process(
        self, database: Path, folder: Path, program: Sequence[str]
    ) -> HubProcess:
        core = _machine.HUB_CORE if self.pinned else None
        return HubProcess(database, folder, core=core, program=program)


# ------------------------------------------------------------------------- the rounds


async def send(bench: Bench) -> Sides:
    """Acknowledged sends: rooms of their own, one room; the stack; the disk."""
    together = replace(bench.load, one_room=True)
    return {
        "hub": await _on(bench.process(), hub.send, bench.load),
        "hub, one room": await _on(bench.process(), hub.send, together),
        "bare echo": await _on(bench.process(BARE), hub.send, bench.load),
        "bare insert": bench.raw("insert", bench.folder / f"raw-{bench.made}.sqlite"),
    }


async def fanout(bench: Bench) -> Sides:
    """Deliveries, and how long they take."""
    return {
        "hub": await _on(bench.process(), hub.fanout, bench.load),
        "bare broadcast": await _on(bench.process(BARE), hub.fanout, bench.load),
    }


async def pull(bench: Bench) -> Sides:
    """Catching up, and the same rows read without a hub."""
    process = bench.process()
    return {
        "hub": await _on(process, hub.pull, bench.load),
        "raw rows": bench.raw("read", process.database),
    }


async def connect(bench: Bench) -> Sides:
    """Handshakes, and the same upgrade with one verification."""
    return {
        "hub": await _on(bench.process(), hub.connect, bench.load),
        "bare upgrade": await _on(bench.process(BARE), hub.connect, bench.load),
    }


async def idle(bench: Bench) -> Sides:
    """Memory of connections on which nothing happens."""
    load = replace(bench.load, connections=bench.connections)
    return {
        "hub": await _on(bench.process(), hub.idle, load),
        "bare": await _on(bench.process(BARE), hub.idle, load),
    }


async def slow(bench: Bench) -> Sides:
    """A subscriber that reads nothing."""
    return {"hub": await _on(bench.process(), slow_peer, bench.load)}


async def growth(bench: Bench) -> Sides:
    """Sends and listings of a hub that was used for a year, beside an empty one."""
    used = bench.growth()

    async def listing(process: HubProcess, load: Load) -> Figures:
        async with await Agent.connect(process.url, used.senders[0][0]) as agent:
            frames = iter(lambda: {"op": "rooms"}, None)
            return await ask_in_turns(
                process, [agent], "rooms", frames, seconds=load.seconds
            )

    return {
        "grown hub": await _on(
            bench.grown_process(),
            lambda process, load: hub.send_as(process, load, used.senders),
            bench.load,
        ),
        "empty hub": await _on(bench.process(), hub.send, bench.load),
        "rooms": await _on(bench.grown_process(), listing, bench.load),
    }


async def recall(bench: Bench) -> Sides:
    """Two words among many facts, and the same asked of the index itself."""
    used = bench.growth()
    queries = queries_file(used, bench.folder / "queries.json")

    async def asking(process: HubProcess, load: Load) -> Figures:
        frames = (
            {"op": "recall", "query": query, "limit": 10}
            for _ in iter(int, 1)
            for query in used.queries
        )
        async with await Agent.connect(process.url, used.senders[0][0]) as agent:
            return await ask_in_turns(
                process, [agent], "recalled", frames, seconds=load.seconds
            )

    return {
        "hub": await _on(bench.grown_process(), asking, bench.load),
        "raw index": bench.raw(
            "words", bench.grown_database, "--queries", str(queries)
        ),
    }


async def blob(bench: Bench) -> Sides:
    """A blob up and down, and the same bytes echoed."""
    data = os.urandom(bench.load.blob_bytes)

    async def up_and_down(process: HubProcess, load: Load) -> Figures:
        keypair = Keypair.generate()
        room = await open_room(process.url, "load", keypair, (), sources())
        up = down = 0.0
        async with await Agent.connect(process.url, keypair) as agent:
            for number in range(load.blobs):
                other = number.to_bytes(8) + data[8:]
                began = time.perf_counter()
                await upload(agent, room, other)
                up += time.perf_counter() - began
                digest = hashlib.sha256(other).hexdigest()
                began = time.perf_counter()
                await download(agent, digest, len(other))
                down += time.perf_counter() - began
        mebibytes = load.blobs * len(data) / 2**20
        return {
            "mib_per_s": mebibytes / (up + down),
            "up_mib_per_s": mebibytes / up,
            "down_mib_per_s": mebibytes / down,
        }

    async def echo(process: HubProcess, load: Load) -> Figures:
        async with await Agent.connect(process.url, Keypair.generate()) as agent:
            began = time.perf_counter()
            for _ in range(load.blobs):
                agent.expect_binary()
                agent.write(framed(data, kind=BINARY))
                async with asyncio.timeout(WAIT_SECS):
                    await agent.whole(len(data))
            taken = time.perf_counter() - began
        return {"mib_per_s": load.blobs * len(data) / 2**20 / taken}

    return {
        "hub": await _on(bench.process(), up_and_down, bench.load),
        "bare echo": await _on(bench.process(BARE), echo, bench.load),
    }


async def start(bench: Bench) -> Sides:
    """Commands, and a program that does nothing."""
    bench.made += 1
    return _starts.starts(bench.folder / f"{bench.made}", times=bench.starts)


async def mcp_start(bench: Bench) -> Sides:
    """The MCP server until it has listed its tools, and the bare SDK."""
    bench.made += 1
    folder = bench.folder / f"{bench.made}"
    folder.mkdir()
    return mcp.one_round(folder, calls=bench.starts)


async def _on(
    process: HubProcess,
    load: Callable[[HubProcess, Load], Coroutine[Any, Any, Figures]],
    much: Load,
) -> Figures:
    return await hub.against(process, lambda process: load(process, much))


# -------------------------------------------------------------------------- the aims


def judge_send(sides: Sides) -> list[Verdict]:
    """What a send costs beside echo and insert, and in one room."""
    mine, one = sides["hub"], sides["hub, one room"]
    echo, rows = sides["bare echo"], sides["bare insert"]
    floor = echo["hub_cpu_us_per_send"] + rows["cpu_us"]
    cost, cost_in_one = mine["hub_cpu_us_per_send"], one["hub_cpu_us_per_send"]
    judge = Judge("send")
    return [
        judge.at_most(
            "acknowledged, fsynced sends, 64 senders, own rooms: hub CPU each",
            cost,
            floor,
            2.0,
            unit="us",
            note=f"{mine['send_per_s']:,.0f}/s; echo "
            f"{echo['hub_cpu_us_per_send']:.1f} + insert {rows['cpu_us']:.1f} us",
        ),
        judge.at_most(
            "the same, all in one room: hub CPU each",
            cost_in_one,
            cost,
            1.2,
            unit="us",
            note=f"{one['send_per_s']:,.0f}/s",
        ),
    ]


def judge_fanout(sides: Sides) -> list[Verdict]:
    """Deliveries beside a broadcast, and their delay."""
    mine, bare = sides["hub"], sides["bare broadcast"]
    judge = Judge("fanout")
    rates = [name for name in mine if name.endswith("_delivery_per_s")]
    found = [
        judge.at_least(
            f"deliveries/s, one sender, {name.split('_')[1]} subscribers",
            mine[name],
            bare[name],
            0.8,
            unit="/s",
            note=_cpu_each(mine, bare, name.replace("delivery_per_s", "")),
        )
        for name in rates
    ]
    first = rates[0].removesuffix("delivery_per_s")
    p50, p99 = f"{first}p50_ms_at_50_per_s", f"{first}p99_ms_at_50_per_s"
    return [
        *found,
        judge.within(
            "send to delivery at 50/s, p50", mine[p50], bare[p50], 1.0, unit="ms"
        ),
        judge.below(
            "send to delivery at 50/s, p99", mine[p99], 10.0, bare[p99], unit="ms"
        ),
    ]


def _cpu_each(mine: Figures, bare: Figures, prefix: str) -> str:
    name = f"{prefix}hub_cpu_us_per_delivery"
    return f"CPU each {mine[name]:.1f} us beside {bare[name]:.1f} us"


def judge_pull(sides: Sides) -> list[Verdict]:
    """Catching up beside reading rows."""
    mine, raw = sides["hub"], sides["raw rows"]
    return [
        Judge("pull").at_least(
            "catch-up from 0, 20,000 messages, 8 readers: messages/s",
            mine["message_per_s"],
            raw["per_s"],
            0.4,
            unit="/s",
            note=f"CPU each {mine['hub_cpu_us_per_message']:.2f} us beside "
            f"{raw['cpu_us']:.2f} us",
        )
    ]


def judge_connect(sides: Sides) -> list[Verdict]:
    """Handshakes beside bare ones."""
    mine, bare = sides["hub"], sides["bare upgrade"]
    name = "hub_cpu_us_per_handshake"
    return [
        Judge("connect").at_least(
            "full handshakes/s",
            mine["handshake_per_s"],
            bare["handshake_per_s"],
            0.5,
            unit="/s",
            note=f"CPU each {mine[name]:.0f} us beside {bare[name]:.0f} us",
        )
    ]


def judge_idle(sides: Sides) -> list[Verdict]:
    """Memory of a connection."""
    mine, bare = (side["kib_per_connection"] for side in sides.values())
    judge = Judge("idle")
    what = "memory per idle subscribed connection"
    return [
        judge.at_most(what, mine, bare, 1.5, unit="KiB"),
        judge.below(f"{what}, in itself", mine, 40.0, unit="KiB"),
    ]


def judge_slow(sides: Sides) -> list[Verdict]:
    """What a peer that reads nothing costs."""
    mine, judge = sides["hub"], Judge("slow")
    return [
        judge.below(
            "slow subscriber, 20,000 messages pass: hub growth",
            mine["growth_mib"],
            16.0,
            unit="MiB",
        ),
        judge.at_most(
            "slow subscriber: p99 of the others",
            mine["p99_ms"],
            mine["p99_ms_without"],
            1.2,
            unit="ms",
        ),
    ]


def judge_growth(sides: Sides) -> list[Verdict]:
    """What a year of use costs."""
    grown, empty = sides["grown hub"], sides["empty hub"]
    name = "hub_cpu_us_per_send"
    judge = Judge("growth")
    return [
        judge.at_least(
            "sends/s with 10^6 messages, 10^4 rooms, 10^3 rooms of one agent",
            grown["send_per_s"],
            empty["send_per_s"],
            0.9,
            unit="/s",
            note=f"CPU each {grown[name]:.1f} us beside {empty[name]:.1f} us",
        ),
        judge.below(
            "`rooms` of an agent in 1,000 rooms: p50",
            sides["rooms"]["p50_ms"],
            5.0,
            unit="ms",
            note=f"CPU each {sides['rooms']['cpu_us'] / 1000:.1f} ms",
        ),
    ]


def judge_recall(sides: Sides) -> list[Verdict]:
    """Finding facts beside the index."""
    mine, raw = sides["hub"], sides["raw index"]
    return [
        Judge("recall").at_least(
            "`recall` over 10^5 facts, two terms, per second",
            mine["per_s"],
            raw["per_s"],
            0.5,
            unit="/s",
            note=f"CPU each {mine['cpu_us'] / 1000:.2f} ms beside "
            f"{raw['cpu_us'] / 1000:.2f} ms",
        )
    ]


def judge_blob(sides: Sides) -> list[Verdict]:
    """Blobs beside an echo."""
    mine, bare = sides["hub"], sides["bare echo"]
    return [
        Judge("blob").at_least(
            "8 MiB blob up and down, MiB/s",
            mine["mib_per_s"],
            bare["mib_per_s"],
            0.5,
            unit="MiB/s",
            note=f"up {mine['up_mib_per_s']:.0f}, down {mine['down_mib_per_s']:.0f}",
        )
    ]


def judge_start(sides: Sides) -> list[Verdict]:
    """Commands beside an empty program."""
    judge, nothing = Judge("start"), sides["nothing"]
    shown = {
        "version": ("parler --version", 60.0),
        "hook": ("parler hook with no session", 60.0),
        "send": ("parler send", 150.0),
    }
    return [
        judge.within(
            f"{title}, over `python -c pass`",
            sides[name]["ms"],
            nothing["ms"],
            aim,
            unit="ms",
            note=f"CPU {sides[name]['cpu_ms']:.0f} ms "
            f"beside {nothing['cpu_ms']:.0f} ms",
        )
        for name, (title, aim) in shown.items()
    ]


def judge_mcp(sides: Sides) -> list[Verdict]:
    """The MCP server beside the bare SDK."""
    mine, bare = sides["parler mcp"], sides["bare SDK"]
    return [
        Judge("mcp").at_most(
            "parler mcp to `tools/list`",
            mine["tools_list_ms"],
            bare["tools_list_ms"],
            1.15,
            unit="ms",
        )
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work, how it is measured and what is said of it."""

    measure: Callable[[Bench], Coroutine[Any, Any, Sides]]
    judge: Callable[[Sides], list[Verdict]]
    rounds: int | None = None
    """At most so many, where one takes long or takes medians itself."""

    grown: bool = False


ROWS = {
    "send": Row(send, judge_send),
    "fanout": Row(fanout, judge_fanout),
    "pull": Row(pull, judge_pull),
    "connect": Row(connect, judge_connect),
    "idle": Row(idle, judge_idle, rounds=1),
    "slow": Row(slow, judge_slow, rounds=1),
    "growth": Row(growth, judge_growth, grown=True),
    "recall": Row(recall, judge_recall, grown=True),
    "blob": Row(blob, judge_blob),
    "start": Row(start, judge_start, rounds=1),
    "mcp": Row(mcp_start, judge_mcp),
}


# ------------------------------------------------------------------------ the program


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the page if asked."""
    options = _parser().parse_args(arguments)
    wanted = options.only.split(",") if options.only else list(ROWS)
    load = SHORT if options.short else Load()
    rounds = options.rounds or load.rounds
    pinned = _machine.pin_load()
    verdicts: list[Verdict] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as name,
        hub.runner() as runner,
    ):
        bench = Bench(
            folder=Path(name),
            load=load,
            size=SHORT_GROWN if options.short else GROWN,
            connections=20 if options.short else options.connections,
            starts=1 if options.short else 15,
            pinned=pinned,
        )
        facts = _machine.facts(Path(name), pinned=pinned)
        facts["load_before"] = round(os.getloadavg()[0], 1)
        for row in wanted:
            if ROWS[row].grown:
                bench.growth()
            measured = [
                runner.run(ROWS[row].measure(bench))
                for _ in range(min(rounds, ROWS[row].rounds or rounds))
            ]
            sides = {
                side: _machine.medians(one[side] for one in measured)
                for side in measured[0]
            }
            for side, figures in sides.items():
                line = {"row": row, "side": side, "rounds": len(measured), **figures}
                print(json.dumps(line), flush=True)
            verdicts += ROWS[row].judge(sides)
        facts["load_after"] = round(os.getloadavg()[0], 1)
    for verdict in verdicts:
        print(json.dumps(verdict.as_line(), ensure_ascii=False))
    print(json.dumps({"machine": facts}, ensure_ascii=False))
    print(_report.table(verdicts))
    if options.write:
        _report.write(verdicts, facts, rounds=rounds, short=options.short)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench all", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--short", action="store_true", help="to see that it works")
    parser.add_argument("--only", help=f"rows of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="of each side, in turns (5)")
    parser.add_argument("--connections", type=int, default=5000, help="of `idle`")
    parser.add_argument("--dir", help="put the databases on this disk")
    parser.add_argument(
        "--write", action="store_true", help="write docs/performance.md"
    )
    return parser
