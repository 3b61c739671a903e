"""YAML: one entry of one mapping set or removed, every other byte kept.

What a text says, and where, is read by libyaml; here only whole lines are cut and put
in. The result is read again: where it would say anything else, the text is left to
its owner.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from parler.apps.config_files.errors import Unfitting, Unparsable

Path = tuple[str, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and where it stands."""

    value: object
    start: int
    end: int
    """Behind its last character."""

    entries: tuple["Entry", ...] = ()
    """Of a mapping in columns that has no anchor or tag."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key, where it stands, and what it stands for."""

    key: str
    start: int
    end: int
    node: Node


def parse(text: str) -> object:
    """What a text says; of scalars, only the plainest are taken for other than text.

    Raises:
        Unparsable: It is no YAML, or not one document.
    """
    return _read(text).value


def put(text: str, path: Path, value: object) -> tuple[str, list[Path]]:
    """Set one entry of one top-level mapping; also returns what was made for it.

    Raises:
        Unparsable: The text is no YAML.
        Unfitting: What should hold the entry is no mapping in columns.
    """
    root = _read(text)
    outer, key = path
    said = _mapping(root, "the whole text")
    newline = "\r\n" if "\r\n" in text else "\n"
    holder = _entry(root, outer)
    held = _mapping(holder.node, repr(outer)) if holder else {}
    if holder is None:
        indent = _indent(text, root.start) if root.entries else ""
        start = end = len(text)
        lines = [f"{indent}{outer}:", *_lines(key, value, indent + "  ", "  ")]
    elif holder.node.entries:
        old = _entry(holder.node, key)
        last = old or holder.node.entries[-1]
        start = end = _line_end(text, last.node.end)
        if old:
            start = _line_start(text, old.start)
        indent = _indent(text, last.start)
        unit = indent.removeprefix(_indent(text, holder.start))
        lines = list(_lines(key, value, indent, unit))
    else:
        indent = _indent(text, holder.start) + "  "
        start = _colon(text, holder)
        end = _line_end(text, holder.node.end)
        gap = text[start : holder.node.start].rstrip()
        comment = gap + text[holder.node.end : end].rstrip()
        if "#" in text[holder.node.start : holder.node.end]:
            raise Unfitting(f"{outer!r} is not a mapping in columns")
        lines = [comment, *_lines(key, value, indent, "  ")]
    before = text[:start]
    if holder is None or holder.node.entries:
        before += newline if before and not before.endswith("\n") else ""
    after = before + "".join(line + newline for line in lines) + text[end:]
    _check(after, {**said, outer: {**held, key: value}})
    return after, [] if holder else [(outer,)]


def drop(text: str, path: Path) -> str:
    """Remove one entry, or a whole top-level mapping; raises as `put`."""
    root = _read(text)
    said = _mapping(root, "the whole text")
    holder = _entry(root, path[0])
    if holder is None:
        return text
    if len(path) == 1:
        after = _without(text, holder)
        _check(after, {key: one for key, one in said.items() if key != path[0]})
        return after
    held = _mapping(holder.node, repr(path[0]))
    if path[1] not in held:
        return text
    entry = _entry(holder.node, path[1])
    if entry is None:
        raise Unfitting(f"{path[0]!r} is not a mapping in columns")
    after = _without(text, entry)
    if len(held) == 1:  # alone, its key would mean null
        colon = _colon(text, holder)
        after = after[:colon] + " {}" + after[colon:]
    left = {key: one for key, one in held.items() if key != path[1]}
    _check(after, {**said, path[0]: left})
    return after


def _mapping(node: Node, name: str) -> Mapping[str, object]:
    """What a node says, if an entry can be put there."""
    if node.value in (None, {}) or (node.entries and isinstance(node.value, dict)):
        return node.value or {}
    raise Unfitting(f"{name} is not a mapping in columns")


def _check(text: str, expected: Mapping[str, object]) -> None:
    try:
        said = _mapping(_read(text), "the whole text")
    except Unparsable as error:
        raise Unfitting(f"the file has no place for our entry: {error}") from None
    if said != expected:
        raise Unfitting("the file would say something else than before")


