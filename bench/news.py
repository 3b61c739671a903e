"""Whether a reader sees what another agent was just told is stored: one JSON line.

    python -m bench.news [--rounds N] [--only parler_recv,recv]

On our hub and on one without our extensions, each time: an agent's send is confirmed,
and at once another asks, by the tool of a server that runs or by a command. Hooks ask
no hub, and never say that there is nothing. `said_nothing_new` must be zero: nobody may
say so whom the hub would have told otherwise.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import _machine
from bench._hub_process import HubProcess
from bench.mcp import Host
from parler.client.client import Client, connect
from parler.identity.signing import Keypair
from parler.ops.context import minted
from parler.wire.parts import TextPart
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import Invited
from parler.wire.requests import Invite

CHECKOUT = Path(__file__).resolve().parents[1]
HUBS = {
    "ours": ("-m", "hub"),
    "without extensions": ("-m", "tests._support.plain_hub", "hub"),
}
PARLER = (sys.executable, "-m", "parler")
RUN_SECS = 60

Ask = Callable[[], str]
"""Asks what is new; returns what was answered."""


class Reader:
    """Somebody else, with a home of their own."""

    def __init__(self, folder: Path, name: str, hub: str, key: str) -> None:
        kept = {one: os.environ[one] for one in ("PATH", "LANG") if one in os.environ}
        self.folder = folder / name
        self.folder.mkdir()
        self.env = kept | {
            "HOME": str(self.folder),
            "PYTHONPATH": str(CHECKOUT),
            "PARLER_HOME": str(self.folder / ".parler"),
            "PARLER_HUB": hub,
            "PARLER_NAME": name,
        }
        self._key = key
        self.host: Host | None = None

    def runs(self, *words: str) -> str:
        """What a command says on both of its outputs."""
        done = subprocess.run(
            [*PARLER, *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECS,
            check=False,
        )
        return done.stdout + done.stderr

    def serves(self) -> None:
        """Start its server, as an app does."""
        self.host = Host([*PARLER, "mcp"], self.env, self.folder)
        self.host.shakes_hands()
        self.calls("parler_join_session", key=self._key)

    def joins(self) -> None:
        """Enter by a command."""
        self.runs("session", "join", self._key)

    def calls(self, tool: str, **arguments: Any) -> str:
        """What a tool answers."""
        assert self.host is not None
        asked = {"name": tool, "arguments": arguments}
        return json.dumps(self.host.asks("tools/call", asked), ensure_ascii=False)

    def leaves(self) -> None:
        """End its server."""
        if self.host is not None:
            self.host.leaves()


def asks_of(reader: Reader, way: str) -> Ask:
    """How a reader asks."""
    if way == "parler_recv":
        reader.serves()
        return lambda: reader.calls(way)
    reader.joins()
    return lambda: reader.runs("recv")


async def told(client: Client, room: RoomTarget, ask: Ask, rounds: int) -> Any:
    """How often what was sent was answered, or that there was nothing new."""
    seen, nothing, taken = 0, 0, []
    for number in range(rounds):
        words = f"news number {number:04d}."
        await client.send(room, [TextPart(text=words)])
        began = time.perf_counter()
        answer = await asyncio.to_thread(ask)
        taken.append(time.perf_counter() - began)
        seen += words in answer
        nothing += "nothing new" in answer and words not in answer
    p50 = _machine.percentile(taken, 0.5) * 1000
    return {"asked": rounds, "seen": seen, "said_nothing_new": nothing, "p50_ms": p50}


async def on_hub(
    program: tuple[str, ...], folder: Path, ways: list[str], rounds: int
) -> dict[str, Any]:
    """All ways at one hub."""
    hub = HubProcess(folder / "hub.sqlite", folder / "run", program=program)
    hub.start()
    try:
        found = {}
        async with connect(hub.url, Keypair.generate(), name="ann") as client:
            for way in ways:
                invited = await client.request(Invite(kind=RoomKind.CHANNEL), Invited)
                key = f"{minted(invited.code)}@{hub.url}"
                room = RoomTarget(room=invited.room)
                reader = Reader(folder, way.replace("parler_", "mcp-"), hub.url, key)
                try:
                    ask = await asyncio.to_thread(asks_of, reader, way)
                    found[way] = await told(client, room, ask, rounds)
                finally:
                    await asyncio.to_thread(reader.leaves)
        return found
    finally:
        hub.stop()


def main(arguments: list[str]) -> int:
    """Print the figures; 1 if somebody missed something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", default="parler_recv,recv")
    options = parser.parse_args(arguments)
    ways = options.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        found = {}
        for number, (hub, program) in enumerate(HUBS.items()):
            folder = Path(name) / str(number)
            folder.mkdir()
            found[hub] = asyncio.run(on_hub(program, folder, ways, options.rounds))
    print(json.dumps(found))
    figures = [one for ways_of in found.values() for one in ways_of.values()]
    return int(any(one["seen"] != one["asked"] for one in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
