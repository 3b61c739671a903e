"""Making text from strangers safe to print on a terminal.

Names, rooms, messages and hub error texts may contain anything. Whatever reaches a
terminal passes through here, so that no stranger moves the cursor, hides words, or
prints a line that looks like somebody else's. What is stored or sent stays as it is.
"""

import re
import shlex
import unicodedata

from parler.wire.foreign import MAX_CHARS, Foreign, exact, is_ours
from parler.wire.foreign import clipped as clipped
from parler.wire.foreign import quoted as quoted
from parler.wire.foreign import safe_json as safe_json
from parler.wire.foreign import sentence as sentence
from parler.wire.foreign import visible as visible

MAX_NAME_CHARS = 64
"""Characters of a name that are shown; a name itself may be far longer."""

CONTINUATION = "  | "
"""What every further line of a message starts with: a peer's line can never look
like the first line of another message."""

_TAB = "    "
_LINE_ENDS = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_NAME_SHAPE = re.compile(r"\w[^\s]*(?: [^\s]+)*")
_NAME_MARKS = " ._-"
# What the shown form of an agent's id looks like: a name may not bring its own.
_LIKE_A_FINGERPRINT = re.compile(r"\b[A-Z2-7]{4}-[A-Z2-7]{4}\b", re.ASCII)
_LETTERS = ("Lu", "Ll", "Lt", "Lo")
# Scripts that are written side by side in one name; any other mixture is for show.
_TOGETHER = frozenset({"BOPOMOFO", "CJK", "HANGUL", "HIRAGANA", "KATAKANA"})
# What looks like a Latin letter in many fonts: digits, Cyrillic, Greek; without case.
_TWINS = {
    "a": "\u0430\u03b1",
    "b": "\u0432\u03b2",
    "c": "\u0441",
    "d": "\u0501",
    "e": "\u0435\u03b5",
    "h": "\u043d\u04bb",
    "j": "\u0458",
    "k": "\u043a\u03ba",
    "l": "1i\u0456\u04cf\u03b9",
    "m": "\u043c",
    "n": "\u03b7",
    "o": "0\u043e\u03bf",
    "p": "\u0440\u03c1",
    "q": "\u051b",
    "s": "\u0455",
    "t": "\u0442\u03c4",
    "u": "\u03c5",
    "v": "\u03bd",
    "w": "\u051d",
    "x": "\u0445\u03c7",
    "y": "\u0443",
}
_LOOKS = str.maketrans({twin: look for look, twins in _TWINS.items() for twin in twins})
# What is pasted as a whole: words, then options, names in capitals, ids and paths.
_ARGUMENT = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+")
COMMAND = re.compile(
    r"(?<![\w./-])(?:[A-Z_]+=[^\s'\"]+ )*"
    r"(?:parler|git|uvx?|pipx?)(?: [a-z][a-z-]*(?![^\s,;:.)]))+"
    r"(?: (?:--?[a-zA-Z][\w-]*(?:[ =](?!-|\u2014)(?:'[^']*'|\"[^\"]*\"|[^\s,;'\"])+)?"
    r"|[A-Z][A-Z-]+(?![a-z])|(?:'[^']*'|\"[^\"]*\")[^\s,;]*"
    r"|(?=\S*[\d/@*_=])[^\s,;()]+))*"
)
_WORD = re.compile(" *[^ ]+")
_SAFE_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


def lines(text: str | Foreign) -> list[str]:
    """The lines of a text, each with its control characters spelled out."""
    parts = _LINE_ENDS.split(exact(text))
    return [visible(line.replace("\t", _TAB)) for line in parts]


def paragraph(text: str | Foreign) -> str:
    """Text that keeps its line breaks, every further line marked as a continuation."""
    return f"\n{CONTINUATION}".join(lines(text))


def shown_name(name: str | Foreign) -> str:
    """A name as it stands in front of a message, see `word`."""
    return word(name, MAX_NAME_CHARS)


def word(text: str | Foreign, max_chars: int = MAX_CHARS) -> str:
    """A foreign text within a line of ours.

    Letters, digits, single spaces, dots, dashes and underscores stand as they are.
    A text with anything else, or whose letters are of alphabets that nobody mixes, or
    that is a word of ours, is quoted, and has no quote inside: it cannot pretend to be
    more than it is, such as a name with a mark, a role or a fingerprint of ours.
    """
    shown = clipped(text, max_chars)
    return shown if _is_plain(shown) else quoted(shown)


def look(name: str | Foreign) -> str:
    """What is left of a name for a hasty eye: names of one look need telling apart.

    Names that are shown alike always have one look.
    """
    spread = unicodedata.normalize("NFKD", shown_name(name)).casefold()
    seen = "".join(filter(str.isalnum, unicodedata.normalize("NFKD", spread)))
    return seen.translate(_LOOKS) or shown_name(name)


