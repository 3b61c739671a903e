"""Frames that wait for one peer: order, bounds, what is dropped (protocol 5.4)."""

import asyncio

from hub.outbox import MAX_BYTES, MAX_PUSHES, Outbox

WAIT = 5.0


async def drained(outbox: Outbox) -> list[object]:
    """Everything that waits, in order."""
    found: list[object] = []
    while outbox._frames:
        found.append(await outbox.next())
        outbox.written()
    return found


async def test_frames_leave_in_the_order_they_came() -> None:
    outbox = Outbox()
    outbox.reply("r1")
    assert outbox.push("p1")
    outbox.reply("r2")
    assert await drained(outbox) == ["r1", "p1", "r2"]


async def test_the_next_frame_stays_until_it_was_written() -> None:
    outbox = Outbox()
    outbox.reply("r1")
    assert await outbox.next() == await outbox.next() == "r1"
    outbox.written()
    outbox.reply("r2")
    assert await outbox.next() == "r2"


async def test_a_reader_waits_for_the_first_frame() -> None:
    outbox = Outbox()
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        waiting = group.create_task(outbox.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.reply("r1")
    assert waiting.result() == "r1"


async def test_pushes_beyond_the_bound_are_dropped_and_replies_never() -> None:
    outbox = Outbox()
    pushed = [outbox.push(f"p{number}") for number in range(MAX_PUSHES + 10)]
    assert pushed == [True] * MAX_PUSHES + [False] * 10
    assert outbox.dropped == 10
    outbox.reply("r")
    frames = await drained(outbox)
    assert len(frames) == MAX_PUSHES + 1
    assert frames[-1] == "r"
    assert outbox.push("again"), "there is room once the peer has read"


async def test_large_frames_bound_the_outbox_in_bytes_too() -> None:
    outbox = Outbox()
    outbox.reply("x" * MAX_BYTES)
    assert not outbox.push("p")
    outbox.reply("r")
    assert len(await drained(outbox)) == 2


async def test_the_next_request_waits_until_there_is_room() -> None:
    outbox = Outbox()
    outbox.reply("x" * (MAX_BYTES - 1))
    async with asyncio.timeout(WAIT):
        await outbox.wait_for_room()
    outbox.reply("y")
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        waiting = group.create_task(outbox.wait_for_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.written()
    assert outbox.push("p")


async def test_written_to_the_end_is_known() -> None:
    outbox = Outbox()
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        await outbox.wait_until_written()
        outbox.reply("a")
        outbox.reply("b")
        waiting = group.create_task(outbox.wait_until_written())
        outbox.written()
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.written()


async def test_an_abandoned_outbox_holds_nobody_up() -> None:
    outbox = Outbox()
    outbox.reply("x" * MAX_BYTES * 2)
    outbox.abandon()
    async with asyncio.timeout(WAIT):
        await outbox.wait_for_room()
        await outbox.wait_until_written()
    assert not outbox._frames
