"""A room as one picture: a lane for each agent, and what happened from top to bottom.

Turns are dots, handoffs arrows to whom they are for, and code, files, tasks, questions
and answers have marks of their own. What nobody could read is folded: turns that follow
each other become one row, which says how many they are. The picture is SVG without
scripts, styles or references; strangers' words in it are text.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from parler.client.questions import ANSWER_KIND, ASK_KIND
from parler.ops.capability import READS, Capability, Means, Param
from parler.ops.context import OpContext, Result
from parler.ops.message_view import ShownMessage, pages, shown_all
from parler.text.terminal import CONTINUATION, shown_name
from parler.text.transcript import body, shown_time
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.foreign import clipped
from parler.wire.parts import (
    BundlePart,
    FilePart,
    HandoffPart,
    InvalidParts,
    OtherPart,
    Part,
    TaskPart,
    read_parts,
)

MAX_ROWS = 150
"""Rows of a picture; what is more is folded."""

MAX_LANES = 12
"""Agents with a lane of their own: those who said most. The others share the last."""

MAX_EVENTS = 20_000
"""Messages that are looked at, the newest."""

_LINE_CHARS = 96
_ROW, _LANE, _TOP, _LEFT = 24, 28, 112, 108
_WORDS = 660
_INK, _SOFT, _GRID = "#22211e", "#62605a", "#dedbd3"
_HUES = (
    *("#17645f", "#a3281d", "#7a5200", "#3a4a9a", "#2b6b3f", "#7b1d6d"),
    *("#09525a", "#8a4b08", "#53307f", "#4d5c0a", "#8a2345", "#5b5850"),
)


class Mark(StrEnum):
    """What happened in a row."""

    TURN = "turn"
    HANDOFF = "handoff"
    CODE = "code"
    FILE = "file"
    TASK = "task"
    QUESTION = "question"
    ANSWER = "answer"


_SHAPES = {
    Mark.CODE: "◆",
    Mark.FILE: "▲",
    Mark.TASK: "■",
    Mark.QUESTION: "?",
    Mark.ANSWER: "✓",
}


class PictureResult(Result):
    """A room as SVG."""

    room: RoomName
    events: int
    """Messages that are in it."""

    rows: int
    svg: str
    file: str | None = None
    """Where it was written, if somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    mark: Mark
    seq: Seq
    ts: int
    authors: Counter[AgentId]
    words: str
    fails: bool = False
    to: str | None = None

    @property
    def is_plain(self) -> bool:
        return self.mark is Mark.TURN and not self.fails

    @property
    def count(self) -> int:
        return self.authors.total()


async def picture(
    ctx: OpContext,
    room: Annotated[
        RoomName,
        Param(
            "Which; its topic will do. Default: active session.",
            "ROOM",
            means=Means.SESSION,
        ),
    ],
    *,
    link: Callable[[Seq], str] | None = None,
) -> PictureResult:
    """Draw what happened in a room.

    Args:
        link: As that of `drawn`.

    Raises:
        UsageError: It is a stranger's direct message, and a model would read it.
    """
    await ctx.require_accepted(room)
    found: list[ShownMessage] = []
    async for batch in pages(ctx.client, room, since=0):
        found += shown_all(batch.messages)
        del found[:-MAX_EVENTS]
    return drawn(room, found, link=link)


PICTURE = Capability(
    run=picture,
    about="Draw a session: who said what when, and handed over to whom.",
    more="It is SVG, for a browser or a document. What nobody could read is folded: "
    "turns that follow each other become one row.",
    command="session picture",
    example="parler session picture -o handover.svg",
    hints=READS,
    no_tool="it is for people to look at",
)


