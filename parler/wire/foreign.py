"""Text that somebody else wrote: a type of its own, and its plainest safe form.

How such text is shown to people and models is made of these in `parler.text`; here is
what the rooms below that one need.
"""

import re
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:

    class Foreign(bytes):
        """Text that somebody else wrote: for the type checker it is no `str`.

        It is one as the program runs, so that decoding it costs nothing. As a kind of
        bytes mypy lets nobody put it between words of ours: not by an f-string,
        `format` or `%`, not by `+` or `join`.
        """

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...

else:
    Foreign = str

MAX_CHARS = 200
"""Of a foreign text that are shown within words of ours."""

# Controls, and what a terminal does not draw but obeys: bidirectional overrides and
# isolates, line and paragraph separators, invisible fillers, tags, lone surrogates.
# The two joiners stay, since emoji and several scripts need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e"
    "\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_SENTENCE = re.compile(r"[\w ·,.;:'()/?!+*=~#%@-]+")
# What lines of ours begin with, or say of the reader: no name goes for it.
_OURS = re.compile(
    r"(you|me|us|system|user|assistant|human|developer|tool|error|next|key|knock|watch"
    r"|nobody|anyone)|.*handoff to you.*|nothing new.*",
    re.IGNORECASE,
)


@overload
def exact(text: str | Foreign) -> str: ...
@overload
def exact(text: str | Foreign | None) -> str | None: ...
def exact(text: str | Foreign | None) -> str | None:
    """A foreign text as it is: to compare, keep or send back, never to show."""
    return text  # type: ignore[return-value]  # it is one


@overload
def foreign(text: str) -> Foreign: ...
@overload
def foreign(text: str | None) -> Foreign | None: ...
def foreign(text: str | None) -> Foreign | None:
    """A text that is to be treated as foreign."""
    return text  # type: ignore[return-value]  # it is one


def visible(text: str) -> str:
    """The text on one line, with every control character spelled out."""
    return _HIDDEN.sub(_spell, text)


def clipped(text: str | Foreign, max_chars: int = MAX_CHARS) -> str:
    """The beginning of a text on one line, with every control character spelled out."""
    shown = visible(exact(text)[: max_chars + 1])
    return shown if len(shown) <= max_chars else shown[: max_chars - 1] + "…"


def quoted(text: str) -> str:
    """A text in quotes, with none inside."""
    return '"' + text.replace('"', "'") + '"'


def sentence(text: str | Foreign, max_chars: int = MAX_CHARS) -> str:
    """What somebody says, within words of ours: quoted, unless it is plain words."""
    shown = clipped(text, max_chars)
    plain = _SENTENCE.fullmatch(shown) and not is_ours(shown)
    return shown if plain else quoted(shown)


def is_ours(text: str) -> bool:
    """Whether a text is what lines of ours begin with, or say of the reader."""
    return _OURS.fullmatch(text) is not None


def safe_json(line: str) -> str:
    """JSON text with the same hidden characters escaped; it still means the same."""
    return _HIDDEN.sub(_escape, line)


def _spell(match: re.Match[str]) -> str:
    number = ord(match.group())
    if number < 0x20:
        return chr(0x2400 + number)
    if number == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    return f"<U+{number:04X}>"


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs)
