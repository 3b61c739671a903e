"""A small client for the wire in plain `json`, `websockets` and PyNaCl.

It exists to check hubs, so it shares no code with `parler` or `hub`: keys, canonical
bytes, signatures and the handshake are written here a second time. It has no
reconnect, no retries and no convenience beyond what tests of the wire need.
"""

import asyncio
import base64
import binascii
import json
import re
import secrets
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests._support.polling import WAIT

Frame = dict[str, Any]
Target = str | dict[str, Any]

SIG_KIND = "com.parler.sig"
NONCE = re.compile(
    r"parler-auth:v1:[0-9a-f]{12}:[0-9]{1,16}:"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
_USER_PREFIX = b"\xa0"  # protocol 2.1: 20 << 3
_SEED_PREFIX = b"\x95\x00"  # protocol 2.1: 0x90 | (0xa0 >> 5), (0xa0 & 31) << 3
_UNSOLICITED = ("delivery", "event")


class UnexpectedFrame(AssertionError):
    """The hub answered something else than the test asked for."""


# ------------------------------------------------------------------ keys, protocol 2.1


def crc16(data: bytes) -> bytes:
    """CRC-16/XMODEM, little-endian."""
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=")


def _unbase32(text: str, length: int) -> bytes:
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    if len(raw) != length or _base32(raw) != text or crc16(raw[:-2]) != raw[-2:]:
        raise ValueError("not an nkey")
    return raw


def encode_id(public_key: bytes) -> str:
    """The 56-character agent id of a 32-byte public key."""
    raw = _USER_PREFIX + public_key
    return _base32(raw + crc16(raw))


def decode_id(agent: str) -> bytes:
    """The public key inside an agent id."""
    raw = _unbase32(agent, 35)
    if raw[:1] != _USER_PREFIX:
        raise ValueError("not a user nkey")
    return raw[1:33]


def encode_seed(seed: bytes) -> str:
    """The 58-character text form of a 32-byte seed."""
    raw = _SEED_PREFIX + seed
    return _base32(raw + crc16(raw))


def decode_seed(text: str) -> bytes:
    """The 32 bytes inside a seed text."""
    raw = _unbase32(text, 36)
    if raw[:2] != _SEED_PREFIX:
        raise ValueError("not a user seed")
    return raw[2:34]


# -------------------------------------------------------- canonical JSON, protocol 6.1


def _wire_int(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def parse(text: str | bytes) -> Any:
    """Read JSON without losing the difference between `0` and `-0`."""
    return json.loads(text, parse_int=_wire_int)


def _canonical_float(value: float) -> str:
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("JSON has no NaN and no infinity")
    minus = "-" if sign else ""
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + exponent
    digits = digits.rstrip("0")
    if not digits:
        return f"{minus}0.0"
    if 0 < point <= 16:
        whole = digits[:point].ljust(point, "0")
        return f"{minus}{whole}.{digits[point:] or '0'}"
    if -5 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{minus}{mantissa}e{point - 1:+d}"


def canonical(value: Any) -> str:
    """The one spelling of a JSON value that signatures cover."""
    if isinstance(value, dict):
        members = (f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**64:
            return _canonical_float(float(value))
        return str(value)
    if isinstance(value, float):
        return _canonical_float(value)
    return json.dumps(value, ensure_ascii=False)


def canonical_bytes(value: Any) -> bytes:
    """`canonical` in UTF-8."""
    return canonical(value).encode("utf-8")


# ------------------------------------------------------------- messages, protocol 6.3


def as_target(target: Target) -> dict[str, Any]:
    """A room name is short for a room target."""
    return {"kind": "room", "room": target} if isinstance(target, str) else dict(target)


def _reduced_target(target: dict[str, Any]) -> dict[str, Any]:
    own = {"room": "room", "dm": "agent", "service": "service"}[target["kind"]]
    return {"kind": target["kind"], own: target[own]}


def _reduced_part(part: dict[str, Any]) -> dict[str, Any]:
    own = {"text": "text", "data": "data"}.get(part["kind"])
    return dict(part) if own is None else {"kind": part["kind"], own: part[own]}


def message_bytes(
    author: str,
    target: Target,
    *,
    parts: Iterable[dict[str, Any]],
    ts: int,
    uid: str,
    reply_to: str | None = None,
) -> bytes:
    """The bytes the author of a message signs."""
    covered: dict[str, Any] = {
        "from": author,
        "parts": [_reduced_part(part) for part in parts if part["kind"] != SIG_KIND],
        "target": _reduced_target(as_target(target)),
        "ts": ts,
        "uid": uid,
        "v": 1,
    }
    if reply_to is not None:
        covered["replyTo"] = reply_to
    return canonical_bytes(covered)


def verifies(agent: str, data: bytes, sig: str) -> bool:
    """Whether `sig` is the agent's signature over `data`; never raises."""
    try:
        VerifyKey(decode_id(agent)).verify(data, base64.b64decode(sig, validate=True))
    except (ValueError, TypeError, BadSignatureError):
        return False
    return True


def signature_state(message: Frame, *, receiver: str | None = None) -> str:
    """`valid`, `unsigned` or `invalid`, bound to the room it came in (protocol 6.4)."""
    for part in message["parts"]:
        if part["kind"] != SIG_KIND:
            continue
        try:
            target = _reduced_target(part["target"])
            data = message_bytes(
                message["from"]["id"],
                target,
                parts=message["parts"],
                ts=part["ts"],
                uid=part["uid"],
                reply_to=message.get("replyTo"),
            )
        except (KeyError, TypeError):
            continue
        bound = _binds(target, message["room"], receiver)
        good = verifies(message["from"]["id"], data, part["sig"])
        return "valid" if bound and good else "invalid"
    return "unsigned"


def _binds(target: dict[str, Any], room: str, receiver: str | None) -> bool:
    if target["kind"] == "room":
        return bool(target["room"] == room)
    if target["kind"] == "service":
        name = re.sub(r"[^A-Za-z0-9_-]", "_", target["service"].strip()) or "_"
        return room == f"svc.{name}"
    return room.startswith("dm.") and receiver in (None, target["agent"])


# ---------------------------------------------------------------------- agent and link


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAgent:
    """One identity; it may hold several links at a time."""

    name: str
    role: str | None
    key: SigningKey
    local_address: str | None = None

    @classmethod
    def create(
        cls,
        name: str,
        role: str | None = None,
        seed: str | bytes | None = None,
        *,
        local_address: str | None = None,
    ) -> Self:
        """A new identity, or the one of `seed`.

        `local_address` is the loopback address to dial from, so that limits per IP
        address do not mix tests that have nothing to do with each other.
        """
        if isinstance(seed, str):
            seed = decode_seed(seed)
        key = SigningKey(secrets.token_bytes(32) if seed is None else seed)
        return cls(name=name, role=role, key=key, local_address=local_address)

    @property
    def id(self) -> str:
        return encode_id(bytes(self.key.verify_key))

    @property
    def seed(self) -> str:
        return encode_seed(bytes(self.key))

    def sign(self, data: bytes) -> str:
        """Standard base64 of the Ed25519 signature."""
        return base64.b64encode(self.key.sign(data).signature).decode("ascii")

    def prove(self, nonce: str) -> str:
        """Sign a challenge, and nothing that is not one (protocol 2.3)."""
        if not NONCE.fullmatch(nonce):
            raise UnexpectedFrame(f"not a challenge: {nonce!r}")
        return self.sign(nonce.encode("utf-8"))

    def introduction(self) -> Frame:
        """The fields of an unsigned hello."""
        fields: Frame = {"id": self.id, "name": self.name}
        if self.role is not None:
            fields["role"] = self.role
        return fields

    def signed_parts(
        self,
        target: Target,
        parts: Iterable[dict[str, Any]],
        reply_to: str | None = None,
    ) -> list[dict[str, Any]]:
        """The parts with this agent's signature as the last one."""
        kept = [part for part in parts if part["kind"] != SIG_KIND]
        ts, uid = time.time_ns() // 1_000_000, str(uuid.uuid4())
        data = message_bytes(
            self.id, target, parts=kept, ts=ts, uid=uid, reply_to=reply_to
        )
        signature = {
            "kind": SIG_KIND,
            "sig": self.sign(data),
            "alg": "ed25519",
            "v": 1,
            "ts": ts,
            "uid": uid,
            "target": as_target(target),
        }
        return [*kept, signature]

    @asynccontextmanager
    async def dial(
        self, url: str, *, secret: str | None = None, sign_in: bool = True
    ) -> AsyncIterator["Link"]:
        """Open a connection and, unless told otherwise, pass the handshake."""
        endpoint = url.rstrip("/")
        if not endpoint.endswith("/ws"):
            endpoint += "/ws"
        options: dict[str, Any] = {}
        if self.local_address is not None:
            options["local_addr"] = (self.local_address, 0)
        websocket = await connect(
            endpoint,
            compression=None,
            proxy=None,
            open_timeout=WAIT,
            close_timeout=2,
            ping_interval=None,  # protocol 1.4: a parked pull may hold back pongs
            max_size=None,
            max_queue=None,
            **options,
        )
        try:
            link = Link(agent=self, websocket=websocket)
            if sign_in:
                await link.sign_in(secret=secret)
            yield link
        finally:
            await websocket.close()


@dataclass(slots=True, kw_only=True)
class Link:
    """One connection. What the hub sends unasked waits in its own queues."""

    agent: PlainAgent
    websocket: ClientConnection
    welcome: Frame = field(default_factory=dict)
    replies: deque[Frame] = field(default_factory=deque)
    deliveries: deque[Frame] = field(default_factory=deque)
    events: deque[Frame] = field(default_factory=deque)
    binaries: deque[bytes] = field(default_factory=deque)
    awaits_binary: bool = False
    last_text: str = ""

    @property
    def id(self) -> str:
        return self.agent.id

    # -- sending

    async def raw(self, data: str | bytes) -> None:
        """Send one WebSocket message exactly as given: text as text, bytes binary."""
        async with asyncio.timeout(WAIT):
            await self.websocket.send(data)

    async def raw_as_text(self, data: bytes) -> None:
        """Send bytes in a text message, valid UTF-8 or not."""
        async with asyncio.timeout(WAIT):
            await self.websocket.send(data, text=True)

    async def post(self, op: str, /, **fields: Any) -> None:
        """Send a frame and do not wait for its reply."""
        await self.raw(json.dumps({"op": op, **fields}, ensure_ascii=False))

    # -- receiving

    async def _next(self, queue: deque[Frame]) -> Frame:
        async with asyncio.timeout(WAIT):
            while not queue:
                self._sort(await self.websocket.recv())
        return queue.popleft()

    def _sort(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            if not self.awaits_binary:
                raise UnexpectedFrame("a binary frame nobody asked for")
            self.awaits_binary = False
            self.binaries.append(data)
            return
        frame = parse(data)
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise UnexpectedFrame(f"not a server frame: {data[:200]}")
        self.last_text = data
        self.awaits_binary = frame["type"] == "blob_incoming"
        queues = {"delivery": self.deliveries, "event": self.events}
        queues.get(frame["type"], self.replies).append(frame)

    async def next_reply(self) -> Frame:
        """The next frame that is neither a delivery nor an event."""
        return await self._next(self.replies)

    async def next_delivery(self) -> Frame:
        """The message inside the next `delivery`."""
        frame = await self._next(self.deliveries)
        message: Frame = frame["message"]
        return message

    async def next_binary(self) -> bytes:
        """The next binary message."""
        async with asyncio.timeout(WAIT):
            while not self.binaries:
                self._sort(await self.websocket.recv())
        return self.binaries.popleft()

    async def next_event(self) -> Frame:
        """The next `event` frame."""
        return await self._next(self.events)

    async def closed(self) -> int | None:
        """Wait until the hub has dropped the connection; 1006 without a Close frame."""
        async with asyncio.timeout(WAIT):
            while True:
                try:
                    self._sort(await self.websocket.recv())
                except ConnectionClosed:
                    return self.websocket.close_code

    # -- requests

    async def request(self, op: str, /, **fields: Any) -> Frame:
        """Send one frame and return its reply, whatever it is."""
        await self.post(op, **fields)
        return await self.next_reply()

    async def ask(self, expected: str, op: str, /, **fields: Any) -> Frame:
        """`request`, where only a reply of type `expected` is acceptable."""
        reply = await self.request(op, **fields)
        if reply["type"] != expected:
            raise UnexpectedFrame(f"{op} was answered by {reply}, not by {expected}")
        return reply

    async def expect_error(
        self, code: str | Collection[str | None] | None, op: str, /, **fields: Any
    ) -> Frame:
        """`request`, where only an error with (one of) the given codes is acceptable.

        `None` stands for an error without a code; an empty collection for any error.
        """
        return check_error(code, await self.request(op, **fields), about=op)

    async def expect_raw_error(
        self, code: str | Collection[str | None] | None, data: str | bytes
    ) -> Frame:
        """`expect_error` for a message sent exactly as given."""
        await self.raw(data)
        return check_error(code, await self.next_reply(), about=str(data[:200]))

    async def sign_in(self, *, secret: str | None = None, **more: Any) -> Frame:
        """The whole handshake of protocol 2.3; `more` goes into the signed hello."""
        nonce = await self.challenge()
        fields = self.agent.introduction() | {"nonce": nonce} | more
        fields["sig"] = self.agent.prove(nonce)
        if secret is not None:
            fields["secret"] = secret
        self.welcome = await self.ask("welcome", "hello", **fields)
        return self.welcome

    async def challenge(self) -> str:
        """The first half of the handshake: ask for a nonce."""
        reply = await self.ask("challenge", "hello", **self.agent.introduction())
        nonce: str = reply["nonce"]
        return nonce

    def signed_parts(
        self,
        target: Target,
        parts: Iterable[dict[str, Any]],
        reply_to: str | None = None,
    ) -> list[dict[str, Any]]:
        """See `PlainAgent.signed_parts`."""
        return self.agent.signed_parts(target, parts, reply_to)

    async def send(
        self, target: Target, parts: Iterable[dict[str, Any]], **fields: Any
    ) -> Frame:
        """Send signed parts, as a real client does; returns the `sent` frame."""
        signed = self.signed_parts(target, parts, fields.get("replyTo"))
        fields.setdefault("clientId", str(uuid.uuid4()))
        return await self.ask(
            "sent", "send", target=as_target(target), parts=signed, **fields
        )

    async def send_text(self, target: Target, text: str, **fields: Any) -> Frame:
        """Send one signed line of text."""
        return await self.send(target, [{"kind": "text", "text": text}], **fields)


def check_error(
    code: str | Collection[str | None] | None, reply: Frame, *, about: str
) -> Frame:
    """Accept `reply` only if it is an error with (one of) the given codes."""
    if reply["type"] != "error":
        raise UnexpectedFrame(f"{about} was answered by {reply}, not by an error")
    if not isinstance(reply.get("message"), str) or not reply["message"]:
        raise UnexpectedFrame(f"an error without a message: {reply}")
    accepted = (code,) if code is None or isinstance(code, str) else tuple(code)
    if accepted and reply.get("code") not in accepted:
        raise UnexpectedFrame(f"{about} was answered by {reply}, expected {accepted}")
    return reply


def texts(messages: Iterable[Frame]) -> list[str]:
    """The text parts of messages, in order."""
    return [
        part["text"]
        for message in messages
        for part in message["parts"]
        if part["kind"] == "text"
    ]
