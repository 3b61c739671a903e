"""What the person does with a room beside reading and speaking there: the form of each,
what it does, and what of it can be taken back.

Keys, the topic and members are for whichever identity of ours owns the room to decide;
each act is an operation of `ops` in its name.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import segno
from markupsafe import Markup

from parler.errors import ParlerError, UsageError
from parler.ops.export import Shape, exported
from parler.ops.invites import InviteParams, invite, invites, revoke
from parler.ops.lookback import seq_at
from parler.ops.message_view import ShownMessage
from parler.ops.messages import HandoffParams, handoff, history
from parler.ops.own import Own, is_ours
from parler.ops.session import rename_session
from parler.ops.tokens import http_url
from parler.text.terminal import look, shown_name
from parler.text.transcript import body
from parler.ui.acts import Act, Done, Given, as_person, number, text
from parler.ui.desk import Desk, Spot
from parler.wire.base import Code, RoomName
from parler.wire.foreign import clipped, exact
from parler.wire.limits import MAX_TTL_SECS
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.urls import is_loopback

MAX_FOUND = 50
"""Messages that a search shows, the newest."""

MAX_USES = 1000
_SNIPPET_CHARS = 200
_BEFORE_CHARS = 60
_QR_SCALE = 4


async def owner_of(desk: Desk, spot: Spot) -> Own | None:
    """Whoever of ours a room belongs to.

    Raises:
        NotMember: None of ours is in it.
    """
    for seat in desk.room(spot).seats:
        own = desk.as_(seat.owner_id, seat.hub)
        if await is_ours(own.ctx, spot[1]):
            return own
    return None


async def _owner(desk: Desk, spot: Spot) -> Own:
    own = await owner_of(desk, spot)
    if own is None:
        raise UsageError("only the owner of this room decides that, and it is not you")
    return own


def _spot(given: Given) -> Spot:
    return text(given, "at"), RoomName(text(given, "name"))


# Doing


async def hand_over(desk: Desk, given: Given) -> Done:
    """Hand the turn over as the person."""
    spot = _spot(given)
    params = HandoffParams(
        next=text(given, "next"),
        summary=given.get("summary") or None,
        to=given.get("to") or None,
        target=RoomTarget(room=spot[1]),
    )
    to = shown_name(params.to) if params.to else "anyone"
    said = await as_person(desk, spot, lambda person: handoff(person.ctx, params))
    return Done(said or f"handed over to {to}")


async def make_key(desk: Desk, given: Given) -> Done:
    """Make a key to a room."""
    spot = _spot(given)
    gated = given.get("open") is not True
    own = await owner_of(desk, spot) or desk.whose(spot)
    params = InviteParams(
        kind=RoomKind.CHANNEL,
        name=spot[1],
        require_approval=gated,
        ttl_secs=min(number(given, "ttl"), MAX_TTL_SECS),
        max_uses=min(number(given, "uses"), MAX_USES) or 1,
    )
    made = await invite(own.ctx, params)
    hub = own.ctx.shared_as or own.ctx.hub
    # With a link, a browser would hand the half that is for no hub to the hub's page.
    link = "" if made.sealed else http_url(hub, f"/join/{made.code}")
    shown = {
        "made": made,
        "link": link,
        "gated": gated,
        "near": own.ctx.for_this_user() or is_loopback(urlsplit(hub).hostname or ""),
        "qr": qr(link or made.portable),
    }
    undo = {"act": "revoke", "given": {**_named(spot), "code": made.code}}
    return Done("a key was made", undo, ("_key.html", shown))


async def revoke_key(desk: Desk, given: Given) -> Done:
    """Make a key worthless."""
    spot = _spot(given)
    own = await owner_of(desk, spot) or desk.whose(spot)
    await revoke(own.ctx, Code(text(given, "code")))
    return Done("that key opens nothing any more")


async def rename(desk: Desk, given: Given) -> Done:
    """Give a session another topic."""
    spot = _spot(given)
    own = await _owner(desk, spot)
    before = exact(desk.room(spot).one.topic)
    done = await rename_session(own.ctx, spot[1], text(given, "topic"))
    undo = None
    if before and before != exact(done.topic):
        undo = {"act": "rename", "given": {**_named(spot), "topic": before}}
    return Done(f"it is about “{clipped(done.topic, 80)}” now", undo)


def _named(spot: Spot) -> dict[str, str]:
    return {"at": spot[0], "name": spot[1]}


ACTS: Mapping[str, Act] = {
    "hand": hand_over,
    "invite": make_key,
    "rename": rename,
    "revoke": revoke_key,
}


def qr(link: str) -> Markup:
    """A QR code as SVG, black on white whatever the page is."""
    made = segno.make_qr(link, error="m")
    svg = made.svg_inline(
        scale=_QR_SCALE, border=4, light="#fff", svgclass=None, lineclass=None
    )
    return Markup(svg)  # noqa: S704 - squares: nothing of a text is in it


# Looking


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that was looked for."""

    message: ShownMessage
    snippet: str


