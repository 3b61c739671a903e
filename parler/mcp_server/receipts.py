"""What is on its way to the model in the result of a call, and whether it arrived.

A result arrived when it was written, the host has read all we wrote, and then spoke
again. A host that cancels a call does not look at its result any more, so what was in
it has not arrived. Nothing here acknowledges anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mcp_types import JSONRPCMessage, JSONRPCNotification

from parler.wake.spool import Held
from parler.wire.base import RoomName, Seq

RequestId = int | str


class Pipe(Protocol):
    """What is known of our side's writing."""

    def watch(self, request: RequestId) -> None:
        """Keep an eye on the answer to a request."""

    def was_written(self, request: RequestId) -> bool:
        """Whether it has left this process."""

    def forget(self, request: RequestId) -> None:
        """It is not asked for any more."""

    def all_read(self) -> bool:
        """Whether the host has read all that was written."""


@dataclass(slots=True)
class Receipt:
    """What one result brings."""

    holds: list[Held] = field(default_factory=list)
    claims: list[tuple[RoomName, Seq]] = field(default_factory=list)
    """Rooms of which it shows everything up to a position."""

    @property
    def empty(self) -> bool:
        """Whether it brings nothing."""
        return not self.claims and not any(held.items for held in self.holds)


class Receipts:
    """The results that nobody knows yet whether they arrived."""

    def __init__(self, settled: Callable[[Receipt, bool], None]) -> None:
        """Begin with none.

        Args:
            settled: Told once of each, and whether it arrived.
        """
        self._pipe: Pipe | None = None
        self._settled = settled
        self._open: dict[RequestId, Receipt] = {}

    def use(self, pipe: Pipe) -> None:
        """Results are written there."""
        self._pipe = pipe

    def open(self, request: RequestId, receipt: Receipt) -> None:
        """This is what the answer to a request brings, which comes next."""
        if receipt.empty:
            return
        if self._pipe is None:
            self._settled(receipt, False)
            return
        self._settle(request, arrived=False)  # an id that is used again
        self._pipe.watch(request)
        self._open[request] = receipt

    def heard(self, message: JSONRPCMessage) -> None:
        """The host spoke."""
        if not self._open or self._pipe is None:
            return
        cancelled = _cancelled(message)
        if cancelled is not None:
            for request in [one for one in self._open if str(one) == cancelled]:
                self._settle(request, arrived=False)
        if not self._pipe.all_read():
            return
        for request in [one for one in self._open if self._pipe.was_written(one)]:
            self._settle(request, arrived=True)

    def failed(self, request: RequestId) -> None:
        """A request was answered with an error instead."""
        self._settle(request, arrived=False)

    def _settle(self, request: RequestId, *, arrived: bool) -> None:
        receipt = self._open.pop(request, None)
        if receipt is not None:
            if self._pipe is not None:
                self._pipe.forget(request)
            self._settled(receipt, arrived)


def _cancelled(message: JSONRPCMessage) -> str | None:
    if (
        isinstance(message, JSONRPCNotification)
        and message.method == "notifications/cancelled"
    ):
        request = (message.params or {}).get("requestId")
        return None if request is None else str(request)
    return None
