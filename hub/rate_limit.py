"""Counting what somebody did in a fixed window of time (protocol 12.2).

In memory and bounded: windows that are over are dropped as new ones begin.
"""

from collections.abc import Callable, Hashable

MAX_KEYS = 100_000
"""Windows open at once; beyond, the one that began first is forgotten."""


class Windows:
    """One limit, held separately for each key."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float]) -> None:
        """Allow `limit` events in `seconds` from the first one; 0 allows all.

        Args:
            clock: Seconds that never go back.
        """
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._open: dict[Hashable, tuple[float, int]] = {}

    def admit(self, key: Hashable, amount: int = 1) -> bool:
        """Count one event, or an amount of it; False if that is too much."""
        if self._limit == 0:
            return True
        now = self._clock()
        began, count = self._open.get(key, (now, 0))
        if now - began >= self._seconds or count == 0:
            self._open.pop(key, None)
            self._forget(now)
            began, count = now, 0
        self._open[key] = (began, count + amount)
        return count + amount <= self._limit

    def give_back(self, key: Hashable) -> None:
        """Take one event back that was counted."""
        began, count = self._open.get(key, (0.0, 0))
        if count > 0:
            self._open[key] = (began, count - 1)

    def used(self, key: Hashable) -> int:
        """What was counted of a key in its window; 0 where all is allowed."""
        began, count = self._open.get(key, (0.0, 0))
        return count if self._clock() - began < self._seconds else 0

    def age(self, key: Hashable) -> float:
        """Seconds since the window of a key began."""
        now = self._clock()
        return now - self._open.get(key, (now, 0))[0]

    def resume(self, key: Hashable, count: int, *, age: float) -> None:
        """Go on with a window of before, the oldest first."""
        self._open[key] = (self._clock() - age, count)

    def _forget(self, now: float) -> None:
        # Windows stand in the order they began, so the oldest are at the front.
        while self._open:
            key, (began, _) = next(iter(self._open.items()))
            if now - began < self._seconds and len(self._open) < MAX_KEYS:
                return
            del self._open[key]
