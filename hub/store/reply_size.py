"""How much goes into one reply: never more than a client can take (protocol 1.5)."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from parler.wire.base import WireStruct
from parler.wire.limits import MAX_PULLED_BYTES

T = TypeVar("T", bound=WireStruct)
_ENCODER = msgspec.json.Encoder()


def fitting(entries: Iterable[T]) -> list[T]:
    """The first entries that fit one reply as JSON, at least one.

    Takes one entry more than it returns at most, so that a search need not go on.
    """
    found: list[T] = []
    size = 0
    for entry in entries:
        size += len(_ENCODER.encode(entry)) + 1
        if found and size > MAX_PULLED_BYTES:
            break
        found.append(entry)
    return found
