"""Messages as they are shown: what the hub stored, with what we think of its author.

Also paging through a room within named bounds. Nothing here moves a cursor.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parler.errors import RemoteProtocolError
from parler.identity.message_signing import Signature
from parler.wire.base import RoomName
from parler.wire.limits import MAX_PULL_LIMIT
from parler.wire.records import StoredMessage

if TYPE_CHECKING:
    from parler.client.client import Batch, Client, Message

MAX_SHOWN_MESSAGES = 1000
"""Messages shown at once: of a backlog the newest, of what is new the oldest."""

MAX_SHOWN_BYTES = 4 * 2**20
MAX_PAGES = 100_000
"""Pages read of one room; a room that has more does not exist."""


class ShownMessage(StoredMessage, kw_only=True):
    """A stored message and what its reader may believe of its author."""

    signature: Signature


def shown(message: "Message") -> ShownMessage:
    """The JSON shape of a received message."""
    stored = message.stored
    fields = {name: getattr(stored, name) for name in stored.__struct_fields__}
    return ShownMessage(**fields, signature=message.signature)


def shown_all(messages: Iterable["Message"]) -> list[ShownMessage]:
    """The JSON shape of received messages."""
    return [shown(message) for message in messages]


def size_of(message: ShownMessage) -> int:
    """About how many bytes a message takes."""
    return len(bytes(message.parts)) + 200


async def pages(
    client: "Client",
    room: RoomName,
    *,
    since: int,
    limit: int = MAX_PULL_LIMIT,
) -> "AsyncGenerator[Batch]":
    """All batches of a room after `since`, read without moving the cursor.

    Raises:
        RemoteProtocolError: The hub's answers do not come to an end.
    """
    for _ in range(MAX_PAGES):
        batch = await client.pull(room, since=since, limit=limit)
        if not batch.messages:
            return
        if batch.cursor <= since:
            break
        yield batch
        since = batch.cursor
    raise RemoteProtocolError(f"the hub does not let the room {room!r} be read on")


@dataclass(slots=True)
class Tail:
    """The newest messages of a room within the bounds, and its very first one.

    The first message of a session carries its context, so it is kept whatever was
    said since.
    """

    first: ShownMessage | None = None
    omitted: int = 0
    _newest: deque[ShownMessage] = field(default_factory=deque)
    _bytes: int = 0

    def add(self, message: ShownMessage) -> None:
        """Take the next message; the oldest but the first may have to go."""
        if self.first is None:
            self.first = message
            return
        self._newest.append(message)
        self._bytes += size_of(message)
        while len(self._newest) > 1 and (
            len(self._newest) >= MAX_SHOWN_MESSAGES or self._bytes > MAX_SHOWN_BYTES
        ):
            self._bytes -= size_of(self._newest.popleft())
            self.omitted += 1

    @property
    def messages(self) -> list[ShownMessage]:
        """What is shown, in order."""
        return [self.first, *self._newest] if self.first else []
