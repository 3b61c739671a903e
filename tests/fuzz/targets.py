"""What must hold for any bytes, one function for each place where bytes come in.

Each takes bytes and returns, or raises what a fuzzer calls a crash. Only the errors
that are documented are caught here.
"""

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hub.connection.protocol import (
    Authenticated,
    Perform,
    SendChallenge,
    ServerProtocol,
    State,
)
from hub.errors import CannotStart, Refusal
from hub.http.addresses import HOST, base_url, is_near, peer_address
from hub.http.origins import OriginPolicy
from hub.settings import split_address
from parler.identity.signing import Keypair, verify
from parler.sealed import export
from parler.sealed.formats import (
    Refused,
    read_attachment,
    read_body,
    read_direct,
    read_facts,
    read_granted,
    read_invites,
    read_plaintext,
    read_state,
)
from parler.wire.canonical import canonical_json, parse_json
from parler.wire.codec import (
    BadFrame,
    decode_reply,
    decode_request,
    encode,
)
from parler.wire.joinkey import InvalidJoinKey, parse_join_key
from parler.wire.parts import (
    InvalidParts,
    check_parts,
    encode_parts,
    part_objects,
    read_parts,
)
from parler.wire.requests import AnyRequest, Hello, Send
from parler.wire.urls import (
    InvalidHubUrl,
    dial_url,
    is_loopback,
    leaves_this_network,
    same_hub,
)

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


OUR_NAME, FRIEND = "team.example", "https://viewer.example"
OUR_ORIGIN = f"https://{OUR_NAME}"
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+|[0-9a-f:.]+/64")


def headers(data: bytes) -> None:
    """A page gets at a private hub only by a name and an origin that are its own.

    The first line says which hub it is and what is asked, the others are headers.
    """
    first, *lines = data.split(b"\n")[:_MAX_FRAMES]
    public, beyond = b"p" in first[:2], b"b" in first[:2]
    policy = OriginPolicy(
        host="0.0.0.0" if beyond else "127.0.0.1",
        url=f"wss://{OUR_NAME}",
        public=public,
        allowed=[FRIEND],
    )
    scope: dict[str, Any] = {
        "type": "websocket" if b"w" in first[:2] else "http",
        "method": "POST" if first[2:3] == b"P" else "GET",
        "path": first[3:].decode("latin-1"),
        "client": ("192.0.2.1", 1),
        "headers": [
            (name.lower(), value)
            for name, _, value in (x.partition(b":") for x in lines)
        ],
    }
    told = {name: value.decode("latin-1").strip() for name, value in scope["headers"]}
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    answers = policy.headers(scope)
    readers = dict(answers).get(b"access-control-allow-origin", b"").decode("latin-1")
    ours = len(origins) == 1 and told[b"origin"] in (FRIEND, OUR_ORIGIN)
    assert readers in ("", "*", *(told.get(b"origin"),) * ours)
    open_to_all = public and scope["type"] == "http" and scope["method"] == "GET"
    open_to_all = open_to_all and b"authorization" not in told
    open_to_all = open_to_all and not scope["path"].startswith("/api/session")
    assert readers != "*" or open_to_all
    if policy.refusal(scope) is None:
        assert ours or not origins or open_to_all
        assert len(hosts) < 2
        assert beyond or not hosts or _cannot_be_rebound(told[b"host"])
    base = base_url(scope, f"wss://{OUR_NAME}")
    assert re.fullmatch(r"https?://[\w.:\[\]-]+", base, re.ASCII), base


def _cannot_be_rebound(host: str) -> bool:
    """Whether no browser looks that name up, so that no page can be under it."""
    name = re.sub(r":\d+\Z", "", host).lower().removesuffix(".")
    if name.startswith("["):
        return is_loopback(name)
    last = name.rpartition(".")[2]
    return name == OUR_NAME or last == "localhost" or bool(_NUMBER.fullmatch(last))


def addresses(data: bytes) -> None:
    """What a proxy says last is one address or none, whatever a client wrote before."""
    text = data.decode("latin-1")

    def counted(*values: str) -> str | None:
        lines = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
        scope = {"client": ("192.0.2.1", 1), "headers": lines}
        return peer_address(scope, header="x-forwarded-for")

    key = counted(text)
    assert key
    assert _ADDRESS.fullmatch(key), key
    assert counted(key.removesuffix("/64")) == key
    last = text.rpartition(",")[2]
    assert counted(last) == key
    assert counted("6.6.6.6", text) == key
    assert counted(f"{text}, 198.51.100.2") == "198.51.100.2"
    assert counted(text, "[2001:db8::9]:443") == "2001:db8::/64"
    with contextlib.suppress(ValueError):  # what is an address by itself counts as one
        plain = ipaddress.ip_address(last.strip())
        own = str(getattr(plain, "ipv4_mapped", None) or plain)
        assert plain.version == 6 or key == own
    is_near((text, 1))
    is_loopback(text)
    with contextlib.suppress(CannotStart):
        host, port = split_address(text)
        assert host
        assert 0 <= port <= 65_535
    with contextlib.suppress(InvalidHubUrl):
        url = dial_url(text)
        assert dial_url(url) == url
        assert same_hub(text, url) or not HOST.fullmatch(text.strip())
        leaves_this_network(url)


def sealed(data: bytes) -> None:
    """What sealed rooms decode is read or `Refused`: parts, insides, files."""
    for read in (read_plaintext, read_granted, records_of):
        with contextlib.suppress(Refused):
            read(data)
    with contextlib.suppress(Refused):
        export.check(data.splitlines())
    with contextlib.suppress(InvalidParts):
        for part in part_objects(data):
            for read_fields in (read_body, read_direct, read_state, read_attachment):
                with contextlib.suppress(Refused):
                    read_fields(part)


def records_of(data: bytes) -> None:
    """Session keys and facts within a message."""
    plain = read_plaintext(data)
    read_facts(plain)
    read_invites(plain)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "reply": reply,
    "join_key": join_key,
    "parts": parts,
    "canonical": canonical,
    "dialogue": dialogue,
    "headers": headers,
    "addresses": addresses,
    "sealed": sealed,
}
