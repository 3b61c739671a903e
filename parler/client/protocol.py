"""The client's half of the conversation with one hub, over one connection; no I/O.

It says the handshake, signs nothing but challenges, and gives every reply to the
request it belongs to. Whoever drives it moves the frames, and decides about time,
new connections and repetition.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import msgspec

from parler.errors import (
    HubError,
    LocalProtocolError,
    RemoteProtocolError,
    VersionMismatch,
)
from parler.identity.signing import Keypair, is_challenge
from parler.wire import replies, requests
from parler.wire.codec import BadFrame, UnknownReply, decode_reply, encode
from parler.wire.codes import PROTOCOL_VERSION, Feature
from parler.wire.foreign import foreign
from parler.wire.replies import (
    AnyReply,
    BlobIncoming,
    BlobReady,
    BlobStored,
    Challenge,
    Delivery,
    Error,
    Event,
    Reply,
    Welcome,
)
from parler.wire.requests import (
    AnyRequest,
    Discover,
    GetBlob,
    Hello,
    Presence,
    PutBlob,
    Request,
    ResolveJoin,
    Serve,
    Subscribe,
    op_of,
)


class State(StrEnum):
    """How far the conversation is."""

    DIALLED = "dialled"
    HELLO_SENT = "hello sent"
    PROOF_SENT = "proof sent"
    READY = "ready"
    RECEIVING = "receiving a blob"
    CLOSED = "closed"


class Kind(StrEnum):
    """What a frame of the hub is to the conversation as a whole."""

    CHALLENGE = "challenge"
    WELCOME = "welcome"
    REPLY = "reply"
    ERROR = "error"
    NOTICE = "notice"
    UNKNOWN = "unknown"
    BINARY = "binary"
    GARBAGE = "garbage"


TRANSITIONS: dict[State, dict[Kind, State]] = {
    # A full hub says so before it has heard anything (protocol 1.5).
    State.DIALLED: {Kind.ERROR: State.CLOSED},
    State.HELLO_SENT: {Kind.CHALLENGE: State.PROOF_SENT, Kind.ERROR: State.CLOSED},
    State.PROOF_SENT: {Kind.WELCOME: State.READY, Kind.ERROR: State.CLOSED},
    State.READY: {
        Kind.REPLY: State.READY,
        Kind.ERROR: State.READY,
        Kind.NOTICE: State.READY,
        Kind.UNKNOWN: State.READY,
    },
    # Existing hubs put nothing between the announcement and the bytes, except
    # perhaps a push (protocol 1.3). An error now is the last word.
    State.RECEIVING: {
        Kind.BINARY: State.READY,
        Kind.NOTICE: State.RECEIVING,
        Kind.ERROR: State.CLOSED,
    },
    State.CLOSED: {},
}
"""What the hub may say in which state, and where that leads.

Anything absent is a violation, after which the state is CLOSED.
"""

REPLIES: dict[type[Request], tuple[type[Reply], ...]] = {
    requests.Ping: (replies.Pong,),
    requests.Subscribe: (replies.Subscribed,),
    requests.Invite: (replies.Invited,),
    requests.Redeem: (replies.Joined, replies.JoinPending),
    requests.JoinRequests: (replies.JoinRequestList,),
    requests.ResolveJoin: (replies.JoinResolved,),
    requests.Serve: (replies.Joined,),
    requests.AdmitWorker: (replies.WorkerAdmitted,),
    requests.Claim: (replies.Claimed,),
    requests.Queue: (replies.Queued,),
    requests.Complete: (replies.Completed,),
    requests.Register: (replies.Registered,),
    requests.Discover: (replies.Directory,),
    requests.Lookup: (replies.Card,),
    requests.MintDirectoryToken: (replies.DirectoryToken,),
    requests.MintWatch: (replies.Watch,),
    requests.Send: (replies.Sent,),
    requests.Pull: (replies.Pulled,),
    requests.Remember: (replies.Remembered,),
    requests.Recall: (replies.Recalled,),
    requests.Forget: (replies.Forgotten,),
    requests.Rooms: (replies.RoomList,),
    requests.DeleteRoom: (replies.RoomDeleted,),
    requests.Roster: (replies.RosterList,),
    requests.Presence: (replies.PresenceOk,),
    requests.SetAttention: (replies.AttentionOk,),
    requests.Receipts: (replies.ReceiptList,),
    requests.Leave: (replies.Left,),
    requests.RemoveMember: (replies.MemberRemoved,),
    requests.Invites: (replies.InviteList,),
    requests.RevokeInvite: (replies.InviteRevoked,),
    requests.RevokeTokens: (replies.TokensRevoked,),
}
"""What answers which request, beside an error (protocol 3.4).

