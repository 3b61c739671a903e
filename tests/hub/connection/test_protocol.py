"""The server's half of the handshake: its whole table, and what proves an id (2.3)."""

import hmac
from collections.abc import Callable

import pytest

from hub.connection import protocol
from hub.connection.protocol import (
    Authenticated,
    Input,
    Perform,
    SendChallenge,
    ServerProtocol,
    State,
    classify,
)
from hub.errors import Refusal
from hub.ids import CHALLENGE_TTL_MS, challenge
from parler.identity.signing import Keypair
from parler.wire import requests
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.requests import AnyRequest, Hello
from tests._support.memory_hub import NOON_MS, Clock

ANN, EVE = Keypair(b"\x01" * 32), Keypair(b"\x02" * 32)
SECRET = "correct-horse-battery"


class Link:
    """A protocol with a fake clock, and Ann on the other side."""

    def __init__(self, secret: str | None = None) -> None:
        self.clock = Clock()
        self.nonces: list[str] = []
        self.protocol = ServerProtocol(
            make_nonce=self._nonce, now_ms=self.clock, join_secret=secret
        )

    def _nonce(self) -> str:
        self.nonces.append(challenge("0123456789ab", self.clock()))
        return self.nonces[-1]

    def says(self, request: AnyRequest) -> protocol.Action:
        return self.protocol.receive(request)

    def asks(self) -> None:
        assert self.says(hello()) == SendChallenge(self.nonces[-1])

    def proof(self, signer: Keypair = ANN, nonce: str | None = None) -> Hello:
        return hello(sig=signer.sign((nonce or self.nonces[-1]).encode()))

    def is_refused(self, request: AnyRequest) -> ErrorCode | None:
        before = self.protocol.state
        with pytest.raises(Refusal) as caught:
            self.says(request)
        assert self.protocol.state is before, "a refusal changes nothing"
        return caught.value.code

    def at(self, state: State) -> "Link":
        if state is not State.STRANGER:
            self.asks()
        if state is State.READY:
            self.says(self.proof())
            self.protocol.welcomed()
        assert self.protocol.state is state
        return self


def hello(
    *,
    id: AgentId = ANN.agent_id,
    sig: str | None = None,
    secret: str | None = None,
    nonce: str | None = None,
) -> Hello:
    return Hello(id=id, name="ann", role="dev", sig=sig, secret=secret, nonce=nonce)


# -------------------------------------------------------------------------- the table

EXPECTED: dict[tuple[State, Input], tuple[object, State]] = {
    (State.STRANGER, Input.HELLO): (SendChallenge, State.CHALLENGED),
    (State.STRANGER, Input.PROOF): (ErrorCode.PROTOCOL, State.STRANGER),
    (State.STRANGER, Input.REQUEST): (ErrorCode.UNAUTHENTICATED, State.STRANGER),
    (State.CHALLENGED, Input.HELLO): (SendChallenge, State.CHALLENGED),
    (State.CHALLENGED, Input.PROOF): (Authenticated, State.CHALLENGED),
    (State.CHALLENGED, Input.REQUEST): (ErrorCode.UNAUTHENTICATED, State.CHALLENGED),
    (State.READY, Input.HELLO): (ErrorCode.PROTOCOL, State.READY),
    (State.READY, Input.PROOF): (ErrorCode.PROTOCOL, State.READY),
    (State.READY, Input.REQUEST): (Perform, State.READY),
}
INPUTS: dict[Input, Callable[[Link], AnyRequest]] = {
    Input.HELLO: lambda link: hello(),
    Input.PROOF: lambda link: link.proof(nonce=None if link.nonces else "x"),
    Input.REQUEST: lambda link: requests.Ping(),
}


def test_the_table_is_total_over_states_and_inputs() -> None:
    everything = {(state, what) for state in State for what in Input}
    assert set(protocol._TABLE) == everything == set(EXPECTED)


@pytest.mark.parametrize("what", Input, ids=lambda what: what.name)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_every_input_in_every_state(state: State, what: Input) -> None:
    link = Link().at(state)
    frame = INPUTS[what](link)
    assert classify(frame) is what
    outcome, after = EXPECTED[state, what]
    if isinstance(outcome, ErrorCode):
        assert link.is_refused(frame) is outcome
    else:
        action = link.says(frame)
        assert type(action) is outcome
    assert link.protocol.state is after


def test_every_request_but_hello_is_judged_alike() -> None:
    link = Link()
    for request in (
        requests.Rooms(),
        requests.Pull(room="r"),  # type: ignore[arg-type]
        requests.Redeem(code="ABCDEFGH"),  # type: ignore[arg-type]
    ):
        assert classify(request) is Input.REQUEST
        assert link.is_refused(request) is ErrorCode.UNAUTHENTICATED


# -------------------------------------------------------------------------- the proof


def test_a_proof_names_the_agent_as_it_introduced_itself_then() -> None:
    link = Link()
    link.says(Hello(id=EVE.agent_id, name="eve"))
    action = link.says(link.proof())
    assert action == Authenticated(ANN.agent_id, "ann", "dev")


