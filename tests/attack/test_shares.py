"""Nobody gets all of a hub: attackers that want its places, memory, time or disk.

Each plays for some seconds against a real hub in a small process and prints what it got
and what an honest agent felt meanwhile. What is held to is counted in bytes and places;
how long a send took is printed, and only held to bounds that do not depend on who else
uses the machine.
"""

import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests._support.plainclient import Link, PlainAgent
from tests._support.polling import WAIT, eventually
from tests._support.processes import CHECKOUT, environment
from tests.attack._limited import LimitedHub, limited_hub

pytestmark = pytest.mark.attack

SECS = float(os.environ.get("PARLER_ATTACK_SECS", "10"))
HONEST = "127.0.0.7"
PRIVATE = ("--max-http-per-min", "0")
"""A hub of this machine alone, where bursts of one address are allowed."""

BEAT_SECS = 0.3
"""Between sends, so that none of them is too many."""

RESIDENT_SHARE = 0.6
SLOWER = 5
"""An honest send may take so many times its quiet median; or so many seconds, where the
machine does other things too: ten times what one took beside twenty busy processes."""

BUSY_SECS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attack."""

    got: dict[str, object]
    quiet_ms: float
    attacked_ms: float
    resident: int
    files: int


async def beat(link: Link, room: str, secs: float) -> list[float]:
    """Send now and then for a time; returns how long each took, in seconds."""
    loop = asyncio.get_running_loop()
    until, took = loop.time() + secs, []
    while loop.time() < until:
        began = loop.time()
        await link.send_text(room, "all is well")
        took.append(loop.time() - began)
        await asyncio.sleep(BEAT_SECS)
    return took


def begin(hub: LimitedHub, name: str, folder: Path) -> "subprocess.Popen[str]":
    """An attacker at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.attack._attackers", name, hub.url],
        cwd=CHECKOUT,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout
    if process.stdout.readline() != "on\n":
        process.communicate()
        raise AssertionError("the attack did not come about")
    return process


def suffer(hub: LimitedHub, name: str, folder: Path) -> Outcome:
    """Attack a hub; a test may take longer for it than others may."""
    return asyncio.run(_suffer(hub, name, folder))


async def _suffer(hub: LimitedHub, name: str, folder: Path) -> Outcome:
    """Attack a hub, and be an honest agent of it before and meanwhile."""
    ann = PlainAgent.create("ann", local_address=HONEST)
    async with ann.dial(hub.url) as link:
        room = (await link.ask("invited", "invite", kind="channel"))["room"]
        quiet = statistics.median(await beat(link, room, 2))
        process = await asyncio.to_thread(begin, hub, name, folder)
        try:
            took = await beat(link, room, SECS)
            newcomer = PlainAgent.create("bob", local_address=HONEST)
            async with newcomer.dial(hub.url) as second:
                await second.ask("pong", "ping")
            files, resident = hub.open_files, hub.resident_peak
            told, _ = await asyncio.to_thread(process.communicate, "", WAIT)
        finally:
            if process.returncode is None:
                process.kill()
                process.communicate()
    outcome = Outcome(
        got=json.loads(told),
        quiet_ms=quiet * 1000,
        attacked_ms=statistics.median(took) * 1000,
        resident=resident,
        files=files,
    )
    print(  # noqa: T201
        f"{name}: the attacker got {outcome.got}; an honest send took "
        f"{outcome.attacked_ms:.1f} ms (quiet {outcome.quiet_ms:.1f} ms); the hub had "
        f"{resident / 2**20:.0f} MiB at most and {files} files open"
    )
    assert resident < RESIDENT_SHARE * hub.limits.memory
    assert files < hub.limits.files
    slowest = max(SLOWER * outcome.quiet_ms, BUSY_SECS * 1000)
    assert outcome.attacked_ms < slowest
    return outcome


@pytest.mark.parametrize("flags", [("--public",), PRIVATE], ids=["public", "private"])
@pytest.mark.parametrize("name", ["silent_sockets", "silent_upgrades"])
def test_who_says_nothing_keeps_nobody_out(
    name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    with limited_hub(tmp_path, *flags) as hub:
        suffer(hub, name, tmp_path)


def test_one_address_takes_its_share_of_a_public_hub(tmp_path: Path) -> None:
    with limited_hub(tmp_path, "--public") as hub:
        outcome = suffer(hub, "silent_sign_ins", tmp_path)
        assert outcome.got == {"places": 256}


def test_one_address_never_takes_the_last_places(tmp_path: Path) -> None:
    with limited_hub(tmp_path, *PRIVATE) as hub:
        outcome = suffer(hub, "silent_sign_ins", tmp_path)
        assert outcome.got == {"places": 1008}


def test_who_reads_nothing_has_no_memory_of_others(tmp_path: Path) -> None:
    with limited_hub(tmp_path, *PRIVATE) as hub:
        suffer(hub, "unread_pulls", tmp_path)


def test_who_never_ends_a_message_has_no_memory_of_others(tmp_path: Path) -> None:
    with limited_hub(tmp_path, *PRIVATE) as hub:
        suffer(hub, "begun_messages", tmp_path)


def test_a_storm_of_handshakes_leaves_nothing(tmp_path: Path) -> None:
    with limited_hub(tmp_path, *PRIVATE) as hub:
        before = hub.resident
        suffer(hub, "handshakes", tmp_path)
        most = before + 64 * 2**20
        eventually(lambda: hub.resident < most, "end of what the storm left")


def test_who_sends_large_frames_pays_for_them(tmp_path: Path) -> None:
    with limited_hub(tmp_path, "--public") as hub:
        suffer(hub, "brackets", tmp_path)


def test_many_who_send_large_frames_hold_up_nobody(tmp_path: Path) -> None:
    with limited_hub(tmp_path, *PRIVATE) as hub:
        suffer(hub, "brackets", tmp_path)


def test_one_key_leaves_disk_for_all_others(tmp_path: Path) -> None:
    flags = ("--public", "--max-blob-dir-bytes", str(128 * 2**20))
    flags += ("--max-agent-blob-bytes", str(64 * 2**20))
    with limited_hub(tmp_path, *flags) as hub:
        outcome = suffer(hub, "uploads", tmp_path)
        assert outcome.got["blobs"] == 3 * (16 * 2**20 + 4)
        assert isinstance(outcome.got["messages"], int)
        assert outcome.got["messages"] <= 64 * 2**20
        asyncio.run(upload(hub, 2**20))


async def upload(hub: LimitedHub, size: int) -> None:
    """Store a file as somebody else."""
    data = os.urandom(size)
    digest = hashlib.sha256(data).hexdigest()
    async with PlainAgent.create("cid", local_address=HONEST).dial(hub.url) as link:
        room = (await link.ask("invited", "invite", kind="channel"))["room"]
        target = {"kind": "room", "room": room}
        await link.ask(
            "blob_ready", "put_blob", target=target, sha256=digest, size=size
        )
        await link.raw(data)
        assert (await link.next_reply())["type"] == "blob_stored"
