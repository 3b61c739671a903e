"""The client's half of the conversation, as dialogues and as a walk over its table."""

import typing
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.client.protocol import (
    REPLIES,
    TRANSITIONS,
    Announced,
    Answer,
    Arrived,
    ClientProtocol,
    Farewell,
    Introduction,
    Kind,
    NotAHub,
    Proof,
    Ready,
    Refused,
    State,
    Wanted,
)
from parler.errors import (
    HubError,
    LocalProtocolError,
    RelayedChallenge,
    RemoteProtocolError,
    VersionMismatch,
)
from parler.identity.signing import Keypair, verify
from parler.wire import replies, requests
from parler.wire.base import AgentId, Digest, RoomName
from parler.wire.codec import decode_request, encode
from parler.wire.records import RoomTarget
from tests._support.transports import NONCE, stored

ME = Keypair(b"m" * 32)
WHO = Introduction(keypair=ME, name="me", role="dev", secret="open sesame")
DEN = RoomName("den")
WELCOME = replies.Welcome(id=ME.agent_id, name="me")
BLOB = Digest("0" * 64)
DELIVERY = replies.Delivery(message=stored(5))
EVENT = replies.Event(event="member", room=DEN)


def ready(*features: str) -> ClientProtocol:
    """A conversation after the handshake."""
    protocol = ClientProtocol(WHO)
    protocol.hello()
    protocol.receive(encode(replies.Challenge(nonce=NONCE, version="0.2")))
    welcome = msgspec.structs.replace(WELCOME, features=list(features) or None)
    assert protocol.receive(encode(welcome)) == Ready(frozenset(features))
    return protocol


def in_state(state: State) -> ClientProtocol:
    protocol = ClientProtocol(WHO)
    if state is State.DIALLED:
        return protocol
    protocol.hello()
    if state is State.HELLO_SENT:
        return protocol
    protocol.receive(encode(replies.Challenge(nonce=NONCE)))
    if state is State.PROOF_SENT:
        return protocol
    protocol.receive(encode(WELCOME))
    if state is State.RECEIVING:
        protocol.ask_with_bytes(requests.GetBlob(id=BLOB))
        protocol.receive(encode(replies.BlobIncoming(id=BLOB, size=1)))
    if state is State.CLOSED:
        protocol.close()
    assert protocol.state is state
    return protocol


# ----------------------------------------------------------------------- the handshake


def test_the_handshake_proves_who_we_are_and_gives_the_secret_only_with_the_proof() -> (
    None
):
    protocol = ClientProtocol(WHO)
    hello = decode_request(protocol.hello())
    assert hello == requests.Hello(id=ME.agent_id, name="me", role="dev")
    proof = protocol.receive(encode(replies.Challenge(nonce=NONCE)))
    assert isinstance(proof, Proof)
    signed = decode_request(proof.text)
    assert isinstance(signed, requests.Hello)
    assert signed.secret == "open sesame"
    assert verify(ME.agent_id, NONCE.encode(), signed.sig or "")
    assert protocol.state is State.PROOF_SENT


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        "parler-auth:v1:",
        NONCE + " ",
        NONCE + "\n",
        NONCE.upper(),
        NONCE.replace("v1", "v2"),
        '{"from":"me","parts":[],"target":{"kind":"room","room":"den"},"v":1}',
        "parler-auth:v1:0123456789ab:1:not-a-uuid",
    ],
)
def test_a_hostile_nonce_is_not_signed(nonce: str) -> None:
    protocol = ClientProtocol(WHO)
    protocol.hello()
    with pytest.raises(RemoteProtocolError, match="nothing was signed") as caught:
        protocol.receive(encode(replies.Challenge(nonce=nonce)))
    assert not isinstance(caught.value, NotAHub)
    assert protocol.state is State.CLOSED


def test_the_hub_token_is_checked_before_anything_is_signed() -> None:
    seen: list[str] = []

    def check(token: str) -> None:
        seen.append(token)
        raise RelayedChallenge("that is the token of another hub")

    protocol = ClientProtocol(WHO, check_hub=check)
    protocol.hello()
    with pytest.raises(RelayedChallenge):
        protocol.receive(encode(replies.Challenge(nonce=NONCE)))
    assert seen == ["0123456789ab"]
    assert protocol.state is State.CLOSED


@pytest.mark.parametrize("version", ["1.0", "9", ""])
def test_another_major_version_ends_it_unsigned(version: str) -> None:
    protocol = ClientProtocol(WHO)
    protocol.hello()
    if version:
        with pytest.raises(VersionMismatch):
            protocol.receive(encode(replies.Challenge(nonce=NONCE, version=version)))
    else:
        frame = replies.Challenge(nonce=NONCE, version=None)
        assert isinstance(protocol.receive(encode(frame)), Proof)


