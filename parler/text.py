"""Making text from strangers safe to print on a terminal.

Names, rooms, messages and hub error texts may contain anything. Whatever reaches a
terminal passes through here, so that no stranger moves the cursor, hides words, or
prints a line that looks like somebody else's. What is stored or sent stays as it is.
"""

import re
import shlex
import unicodedata

MAX_NAME_CHARS = 64
"""Characters of a name that are shown; a name itself may be far longer."""

CONTINUATION = "  | "
"""What every further line of a message starts with: a peer's line can never look
like the first line of another message."""

_TAB = "    "
# Controls, and what a terminal does not draw but obeys: bidirectional overrides and
# isolates, line and paragraph separators, invisible fillers, tags, lone surrogates.
# The two joiners stay, since emoji and several scripts need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e"
    "\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_LINE_ENDS = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_NOT_PLAIN_NAME = re.compile(r'[()\[\]:"|]|\s\s|^\s|\s$|^$')
_SAFE_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


def visible(text: str) -> str:
    """The text on one line, with every control character spelled out."""
    return _HIDDEN.sub(_spell, text)


def lines(text: str) -> list[str]:
    """The lines of a text, each with its control characters spelled out."""
    parts = _LINE_ENDS.split(text)
    return [visible(line.replace("\t", _TAB)) for line in parts]


def paragraph(text: str) -> str:
    """Text that keeps its line breaks, every further line marked as a continuation."""
    return f"\n{CONTINUATION}".join(lines(text))


def shown_name(name: str) -> str:
    """A name as it stands in front of a message.

    A name that contains what the line itself is made of, such as a colon or a role
    in parentheses, is quoted: it cannot pretend to be more than a name.
    """
    text = visible(name)
    if len(text) > MAX_NAME_CHARS:
        text = text[: MAX_NAME_CHARS - 1] + "…"
    if _NOT_PLAIN_NAME.search(text):
        return '"' + text.replace('"', "'") + '"'
    return text


def shell_word(text: str) -> str:
    """A word to paste into a shell: one argument, and nothing hidden in it."""
    return shlex.quote(visible(text))


def file_word(name: str) -> str:
    """A received file name as a shell word that names a file in this folder."""
    base = visible(re.split(r"[/\\]", name)[-1])
    if _SAFE_FILE_NAME.fullmatch(base):
        return base
    return shlex.quote("./" + (base if base.strip(". ") else "file"))


def wrap(text: str, width: int) -> str:
    """Break lines that a terminal of `width` columns would break by itself.

    The terminal's own break starts in the first column, where only we may start a
    line; ours starts with the continuation mark.
    """
    room = max(width, len(CONTINUATION) + 8)
    return "\n".join(piece for line in text.split("\n") for piece in _fold(line, room))


def _fold(line: str, width: int) -> list[str]:
    if len(line) * 2 <= width:
        return [line]
    pieces, start, used = [], 0, 0
    for index, char in enumerate(line):
        columns = _columns(char)
        if used + columns > width and index > start:
            pieces.append(line[start:index])
            start, used = index, len(CONTINUATION)
        used += columns
    pieces.append(line[start:])
    return [pieces[0], *(CONTINUATION + piece for piece in pieces[1:])]


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    # An emoji may be drawn two columns wide whatever the tables say.
    wide = unicodedata.east_asian_width(char) in ("W", "F") or ord(char) > 0x1F000
    return 2 if wide else 1


def _spell(match: re.Match[str]) -> str:
    number = ord(match.group())
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    return f"<U+{number:04X}>"


def safe_json(line: str) -> str:
    """JSON text with the same hidden characters escaped; it still means the same."""
    return _HIDDEN.sub(_escape, line)


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs)
