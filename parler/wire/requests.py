"""What a client asks: one type per ``op`` (protocol 3.4, 14).

An optional field may be absent or ``null``, save `visibility`, `scope` and
`requireApproval`, which may only be absent (protocol 1.2).
"""

from typing import TypeAlias

import msgspec

from parler.wire.base import (
    U32,
    U64,
    AgentId,
    Code,
    Digest,
    MessageId,
    Rid,
    RoomName,
    Seq,
    WireStruct,
)
from parler.wire.foreign import Foreign
from parler.wire.limits import (
    DEFAULT_DISCOVER_LIMIT,
    DEFAULT_INVITE_TTL_SECS,
    DEFAULT_LEASE_SECS,
    DEFAULT_PULL_LIMIT,
    DEFAULT_QUEUE_LIMIT,
    DEFAULT_RECALL_LIMIT,
    DEFAULT_TOKEN_TTL_SECS,
)
from parler.wire.records import (
    AgentCard,
    Attention,
    Fact,
    RoomKind,
    Scope,
    Target,
    TaskStatus,
    Visibility,
)


class Request(WireStruct, tag_field="op", kw_only=True):
    """Base of every client frame; `rid` comes back in its reply (protocol 14.2)."""

    rid: Rid | None = None


class Hello(Request, tag="hello"):
    """Ask for a challenge (without `sig`), or answer it (protocol 2.3)."""

    id: AgentId
    name: Foreign
    role: Foreign | None = None
    nonce: str | None = None
    sig: str | None = None
    secret: str | None = None
    look: bool | None = None
    """This connection tells nothing of how the agent is doing (14.12)."""


class Ping(Request, tag="ping"):
    """Say that the agent is alive."""


class Subscribe(Request, tag="subscribe"):
    """Have messages pushed to this connection, and the named events (14.3)."""

    events: list[str] | None = None


class Invite(Request, tag="invite"):
    """Mint a key to a new or an existing room (protocol 4.2)."""

    kind: RoomKind
    room: RoomName | None = None
    ttl_secs: U64 | None = DEFAULT_INVITE_TTL_SECS
    max_uses: U32 | None = None
    require_approval: bool = False


class Redeem(Request, tag="redeem"):
    """Enter with a key, or knock (protocol 4.3)."""

    code: Code


class JoinRequests(Request, tag="join_requests"):
    """Who is knocking at a room of mine."""

    room: RoomName


class ResolveJoin(Request, tag="resolve_join"):
    """Admit or reject somebody who knocked; `history` is of 14.6."""

    room: RoomName
    agent: AgentId
    approve: bool
    history: str | None = None


class Serve(Request, tag="serve"):
    """Become a worker of a service (protocol 10.4); `open` is of 14.10."""

    service: str
    open: bool | None = None


class AdmitWorker(Request, tag="admit_worker"):
    """Let an agent work for a service of mine (protocol 14.10)."""

    service: str
    agent: AgentId


class Claim(Request, tag="claim"):
    """Take a task, or renew its lease (protocol 10.4)."""

    room: RoomName
    message: MessageId
    lease_secs: U64 | None = DEFAULT_LEASE_SECS


class Queue(Request, tag="queue"):
    """List tasks nobody holds (protocol 10.4)."""

    room: RoomName
    role: str
    limit: U32 | None = DEFAULT_QUEUE_LIMIT


class Complete(Request, tag="complete"):
    """End a task that the caller holds (protocol 10.4)."""

    room: RoomName
    message: MessageId
    status: TaskStatus


class Register(Request, tag="register"):
    """Put a card into the directory (protocol 10.1)."""

    card: AgentCard
    visibility: Visibility = Visibility.PRIVATE
    sig: str | None = None


class Discover(Request, tag="discover"):
    """Search the directory (protocol 10.1); `name` and `after` are of 14.13."""

    scope: Scope = Scope.HUB
    query: str | None = None
    tag: str | None = None
    skill: str | None = None
    status: str | None = None
    limit: U32 | None = DEFAULT_DISCOVER_LIMIT
    name: str | None = None
    after: str | None = None


class Lookup(Request, tag="lookup"):
    """Fetch one agent's card."""

    id: AgentId


