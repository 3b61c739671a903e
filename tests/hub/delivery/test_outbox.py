"""Frames that wait for one peer: order, bounds, what is dropped (protocol 5.4)."""

import asyncio
from pathlib import Path

from hub.blobs.folder import Download
from hub.delivery.outbox import MAX_BYTES, MAX_PUSHES, Handed, Outbox
from parler.wire.base import Digest
from tests._support.polling import WAIT


def an_outbox() -> Outbox:
    """One whose owner need not be told that there is something in it."""
    return Outbox(lambda: None)


async def drained(outbox: Outbox) -> list[object]:
    """Everything that waits, in order."""
    found: list[object] = []
    while (frame := outbox.head()) is not None:
        found.append(frame)
        outbox.written()
    return found


async def test_frames_leave_in_the_order_they_came() -> None:
    outbox = an_outbox()
    outbox.reply(b"r1")
    assert outbox.push(b"p1")
    outbox.reply(b"r2")
    assert await drained(outbox) == [b"r1", b"p1", b"r2"]


async def test_the_next_frame_stays_until_it_was_written() -> None:
    outbox = an_outbox()
    outbox.reply(b"r1")
    assert outbox.head() == outbox.head() == b"r1"
    outbox.written()
    outbox.reply(b"r2")
    assert outbox.head() == b"r2"


async def test_its_owner_hears_of_every_frame() -> None:
    heard: list[object] = []
    outbox = Outbox(lambda: heard.append(outbox.head()))
    outbox.reply(b"r1")
    outbox.push(b"p1")
    assert heard == [b"r1", b"r1"]


async def test_texts_are_taken_together_as_far_as_they_fit_and_never_past_a_blob() -> (
    None
):
    outbox = an_outbox()
    blob = Download(b"incoming", Path("blob"), Digest("0" * 64), None)
    for frame in (b"aaaa", Handed(b"bbbb", 1, 7), b"cccc", blob, b"dddd"):
        outbox.reply(frame)
    assert outbox.texts(5) == [b"aaaa", Handed(b"bbbb", 1, 7)]
    assert outbox.texts(100) == [b"aaaa", Handed(b"bbbb", 1, 7), b"cccc"]
    outbox.written(3)
    assert outbox.texts(100) == []
    assert outbox.head() == blob
    assert outbox.bytes_waiting == len(b"incoming") + len(b"dddd")


async def test_pushes_beyond_the_bound_are_dropped_and_replies_never() -> None:
    outbox = an_outbox()
    pushed = [outbox.push(b"p%d" % number) for number in range(MAX_PUSHES + 10)]
    assert pushed == [True] * MAX_PUSHES + [False] * 10
    assert outbox.dropped == 10
    outbox.reply(b"r")
    frames = await drained(outbox)
    assert len(frames) == MAX_PUSHES + 1
    assert frames[-1] == b"r"
    assert outbox.push(b"again"), "there is room once the peer has read"


async def test_large_frames_bound_the_outbox_in_bytes_too() -> None:
    outbox = an_outbox()
    outbox.reply(b"x" * MAX_BYTES)
    assert not outbox.push(b"p")
    outbox.reply(b"r")
    assert len(await drained(outbox)) == 2


async def test_the_next_request_waits_until_there_is_room() -> None:
    outbox = an_outbox()
    outbox.reply(b"x" * (MAX_BYTES - 1))
    async with asyncio.timeout(WAIT):
        await outbox.wait_for_room()
    outbox.reply(b"y")
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        waiting = group.create_task(outbox.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.written()
    assert outbox.push(b"p")


async def test_written_to_the_end_is_known() -> None:
    outbox = an_outbox()
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        await outbox.wait_until_written()
        outbox.reply(b"a")
        outbox.reply(b"b")
        waiting = group.create_task(outbox.wait_until_written())
        outbox.written()
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.written()


async def test_an_abandoned_outbox_holds_nobody_up() -> None:
    outbox = an_outbox()
    outbox.reply(b"x" * MAX_BYTES * 2)
    outbox.abandon()
    async with asyncio.timeout(WAIT):
        await outbox.wait_for_room()
        await outbox.wait_until_written()
    assert outbox.head() is None
