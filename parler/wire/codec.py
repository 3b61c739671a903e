"""The one place where bytes become frames and frames become bytes (protocol 1.2).

Any input gives a frame or one `BadFrame`, nothing else: a frame that passes can be
stored and handed verbatim to every client of the protocol without breaking one.
"""

import operator
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import accumulate, chain, compress, repeat
from math import isinf
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
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

_MAX_REASON = 300

_MAX_RECOUNTED = 10_000
"""Members that are looked at one by one; twice a key among more is not to be parsed."""

# Strings may be unterminated and numbers malformed here: neither pattern ever looks at
# a byte twice, or a stranger's frame would hold up everybody.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
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
    outside = _outside_strings(data)
    _check_depth(data, outside)
    _check_numbers(data, outside)
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame(str(error), _rid_of(data)) from None


# What follows looks at every byte of a stranger's frame, so no line of it is run once
# for a byte: two mebibytes take milliseconds, and never the interpreter for long.

_OPEN_OR_CLOSE = bytes.maketrans(b"[{]}", b"0011")
_NO_BRACKET = bytes(set(range(256)) - set(b"[{]}"))
_TOGETHER = 8  # brackets that make one byte
_AT_ONCE = _TOGETHER * 2**13


def _walk(byte: int) -> list[int]:
    return list(accumulate(1 - 2 * int(bit) for bit in f"{byte:08b}"))


_RISE = bytes(_walk(byte)[-1] % 256 for byte in range(256))
"""By how much each eight brackets get deeper, as a signed byte."""

_PEAK = bytes(max(0, *_walk(byte)) for byte in range(256))
"""How deep they get on the way."""