def _entry(node: Node, key: str) -> Entry | None:
    return next((one for one in node.entries if one.key == key), None)


def _read(text: str) -> Node:
    try:
        return _Reader(text).document()
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark.index if error.problem_mark else 0
        raise Unparsable.at(text, at, str(error.problem)) from None
    except yaml.reader.ReaderError as error:
        before = text.encode(errors="replace")[: error.position].decode(errors="ignore")
        raise Unparsable.at(text, len(before), str(error.reason)) from None
    except UnicodeEncodeError as error:
        raise Unparsable.at(text, error.start, "this is no Unicode") from None
    except RecursionError:
        raise Unparsable("nested too deeply", line=1, column=1) from None


class _Reader:
    """From what libyaml sees, one thing after the other, to nodes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: set[str] = set()

    def document(self) -> Node:
        """The only document; an empty text says nothing."""
        node = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if node:
                    reason = "a second document begins"
                    raise Unparsable.at(self._text, event.start_mark.index, reason)
                node = self._node(next(self._events))
        return node or Node(None, 0, 0)

    def _node(self, event: Any) -> Node:
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                reason = f"nothing is called {event.anchor!r}"
                raise Unparsable.at(self._text, start, reason)
            return Node(f"*{event.anchor}", start, end)
        self._anchors.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.implicit[0]  # else quoted, a block, or with a tag
            value = _scalar(event.value) if is_plain else event.value
            return Node(value, start, end)
        nodes = []
        while not isinstance(inner := next(self._events), yaml.CollectionEndEvent):
            nodes.append(self._node(inner))
        end = nodes[-1].end if nodes else start
        if event.flow_style:
            end = inner.end_mark.index
        if isinstance(event, yaml.SequenceStartEvent):
            return Node([one.value for one in nodes], start, end)
        entries = self._entries(nodes)
        said = {entry.key: entry.node.value for entry in entries}
        is_more = event.flow_style or event.anchor or event.tag
        return Node(said, start, end, () if is_more else entries)

    def _entries(self, nodes: list[Node]) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        for name, node in zip(nodes[::2], nodes[1::2], strict=True):
            said = name.value
            key = said if isinstance(said, str) else self._text[name.start : name.end]
            if key in entries:
                reason = f"the key {key!r} stands twice"
                raise Unparsable.at(self._text, name.start, reason)
            entries[key] = Entry(key, name.start, name.end, node)
        return tuple(entries.values())


def _scalar(text: str) -> object:
    return json.loads(text) if _NUMBER.fullmatch(text) else _WORDS.get(text, text)


def _without(text: str, entry: Entry) -> str:
    _indent(text, entry.start)
    start = _line_start(text, entry.start)
    return text[:start] + text[_line_end(text, entry.node.end) :]


def _colon(text: str, entry: Entry) -> int:
    """Behind the colon of a key whose value begins on its line or below it."""
    _indent(text, entry.start)
    return text.index(":", entry.end) + 1


def _indent(text: str, position: int) -> str:
    """What stands before a key in its line: blanks, or it is no plain one."""
    before = text[_line_start(text, position) : position]
    if before.strip(" "):
        line = Unparsable.at(text, position, "").line
        raise Unfitting(f"line {line}: the key does not begin its line")
    return before


def _line_start(text: str, position: int) -> int:
    return text.rfind("\n", 0, position) + 1


def _line_end(text: str, position: int) -> int:
    """Behind the line in which something ends; a long text ends at a line's start."""
    if text[position - 1 : position] == "\n":
        return position
    return text.find("\n", position) + 1 or len(text)


def _lines(key: str, value: object, indent: str, unit: str) -> Iterator[str]:
    name = key if _PLAIN_KEY.fullmatch(key) else _dumped(key)
    if isinstance(value, Mapping) and value:
        yield f"{indent}{name}:"
        for inner, one in value.items():
            yield from _lines(inner, one, indent + unit, unit)
    else:
        yield f"{indent}{name}: {_dumped(value)}"


def _dumped(value: object) -> str:
    # YAML has all of JSON but for some characters that it wants escaped.
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