async def search(desk: Desk, given: Mapping[str, str]) -> dict[str, Any]:
    """The newest messages with some words in them, of somebody, since a day.

    Raises:
        UsageError: The day is none.
    """
    spot = _spot(given)
    words = given.get("words", "").strip()
    result = await history(
        desk.whose(spot).ctx,
        spot[1],
        limit=MAX_FOUND,
        grep=words or None,
        from_=given.get("who") or None,
        since=given.get("day") or None,
    )
    found = [
        Found(message=one, snippet=_around(body(one), words))
        for one in reversed(result.messages)
    ]
    return {"found": found, "spot": spot, "most": MAX_FOUND}


def _around(said: str, words: str) -> str:
    """The piece of a message in which the words are."""
    at = said.casefold().find(words.casefold())
    start = max(at - _BEFORE_CHARS, 0)
    piece = said[start : start + _SNIPPET_CHARS]
    left = start + _SNIPPET_CHARS < len(said)
    return f"{'…' if start else ''}{piece}{'…' if left else ''}"


async def first_of(desk: Desk, given: Mapping[str, str]) -> int:
    """The number of the first message of a day, or the last one before."""
    spot = _spot(given)
    try:
        day = datetime.fromisoformat(text(given, "day")).astimezone()
        moment = int(day.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise UsageError("that is no day") from None
    ctx = desk.whose(spot).ctx
    before = await seq_at(ctx, spot[1], moment)
    there = (await ctx.client.pull(spot[1], since=before, limit=1)).messages
    return there[0].seq if there else before


async def file_of(
    desk: Desk, given: Mapping[str, str]
) -> tuple[str, str, AsyncIterator[str]]:
    """A room as a file: its name, its media type, its pieces.

    Raises:
        UsageError: It is to be something else.
    """
    spot = _spot(given)
    try:
        shape = Shape(given.get("shape", ""))
    except ValueError:
        raise UsageError("a room is written as jsonl or text") from None
    ctx = desk.whose(spot).ctx
    pieces = exported(ctx, spot[1], shape)
    _, first = await anext(pieces, (0, ""))  # what is wrong is said now

    async def rest() -> AsyncIterator[str]:
        yield first
        async for _, piece in pieces:
            yield piece

    safe = "".join(char for char in spot[1] if char.isascii() and char.isalnum())
    ending, media = {
        Shape.JSONL: ("jsonl", "application/jsonl"),
        Shape.TEXT: ("txt", "text/plain; charset=utf-8"),
    }[shape]
    return f"parler-{safe[:40] or 'room'}.{ending}", media, rest()


# Forms

Form = Callable[[Desk, Spot], Awaitable[dict[str, Any]]]


async def _of_members(desk: Desk, spot: Spot) -> dict[str, Any]:
    members = await desk.members(spot)
    looks = Counter(look(one.name) for one in members)
    alone = [
        (one, exact(one.name) if looks[look(one.name)] == 1 else one.id)
        for one in members
        if one.id != desk.person_id
    ]
    return {"members": members, "addressed": alone}


async def _of_owner(desk: Desk, spot: Spot) -> dict[str, Any]:
    return {"owner": await owner_of(desk, spot)}


async def _of_keys(desk: Desk, spot: Spot) -> dict[str, Any]:
    own = await owner_of(desk, spot)
    listed = (await invites(own.ctx, spot[1])).invites if own else []
    return {"owner": own, "keys": listed}


async def _of_nothing(desk: Desk, spot: Spot) -> dict[str, Any]:
    return {}


FORMS: Mapping[str, Form] = {
    "export": _of_nothing,
    "find": _of_members,
    "hand": _of_members,
    "invite": _of_owner,
    "keys": _of_keys,
    "menu": _of_owner,
    "rename": _of_owner,
}


async def form(desk: Desk, name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What a form is made of.

    Raises:
        UsageError: There is none of that name.
        NotMember: None of ours is in that room.
    """
    if name not in FORMS:
        raise UsageError("there is no such form")
    spot = _spot(given)
    room = desk.room(spot)
    return {"room": room, "spot": spot, **await FORMS[name](desk, spot)}


async def may_remove(desk: Desk, spot: Spot) -> str | None:
    """The id of whoever of ours may put members of a room out."""
    try:
        own = await owner_of(desk, spot)
    except ParlerError:
        return None
    return own.ctx.identity.agent_id if own else None
