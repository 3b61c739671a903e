"""JSON with comments and trailing commas: one entry changed, every other byte kept.

The text is scanned into nodes that know where they stand, and edited by cutting and
inserting there. Of plain JSON, as a file of megabytes is, only the containers on the
way to an entry are scanned; `json` reads the rest. Nothing is ever printed anew but our
own entry, in the manner of what stands around it: its indentation, its line ends, one
line or many.

No package does it: json-five keeps comments but reads 22 times slower and leaves commas
and indentation to its caller, json5kit knows no block comments, jsonc-edit needs Node.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from parler.apps.config_files.errors import Unfitting, Unparsable

MAX_DEPTH = 300

Path = tuple[str, ...]

_TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(
    r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SMALL = re.compile(r"-?[0-9]{1,18}")
_WORD = re.compile(r"true|false|null")
_WORDS = {"true": True, "false": False, "null": None}
_SAME_LINE = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/[ \t]*)*")
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written: nobody's digits are lost in comparing."""

    text: str


def _number(raw: str) -> int | Number:
    return int(raw) if _SMALL.fullmatch(raw) else Number(raw)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    parse_int=_number, parse_float=Number, parse_constant=_no_constant
)
_SKIPPER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_no_constant)
"""Where a value ends; no number is made, which may have any length."""


@dataclass(slots=True)
class Node:
    """A value and where it stands."""

    start: int
    end: int = 0
    value: object = None
    """Of a scalar."""

    kind: str = ""
    """``{`` or ``[`` of a container, else empty."""

    within: str | None = None
    """The plain JSON text in which its entries are still to be scanned."""

    scanned: list["Entry"] = field(default_factory=list)

    @property
    def entries(self) -> list["Entry"]:
        """The members or items of a container."""
        if self.within is not None:
            text, self.within = self.within, None
            self.scanned = _container(text, self.start, 0, is_plain=True).scanned
        return self.scanned


@dataclass(slots=True)
class Entry:
    """A member of an object, or an item of an array."""

    start: int
    key: str | None
    value: Node
    comma: int | None = None
    """Where the comma behind it stands."""

    @property
    def end(self) -> int:
        """Behind the value and its comma."""
        return self.value.end if self.comma is None else self.comma + 1


