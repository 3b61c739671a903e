"""Reading what was typed, pasted or piped in."""

import math
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from parler.errors import UsageError

if TYPE_CHECKING:
    from parler.wire.joinkey import JoinKey

MAX_STDIN_BYTES = 2**24
"""Far more than fits into a message; reading stops there."""

_SHOWN_DIGITS = 40


@cache
def between(least: int, most: int) -> Callable[[Any], int]:
    """A parser of whole numbers that every hub takes; else one sentence says which."""

    def parse(value: Any) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise _out_of_bounds(value, "a whole number", least, most)
        return number

    return parse


@cache
def seconds(most: int) -> Callable[[Any], float]:
    """A parser of a length of time, which has an end."""

    def parse(value: Any) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= most:
            raise _out_of_bounds(value, "a number", 0, most)
        return number

    return parse


def _out_of_bounds(value: Any, what: str, least: int, most: int) -> typer.BadParameter:
    given = str(value)
    if len(given) > _SHOWN_DIGITS:
        given = given[:_SHOWN_DIGITS] + "…"
    return typer.BadParameter(f"{given!r} is not {what} from {least} to {most}")


def pasted_key(text: str) -> "JoinKey":
    """A key the way people paste it.

    Raises:
        UsageError: It cannot be a key of any hub.
    """
    from parler.wire.joinkey import InvalidJoinKey, parse_join_key

    try:
        return parse_join_key(text)
    except InvalidJoinKey as error:
        raise UsageError(
            str(error), next_step="ask the owner for the key once more and paste it"
        ) from None


def piped_text(what: str) -> str:
    """All of stdin, without the line break that ends it.

    Raises:
        UsageError: It is too long, or not UTF-8.
    """
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise UsageError(f"{what} on stdin is longer than {MAX_STDIN_BYTES} bytes")
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError(f"{what} on stdin is not UTF-8") from None


def only_one(**targets: str | None) -> None:
    """Refuse more than one target.

    Raises:
        UsageError: More than one was given.
    """
    given = [f"--{name}" for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other",
            next_step="name one of them, or none for the active session",
        )