Blobs are absent: their exchange is more than a request and a reply (protocol 8).
"""

_BLOB_REPLIES: dict[type[Request], tuple[type[Reply], ...]] = {
    requests.PutBlob: (replies.BlobReady,),
    requests.GetBlob: (replies.BlobIncoming,),
}
"""What begins the exchange that carries bytes (protocol 8)."""

FEATURE_OF: dict[type[Request], Feature] = {
    requests.Receipts: Feature.RECEIPTS,
    requests.Leave: Feature.MEMBERSHIP,
    requests.RemoveMember: Feature.MEMBERSHIP,
    requests.Invites: Feature.MEMBERSHIP,
    requests.RevokeInvite: Feature.MEMBERSHIP,
    requests.RevokeTokens: Feature.MEMBERSHIP,
    requests.Forget: Feature.FORGET,
    requests.AdmitWorker: Feature.SERVICE_ADMISSION,
}
"""What is not asked of a hub that does not advertise it (protocol 14)."""


class NotAHub(RemoteProtocolError):
    """The first thing the other side said is nothing a hub says."""


Secret: TypeAlias = str | Callable[[], str | None] | None
"""A join secret, or what says which one the hub of this connection may be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who connects, and with which join secret."""

    keypair: Keypair
    name: str
    role: str | None = None
    secret: "Secret" = None
    look: bool = False

    def __repr__(self) -> str:
        """Never the secret."""
        return f"Introduction({self.keypair.agent_id}, {self.name!r})"


@dataclass(frozen=True, slots=True)
class Proof:
    """A frame to send now: the answer to the challenge, with the secret in it."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """The hub accepted the proof."""

    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """The hub refused the handshake."""

    error: Error


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to request number `call`; an `Error` is one too."""

    call: str
    reply: AnyReply


@dataclass(frozen=True, slots=True)
class Wanted:
    """The hub awaits the bytes of request number `call`, as one binary message.

    They are owed to it whether or not anybody still waits: only they free what the
    hub set aside for them (protocol 8.1).
    """

    call: str


@dataclass(frozen=True, slots=True)
class Announced:
    """The bytes that answer request number `call` come next."""

    call: str
    incoming: BlobIncoming


@dataclass(frozen=True, slots=True)
class Arrived:
    """The bytes that answer request number `call`; not held against anything yet."""

    call: str
    incoming: BlobIncoming
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Farewell:
    """The hub's last word; it closes now."""

    error: Error


