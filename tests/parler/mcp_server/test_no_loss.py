"""Whatever host and peer do in whatever order: nothing is lost, nor seen before it was.

A host reads, drops results, waits, ends and begins again, while hooks of it show what
waits. A message counts as given to the model when a result with it was kept, or a hook
has shown it.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from parler.mcp_server.tools import messages
from parler.wake.spool import Spool
from parler.wire.base import RoomName
from parler.wire.records import DeliveryState
from tests._support.mcp_hosts import Host, at_work, environment, home_of
from tests._support.mcp_peers import Peer, peer
from tests._support.processes import HubProcess, running_hub

STEPS = 40
WORDS = re.compile(r"message-(\d+)\.")


def choices(seed: int, kinds: str) -> Iterator[str]:
    for number in range(STEPS):
        digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
        yield kinds[digest[0] % len(kinds)]


class Story:
    """One run."""

    def __init__(
        self, hub: HubProcess, folder: Path, bob: Peer, room: RoomName
    ) -> None:
        self.environment = environment(folder, hub.url, "ann")
        self.folder, self.bob, self.room = folder, bob, room
        self.spool = Spool(home_of(self.environment))
        self.said: dict[int, int] = {}
        self.given: set[int] = set()
        self.unsure: set[int] = set()
        """In results that the host has read, and not answered in any way yet."""

        self.stack = AsyncExitStack()
        self.host: Host

    async def begins(self) -> None:
        self.unsure.clear()
        await self.stack.aclose()
        self.host = await self.stack.enter_async_context(
            at_work(self.environment, self.folder)
        )

    async def says(self) -> None:
        number = len(self.said)
        seq = await self.bob.says(self.room, f"message-{number}.")
        self.said[number] = seq

    async def reads(self, tool: str = "parler_recv", **arguments: int) -> None:
        request = self.host.starts(tool, **arguments)
        self.given |= self.unsure  # by asking again, it shows that it took them
        self.unsure = self.numbers(await self.host.result(request))

    async def drops(self) -> None:
        """A user who interrupts while a result is on its way."""
        self.host.looks_away()
        request = self.host.starts("parler_recv")
        self.given |= self.unsure
        self.unsure = set()
        await self.host.until_written()
        self.host.cancels(request)
        self.host.looks_again()

    async def shows_by_a_hook(self) -> None:
        with self.spool.take(via="stop") as items:
            shown = {number for item in items for number in self.numbers(item.text)}
        self.given |= shown

    @property
    def missing(self) -> set[int]:
        return set(self.said) - self.given - self.unsure

    def numbers(self, text: object) -> set[int]:
        return {int(found) for found in WORDS.findall(str(text))}

    async def holds(self) -> None:
        """Nothing was marked as seen that the model was not given."""
        for number, seq in self.said.items():
            state = (await self.bob.receipts(self.room, seq))["ann"].state
            if state is DeliveryState.SEEN:
                assert number in self.given | self.unsure


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_lost_nor_seen_too_early(
    hub: HubProcess, tmp_path: Path, seed: int
) -> None:
    async with peer(hub.url) as bob:
        key, room = await bob.opens()
        story = Story(hub, tmp_path, bob, room)
        await story.begins()
        await story.host.calls("parler_join_session", key=key)
        await story.host.pings()
        for step in choices(seed, "ssssrrrtdhb"):
            match step:
                case "s":
                    await story.says()
                case "r":
                    await story.reads()
                case "t":
                    await story.reads("parler_roster")
                case "d":
                    await story.drops()
                case "h":
                    await story.shows_by_a_hook()
                case "b":
                    await story.begins()
            await story.holds()
        for _ in range(10):
            if not story.missing:
                break
            await story.reads(wait_secs=1)
        assert not story.missing
        await story.holds()
        await story.stack.aclose()


async def test_what_was_stored_before_it_is_asked_for_is_not_called_nothing_new(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
        key, room = await bob.opens()
        await host.calls("parler_join_session", key=key)
        for number in range(STEPS):
            await bob.says(room, f"message-{number}.")
            read = await host.calls("parler_recv")
            assert WORDS.findall(read) == [str(number)]


async def test_a_hub_that_does_not_answer_has_not_said_that_nothing_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub(tmp_path / "hub") as hub:
        env = environment(tmp_path, hub.url, "ann")
        async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
            key, room = await bob.opens()
            await host.calls("parler_join_session", key=key)
            assert "nothing new" in await host.calls("parler_recv")
            await bob.says(room, "message-1.")
            assert WORDS.findall(await host.calls("parler_recv")) == ["1"]
            with hub.halted(), monkeypatch.context() as short:
                short.setattr(messages, "FETCH_SECS", 0.5)
                read = await host.calls("parler_recv")
            assert "not known" in read
            assert "nothing new" not in read
            await bob.says(room, "message-2.")
            assert WORDS.findall(await host.calls("parler_recv", wait_secs=99)) == ["2"]
