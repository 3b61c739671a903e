"""Kill a hub again and again while agents talk, and see what became of their messages.

    python -m bench.crash [--kills 20] [--attack] [--power-cut] [--sabotage drop]

Prints one JSON line; exit 1 if anything acknowledged was lost, doubled, reordered, or
read wrongly. See README.md for what each count means.
"""

import argparse
import asyncio
import json
import math
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench._crash_agents import SEND_SECS, Reader, Sender
from bench._crash_ledger import Ledger, Line, Said, Verdict, judge
from bench._crash_things import Keeper, Things, ThingsVerdict, Worker
from bench._crash_things import ask as ask_for_things
from bench._crash_things import judge as judge_things
from bench._crash_things import wrong as wrong_things
from bench._hub_process import UNLIMITED, UNSYNCED, WAIT_SECS, HubProcess
from bench._load import Agent, open_room, sources
from bench.powercut import PowerCut, PowerCutError
from parler.identity.signing import Keypair
from parler.wire.base import AgentId, RoomName

SHARED = (
    *(flag for flag in UNLIMITED if not flag.startswith("--max-connections")),
    f"--max-blob-dir-bytes={16 * 2**30}",
    "--max-blobs-per-hour=0",
)
"""A hub under attack has its ordinary places, and lets the attackers be hasty."""

SMALL = {resource.RLIMIT_DATA: 512 * 2**20, resource.RLIMIT_NOFILE: 1536}
"""And it has no more than the machine of `fly.toml`."""

EARLY_SHARE = 0.2
"""Share of the kills that hit a hub while it starts."""

EARLY_SECS = 0.5
STRICT_SHARE = 0.3
"""Share of the power cuts that leave nothing at all of what was not synced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens in one run."""

    kills: int = 20
    senders: int = 4
    readers: int = 4
    rooms: int = 2
    keepers: int = 2
    workers: int = 2
    window: int = 4
    seconds_between: float = 1.0
    seconds: float = math.inf
    seed: int = 1
    power_cut: bool = False
    attack: bool = False
    sabotage: str | None = None


# One run's database is wronged by these between a kill and the start after it, to see
# that the checker notices. `seq` and `later` are acknowledged messages of one author in
# one room.
SABOTAGE: Mapping[str, str] = {
    "drop": "DELETE FROM messages WHERE seq = :seq",
    "duplicate": "INSERT INTO messages (room, id, author, ts, record) "
    "SELECT room, id || '-', author, ts, record FROM messages WHERE seq = :seq",
    "swap": "UPDATE messages SET record = other.record FROM "
    "(SELECT seq, record FROM messages) AS other WHERE messages.seq IN (:seq, :later) "
    "AND other.seq = :seq + :later - messages.seq",
    "rewind": "UPDATE members SET cursor = 0",
    "skip": "UPDATE members SET cursor = 2 + (SELECT max(seq) FROM messages)",
}
WRONG_THINGS = "things"
"""Wrongs everything that is no message: blobs, facts, work."""

UNSYNCED_HUB = "unsync"
"""The one sabotage that is done to the hub: it shows only in a power cut."""


