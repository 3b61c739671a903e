"""What is fetched of the rooms of a hub, and what is only looked through."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from parler.client.acquaintance import Acquaintance
from parler.client.client import Client, connect
from parler.client.messages import Batch, Message
from parler.identity.identity import ensure_identity, set_active_session
from parler.identity.known_rooms import KnownRooms
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.runtime.bootstrap import now, reader_of
from parler.runtime.follower import MAX_UNJUDGED, Follower
from parler.runtime.knocks import Knocks
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.wire.base import Code, RoomName
from parler.wire.records import DeliveryState, StoredMessage
from parler.wire.replies import Delivery, Joined, JoinPending, Left
from parler.wire.requests import Leave, Redeem
from tests._support.mcp_peers import Peer, peer
from tests._support.polling import WAIT
from tests._support.processes import HubProcess


class Board:
    """Takes no notices."""

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        raise AssertionError(text)

    def withdraw(self, key: str, room: str = "") -> None:
        raise AssertionError(key)


class PausedClient:
    """A client whose later pages reach nobody before they are let through."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.pulled, self.let_through = asyncio.Event(), asyncio.Event()
        self.let_through.set()
        self.judging, self.may_judge = threading.Event(), threading.Event()

    def judge(self, stored: StoredMessage) -> Message:
        self.judging.set()
        assert self.may_judge.wait(WAIT), "nothing else went on meanwhile"
        return self._client.judge(stored)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def pull(self, room: RoomName, **options: Any) -> Batch:
        batch = await self._client.pull(room, **options)
        if options.get("since"):
            self.pulled.set()
            await self.let_through.wait()
        return batch


class Scene:
    """Ann, who follows rooms of Bob's."""

    def __init__(
        self,
        client: Client,
        home: Path,
        hub: str,
        bob: Peer,
        acquaintance: Acquaintance | None = None,
    ) -> None:
        identity, _ = ensure_identity(home, hub_url=hub, name="ann")
        self.home, self.bob, self.mailbox = home, bob, Mailbox()
        self.client: Any = PausedClient(client)
        self.ctx = OpContext(
            client=self.client,
            identity=identity,
            hub=hub,
            known_rooms=KnownRooms(home),
            acquaintance=acquaintance,
            now=now,
        )
        self.mailbox.begin(hub, None)
        self.follower = Follower(
            self.ctx,
            reader_of(identity),
            self.mailbox,
            Knocks(Board()),
            log=LogFile(home, now=now, name="a/1"),
            max_chars=None,
        )

    async def joins(self) -> RoomName:
        key, room = await self.bob.opens()
        await self.client.request(Redeem(code=Code(key)), (Joined, JoinPending))
        return room

    async def catches_up(self) -> None:
        self.follower.rescan = True
        await self.follower.catch_up()

    def waiting(self) -> list[tuple[str, int]]:
        return [(one.room, one.seq) for one in self.mailbox.waiting()]


@asynccontextmanager
async def following(hub: HubProcess, home: Path) -> AsyncIterator[Scene]:
    identity, _ = ensure_identity(home, hub_url=hub.url, name="ann")
    async with (
        peer(hub.url) as bob,
        connect(hub.url, identity.keypair, name="ann") as client,
    ):
        yield Scene(client, home, hub.url, bob)


async def test_all_of_the_active_session_is_fetched_and_of_others_what_names_us(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with following(hub, tmp_path) as scene:
        active, other = await scene.joins(), await scene.joins()
        set_active_session(scene.home, active)
        said = await scene.bob.says(active, "hello")
        await scene.bob.says(other, "nobody in particular")
        handed = await scene.bob.hands(other, "look at the logs", to="ann")
        await register(scene.ctx, RegisterParams())
        direct = await scene.bob.tells(scene.client.agent_id, "between us")
        await scene.catches_up()
        first, second, third = scene.waiting()
        assert (first, second[0], third) == ((active, said), direct, (other, handed))


async def test_fetching_tells_the_hub_nothing(hub: HubProcess, tmp_path: Path) -> None:
    async with following(hub, tmp_path) as scene:
        room = await scene.joins()
        set_active_session(scene.home, room)
        seq = await scene.bob.says(room, "hello")
        await scene.catches_up()
        receipts = await scene.bob.receipts(room, seq)
        assert receipts["ann"].state is not DeliveryState.SEEN


async def test_what_a_shell_of_the_agent_has_read_is_dropped(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with following(hub, tmp_path) as scene:
        room = await scene.joins()
        set_active_session(scene.home, room)
        first = await scene.bob.says(room, "one")
        second = await scene.bob.says(room, "two")
        await scene.catches_up()
        assert scene.waiting() == [(room, first), (room, second)]
        await scene.client.ack(room, first)
        await scene.catches_up()
        assert scene.waiting() == [(room, second)]


async def test_a_room_that_was_left_is_not_followed_any_more(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with following(hub, tmp_path) as scene:
        room = await scene.joins()
        set_active_session(scene.home, room)
        await scene.bob.says(room, "hello")
        await scene.catches_up()
        await scene.client.request(Leave(room=room), Left)
        await scene.catches_up()
        assert scene.waiting() == []


async def test_what_is_under_way_while_all_is_judged_anew_leaves_no_gap(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with following(hub, tmp_path) as scene:
        room = await scene.joins()
        set_active_session(scene.home, room)
        first = await scene.bob.says(room, "one")
        await scene.catches_up()
        second = await scene.bob.says(room, "two")
        scene.client.pulled.clear()
        scene.client.let_through.clear()
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            tasks.create_task(scene.catches_up())
            await scene.client.pulled.wait()
            scene.mailbox.judge_anew()
            scene.client.let_through.set()
        await scene.catches_up()
        assert scene.waiting() == [(room, first), (room, second)]


async def test_nothing_waits_while_a_pushed_mention_is_judged(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with following(hub, tmp_path) as scene:
        room = await scene.joins()
        await scene.catches_up()
        seq = await scene.bob.hands(room, "look at the logs", to="ann")
        (pushed,) = (await scene.client.pull(room)).messages
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            for _ in range(2 * MAX_UNJUDGED):  # more than is kept is looked for later
                scene.follower.heard(Delivery(message=pushed.stored))
            assert scene.follower.rescan
            scene.follower.rescan = False
            tasks.create_task(scene.follower.catch_up())
            await asyncio.to_thread(scene.client.judging.wait)
            scene.client.may_judge.set()
        assert scene.waiting() == [(room, seq)]
