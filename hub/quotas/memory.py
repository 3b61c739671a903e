"""Bytes that wait, of all connections together.

What is to be written and not read yet, what came and is not worked off, and what of a
message is still to come. When they are too many, who waits longest for a peer that
does not move is cut off first; and what makes many more of them waits for room.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

STALLED_SECS = 0.25
"""A peer that takes or says nothing for so long may be the slowest."""

LOOK_SECS = 0.1
"""How often it is looked for the slowest while there is too much."""


class Holder(Protocol):
    """A connection whose bytes count."""

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer lets bytes wait, by the loop's clock; or None."""

    def cut_off(self) -> None:
        """Let go of all bytes at once: the peer is too slow."""


class Memory:
    """The budget of a hub for bytes that wait."""

    def __init__(
        self, limit: int, *, give_back: Callable[[], object] = lambda: None
    ) -> None:
        """Allow about so many bytes; 0 allows any number.

        Args:
            give_back: Gives what is free back to the system, in a thread: what was
                freed lies scattered, and what comes now may not fit there.
        """
        self._give_back = give_back
        self.limit = limit
        self._for_answers = limit * 3 // 4  # so that requests find room as well
        self.held = 0
        self.cut_off = 0
        self.holders: set[Holder] = set()
        self._paused: set[Callable[[], object]] = set()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._looking: asyncio.TimerHandle | None = None

    def resume_later(self, resume: Callable[[], object]) -> None:
        """Have somebody who brings more go on when there is room again."""
        self._paused.add(resume)

    def forget(self, resume: Callable[[], object]) -> None:
        """Leave somebody be who is gone."""
        self._paused.discard(resume)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be begun now."""
        return bool(self.limit) and self.held >= self.limit

    def take(self, count: int) -> None:
        """Count bytes that wait from now on."""
        self.held += count
        if self.held >= self.limit > 0 and self._looking is None:
            self._look_soon()

    def give(self, count: int) -> None:
        """Count bytes that wait no more."""
        self.held -= count
        if self._waiting:
            self._let_in()
        if self._paused and not self.is_full:
            paused, self._paused = self._paused, set()
            for resume in paused:
                resume()

    @asynccontextmanager
    async def reserved(self, count: int) -> AsyncIterator[None]:
        """Hold so many bytes for an answer that is not made yet."""
        if not self.limit:
            yield
            return
        count = min(count, self.limit // 8)
        if self._waiting or self.held + count > self._for_answers:
            await self._wait_for(count)
        self.held += count
        try:
            yield
        finally:
            self.give(count)

    async def _wait_for(self, count: int) -> None:
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append((count, admitted))
        if self._looking is None:
            self._look_soon()
        try:
            await admitted
        finally:
            if admitted.cancelled():
                self._let_in()

    def _let_in(self) -> None:
        coming = 0
        while self._waiting:
            count, admitted = self._waiting[0]
            if not admitted.done():
                if self.held + coming + count > self._for_answers:
                    return
                coming += count
                admitted.set_result(None)
            self._waiting.popleft()

    def _look_soon(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECS, self._look)

    def _look(self) -> None:
        self._looking = None
        self._let_in()
        asyncio.get_running_loop().run_in_executor(None, self._give_back)
        if self._waiting or self.is_full:
            wanted = self._waiting[0][0] if self._waiting else 0
            self._cut_off_the_slowest(self._for_answers - wanted)
        if self._waiting or self.is_full:
            self._look_soon()

    def _cut_off_the_slowest(self, enough: int) -> None:
        before = asyncio.get_running_loop().time() - STALLED_SECS
        slow = [
            (since, holder)
            for holder in self.holders
            if (since := holder.stalled_since) is not None and since < before
        ]
        for _, holder in sorted(slow, key=lambda pair: pair[0]):
            if self.held <= enough:
                return
            self.cut_off += 1
            holder.cut_off()
