"""What must hold for any bytes, one function for each place where bytes come in.

Each takes bytes and returns, or raises what a fuzzer calls a crash. Only the errors
that are documented are caught here.
"""

import contextlib
from collections.abc import Callable, Iterator

import msgspec

from hub.connection.protocol import (
    Authenticated,
    Perform,
    SendChallenge,
    ServerProtocol,
    State,
)
from hub.errors import Refusal
from parler.identity.signing import Keypair, verify
from parler.wire.canonical import canonical_json, parse_json
from parler.wire.codec import (
    BadFrame,
    decode_reply,
    decode_request,
    encode,
)
from parler.wire.joinkey import InvalidJoinKey, parse_join_key
from parler.wire.parts import InvalidParts, check_parts, encode_parts, read_parts
from parler.wire.requests import AnyRequest, Hello, Send

SECRET = "correct-horse-battery"
KEYPAIR = Keypair(b"\x07" * 32)
_NONCE = "parler-auth:v1:0123456789ab:99999999999999:{:08x}-1111-4111-8111-111111111111"
_MAX_FRAMES = 64


def request(data: bytes) -> None:
    """A client's frame is a frame or a `BadFrame`, and survives being printed."""
    with contextlib.suppress(BadFrame):
        frame = decode_request(data)
        text = encode(frame)
        assert decode_request(text) == frame
        assert decode_request(data.decode()) == frame
        if isinstance(frame, Send):
            read_parts(frame.parts)  # what the hub takes, every client can read


def reply(data: bytes) -> None:
    """A hub's frame is a frame or a `BadFrame`; `UnknownReply` is one, too."""
    with contextlib.suppress(BadFrame):
        frame = decode_reply(data)
        assert decode_reply(encode(frame)) == frame


def join_key(data: bytes) -> None:
    """What people paste is a key or none, and a key is read as it is written."""
    with contextlib.suppress(InvalidJoinKey):
        key = parse_join_key(data.decode("utf-8", errors="surrogateescape"))
        again = parse_join_key(str(key))
        assert again.code == key.code
        assert parse_join_key(str(again)) == again


def parts(data: bytes) -> None:
    """Parts are read whole or refused, and keep their meaning when printed."""
    with contextlib.suppress(InvalidParts):
        check_parts(data)
    with contextlib.suppress(InvalidParts):
        found = read_parts(data)
        with contextlib.suppress(ValueError, RecursionError):  # a lone surrogate
            assert read_parts(encode_parts(found)) == found


def canonical(data: bytes) -> None:
    """Canonical bytes are their own canonical bytes, and readable by anybody."""
    with contextlib.suppress(ValueError, RecursionError):
        value = parse_json(data)
        try:
            spelled = canonical_json(value)
        except UnicodeEncodeError:  # a lone surrogate
            return
        msgspec.json.decode(spelled)
        assert canonical_json(parse_json(spelled)) == spelled


def dialogue(data: bytes) -> None:
    """Nobody is let in without a proof, whatever is said in whatever order."""
    nonces: list[str] = []

    def make_nonce() -> str:
        nonces.append(_NONCE.format(len(nonces)))
        return nonces[-1]

    protocol = ServerProtocol(
        make_nonce=make_nonce, now_ms=lambda: 1, join_secret=SECRET
    )
    welcome = False
    for frame in _frames(data, nonces):
        before = protocol.state
        try:
            action = protocol.receive(frame)
        except Refusal:
            assert protocol.state is before
            continue
        if isinstance(action, SendChallenge):
            assert action.nonce == nonces[-1]
        elif isinstance(action, Authenticated):
            assert isinstance(frame, Hello)
            assert frame.sig
            assert verify(frame.id, nonces[-1].encode(), frame.sig)
            assert (action.id, frame.secret) == (frame.id, SECRET)
            welcome = True
            protocol.welcomed()
        else:
            assert isinstance(action, Perform)
            assert welcome
            assert protocol.state is State.READY


def _frames(data: bytes, nonces: list[str]) -> Iterator[AnyRequest]:
    """Lines of bytes as frames; a line may be short for a good hello or proof."""
    for line in data.split(b"\n")[:_MAX_FRAMES]:
        match line:
            case b"h":
                yield Hello(id=KEYPAIR.agent_id, name="ann")
            case b"p" | b"s":
                # `s` is signed for the challenge before; `p` is right.
                nonce = nonces[-2 if line == b"s" else -1 :][:1]
                sig = KEYPAIR.sign((nonce or ["none"])[0].encode())
                yield Hello(id=KEYPAIR.agent_id, name="ann", sig=sig, secret=SECRET)
            case _:
                with contextlib.suppress(BadFrame):
                    yield decode_request(line)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "reply": reply,
    "join_key": join_key,
    "parts": parts,
    "canonical": canonical,
    "dialogue": dialogue,
}