def _is_plain(name: str) -> bool:
    if not _NAME_SHAPE.fullmatch(name) or _LIKE_A_FINGERPRINT.search(name):
        return False
    if is_ours(name):
        return False
    if name.isascii():
        return all(char.isalnum() or char in _NAME_MARKS for char in name)
    letters = [
        char
        for char in name
        if not (char.isascii() and char.isdigit()) and char not in _NAME_MARKS
    ]
    if not all(unicodedata.category(char) in _LETTERS for char in letters):
        return False
    if unicodedata.normalize("NFKC", name) != name:
        return False
    scripts = {unicodedata.name(char, "?").split()[0] for char in letters}
    # Latin letters without case are signs for sounds, such as a click like "!".
    if "LATIN" in scripts and any(unicodedata.category(c) == "Lo" for c in letters):
        return False
    return len(scripts) < 2 or scripts <= _TOGETHER


def without_attachments(text: str) -> str:
    """A prompt in which no app finds ``@path``, which is a file to attach to some.

    They read it before the agent does, whatever the agent may read.
    """
    if "@" not in text:
        return text
    text = text.replace("@", "\N{FULLWIDTH COMMERCIAL AT}")
    at = "\N{FULLWIDTH COMMERCIAL AT}"
    return f"{text.rstrip()}\n({at} stands for the commercial at sign.)\n"


def shell_word(text: str | Foreign, max_chars: int | None = MAX_CHARS) -> str:
    """A word to paste into a shell: one argument, and nothing hidden in it."""
    shown = visible(exact(text)) if max_chars is None else clipped(text, max_chars)
    return shlex.quote(shown)


def file_word(name: str | Foreign) -> str:
    """A received file name as a shell word that names a file in this folder."""
    base = clipped(re.split(r"[/\\]", exact(name))[-1])
    if _SAFE_FILE_NAME.fullmatch(base):
        return base
    return shlex.quote("./" + (base if base.strip(". ") else "file"))


def wrap(text: str, width: int, mark: str = CONTINUATION, *, ours: bool = False) -> str:
    """Break lines that a terminal of `width` columns would break by itself, at blanks.

    The terminal's own break starts in the first column, where only we may start a
    line; ours starts with the mark. A command that fits into a line stays in one, so
    that it can be copied.

    Args:
        ours: It says what a program or a person has to take as it is: a word that is
            longer than a line is left to the terminal, if no blank of any alphabet
            can be in it, and a command that ends a line goes on after a backslash.
    """
    room = max(width, len(mark) + 8)
    lines = text.split("\n")
    return "\n".join(
        piece for line in lines for piece in _fold(line, room, mark, ours=ours)
    )


def clip(line: str, width: int) -> str:
    """A line that fits into `width` columns; what is left out is marked."""
    if _row_end(line, 0, width) == len(line):
        return line
    return line[: _row_end(line, 0, width - 1)] + "…"


def _fold(line: str, width: int, mark: str, *, ours: bool) -> list[str]:
    pieces, start, room = list[str](), 0, width
    commands = COMMAND.finditer(line)
    command = next(commands, None)
    while (end := _row_end(line, start, room)) < len(line):
        cut = line.rfind(" ", start, end + 1)
        while command is not None and command.end() <= cut:
            command = next(commands, None)
        goes_on = ""
        if command is not None and command.start() < end:
            before = line.rfind(" ", start, command.start())
            if line[start : max(before, start)].strip() and command.start() < cut:
                cut = before  # the command starts the next row
            elif ours and command.end() == len(line) and command.group().isascii():
                cut, goes_on = _between_arguments(command, start, room - 2), " \\"
                if cut < 0:
                    break
        if line[start : max(cut, start)].strip():
            end, next_start = cut, cut + 1
        elif ours and (long := _WORD.match(line, start)) and long.group().isascii():
            end = long.end()
            if end == len(line):
                break
            next_start = end + 1
        else:
            next_start = end
        pieces.append(line[start:end] + goes_on)
        start, room = next_start, width - len(mark)
    pieces.append(line[start:])
    return [pieces[0], *(mark + piece for piece in pieces[1:])]


def _between_arguments(command: re.Match[str], start: int, room: int) -> int:
    """Where a command goes on in another row: the last such blank within `room`.

    Returns:
        The first one behind it, if there is none; -1 if it is the last argument.
    """
    arguments = _ARGUMENT.finditer(command.string, *command.span())
    ends = [one.end() for one in arguments if one.end() > start][:-1]
    fitting = [end for end in ends if end <= start + room]
    return max(fitting, default=min(ends, default=-1))


def _row_end(line: str, start: int, width: int) -> int:
    """Where a row that starts there has to end; it has one character at least."""
    if (len(line) - start) * 2 <= width:
        return len(line)
    used = 0
    for index in range(start, len(line)):
        used += _columns(line[index])
        if used > width and index > start:
            return index
    return len(line)


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    # An emoji may be drawn two columns wide whatever the tables say.
    wide = unicodedata.east_asian_width(char) in ("W", "F") or ord(char) > 0x1F000
    return 2 if wide else 1


def shown_size(size: int) -> str:
    """A size for people."""
    if size < 1024:
        return counted(size, "byte")
    if size < 1024**2:
        return f"{size / 1024:.1f} KiB"
    return f"{size / 1024**2:.1f} MiB"


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 commit``, ``2 commits``."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"