def parse(text: str) -> object:
    """What a text says; None for a text that says nothing at all.

    Raises:
        Unparsable: It is no JSON with comments.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        root = scan(text)
    return None if root is None else plain(root)


def plain(node: Node) -> object:
    """The value of a node; of keys that stand twice, the last one, as apps take it."""
    if node.kind == "{":
        return {entry.key: plain(entry.value) for entry in node.entries}
    if node.kind == "[":
        return [plain(entry.value) for entry in node.entries]
    return node.value


def has_comments(text: str) -> bool:
    """Whether there is anything that strict JSON does not know.

    Raises:
        Unparsable: It is no JSON with comments.
    """
    if _is_plain(text):
        return False
    return scan(text) is not None or bool(text.strip())


def put(text: str, path: Path, value: object) -> tuple[str, list[Path]]:
    """Set one member; also returns the containers that had to be made for it.

    Raises:
        Unparsable: The text is no JSON with comments.
        Unfitting: Something on the way is no object, or stands twice.
    """
    text, root = _with_root(text)
    node = root
    for depth, key in enumerate(path):
        entry = _member(text, node, key)
        if entry is None:
            new = _nested(path[depth + 1 :], value)
            made = [path[:end] for end in range(depth + 1, len(path))]
            return _insert(text, root, node, key=key, value=new), made
        node = entry.value
    indent = _indent_at(text, node.start)
    # A value on one line stays on one line, if the text around it is written so.
    compact = _is_one_line(text)
    new_text = _rendered(value, _Style.of(text, root), indent, compact=compact)
    return text[: node.start] + new_text + text[node.end :], []


def add(text: str, path: Path, value: object) -> tuple[str, list[Path]]:
    """Append one item to the array at `path`; raises and returns as `put`."""
    text, root = _with_root(text)
    node = root
    for depth, key in enumerate(path):
        entry = _member(text, node, key)
        if entry is None:
            new = _nested(path[depth + 1 :], [value])
            made = [path[:end] for end in range(depth + 1, len(path) + 1)]
            return _insert(text, root, node, key=key, value=new), made
        node = entry.value
    if node.kind != "[":
        raise _unfitting(text, node, path[-1], "a list")
    return _insert(text, root, node, key=None, value=value), []


def drop(text: str, path: Path) -> str:
    """Remove one member; a text without it stays as it is.

    Raises:
        Unparsable: The text is no JSON with comments.
        Unfitting: Something on the way stands twice.
    """
    found = _locate(text, path[:-1])
    if found is None or found.kind != "{":
        return text
    entry = _member(text, found, path[-1])
    if entry is None:
        return text
    return _cut(text, found, found.entries.index(entry))


def drop_item(text: str, path: Path, index: int) -> str:
    """Remove one item of the array at `path`; raises as `drop`."""
    found = _locate(text, path)
    if found is None or found.kind != "[" or index >= len(found.entries):
        return text
    return _cut(text, found, index)


def drop_inner(text: str, path: Path, index: int, key: str, inner: int) -> str:
    """Remove an item of a list that is member `key` of an item; raises as `drop`."""
    found = _locate(text, path)
    if found is None or found.kind != "[" or index >= len(found.entries):
        return text
    member = _member(text, found.entries[index].value, key)
    if member is None or inner >= len(member.value.entries):
        return text
    return _cut(text, member.value, inner)


def scan(text: str) -> Node | None:
    """The whole text as nodes; None if there is nothing but white space and comments.

    Raises:
        Unparsable: It is no JSON with comments.
    """
    position = _skip(text, 0)
    if position == len(text):
        return None
    node = _value(text, position, 0, is_plain=_is_plain(text))
    position = _skip(text, node.end)
    if position != len(text):
        raise Unparsable.at(text, position, "the text should end here")
    return node


def _value(text: str, position: int, depth: int, *, is_plain: bool) -> Node:
    char = text[position : position + 1]
    if char in ("{", "["):
        if is_plain and depth:
            _, end = _SKIPPER.raw_decode(text, position)
            return Node(position, end, kind=char, within=text)
        if depth >= MAX_DEPTH:
            raise Unparsable.at(text, position, "nested too deeply")
        return _container(text, position, depth, is_plain=is_plain)
    if char == '"':
        raw = _string(text, position)
        return Node(position, position + len(raw), json.loads(raw))
    if match := _WORD.match(text, position):
        return Node(position, match.end(), _WORDS[match.group()])
    if match := _NUMBER.match(text, position):
        raw = match.group()
        return Node(position, match.end(), _number(raw))
    what = "the text ends" if position >= len(text) else f"{char!r} stands"
    raise Unparsable.at(text, position, f"{what} where a value should begin")


def _container(text: str, position: int, depth: int, *, is_plain: bool) -> Node:
    node = Node(position, kind=text[position])
    closing = "}" if node.kind == "{" else "]"
    position = _skip(text, position + 1)
    entries = node.scanned
    while text[position : position + 1] != closing:
        if entries and entries[-1].comma is None:
            raise Unparsable.at(text, position, f"expected a comma or {closing!r}")
        named = node.kind == "{"
        entry = _entry(text, position, depth, named=named, is_plain=is_plain)
        position = _skip(text, entry.value.end)
        if text[position : position + 1] == ",":
            entry.comma = position
            position = _skip(text, position + 1)
        entries.append(entry)
    node.end = position + 1
    return node


def _entry(
    text: str, position: int, depth: int, *, named: bool, is_plain: bool
) -> Entry:
    if not named:
        value = _value(text, position, depth + 1, is_plain=is_plain)
        return Entry(position, None, value)
    if text[position : position + 1] != '"':
        raise Unparsable.at(text, position, "expected a key in double quotes or '}'")
    raw = _string(text, position)
    colon = _skip(text, position + len(raw))
    if text[colon : colon + 1] != ":":
        raise Unparsable.at(text, colon, "expected a colon")
    start = _skip(text, colon + 1)
    value = _value(text, start, depth + 1, is_plain=is_plain)
    return Entry(position, json.loads(raw), value)


def _is_plain(text: str) -> bool:
    """Whether it is JSON without anything more."""
    try:
        _SKIPPER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _string(text: str, position: int) -> str:
    match = _STRING.match(text, position)
    if match is None:
        raise Unparsable.at(text, position, "this string is not written as JSON has it")
    return match.group()


def _skip(text: str, position: int) -> int:
    match = _TRIVIA.match(text, position)
    end = match.end() if match else position
    if text.startswith("/*", end):
        raise Unparsable.at(text, end, "this comment has no end")
    return end


def _locate(text: str, path: Path) -> Node | None:
    node = scan(text)
    for key in path:
        if node is None or node.kind != "{":
            return None
        entry = _member(text, node, key)
        node = entry.value if entry else None
    return node


def _member(text: str, node: Node, key: str) -> Entry | None:
    if node.kind != "{":
        raise _unfitting(text, node, key, "an object")
    found = [entry for entry in node.entries if entry.key == key]
    if len(found) > 1:
        where = Unparsable.at(text, found[1].start, "")
        raise Unfitting(
            f"line {where.line}: the key {key!r} stands there a second time"
        )
    return found[0] if found else None


def _unfitting(text: str, node: Node, key: str, wanted: str) -> Unfitting:
    line = Unparsable.at(text, node.start, "").line
    return Unfitting(f"line {line}: what should hold {key!r} is not {wanted}")


def _nested(path: Path, value: object) -> object:
    for key in reversed(path):
        value = {key: value}
    return value


def _with_root(text: str) -> tuple[str, Node]:
    root = scan(text)
    if root is not None:
        return text, root
    if text and not text.endswith(("\n", "\r")):
        text += _line_end(text)
    start = len(text)
    text += "{}" + _line_end(text)
    return text, Node(start, start + 2, kind="{")


@dataclass(frozen=True, slots=True)
class _Style:
    unit: str
    newline: str

    @classmethod
    def of(cls, text: str, root: Node) -> "_Style":
        unit = "  "
        if root.entries:
            first = _indent_at(text, root.entries[0].start)
            base = _indent_at(text, root.start)
            if len(first) > len(base) and first.startswith(base):
                unit = first[len(base) :]
        return cls(unit=unit, newline=_line_end(text))


def _insert(
    text: str, root: Node, container: Node, *, key: str | None, value: object
) -> str:
    style = _Style.of(text, root)
    if not container.entries:
        return _insert_first(text, container, style, key=key, value=value)
    last = container.entries[-1]
    trailing = "," if last.comma is not None else ""
    many = _LINE_END.search(text, container.start, container.entries[0].start)
    if not many:
        piece = _item(key, value, style, "", compact=True)
        gap = " " if _has_gaps(text, container) else ""
        if trailing:
            return text[: last.end] + gap + piece + trailing + text[last.end :]
        return text[: last.end] + "," + gap + piece + text[last.end :]
    indent = _indent_at(text, last.start)
    at = _behind_comments(text, last.end)
    piece = style.newline + indent + _item(key, value, style, indent, compact=False)
    comma = "" if trailing else ","
    kept = text[last.end : at]
    return text[: last.end] + comma + kept + piece + trailing + text[at:]


def _insert_first(
    text: str, container: Node, style: _Style, *, key: str | None, value: object
) -> str:
    start, end = container.start + 1, container.end - 1
    inner = text[start:end]
    if not inner.strip() and _is_one_line(text):
        return text[:start] + _item(key, value, style, "", compact=True) + text[end:]
    outer = _indent_at(text, container.start)
    indent = outer + style.unit
    kept = inner.rstrip(" \t\r\n")
    piece = _item(key, value, style, indent, compact=False)
    filled = kept + style.newline + indent + piece + style.newline + outer
    return text[:start] + filled + text[end:]


def _item(
    key: str | None, value: object, style: _Style, indent: str, *, compact: bool
) -> str:
    rendered = _rendered(value, style, indent, compact=compact)
    return rendered if key is None else f"{_dumped(key)}: {rendered}"


def _rendered(value: object, style: _Style, indent: str, *, compact: bool) -> str:
    if compact:
        return _dumped(value)
    return _dumped(value, indent=style.unit).replace("\n", style.newline + indent)


def _dumped(value: object, *, indent: str | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path that is not UTF-8
        text = json.dumps(value, indent=indent)
    return text


def _cut(text: str, container: Node, index: int) -> str:
    entry = container.entries[index]
    cuts = [_span(text, container, index)]
    if entry is container.entries[-1] and entry.comma is None and index:
        comma = container.entries[index - 1].comma
        if comma is not None and comma < cuts[0][0]:
            cuts.insert(0, (comma, comma + 1))
    start, end = container.start + 1, container.end - 1
    inner = _without(text, cuts, start, end)
    if len(container.entries) == 1 and not inner.strip():
        inner = ""
    return text[:start] + inner + text[end:]


def _without(text: str, cuts: Sequence[tuple[int, int]], start: int, end: int) -> str:
    pieces = []
    for first, last in cuts:
        pieces.append(text[start:first])
        start = last
    pieces.append(text[start:end])
    return "".join(pieces)


def _span(text: str, container: Node, index: int) -> tuple[int, int]:
    """What goes with an entry: its whole line if it is alone there, else its gap."""
    entry = container.entries[index]
    before = _start_of_line(text, entry.start)
    behind = _SAME_LINE.match(text, entry.end)
    tail = behind.end() if behind else entry.end
    ends_line = tail >= len(text) or text[tail] in "\r\n"
    if before is not None and ends_line:
        has_comment = bool(text[entry.end : tail].strip())
        return before, entry.end if has_comment else tail
    if index + 1 < len(container.entries):
        following = container.entries[index + 1].start
        if not text[entry.end : following].strip():
            return entry.start, following
    elif index:
        previous = container.entries[index - 1].end
        if not text[previous : entry.start].strip():
            return previous, entry.end
    return entry.start, entry.end


def _start_of_line(text: str, position: int) -> int | None:
    """Where the line break before a position stands, if only blanks lie between."""
    start = position
    while start and text[start - 1] in " \t":
        start -= 1
    if not start or text[start - 1] not in "\r\n":
        return None
    return start - (2 if text[start - 2 : start] == "\r\n" else 1)


def _behind_comments(text: str, position: int) -> int:
    match = _SAME_LINE.match(text, position)
    end = match.end() if match else position
    return end if text[position:end].strip() else position


def _indent_at(text: str, position: int) -> str:
    """The blanks that begin the line of a position."""
    start = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
    line = text[start:position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _has_gaps(text: str, container: Node) -> bool:
    first = container.entries[0]
    if len(container.entries) > 1:
        return text[first.end : first.end + 1] in (" ", "\t")
    return first.key is None or text[first.value.start - 1] != ":"


def _is_one_line(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 2 and not _LINE_END.search(stripped)


def _line_end(text: str) -> str:
    match = _LINE_END.search(text)
    return match.group() if match else "\n"
