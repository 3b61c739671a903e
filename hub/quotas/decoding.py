"""Threads that read large frames, shared fairly."""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Decoders:
    """So many threads; of all who wait each has its turn, however much it brought."""

    def __init__(self, threads: int) -> None:
        """Use so many threads; with more than one, nobody has more than half."""
        self.share = max(1, threads // 2)
        self.seconds = 0.0
        self._free = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
        self._busy: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = (
            OrderedDict()
        )

    async def run(self, whose: Hashable, work: Callable[[], T]) -> T:
        """Run something of somebody's in a thread, when it is its turn."""
        await self._turn(whose)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._timed, work)
        finally:
            self._free += 1
            self._busy[whose] -= 1
            if not self._busy[whose]:
                del self._busy[whose]
            self._next()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.thread_time()
        try:
            return work()
        finally:
            self.seconds += time.thread_time() - began

    async def _turn(self, whose: Hashable) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += 1
                self._busy[whose] -= 1
                self._next()
            raise

    def _next(self) -> None:
        for whose in list(self._waiting):
            queue = self._waiting[whose]
            while queue and queue[0].done():  # it gave up
                queue.popleft()
            if queue and self._free and self._busy[whose] < self.share:
                self._free -= 1
                self._busy[whose] += 1
                queue.popleft().set_result(None)
                self._waiting.move_to_end(whose)
            if not queue:
                del self._waiting[whose]
