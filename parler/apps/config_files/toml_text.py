"""TOML: one table added, replaced or removed, every other byte kept.

What a text says is read by the standard library; here it is only found out where the
statements of a table stand. tomlkit does not do: the comment above a table belongs to
the table before it there, and goes with it, and 3 MB take it 20 s (see the tests).
"""

import datetime as dt
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from parler.apps.config_files.errors import Unfitting, Unparsable

Path = tuple[str, ...]

_LINE_END = re.compile(r"\r\n|\n")
_BLANKS = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n))*[ \t]*")
_KEY = re.compile(r"[ \t]*(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*(\.?)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# What may stand in a value; whatever has an end of its own is taken in one step.
_PIECE = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+|'
    r"'''.*?'''+|"
    r'"(?:[^"\\\r\n]|\\.)*"|'
    r"'[^'\r\n]*'|"
    r"#[^\r\n]*|"
    r"\r\n|"
    r"[^\"'#\[\]{}\r\n]+|.",
    re.DOTALL,
)
_WHERE = re.compile(r"\(at line (\d+), column (\d+)\)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A table's header, or a key with its value."""

    path: Path
    is_table: bool
    start: int
    end: int


def parse(text: str) -> object:
    """What a text says.

    Raises:
        Unparsable: It is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        if where := _WHERE.search(reason):
            short = reason[: where.start()].strip()
            line, column = int(where[1]), int(where[2])
            raise Unparsable(short, line=line, column=column) from None
        short = reason.removesuffix("(at end of document)").strip()
        raise Unparsable.at(text, len(text), short) from None
    except RecursionError:
        raise Unparsable("nested too deeply", line=1, column=1) from None


def put(text: str, path: Path, value: object) -> tuple[str, list[Path]]:
    """Set one table, in its old place or at the end.

    Raises:
        Unparsable: The text is no TOML.
        Unfitting: The value is no table, or the text has no place for one.
    """
    if not isinstance(value, Mapping):
        raise Unfitting(f"{'.'.join(path)} is to be a table")
    newline = _line_end(text)
    block = newline.join(_table(path, value)) + newline
    old = _of(text, path)
    if old and old[0].is_table:
        at = old[0].start
        text = _without(text, old)
        if text[at:].strip() and not text.startswith(("\n", "\r\n"), at):
            block += newline
        return text[:at] + block + text[at:], []
    if old:
        text = _dropped(text, old)
    if text and not text.endswith("\n"):
        text += newline
    gap = newline if text.strip() else ""
    return text + gap + block, []


def drop(text: str, path: Path) -> str:
    """Remove one table and what is below it; raises `Unparsable` as `put`."""
    old = _of(text, path)
    return _dropped(text, old) if old else text


def _dropped(text: str, old: list[Statement]) -> str:
    first = old[0]
    text = _without(text, old)
    if not first.is_table:
        return text
    before = text[: first.start]
    for blank in ("\r\n\r\n", "\n\n"):
        # The line that set it apart from what stands before goes with it.
        if before.endswith(blank):
            return before[: -len(blank) // 2] + text[first.start :]
    return text


def _of(text: str, path: Path) -> list[Statement]:
    parse(text)
    depth = len(path)
    found = []
    for one in statements(text):
        if one.path[:depth] == path:
            found.append(one)
        elif not one.is_table and path[: len(one.path)] == one.path:
            line = Unparsable.at(text, one.start, "").line
            name = ".".join(one.path)
            raise Unfitting(f"line {line}: {name!r} is written as an inline table")
    return found


def statements(text: str) -> Iterator[Statement]:
    """All statements of a well-formed text, in order, with their whole lines."""
    table: Path = ()
    position = _skip(text, 0)
    while position < len(text):
        start = text.rfind("\n", 0, position) + 1
        if text[position] == "[":
            brackets = 2 if text.startswith("[[", position) else 1
            table, _ = _keys(text, position + brackets)
            end = _value_end(text, position)
            yield Statement(table, True, start, end)
        else:
            keys, behind = _keys(text, position)
            end = _value_end(text, behind)
            yield Statement(table + keys, False, start, end)
        position = _skip(text, end)


def _keys(text: str, position: int) -> tuple[Path, int]:
    keys = []
    while match := _KEY.match(text, position):
        keys.append(_decoded(match[1]))
        position = match.end()
        if not match[2]:
            break
    return tuple(keys), position


def _decoded(key: str) -> str:
    if key[0] not in "\"'":
        return key
    return str(tomllib.loads(f"key = {key}")["key"])


def _value_end(text: str, position: int) -> int:
    """Behind the line break that ends a statement."""
    depth = 0
    while match := _PIECE.match(text, position):
        piece = match.group()
        position = match.end()
        if piece in ("\n", "\r\n") and depth <= 0:
            return position
        depth += piece in ("[", "{")
        depth -= piece in ("]", "}")
    return len(text)


def _skip(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    position = match.end() if match else position
    if text.startswith("#", position):  # a comment that ends the text
        return len(text)
    return position


def _without(text: str, old: list[Statement]) -> str:
    kept = [text[: old[0].start]]
    for one, following in pairwise(old):
        between = text[one.end : following.start]
        if between.strip():  # blank lines between two that go, go as well
            kept.append(between)
    return "".join([*kept, text[old[-1].end :]])


def _table(path: Path, value: Mapping[str, object]) -> Iterator[str]:
    yield "[" + ".".join(_key(key) for key in path) + "]"
    below = {key: one for key, one in value.items() if isinstance(one, Mapping)}
    for key, one in value.items():
        if key not in below:
            yield f"{_key(key)} = {_scalar(one)}"
    for key, one in below.items():
        yield ""
        yield from _table((*path, key), one)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _scalar(key)


def _scalar(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(one) for one in value) + "]"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{_key(key)} = {_scalar(one)}" for key, one in value.items()
        )
        return f"{{{inside}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's strings, numbers and booleans are TOML's, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _line_end(text: str) -> str:
    match = _LINE_END.search(text)
    return match.group() if match else "\n"
