"""What the person decides on the page: each is an operation of `ops`, done in the name
of the identity whose matter it is, and says what became of it and what takes it back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parler.errors import ParlerError, UsageError
from parler.identity.senders import Senders
from parler.identity.signing import fingerprint
from parler.ops import permissions
from parler.ops.admission import decide
from parler.ops.ask import AnswerParams, answer_question
from parler.ops.messages import SendParams, send
from parler.ops.own import Own, bring_in
from parler.ops.questions import answer_as_person
from parler.ops.requests import accept as accept_sender
from parler.ops.requests import decline as decline_sender
from parler.ops.reservations import release as give_up
from parler.ops.rooms import Member, remove_member
from parler.text.terminal import sentence, shown_name, word
from parler.ui.desk import Desk, Spot
from parler.wire.base import RoomName
from parler.wire.foreign import clipped
from parler.wire.records import RoomKind, RoomTarget

MAX_ROSTERS = 50
"""Rooms whose members are asked for to show all agents."""

MAX_NUMBER = 2**53
Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it."""

    said: str
    undo: dict[str, Any] | None = None
    """The act that takes it back, and what it is given; never one that lets somebody
    in or through, for who waited before is not back by that."""

    piece: tuple[str, dict[str, Any]] | None = None
    """The template of what is shown of it, and what it is made of."""


Act = Callable[[Desk, Given], Awaitable[Done]]


async def approve(desk: Desk, given: Given) -> Done:
    """Let in whoever knocks."""
    return await _decide(desk, given, approve=True)


async def reject(desk: Desk, given: Given) -> Done:
    """Reject whoever knocks."""
    return await _decide(desk, given, approve=False)


async def _decide(desk: Desk, given: Given, *, approve: bool) -> Done:
    own, room, agent = _owner(desk, given), _room(given), text(given, "agent")
    result = await decide(own.ctx, room, agent, approve=approve)
    who = f"{shown_name(result.name)} {result.fingerprint}".strip()
    if not result.approved:
        return Done(f"{who} stays out")
    back = {key: given[key] for key in ("owner", "at", "name", "agent")}
    return Done(f"{who} is in", {"act": "remove", "given": back})


async def remove(desk: Desk, given: Given) -> Done:
    """Put a member out."""
    own, room = _owner(desk, given), _room(given)
    result = await remove_member(own.ctx, room, text(given, "agent"))
    return Done(f"{shown_name(result.name)} {result.fingerprint} is out")


async def accept(desk: Desk, given: Given) -> Done:
    """Let a stranger write to us."""
    who = text(given, "agent")
    await accept_sender(desk, Senders(desk.machine), who)
    said = f"{fingerprint(who)} may write to you and your agents"
    return Done(said, {"act": "decline", "given": {"agent": who}})


async def decline(desk: Desk, given: Given) -> Done:
    """Drop what a stranger writes."""
    who = text(given, "agent")
    await decline_sender(desk, Senders(desk.machine), who)
    return Done(f"nothing of {fingerprint(who)} is shown any more")


async def answer(desk: Desk, given: Given) -> Done:
    """Answer a question, or decline it."""
    own, room = _owner(desk, given), _room(given)
    seq = number(given, "seq")
    declined = given.get("decline") is True
    words = "" if declined else text(given, "text")
    if own.agent.is_person:
        done = await answer_as_person(own.ctx, room, seq, words, decline=declined)
        if done.before is not None:
            return Done(f"it was told {sentence(done.before)} before, and goes by that")
    else:
        params = AnswerParams(text=words, room=room, seq=seq, decline=declined)
        await answer_question(own.ctx, params)
    return Done("declined" if declined else "answered")


async def permit(desk: Desk, given: Given) -> Done:
    """Permit what an app asks, this once."""
    return await _answer_app(desk, given, permissions.permit)


async def refuse(desk: Desk, given: Given) -> Done:
    """Refuse what an app asks."""
    return await _answer_app(desk, given, permissions.refuse)


