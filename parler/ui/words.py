"""What templates are given, and how it becomes text of the page.

Whatever a stranger wrote is text: escaped by the templates, its invisible characters
spelled out, its length bounded. Nothing of it becomes markup, a link or an address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from parler._version import __version__
from parler.apps.registry import app_named
from parler.identity.homes import process_environment, user_home_of
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops.affiliations import Affiliation, belongs
from parler.ops.inbox import Item, Kind
from parler.ops.message_view import ShownMessage
from parler.ops.peers import Reach, told
from parler.ops.permissions import PermissionRequest, folded, input_lines
from parler.ops.questions import numbered
from parler.text.terminal import lines, shown_name
from parler.ui.desk import SeenRoom
from parler.ui.pieces import Piece, pieces_of
from parler.wire.base import AgentId
from parler.wire.foreign import Foreign, clipped, exact

MAX_TOPIC_CHARS = 80
MAX_ROOMS = 60
"""Rooms in a list."""

MAX_STRANGE_ROOMS = 10
"""Of them, such as strangers began, who can open as many as they like."""

HUES = 12
"""Colours by which authors are told apart; the style sheet has as many."""

_KINDS = frozenset({"text", "data", "bundle", "file", "handoff", "task"})
_STATES = frozenset({"idle", "working", "waiting", "blocked", "offline", "online"})

MARKS = {
    Signature.VALID: ("✓", "signature verified"),
    Signature.UNSIGNED: ("⚠", "not signed: anybody at the hub could have written it"),
    Signature.INVALID: ("✗ UNVERIFIED", "not from whom it says it is"),
    Signature.REPLAYED: ("✗ REPLAYED", "a copy: said before, or elsewhere"),
}
REACHES = {
    Reach.AT_ONCE: "takes a message at once",
    Reach.TURN_END: "takes a message when its turn ends",
    Reach.NEXT_TURN: "takes a message with its next prompt",
    Reach.WHEN_IT_LOOKS: "takes a message when it looks",
    Reach.NOT_NOW: "takes no messages now",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A message as the page shows it."""

    seq: int
    id: str
    ts: int
    author: AgentId
    name: str
    hue: int
    role: str | None
    whose: str | None
    """Whose agent the author is."""

    ours: bool
    mark: str
    why: str
    """What the mark means."""

    fails: bool
    pieces: list[Piece]
    more: int
    """Characters that were left out."""

    reply_to: str | None


def line_of(
    message: ShownMessage, affiliation: Affiliation | None, *, ours: bool
) -> Line:
    """A message, bounded."""
    pieces, more = pieces_of(message)
    author = message.author
    mark, why = MARKS[message.signature]
    return Line(
        seq=message.seq,
        id=message.id,
        ts=message.ts,
        author=author.id,
        name=shown_name(author.name),
        hue=hue_of(author.id),
        role=shown_name(author.role) if author.role else None,
        whose=belongs(affiliation, author.id) if affiliation else None,
        ours=ours,
        mark=mark,
        why=why,
        fails=message.signature.fails,
        pieces=pieces,
        more=more,
        reply_to=message.reply_to,
    )


def hue_of(agent: AgentId) -> int:
    """The colour of an author; several may have one."""
    return sha256(agent.encode()).digest()[0] % HUES


def room_title(room: SeenRoom) -> str:
    """What a room is called: by its topic, or whom it is with."""
    one = room.one
    if one.topic:
        return clipped(one.topic, MAX_TOPIC_CHARS)
    if one.peer:
        return f"with {shown_name(one.peer)}"
    return clipped(one.name, MAX_TOPIC_CHARS)


def listed_rooms(rooms: list[SeenRoom]) -> list[SeenRoom]:
    """As many as a list has room for; the others are for `parler rooms`."""
    ours = [one for one in rooms if not one.is_strange]
    strange = [one for one in rooms if one.is_strange]
    return [*ours, *strange[:MAX_STRANGE_ROOMS]][:MAX_ROOMS]


def room_link(hub: str, room: str) -> str:
    """Where a room's transcript is."""
    return "/room?" + urlencode({"at": hub, "name": room})


def app_title(app: str | None) -> str:
    """What an app is called."""
    found = app_named(app) if app else None
    return found.title if found else clipped(app or "")


def when(ts: int) -> Markup:
    """A moment, in epoch milliseconds: the browser says how long ago it was."""
    return _time(ts, "%Y-%m-%d %H:%M", "ago")


