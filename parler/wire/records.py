"""The objects that frames carry: targets, messages, cards, rooms (protocol 3.1)."""

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from parler.wire.base import U32, AgentId, MessageId, Millis, RoomName, Seq, WireStruct
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.foreign import Foreign, foreign


class RoomKind(StrEnum):
    """What a room is for (protocol 4.2)."""

    CHANNEL = "channel"
    DM = "dm"
    SERVICE = "service"


class Visibility(StrEnum):
    """Who finds a card in the directory (protocol 10.1)."""

    PUBLIC = "public"
    PRIVATE = "private"


class Scope(StrEnum):
    """Which cards a search looks through (protocol 10.1)."""

    HUB = "hub"
    PUBLIC = "public"


class Attention(StrEnum):
    """What may interrupt an agent (protocol 10.3)."""

    OPEN = "open"
    DND = "dnd"
    FOCUS = "focus"


class CardKind(StrEnum):
    """Whether a card describes an agent or a plain endpoint (protocol 3.1)."""

    AGENT = "agent"
    ENDPOINT = "endpoint"


class TaskStatus(StrEnum):
    """How far a task is (protocol 7)."""

    ACCEPTED = "accepted"
    WORKING = "working"
    AWAITING = "awaiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows this status."""
        return self in {TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED}


class RoomTarget(WireStruct, tag_field="kind", tag="room"):
    """Everybody in a room."""

    room: RoomName


class DmTarget(WireStruct, tag_field="kind", tag="dm"):
    """One agent, wherever the two have their direct room."""

    agent: AgentId


class ServiceTarget(WireStruct, tag_field="kind", tag="service"):
    """Whoever serves that name."""

    service: str


Target: TypeAlias = RoomTarget | DmTarget | ServiceTarget


class EndpointRef(WireStruct):
    """The author of a message, as it called itself when it connected."""

    id: AgentId
    name: Foreign
    role: Foreign | None = None


class StoredMessage(WireStruct):
    """A message as the hub stored it.

    `parts` is the raw JSON array exactly as its author sent it: numbers are never
    printed anew, since signatures cover them (protocol 6.1, 13).
    """

    seq: Seq
    id: MessageId
    room: RoomName
    author: EndpointRef = msgspec.field(name="from")
    parts: msgspec.Raw
    ts: Millis
    mentions: list[Foreign] | None = None
    reply_to: str | None = None


class Skill(WireStruct):
    """One thing an agent says it can do."""

    id: Foreign
    name: Foreign
    description: Foreign | None = None


class AgentCard(WireStruct):
    """An agent's signed description of itself (protocol 3.1, 6.2)."""

    id: AgentId
    name: Foreign
    kind: CardKind
    role: Foreign | None = None
    description: Foreign | None = None
    tags: list[Foreign] | None = None
    skills: list[Skill] | None = None
    meta: dict[str, Any] | None = None
    protocol_version: str | None = None

    @classmethod
    def of(cls, agent_id: AgentId, name: str, **fields: Any) -> "AgentCard":
        """The card of an agent speaking this version of the protocol."""
        return cls(
            id=agent_id,
            name=foreign(name),
            kind=CardKind.AGENT,
            protocol_version=PROTOCOL_VERSION,
            **fields,
        )


class Fact(WireStruct):
    """Something to remember, in a room or for its author alone (protocol 9)."""

    text: str
    key: str | None = None
    room: RoomName | None = None


class RecallHit(WireStruct):
    """A fact that was found."""

    text: Foreign
    author: AgentId
    ts: Millis
    score: float
    key: Foreign | None = None
    room: RoomName | None = None


OFFLINE = "offline"
"""The status of an agent that is not there (protocol 10.2)."""

ENDED = "ended"
"""Its activity, if it was there as long as it was connected (protocol 14.11)."""


class RosterEntry(WireStruct):
    """A member of a room and how it is doing.

    `delivered` and `seen` are positions in the room (protocol 14.4). `waits_as` is the
    role of one whom the service's owner did not admit (14.10).
    """

    id: AgentId
    name: Foreign
    status: Foreign
    last_seen: Millis
    role: Foreign | None = None
    activity: Foreign | None = None
    attention: Attention | None = None
    service_role: Foreign | None = None
    delivered: Seq | None = None
    seen: Seq | None = None
    waits_as: Foreign | None = None


class RoomInfo(WireStruct):
    """A room of the caller, with what it has not read there (protocol 5.5)."""

    name: RoomName
    kind: RoomKind
    members: U32
    unread: U32
    unread_own: U32 | None = None


class JoinRequest(WireStruct):
    """Somebody waiting to be let into a room."""

    agent: AgentId
    name: Foreign
    requested_at: Millis
    role: Foreign | None = None


class DirectoryEntry(WireStruct):
    """A card in the directory with what the hub knows of its agent."""

    card: AgentCard
    visibility: Visibility
    status: Foreign
    hub: Foreign
    verified: bool
    first_seen: Millis
    last_seen: Millis
    activity: Foreign | None = None
    attention: Attention | None = None
    sig: str | None = None


class InviteInfo(WireStruct):
    """A live invite of a room (protocol 14.5)."""

    code: Foreign
    kind: RoomKind
    require_approval: bool
    uses: U32
    max_uses: U32
    expires_at: Millis


class DeliveryState(StrEnum):
    """How far a message got with one member (protocol 14.4)."""

    STORED = "stored"
    DELIVERED = "delivered"
    SEEN = "seen"


class MemberReceipt(WireStruct):
    """How far a message got with one member (protocol 14.4)."""

    agent: AgentId
    name: Foreign
    state: DeliveryState
    ts: Millis | None = None
