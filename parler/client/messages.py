"""Messages as a reader gets them: judged, with their parts read, and in batches.

Nothing here asks a hub. A message that cannot be read is handed out all the same,
marked invalid, so that it never stands in the way of the next one.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

from parler.identity.message_signing import Signature, check_message
from parler.identity.seen_messages import SeenMessages, Sighting, Standing
from parler.wire.base import AgentId, MessageId, Millis, RoomName, Seq
from parler.wire.parts import InvalidParts, Part, SigPart, TextPart, read_parts
from parler.wire.records import EndpointRef, StoredMessage

Commit = Callable[[RoomName, Seq], Awaitable[None]]
"""Moves our cursor in a room up to a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A stored message, and what a reader may believe of its author.

    The author's name and role, `seq`, `id`, `ts` and the mentions are the hub's word
    only; the signature covers neither (protocol 6.3).
    """

    stored: StoredMessage
    signature: Signature
    parts: list[Part]
    said: bool = True
    """Whether it is its author's word: a sealed room also has keys, and what is not
    opened, of which we say what it is."""

    @property
    def seq(self) -> Seq:
        """Its position."""
        return self.stored.seq

    @property
    def id(self) -> MessageId:
        """The hub's name for it."""
        return self.stored.id

    @property
    def room(self) -> RoomName:
        """Where it was said."""
        return self.stored.room

    @property
    def author(self) -> EndpointRef:
        """Who said it."""
        return self.stored.author

    @property
    def ts(self) -> Millis:
        """When the hub stored it."""
        return self.stored.ts

    @property
    def text(self) -> str:
        """The text parts, one below the other."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Messages of a room in order, and the position after them.

    The hub keeps handing them out until `ack` has been awaited.
    """

    room: RoomName
    messages: list[Message]
    cursor: Seq
    commit: Commit = field(repr=False, compare=False)

    async def ack(self) -> None:
        """Tell the hub that these were taken. Done when it returns, not before.

        Raises:
            TransportError: The hub did not confirm it; the batch may come again.
            HubError: The hub refused.
        """
        await self.commit(self.room, self.cursor)


def read_message(
    stored: StoredMessage,
    *,
    reader: AgentId,
    hub_token: str | None = None,
    former_tokens: Collection[str] = (),
) -> Message:
    """Judge and read a message for one reader, of one hub (protocol 6.4)."""
    signature = check_message(
        stored, reader=reader, hub_token=hub_token, former_tokens=former_tokens
    )
    try:
        parts = read_parts(stored.parts)
    except InvalidParts:
        parts, signature = [], Signature.INVALID
    return Message(stored=stored, signature=signature, parts=parts)


def mark_replays(
    messages: list[Message], seen: SeenMessages, *, token: str, url: str
) -> list[Message]:
    """Mark what is known from another place; the others are remembered.

    Args:
        token: What the hub's challenge calls it.
        url: Under which address it was dialled.
    """
    judged = list(messages)
    signed = [
        (index, message, sig)
        for index, message in enumerate(messages)
        if message.signature is Signature.VALID
        if (sig := next((p for p in message.parts if isinstance(p, SigPart)), None))
    ]
    sightings = [
        Sighting(
            author=message.author.id,
            uid=sig.uid,
            room=message.room,
            seq=message.seq,
            named=isinstance(sig.hub, str),
        )
        for _, message, sig in signed
    ]
    found = seen.note(sightings, token=token, url=url)
    for (index, message, _), standing in zip(signed, found, strict=True):
        if standing is Standing.ELSEWHERE:
            judged[index] = replace(message, signature=Signature.REPLAYED)
    return judged
