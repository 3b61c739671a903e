"""What one connection may take of what all share: bytes that wait, and reading time."""

import json
from pathlib import Path

import msgspec
import pytest

from hub.connection.connection import BIG_FRAME_BYTES
from hub.delivery.outbox import MAX_BYTES
from hub.handlers.caller import AT_A_TIME
from parler.wire import requests
from parler.wire.base import RoomName
from parler.wire.records import Fact, RoomKind, RoomTarget
from parler.wire.replies import Error, Invited, Joined, Pong, Sent
from tests._support.memory_hub import MemoryHub, Peer, memory_hub, until

WORDS = "x" * 400_000
ROOMS = 16


def send(room: RoomName, words: str) -> requests.Send:
    parts = msgspec.Raw(json.dumps([{"kind": "text", "text": words}]).encode())
    return requests.Send(target=RoomTarget(room=room), parts=parts)


async def open_room(ann: Peer) -> RoomName:
    return (await ann.asks(requests.Invite(kind=RoomKind.CHANNEL), Invited)).room


def big_ping(size: int = BIG_FRAME_BYTES) -> str:
    return '{"op":"ping","rid":"7","x":"%s"}' % ("x" * size)


async def eve_reads_nothing(hub: MemoryHub) -> Peer:
    """A peer that waits for news of `ROOMS` rooms and reads none of it."""
    ann, eve = await hub.sign_in("ann"), await hub.sign_in("eve")
    rooms = [await open_room(eve) for _ in range(ROOMS)]
    for room in rooms:
        invite = requests.Invite(room=room, kind=RoomKind.CHANNEL)
        code = (await eve.asks(invite, Invited)).code
        await ann.asks(requests.Redeem(code=code), Joined)
    eve.stops_reading()
    for room in rooms:
        eve.says(requests.Pull(room=room, wait_secs=60, rid=room))
    waiting = hub.hub.services.notifier._waiting
    await until(lambda: len(waiting) == ROOMS)
    for room in rooms:
        # Refused while memory is short; who reads nothing gives it back in a moment.
        while isinstance(await ann.asks(send(room, WORDS), Sent | Error), Error):
            pass
    return eve


async def test_woken_pulls_are_answered_when_their_outbox_has_room(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        eve = await eve_reads_nothing(hub)
        heard = eve.unread
        await until(lambda: eve.connection.outbox_bytes >= MAX_BYTES)
        assert eve.connection.outbox_bytes < MAX_BYTES + AT_A_TIME * len(WORDS)
        eve.reads_on()
        await until(lambda: eve.unread == heard + ROOMS)
        memory = hub.hub.services.quotas.memory
        await until(lambda: memory.held == 0)


async def test_whoever_reads_nothing_is_cut_off_when_memory_is_short(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, max_waiting_bytes=MAX_BYTES) as hub:
        eve = await eve_reads_nothing(hub)
        assert (await eve.sees_close())[0] == 1013
        memory = hub.hub.services.quotas.memory
        await until(lambda: memory.held == 0)
        assert memory.cut_off == 1
        bob = await hub.sign_in("bob")
        await bob.asks(requests.Ping(), Pong)


async def test_large_requests_are_refused_while_memory_is_short(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_waiting_bytes=MAX_BYTES) as hub:
        ann = await hub.sign_in("ann")
        memory = hub.hub.services.quotas.memory
        memory.take(MAX_BYTES)
        assert await ann.is_refused(big_ping()) == "at_capacity"
        await ann.asks(requests.Ping(), Pong)
        memory.give(MAX_BYTES)
        assert (await ann.asks_text(big_ping(), Pong)).rid == "7"


@pytest.mark.parametrize("size", [10, BIG_FRAME_BYTES])
async def test_a_frame_beyond_the_bytes_of_a_minute_is_refused(
    size: int, tmp_path: Path
) -> None:
    async with memory_hub(
        tmp_path, max_bytes_per_min=3 * len(big_ping(size)) // 2
    ) as hub:
        ann, bob = await hub.sign_in("ann"), await hub.sign_in("bob")
        await ann.asks_text(big_ping(size), Pong)
        assert await ann.is_refused(big_ping(size)) == "rate_limited"
        await bob.asks_text(big_ping(size), Pong)


async def test_who_stored_enough_for_a_day_stores_no_more(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_stored_bytes_per_day=10_000) as hub:
        ann = await hub.sign_in("ann")
        room = await open_room(ann)
        await ann.asks(send(room, "x" * 6000), Sent)
        assert await ann.is_refused(send(room, "x" * 6000)) == "storage_full"
        await ann.asks(requests.Ping(), Pong)


@pytest.mark.parametrize(
    ("share", "ip", "somebody_else"),
    [
        ("max_stored_bytes_per_day", "192.0.2.9", False),
        ("max_stored_bytes_per_ip_per_day", "192.0.2.1", True),
        ("max_room_stored_bytes_per_day", "192.0.2.9", True),
    ],
    ids=["agent", "address", "room"],
)
async def test_a_restart_hands_out_no_share_anew(
    share: str, ip: str, somebody_else: bool, tmp_path: Path
) -> None:
    shares = {share: 10_000}
    async with memory_hub(tmp_path, **shares) as hub:
        eve = await hub.sign_in("eve")
        invited = await eve.asks(requests.Invite(kind=RoomKind.CHANNEL), Invited)
        await eve.asks(send(invited.room, "x" * 6000), Sent)
    async with memory_hub(tmp_path, **shares) as hub:
        mallory = None if somebody_else else eve.keypair
        again = await hub.sign_in("eve", mallory, ip=ip)
        await again.asks(requests.Redeem(code=invited.code), Joined)
        if share.startswith("max_room"):  # facts and messages are of one room
            fact = Fact(text="x" * 6000, room=invited.room)
            said: requests.Request = requests.Remember(fact=fact)
        else:
            said = send(invited.room, "x" * 6000)
        assert await again.is_refused(said) == "storage_full"
        ann = await hub.sign_in("ann", ip="192.0.2.7")
        await ann.asks(send(await open_room(ann), "x" * 6000), Sent)


async def test_a_full_database_takes_nothing_and_lets_everybody_read(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, max_database_bytes=2 * 2**20) as hub:
        ann = await hub.sign_in("ann")
        room = await open_room(ann)
        stored, code = 0, None
        while code is None and stored < 10:
            ann.says(send(room, WORDS))
            code = getattr(await ann.hears_anything(), "code", None)
            stored += 1
        assert code == "storage_full"
        assert 1 < stored < 6
        await ann.asks(requests.Ping(), Pong)
        bob = await hub.sign_in("bob")
        await bob.asks(requests.Ping(), Pong)


async def test_what_is_counted_of_a_connection_goes_with_it(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        eve = await eve_reads_nothing(hub)
        await until(lambda: eve.connection.outbox_bytes >= MAX_BYTES)
        eve.hangs_up()
        memory = hub.hub.services.quotas.memory
        await until(lambda: not memory.held and eve.connection not in memory.holders)