def test_the_request_is_handed_on_as_it_came() -> None:
    ping = requests.Ping(rid="1")
    assert Link().at(State.READY).says(ping) == Perform(ping)


def test_a_challenge_holds_for_a_minute_inclusive() -> None:
    for late, accepted in ((0, True), (CHALLENGE_TTL_MS, True), (60_001, False)):
        link = Link()
        link.asks()
        link.clock.now_ms = NOON_MS + late
        if accepted:
            assert isinstance(link.says(link.proof()), Authenticated)
        else:
            assert link.is_refused(link.proof()) is ErrorCode.UNAUTHENTICATED


def test_a_proof_that_could_not_be_written_down_may_be_shown_again() -> None:
    link = Link()
    link.asks()
    assert isinstance(link.says(link.proof()), Authenticated)
    assert link.is_refused(requests.Ping()) is ErrorCode.UNAUTHENTICATED
    assert isinstance(link.says(link.proof()), Authenticated)
    link.protocol.welcomed()
    assert link.says(requests.Ping()) == Perform(requests.Ping())


def test_after_expiry_a_new_challenge_works() -> None:
    link = Link()
    link.asks()
    link.clock.advance(61)
    assert link.is_refused(link.proof()) is ErrorCode.UNAUTHENTICATED
    link.asks()
    assert isinstance(link.says(link.proof()), Authenticated)


def test_only_the_latest_challenge_counts_and_the_echoed_nonce_does_not() -> None:
    link = Link()
    link.asks()
    link.asks()
    old, new = link.nonces
    stale = hello(sig=ANN.sign(old.encode()), nonce=old)
    assert link.is_refused(stale) is ErrorCode.UNAUTHENTICATED
    fresh = hello(sig=ANN.sign(new.encode()), nonce=old)
    assert isinstance(link.says(fresh), Authenticated)


def test_a_failed_proof_does_not_use_up_the_challenge() -> None:
    link = Link()
    link.asks()
    assert link.is_refused(link.proof(EVE)) is ErrorCode.UNAUTHENTICATED
    assert isinstance(link.says(link.proof()), Authenticated)


def test_a_challenge_of_another_connection_or_hub_proves_nothing() -> None:
    mine, other = Link(), Link()
    mine.asks()
    other.asks()
    stolen = other.proof(nonce=mine.nonces[-1])
    assert other.is_refused(stolen) is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize("sig", ["", "x", "A" * 88, ANN.sign(b"something else")])
def test_a_bad_signature_proves_nothing(sig: str) -> None:
    link = Link()
    link.asks()
    assert link.is_refused(hello(sig=sig)) is ErrorCode.UNAUTHENTICATED


def test_nobody_signs_in_as_somebody_else() -> None:
    link = Link()
    link.asks()
    sig = EVE.sign(link.nonces[-1].encode())
    assert link.is_refused(hello(sig=sig)) is ErrorCode.UNAUTHENTICATED
    for stranger in ("", "ann", ANN.agent_id.lower(), f"{ANN.agent_id} ", ANN.seed):
        forged = hello(id=AgentId(stranger), sig=ANN.sign(link.nonces[-1].encode()))
        assert link.is_refused(forged) is ErrorCode.UNAUTHENTICATED


# ------------------------------------------------------------------------- the secret


@pytest.mark.parametrize(
    "shown",
    [None, "", SECRET[:-1], f"{SECRET} ", f"{SECRET}\x00", SECRET.upper(), "é", "x"],
)
def test_a_wrong_secret_is_refused_with_the_words_clients_look_for(
    shown: str | None,
) -> None:
    link = Link(SECRET)
    link.asks()
    proof = link.proof()
    proof.secret = shown
    with pytest.raises(Refusal, match="requires a join secret") as caught:
        link.says(proof)
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED
    assert SECRET not in caught.value.message
    assert link.protocol.state is State.CHALLENGED
    proof.secret = SECRET
    assert isinstance(link.says(proof), Authenticated)


def test_the_secret_is_only_looked_at_after_the_signature() -> None:
    """Otherwise anybody could try secrets without an identity."""
    link = Link(SECRET)
    link.asks()
    for secret in (SECRET, "wrong"):
        forged = hello(sig=EVE.sign(b"x"), secret=secret)
        assert link.is_refused(forged) is ErrorCode.UNAUTHENTICATED


def test_the_secret_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[object, object]] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    link = Link(SECRET)
    link.asks()
    proof = link.proof()
    proof.secret = "guess"
    assert link.is_refused(proof) is ErrorCode.NOT_AUTHORIZED
    assert compared == [(b"guess", SECRET.encode())]


def test_a_hub_without_secret_ignores_one() -> None:
    link = Link()
    link.asks()
    proof = link.proof()
    proof.secret = "whatever"
    assert isinstance(link.says(proof), Authenticated)


# ----------------------------------------------------------------------------- hellos


def test_the_fifth_hello_is_one_too_many() -> None:
    link = Link()
    for _ in range(4):
        link.protocol.count_hello()
    for _ in range(3):
        with pytest.raises(Refusal) as caught:
            link.protocol.count_hello()
        assert caught.value.code is ErrorCode.RATE_LIMITED