class Stage:
    """One hub, its disk, its agents, and the hand that kills it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Prepare; start nothing yet."""
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._db = folder / "root" / "hub.sqlite"
        self._blobs = self._db.with_name(f"{self._db.name}.blobs")
        program = UNSYNCED if plan.sabotage == UNSYNCED_HUB else ("-m", "hub")
        self._hub = HubProcess(
            self._db,
            folder,
            program=program,
            flags=SHARED if plan.attack else UNLIMITED,
            limits=SMALL if plan.attack else None,
        )
        self._power: PowerCut | None = None
        if plan.power_cut:
            shadow, build = folder / "shadow", folder / "build"
            self._power = PowerCut(self._db.parent, shadow, build)
        self.ledger = Ledger()
        self._gate = asyncio.Event()
        self._senders: list[Sender] = []
        self._readers: list[Reader] = []
        self._rooms: list[RoomName] = []
        self._logs: dict[RoomName, list[Line]] = {}
        self.things = Things()
        self._keepers: list[Keeper] = []
        self._workers: list[Worker] = []
        self._found: dict[str, int] = {}
        self._wronged = plan.sabotage not in {*SABOTAGE, WRONG_THINGS}
        self.kills = self.cuts = self.in_flight_at_kills = self.stop_status = 0
        self.attackers_got: dict[str, int] = {}

    async def play(self) -> tuple[Verdict, ThingsVerdict, bool]:
        """Run the whole plan; returns what came out, and whether the file is whole."""
        try:
            await asyncio.to_thread(self._launch)
            await asyncio.to_thread(self._hub.wait_until_ready)
            await self._set_up()
            if self._plan.sabotage == UNSYNCED_HUB:  # the rooms shall survive
                await asyncio.to_thread(self._hub.stop)
                await asyncio.to_thread(self._launch)
            async with self._attackers(), self._agents() as stop:
                over = time.monotonic() + self._plan.seconds
                while self.kills < self._plan.kills and time.monotonic() < over:
                    early = self.kills > 0 and self._chance.random() < EARLY_SHARE
                    await self._live(early=early)
                    await self._kill(early=early)
                    self.kills += 1
                await self._live(early=False)
                stop.set()
            self.stop_status = await asyncio.to_thread(self._hub.stop)
        finally:
            self._hub.kill()
        things = judge_things(self._db, self._blobs, self.things, self._found)
        return judge(self.ledger, self._logs), things, self._is_whole()

    @property
    def hub_errors(self) -> list[str]:
        """What the hub logged as errors."""
        return self._hub.complaints()

    async def _set_up(self) -> None:
        plan = self._plan
        people = plan.senders + plan.keepers + plan.readers
        keypairs = [Keypair.generate() for _ in range(people)]
        froms = sources()
        for number in range(plan.rooms):
            owner, *others = keypairs
            name = f"crash-{number}"
            room = await open_room(self._hub.url, name, owner, others, froms)
            self._rooms.append(room)
        for keypair in keypairs[: plan.senders]:
            chance = random.Random(self._chance.random())
            self._senders.append(
                Sender(keypair, self._rooms, self.ledger, chance, window=plan.window)
            )
        following = plan.senders + plan.keepers
        for keypair in keypairs[plan.senders : following]:
            chance = random.Random(self._chance.random())
            self._keepers.append(Keeper(keypair, self._rooms[0], self.things, chance))
        for _ in range(plan.workers):
            chance = random.Random(self._chance.random())
            worker = Worker(Keypair.generate(), self.things, chance)
            await worker.enlist(self._hub.url)
            self._workers.append(worker)
        for number, keypair in enumerate(keypairs[following:]):
            self._readers.append(
                Reader(
                    keypair,
                    self._rooms,
                    self.ledger,
                    self._gate,
                    forgetful=number % 2 == 1,
                )
            )

    @asynccontextmanager
    async def _agents(self) -> AsyncIterator[asyncio.Event]:
        """Agents at work; in the end all is said, confirmed and read."""
        stop = asyncio.Event()
        url = self._hub.url
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(reader.run(url)) for reader in self._readers]
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as talk:
                agents: list[Sender | Keeper | Worker] = [
                    *self._senders,
                    *self._keepers,
                    *self._workers,
                ]
                for agent in agents:
                    talk.create_task(agent.run(url, stop))
                yield stop
                limit.reschedule(asyncio.get_running_loop().time() + 2 * SEND_SECS)
            self._logs = {room: await self._read(room) for room in self._rooms}
            await _until(self._all_read, WAIT_SECS)
            self._found = await ask_for_things(url, self._keepers, self.things)
            for task in readers:
                task.cancel()

    @asynccontextmanager
    async def _attackers(self) -> AsyncIterator[None]:
        """Attackers beside all that happens, if the plan has some."""
        if not self._plan.attack:
            yield
            return
        attackers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench._crash_attackers", self._hub.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield
            async with asyncio.timeout(WAIT_SECS):
                said, _ = await attackers.communicate(b"")
            self.attackers_got = json.loads(said)
        finally:
            if attackers.returncode is None:
                attackers.kill()
                await attackers.wait()

    def _all_read(self) -> bool:
        return all(
            reader.reading(room).acked >= log[-1].seq
            for reader in self._readers
            for room, log in self._logs.items()
            if log
        )

    # -- lives and deaths

    async def _live(self, *, early: bool) -> None:
        if early:
            await asyncio.sleep(self._chance.uniform(0, EARLY_SECS))
            return
        await asyncio.to_thread(self._hub.wait_until_ready)
        for reader in self._readers:
            await self._compare_cursors(reader)
        self._gate.set()
        # All talk before the next kill, so that none waits longer and longer to return.
        before = [sender.confirmed for sender in self._senders]
        if not await _until(lambda: self._all_talk(before), WAIT_SECS):
            raise TimeoutError("a sender got nothing acknowledged any more")
        await asyncio.sleep(self._chance.uniform(0, 2 * self._plan.seconds_between))
        if not self._wronged:  # what is there to be wronged may be gone in a moment
            await _until(self._is_ripe, WAIT_SECS)
        self._hub.check_alive()

    def _all_talk(self, before: Sequence[int]) -> bool:
        now = (sender.confirmed for sender in self._senders)
        return all(more > less for more, less in zip(now, before, strict=True))

    async def _compare_cursors(self, reader: Reader) -> None:
        async with await Agent.connect(self._hub.url, reader.keypair) as agent:
            for room in self._rooms:
                pulled = await agent.ask("pulled", "pull", room=room, limit=0, ack=0)
                self.ledger.compare_cursor(
                    reader.keypair.agent_id, room, pulled["cursor"]
                )

    async def _kill(self, *, early: bool) -> None:
        self._gate.clear()
        self._hub.kill()  # before anything else happens: what is ripe now is wronged
        self.in_flight_at_kills += self.ledger.sent - self.ledger.confirmed
        for reader in self._readers:
            reader.crash()
        # What the hub had confirmed before it died is now in our buffers: take it.
        await asyncio.sleep(0)
        await asyncio.to_thread(self._between_lives, early=early)

    def _between_lives(self, *, early: bool) -> None:
        if self._power is not None:
            self._cut(self._power, early=early)
        if not self._wronged:
            self._sabotage()
        self._launch()

    def _cut(self, power: PowerCut, *, early: bool) -> None:
        strict = self._chance.random() < STRICT_SHARE
        try:
            power.cut(torn_seed=None if strict else self._chance.getrandbits(32))
            self.cuts += 1
        except PowerCutError:
            if not early:  # else it had not even begun to run
                raise

    def _launch(self) -> None:
        environment = None if self._power is None else self._power.environment()
        self._hub.launch(environment=environment)

    def _sabotage(self) -> None:
        if self._plan.sabotage == WRONG_THINGS:
            self._wronged = self.things.ripe
            if self._wronged:
                wrong_things(self._db, self._blobs, self.things)
                if self._power is not None:
                    self._power.seed()
            return
        places = self._victims()
        if places is None:
            return  # at the next kill
        assert self._plan.sabotage is not None
        with closing(sqlite3.connect(self._db)) as database, database:
            database.execute(SABOTAGE[self._plan.sabotage], places)
        if self._power is not None:
            self._power.seed()
        self._wronged = True

    def _is_ripe(self) -> bool:
        if self._plan.sabotage == WRONG_THINGS:
            return self.things.ripe
        return self._victims() is not None

    def _victims(self) -> dict[str, int] | None:
        """Two messages to be wronged: of one author and room, and read by all."""
        for room, said in self.ledger.acknowledged.items():
            read = min(
                (reader.reading(room).acked for reader in self._readers), default=0
            )
            author = next(iter(said)).author
            mine = sorted(seq for one, seq in said.items() if one.author == author)
            if len(mine) >= 2 and mine[1] <= read:
                return {"seq": mine[0], "later": mine[1]}
        return None

    # -- what is left

    async def _read(self, room: RoomName) -> list[Line]:
        """The whole log of a room, from a hub that has settled."""
        log: list[Line] = []
        since = 0
        async with await Agent.connect(
            self._hub.url, self._senders[0].keypair
        ) as agent:
            while True:
                pulled = await agent.ask(
                    "pulled", "pull", room=room, since=since, limit=1000
                )
                if not pulled["messages"]:
                    return log
                log += map(_line, pulled["messages"])
                since = pulled["cursor"]

    def _is_whole(self) -> bool:
        with closing(sqlite3.connect(self._db)) as database:
            return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _line(message: Mapping[str, Any]) -> Line:
    text = message["parts"][0]["text"]
    return Line(message["seq"], Said(AgentId(message["from"]["id"]), int(text)))


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  (many things make it true)
                await asyncio.sleep(0.01)
    return condition()


