"""How long to wait before the next attempt: exponential, with full jitter.

Only arithmetic. Whoever waits also decides when an attempt has succeeded.
"""

import os
from collections.abc import Callable

FIRST_SECS = 0.1
LONGEST_SECS = 5.0


def system_fraction() -> float:
    """A random number in [0, 1) from the system."""
    return int.from_bytes(os.urandom(6)) / 2**48


class Backoff:
    """Delays that grow until `reset`.

    Each is drawn evenly from zero to a ceiling that doubles every time, so that
    clients which lost their hub at one moment do not return at one moment.
    """

    __slots__ = ("_ceiling", "_first", "_fraction", "_longest")

    def __init__(
        self,
        fraction: Callable[[], float],
        *,
        first: float = FIRST_SECS,
        longest: float = LONGEST_SECS,
    ) -> None:
        """Take a source of numbers in [0, 1) and the two bounds in seconds."""
        self._fraction = fraction
        self._first = first
        self._longest = longest
        self._ceiling = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        ceiling = self._ceiling
        self._ceiling = min(ceiling * 2, self._longest)
        return ceiling * self._fraction()

    def reset(self) -> None:
        """Start again with the shortest delay."""
        self._ceiling = self._first