def drawn(
    room: RoomName,
    messages: Sequence[ShownMessage],
    *,
    link: Callable[[Seq], str] | None = None,
) -> PictureResult:
    """The picture of some messages of a room, in order.

    Args:
        link: Where a message is shown; without, nothing can be clicked.
    """
    rows = _folded([_row(one) for one in messages])
    names = {one.author.id: shown_name(one.author.name) for one in messages}
    lanes = _lanes(rows, names)
    width = _LEFT + _LANE * max(len(lanes.names), 1) + _WORDS
    height = _TOP + _ROW * max(len(rows), 1) + 16
    role = "group" if link else "img"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="{role}" font-size="13" '
        'font-family="system-ui, sans-serif">',
        f"<title>{_text(f'What happened in {clipped(room)}')}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_heads(lanes, height),
    ]
    for at, row in enumerate(rows):
        drawing = "".join(_drawing(row, lanes, _TOP + _ROW * at + _ROW // 2))
        if link is not None:
            drawing = f"<a href={quoteattr(link(row.seq))}>{drawing}</a>"
        parts.append(drawing)
    if not rows:
        parts.append(_words(_LEFT, _TOP, "Nothing was said here yet.", _SOFT))
    parts.append("</svg>\n")
    return PictureResult(
        room=room, events=len(messages), rows=len(rows), svg="\n".join(parts)
    )


def link_to(hub: str, room: RoomName) -> Callable[[Seq], str]:
    """Where the person's page shows a message of a room."""
    return lambda seq: "/room?" + urlencode({"at": hub, "name": room, "seq": seq})


def _row(message: ShownMessage) -> _Row:
    try:
        parts = read_parts(message.parts)
    except InvalidParts:
        parts = []
    mark, to = next(filter(None, map(_mark, parts)), (Mark.TURN, None))
    return _Row(
        mark=mark,
        seq=message.seq,
        ts=message.ts,
        authors=Counter([message.author.id]),
        words=clipped(" ".join(_plain(message).split()), _LINE_CHARS),
        fails=message.signature.fails,
        to=to,
    )


def _plain(message: ShownMessage) -> str:
    return body(message).replace(f"\n{CONTINUATION}", " ")


def _mark(part: Part) -> tuple[Mark, str | None] | None:
    match part:
        case HandoffPart(to=to):
            return Mark.HANDOFF, to
        case BundlePart():
            return Mark.CODE, None
        case FilePart():
            return Mark.FILE, None
        case TaskPart():
            return Mark.TASK, None
        case OtherPart(kind=kind) if kind == ASK_KIND:
            return Mark.QUESTION, None
        case OtherPart(kind=kind) if kind == ANSWER_KIND:
            return Mark.ANSWER, None
        case _:
            return None


def _folded(rows: list[_Row]) -> list[_Row]:
    """As many rows as can be read: first turns of one agent, then of all, then all."""
    if len(rows) > MAX_ROWS:
        rows = _merged(rows, lambda one, two: one.authors.keys() == two.authors.keys())
    if len(rows) > MAX_ROWS:
        rows = _merged(rows, lambda one, two: True)
    if len(rows) > MAX_ROWS:
        earlier, rows = rows[: 1 - MAX_ROWS], rows[1 - MAX_ROWS :]
        rows.insert(0, _one(earlier))
    return rows


def _merged(rows: list[_Row], joins: Callable[[_Row, _Row], bool]) -> list[_Row]:
    found: list[list[_Row]] = []
    for row in rows:
        last = found[-1][-1] if found else None
        if last and last.is_plain and row.is_plain and joins(last, row):
            found[-1].append(row)
        else:
            found.append([row])
    return [_one(several) for several in found]


def _one(several: list[_Row]) -> _Row:
    first = several[0]
    if len(several) == 1:
        return first
    authors: Counter[AgentId] = Counter()
    for row in several:
        authors += row.authors
    words = f"{authors.total():,} messages, the last: {several[-1].words}"
    return _Row(
        mark=Mark.TURN,
        seq=first.seq,
        ts=first.ts,
        authors=authors,
        words=clipped(words, _LINE_CHARS),
    )


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Which agent is in which column."""

    names: list[str]
    of: dict[AgentId, int]

    def x(self, lane: int) -> int:
        return _LEFT + _LANE * lane + _LANE // 2

    @property
    def words(self) -> int:
        return _LEFT + _LANE * max(len(self.names), 1) + 12

    def meant(self, to: str | None) -> int | None:
        """The lane of whom a handoff is for, by name or id."""
        if to in self.of:
            return self.of[AgentId(to)]
        name = shown_name(to) if to else ""
        return self.names.index(name) if name in self.names else None


def _lanes(rows: Sequence[_Row], names: dict[AgentId, str]) -> _Lanes:
    said: Counter[AgentId] = Counter()
    for row in rows:
        said += row.authors
    own = {agent for agent, _ in said.most_common(MAX_LANES)}
    order = [agent for agent in said if agent in own]
    of = {agent: at for at, agent in enumerate(order)}
    shown = [names[agent] for agent in order]
    if len(said) > len(order):
        shown.append(f"{len(said) - len(order)} others")
        of |= {agent: len(order) for agent in said if agent not in own}
    return _Lanes(shown, of)


def _heads(lanes: _Lanes, height: int) -> list[str]:
    found = []
    for lane, name in enumerate(lanes.names):
        x, color = lanes.x(lane), _HUES[lane % len(_HUES)]
        found.append(
            f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 8}" '
            f'stroke="{_GRID}"/>'
        )
        found.append(
            f'<text transform="translate({x + 3} {_TOP - 12}) rotate(-35)" '
            f'fill="{color}" font-weight="600">{_text(clipped(name, 18))}</text>'
        )
    return found


def _drawing(row: _Row, lanes: _Lanes, y: int) -> list[str]:
    found = [_words(8, y, shown_time(row.ts, None)[5:], _SOFT)]
    for agent, count in row.authors.items():
        lane = lanes.of[agent]
        x, color = lanes.x(lane), _HUES[lane % len(_HUES)]
        found.append(_dot(row, x, y, color, count))
        to = lanes.meant(row.to) if row.mark is Mark.HANDOFF else None
        if to is not None and to != lane:
            found.append(_arrow(x, lanes.x(to), y, color))
    mark = "✗ " if row.fails else ""
    found.append(_words(lanes.words, y, mark + row.words, _INK))
    return found


def _dot(row: _Row, x: int, y: int, color: str, count: int) -> str:
    if shape := _SHAPES.get(row.mark):
        return (
            f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{color}" '
            f'font-weight="700">{shape}</text>'
        )
    radius = 4 if count == 1 else min(4 + count.bit_length(), 10)
    inside = f'fill="{color}"' if not row.fails else f'fill="none" stroke="{color}"'
    return f'<circle cx="{x}" cy="{y}" r="{radius}" {inside}/>'


def _arrow(start: int, end: int, y: int, color: str) -> str:
    way = 1 if end > start else -1
    tip = end - way * 6
    return (
        f'<path d="M{start} {y}H{tip}m{-way * 6} -4l{way * 6} 4l{-way * 6} 4" '
        f'fill="none" stroke="{color}" stroke-width="1.6"/>'
    )


def _words(x: int, y: int, words: str, color: str) -> str:
    return f'<text x="{x}" y="{y + 4}" fill="{color}">{_text(words)}</text>'


def _text(words: str) -> str:
    return escape(words)
