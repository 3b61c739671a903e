"""One request whose caller waits: what goes with it, and what ends its waiting.

Also what may be said of it when no answer came. When it goes out, and over which
connection, is `parler.client.connection`'s part.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from parler.errors import ParlerError, TooManyBytes, refusal
from parler.wire.replies import AnyReply, BlobIncoming, Error
from parler.wire.requests import (
    AnyRequest,
    Complete,
    DeleteRoom,
    Discover,
    GetBlob,
    Invites,
    JoinRequests,
    Leave,
    Lookup,
    Ping,
    Pull,
    PutBlob,
    Queue,
    Recall,
    Receipts,
    RemoveMember,
    ResolveJoin,
    Rooms,
    Roster,
    Send,
    Subscribe,
    op_of,
)

_MAYBE_DONE = "asked again after a lost connection: it may have been done"
_DONE_ONCE = (Leave, DeleteRoom, RemoveMember, ResolveJoin, Complete)
_READING = (
    Discover,
    GetBlob,
    Invites,
    JoinRequests,
    Lookup,
    Ping,
    Pull,
    Queue,
    Recall,
    Receipts,
    Rooms,
    Roster,
    Subscribe,
)


Progress: TypeAlias = Callable[[int, int], None]
"""Told how many bytes of a blob have passed, and of how many; never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The bytes that go with a request, or are to come with its answer."""

    data: bytes | None = field(default=None, repr=False)
    """What is sent; None for a download."""

    max_bytes: int = 0
    """What is taken of a download."""

    progress: Progress | None = None

    def tell(self, count: int, size: int) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(count, size)


@dataclass(frozen=True, slots=True)
class Received:
    """A blob as the hub handed it out; not held against its digest yet."""

    incoming: BlobIncoming
    data: bytes = field(repr=False)


Answered: TypeAlias = AnyReply | Received


@dataclass(slots=True, eq=False)
class Pending:
    """A request whose caller waits. A finished future means that nobody does."""

    request: AnyRequest
    future: "asyncio.Future[Answered]"
    transfer: Transfer | None = None
    sends: int = 0
    size: int = 0

    @property
    def parked(self) -> bool:
        """Whether the hub answers it when there are news, and not at once."""
        return isinstance(self.request, Pull) and bool(self.request.wait_secs)

    @property
    def repeatable(self) -> bool:
        """Whether it may go out again when its answer was lost."""
        # Such a pull moves the cursor by being answered (5.3): the lost answer's
        # messages would never come again.
        pull = self.request
        return not (isinstance(pull, Pull) and pull.since is None and pull.ack is None)

    @property
    def uploads(self) -> bool:
        """Whether bytes of ours go with it."""
        return isinstance(self.request, PutBlob)

    def tell(self, count: int, size: int) -> None:
        """Say how far its transfer is."""
        if self.transfer is not None and not self.future.done():
            self.transfer.tell(count, size)

    def announce(self, size: int) -> None:
        """Hold an announced download against what is taken; it comes all the same."""
        limit = self.transfer.max_bytes if self.transfer else 0
        if size > limit:
            self.fail(TooManyBytes(f"the blob has {size} bytes; {limit} are taken"))

    def answer(self, reply: Answered) -> None:
        """Give its caller the reply, or the hub's refusal."""
        if self.future.done():
            return
        if not isinstance(reply, Error):
            self.future.set_result(reply)
            return
        refused = refusal(reply.message, reply.code)
        if self.sends > 1 and isinstance(self.request, _DONE_ONCE):
            refused.message += f" ({_MAYBE_DONE})"
            refused.args = (refused.message,)
        self.future.set_exception(refused)

    def fail(self, error: ParlerError) -> None:
        """Give its caller an error."""
        if not self.future.done():
            self.future.set_exception(error)

    @property
    def may_have_happened(self) -> bool:
        """Whether the hub may have done what an unanswered request asks for."""
        return bool(self.sends) and not isinstance(self.request, _READING)

    def fate(self) -> str:
        """What is known of an unanswered request, as the end of a sentence."""
        op = op_of(self.request)
        if not self.sends:
            return f"{op!r} was not sent"
        if isinstance(self.request, Send):
            return "the message may have been stored"
        if isinstance(self.request, PutBlob):
            return "the bytes may have been stored, which nobody was told of"
        if isinstance(self.request, _READING):
            return f"{op!r} can simply be asked again"
        return f"{op!r} may have been carried out"
