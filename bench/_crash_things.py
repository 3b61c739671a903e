"""Agents that store blobs, remember facts and do work while their hub dies.

They note in `Things` what was acknowledged; `judge` holds that against what the last
hub hands out and what it left on the disk. Every count of `ThingsVerdict` must be zero.
"""

import asyncio
import hashlib
import itertools
import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

from bench._crash_agents import SEND_SECS
from parler.client.client import Client, connect
from parler.errors import ConnectFailed, DigestMismatch, HubError
from parler.identity.signing import Keypair
from parler.wire.base import AgentId, Digest, MessageId, RoomName
from parler.wire.foreign import exact
from parler.wire.names import service_room
from parler.wire.parts import DispatchPart
from parler.wire.records import Fact, RoomTarget, ServiceTarget, TaskStatus
from parler.wire.replies import (
    Claimed,
    Completed,
    Joined,
    PresenceOk,
    Queued,
    Recalled,
    Remembered,
)
from parler.wire.requests import (
    Claim,
    Complete,
    Presence,
    Queue,
    Recall,
    Remember,
    Serve,
)

ROLE = "crash"
SERVICE = service_room(ROLE)
KEYS = 8
LONG_SHARE = 0.2
"""Share of the facts whose words are indexed in several steps."""

LONG_WORDS, SHORT_WORDS = 9_000, 20
MAX_BLOB_BYTES = 300_000
PAUSE_SECS = 0.05
HOLD_SECS = 0.5
"""How long a worker works, so that a kill finds most of them at work."""

LEASE_SECS = 120
"""Longer than a run waits, so nobody else may take what a worker holds."""


def fact_text(author: AgentId, key: int, number: int, words: int) -> str:
    """What an agent remembers as the n-th thing under a key."""
    mark = f"{author[:12].lower()}x{key}x{number}"
    return f"{number} {words} {mark}first " + "filler " * words + f"{mark}last"


@dataclass(slots=True)
class Slot:
    """What was said and confirmed under one key."""

    said: int = -1
    confirmed: int = -1


