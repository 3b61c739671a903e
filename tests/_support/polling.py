"""Waiting, within bounds, for what comes in its own time.

`WAIT` is the one bound of all that a test waits for and is sure to come. It ends a test
that hangs and says nothing about speed: on a machine that is busy with other work the
same takes many times as long.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

WAIT = 120.0
TEST_WAIT = 3 * WAIT  # a whole test
FOREVER = 10 * WAIT  # what the product may wait where a test shows that it does not


def pauses() -> Iterator[float]:
    """How long to wait between looks: a hub takes ten a second of an agent."""
    return itertools.chain((0.01, 0.02, 0.04, 0.06), itertools.repeat(0.1))


async def comes(look: Callable[[], Awaitable[T]]) -> T:
    """Look until there is something; what is false counts as nothing."""
    async with asyncio.timeout(WAIT):
        for pause in pauses():
            if found := await look():
                return found
            await asyncio.sleep(pause)
    raise AssertionError("pauses have no end")


def eventually(look: Callable[[], T], what: str) -> T:
    """The same without a loop."""
    bell = threading.Event()
    deadline = time.monotonic() + WAIT
    for pause in pauses():
        if found := look():
            return found
        assert time.monotonic() < deadline, f"no {what} within {WAIT:g} s"
        bell.wait(pause)
    raise AssertionError("pauses have no end")


async def in_time(story: Callable[[float], Awaitable[None]], secs: float) -> None:
    """Play a story about something that the product gives so many seconds to happen.

    Where this machine needs longer it is played with more; what fails for another
    reason fails with that, too.
    """
    for more in (1, 8):
        try:
            return await story(more * secs)
        except (AssertionError, TimeoutError):
            continue
    return await story(64 * secs)
