"""A hub in use is backed up, killed, and restored elsewhere; its agents carry on."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from parler import Client, Keypair, RoomName, RoomTarget, TextPart, connect
from parler.wire.base import Code
from parler.wire.records import RoomKind
from parler.wire.replies import Invited, Joined, JoinPending
from parler.wire.requests import Invite, Redeem
from tests._support.processes import HubProcess, environment

BEFORE, BEFORE_BLOBS = 25, 3
NAMES = ("ann", "ben", "cid")
DATA = b"a file of the team"


class Load:
    """Agents that talk as fast as the hub lets them."""

    def __init__(self) -> None:
        self.keys = {name: Keypair.generate() for name in NAMES}
        self.acknowledged: dict[int, str] = {}
        self.room = RoomName("")
        self._wanted = 0
        self._enough = asyncio.Event()

    @asynccontextmanager
    async def agents(self, hub: str) -> AsyncIterator[list[Client]]:
        async with (
            connect(hub, self.keys["ann"], name="ann", reconnect=False) as ann,
            connect(hub, self.keys["ben"], name="ben", reconnect=False) as ben,
            connect(hub, self.keys["cid"], name="cid", reconnect=False) as cid,
        ):
            yield [ann, ben, cid]

    async def meet(self, agents: list[Client]) -> None:
        invited = await agents[0].request(Invite(kind=RoomKind.CHANNEL), Invited)
        self.room = invited.room
        for agent in agents[1:]:
            await agent.request(Redeem(code=Code(invited.code)), Joined | JoinPending)

    async def say(self, agent: Client, text: str) -> int:
        sent = await agent.send(RoomTarget(room=self.room), [TextPart(text=text)])
        self.acknowledged[sent.seq] = text
        if len(self.acknowledged) >= self._wanted:
            self._enough.set()
        return sent.seq

    async def more(self, count: int) -> None:
        """Wait until so many more messages are acknowledged."""
        self._enough.clear()
        self._wanted = len(self.acknowledged) + count
        await self._enough.wait()

    async def talk(self, agent: Client, name: str) -> None:
        number = 0
        while True:
            number += 1
            data = DATA + f" {name} {number}".encode()
            if number % 10 == 1:
                await agent.put_blob(RoomTarget(room=self.room), data)
            await self.say(agent, f"{name} {number}")


async def operate(hub: HubProcess, *arguments: str | Path) -> dict[str, object]:
    """Look after a hub's data with the program, while the hub runs or not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "parler", "hub", *map(str, arguments), "--json"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(hub.folder),
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    result: dict[str, object] = json.loads(said)
    return result


async def test_a_hub_in_use_moves_and_its_agents_carry_on(tmp_path: Path) -> None:
    load = Load()
    limits = {"PARLER_HUB_MAX_SENDS_PER_MIN": "0", "PARLER_HUB_MAX_OPS_PER_MIN": "0"}
    old = HubProcess(tmp_path / "old", PARLER_HUB_MAX_BLOBS_PER_HOUR="0", **limits)
    copy = tmp_path / "copy"
    async with load.agents(old.url) as agents:
        await load.meet(agents)
        talking: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            for agent, name in zip(agents, NAMES, strict=True):
                talking.append(group.create_task(load.talk(agent, name)))
            await load.more(BEFORE)
            promised = dict(load.acknowledged)
            await operate(old, "backup", copy, "--db", old.database)
            await load.more(len(NAMES))
            for task in talking:
                task.cancel()
        read = max(load.acknowledged)
        old.kill()

    new = tmp_path / "new" / "hub.sqlite"
    new.parent.mkdir()
    await operate(old, "restore", copy, "--db", new)
    checked = await operate(old, "check", "--db", new, "--deep")
    assert checked["ok"]
    assert int(str(checked["blobs"])) >= BEFORE_BLOBS

    moved = HubProcess(tmp_path / "new", **limits)
    assert moved.url != old.url
    try:
        async with load.agents(moved.url) as (ann, ben, cid):
            batch = await cid.pull(load.room, since=0, limit=1000)
            kept = {message.seq: message.text for message in batch.messages}
            assert promised.items() <= kept.items()
            assert kept.items() <= load.acknowledged.items()
            assert all(one.signature == "valid" for one in batch.messages)
            assert await fetched(cid, DATA + b" ann 1")
            # What was read after the backup is not, and hides nothing that is new.
            said = await load.say(ann, "we carry on")
            assert said > max(kept.keys() | load.acknowledged.keys() - {said})
            news = await ben.pull(load.room, ack=read)
            assert [message.text for message in news.messages][-1] == "we carry on"
    finally:
        moved.stop()


async def fetched(client: Client, data: bytes) -> bool:
    blob = await client.get_blob(hashlib.sha256(data).hexdigest())
    return blob.data == data
