"""Canonical JSON and the bytes that signatures cover (protocol 6.1-6.3).

Only bytes are made here; signing and checking them is for `parler.identity.signing` and
`parler.identity.message_signing`.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from parler.wire.base import AgentId
from parler.wire.records import AgentCard, Target

SIG_KIND = "com.parler.sig"
_HUB_PREFIX = b"parler-hub:v1:"
_VOUCH_PREFIX = b"parler-person:v1:"

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1

_SORTED = msgspec.json.Encoder(order="sorted")
_FLOAT = re.compile(rb"\.|[0-9]e|null")
"""What is in a printed float; one that is not finite is printed as the last."""


def parse_json(text: str | bytes) -> Any:
    """Parse free JSON keeping what canonical bytes depend on.

    Integers outside 64 bits become floats, and so does ``-0`` (protocol 6.1).

    Raises:
        ValueError: Not JSON, or a number that is not finite.
        RecursionError: Nested too deeply.
    """
    return json.loads(
        text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse
    )


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that is signed (protocol 6.1).

    Raises:
        ValueError: A number that is not finite.
        UnicodeEncodeError: A string with an unpaired surrogate.
    """
    try:
        printed = _SORTED.encode(value)
    except OverflowError:  # an integer of more than 64 bits
        return "".join(_spell(value)).encode()
    # The encoder agrees with us on all but floats, and few messages have one.
    plain = printed.replace(rb"\\", b"").replace(rb"\"", b"")
    if _FLOAT.search(b"".join(plain.split(b'"')[::2])):
        return "".join(_spell(value)).encode()
    return printed


def card_bytes(card: AgentCard) -> bytes:
    """What a card's signature covers: its fields that are set (protocol 6.2)."""
    return canonical_json(parse_json(msgspec.json.encode(card)))


def message_bytes(
    *,
    author: AgentId,
    target: Target,
    parts: list[dict[str, Any]],
    ts: int,
    uid: str,
    reply_to: str | None,
) -> bytes:
    """What a message's signature covers (protocol 6.3).

    Args:
        parts: As parsed by `parse_json`; signature parts among them are left out.
        ts: The author's clock, in epoch milliseconds.
        uid: The author's unique id for this message.
    """
    signed: dict[str, Any] = {
        "from": author,
        "parts": [_signed_part(part) for part in parts if part["kind"] != SIG_KIND],
        "target": msgspec.to_builtins(target),
        "ts": ts,
        "uid": uid,
        "v": 1,
    }
    if reply_to is not None:
        signed["replyTo"] = reply_to
    return canonical_json(signed)


def hub_bytes(hub: str, sig: str) -> bytes:
    """What binds a message's signature to the hub it was said at (protocol 6.3).

    Args:
        hub: The token in the hub's challenge.
        sig: The signature of the message, as it is sent.

    Raises:
        UnicodeEncodeError: A string with an unpaired surrogate.
    """
    return _HUB_PREFIX + canonical_json({"hub": hub, "sig": sig})


def vouch_bytes(*, agent: AgentId, person: AgentId, name: str, since: int) -> bytes:
    """What a person signs to say that an agent is its own.

    Args:
        name: What the person calls itself.
        since: When it says so, in epoch milliseconds.

    Raises:
        UnicodeEncodeError: A string with an unpaired surrogate.
    """
    said = {"agent": agent, "id": person, "name": name, "since": since}
    return _VOUCH_PREFIX + canonical_json(said)


def _signed_part(part: dict[str, Any]) -> dict[str, Any]:
    # Hubs drop whatever else a core part carries, so it cannot be signed.
    kind = part["kind"]
    if kind in ("text", "data"):
        return {"kind": kind, kind: part[kind]}
    return part


def _parse_int(text: str) -> int | float:
    if text == "-0":
        return -0.0
    if len(text) > 20:  # longer than any 64-bit integer, and int() is not bounded
        return _parse_float(text)
    value = int(text)
    return value if _MIN_INT <= value <= _MAX_INT else float(value)


def _parse_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _spell(value: Any) -> Iterator[str]:
    match value:
        case dict():
            separator = "{"
            for key in sorted(value):
                yield separator + json.dumps(key, ensure_ascii=False) + ":"
                yield from _spell(value[key])
                separator = ","
            yield "}" if value else "{}"
        case list():
            separator = "["
            for item in value:
                yield separator
                yield from _spell(item)
                separator = ","
            yield "]" if value else "[]"
        case float():
            yield _spell_float(value)
        case _:
            yield json.dumps(value, ensure_ascii=False)


def _spell_float(value: float) -> str:
    if value == 0 or value != value or value in (float("inf"), float("-inf")):
        if value != 0:
            raise ValueError("a number is not finite")
        return repr(value)
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    all_digits = "".join(map(str, digit_tuple))
    digits = all_digits.rstrip("0")
    point = len(all_digits) + exponent  # value = 0.digits * 10**point
    minus = "-" if sign else ""
    if 0 < point <= 16:
        if len(digits) <= point:
            return f"{minus}{digits:0<{point}}.0"
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -5 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{minus}{mantissa}e{point - 1:+d}"
