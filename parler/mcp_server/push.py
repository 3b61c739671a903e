"""Telling an idle agent that something waits, by the best way its app has now.

Claude Code shows what a channel says, unless it was not told to; nobody learns which.
So what was pushed there waits on until it was confirmed or shown otherwise. Apps that
confirm what they take are given it once. A hook that waits beside the session takes
what the spool offers, by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from parler.apps.kit.app import App
from parler.apps.kit.waker import WakeKind
from parler.errors import ConfigError, HubError, ParlerError
from parler.mcp_server.tool_call import Host
from parler.ops.context import OpContext
from parler.ops.rooms import roster
from parler.runtime.delivery import Delivery
from parler.runtime.log_file import LogFile
from parler.runtime.presence import Presence
from parler.runtime.receipt import Receipt
from parler.wake.spool import Item
from parler.wake.waiter import is_armed
from parler.wake.wakers import find_waker, wake_kind
from parler.wire.base import AgentId, RoomName

SETTLE_SECS = 0.3
"""A call or a hook that comes at the same moment may take it first."""

AGAIN_SECS = 5.0
"""How often a way into the app is looked for."""

MEMBERS_SECS = 60.0
MAX_PUSHED = 1000
MAX_CHARS = 9000

Notify = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Pusher:
    """Reaches the model of one host."""

    def __init__(
        self,
        delivery: Delivery,
        presence: Presence,
        *,
        home: Path,
        environment: Mapping[str, str],
        log: LogFile,
        notify: Notify,
    ) -> None:
        """Nothing is pushed before `run`.

        Args:
            notify: Sends the host a notification.
        """
        self.host: Host | None = None
        self.thread: str | None = None
        """What the app calls the conversation, if it told us."""

        self.calls = 0
        """Calls being worked on: their results will bring what waits."""

        self.channel_seen = False
        self._delivery = delivery
        self._presence = presence
        self._home = home
        self._environment = environment
        self._log = log
        self._notify = notify
        self._pushed: dict[tuple[str, int, str], None] = {}
        self._members: dict[RoomName, tuple[float, frozenset[AgentId]]] = {}

    @property
    def app(self) -> App | None:
        """Which agent app it is, as far as its own word goes."""
        return self.host.app if self.host else None

    async def run(self, ctx: OpContext) -> None:
        """Push what arrives while a hub is connected, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_ways())
            while True:
                await self._delivery.heard_of_news()
                await asyncio.sleep(SETTLE_SECS)
                if self._delivery.leads and self.host and not self._is_busy():
                    await self._push(ctx, self.host)

    def _is_busy(self) -> bool:
        return self.calls > 0 or self._delivery.waiters > 0

    async def _push(self, ctx: OpContext, host: Host) -> None:
        fresh = [
            item
            for item in self._delivery.waiting()
            if item.urgent and item.mark not in self._pushed
        ]
        if not fresh:
            return
        if host.channel:
            if not is_armed(self._home):
                for item in fresh:
                    await self._through_channel(ctx, host.channel, item)
            return
        await self._through_app(fresh)

    async def _through_channel(self, ctx: OpContext, channel: str, item: Item) -> None:
        self._note(item)
        meta = {"kind": "notice"}
        if item.seq:
            entry = self._delivery.author_is_proven(item)
            if entry is None or entry.author is None:
                return  # unsigned: it waits for a tool's result, where that is said
            room = RoomName(item.room)
            if entry.author not in await self._members_of(ctx, room):
                return
            meta = {
                "kind": "message",
                "ref": f"{item.room}#{item.seq}",
                "author": entry.author,
            }
        said = {"content": item.text[:MAX_CHARS], "meta": meta}
        await self._notify(f"notifications/{channel}", said)

    async def _through_app(self, fresh: list[Item]) -> None:
        app = self.app
        if app is None:
            return
        waker = await find_waker(
            app, env=self._environment, thread_id=self.thread, home=self._home
        )
        self._presence.reachable(wake_kind(self._home, waker))
        if waker is None:
            return
        got = await self._delivery.collect(max_chars=MAX_CHARS)
        if got.held is None or not got.items:
            return
        for item in fresh:
            self._note(item)
        text = "\n".join(item.text for item in got.items)
        arrived = False
        try:
            arrived = await waker.wake(text)
        finally:
            self._delivery.settled(Receipt(holds=[got.held]), arrived)
        self._log.note("woke the app" if arrived else "the app was not woken")

    async def _members_of(self, ctx: OpContext, room: RoomName) -> frozenset[AgentId]:
        now = asyncio.get_running_loop().time()
        known = self._members.get(room)
        if known and now - known[0] < MEMBERS_SECS:
            return known[1]
        try:
            entries = (await roster(ctx, room)).entries
        except ParlerError:
            return frozenset()
        members = frozenset(one.id for one in entries)
        self._members[room] = (now, members)
        return members

    async def _watch_ways(self) -> None:
        while True:
            if self.host is not None:
                called = self.app.id if self.app else self.host.name[:40]
                self._presence.app = called or None
                self._presence.reachable(await self._best_way(self.host))
            await asyncio.sleep(AGAIN_SECS)

    async def _best_way(self, host: Host) -> WakeKind:
        if host.channel and self.channel_seen:
            return WakeKind.PUSH
        waker = None
        if self.app is not None:
            try:
                waker = await find_waker(
                    self.app,
                    env=self._environment,
                    thread_id=self.thread,
                    home=self._home,
                )
            except (ConfigError, HubError, OSError) as failed:
                self._log.note(f"no way into the app: {type(failed).__name__}")
        return wake_kind(self._home, waker)

    def _note(self, item: Item) -> None:
        self._pushed[item.mark] = None
        while len(self._pushed) > MAX_PUSHED:
            del self._pushed[next(iter(self._pushed))]