def main(arguments: Sequence[str]) -> int:
    """Run one plan and print its line."""
    plan = _plan(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        stage = Stage(plan, Path(folder))
        verdict, things, whole = asyncio.run(stage.play())
    ledger = stage.ledger
    ok = (
        verdict.ok
        and things.ok
        and whole
        and not ledger.refused
        and not stage.stop_status
        and all(stage.attackers_got.values())  # else it was no attack
    )
    print(
        json.dumps(
            {
                "bench": "crash",
                "kills": stage.kills,
                "power_cuts": stage.cuts,
                "sent": ledger.sent,
                "acknowledged": ledger.confirmed,
                **asdict(verdict),
                "blobs": len(stage.things.blobs),
                "facts": sum(slot.said + 1 for slot in stage.things.facts.values()),
                "claims": len(stage.things.holders),
                "completed": len(stage.things.completed),
                **asdict(things),
                "damaged": not whole,
                "stop_status": stage.stop_status,
                "refused": dict(ledger.refused),
                "in_flight_at_kills": stage.in_flight_at_kills,
                "redelivered_before_ack": sum(
                    reading.redelivered for reading in ledger.readings.values()
                ),
                "attackers_got": stage.attackers_got,
                "hub_errors": stage.hub_errors[:3],
                "plan": {
                    name: value
                    for name, value in asdict(plan).items()
                    if value != math.inf  # which JSON has not
                },
                "seconds": round(time.monotonic() - started, 1),
                "ok": ok,
            }
        )
    )
    return 0 if ok else 1


def _plan(arguments: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int)
    parser.add_argument("--senders", type=int)
    parser.add_argument("--readers", type=int)
    parser.add_argument("--rooms", type=int)
    parser.add_argument("--keepers", type=int, help="who store blobs and facts")
    parser.add_argument("--workers", type=int, help="who claim and complete work")
    parser.add_argument("--window", type=int, help="messages on their way per sender")
    parser.add_argument("--seconds-between", type=float, help="mean life of a hub")
    parser.add_argument("--seconds", type=float, help="begin no life after so many")
    parser.add_argument("--seed", type=int, help="of when it is killed")
    parser.add_argument(
        "--power-cut",
        action="store_true",
        default=None,
        help="each restart sees only what had been synced",
    )
    parser.add_argument(
        "--attack",
        action="store_true",
        default=None,
        help="attackers want the hub's memory, places, time and disk meanwhile",
    )
    parser.add_argument(
        "--sabotage",
        choices=[*SABOTAGE, WRONG_THINGS, UNSYNCED_HUB],
        help="wrong the database or the hub, to see it noticed",
    )
    given = vars(parser.parse_args(arguments))
    return Plan(**{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
