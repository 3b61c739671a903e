"""Kill a worker, or its hub, at every step of its tasks, and see how each task ended.

    python -m bench.workers [--faults 200] [--takeovers 3]

Prints one JSON line; exit 1 unless every task ended exactly once, as done or failed,
for its author and for the hub alike, and no program ran twice for one worker.
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench._fault_worker import LEASE_SECS
from bench._hub_process import HubProcess
from parler.client.client import Client, connect
from parler.client.messages import Message
from parler.identity.message_signing import Signature
from parler.identity.signing import Keypair
from parler.ops.work import Step
from parler.wire.base import RoomName
from parler.wire.names import service_room
from parler.wire.parts import DispatchPart, Part, TaskPart, TextPart
from parler.wire.records import ServiceTarget
from parler.wire.replies import Joined
from parler.wire.requests import Serve

ROLE = "review"
ROOM = service_room(ROLE)
STEPS = tuple(step for step in Step if step is not Step.HANDED_ON)
VICTIMS = ("worker", "hub")
ENDS = ("done", "failed")
FAULT_SECS = 120.0
"""How long a worker may take from one fault to the next."""

TAKEOVER_SECS = 4 * LEASE_SECS + FAULT_SECS


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What became of the tasks. Every count but the first two must be zero."""

    done: int = 0
    failed: int = 0
    lost: int = 0
    """Nobody was told an end."""
    doubled: int = 0
    """More than one end was told."""
    contradicted: int = 0
    """The hub knows another end than was told, or none."""
    repeated: int = 0
    """One worker ran the program twice."""
    idle: int = 0
    """Told as done, and the program never ran."""

    @property
    def ok(self) -> bool:
        """Whether all is as promised."""
        wrong = self.lost + self.doubled + self.contradicted
        return not (wrong + self.repeated + self.idle)


def judge(
    tasks: Sequence[str],
    told: Mapping[str, Sequence[str]],
    stored: Mapping[str, str],
    runs: Mapping[str, Sequence[str]],
) -> Verdict:
    """Compare what was told, what the hub stored, and what ran.

    Args:
        told: Ends by task, as its author reads them.
        stored: The end by task, as the hub has it.
        runs: Who ran the program, by task.
    """
    verdict = Verdict()
    for task in tasks:
        ends = told.get(task, ())
        verdict.lost += not ends
        verdict.doubled += len(ends) > 1
        verdict.done += ends == ["done"]
        verdict.failed += ends == ["failed"]
        verdict.contradicted += bool(ends) and stored.get(task) != ends[0]
        workers = runs.get(task, ())
        verdict.repeated += len(workers) != len(set(workers))
        verdict.idle += "done" in ends and not workers
    return verdict


@dataclass(slots=True, kw_only=True)
class Plan:
    """What to do."""

    faults: int = 200
    takeovers: int = 3
    seed: int = 1


@dataclass(slots=True)
class Stage:
    """A hub, an author of tasks, and workers that are killed."""

    plan: Plan
    folder: Path
    tasks: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    async def play(self) -> Verdict:
        """Do all of it."""
        hub = HubProcess(self.folder / "hub.sqlite", self.folder / "run")
        await asyncio.to_thread(hub.start)
        try:
            async with connect(hub.url, Keypair.generate(), name="author") as author:
                await author.request(Serve(service=ROLE), Joined)
                await self._suffer(hub, author)
                for number in range(self.plan.takeovers):
                    await self._take_over(hub, author, number)
                told = await _told(author)
            runs = _runs(self.folder)
        finally:
            await asyncio.to_thread(hub.stop)
        return judge(self.tasks, told, _stored(self.folder / "hub.sqlite"), runs)

    async def _suffer(self, hub: HubProcess, author: Client) -> None:
        """One worker that is killed, or loses its hub, and comes back each time."""
        chance = random.Random(self.plan.seed)
        deck: list[tuple[Step, str]] = []
        worker: Worker | None = None
        for _ in range(self.plan.faults):
            if not deck:
                deck = [(step, victim) for step in STEPS for victim in VICTIMS]
                chance.shuffle(deck)
            step, victim = deck.pop()
            self.tasks.append(await _ask(author))
            if worker is None:
                worker = await self._hire(hub, "worker")
            await worker.arm(step, victim)
            if victim == "worker":
                await worker.dies()
                worker = None
            else:
                await worker.stands_still()
                await asyncio.to_thread(hub.kill)
                await asyncio.to_thread(hub.start)
            self.faults[f"{step.value}/{victim}"] += 1
        worker = worker or await self._hire(hub, "worker")
        self.tasks.append(await _ask(author))
        await worker.arm(None, "")
        await worker.does(self.tasks[-1])
        await worker.leaves()

    async def _take_over(self, hub: HubProcess, author: Client, number: int) -> None:
        """A worker that never comes back, and another that takes its task."""
        self.tasks.append(await _ask(author))
        first = await self._hire(hub, f"gone-{number}")
        await first.arm((Step.TAKEN, Step.STARTED, Step.TOLD)[number % 3], "worker")
        await first.dies()
        second = await self._hire(hub, "heir")
        await second.arm(None, "")
        database = self.folder / "hub.sqlite"
        async with asyncio.timeout(TAKEOVER_SECS):
            while _stored(database).get(self.tasks[-1]) not in ENDS:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await second.leaves()

    async def _hire(self, hub: HubProcess, name: str) -> "Worker":
        home = self.folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        runs = self.folder / "runs"
        runs.mkdir(exist_ok=True)
        file = shlex.quote(str(runs / name))
        command = f'cat >/dev/null; echo "$PARLER_TASK_ID" >>{file}; echo well done'
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench._fault_worker"),
            *(hub.url, str(home), ROLE, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if not k.startswith("PARLER_")},
        )
        return Worker(process)


