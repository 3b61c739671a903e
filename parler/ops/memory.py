"""Keeping facts, finding them again, dropping our own (protocol 9).

Facts are not signed: who wrote one, and when, is the hub's word.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from parler.errors import HubError, UsageError
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result, check_texts
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import Feature
from parler.wire.limits import DEFAULT_RECALL_LIMIT
from parler.wire.records import Fact, RecallHit
from parler.wire.replies import Forgotten, Recalled, Remembered, RosterList
from parler.wire.requests import Forget, Recall, Remember, Roster

MAX_RECALL_LIMIT = 50
"""Hits a hub gives at most (protocol 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberParams:
    """A fact to keep."""

    text: Annotated[str, Meta(description="What to remember.")]
    key: Annotated[
        str | None,
        Meta(description="Replaces our last fact under this key in the same place."),
    ] = None
    room: Annotated[
        RoomName | None,
        Meta(description="Whose members may recall it; without one, only we may."),
    ] = None


class RememberResult(Result):
    """Where a fact was kept; without a room it is for us alone."""

    ok: bool
    key: str | None = None
    room: RoomName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallParams:
    """What to look for."""

    query: Annotated[
        str, Meta(description="Words, or beginnings of words; the best match is first.")
    ] = ""
    key: Annotated[
        str | None,
        Meta(description="Exactly this key, the newest first; words do not count."),
    ] = None
    room: Annotated[
        RoomName | None,
        Meta(description="Only in this room, instead of all we may see."),
    ] = None
    limit: Annotated[int, Meta(description="At most so many, up to 50.", ge=1)] = (
        DEFAULT_RECALL_LIMIT
    )


class Hit(RecallHit, kw_only=True):
    """A fact that was found.

    `name` is what a member of that room calls itself; an author that is no member any
    more has none.
    """

    fingerprint: str
    mine: bool
    name: str | None = None


class RecallResult(Result):
    """Facts, the best match or the newest first."""

    hits: list[Hit]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetParams:
    """Which of our own facts to drop; with both, those that fit both."""

    key: Annotated[str | None, Meta(description="Those under this key.")] = None
    text: Annotated[
        str | None, Meta(description="Those of exactly this text, to the letter.")
    ] = None
    room: Annotated[
        RoomName | None,
        Meta(description="In this room; without one, those that only we see."),
    ] = None


class ForgetResult(Result):
    """How many facts of ours are gone from where."""

    count: int
    room: RoomName | None = None


async def remember(ctx: OpContext, params: RememberParams) -> RememberResult:
    """Keep a fact, in a room or for ourselves.

    Raises:
        UsageError: There is nothing to remember.
    """
    if not params.text.strip():
        raise UsageError(
            "there is nothing to remember",
            next_step="parler remember TEXT, or parler remember -",
        )
    check_texts(text=params.text, key=params.key, room=params.room)
    key = params.key or None
    fact = Fact(text=params.text, key=key, room=params.room)
    kept = await ctx.client.request(Remember(fact=fact), Remembered)
    return RememberResult(ok=kept.ok, key=key, room=params.room)


async def recall(ctx: OpContext, params: RecallParams) -> RecallResult:
    """Find facts, by words or by key, in a room or in all we may see.

    Raises:
        UsageError: There is nothing to look for.
    """
    if not params.key and not params.query.strip():
        raise UsageError(
            "say what to look for: words or a key",
            next_step="parler recall WORDS, or parler recall --key KEY",
        )
    check_texts(query=params.query, key=params.key, room=params.room)
    frame = Recall(
        query=params.query,
        key=params.key or None,
        room=params.room,
        limit=min(params.limit, MAX_RECALL_LIMIT),
    )
    found = await ctx.client.request(frame, Recalled)
    names = await _names(ctx, {hit.room for hit in found.hits if hit.room})
    me = ctx.client.agent_id
    return RecallResult(
        hits=[
            Hit(
                **msgspec.structs.asdict(hit),
                fingerprint=fingerprint(hit.author),
                mine=hit.author == me,
                name=ctx.identity.name if hit.author == me else names.get(hit.author),
            )
            for hit in found.hits
        ]
    )


async def forget(ctx: OpContext, params: ForgetParams) -> ForgetResult:
    """Drop facts of our own; nobody can drop those of others.

    Raises:
        UsageError: Neither a key nor a text was given.
        HubError: The hub does not offer it, or refused.
    """
    if not params.key and params.text is None:
        raise UsageError(
            "say what to forget: a key or a text",
            next_step="parler forget --key KEY, or parler forget TEXT",
        )
    if Feature.FORGET not in ctx.client.features:
        raise HubError(
            f"the hub {ctx.hub} cannot forget",
            next_step="parler remember --key KEY TEXT replaces what is under a key",
        )
    check_texts(text=params.text, key=params.key, room=params.room)
    frame = Forget(key=params.key or None, text=params.text, room=params.room)
    gone = await ctx.client.request(frame, Forgotten)
    return ForgetResult(count=gone.count, room=params.room)


async def _names(ctx: OpContext, rooms: set[RoomName]) -> dict[AgentId, str]:
    """What the members of those rooms call themselves."""
    listed = await asyncio.gather(*(_members(ctx, room) for room in sorted(rooms)))
    return {agent: name for members in listed for agent, name in members.items()}


async def _members(ctx: OpContext, room: RoomName) -> dict[AgentId, str]:
    try:
        listed = await ctx.client.request(Roster(room=room), RosterList)
    except HubError:
        return {}  # the room went away, or we did; the facts were found all the same
    return {entry.id: entry.name for entry in listed.entries}