def _check_depth(data: bytes, outside: bytes) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    brackets = outside.translate(_OPEN_OR_CLOSE, _NO_BRACKET)
    brackets += b"1" * (-len(brackets) % _TOGETHER)
    depth = 0
    for start in range(0, len(brackets), _AT_ONCE):
        some = brackets[start : start + _AT_ONCE]
        eights = int(some, 2).to_bytes(len(some) // _TOGETHER)
        rises = memoryview(eights.translate(_RISE)).cast("b")
        depths = list(accumulate(rises, initial=depth))
        if max(depths) + _TOGETHER > MAX_DEPTH and (
            max(map(operator.add, depths, eights.translate(_PEAK))) > MAX_DEPTH
        ):
            raise BadFrame(f"nested deeper than {MAX_DEPTH}")
        depth = depths[-1]


_SHAPE = bytes.maketrans(b"123456789.-E", b"0000000000+e")
_RUN = bytes.maketrans(b"+e", b"00")
_LONG = b"0" * 200
"""A number of fewer characters and without an exponent is no large one."""


def _check_numbers(data: bytes, outside: bytes) -> None:
    # Raw values are passed on unread, and existing clients refuse a whole reply for
    # one number that is no finite double.
    shape = outside.translate(_SHAPE)
    if b"0e" not in shape and _LONG not in shape.translate(_RUN):
        return
    tokens = _ODD_TOKEN.findall(outside)
    try:
        overflows = any(map(isinf, map(float, tokens)))
    except ValueError:
        overflows = False  # malformed: the decoder says so better
    if overflows or max(map(len, tokens), default=0) > 2 * MAX_DIGITS:
        raise BadFrame("a number is too large", _rid_of(data))


def _outside_strings(data: bytes) -> bytes:
    """A frame with its strings cut out, which is most of it."""
    if b"\\" in data:
        return _STRING.sub(b'""', data)
    return b'""'.join(data.split(b'"')[::2])


def rid_of(text: str) -> str | None:
    """The `rid` of a frame that is not read otherwise."""
    return _rid_of(text.encode(errors="replace"))


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
        compact = msgspec.json.format(data, indent=-1)
        for text, known in _known_objects(compact, request):
            twice = _twice(text, known)
            if twice:
                raise BadFrame(f"key {min(twice)!r} occurs twice", request.rid)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame(str(error), request.rid) from None


def _is_clean_send(data: bytes, request: Send) -> bool:
    # Printed again no string is longer than it came, and it holds no number: what has
    # the same length had nothing else in it.
    if len(_ENCODER.encode(request)) != len(data):
        return False
    raw = bytes(request.parts)
    return len(_ENCODER.encode(_OBJECTS.decode(raw))) == len(raw)


def _accounts_for(fields: dict[str, msgspec.Raw], data: bytes) -> bool:
    used = 1 + sum(len(key) + len(bytes(raw)) + 4 for key, raw in fields.items())
    return used == len(data)


def _is_compact(data: bytes) -> bool:
    return _accounts_for(_FIELDS.decode(data), data)


def _nested_are_clean(fields: dict[str, msgspec.Raw], request: AnyRequest) -> bool:
    if isinstance(request, Register | Remember):
        return False
    return not isinstance(request, PutBlob) or _is_compact(bytes(fields["target"]))


def _twice(text: bytes, known: frozenset[str]) -> set[str]:
    """The known keys that occur twice in one of some objects, a compact array.

    A key that is named more often than there are objects with it, and not in their
    values, is one; or it is named in a value that a later one of the same key hides.
    Only then are the members looked at one by one.
    """
    objects, plain = _OBJECTS.decode(text), _plainly(text)
    more = {
        key: named
        for key in known
        if (named := _named(key, plain) - _having(key, objects)) > 0
    }
    if not more:
        return set()
    within = _plainly(b"\n".join(chain.from_iterable(map(dict.values, objects))))
    suspects = {key for key, named in more.items() if named > _named(key, within)}
    if not suspects or text.count(b'":') > _MAX_RECOUNTED:
        return suspects
    members: list[dict[_Key, msgspec.Raw]] = _MEMBERS.decode(text)
    return {key for each in members for key in _repeated(each) if key in suspects}


def _repeated(keys: Iterable[str]) -> set[str]:
    return {key for key, times in Counter(map(str, keys)).items() if times > 1}


def _having(key: str, objects: list[dict[str, msgspec.Raw]]) -> int:
    return sum(map(operator.contains, objects, repeat(key)))


def _named(key: str, compact: bytes) -> int:
    quoted = b'"%b":' % key.encode()
    return compact.count(b"{" + quoted) + compact.count(b"," + quoted)


_SPELLED = [
    (b"\\u00" + spelling.encode(), chr(code).encode())
    for code in (*range(ord("a"), ord("z") + 1), ord("_"))
    for spelling in {f"{code:02x}", f"{code:02X}"}
]
"""How else the characters of known keys may be written."""


def _plainly(compact: bytes) -> bytes:
    if b"\\u00" in compact:
        compact = compact.replace(rb"\\", b"//")
        for spelled, plain in _SPELLED:
            compact = compact.replace(spelled, plain)
    return compact


class _Key(str):
    """A key that no other one replaces in a dict, though it is the same."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


_MEMBERS = msgspec.json.Decoder(list[dict[_Key, msgspec.Raw]], dec_hook=operator.call)


@cache
def _keys(struct: type[msgspec.Struct], tag_field: str | None = None) -> frozenset[str]:
    names = (field.encode_name for field in msgspec.structs.fields(struct))
    return frozenset({*names, *([tag_field] if tag_field else [])})


_TARGET_KEYS = frozenset({"kind", "room", "agent", "service"})
_CARD_KEYS, _SKILL_KEYS, _FACT_KEYS = _keys(AgentCard), _keys(Skill), _keys(Fact)


def _known_objects(
    frame: bytes, request: AnyRequest
) -> Iterable[tuple[bytes, frozenset[str]]]:
    """The objects of a compact frame whose keys are known, each kind as an array."""
    yield b"[%b]" % frame, _keys(type(request), "op")
    fields = _FIELDS.decode(frame)
    match request:
        case Send() | PutBlob():
            yield b"[%b]" % bytes(fields["target"]), _TARGET_KEYS
    match request:
        case Send():
            parts = fields["parts"]
            yield bytes(parts), frozenset({"kind"})
            core = map(frozenset({"text", "data"}).__contains__, check_parts(parts))
            texts = b",".join(compress(_RAWS.decode(parts), core))
            yield b"[%b]" % texts, frozenset({"kind", "text", "data"})
        case Register():
            card = bytes(fields["card"])
            yield b"[%b]" % card, _CARD_KEYS
            skills = _FIELDS.decode(card).get("skills")
            if skills is not None and bytes(skills) != b"null":
                yield bytes(skills), _SKILL_KEYS
        case Remember():
            yield b"[%b]" % bytes(fields["fact"]), _FACT_KEYS
