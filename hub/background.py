"""Runs work to its end even if the connection that asked for it goes away.

Bytes on disk and their row in the database change together: a peer that hangs up in
between must not leave one without the other.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundWork:
    """What is under way of it."""

    def __init__(self) -> None:
        """Start with none."""
        # The loop itself keeps only weak references to its tasks.
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work; a cancelled caller stops waiting, the work goes on."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do the work, whether anybody waits for it or not."""
        # Not in a group of the caller's: that would cancel it together with the caller.
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self, timeout: float) -> None:
        """Wait for what is under way, at most so many seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