class MintDirectoryToken(Request, tag="mint_directory_token"):
    """Get a bearer token for the directory over HTTP (protocol 11)."""

    ttl_secs: U64 | None = DEFAULT_TOKEN_TTL_SECS


class MintWatch(Request, tag="mint_watch"):
    """Get a read-only bearer token for a room's viewer (protocol 11)."""

    room: RoomName
    ttl_secs: U64 | None = DEFAULT_TOKEN_TTL_SECS


class Send(Request, tag="send"):
    """Say something (protocol 5.2). `parts` is kept as the raw JSON it came in."""

    target: Target
    parts: msgspec.Raw
    mentions: list[str] | None = None
    reply_to: str | None = None
    client_id: str | None = None


class Pull(Request, tag="pull"):
    """Read a room from a position or from one's cursor (protocol 5.3)."""

    room: RoomName
    since: Seq | None = None
    limit: U32 | None = DEFAULT_PULL_LIMIT
    wait_secs: U64 | None = None
    ack: Seq | None = None


class Remember(Request, tag="remember"):
    """Keep a fact (protocol 9)."""

    fact: Fact
    embedding: list[float] | None = None
    embedding_model: str | None = None


class Recall(Request, tag="recall"):
    """Look for facts (protocol 9)."""

    query: str
    room: RoomName | None = None
    limit: U32 | None = DEFAULT_RECALL_LIMIT
    embedding: list[float] | None = None
    key: str | None = None


class Forget(Request, tag="forget"):
    """Drop facts of mine by key, by exact text, or by both: feature ``forget``.

    Without a room, those for myself alone; with one, those in that room.
    """

    key: str | None = None
    text: str | None = None
    room: RoomName | None = None


class Rooms(Request, tag="rooms"):
    """List my rooms."""


class DeleteRoom(Request, tag="delete_room"):
    """Delete a room of mine with all that is in it (protocol 4.6)."""

    room: RoomName


class Roster(Request, tag="roster"):
    """List the members of a room."""

    room: RoomName


class Presence(Request, tag="presence"):
    """Say what I am doing (protocol 10.2), and whether it ends with me (14.11)."""

    status: str
    activity: str | None = None
    attention: Attention | None = None
    while_connected: bool | None = None


class SetAttention(Request, tag="set_attention"):
    """Say what may interrupt me (protocol 10.3)."""

    attention: Attention


class PutBlob(Request, tag="put_blob"):
    """Announce an upload; one binary frame follows ``blob_ready`` (protocol 8.1)."""

    target: Target
    sha256: Digest
    size: U64
    media_type: str | None = None


class GetBlob(Request, tag="get_blob"):
    """Fetch bytes by their digest (protocol 8.3)."""

    id: Digest


class Receipts(Request, tag="receipts"):
    """Ask how far a message got with each member (protocol 14.4)."""

    room: RoomName
    seq: Seq


class Leave(Request, tag="leave"):
    """Stop being a member (protocol 14.5)."""

    room: RoomName


class RemoveMember(Request, tag="remove_member"):
    """Put somebody out of a room of mine (protocol 14.5)."""

    room: RoomName
    agent: AgentId


class Invites(Request, tag="invites"):
    """List the live keys of a room of mine (protocol 14.5)."""

    room: RoomName


class RevokeInvite(Request, tag="revoke_invite"):
    """Make a key worthless (protocol 14.5)."""

    code: Code


class RevokeTokens(Request, tag="revoke_tokens"):
    """Make bearer tokens worthless (protocol 14.5)."""

    room: RoomName | None = None


AnyRequest: TypeAlias = (
    Hello
    | Ping
    | Subscribe
    | Invite
    | Redeem
    | JoinRequests
    | ResolveJoin
    | Serve
    | AdmitWorker
    | Claim
    | Queue
    | Complete
    | Register
    | Discover
    | Lookup
    | MintDirectoryToken
    | MintWatch
    | Send
    | Pull
    | Remember
    | Recall
    | Forget
    | Rooms
    | DeleteRoom
    | Roster
    | Presence
    | SetAttention
    | PutBlob
    | GetBlob
    | Receipts
    | Leave
    | RemoveMember
    | Invites
    | RevokeInvite
    | RevokeTokens
)


def op_of(request: Request | type[Request]) -> str:
    """The request's ``op`` as spelled on the wire."""
    tag = request.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