Incoming: TypeAlias = (
    Proof
    | Ready
    | Refused
    | Answer
    | Wanted
    | Announced
    | Arrived
    | Farewell
    | Delivery
    | Event
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits, and what may answer it."""

    op: str
    replies: tuple[type[Reply], ...]


class ClientProtocol:
    """One connection's conversation, from the first hello to the end."""

    def __init__(
        self,
        who: Introduction,
        *,
        check_hub: Callable[[str], None] | None = None,
    ) -> None:
        """Begin in the state DIALLED.

        Args:
            check_hub: Called with the challenge's hub token before it is signed; it
                raises `RelayedChallenge` if that token belongs to another hub.
        """
        self._who = who
        self._check_hub = check_hub
        self._state = State.DIALLED
        self._features: frozenset[str] = frozenset()
        self.showed_secret = False
        """Whether the hub was told a join secret."""

        self._waiting: dict[str, _Asked] = {}  # in the order they were asked
        self._asked = 0
        self._announced: Announced | None = None

    @property
    def state(self) -> State:
        """How far the conversation is."""
        return self._state

    @property
    def features(self) -> frozenset[str]:
        """What the hub advertised (protocol 14.1)."""
        return self._features

    @property
    def numbered(self) -> bool:
        """Whether replies name their request; if not, they come in order."""
        return Feature.RID in self._features

    def hello(self) -> str:
        """The first frame to send.

        Raises:
            LocalProtocolError: Not the first.
        """
        if self._state is not State.DIALLED:
            raise LocalProtocolError(f"hello in the state {self._state!r}")
        self._state = State.HELLO_SENT
        return encode(self._introduce())

    def ask(self, request: AnyRequest) -> tuple[str, str]:
        """Number a request; returns its number and the frame to send.

        Raises:
            LocalProtocolError: Not ready, or not a request that this can carry.
            HubError: The hub does not offer what the request needs.
        """
        if type(request) not in REPLIES:
            raise LocalProtocolError(f"{op_of(request)!r} is no plain request")
        return self._ask(request, REPLIES[type(request)])

    def ask_with_bytes(self, request: PutBlob | GetBlob) -> tuple[str, str]:
        """Number an upload or a download; returns its number and the frame to send.

        An upload is answered by `Wanted`, and after its bytes by an `Answer`; a
        download by `Announced` and `Arrived`; either also by an error. One upload at
        a time: another announcement would take the first one's place (protocol 8.1).

        Raises:
            LocalProtocolError: Not ready.
        """
        return self._ask(request, _BLOB_REPLIES[type(request)])

    def receive(self, data: str | bytes) -> Incoming | None:
        """Take one frame of the hub: text as str, binary as bytes.

        Returns:
            What it means, or None where it means nothing to us.

        Raises:
            RemoteProtocolError: The hub may not say that now; the connection is over.
            VersionMismatch: It speaks another major version.
            RelayedChallenge: By `check_hub`.
        """
        kind, frame = _sort(data)
        before = self._state
        after = TRANSITIONS[before].get(kind)
        self._state = State.CLOSED  # unless the frame proves to be in order
        if after is None:
            raise _violation(before, kind, frame)
        meaning = self._take(frame, before)
        if isinstance(meaning, Announced):
            self._state = State.RECEIVING
        elif not isinstance(meaning, Farewell):
            self._state = after
        return meaning

    def close(self) -> None:
        """Note that the connection is over."""
        self._state = State.CLOSED

    def _ask(
        self, request: AnyRequest, expected: tuple[type[Reply], ...]
    ) -> tuple[str, str]:
        if self._state not in (State.READY, State.RECEIVING):
            raise LocalProtocolError(f"a request in the state {self._state!r}")
        fitting = self._fit(request)
        self._asked += 1
        call = f"{self._asked:x}"
        self._waiting[call] = _Asked(op_of(request), expected)
        if self.numbered:
            fitting = msgspec.structs.replace(fitting, rid=call)
        return call, encode(fitting)

    def _introduce(self) -> Hello:
        who = self._who
        return Hello(
            id=who.keypair.agent_id,
            name=foreign(who.name),
            role=foreign(who.role),
            look=who.look or None,
        )

    def _fit(self, request: AnyRequest) -> AnyRequest:
        """Hold a request against the hub's features (protocol 14)."""
        needed = FEATURE_OF.get(type(request))
        if needed is not None and needed not in self._features:
            raise _unsupported(op_of(request))
        match request:
            case ResolveJoin(history=str()) if Feature.HISTORY not in self._features:
                raise _unsupported("resolve_join with a choice of history")
            case Serve(open=bool()) if Feature.SERVICE_ADMISSION not in self._features:
                if not request.open:
                    raise _unsupported("serve for known agents alone")
                return Serve(service=request.service)  # every service is open there
            case Discover() if Feature.DIRECTORY not in self._features and (
                request.name is not None or request.after is not None
            ):
                raise _unsupported("discover by name or page")
            case Subscribe(events=[*_]) if Feature.EVENTS not in self._features:
                return Subscribe()  # events are hints: without them it still works
            case Presence(while_connected=True) if (
                Feature.PRESENCE not in self._features
            ):
                return msgspec.structs.replace(request, while_connected=None)
        return request

    def _take(
        self, frame: AnyReply | BadFrame | bytes, state: State
    ) -> Incoming | None:
        match frame:
            case bytes():
                return self._arrive(frame)
            case BadFrame():
                self._pass_over(frame)
                return None
            case Delivery() | Event():
                return frame
            case Challenge():
                return self._prove(frame)
            case Welcome():
                return self._enter(frame)
            case Error() if self._is_farewell(frame, state):
                return Farewell(frame)
            case Error() if state is not State.READY:
                return Refused(frame)
            case _:
                return self._settle(frame)

    def _prove(self, challenge: Challenge) -> Proof:
        theirs = (challenge.version or PROTOCOL_VERSION).partition(".")[0]
        ours = PROTOCOL_VERSION.partition(".")[0]
        if theirs != ours:
            raise VersionMismatch(
                f"the hub speaks version {theirs[:16]!r} of the protocol, we {ours!r}"
            )
        # The key also signs messages: a text the hub could choose is never signed
        # (protocol 13, 1).
        if not is_challenge(challenge.nonce):
            raise RemoteProtocolError(
                "the hub asked us to sign something that is no challenge; "
                "nothing was signed"
            )
        if self._check_hub is not None:
            self._check_hub(challenge.nonce.split(":")[2])
        secret = self._who.secret
        shown = secret() if callable(secret) else secret
        self.showed_secret = shown is not None
        proof = msgspec.structs.replace(
            self._introduce(),
            nonce=challenge.nonce,
            sig=self._who.keypair.sign(challenge.nonce.encode()),
            secret=shown,
        )
        return Proof(encode(proof))

    def _enter(self, welcome: Welcome) -> Ready:
        if welcome.id != self._who.keypair.agent_id:
            raise RemoteProtocolError("the hub welcomed somebody else")
        self._features = frozenset(welcome.features or ())
        return Ready(self._features)

    def _is_farewell(self, error: Error, state: State) -> bool:
        # Only what closes the connection is said without being asked (1.3).
        if state is State.RECEIVING:
            return True
        unasked = error.rid is None if self.numbered else not self._waiting
        return state is State.READY and unasked

    def _arrive(self, data: bytes) -> Arrived:
        announced, self._announced = self._announced, None
        assert announced is not None, "the table lets bytes in after that only"
        return Arrived(announced.call, announced.incoming, data)

    def _settle(self, reply: AnyReply) -> Answer | Wanted | Announced:
        call = reply.rid if self.numbered else next(iter(self._waiting), None)
        asked = self._waiting.get(call) if call is not None else None
        name = reply.__struct_config__.tag
        if asked is None or call is None:
            raise RemoteProtocolError(f"the hub sent {name!r}, which nobody asked for")
        if not isinstance(reply, (Error, *asked.replies)):
            raise RemoteProtocolError(f"the hub answered {asked.op!r} by {name!r}")
        if isinstance(reply, BlobReady):  # the same request is answered once more
            self._waiting[call] = _Asked(asked.op, (BlobStored,))
            return Wanted(call)
        del self._waiting[call]
        if isinstance(reply, BlobIncoming):
            self._announced = Announced(call, reply)
            return self._announced
        return Answer(call, reply)

    def _pass_over(self, frame: BadFrame) -> None:
        # Where replies come in order, an unknown frame may be one of them.
        if not self.numbered or frame.rid is not None:
            raise RemoteProtocolError(f"unknown frame of the hub: {frame.reason}")


def _sort(data: str | bytes) -> tuple[Kind, AnyReply | BadFrame | bytes]:
    if isinstance(data, bytes):
        return Kind.BINARY, data
    try:
        frame = decode_reply(data)
    except UnknownReply as unknown:
        return Kind.UNKNOWN, unknown
    except BadFrame as garbage:
        return Kind.GARBAGE, garbage
    match frame:
        case Challenge():
            return Kind.CHALLENGE, frame
        case Welcome():
            return Kind.WELCOME, frame
        case Error():
            return Kind.ERROR, frame
        case Delivery() | Event():
            return Kind.NOTICE, frame
        case _:
            return Kind.REPLY, frame


def _violation(
    state: State, kind: Kind, frame: AnyReply | BadFrame | bytes
) -> RemoteProtocolError:
    reason = frame.reason if isinstance(frame, BadFrame) else f"a frame {kind!r}"
    if kind is Kind.BINARY:
        reason = "a binary frame that nothing announced"
    text = f"the hub sent {kind!r} in the state {state!r}: {reason}"
    first = state in (State.DIALLED, State.HELLO_SENT)
    return NotAHub(text) if first else RemoteProtocolError(text)


def _unsupported(what: str) -> HubError:
    return HubError(
        f"this hub does not offer {what!r}",
        next_step="do without it, or ask who runs the hub to update it",
    )
