"""Keeping facts, finding them again, dropping our own (protocol 9).

Facts are not signed: who wrote one, and when, is the hub's word.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import msgspec

from parler.errors import HubError, UsageError
from parler.identity.signing import fingerprint
from parler.ops.capability import READS, SETS, Capability, Hints, Means, Param, Shown
from parler.ops.context import OpContext, Result, check_texts
from parler.ops.rooms import entries_of
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import Feature
from parler.wire.foreign import Foreign, foreign
from parler.wire.limits import DEFAULT_RECALL_LIMIT
from parler.wire.records import Fact, RecallHit
from parler.wire.replies import Forgotten, Recalled, Remembered
from parler.wire.requests import Forget, Recall, Remember

MAX_RECALL_LIMIT = 50
"""Hits a hub gives at most (protocol 9)."""

DIGEST_KEY = "session-digest"
DIGEST_START = "SESSION DIGEST"
"""Under which key a session's digest is kept, and how it starts (protocol 7)."""

_PRIVATE = Shown("private", bool, False, Param("For you alone, not for a room."))


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberParams:
    """A fact to keep."""

    text: Annotated[
        str, Param("What to remember.", words=True, stdin="the fact", brief="")
    ]
    key: Annotated[str | None, Param("Replaces what you kept under it.")] = None
    room: Annotated[
        RoomName | None,
        Param("Default: active session, whose members recall it too."),
    ] = None
    """Without one, for us alone."""

    embedding: list[float] | None = None
    """What the text means, as a model has it, to be found by; 768 numbers."""

    embedding_model: str | None = None


class RememberResult(Result):
    """Where a fact was kept; without a room it is for us alone."""

    ok: bool
    key: str | None = None
    room: RoomName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallParams:
    """What to look for."""

    query: Annotated[str, Param("Words, or their beginnings.", words=True)] = ""
    key: Annotated[str | None, Param("Exactly this key.")] = None
    room: Annotated[
        RoomName | None, Param("Only there.", brief="", means=Means.ROOM)
    ] = None
    limit: Annotated[
        int,
        Param("At most N.", "N", ge=1, le=MAX_RECALL_LIMIT, clamped=True, brief=""),
    ] = DEFAULT_RECALL_LIMIT
    embedding: list[float] | None = None
    """What is meant by it, as the model of those facts has it; 768 numbers."""


class Hit(RecallHit, kw_only=True):
    """A fact that was found.

    `name` is what a member of that room calls itself; an author that is no member any
    more has none.
    """

    fingerprint: str
    mine: bool
    name: Foreign | None = None


class RecallResult(Result):
    """Facts, the best match or the newest first."""

    hits: list[Hit]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetParams:
    """Which of our own facts to drop; with both, those that fit both."""

    text: Annotated[
        str | None, Param("Exactly this fact.", words=True, stdin="the fact")
    ] = None
    key: Annotated[str | None, Param("What is under it.")] = None
    room: Annotated[RoomName | None, Param("Default: active session.")] = None
    """Without one, what only we see."""


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
    frame = Remember(
        fact=fact,
        embedding=params.embedding,
        embedding_model=params.embedding_model,
    )
    kept = await ctx.client.request(frame, Remembered)
    return RememberResult(ok=kept.ok, key=key, room=params.room)


REMEMBER = Capability(
    run=remember,
    about="Remember a fact: for the session, a room, or yourself.",
    command="remember",
    example="""\
parler remember --key deploy "the strategy is blue-green"
parler remember --private - < notes.txt""",
    tool="parler_remember",
    call='{"key": "deploy", "text": "we deploy blue-green"}',
    hints=SETS,
    common=True,
    besides=[_PRIVATE],
)


async def recall(ctx: OpContext, params: RecallParams) -> RecallResult:
    """Find facts, by words or by key, in a room or in all we may see.

    Raises:
        UsageError: There is nothing to look for.
    """
    if not (params.key or params.query.strip() or params.embedding):
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
        embedding=params.embedding,
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
                name=foreign(ctx.identity.name)
                if hit.author == me
                else names.get(hit.author),
            )
            for hit in found.hits
        ]
    )


RECALL = Capability(
    run=recall,
    about="Find facts: your own, and those of all your rooms.",
    more="Facts are not signed: who wrote one is what the hub says.",
    command="recall",
    example="""\
parler recall deploy strategy
parler recall --key deploy""",
    tool="parler_recall",
    call='{"query": "deploy"}',
    hints=READS,
    common=True,
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


async def digest_of(ctx: OpContext, room: RoomName) -> Hit | None:
    """What a member wrote of a session for those who join later, if anybody did."""
    try:
        found = await recall(ctx, RecallParams(key=DIGEST_KEY, room=room, limit=1))
    except HubError:
        return None  # the session is there all the same
    return next(iter(found.hits), None)


FORGET = Capability(
    run=forget,
    about="Drop facts that you remembered; those of others stay.",
    command="forget",
    example="""\
parler forget --key deploy
parler forget --private "the exact text\"""",
    tool="parler_forget",
    call='{"key": "deploy"}',
    hints=Hints(destroys=True, repeatable=True),
    besides=[_PRIVATE],
)


async def _names(ctx: OpContext, rooms: set[RoomName]) -> dict[AgentId, Foreign]:
    """What the members of those rooms call themselves."""
    listed = await asyncio.gather(*(_members(ctx, room) for room in sorted(rooms)))
    return {agent: name for members in listed for agent, name in members.items()}


async def _members(ctx: OpContext, room: RoomName) -> dict[AgentId, Foreign]:
    try:
        entries = await entries_of(ctx, room)
    except HubError:
        return {}  # the room went away, or we did; the facts were found all the same
    return {entry.id: entry.name for entry in entries}