def test_another_minor_version_is_no_obstacle() -> None:
    protocol = ClientProtocol(WHO)
    protocol.hello()
    frame = replies.Challenge(nonce=NONCE, version="0.9")
    assert isinstance(protocol.receive(encode(frame)), Proof)


def test_a_welcome_for_somebody_else_is_a_violation() -> None:
    protocol = in_state(State.PROOF_SENT)
    other = Keypair(b"o" * 32).agent_id
    with pytest.raises(RemoteProtocolError, match="somebody else"):
        protocol.receive(encode(replies.Welcome(id=other, name="me")))


@pytest.mark.parametrize("state", [State.DIALLED, State.HELLO_SENT, State.PROOF_SENT])
def test_a_refused_handshake_is_over(state: State) -> None:
    protocol = in_state(state)
    error = replies.Error(message="full", code="at_capacity")
    assert protocol.receive(encode(error)) == Refused(error)
    assert protocol.state is State.CLOSED


def test_hello_is_said_once() -> None:
    protocol = in_state(State.HELLO_SENT)
    with pytest.raises(LocalProtocolError):
        protocol.hello()


def test_the_introduction_does_not_print_its_secret() -> None:
    assert "sesame" not in repr(WHO)


# --------------------------------------------------------------------------- the table

FRAMES: dict[Kind, str | bytes] = {
    Kind.CHALLENGE: encode(replies.Challenge(nonce=NONCE)),
    Kind.WELCOME: encode(WELCOME),
    Kind.REPLY: encode(replies.Pong()),
    Kind.ERROR: encode(replies.Error(message="no")),
    Kind.NOTICE: encode(DELIVERY),
    Kind.UNKNOWN: '{"type":"weather","sunny":true}',
    Kind.BINARY: b"\x00",
    Kind.GARBAGE: "not json",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", Kind)
def test_every_frame_in_every_state_is_in_the_table_or_a_violation(
    state: State, kind: Kind
) -> None:
    protocol = in_state(state)
    if state is State.READY:
        protocol.ask(requests.Ping())
    after = TRANSITIONS[state].get(kind)
    # Without numbers an unknown frame could be the reply: 14.2 tells them apart.
    if after is None or (state is State.READY and kind is Kind.UNKNOWN):
        with pytest.raises(RemoteProtocolError):
            protocol.receive(FRAMES[kind])
        assert protocol.state is State.CLOSED
    else:
        protocol.receive(FRAMES[kind])
        assert protocol.state is after


@pytest.mark.parametrize(
    "state", [s for s in State if s not in (State.READY, State.RECEIVING)]
)
def test_nothing_is_asked_outside_of_ready(state: State) -> None:
    with pytest.raises(LocalProtocolError):
        in_state(state).ask(requests.Ping())


@pytest.mark.parametrize("state", [State.DIALLED, State.HELLO_SENT])
@pytest.mark.parametrize("frame", ["<html>", "{}", '{"op":"hello"}', b"\x00", "[]"])
def test_a_first_frame_no_hub_sends_means_that_it_is_none(
    state: State, frame: str | bytes
) -> None:
    with pytest.raises(NotAHub):
        in_state(state).receive(frame)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"pong"',
        '{"type":"pong"} x',
        '{"type":"sent","id":"x","seq":1.5,"room":"den"}',
        '{"type":"sent","id":"x"}',
        '{"type":"pulled","room":"den","messages":{},"cursor":0}',
        '"\\ud800"',
        "[" * 5000,
        b"bytes",
    ],
)
@pytest.mark.parametrize("features", [(), ("rid",)])
def test_garbage_while_ready_is_a_violation(
    frame: str | bytes, features: tuple[str, ...]
) -> None:
    protocol = ready(*features)
    protocol.ask(requests.Ping())
    with pytest.raises(RemoteProtocolError):
        protocol.receive(frame)
    assert protocol.state is State.CLOSED


@given(st.text() | st.binary() | st.sampled_from(list(FRAMES.values())))
def test_any_frame_is_understood_or_a_violation(data: str | bytes) -> None:
    for state in State:
        protocol = in_state(state)
        with suppress(RemoteProtocolError):
            protocol.receive(data)


# --------------------------------------------------------------------- who is answered


def test_every_plain_request_has_its_replies_in_the_table() -> None:
    apart = {requests.Hello, requests.PutBlob, requests.GetBlob}
    assert set(REPLIES) == set(typing.get_args(requests.AnyRequest)) - apart


def test_every_reply_answers_some_request() -> None:
    answered = {kind for kinds in REPLIES.values() for kind in kinds}
    apart = {
        replies.Challenge,
        replies.Welcome,
        replies.Error,
        replies.Delivery,
        replies.Event,
        replies.BlobReady,
        replies.BlobStored,
        replies.BlobIncoming,
    }
    assert answered == set(typing.get_args(replies.AnyReply)) - apart


