"""The bytes of a day: what agents, rooms and addresses have taken of their shares.

They are counted in memory. Each step of a share is told to whoever keeps it, so that a
restart does not hand it out anew: it forgets less than one step of each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hub.rate_limit import Windows

DAY_SECS = 86_400
STEPS = 256
"""In so many writes a share is used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken of one share."""

    kind: str
    key: str
    bytes: int
    age: float
    """Seconds since its day began."""


class Days:
    """Shares of several kinds, each by a key."""

    def __init__(self, shares: Mapping[str, int], clock: Callable[[], float]) -> None:
        """Begin with nothing taken.

        Args:
            shares: Bytes a day for each key of a kind; 0 = no limit.
            clock: Seconds that never go back.
        """
        self._shares = dict(shares)
        self._windows = {
            kind: Windows(share, DAY_SECS, clock) for kind, share in shares.items()
        }
        self.keep: Callable[[Taken], object] = lambda _: None
        """Told at each step, before what was taken is used."""

    def admit(self, kind: str, key: str, size: int) -> bool:
        """Count some bytes; False if they are too many."""
        windows, share = self._windows[kind], self._shares[kind]
        before = windows.used(key)
        admitted = windows.admit(key, size)
        used, step = windows.used(key), max(share // STEPS, 1)
        if used // step > before // step and before <= share:
            age = windows.age(key)
            self.keep(Taken(kind=kind, key=key, bytes=used, age=age))
        return admitted

    def used(self, kind: str, key: str) -> int:
        """Bytes that were counted today; 0 where there is no limit."""
        return self._windows[kind].used(key)

    def resume(self, taken: list[Taken]) -> None:
        """Go on with what was kept."""
        for each in sorted(taken, key=lambda one: -one.age):
            if self._shares.get(each.kind) and each.age < DAY_SECS:
                windows = self._windows[each.kind]
                windows.resume(each.key, each.bytes, age=max(each.age, 0))
