"""What a hub says: one type per ``type`` (protocol 3.5, 14).

A *reply* answers a request and carries its `rid`; an *event* comes unasked and has
none. An `Error` is a reply, or the last word before the hub closes.
"""

from typing import ClassVar, TypeAlias

from parler.wire.base import (
    U32,
    U64,
    AgentId,
    Digest,
    MessageId,
    Millis,
    Rid,
    RoomName,
    Seq,
    WireStruct,
)
from parler.wire.foreign import Foreign
from parler.wire.records import (
    DirectoryEntry,
    InviteInfo,
    JoinRequest,
    MemberReceipt,
    RecallHit,
    RoomInfo,
    RoomKind,
    RosterEntry,
    StoredMessage,
    Visibility,
)


class Reply(WireStruct, tag_field="type", kw_only=True):
    """Base of every hub frame; `rid` is that of the request (protocol 14.2)."""

    unsolicited: ClassVar[bool] = False
    rid: Rid | None = None


class Challenge(Reply, tag="challenge"):
    """The text to sign (protocol 2.3)."""

    nonce: str
    version: str | None = None


class Welcome(Reply, tag="welcome"):
    """The agent proved who it is; `features` is of 14.1."""

    id: AgentId
    name: Foreign
    features: list[str] | None = None


class Invited(Reply, tag="invited"):
    """A key was minted."""

    code: Foreign
    url: Foreign
    room: RoomName
    kind: RoomKind
    expires_at: Millis


class Joined(Reply, tag="joined"):
    """The caller is a member.

    `admitted` is false for who serves and waits for the service's owner (14.10).
    """

    room: RoomName
    kind: RoomKind
    admitted: bool | None = None


class WorkerAdmitted(Reply, tag="worker_admitted"):
    """An agent may work for a service."""

    service: Foreign
    agent: AgentId


class JoinPending(Reply, tag="join_pending"):
    """The caller waits for the owner's decision."""

    room: RoomName


class JoinRequestList(Reply, tag="join_requests"):
    """Who is knocking, oldest first."""

    room: RoomName
    requests: list[JoinRequest]


class JoinResolved(Reply, tag="join_resolved"):
    """The owner's decision was stored."""

    room: RoomName
    agent: AgentId
    approved: bool


class Claimed(Reply, tag="claimed"):
    """Whether the caller holds the task, and until when."""

    room: RoomName
    message: MessageId
    claimed: bool
    lease_until: Millis | None = None


class Queued(Reply, tag="queued"):
    """Tasks nobody holds."""

    room: RoomName
    messages: list[StoredMessage]


class Completed(Reply, tag="completed"):
    """Whether the task ended with the caller's status."""

    room: RoomName
    message: MessageId
    completed: bool


class Registered(Reply, tag="registered"):
    """The card is in the directory."""

    id: AgentId
    visibility: Visibility
    verified: bool


class Directory(Reply, tag="directory"):
    """Cards that were found.

    `known` are those of them who are in a session with the caller; `next` is where
    there are more (protocol 14.13).
    """

    agents: list[DirectoryEntry]
    known: list[AgentId] | None = None
    next: Foreign | None = None


class Card(Reply, tag="card"):
    """One card, if there is one."""

    entry: DirectoryEntry | None = None


class DirectoryToken(Reply, tag="directory_token"):
    """A bearer token for the directory."""

    token: Foreign
    expires_at: Millis


class Watch(Reply, tag="watch"):
    """A bearer token for a room's viewer."""

    token: Foreign
    room: RoomName
    expires_at: Millis


class Sent(Reply, tag="sent"):
    """The message is stored, fsynced."""

    id: MessageId
    seq: Seq
    room: RoomName


class Pulled(Reply, tag="pulled"):
    """Messages of a room in order, and the position after them."""

    room: RoomName
    messages: list[StoredMessage]
    cursor: Seq


class Remembered(Reply, tag="remembered"):
    """The fact is stored."""

    ok: bool


