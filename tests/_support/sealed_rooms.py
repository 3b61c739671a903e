"""A hub of one room that does as it is told, and members of it, without a network."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import msgspec

from parler.identity.signing import Keypair
from parler.sealed.changes import Change
from parler.sealed.formats import Plaintext
from parler.sealed.member import Member
from parler.sealed.reader import Reading
from parler.sealed.store import Outgoing, Store, StoredRoom, memory_store
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.foreign import foreign
from parler.wire.records import EndpointRef, StoredMessage

HUB = "wss://hub.example"
ROOM = RoomName("room.abc234")

OPENED: list[Store] = []
"""The stores of people, for `close_stores` at the end of a test."""


@dataclass
class OneRoom:
    """The messages of a room in the hub's order."""

    messages: list[StoredMessage] = field(default_factory=list)

    def store(self, author: AgentId, outgoing: Outgoing) -> StoredMessage:
        """Store a message once, whoever sends it how often."""
        for message in self.messages:
            if message.id == outgoing.uid:
                return message
        seq = self.messages[-1].seq + 3 if self.messages else 100
        message = said(author, outgoing.parts, seq=seq, name=outgoing.uid)
        self.messages.append(message)
        return message


def said(author: AgentId, parts: bytes, *, seq: int, name: str = "") -> StoredMessage:
    """A message as a hub hands it out."""
    return StoredMessage(
        seq=seq,
        id=MessageId(name),
        room=ROOM,
        author=EndpointRef(id=author, name=foreign("the hub's word")),
        parts=msgspec.Raw(parts),
        ts=0,
    )


class Person:
    """A member with a store of its own, at a hub that may show it what it likes."""

    def __init__(self, number: int, hub: OneRoom, store: Store | None = None) -> None:
        self.keypair = Keypair(bytes([number]) * 32)
        self.id = self.keypair.agent_id
        self.hub = hub
        self.store = store or memory_store()
        OPENED.append(self.store)
        self.now_ms = 1_790_000_000_000
        self.member = Member(
            self.store,
            self.keypair,
            hub=HUB,
            room=ROOM,
            name=f"person {number}",
            now=lambda: self.now_ms,
        )

    def send(self, outgoing: Outgoing) -> StoredMessage:
        """Bring a message of ours to the hub."""
        return self.hub.store(self.id, outgoing)

    def open(self) -> None:
        """Make the room."""
        self.send(self.member.open())
        self.sync()

    def sync(self) -> list[Reading]:
        """Read what is new."""
        last = self.member.last
        return self.member.take([m for m in self.hub.messages if m.seq >= last])

    def enter(self) -> bool:
        """Look for what lets us in, and read from the beginning if it is there."""
        if not self.member.begin(self.hub.messages):
            return False
        self.sync()
        return True

    def say(self, text: str) -> StoredMessage:
        """Say something after reading what is new."""
        self.sync()
        sent = self.send(self.member.say([{"kind": "text", "text": text}]))
        self.sync()
        return sent

    def change(self, change: Change) -> None:
        """Change who is in the room, whoever else does so meanwhile."""
        self.sync()
        self.member.intend(change)
        self.finish()

    def finish(self) -> None:
        """Send what is pending until nothing is."""
        last = None
        while outgoing := self.member.outgoing(self.hub.messages[:1]):
            assert outgoing.uid != last, "it was sent, and we do not see it"
            last = outgoing.uid
            self.send(outgoing)
            self.sync()

    @property
    def texts(self) -> list[str]:
        """What we have read, in log order."""
        with self.room() as room:
            plains = [entry.plain for entry in room.entries()]
            return [text_of(plain) for plain in plains if plain is not None]

    @property
    def alarms(self) -> list[str]:
        """The contradictions we know of."""
        with self.room() as room:
            return [alarm.kind for alarm in room.alarms()]

    def room(self) -> AbstractContextManager[StoredRoom]:
        """What our store has of the room."""
        return self.store.room(HUB, ROOM)


def text_of(plain: Plaintext) -> str:
    """The text of a message of one part."""
    return str(plain.parts[0]["text"])


def close_stores() -> None:
    """Close what people have opened."""
    while OPENED:
        OPENED.pop().close()
