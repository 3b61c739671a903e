"""The one place where bytes become frames and frames become bytes (protocol 1.2).

Any input gives a frame or one `BadFrame`, nothing else: a frame that passes can be
stored and handed verbatim to every client of the protocol without breaking one.
"""

import json
import re
from collections import Counter
from typing import Any

import msgspec

from parler.wire.limits import MAX_DEPTH, MAX_DIGITS, MAX_RID_BYTES
from parler.wire.parts import InvalidParts, check_parts
from parler.wire.records import AgentCard, Fact, Skill
from parler.wire.replies import AnyReply, Reply
from parler.wire.requests import (
    AnyRequest,
    PutBlob,
    Register,
    Remember,
    Request,
    Send,
)

_REQUESTS = msgspec.json.Decoder(AnyRequest)
_REPLIES = msgspec.json.Decoder(AnyReply)
_ENCODER = msgspec.json.Encoder()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PARTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

_MAX_REASON = 300

# Strings may be unterminated and numbers malformed here: neither pattern ever looks at
# a byte twice, or a stranger's frame would hold up everybody.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_LONG_NUMBER = re.compile(rb"[0-9.eE+-]{5,}")
_ODD_TOKEN = re.compile(
    rb"(?<![0-9.eE+-])-?(?:[0-9.eE+-]{200,}|[0-9.]+[eE]\+?[0-9]{3,})"
)


class BadFrame(ValueError):
    """Bytes that are no frame. `rid` is that of the frame, if it could be read."""

    def __init__(self, reason: str, rid: str | None = None) -> None:
        """Keep the reason, which is fit for the peer's eyes, and the `rid`."""
        if len(reason) > _MAX_REASON:  # it may quote the frame
            reason = f"{reason[: _MAX_REASON // 2]} … {reason[-_MAX_REASON // 2 :]}"
        super().__init__(reason)
        self.reason = reason
        self.rid = rid


class UnknownReply(BadFrame):
    """A hub frame of a ``type`` we do not know; a newer hub may send such."""


def decode_request(text: str | bytes) -> AnyRequest:
    """Read a client's text frame.

    Raises:
        BadFrame: It is not exactly one well-formed frame of a known ``op``.
    """
    data = _utf8(text)
    request: AnyRequest = _decode(_REQUESTS, data)
    if request.rid is not None and len(request.rid.encode()) > MAX_RID_BYTES:
        raise BadFrame(f"`rid` may have {MAX_RID_BYTES} bytes")
    if isinstance(request, Send):
        try:
            check_parts(request.parts)
        except InvalidParts as error:
            raise BadFrame(str(error), request.rid) from None
    _check_duplicates(data, request)
    return request


def decode_reply(text: str | bytes) -> AnyReply:
    """Read a hub's text frame.

    Raises:
        UnknownReply: A frame of a type that is not in `AnyReply`.
        BadFrame: It is not exactly one well-formed frame.
    """
    data = _utf8(text)
    try:
        reply: AnyReply = _decode(_REPLIES, data)
    except BadFrame as error:
        if error.reason.endswith("`$.type`") and "Invalid value" in error.reason:
            raise UnknownReply(error.reason, error.rid) from None
        raise
    return reply


def encode(frame: Request | Reply) -> str:
    """Print a frame, compactly and without unset optional fields."""
    return encode_utf8(frame).decode()


def encode_utf8(frame: Request | Reply) -> bytes:
    """Print a frame as the bytes that go on the wire."""
    return _ENCODER.encode(frame)


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise BadFrame("the text has an unpaired surrogate") from None
    try:
        text.decode()
    except UnicodeDecodeError:
        raise BadFrame("the text is not UTF-8") from None
    return text


def _decode(decoder: "msgspec.json.Decoder[Any]", data: bytes) -> Any:
    _check_depth(data)
    _check_numbers(data)
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame(str(error), _rid_of(data)) from None


