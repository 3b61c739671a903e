"""YAML of the plainest kind: one entry of one mapping, every other byte kept.

There is no parser of YAML here. A text is taken only if each of its lines can be
understood without one: keys in columns, one to a line, nothing that runs on over lines
in a way that could hide a key. Everything else is refused, and left to its owner.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from parler.apps.config_files.errors import Unfitting, Unparsable

Path = tuple[str, ...]

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|$)")
_KEY = re.compile(
    r"(?P<key>[A-Za-z_][\w.-]*|\"[^\"\\]*\"|'[^']*'):(?P<value>[ \t].*)?$"
)
_EMPTY = re.compile(r"[ \t]*(\{[ \t]*\}|null|~)?[ \t]*(#.*)?$")
_OPEN_QUOTE = re.compile(
    r"(?:^[ ]*(?:- +)*|: +|- +)(?:\"(?:[^\"\\]|\\.)*|'(?:[^']|'')*)$"
)
_BLOCK_SCALAR = re.compile(r"(?::|-)[ \t]+[|>][-+0-9]*[ \t]*(?:#.*)?$")
_UNKNOWN = "this is more YAML than is understood here"


@dataclass(frozen=True, slots=True)
class Block:
    """A key with all its lines."""

    key: str
    start: int
    body: int
    """Behind its own line."""

    end: int
    value: str
    """What stands behind the colon."""


def parse(text: str) -> object:
    """The mappings of the text two levels deep; what is below stays text.

    Raises:
        Unparsable: It is not plain enough to be certain.
    """
    said: dict[str, object] = {}
    for block in _blocks(text, 0, len(text), 0):
        if block.key in said:
            raise _at(text, block.start, f"the key {block.key!r} stands twice")
        body = text[block.body : block.end]
        if _EMPTY.match(block.value) and _is_mapping(body):
            said[block.key] = {
                child.key: text[child.start : _content_end(text, child)]
                for child in _children(text, block)
            }
        else:
            said[block.key] = text[block.start : _content_end(text, block)]
    return said


def rendered(path: Path, value: object) -> str:
    """The lines of an entry the way `put` writes them at two blanks a level."""
    return "\n".join(_lines(path[-1], value, "  ", "  "))


def put(text: str, path: Path, value: object) -> tuple[str, list[Path]]:
    """Set one entry of one top-level mapping.

    Raises:
        Unparsable: The text is not plain enough to be certain.
        Unfitting: What should hold the entry is no mapping in columns.
    """
    parse(text)
    outer, key = path
    newline = "\r\n" if "\r\n" in text else "\n"
    block = _top(text, outer)
    if block is None:
        text = text if not text or text.endswith("\n") else text + newline
        lines = [f"{outer}:", *_lines(key, value, "  ", "  ")]
        return text + newline.join(lines) + newline, [(outer,)]
    children = _children(text, block)
    if not children:
        return _fill(text, block, _lines(key, value, "  ", "  "), newline), []
    indent = " " * _indent(text[children[0].start :])
    entry = newline.join(_lines(key, value, indent, indent)) + newline
    for child in children:
        if child.key == key:
            end = _content_end(text, child)
            return text[: child.start] + entry + text[end:], []
    at = _content_end(text, children[-1])
    before = text[:at] if text[:at].endswith("\n") else text[:at] + newline
    return before + entry + text[at:], []


def drop(text: str, path: Path) -> str:
    """Remove one entry, or a whole top-level mapping; raises `Unparsable` as `put`."""
    parse(text)
    block = _top(text, path[0])
    if block is None:
        return text
    if len(path) == 1:
        return text[: block.start] + text[_content_end(text, block) :]
    children = _children(text, block)
    for child in children:
        if child.key == path[1]:
            text = text[: child.start] + text[_content_end(text, child) :]
            return text if len(children) > 1 else _emptied(text, block)
    return text


def _emptied(text: str, block: Block) -> str:
    """A key without children as an empty mapping: alone it would mean null."""
    if block.value.strip().startswith("{"):
        return text
    colon = block.start + len(text[block.start : block.body].rstrip("\r\n"))
    colon -= len(block.value)
    return f"{text[:colon]} {{}}{text[colon:]}"


def _top(text: str, key: str) -> Block | None:
    found = (one for one in _blocks(text, 0, len(text), 0) if one.key == key)
    block = next(found, None)
    if block is None:
        return None
    body = text[block.body : block.end]
    if not _EMPTY.match(block.value) or not _is_mapping(body):
        raise Unfitting(f"{key!r} is not a mapping in columns")
    return block


def _children(text: str, block: Block) -> list[Block]:
    body = text[block.body : block.end]
    first = next((line for _, line in _content(body, 0, len(body))), None)
    if first is None:
        return []
    return list(_blocks(text, block.body, block.end, _indent(first)))


def _blocks(text: str, start: int, end: int, indent: int) -> Iterator[Block]:
    begun: tuple[int, re.Match[str], int] | None = None
    for at, line in _content(text, start, end):
        depth = _indent(line)
        is_item = depth == indent and line.lstrip(" ").startswith(("- ", "-\n", "-\r"))
        if begun and (depth > indent or is_item):
            continue
        match = _KEY.match(line.strip(" \r\n"))
        if depth != indent or match is None:
            if at == start == 0 and line.strip() == "---":
                continue
            raise _at(text, at, _UNKNOWN)
        if begun:
            yield _block(begun, at)
        begun = at, match, at + len(line)
    if begun:
        yield _block(begun, end)


def _block(begun: tuple[int, re.Match[str], int], end: int) -> Block:
    start, match, body = begun
    key = match["key"].strip("\"'")
    return Block(key, start, body, end, match["value"] or "")


def _content(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    """The lines that say something; those of a long text behind ``|`` do not."""
    scalar: int | None = None
    while start < end:
        match = _LINE.match(text, start, end)
        line = match.group() if match else ""
        bare = line.strip()
        if scalar is not None and bare and _indent(line) <= scalar:
            scalar = None
        if bare and not bare.startswith("#") and scalar is None:
            if "\t" in line[: len(line) - len(line.lstrip())] or "\r" in bare:
                raise _at(text, start, "a tab or a lone carriage return")
            if _OPEN_QUOTE.search(bare) or bare.startswith(("%", "?", "...")):
                raise _at(text, start, _UNKNOWN)
            if _BLOCK_SCALAR.search(bare):
                scalar = _indent(line)
            yield start, line
        start += max(len(line), 1)


def _is_mapping(body: str) -> bool:
    first = next((line for _, line in _content(body, 0, len(body))), None)
    return first is None or bool(_indent(first) and _KEY.match(first.strip()))


def _fill(text: str, block: Block, lines: list[str], newline: str) -> str:
    head = text[block.start : block.body]
    bare = head.rstrip("\r\n")
    colon = len(bare) - len(block.value)
    comment = re.search(r"[ \t]#.*$", block.value)
    kept = bare[:colon] + (comment.group() if comment else "")
    filled = newline.join([kept, *lines]) + newline
    return text[: block.start] + filled + text[block.body :]


def _content_end(text: str, block: Block) -> int:
    """Behind the last line that says something: what follows is not the block's."""
    end = block.body
    for at, line in _all_lines(text, block.body, block.end):
        if line.strip() and not (line.startswith("#")):
            end = at + len(line)
    return end


def _all_lines(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    while start < end:
        match = _LINE.match(text, start, end)
        line = match.group() if match else ""
        yield start, line
        start += max(len(line), 1)


def _lines(key: str, value: object, indent: str, unit: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}"]
    if not value:
        return [f"{indent}{key}: {{}}"]
    lines = [f"{indent}{key}:"]
    for name, one in value.items():
        lines += _lines(name, one, indent + unit, unit)
    return lines


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _at(text: str, position: int, reason: str) -> Unparsable:
    return Unparsable.at(text, position, reason)