@dataclass(slots=True)
class Things:
    """All that was stored, remembered and done."""

    blobs: dict[Digest, int] = field(default_factory=dict)
    facts: dict[tuple[AgentId, int], Slot] = field(default_factory=dict)
    tasks: set[MessageId] = field(default_factory=set)
    held: dict[MessageId, AgentId] = field(default_factory=dict)
    """Claims that were confirmed, and nobody has tried to complete yet."""

    holders: dict[MessageId, AgentId] = field(default_factory=dict)
    completed: set[MessageId] = field(default_factory=set)
    claimed_twice: int = 0
    refused: int = 0

    def claimed(self, task: MessageId, worker: AgentId) -> None:
        """Note a confirmed claim, whose lease nobody outlives."""
        self.claimed_twice += self.holders.get(task, worker) != worker
        self.claimed_twice += task in self.completed
        self.holders[task] = self.held[task] = worker

    @property
    def ripe(self) -> bool:
        """Whether there is something of each kind."""
        known = sum(slot.confirmed >= 0 for slot in self.facts.values())
        enough = len(self.blobs) >= 2 and known > 2 * KEYS
        return bool(enough and self.completed and self.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingsVerdict:
    """How often each promise about things was broken."""

    blobs_lost: int
    """Acknowledged, and not handed out whole."""
    blobs_torn: int
    """A file that is not what its name says."""
    blobs_without_row: int
    rows_without_blob: int
    facts_lost: int
    """Confirmed under its key, and the key has nothing, or something older."""
    facts_torn: int
    """Half a text, or not found by its first and last word alike."""
    facts_half: int
    """Neither found nor dropped, or indexed and not there."""
    work_lost: int
    """A task that is neither done nor offered nor held."""
    work_undone: int
    """Completed for its worker, and not for the hub."""
    work_stolen: int
    """Held by one worker, and another's for the hub or by a claim."""
    things_refused: int

    @property
    def ok(self) -> bool:
        """Whether all promises were kept."""
        return not any(getattr(self, count.name) for count in fields(self))


# ----------------------------------------------------------------------------- agents


class Keeper:
    """Stores blobs in a room, and facts for itself, one after the other."""

    def __init__(
        self, keypair: Keypair, room: RoomName, things: Things, chance: random.Random
    ) -> None:
        """Store nothing yet."""
        self.keypair = keypair
        self._room = room
        self._things = things
        self._chance = chance

    async def run(self, hub: str, stop: asyncio.Event) -> None:
        """Store until `stop`."""
        while not stop.is_set():
            with suppress(ConnectFailed):  # the hub died before we were in
                async with (
                    connect(hub, self.keypair, name="keeper") as client,
                    asyncio.TaskGroup() as group,
                ):
                    group.create_task(self._store(client, stop))
                    group.create_task(self._remember(client, stop))

    async def _store(self, client: Client, stop: asyncio.Event) -> None:
        target = RoomTarget(room=self._room)
        while not stop.is_set():
            data = self._chance.randbytes(self._chance.randint(1, MAX_BLOB_BYTES))
            try:
                stored = await client.put_blob(target, data, timeout=SEND_SECS)
            except HubError:
                self._things.refused += 1
            else:
                self._things.blobs[stored.id] = len(data)
            await asyncio.sleep(self._chance.random() * PAUSE_SECS)

    async def _remember(self, client: Client, stop: asyncio.Event) -> None:
        author = self.keypair.agent_id
        for number in itertools.count():
            if stop.is_set():
                return
            # Every second key is never used again, so that nothing hides its loss.
            key = number % KEYS if number % 2 else KEYS + number
            slot = self._things.facts.setdefault((author, key), Slot())
            words = LONG_WORDS if self._chance.random() < LONG_SHARE else SHORT_WORDS
            slot.said += 1
            text = fact_text(author, key, slot.said, words)
            fact = Fact(text=text, key=str(key))
            try:
                await client.request(Remember(fact=fact), Remembered, timeout=SEND_SECS)
            except HubError:
                self._things.refused += 1
            else:
                slot.confirmed = slot.said
            await asyncio.sleep(self._chance.random() * PAUSE_SECS)


class Worker:
    """Gives itself and others tasks, and does one after the other."""

    def __init__(self, keypair: Keypair, things: Things, chance: random.Random) -> None:
        """Do nothing yet."""
        self.keypair = keypair
        self._things = things
        self._chance = chance

    async def enlist(self, hub: str) -> None:
        """Serve from now on, over all restarts."""
        async with connect(hub, self.keypair, name="worker") as client:
            await client.request(Serve(service=ROLE), Joined)

    async def run(self, hub: str, stop: asyncio.Event) -> None:
        """Work until `stop`."""
        while not stop.is_set():
            with suppress(ConnectFailed):
                async with connect(hub, self.keypair, name="worker") as client:
                    await self._live(client, stop)

    async def _live(self, client: Client, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._give(client, stop))
            while not stop.is_set():
                presence = Presence(status="idle")
                await client.request(presence, PresenceOk, timeout=SEND_SECS)
                queue = Queue(room=SERVICE, role=ROLE)
                offered = await client.request(queue, Queued, timeout=SEND_SECS)
                for task in self._chance.sample(
                    offered.messages, min(1, len(offered.messages))
                ):
                    await self._do(client, task.id)
                await asyncio.sleep(PAUSE_SECS)

    async def _give(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set():
            target, parts = ServiceTarget(service=ROLE), [DispatchPart(role=ROLE)]
            sent = await client.send(target, parts, timeout=SEND_SECS)
            self._things.tasks.add(sent.id)
            await asyncio.sleep(HOLD_SECS)

    async def _do(self, client: Client, task: MessageId) -> None:
        claim = Claim(room=SERVICE, message=task, lease_secs=LEASE_SECS)
        claimed = await client.request(claim, Claimed, timeout=SEND_SECS)
        if not claimed.claimed:
            return  # the other was faster
        self._things.claimed(task, self.keypair.agent_id)
        await asyncio.sleep(self._chance.uniform(HOLD_SECS, 2 * HOLD_SECS))
        self._things.held.pop(task, None)
        done = Complete(room=SERVICE, message=task, status=TaskStatus.DONE)
        ended = await client.request(done, Completed, timeout=SEND_SECS)
        if ended.completed:  # else a repetition found it done: the disk tells
            self._things.completed.add(task)


# ---------------------------------------------------------------------------- judgement


async def ask(hub: str, keepers: list[Keeper], things: Things) -> dict[str, int]:
    """What a hub that has settled hands out of what it acknowledged."""
    found = {"blobs_lost": 0, "facts_lost": 0, "facts_torn": 0}
    async with connect(hub, keepers[0].keypair, name="judge") as client:
        for digest, size in things.blobs.items():
            try:
                blob = await client.get_blob(digest)
                found["blobs_lost"] += len(blob.data) != size
            except (HubError, DigestMismatch):
                found["blobs_lost"] += 1
    for keeper in keepers:
        author = keeper.keypair.agent_id
        async with connect(hub, keeper.keypair, name="keeper") as client:
            for (whose, key), slot in things.facts.items():
                if whose == author:
                    lost, torn = await _judge_fact(client, author, key, slot)
                    found["facts_lost"] += lost
                    found["facts_torn"] += torn
    return found


async def _judge_fact(
    client: Client, author: AgentId, key: int, slot: Slot
) -> tuple[bool, bool]:
    asked = Recall(query="", key=str(key))
    hits = (await client.request(asked, Recalled, timeout=SEND_SECS)).hits
    if not hits:
        return slot.confirmed >= 0, False
    [text] = [exact(hit.text) for hit in hits]
    number, words = (int(word) for word in text.split(" ", 2)[:2])
    lost = not slot.confirmed <= number <= slot.said
    torn = text != fact_text(author, key, number, words)
    for end in ("first", "last"):
        mark = f"{author[:12].lower()}x{key}x{number}{end}"
        asked = Recall(query=mark)
        hits = (await client.request(asked, Recalled, timeout=SEND_SECS)).hits
        torn = torn or [hit.text for hit in hits] != [text]
    return lost, torn


def judge(
    database: Path, blobs: Path, things: Things, found: Mapping[str, int]
) -> ThingsVerdict:
    """Hold what was acknowledged against what a stopped hub left on the disk."""
    with closing(sqlite3.connect(database)) as disk:
        rows = {digest for (digest,) in disk.execute("SELECT digest FROM blobs")}
        claims = {
            message: (worker, state)
            for message, worker, state in disk.execute(
                "SELECT message, worker, state FROM claims"
            )
        }
        waiting = disk.execute("SELECT message FROM dispatches")
        offered = {message for (message,) in waiting}
        half = disk.execute(
            "SELECT (SELECT count(*) FROM facts WHERE state != 0) + (SELECT count(*) "
            "FROM fact_pieces WHERE id >> 12 NOT IN (SELECT id FROM facts))"
        ).fetchone()[0]
        half += not _index_is_sound(disk)
    files = {path.name for path in blobs.iterdir()} if blobs.is_dir() else set()
    done = {task for task, (_, state) in claims.items() if state == "done"}
    return ThingsVerdict(
        **found,
        blobs_torn=sum(_digest(blobs / name) != name for name in files),
        blobs_without_row=len(files - rows),
        rows_without_blob=len(rows - files),
        facts_half=half,
        work_lost=len(things.tasks - offered - done) + len(offered & done),
        work_undone=len(things.completed - done),
        work_stolen=things.claimed_twice
        + sum(
            claims.get(task, (None, ""))[0] not in (None, worker)
            for task, worker in things.holders.items()
        ),
        things_refused=things.refused,
    )


def _index_is_sound(disk: sqlite3.Connection) -> bool:
    check = "INSERT INTO facts_fts (facts_fts, rank) VALUES ('integrity-check', 1)"
    try:
        disk.execute(check)
    except sqlite3.DatabaseError:
        return False
    return True


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------------------- sabotage

WRONGS = (
    "DELETE FROM blob_rooms",
    "DELETE FROM facts WHERE CAST(key AS INTEGER) >= 8 AND key % 4 = 0",
    "UPDATE facts SET text = substr(text, 1, length(text) - 3) "
    "WHERE CAST(key AS INTEGER) >= 8 AND key % 4 = 2",
    "UPDATE claims SET state = 'active', lease_until = 0 WHERE state = 'done'",
    "UPDATE claims SET worker = 'another' WHERE state = 'active' AND lease_until > 0",
)
"""What `--sabotage things` does to a database."""


def wrong(database: Path, blobs: Path, things: Things) -> None:
    """Do all of it, tear a file and delete another.

    Both were acknowledged: what was not is uploaded again, and so is whole again.
    """
    with closing(sqlite3.connect(database)) as disk, disk:
        for statement in WRONGS:
            disk.execute(statement)
    torn, gone = (blobs / digest for digest in sorted(things.blobs)[:2])
    torn.write_bytes(torn.read_bytes()[:-1])
    gone.unlink()