class Recalled(Reply, tag="recalled"):
    """Facts that were found."""

    hits: list[RecallHit]


class Forgotten(Reply, tag="forgotten"):
    """So many facts of the caller are gone."""

    count: U64


class RoomList(Reply, tag="rooms"):
    """The caller's rooms, by name."""

    rooms: list[RoomInfo]


class RoomDeleted(Reply, tag="room_deleted"):
    """The room and all that was in it are gone."""

    room: RoomName


class RosterList(Reply, tag="roster"):
    """The members of a room, by name."""

    room: RoomName
    entries: list[RosterEntry]


class PresenceOk(Reply, tag="presence_ok"):
    """The presence was noted."""


class AttentionOk(Reply, tag="attention_ok"):
    """The attention was noted."""


class Subscribed(Reply, tag="subscribed"):
    """Messages will be pushed to this connection."""


class Pong(Reply, tag="pong"):
    """Answer to a ping; everything before it was processed."""


class BlobReady(Reply, tag="blob_ready"):
    """The hub awaits the bytes."""

    id: Digest


class BlobStored(Reply, tag="blob_stored"):
    """The bytes are stored."""

    id: Digest
    size: U64


class BlobIncoming(Reply, tag="blob_incoming"):
    """One binary message with the bytes follows."""

    id: Digest
    size: U64
    media_type: str | None = None


class ReceiptList(Reply, tag="receipts"):
    """How far a message got with each member (protocol 14.4)."""

    room: RoomName
    seq: Seq
    members: list[MemberReceipt]


class Left(Reply, tag="left"):
    """The caller is no longer a member (protocol 14.5)."""

    room: RoomName


class MemberRemoved(Reply, tag="member_removed"):
    """That agent is no longer a member (protocol 14.5)."""

    room: RoomName
    agent: AgentId


class InviteList(Reply, tag="invites"):
    """The live keys of a room (protocol 14.5)."""

    room: RoomName
    invites: list[InviteInfo]


class InviteRevoked(Reply, tag="invite_revoked"):
    """The key is worthless (protocol 14.5)."""

    code: Foreign


class TokensRevoked(Reply, tag="tokens_revoked"):
    """So many tokens are worthless (protocol 14.5)."""

    count: U32


class Error(Reply, tag="error"):
    """The request was refused, or the hub is about to close (protocol 3.3).

    `code` stays a string here: a newer hub may use one we do not know.
    """

    message: Foreign
    code: str | None = None


class Delivery(Reply, tag="delivery"):
    """A message pushed to a subscribed connection (protocol 5.4)."""

    unsolicited: ClassVar[bool] = True
    message: StoredMessage


class Event(Reply, tag="event"):
    """A hint that something changed (protocol 14.3).

    Which of the other fields are set depends on `event`.
    """

    unsolicited: ClassVar[bool] = True
    event: str
    room: RoomName
    agent: AgentId | None = None
    name: Foreign | None = None
    role: Foreign | None = None
    requested_at: Millis | None = None
    approved: bool | None = None
    change: str | None = None
    delivered: Seq | None = None
    seen: Seq | None = None


AnyReply: TypeAlias = (
    Challenge
    | Welcome
    | Invited
    | Joined
    | WorkerAdmitted
    | JoinPending
    | JoinRequestList
    | JoinResolved
    | Claimed
    | Queued
    | Completed
    | Registered
    | Directory
    | Card
    | DirectoryToken
    | Watch
    | Sent
    | Pulled
    | Remembered
    | Recalled
    | Forgotten
    | RoomList
    | RoomDeleted
    | RosterList
    | PresenceOk
    | AttentionOk
    | Subscribed
    | Pong
    | BlobReady
    | BlobStored
    | BlobIncoming
    | ReceiptList
    | Left
    | MemberRemoved
    | InviteList
    | InviteRevoked
    | TokensRevoked
    | Error
    | Delivery
    | Event
)
