"""The server half of the handshake and of the order of frames, without I/O.

One `ServerProtocol` judges one connection: which frame may come now, and whether a
hello proves its id (protocol 2.3, 3.2). What happens in each state is a table, and what
is not in it is refused. Sockets, timers and the database belong to `connection`.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from hub.errors import Refusal
from parler.identity.signing import is_agent_id, is_challenge, verify
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.foreign import Foreign
from parler.wire.limits import MAX_HELLOS
from parler.wire.requests import AnyRequest, Hello


class State(Enum):
    """How far a connection is."""

    STRANGER = auto()
    CHALLENGED = auto()
    READY = auto()


class Input(Enum):
    """What a connection can say, as far as the order of frames is concerned."""

    HELLO = auto()
    PROOF = auto()
    REQUEST = auto()


@dataclass(frozen=True, slots=True)
class SendChallenge:
    """Answer with this nonce."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The agent proved who it is: note it and welcome it."""

    id: AgentId
    name: Foreign
    role: Foreign | None
    looks: bool = False
    """Only somebody who looks: it says nothing of how the agent is doing."""


@dataclass(frozen=True, slots=True)
class Perform:
    """A request of an authenticated agent: hand it to its handler."""

    request: AnyRequest


Action = SendChallenge | Authenticated | Perform


class ServerProtocol:
    """Judges the frames of one connection, one at a time."""

    def __init__(
        self,
        *,
        make_nonce: Callable[[], str],
        now_ms: Callable[[], int],
        join_secret: str | None,
    ) -> None:
        """Take the hub's clock and randomness, and its join secret if it has one."""
        self._make_nonce = make_nonce
        self._now_ms = now_ms
        self._join_secret = join_secret
        self._nonce: str | None = None
        self._hellos = 0
        self.state = State.STRANGER

    def receive(self, request: AnyRequest) -> Action:
        """Say what to do about a well-formed frame.

        Raises:
            Refusal: It may not come now, or proves nothing. The connection stays.
        """
        step = _TABLE[self.state, classify(request)]
        return step(self, request)

    def welcomed(self) -> None:
        """Note that the agent was let in: its proof is on disk."""
        self.state = State.READY

    def count_hello(self) -> None:
        """Count a hello frame, however it turns out (protocol 2.3).

        Raises:
            Refusal: It is one too many.
        """
        self._hellos += 1
        if self._hellos > MAX_HELLOS:
            raise Refusal(ErrorCode.RATE_LIMITED, "too many hello frames")

    def _challenge(self, request: AnyRequest) -> Action:
        self._nonce = self._make_nonce()
        self.state = State.CHALLENGED
        return SendChallenge(self._nonce)

    def _check_proof(self, request: AnyRequest) -> Action:
        assert isinstance(request, Hello)
        nonce = self._nonce
        assert nonce is not None
        if not is_challenge(nonce) or self._now_ms() > int(nonce.split(":")[3]):
            raise Refusal(ErrorCode.UNAUTHENTICATED, "the challenge has expired")
        proven = request.sig is not None and verify(
            request.id, nonce.encode(), request.sig
        )
        if not (proven and is_agent_id(request.id)):
            raise Refusal(
                ErrorCode.UNAUTHENTICATED, "the signature does not match the id"
            )
        self._check_secret(request.secret)
        return Authenticated(
            request.id, request.name, request.role, looks=bool(request.look)
        )

    def _check_secret(self, shown: str | None) -> None:
        wanted = self._join_secret
        if wanted is None or hmac.compare_digest(
            (shown or "").encode(), wanted.encode()
        ):
            return
        raise Refusal(
            ErrorCode.NOT_AUTHORIZED,
            "this hub requires a join secret, and that is another one"
            if shown
            else "this hub requires a join secret (set PARLER_JOIN_SECRET)",
        )

    def _perform(self, request: AnyRequest) -> Action:
        return Perform(request)

    def _no_challenge_yet(self, request: AnyRequest) -> Action:
        raise Refusal(
            ErrorCode.PROTOCOL, "ask for a challenge first: send hello without sig"
        )

    def _hello_again(self, request: AnyRequest) -> Action:
        raise Refusal(ErrorCode.PROTOCOL, "already authenticated")

    def _not_yet(self, request: AnyRequest) -> Action:
        raise Refusal(ErrorCode.UNAUTHENTICATED, "prove who you are first: send hello")


def classify(request: AnyRequest) -> Input:
    """Which input of the table a frame is."""
    if not isinstance(request, Hello):
        return Input.REQUEST
    return Input.PROOF if request.sig is not None else Input.HELLO


Step = Callable[[ServerProtocol, AnyRequest], Action]
_TABLE: dict[tuple[State, Input], Step] = {
    (State.STRANGER, Input.HELLO): ServerProtocol._challenge,
    (State.STRANGER, Input.PROOF): ServerProtocol._no_challenge_yet,
    (State.STRANGER, Input.REQUEST): ServerProtocol._not_yet,
    (State.CHALLENGED, Input.HELLO): ServerProtocol._challenge,
    (State.CHALLENGED, Input.PROOF): ServerProtocol._check_proof,
    (State.CHALLENGED, Input.REQUEST): ServerProtocol._not_yet,
    (State.READY, Input.HELLO): ServerProtocol._hello_again,
    (State.READY, Input.PROOF): ServerProtocol._hello_again,
    (State.READY, Input.REQUEST): ServerProtocol._perform,
}