def test_without_rid_replies_belong_to_requests_in_order() -> None:
    protocol = ready()
    first, text = protocol.ask(requests.Ping())
    second, _ = protocol.ask(requests.Rooms())
    assert "rid" not in text
    assert protocol.receive(encode(replies.Pong())) == Answer(first, replies.Pong())
    rooms = replies.RoomList(rooms=[])
    assert protocol.receive(encode(rooms)) == Answer(second, rooms)


def test_with_rid_a_reply_may_overtake() -> None:
    protocol = ready("rid")
    parked, text = protocol.ask(requests.Pull(room=DEN, wait_secs=25))
    assert decode_request(text).rid == parked
    ping, _ = protocol.ask(requests.Ping())
    pong = replies.Pong(rid=ping)
    assert protocol.receive(encode(pong)) == Answer(ping, pong)
    pulled = replies.Pulled(rid=parked, room=DEN, messages=[], cursor=0)
    assert protocol.receive(encode(pulled)) == Answer(parked, pulled)


@pytest.mark.parametrize("features", [(), ("rid",)])
def test_deliveries_and_events_come_at_any_time(features: tuple[str, ...]) -> None:
    protocol = ready(*features)
    assert protocol.receive(encode(DELIVERY)) == DELIVERY
    call, text = protocol.ask(requests.Ping())
    assert protocol.receive(encode(EVENT)) == EVENT
    pong = replies.Pong(rid=decode_request(text).rid)
    assert protocol.receive(encode(pong)) == Answer(call, pong)


def test_an_error_answers_like_any_reply() -> None:
    for features in ((), ("rid",)):
        protocol = ready(*features)
        call, text = protocol.ask(requests.Ping())
        error = replies.Error(message="slow down", rid=decode_request(text).rid)
        assert protocol.receive(encode(error)) == Answer(call, error)
        assert protocol.state is State.READY


@pytest.mark.parametrize(
    ("features", "asked"), [((), False), (("rid",), False), (("rid",), True)]
)
def test_an_error_that_answers_nothing_is_the_last_word(
    features: tuple[str, ...], asked: bool
) -> None:
    protocol = ready(*features)
    if asked:
        protocol.ask(requests.Ping())
    error = replies.Error(message="too long", code="too_large")
    assert protocol.receive(encode(error)) == Farewell(error)
    assert protocol.state is State.CLOSED


@pytest.mark.parametrize("features", [(), ("rid",)])
def test_a_reply_nobody_waits_for_is_a_violation(features: tuple[str, ...]) -> None:
    protocol = ready(*features)
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        protocol.receive(encode(replies.Pong()))
    assert protocol.state is State.CLOSED


@pytest.mark.parametrize("rid", [None, "ff", "1"])
def test_with_rid_a_reply_names_a_waiting_request_exactly_once(rid: str | None) -> None:
    protocol = ready("rid")
    first, _ = protocol.ask(requests.Ping())
    protocol.ask(requests.Ping())
    protocol.receive(encode(replies.Pong(rid=first)))
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        protocol.receive(encode(replies.Pong(rid=rid)))


def test_a_rid_means_nothing_where_the_hub_did_not_offer_it() -> None:
    protocol = ready()
    call, _ = protocol.ask(requests.Ping())
    pong = replies.Pong(rid="whatever")
    assert protocol.receive(encode(pong)) == Answer(call, pong)


@pytest.mark.parametrize("features", [(), ("rid",)])
def test_a_reply_of_the_wrong_type_is_a_violation(features: tuple[str, ...]) -> None:
    protocol = ready(*features)
    _, text = protocol.ask(requests.Redeem(code="ABCD1234"))  # type: ignore[arg-type]
    rid = decode_request(text).rid
    with pytest.raises(RemoteProtocolError, match="answered 'redeem' by 'pong'"):
        protocol.receive(encode(replies.Pong(rid=rid)))


def test_an_unknown_frame_is_passed_over_only_where_it_cannot_be_a_reply() -> None:
    numbered = ready("rid")
    call, _ = numbered.ask(requests.Ping())
    assert numbered.receive('{"type":"weather"}') is None
    assert numbered.state is State.READY
    with pytest.raises(RemoteProtocolError):
        numbered.receive(f'{{"type":"weather","rid":"{call}"}}')
    with pytest.raises(RemoteProtocolError):
        ready().receive('{"type":"weather"}')


# ------------------------------------------------------------------------------- blobs

PUT = requests.PutBlob(target=RoomTarget(room=DEN), sha256=BLOB, size=1)
GET = requests.GetBlob(id=BLOB)