async def _answer_app(
    desk: Desk, given: Given, decide: Callable[..., permissions.PermissionResult]
) -> Done:
    result = await asyncio.to_thread(decide, desk.here(), text(given, "id"))
    desk.look_at_permissions()
    verb = "permitted, this once" if result.permitted else "refused"
    return Done(f"{word(result.tool)} is {verb}")


async def say(desk: Desk, given: Given) -> Done:
    """Speak as the person."""
    spot = (text(given, "at"), _room(given))
    params = SendParams(text=text(given, "text"), target=RoomTarget(room=spot[1]))
    return Done(await as_person(desk, spot, lambda person: send(person.ctx, params)))


async def as_person(
    desk: Desk, spot: Spot, speak: Callable[[Own], Awaitable[object]]
) -> str:
    """Speak as the person, who enters the room first if need be.

    Returns:
        Why it could not be said yet; empty if it was.
    """
    room = desk.room(spot)
    async with desk.person(room.hub) as person:
        if not room.has_person:
            if room.one.kind is RoomKind.DM:
                raise UsageError("only the two of them speak here")
            host = desk.whose(spot)
            if not await bring_in(host, person.ctx, spot[1]):
                return "you knocked: its owner lets you in"
        await speak(person)
    desk.said((room.hub, spot[1]))
    return ""


async def seen(desk: Desk, given: Given) -> Done:
    """Count as read by the person what the page has shown."""
    spot = (text(given, "at"), _room(given))
    own, seq = desk.whose(spot), number(given, "seq")
    if own.agent.is_person:  # what our agents have read is theirs to say
        await own.ctx.client.ack(spot[1], seq)
    desk.looked(spot)
    return Done("")


async def release(desk: Desk, given: Given) -> Done:
    """Give up what an agent reserved, on the person's word."""
    which = text(given, "reservation")
    result = await asyncio.to_thread(give_up, desk.here(), which, force=True)
    [held, *_] = result.released
    return Done(f"{clipped(held.glob)} is free again; its agent is not told")


ACTS: Mapping[str, Act] = {
    "accept": accept,
    "answer": answer,
    "approve": approve,
    "decline": decline,
    "permit": permit,
    "refuse": refuse,
    "reject": reject,
    "release": release,
    "remove": remove,
    "say": say,
    "seen": seen,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A member of rooms of ours that is no agent of this machine."""

    member: Member
    rooms: list[str]


async def members_elsewhere(desk: Desk) -> list[Elsewhere]:
    """The members of our rooms that are not ours, by name."""
    ours = desk.own_ids
    rooms = [one for one in desk.rooms if not one.is_direct][:MAX_ROSTERS]

    async def listed(spot: Spot) -> list[Member]:
        try:
            return await desk.members(spot)
        except ParlerError:
            return []

    each = await asyncio.gather(*(listed((one.hub, one.one.name)) for one in rooms))
    found: dict[str, Elsewhere] = {}
    for room, entries in zip(rooms, each, strict=True):
        title = clipped(room.one.topic or room.one.name)
        for one in entries:
            if one.id not in ours:
                known = found.setdefault(one.id, Elsewhere(member=one, rooms=[]))
                known.rooms.append(title)
    return sorted(found.values(), key=lambda one: shown_name(one.member.name))


def text(given: Mapping[str, Any], name: str) -> str:
    """A text that was given.

    Raises:
        UsageError: It was not.
    """
    found = given.get(name)
    if not isinstance(found, str) or not found:
        raise UsageError(f"the page did not say {name}")
    return found


def number(given: Mapping[str, Any], name: str) -> int:
    """A number that was given; 0 or more.

    Raises:
        UsageError: It was not.
    """
    found = given.get(name)
    if isinstance(found, str) and found.isascii() and found.isdecimal():
        found = int(found[:20])
    if not isinstance(found, int) or not 0 <= found <= MAX_NUMBER:
        raise UsageError(f"the page did not say {name}")
    return found


def _owner(desk: Desk, given: Given) -> Own:
    return desk.as_(text(given, "owner"), text(given, "at"))


def _room(given: Given) -> RoomName:
    return RoomName(text(given, "name"))
