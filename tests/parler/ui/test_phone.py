"""What the machine does for a phone that was paired, and for whoever has its key."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parler.errors import HubRefused
from parler.identity.devices import Devices
from parler.ops.ask import AskResult
from parler.ops.context import OpContext
from parler.ui.pairing import Code as Shown
from parler.ui.pairing import pair
from parler.ui.phone import Phones, key_of
from parler.ui.remote import Line
from parler.wire.base import Code
from parler.wire.foreign import exact
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import Invited, Joined, JoinPending
from parler.wire.requests import Invite, Redeem
from tests._support.memory_hub import until
from tests.parler.ui.test_pages import At, knocks, page

SECRET = bytes(range(32))


@dataclass
class Handset:
    """A phone: it counts, seals, signs, and reads what comes."""

    ctx: OpContext
    line: Line
    counter: int = 0
    seq: int = 0
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, counter: int | None = None, **command: Any) -> None:
        """Say something, under the next counter or under that one."""
        self.counter += counter is None
        number = self.counter if counter is None else counter
        part = self.line.seal(self.line.phone, self.line.person, number, command)
        await self.ctx.client.send(RoomTarget(room=self.line.room), [part])

    async def answer(self, command: str) -> dict[str, Any]:
        """What came of it."""
        while True:
            for one in self.heard:
                if one.get("re") == command:
                    self.heard.remove(one)
                    return one
            batch = await self.ctx.client.pull(self.line.room, wait_secs=30)
            for message in batch.messages:
                opened = self.line.opened(
                    self.line.person, self.line.phone, message.parts
                )
                if opened and message.author.id == self.line.person:
                    self.heard.append(json.loads(opened[1]))
            await batch.ack()


@asynccontextmanager
async def paired(at: At, devices: Devices) -> AsyncIterator[Handset]:
    """A phone that was paired, while it is answered."""
    made = await at.person.client.request(Invite(kind=RoomKind.DM), Invited)
    ctx = await at.stage.enter("phone")
    await ctx.client.request(Redeem(code=Code(exact(made.code))), (Joined, JoinPending))
    line = Line(SECRET, made.room, ctx.identity.agent_id, at.person.identity.agent_id)
    phone = Handset(ctx, line)
    digits = []

    async def agrees(name: str, shown: str) -> bool:
        digits.append(shown)
        return True

    await phone.says(do="pair", id="p", name="iPhone")
    shown = Shown(url="", room=made.room, secret=SECRET)
    assert await pair(at.person, devices, shown, agrees)
    assert digits == [line.comparison]

    async def ask(project: str, question: str) -> AskResult:
        raise AssertionError("there is no project")

    phones = Phones(at.desk, devices, ask, "vm")
    async with asyncio.TaskGroup() as tasks:
        staying = tasks.create_task(phones.stay())
        yield phone
        staying.cancel()


async def test_a_phone_decides_what_waits_once_and_gets_nothing_else(
    tmp_path: Path,
) -> None:
    async with page(tmp_path) as at:
        devices = Devices(tmp_path / "ann")
        async with paired(at, devices) as phone:
            bob = await knocks(at, "bob")
            await phone.says(do="look", id="1")
            [item] = (await phone.answer("1"))["state"]["items"]
            assert [one["act"] for one in item["acts"]] == ["approve", "reject"]
            for number, act in enumerate(("remove", "say", "accept", "answer")):
                command = f"x{number}"
                await phone.says(do="decide", id=command, key=item["key"], act=act)
                assert not (await phone.answer(command))["ok"]
            await phone.says(do="decide", id="y", key="elsewhere", act="approve")
            assert not (await phone.answer("y"))["ok"]
            await phone.says(do="ask", id="z", project="../home", question="?")
            assert not (await phone.answer("z"))["ok"]
            assert [key_of(one) for one in at.desk.items] == [item["key"]]

            decision: dict[str, Any] = {"do": "decide", "id": "d", "key": item["key"]}
            await phone.says(**decision, act="reject")
            first = await phone.answer("d")
            assert first["ok"]
            assert "stays out" in first["said"]
            # Said again, under its number: also if it says something else by then.
            await phone.says(counter=phone.counter, **decision, act="approve")
            await phone.says(**decision, act="approve")
            assert (await phone.answer("d"))["said"] == first["said"]
            listed = await at.browser.get("/agents")
            assert bob.identity.agent_id not in listed[1]
            [known] = devices.all()
            assert known.heard == phone.counter


async def test_what_is_lost_in_the_middle_is_told_and_not_tried_again(
    tmp_path: Path,
) -> None:
    async with page(tmp_path) as at:
        devices = Devices(tmp_path / "ann")
        async with paired(at, devices) as phone:
            await knocks(at, "bob")
            [item] = at.desk.items
            # As a machine leaves it that is switched off in mid-decision.
            devices.begin(phone.line.phone, phone.counter + 1, "d", once=True, now=1)
            phone.counter += 1
            decision: dict[str, Any] = {"do": "decide", "id": "d", "key": key_of(item)}
            await phone.says(**decision, act="approve")
            answer = await phone.answer("d")
            assert not answer["ok"]
            assert "stopped in the middle" in answer["said"]
            assert at.desk.items == [item]
            devices.remove("iphone")
            with suppress(HubRefused):  # its room may be gone by now
                await phone.says(do="decide", id="e", key=key_of(item), act="approve")
            await until(lambda: not at.desk.readers)
            assert at.desk.items == [item]
