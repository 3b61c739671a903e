"""The budget of bytes that wait."""

import asyncio

from hub.delivery.outbox import Handed, Outbox
from hub.quotas.memory import Memory
from tests._support.polling import WAIT


class Slow:
    """A peer that lets bytes wait since then."""

    def __init__(self, memory: Memory, count: int, since: float | None) -> None:
        self._memory = memory
        self.count = count
        self.stalled_since = since
        memory.holders.add(self)
        memory.take(count)

    def cut_off(self) -> None:
        self._memory.give(self.count)
        self.count = 0


async def answer(memory: Memory) -> None:
    """Make an answer of 100 bytes."""
    async with memory.reserved(100):
        pass


def test_what_waits_in_many_outboxes_counts_once() -> None:
    memory = Memory(0)
    outboxes = [Outbox(lambda: None, memory) for _ in range(100)]
    frame = Handed(b"x" * 500, 1, 7)
    for outbox in outboxes:
        assert outbox.push(frame)
    assert memory.held == 500
    for outbox in outboxes[:99]:
        outbox.written()
    assert memory.held == 500
    outboxes[99].abandon()
    assert memory.held == 0


def test_replies_count_each() -> None:
    memory = Memory(0)
    for _ in range(3):
        Outbox(lambda: None, memory).reply(b"x" * 500)
    assert memory.held == 1500


async def test_the_slowest_peer_is_cut_off_first_and_no_more_than_needed() -> None:
    memory = Memory(1000)
    now = asyncio.get_running_loop().time()
    slowest = Slow(memory, 400, now - 60)
    slower = Slow(memory, 400, now - 30)
    reads = Slow(memory, 200, None)
    async with asyncio.timeout(WAIT), memory.reserved(100):
        pass
    assert (slowest.count, slower.count, reads.count) == (0, 400, 200)
    assert memory.cut_off == 1


async def test_who_reads_is_not_cut_off_and_others_wait_for_it() -> None:
    memory = Memory(1000)
    reads = Slow(memory, 1000, None)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        waiting = group.create_task(answer(memory))
        await asyncio.sleep(0)
        assert not waiting.done()
        reads.cut_off()
    assert memory.cut_off == 0


async def test_answers_that_are_made_at_once_do_not_pass_the_budget() -> None:
    memory = Memory(1000)
    most = 0
    release = asyncio.Event()

    async def big_answer() -> None:
        nonlocal most
        async with memory.reserved(125):
            most = max(most, memory.held)
            await release.wait()

    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(big_answer())
        for _ in range(5):
            await asyncio.sleep(0)
        assert memory.held == 750
        release.set()
    assert most == 750
    assert memory.held == 0


async def test_who_gives_up_waiting_leaves_its_room_to_the_next() -> None:
    memory = Memory(1000)
    memory.take(1000)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        first = group.create_task(answer(memory))
        group.create_task(answer(memory))
        await asyncio.sleep(0)
        first.cancel()
        memory.give(1000)
