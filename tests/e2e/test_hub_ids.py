"""A hub is known by its id: no other one passes on its challenges, or takes its place.

Real hubs and the real command.
"""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests._support.plainhttp import fetch
from tests._support.polling import WAIT
from tests._support.processes import Agent, HubProcess, running_hub


class Relay:
    """A machine that passes everything on to a hub, in both directions."""

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self.url = ""
        self.heard: list[str] = []
        self.stop = asyncio.Event()
        self.ready = threading.Event()

    async def run(self) -> None:
        """Serve until `stop`."""
        async with serve(self._pass_on, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.loop = asyncio.get_running_loop()
            self.ready.set()
            await self.stop.wait()

    async def _pass_on(self, victim: ServerConnection) -> None:
        async with connect(self.hub + "/ws", compression=None) as hub:

            async def to_hub() -> None:
                async for data in victim:
                    self.heard.append(str(data))
                    await hub.send(data)
                await hub.close()

            async def to_victim() -> None:
                async for data in hub:
                    self.heard.append(str(data))
                    await victim.send(data)

            await asyncio.gather(to_hub(), to_victim(), return_exceptions=True)

    @property
    def welcomed(self) -> bool:
        """Whether the hub took the relay for the victim."""
        return any(json.loads(text).get("type") == "welcome" for text in self.heard)


@contextmanager
def relaying(hub: str) -> Iterator[Relay]:
    """A relay on a port of its own."""
    relay = Relay(hub)
    thread = threading.Thread(target=lambda: asyncio.run(relay.run()))
    thread.start()
    assert relay.ready.wait(WAIT)
    try:
        yield relay
    finally:
        relay.loop.call_soon_threadsafe(relay.stop.set)
        thread.join(WAIT)


def told_id(url: str) -> str:
    """The id that a hub tells everybody."""
    return str(asyncio.run(fetch(url, "/api/hub")).json()["hubId"])


def test_hub_that_relays_anothers_challenge_is_not_taken_for_the_victim(
    tmp_path: Path,
) -> None:
    with running_hub(tmp_path / "team") as team, relaying(team.url) as relay:
        victim = Agent(tmp_path, "victim", team.url)
        assert victim("rooms").status == 0
        caught = victim("join", f"ABCD2345@{relay.url}", "--json")
        assert caught.status == 7
        assert caught.error["code"] == "relayed_challenge"
        assert team.url in caught.error["message"]
        assert relay.url in caught.error["message"]
        assert not relay.welcomed
        assert "sig" not in "".join(relay.heard)
        # Who says that both are one hub is believed, if it is a person.
        victim.environment["GEMINI_CLI"] = "1"
        by_agent = victim("trust-hub", relay.url, "--json")
        assert (by_agent.status, by_agent.error["next"]) == (
            2,
            f"parler trust-hub {relay.url}",
        )
        assert victim("rooms", "--hub", relay.url).status == 7
        del victim.environment["GEMINI_CLI"]
        assert victim("trust-hub", relay.url).status == 0
        assert victim("rooms", "--hub", relay.url).status == 0
        assert relay.welcomed


def test_hub_in_place_of_the_known_one_stops_until_it_is_trusted(
    tmp_path: Path,
) -> None:
    with running_hub(tmp_path / "one") as one:
        url, first = one.url, told_id(one.url)
        ann = Agent(tmp_path, "ann", url)
        assert ann("rooms").status == 0
        one.stop()
        one.start()
        assert told_id(url) == first
        assert ann("rooms").status == 0
        one.stop()
        for path in one.folder.glob("hub.sqlite*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        one.start()
        second = told_id(url)
        refused = ann("rooms", "--json")
        assert refused.error["code"] == "replaced_hub"
        for named in (url, first[:12], second[:12]):
            assert named in refused.error["message"]
        assert ann("trust-hub", url).status == 0
        assert ann("rooms").status == 0


def test_hub_in_memory_has_no_id_and_locks_nobody_out_when_it_starts_again(
    tmp_path: Path,
) -> None:
    hub = HubProcess(tmp_path / "hub", in_memory=True)
    try:
        ann = Agent(tmp_path, "ann", hub.url)
        assert ann("rooms").status == 0
        assert "hubId" not in asyncio.run(fetch(hub.url, "/api/hub")).json()
        hub.stop()
        hub.start()
        again = ann("rooms")
        assert again.status == 0, again.err
    finally:
        hub.stop()


def test_copy_of_a_hub_elsewhere_is_not_the_hub(tmp_path: Path) -> None:
    with running_hub(tmp_path / "one") as one:
        ann = Agent(tmp_path, "ann", one.url)
        assert ann("rooms").status == 0
        one.stop()
        (tmp_path / "copy").mkdir()
        shutil.copy(one.database, tmp_path / "copy" / "hub.sqlite")
        one.start()
        copy = HubProcess(tmp_path / "copy")
        try:
            assert told_id(copy.url) == told_id(one.url)
            assert ann("rooms", "--hub", copy.url, "--json").error["code"] == (
                "relayed_challenge"
            )
            assert ann("trust-hub", copy.url).status == 0
            assert ann("rooms", "--hub", copy.url).status == 0
            assert ann("rooms").status == 0
        finally:
            copy.stop()


def test_database_from_before_ids_is_given_one(tmp_path: Path) -> None:
    import sqlite3

    with running_hub(tmp_path / "old") as hub:
        hub.stop()
        with sqlite3.connect(hub.database) as database:
            database.execute("DELETE FROM meta WHERE key = 'hub_id'")
        hub.start()
        made = told_id(hub.url)
        hub.stop()
        hub.start()
        assert told_id(hub.url) == made
