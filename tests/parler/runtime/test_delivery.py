"""Every message reaches the model, and none counts as read before it did."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

from parler.identity.homes import machine_home
from parler.identity.identity import load_identity
from parler.identity.senders import Senders
from parler.wire.base import RoomName
from parler.wire.records import DeliveryState
from tests._support.mcp_hosts import Host, at_work, environment, home_of
from tests._support.mcp_peers import Peer, peer
from tests._support.polling import WAIT, comes
from tests._support.processes import HubProcess


class Scene:
    """Ann, whose app runs our server, and Bob, in one session."""

    def __init__(self, hub: HubProcess, folder: Path, **more: str) -> None:
        self.hub, self.folder = hub, folder
        self.environment = environment(folder, hub.url, "ann", **more)
        self.room = RoomName("")
        self.bob: Peer

    async def begins(self, stack: AsyncExitStack) -> Host:
        self.bob = await stack.enter_async_context(peer(self.hub.url))
        host = await stack.enter_async_context(at_work(self.environment, self.folder))
        key, self.room = await self.bob.opens()
        assert "You are in" in await host.calls("parler_join_session", key=key)
        await host.pings()
        return host

    async def is_seen(self, seq: int) -> bool:
        receipts = await self.bob.receipts(self.room, seq)
        return receipts["ann"].state is DeliveryState.SEEN

    async def comes_to_be_seen(self, seq: int) -> None:
        await comes(lambda: self.is_seen(seq))


async def arrives(host: Host, words: str) -> str:
    """Read until it is there, as a model does that is told to wait."""
    return await host.brings(words, "parler_recv", wait_secs=5)


async def test_a_receipt_that_the_hub_cannot_store_is_given_again(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        seq = await scene.bob.says(scene.room, "the build is green")
        await arrives(host, "the build is green")
        editing = stack.enter_context(closing(sqlite3.connect(hub.database)))
        editing.execute("BEGIN IMMEDIATE")  # as somebody does who mends the database
        await host.pings()

        async def is_refused() -> bool:
            log = (hub.folder / "hub.log").read_text(encoding="utf-8")
            return "cannot store mark read" in log

        await comes(is_refused)
        editing.rollback()
        assert not await scene.is_seen(seq)
        await host.calls("parler_recv")
        await host.pings()
        await scene.comes_to_be_seen(seq)


async def test_a_message_is_seen_once_the_host_has_taken_the_result(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        seq = await scene.bob.says(scene.room, "the build is green")
        read = await arrives(host, "the build is green")
        assert "bob" in read
        assert scene.bob.fingerprint in read
        assert "signature verified" in read
        assert not await scene.is_seen(seq)  # written, and perhaps not read
        await host.pings()
        await scene.comes_to_be_seen(seq)
        assert "the build is green" not in await host.calls("parler_recv")


async def test_every_tool_brings_what_waits(hub: HubProcess, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        waiting = host.starts("parler_recv", wait_secs=30)
        await scene.bob.says(scene.room, "first")
        await host.result(waiting)
        await scene.bob.says(scene.room, "second")
        read = await host.brings("second", "parler_roster")
        assert read.index("members of") < read.index("second")


async def test_what_was_in_a_cancelled_result_comes_again(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        host.looks_away()
        request = host.starts("parler_recv", wait_secs=30)
        seq = await scene.bob.says(scene.room, "not lost")
        await host.until_written()
        host.cancels(request)  # while the result is on its way: it is dropped
        host.looks_again()
        await host.pings()
        assert not await scene.is_seen(seq)
        assert "not lost" in await arrives(host, "not lost")


async def test_a_call_that_is_cancelled_while_it_waits_takes_nothing(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        request = host.starts("parler_recv", wait_secs=60)
        await host.pings()
        host.cancels(request)
        await host.pings()
        await scene.bob.says(scene.room, "still here")
        assert "still here" in await arrives(host, "still here")
        assert not [frame for frame in host.frames if frame.get("id") == request]


async def test_what_nobody_confirmed_comes_again_after_a_restart(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        async with AsyncExitStack() as first:
            host = await scene.begins(first)
            stack.push_async_exit(first.pop_all())
            seq = await scene.bob.says(scene.room, "read this")
            await arrives(host, "read this")
            await stack.aclose()  # the app ends before it says anything more
        async with (
            peer(hub.url, "eve"),
            at_work(scene.environment, scene.folder) as again,
        ):
            read = await arrives(again, "read this")
            assert f"[{seq}]" in read


async def test_only_one_of_two_windows_reads_and_the_other_says_so(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        first = await scene.begins(stack)
        second = await stack.enter_async_context(
            at_work(scene.environment, scene.folder)
        )
        seq = await scene.bob.says(scene.room, "for one window")
        read = await second.brings("for one window", "parler_recv")
        assert "Another window of this agent reads" in read
        await second.pings()
        assert not await scene.is_seen(seq)
        await arrives(first, "for one window")
        await first.pings()
        await scene.comes_to_be_seen(seq)


async def test_a_second_window_takes_over_when_the_first_has_gone(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        async with AsyncExitStack() as first:
            await scene.begins(first)
            second = await stack.enter_async_context(
                at_work(scene.environment, scene.folder)
            )
            seq = await scene.bob.says(scene.room, "who takes this?")
            scene.bob = await stack.enter_async_context(peer(hub.url))
            kept = first.pop_all()
        await kept.aclose()

        async def reads() -> str:
            read = await second.calls("parler_recv")
            return "" if "(Another window" in read else read

        read = await comes(reads)
        assert "who takes this?" in read
        assert f"[{seq}]" in read


async def test_two_calls_at_once_never_bring_the_same_message(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        requests = [host.starts("parler_recv", wait_secs=30) for _ in range(3)]
        await scene.bob.says(scene.room, "only once")
        await host.hears(
            lambda frame: frame.get("id") in requests and "only once" in str(frame)
        )
        await scene.bob.says(scene.room, "for the second")
        await scene.bob.says(scene.room, "for the third")
        read = [
            str(frame)
            for frame in [
                await host.hears(lambda one, id_=id_: one.get("id") == id_)
                for id_ in requests
            ]
        ]
        assert sum("only once" in one for one in read) == 1


async def test_direct_messages_and_mentions_elsewhere_come_too(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        key, other = await scene.bob.opens()
        await host.calls("parler_join_session", key=key)
        key, _ = await scene.bob.opens()
        await host.calls("parler_join_session", key=key)  # active from now on
        await host.pings()
        chatter = await scene.bob.says(other, "nobody in particular")
        asked = await scene.bob.hands(other, "look at the logs", to="ann")
        home = home_of(scene.environment)
        await scene.bob.tells(load_identity(home).agent_id, "between us")
        Senders(machine_home(home)).accept(scene.bob.client.agent_id)
        seen = ""
        async with asyncio.timeout(WAIT):
            while not ("look at the logs" in seen and "between us" in seen):
                seen += await host.calls("parler_recv", wait_secs=1)
        assert "nobody in particular" not in seen, seen
        assert "HANDOFF TO YOU" in seen
        assert "direct message" in seen
        read = await host.calls("parler_recv", room=other)
        assert f"[{chatter}]" in read
        assert f"[{asked}]" in read


async def test_what_may_not_interrupt_waits_until_it_is_asked_for(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        await host.calls("parler_attention", mode="focus")
        quiet = await scene.bob.says(scene.room, "just chatting")
        read = await host.brings("may not interrupt", "parler_rooms")
        assert "just chatting" not in read
        await scene.bob.hands(scene.room, "deploy it", to="ann")
        read = await host.brings("deploy it", "parler_rooms")
        assert "just chatting" in read  # it comes with what is behind it
        await host.pings()
        await scene.comes_to_be_seen(quiet)


async def test_the_session_goes_on_after_a_restart(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        async with AsyncExitStack() as first:
            await scene.begins(first)
            scene.bob = await stack.enter_async_context(peer(hub.url, "bob"))
        async with at_work(scene.environment, scene.folder) as again:
            assert f"* {scene.room}" in await again.calls("parler_rooms")
            assert "sent to" in await again.calls("parler_send", text="I am back")


async def test_a_flood_is_cut_and_the_rest_can_be_fetched(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(hub, tmp_path)
        host = await scene.begins(stack)
        long = await scene.bob.says(scene.room, "x" * 5000)
        last = 0
        for index in range(40):
            last = await scene.bob.says(scene.room, f"message {index} " + "y" * 900)
        read = await arrives(host, "more wait")
        assert len(read) < 30_000
        assert f"since={long - 1} limit=1" in read
        full = await host.calls("parler_recv", since=long - 1, limit=1)
        assert "x" * 5000 in full
        await arrives(host, "message 39 ")
        await host.pings()
        await scene.comes_to_be_seen(last)
