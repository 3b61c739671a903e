"""Threads that read large frames, shared fairly."""

import asyncio
import threading
from collections.abc import Callable

from hub.quotas.decoding import Decoders
from tests._support.polling import WAIT


async def test_one_address_never_holds_all_threads() -> None:
    decoders, gate = Decoders(2), threading.Event()
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        attack = [
            group.create_task(decoders.run("eve", lambda: gate.wait(WAIT)))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        assert await decoders.run("ann", lambda: "read") == "read"
        assert not any(task.done() for task in attack)
        gate.set()
    decoders.close()


async def test_each_has_its_turn_however_much_it_brought() -> None:
    decoders, order = Decoders(1), []

    def note(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    names = ["eve"] * 5 + ["ann", "bob"]
    await asyncio.gather(*(decoders.run(name, note(name)) for name in names))
    assert order.index("ann") <= 2
    assert order.index("bob") <= 3
    decoders.close()


async def test_what_fails_or_is_given_up_frees_its_thread() -> None:
    decoders = Decoders(1)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(decoders.run("eve", int)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
    failed = await asyncio.gather(
        decoders.run("eve", lambda: int("x")), return_exceptions=True
    )
    assert isinstance(failed[0], ValueError)
    async with asyncio.timeout(WAIT):
        assert await decoders.run("eve", lambda: 7) == 7
    assert decoders.seconds > 0
    decoders.close()