def clock(ts: int) -> Markup:
    """The time of day of a moment; the day stands above."""
    return _time(ts, "%H:%M", "clock")


def until(ts: int) -> str:
    """A moment to come, to the minute."""
    moment = _moment(ts)
    return f"{moment.day} {moment:%B %Y, %H:%M}" if moment else "no time"


def day_of(ts: int) -> str:
    """The day of a moment, as the transcript names it."""
    moment = _moment(ts)
    return f"{moment:%A, %d %B %Y}" if moment else "at no time"


def _time(ts: int, shape: str, kind: str) -> Markup:
    moment = _moment(ts)
    if moment is None:
        return Markup("<time>at no time</time>")
    iso = moment.isoformat(timespec="seconds")
    day = f"{moment:%Y-%m-%d %H:%M:%S}"
    html = Markup('<time datetime="{}" title="{}" class="{}">{}</time>')
    return html.format(iso, day, kind, moment.strftime(shape))


def _moment(ts: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(ts / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def plain(value: Any) -> Any:
    """Whatever a template puts out: nothing invisible is left in it."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(lines(value))


MAX_DECISIONS = 100
_DECIDED = {
    Kind.KNOCK: "knocks at a room of yours",
    Kind.REQUEST: "wants to write to you",
    Kind.QUESTION: "asks you",
}
"""What a desktop is told beside a name: the rest, strangers wrote."""


def decisions(
    items: Sequence[Item], permissions: Sequence[PermissionRequest]
) -> list[tuple[str, str]]:
    """What waits to be decided: what tells each from others, and its words."""
    asked = [(one.id, f"{one.title} asks to use a tool") for one in permissions]
    found = [
        (_hash(one.key), f"{_name(one.name)} {_DECIDED[one.kind]}")
        for one in items
        if one.kind in _DECIDED
    ]
    return [*asked, *found][:MAX_DECISIONS]


def _signed(item: Any) -> str:
    mark = MARKS[item.signature][0] if item.signature else ""
    return "" if mark == "✓" else mark


def _whose(affiliation: Affiliation | None, agent: AgentId | None) -> str:
    return belongs(affiliation, agent) if affiliation and agent else ""


def _clip(text: str | Foreign | None, max_chars: int = 200) -> str:
    return clipped(text, max_chars) if text else ""


def _name(text: str | Foreign | None) -> str:
    return shown_name(text) if text else ""


def _letter(text: str | Foreign | None) -> str:
    """What stands for a name in little room; nothing that could be a mark."""
    found = (char for char in _name(text) if char.isalnum())
    return next(found, "?").upper()[:1]


def _folder(path: str) -> str:
    """A folder of this user, from home."""
    home = str(user_home_of(process_environment()) or "")
    inside = home and (path == home or path.startswith(f"{home}/"))
    return clipped(f"~{path[len(home) :]}" if inside else path)


def _whom(owner: AgentId, person: AgentId | None, name: str) -> str:
    return "you" if owner == person else shown_name(name)


def _hash(value: Any) -> str:
    """What tells an element from others of its list, as an id."""
    return sha256(repr(value).encode("utf-8", "replace")).hexdigest()[:16]


def _kind(tag: str) -> str:
    """The class of a piece; kinds of others are one."""
    kind = tag.rpartition(".")[2]
    return kind if kind in _KINDS else "other"


def _doing(activity: Foreign | None) -> str:
    """What an agent said it does, without how it is woken."""
    return _clip(told(activity)[0], 120)


def _state(status: str | Foreign) -> str:
    """The class of how an agent is doing; words of others are one."""
    word = exact(status)
    return word if word in _STATES else "other"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def environment() -> Environment:
    """The templates, with what they may ask."""
    env = Environment(
        loader=PackageLoader("parler.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "app": app_title,
        "choices": numbered,
        "clip": _clip,
        "clock": clock,
        "input": input_lines,
        "day": day_of,
        "doing": _doing,
        "exact": exact,
        "folder": _folder,
        "fp": fingerprint,
        "hash": _hash,
        "hue": hue_of,
        "kind": _kind,
        "letter": _letter,
        "name": _name,
        "state": _state,
        "until": until,
        "when": when,
        "whom": _whom,
    }
    env.globals |= {
        "count": _count,
        "listed_rooms": listed_rooms,
        "folded": folded,
        "reaches": REACHES,
        "room_link": room_link,
        "room_title": room_title,
        "signed": _signed,
        "version": __version__,
        "whose": _whose,
    }
    return env
