"""What counts as read when a watch ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from parler.client.client import Batch, Client
from parler.ops.messages import ReceiveParams, ReceiveResult, SendParams, receive, send
from parler.ops.session import OpenParams, join_session, open_session
from parler.ops.watch import Audience, watch
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.records import RoomTarget
from tests._support.actors import stage


class BusyHub:
    """A client of a hub that takes an acknowledgement a moment later."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def follow(self, room: RoomName) -> AsyncIterator[Batch]:
        async def commit(room: RoomName, seq: int) -> None:
            await asyncio.sleep(0)
            await self._client.ack(room, seq)

        async for batch in self._client.follow(room):
            yield replace(batch, commit=commit)


class Leaver(Audience):
    """Ends the watch as soon as something was shown."""

    def __init__(self) -> None:
        self.watching: asyncio.Task[None] | None = None

    def hear(self, news: ReceiveResult) -> None:
        assert self.watching is not None
        self.watching.cancel()

    def still_there(self) -> None:
        pass


async def test_what_was_shown_counts_as_read_also_if_the_watch_ends_with_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as play:
        ann, bob = await play.enter("ann"), await play.enter("bob")
        opened = await open_session(ann, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        leaver = Leaver()
        busy: Any = BusyHub(bob.client)
        watching = watch(replace(bob, client=busy), opened.room, leaver)
        async with asyncio.TaskGroup() as tasks:
            leaver.watching = tasks.create_task(watching)
            said = SendParams(text="hello", target=RoomTarget(room=opened.room))
            await send(ann, said)
        assert leaver.watching.cancelled()
        assert (await receive(bob, ReceiveParams(room=opened.room))).messages == []
