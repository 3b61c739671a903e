"""Waiting, within bounds, for what comes in its own time.

`WAIT` is the one bound of all that a test waits for and is sure to come. It ends a test
that hangs and says nothing about speed: on a machine that is busy with other work the
same takes many times as long.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WAIT = 120.0
TEST_WAIT = 3 * WAIT  # a whole test
FOREVER = 10 * WAIT  # what the product may wait where a test shows that it does not
LOOK_SECS = 0.02


async def comes(look: Callable[[], Awaitable[T]]) -> T:
    """Look until there is something; what is false counts as nothing."""
    async with asyncio.timeout(WAIT):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(LOOK_SECS)


def eventually(look: Callable[[], T], what: str) -> T:
    """The same without a loop."""
    bell = threading.Event()
    deadline = time.monotonic() + WAIT
    while not (found := look()):
        assert time.monotonic() < deadline, f"no {what} within {WAIT:g} s"
        bell.wait(LOOK_SECS)
    return found


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