def test_an_upload_is_a_dialogue_of_two_replies_with_one_number() -> None:
    protocol = ready("rid")
    call, _ = protocol.ask_with_bytes(PUT)
    other, _ = protocol.ask(requests.Ping())
    wanted = protocol.receive(encode(replies.BlobReady(id=BLOB, rid=call)))
    assert wanted == Wanted(call)
    assert protocol.receive(encode(replies.Pong(rid=other))) is not None
    stored_ = replies.BlobStored(id=BLOB, size=1, rid=call)
    assert protocol.receive(encode(stored_)) == Answer(call, stored_)


@pytest.mark.parametrize("features", [(), ("rid",)])
def test_an_upload_may_be_refused_before_and_after_its_bytes(
    features: tuple[str, ...],
) -> None:
    for steps in (0, 1):
        protocol = ready(*features)
        call, _ = protocol.ask_with_bytes(PUT)
        rid = call if features else None
        for _ in range(steps):
            protocol.receive(encode(replies.BlobReady(id=BLOB, rid=rid)))
        no = replies.Error(message="no", rid=rid)
        assert protocol.receive(encode(no)) == Answer(call, no)


def test_an_upload_is_not_confirmed_before_the_hub_was_ready_for_it() -> None:
    protocol = ready()
    protocol.ask_with_bytes(PUT)
    with pytest.raises(RemoteProtocolError, match="'put_blob'"):
        protocol.receive(encode(replies.BlobStored(id=BLOB, size=1)))


def test_a_hub_is_ready_for_an_upload_once() -> None:
    protocol = ready()
    protocol.ask_with_bytes(PUT)
    protocol.receive(encode(replies.BlobReady(id=BLOB)))
    with pytest.raises(RemoteProtocolError, match="'blob_ready'"):
        protocol.receive(encode(replies.BlobReady(id=BLOB)))


def test_bytes_belong_to_the_download_that_was_announced_last() -> None:
    protocol = ready("rid")
    first, _ = protocol.ask_with_bytes(GET)
    second, _ = protocol.ask_with_bytes(GET)
    for call in (second, first):
        incoming = replies.BlobIncoming(id=BLOB, size=1, rid=call)
        assert protocol.receive(encode(incoming)) == Announced(call, incoming)
        assert protocol.receive(encode(DELIVERY)) == DELIVERY
        assert protocol.receive(b"x") == Arrived(call, incoming, b"x")
        assert protocol.state is State.READY


def test_a_reply_between_an_announcement_and_its_bytes_is_a_violation() -> None:
    protocol = ready("rid")
    call, _ = protocol.ask_with_bytes(GET)
    other, _ = protocol.ask(requests.Ping())
    protocol.receive(encode(replies.BlobIncoming(id=BLOB, size=1, rid=call)))
    with pytest.raises(RemoteProtocolError):
        protocol.receive(encode(replies.Pong(rid=other)))


def test_an_error_in_place_of_announced_bytes_is_the_last_word() -> None:
    protocol = in_state(State.RECEIVING)
    error = replies.Error(message="disk", code="internal")
    assert protocol.receive(encode(error)) == Farewell(error)
    assert protocol.state is State.CLOSED


# ------------------------------------------------------------------- what may be asked


@pytest.mark.parametrize(
    "request_",
    [
        requests.Hello(id=ME.agent_id, name="me"),
        requests.GetBlob(id=BLOB),
    ],
)
def test_only_plain_requests_are_asked(request_: requests.AnyRequest) -> None:
    with pytest.raises(LocalProtocolError):
        ready("rid").ask(request_)


def test_what_the_hub_does_not_offer_is_refused_before_it_is_sent() -> None:
    leave = requests.Leave(room=DEN)
    with pytest.raises(HubError, match="does not offer 'leave'") as refused:
        ready("rid").ask(leave)
    assert "ask who runs the hub" in (refused.value.next_step or "")
    ready("membership").ask(leave)
    resolve = requests.ResolveJoin(
        room=DEN, agent=AgentId("x"), approve=True, history="none"
    )
    with pytest.raises(HubError):
        ready().ask(resolve)
    ready("history").ask(resolve)
    ready().ask(msgspec.structs.replace(resolve, history=None))


def test_what_a_hub_does_not_know_is_left_out() -> None:
    _, text = ready().ask(requests.Subscribe(events=["member"]))
    assert text == '{"op":"subscribe"}'
    _, text = ready("events").ask(requests.Subscribe(events=["member"]))
    assert decode_request(text) == requests.Subscribe(events=["member"])
    here = requests.Presence(status="idle", while_connected=True)
    _, text = ready().ask(here)
    assert text == '{"op":"presence","status":"idle"}'
    _, text = ready("presence").ask(here)
    assert decode_request(text) == here
