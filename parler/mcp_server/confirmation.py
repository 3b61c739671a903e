"""Whether the result of a call, and with it what waited, arrived at the model.

A result arrived when it was written, the host has read all we wrote, and then spoke
again. A host that cancels a call does not look at its result any more, so what was in
it has not arrived; but some cancel every call, also when they have had its result for
a while. Nothing here acknowledges anything.
"""

from collections.abc import Callable
from typing import Protocol

from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest

from parler.runtime.receipt import Receipt

RequestId = int | str

CROSSING_SECS = 0.04
"""A cancellation that comes later than this after its result was read was not written
before: the two cannot have crossed."""

MAX_CANCELLED = 100
"""Cancelled calls that are remembered; most of them never get a result."""


class Pipe(Protocol):
    """What is known of our side's writing."""

    def watch(self, request: RequestId) -> None:
        """Keep an eye on the answer to a request."""

    def was_written(self, request: RequestId) -> bool:
        """Whether it has left this process."""

    def forget(self, request: RequestId) -> None:
        """It is not asked for any more."""

    def was_read(self, request: RequestId, *, secs_ago: float) -> bool:
        """Whether the host has read it, and that long ago at least."""

    def all_read(self) -> bool:
        """Whether the host has read all that was written."""


class ResultConfirmation:
    """The results that nobody knows yet whether they arrived."""

    def __init__(self, pipe: Pipe) -> None:
        """Begin with none.

        Args:
            pipe: Results are written there.
        """
        self._pipe = pipe
        self._settled: Callable[[Receipt, bool], None]
        self._open: dict[RequestId, Receipt] = {}
        self._cancelled: dict[str, None] = {}
        """Calls that had no result when they were cancelled."""

    def report_to(self, settled: Callable[[Receipt, bool], None]) -> None:
        """From now on, tell this of each receipt once, and whether it arrived."""
        self._settled = settled

    def open(self, request: RequestId, receipt: Receipt) -> None:
        """This is what the answer to a request brings, which comes next."""
        if receipt.empty:
            return
        if str(request) in self._cancelled:
            self._settled(receipt, False)
            return
        self._settle(request, arrived=False)  # an id that is used again
        self._pipe.watch(request)
        self._open[request] = receipt

    def abandon(self) -> None:
        """Report what is still open as not arrived: nobody will ever know."""
        for request in list(self._open):
            self._settle(request, arrived=False)

    def heard(self, message: JSONRPCMessage) -> None:
        """The host spoke."""
        if isinstance(message, JSONRPCRequest):
            self._cancelled.pop(str(message.id), None)  # an id that is used again
        cancelled = _cancelled(message)
        if cancelled is not None:
            self._cancel(cancelled)
        if not self._open or not self._pipe.all_read():
            return
        for request in [one for one in self._open if self._pipe.was_written(one)]:
            self._settle(request, arrived=True)

    def _cancel(self, cancelled: str) -> None:
        found = [one for one in self._open if str(one) == cancelled]
        for request in found:
            had = self._pipe.was_read(request, secs_ago=CROSSING_SECS)
            self._settle(request, arrived=had)
        if not found:
            self._cancelled[cancelled] = None
            while len(self._cancelled) > MAX_CANCELLED:
                del self._cancelled[next(iter(self._cancelled))]

    def failed(self, request: RequestId) -> None:
        """A request was answered with an error instead."""
        self._settle(request, arrived=False)

    def _settle(self, request: RequestId, *, arrived: bool) -> None:
        receipt = self._open.pop(request, None)
        if receipt is not None:
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
