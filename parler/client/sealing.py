"""What a client asks about rooms that only their members can read.

How they are sealed is not known here; a client that was given nothing knows no such
room, and pays nothing for it.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from parler.wire.base import RoomName
from parler.wire.parts import Part
from parler.wire.replies import Sent
from parler.wire.requests import AnyRequest

if TYPE_CHECKING:
    from parler.client.client import Client
    from parler.client.messages import Message


class Sealing(Protocol):
    """The sealed rooms of one identity at one hub."""

    def covers(self, room: RoomName, /) -> bool:
        """Whether a room is sealed, as far as this machine knows."""
        ...

    async def settle(self, client: "Client", room: RoomName, /) -> bool:
        """The same before something is said, when what we knew may be lost."""
        ...

    async def check(self, client: "Client", frame: AnyRequest, /) -> None:
        """Refuse what would say something in clear into a sealed room.

        Raises:
            UsageError: It would.
        """
        ...

    async def say(
        self,
        client: "Client",
        room: RoomName,
        parts: Sequence[Part],
        /,
        *,
        mentions: Collection[str],
        reply_to: str | None,
        client_id: str | None,
    ) -> Sent:
        """Say something into a sealed room, as `Client.send` does."""
        ...

    async def opened(
        self, client: "Client", room: RoomName, messages: "list[Message]", /
    ) -> "list[Message]":
        """What a hub handed out, with what is sealed opened; as many as they were."""
        ...
