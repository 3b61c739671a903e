"""The parts of a message as pieces of the page: what was said or sent, its links, and
the command that takes what was handed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from parler.client.questions import ANSWER_KIND, ASK_KIND
from parler.ops.message_view import ShownMessage
from parler.text.terminal import CONTINUATION
from parler.text.transcript import part_command, part_words
from parler.ui.links import Span, spans
from parler.wire.base import RoomName
from parler.wire.parts import (
    BundlePart,
    HandoffPart,
    InvalidParts,
    OtherPart,
    Part,
    SigPart,
    TaskPart,
    TextPart,
    read_parts,
)

MAX_TEXT_CHARS = 4000
"""Of a message that are shown; the rest comes when asked for."""

_QUIET_KINDS = frozenset({ASK_KIND, ANSWER_KIND})
"""Parts whose words stand beside them as text."""

_LINKED = (TextPart, HandoffPart, TaskPart)
"""Parts in whose words people leave addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a message, in words."""

    kind: str
    spans: list[Span]
    command: str = ""
    """What takes what it hands over, to be typed in a terminal."""

    code: bool = False
    """It hands over commits."""


def pieces_of(message: ShownMessage) -> tuple[list[Piece], int]:
    """What is shown of a message, and how many characters are left out."""
    shown: list[Piece] = []
    left = MAX_TEXT_CHARS
    for part in _parts(message):
        words = _words(part)
        if left > 0:
            shown.append(_piece(part, words, left, message.room))
        left -= len(words)
    return shown, max(-left, 0)


def _piece(part: Part | None, words: str, left: int, room: RoomName) -> Piece:
    if part is None:
        return Piece(kind="unreadable", spans=[Span(text=words)])
    text = words[:left]
    linked = isinstance(part, _LINKED)
    return Piece(
        kind=str(part.__struct_config__.tag),
        spans=spans(text, whole=text == words) if linked else [Span(text=text)],
        command=part_command(part, room),
        code=isinstance(part, BundlePart)
        or (isinstance(part, HandoffPart) and part.bundle is not None),
    )


def whole_text(message: ShownMessage) -> str:
    """All that a message says."""
    return "\n".join(_words(part) for part in _parts(message))


def _parts(message: ShownMessage) -> Iterator[Part | None]:
    """Those that say something; one that is None cannot be read."""
    try:
        parts = read_parts(message.parts)
    except InvalidParts:
        yield None
        return
    for part in parts:
        quiet = isinstance(part, OtherPart) and part.kind in _QUIET_KINDS
        if not quiet and not isinstance(part, SigPart):
            yield part


def _words(part: Part | None) -> str:
    if part is None:
        return "[unreadable]"
    return part_words(part).replace(f"\n{CONTINUATION}", "\n")