@dataclass(slots=True)
class Worker:
    """A worker's process."""

    process: asyncio.subprocess.Process

    async def arm(self, step: Step | None, victim: str) -> None:
        """Tell it the next fault; it goes on with that."""
        assert self.process.stdin is not None
        fault = {"step": step.value if step else None, "victim": victim}
        self.process.stdin.write(json.dumps(fault).encode() + b"\n")
        await self.process.stdin.drain()

    async def dies(self) -> None:
        """Wait until it has killed itself."""
        async with asyncio.timeout(FAULT_SECS):
            while await self._hears():
                pass
            status = await self.process.wait()
        assert status == -9, f"the worker ended with {status}"

    async def stands_still(self) -> None:
        """Wait until it is at the step."""
        await self._until("reached")

    async def does(self, task: str) -> None:
        """Wait until it has done a task."""
        await self._until("done", task)

    async def leaves(self) -> None:
        """End it."""
        self.process.kill()
        await self.process.wait()

    async def _until(self, what: str, which: str | None = None) -> None:
        async with asyncio.timeout(FAULT_SECS):
            while news := await self._hears():
                if what in news and which in (None, news[what]):
                    return
        raise RuntimeError(f"the worker ended before it said {what!r}")

    async def _hears(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        news: dict[str, Any] = json.loads(line) if line else {}
        return news


async def _ask(author: Client) -> str:
    parts: list[Part] = [TextPart(text="look at it"), DispatchPart(role=ROLE)]
    return (await author.send(ServiceTarget(service=ROLE), parts)).id


async def _told(author: Client) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = {}
    async for message in _all(author, ROOM):
        for part in message.parts:
            if isinstance(part, TaskPart) and part.status.final:
                assert message.signature is Signature.VALID
                ends.setdefault(part.task or "", []).append(part.status.value)
    return ends


async def _all(author: Client, room: RoomName) -> AsyncIterator[Message]:
    since = 0
    while (batch := await author.pull(room, since=since, limit=1000)).messages:
        for message in batch.messages:
            yield message
        since = batch.cursor


def _stored(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT message, state FROM claims"))


def _runs(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in (folder / "runs").iterdir():
        for task in file.read_text(encoding="utf-8").split():
            found.setdefault(task, []).append(file.name)
    return found


def main(arguments: Sequence[str]) -> int:
    """Carry out a plan; returns the exit status."""
    plan = _plan(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parler-workers-") as folder:
        stage = Stage(plan, Path(folder))
        verdict = asyncio.run(stage.play())
    line = {
        "bench": "workers",
        "tasks": len(stage.tasks),
        "faults": sum(stage.faults.values()),
        "kinds_of_faults": len(stage.faults),
        **asdict(verdict),
        "plan": asdict(plan),
        "seconds": round(time.monotonic() - started, 1),
        "ok": verdict.ok,
    }
    print(json.dumps(line))
    return 0 if verdict.ok else 1


def _plan(arguments: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m bench.workers", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--faults", type=int)
    parser.add_argument("--takeovers", type=int, help="each waits for a lease to end")
    parser.add_argument("--seed", type=int, help="of the order of faults")
    given = vars(parser.parse_args(arguments))
    return Plan(**{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
