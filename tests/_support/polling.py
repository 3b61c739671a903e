"""Waiting, within bounds, for what another process does in its own time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECS = 0.02


async def comes(look: Callable[[], Awaitable[T]], *, within: float = 10.0) -> T:
    """Look until there is something; what is false counts as nothing."""
    async with asyncio.timeout(within):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(LOOK_SECS)
