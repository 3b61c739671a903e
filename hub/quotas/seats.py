"""Places that are few: sockets, and connections among them.

Who has not signed in yet holds a place only as long as nobody needs it: when all are
taken, the one that has waited longest gives way, of the address that has most of them.
No address takes the last places, and on a shared hub none takes more than its share.
"""

from collections import Counter
from collections.abc import Callable

SHORTEST_SECS = 1.0
"""What a stranger has at least to sign in, however full the hub is."""

_LAST = 64
"""One place in so many is not for whoever has all others."""


class Seat:
    """One place, of somebody who may still have to give way."""

    __slots__ = ("_leave", "_seats", "address", "since")

    def __init__(
        self, seats: "Seats", address: str, since: float, leave: Callable[[], object]
    ) -> None:
        """Only `Seats.take` makes one."""
        self._seats: Seats | None = seats
        self._leave = leave
        self.address = address
        self.since = since

    def renew(self) -> None:
        """Begin to wait anew: whoever sits here has asked for something."""
        if self._seats is not None:
            self._seats.renewed(self)

    def settle(self) -> None:
        """Stay: whoever sits here has signed in."""
        if self._seats is not None:
            self._seats.settled(self)

    def free(self) -> None:
        """Give the place back; may be called twice."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.freed(self)

    def give_way(self) -> None:
        """Give the place back for somebody else, who needs it now."""
        self.free()
        self._leave()


class Seats:
    """So many places, and who has them."""

    def __init__(
        self,
        total: int,
        *,
        per_address: int = 0,
        patience_secs: float = 0,
        clock: Callable[[], float],
    ) -> None:
        """Begin with all places free.

        Args:
            total: How many there are.
            per_address: How many of them one address may have; 0 = all but the last.
            patience_secs: How long a stranger may stay; less from half full on.
            clock: Seconds that never go back.
        """
        self.total = total
        self.share = min(per_address or total, total - total // _LAST)
        self._patience = patience_secs
        self._clock = clock
        self._strangers: dict[str, dict[Seat, None]] = {}
        self._in_order: dict[Seat, None] = {}
        self._taken: Counter[str] = Counter()
        self.taken = 0
        self.refused = 0
        self.crowded_out = 0

    @property
    def strangers(self) -> int:
        """Places of those who have not signed in."""
        return len(self._in_order)

    def take(self, address: str, leave: Callable[[], object]) -> Seat | None:
        """Take a place, if there is one for that address.

        Args:
            leave: Called when the place is needed before its holder has signed in.
        """
        now = self._clock()
        self._lose_patience(now)
        if self._taken[address] >= self.share:
            rival = self._first_of(address)
        elif self.taken >= self.total:
            rival = self._first_of_the_most()
        else:
            return self._seat(address, now, leave)
        if rival is None:
            self.refused += 1
            return None
        self.crowded_out += 1
        rival.give_way()
        return self._seat(address, now, leave)

    def renewed(self, seat: Seat) -> None:
        """Put a stranger behind all others."""
        mine = self._strangers.get(seat.address, {})
        if seat in mine:
            for order in (mine, self._in_order):
                del order[seat]
                order[seat] = None
            seat.since = self._clock()

    def settled(self, seat: Seat) -> None:
        """Let a seat's holder stay."""
        self._in_order.pop(seat, None)
        mine = self._strangers.get(seat.address)
        if mine is not None:
            mine.pop(seat, None)
            if not mine:
                del self._strangers[seat.address]

    def freed(self, seat: Seat) -> None:
        """Take a seat back."""
        self.settled(seat)
        self.taken -= 1
        self._taken[seat.address] -= 1
        if not self._taken[seat.address]:
            del self._taken[seat.address]

    def _seat(self, address: str, now: float, leave: Callable[[], object]) -> Seat:
        seat = Seat(self, address, now, leave)
        self._strangers.setdefault(address, {})[seat] = None
        self._in_order[seat] = None
        self._taken[address] += 1
        self.taken += 1
        return seat

    def _first_of(self, address: str) -> Seat | None:
        return next(iter(self._strangers.get(address, ())), None)

    def _first_of_the_most(self) -> Seat | None:
        most = max(self._strangers.values(), key=len, default={})
        return next(iter(most), None)

    def _lose_patience(self, now: float) -> None:
        free = 1 - self.taken / self.total if self.total else 0
        if not self._patience or free > 1 / 2:
            return
        longest = max(2 * free * self._patience, SHORTEST_SECS)
        while self._in_order:
            first = next(iter(self._in_order))
            if now - first.since <= longest:
                return
            self.crowded_out += 1
            first.give_way()