def _check_depth(data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for char in _outside_strings(data):
        if char in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadFrame(f"nested deeper than {MAX_DEPTH}")
        elif char in b"]}":
            depth -= 1


def _check_numbers(data: bytes) -> None:
    # Raw values are passed on unread, and existing clients refuse a whole reply for
    # one number that is no finite double.
    outside = _outside_strings(data)
    if not any(map(_may_overflow, _LONG_NUMBER.findall(outside))):
        return
    for found in _ODD_TOKEN.finditer(outside):
        token = found.group()
        if len(token) > 2 * MAX_DIGITS or _overflows(token):
            raise BadFrame("a number is too large", _rid_of(data))


def _outside_strings(data: bytes) -> bytes:
    """A frame with its strings cut out, which is most of it."""
    if b"\\" in data:
        return _STRING.sub(b'""', data)
    return b'""'.join(data.split(b'"')[::2])


def _may_overflow(token: bytes) -> bool:
    return len(token) >= 200 or b"e" in token or b"E" in token


def _overflows(token: bytes) -> bool:
    try:
        return float(token) in (float("inf"), float("-inf"))
    except ValueError:
        return False  # malformed: the decoder says so better


def _rid_of(data: bytes) -> str | None:
    try:
        rid = msgspec.json.decode(_FIELDS.decode(data)["rid"], type=str)
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        return None
    return rid if 1 <= len(rid.encode()) <= MAX_RID_BYTES else None


def _check_duplicates(data: bytes, request: AnyRequest) -> None:
    """Refuse a known key that occurs twice (protocol 1.2).

    The decoder lets the last one win. A frame that is printed compactly and whose
    fields account for every one of its bytes has no room for a second value, so only
    the others pay for a parse that sees duplicates.
    """
    if isinstance(request, Send):
        clean = _is_clean_send(data, request)
    else:
        fields = _FIELDS.decode(data)
        clean = _accounts_for(fields, data) and _nested_are_clean(fields, request)
    if clean:
        return
    try:
        root = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise BadFrame(str(error), request.rid) from None
    for value, known in _known_objects(root, request):
        twice = value.duplicates & known
        if twice:
            raise BadFrame(f"key {min(twice)!r} occurs twice", request.rid)


def _is_clean_send(data: bytes, request: Send) -> bool:
    # Printed again no string is longer than it came, and it holds no number: what has
    # the same length had nothing else in it.
    if len(_ENCODER.encode(request)) != len(data):
        return False
    raw = bytes(request.parts)
    return len(_ENCODER.encode(_PARTS.decode(raw))) == len(raw)


def _accounts_for(fields: dict[str, msgspec.Raw], data: bytes) -> bool:
    used = 1 + sum(len(key) + len(bytes(raw)) + 4 for key, raw in fields.items())
    return used == len(data)


def _is_compact(data: bytes) -> bool:
    return _accounts_for(_FIELDS.decode(data), data)


def _nested_are_clean(fields: dict[str, msgspec.Raw], request: AnyRequest) -> bool:
    if isinstance(request, Register | Remember):
        return False
    return not isinstance(request, PutBlob) or _is_compact(bytes(fields["target"]))


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which keys came more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicates: frozenset[str] = frozenset()
        if len(self) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            self.duplicates = frozenset(n for n, times in counted.items() if times > 1)


def _keys(struct: type[msgspec.Struct], tag_field: str | None = None) -> frozenset[str]:
    names = (field.encode_name for field in msgspec.structs.fields(struct))
    return frozenset({*names, *([tag_field] if tag_field else [])})


_TARGET_KEYS = frozenset({"kind", "room", "agent", "service"})
_CARD_KEYS, _SKILL_KEYS, _FACT_KEYS = _keys(AgentCard), _keys(Skill), _keys(Fact)


def _known_objects(
    root: _Pairs, request: AnyRequest
) -> list[tuple[_Pairs, frozenset[str]]]:
    found = [(root, _keys(type(request), "op"))]
    match request:
        case Send() | PutBlob():
            found.append((root["target"], _TARGET_KEYS))
    match request:
        case Send():
            core = frozenset({"kind", "text", "data"})
            found += [
                (part, core if part["kind"] in ("text", "data") else core & {"kind"})
                for part in root["parts"]
            ]
        case Register():
            card = root["card"]
            found.append((card, _CARD_KEYS))
            found += [(skill, _SKILL_KEYS) for skill in card.get("skills") or []]
        case Remember():
            found.append((root["fact"], _FACT_KEYS))
    return found
