"""Saying something, handing over the turn, and reading what is new."""

from collections import deque
from dataclasses import dataclass, field
from typing import Annotated

from parler.errors import HubError, UsageError
from parler.ops.attachments import blob_named
from parler.ops.capability import (
    MAX_U32,
    READS,
    SESSION,
    TARGET,
    Capability,
    Means,
    Param,
    Shown,
)
from parler.ops.context import OpContext, Result, check_texts
from parler.ops.lookback import (
    EVERYTHING,
    FROM,
    GREP,
    SINCE,
    Wanted,
    wanted_of,
)
from parler.ops.message_named import message_named, room_of
from parler.ops.message_view import (
    MAX_SHOWN_BYTES,
    MAX_SHOWN_MESSAGES,
    ShownMessage,
    pages,
    shown_all,
    size_of,
)
from parler.ops.rooms import end_of
from parler.wire.base import MessageId, RoomName
from parler.wire.limits import DEFAULT_PULL_LIMIT, MAX_PULL_LIMIT
from parler.wire.parts import HandoffPart, Part, TextPart
from parler.wire.records import DmTarget, Target

DEFAULT_HISTORY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SendParams:
    """What is said, and to whom."""

    text: Annotated[
        str, Param("What to say.", words=True, stdin="the message", brief="")
    ]
    target: Annotated[Target, TARGET]
    reply_to: Annotated[
        str | None,
        Param("The message answered: its number or id.", "ID", brief="Message id."),
    ] = None
    mentions: Annotated[
        list[str],
        Param("Whom it names.", "NAME", option="--mention", brief="Names."),
    ] = field(default_factory=list)
    client_id: str | None = None
    """Of an earlier attempt, so that the two are stored as one (protocol 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffParams:
    """Whose turn it is now, and for what."""

    next: Annotated[str, Param("What to do next.", "TEXT")]
    summary: Annotated[str | None, Param("What was done.", "TEXT")] = None
    to: Annotated[
        str | None, Param("A name or role; else anyone.", "WHO", name="for_")
    ] = None
    bundle: Annotated[
        str | None, Param("Code that belongs to it.", "BLOB", brief="Blob id of code.")
    ] = None
    target: Annotated[Target, TARGET]
    client_id: str | None = None
    """As that of `SendParams`."""


class SendResult(Result):
    """The message as stored."""

    id: MessageId
    seq: int
    room: RoomName


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveParams:
    """What is read.

    With `since` or `everything` the cursor has no say; otherwise reading starts at
    it, and our own messages are left out.
    """

    room: Annotated[RoomName, SESSION]
    since: Annotated[
        int | None,
        Param(
            "Read again what came after SEQ.",
            "SEQ",
            ge=0,
            brief="Read again, uncut, from after this number; 0: the start.",
        ),
    ] = None
    everything: Annotated[
        bool,
        Param("Read again everything from the start.", name="all_", on_tool=False),
    ] = False
    limit: Annotated[
        int | None,
        Param("At most N; with --all the newest.", "N", ge=1, le=MAX_U32, brief=""),
    ] = None


class ReceiveResult(Result):
    """Messages in order, and the position after them."""

    room: RoomName
    messages: list[ShownMessage]
    cursor: int


async def send(ctx: OpContext, params: SendParams) -> SendResult:
    """Say something; it is stored, with fsync, when this returns.

    Raises:
        UsageError: There is nothing to say.
    """
    if not params.text.strip():
        raise UsageError(
            "the message is empty", next_step="parler send TEXT, or parler send -"
        )
    return await _send(
        ctx,
        params.target,
        [TextPart(text=params.text)],
        mentions=params.mentions,
        reply_to=await _answered(ctx, params),
        client_id=params.client_id,
    )


async def _answered(ctx: OpContext, params: SendParams) -> MessageId | None:
    if not (params.reply_to or "").strip():
        return None
    check_texts(reply_to=params.reply_to)
    room = room_of(params.target)
    return (await message_named(ctx, params.reply_to or "", room)).id


SEND = Capability(
    run=send,
    about="Say something in the session, a room, or to one agent.",
    more="With --role it is a task that exactly one free worker of that role takes. "
    "When send returns, the hub has stored the message durably.",
    command="send",
    example="""\
parler send "all tests pass"
parler send --role review "review PR 42"
git diff | parler send -""",
    tool="parler_send",
    call='{"text": "tests pass", "to": "webdev"}',
    common=True,
    besides=[Shown("role", str | None, None, Param("Work for one free worker of it."))],
)


async def handoff(ctx: OpContext, params: HandoffParams) -> SendResult:
    """Hand the turn to a name or role, or to anyone.

    Raises:
        UsageError: The next step is empty.
    """
    if not params.next.strip():
        raise UsageError(
            "a handoff needs a next step", next_step='parler handoff --next "…"'
        )
    to = (params.to or "").strip() or None
    bundle = None
    if params.bundle:
        where = room_of(params.target)
        bundle = await blob_named(ctx, params.bundle, where, next_step="parler bundles")
    part = HandoffPart(
        next=params.next,
        summary=params.summary,
        to=to,
        bundle=bundle,
    )
    return await _send(
        ctx,
        params.target,
        [part],
        mentions=[to] if to else [],
        client_id=params.client_id,
    )


HANDOFF = Capability(
    run=handoff,
    about="Hand the turn over; who is meant is shown HANDOFF TO YOU.",
    command="handoff",
    example='parler handoff --for webdev --summary "API done" --next "build the page"',
    tool="parler_handoff",
    brief="Hand the turn to another agent, which is told what to do next.",
    call='{"for": "webdev", "summary": "API done", "next": "build the page"}',
    common=True,
)


async def receive(ctx: OpContext, params: ReceiveParams) -> ReceiveResult:
    """Read, without moving the cursor: acknowledge `cursor` once it was shown.

    What does not fit within the bounds of one answer stays unread on the hub.

    Raises:
        UsageError: It is a stranger's direct message, and a model would read it.
    """
    await ctx.require_accepted(params.room)
    if params.since is not None or params.everything:
        return await _history(ctx, params)
    return await _news(ctx, params)


RECEIVE = Capability(
    run=receive,
    about="Show what is new, and count it as read once it was shown.",
    more="Our own messages are left out. --since and --all show them as well and only "
    "look: nothing counts as read by them. With --json, --watch prints one object per "
    "line.",
    command="recv",
    example="""\
parler recv
parler recv --watch""",
    tool="parler_recv",
    brief="Messages of other agents: what is new, or what was said before. It can "
    "wait for an answer.",
    call='{"wait_secs": 60}',
    common=True,
)


async def history(
    ctx: OpContext,
    room: Annotated[
        RoomName,
        Param(
            "Which; its topic will do. Default: active session.",
            "ROOM",
            positional=True,
            means=Means.SESSION,
        ),
    ],
    *,
    limit: Annotated[
        int, Param("The last N messages.", "N", option="--number -n", ge=1, le=MAX_U32)
    ] = DEFAULT_HISTORY,
    grep: Annotated[str | None, GREP] = None,
    from_: Annotated[str | None, FROM] = None,
    since: Annotated[str | None, SINCE] = None,
    before: Annotated[
        int | None, Param("Only what came before this number.", "SEQ", ge=1)
    ] = None,
) -> ReceiveResult:
    """What was said last in a room; nothing counts as read by it.

    Raises:
        UsageError: It is a stranger's direct message, and a model would read it; or
            `since` is no time.
    """
    await ctx.require_accepted(room)
    wanted = wanted_of(grep, from_, since, now=ctx.now())
    if wanted != EVERYTHING:
        found = await _last(ctx, room, limit, since=0, before=before, wanted=wanted)
        cursor = found[-1].seq if found else 0
        return ReceiveResult(room=room, messages=found, cursor=cursor)
    end = before - 1 if before else await end_of(ctx, room)
    start = max(0, end - limit)
    found = await _last(ctx, room, limit, since=start, before=before)
    if len(found) < limit and start:  # some numbers are gone
        found = await _last(ctx, room, limit, since=0, before=before)
    cursor = found[-1].seq if found else 0
    return ReceiveResult(room=room, messages=found, cursor=cursor)


HISTORY = Capability(
    run=history,
    about="Show what was said last in a room, newest at the end.",
    more="It only looks: nothing counts as read by it.",
    command="history",
    example="""\
parler history
parler history "flaky login" --export login.jsonl
parler history room.abc234 -n 50
parler history --from webdev --since 2h --grep deploy""",
    hints=READS,
    no_tool="parler_recv reads again with since",
)


async def _last(
    ctx: OpContext,
    room: RoomName,
    limit: int,
    *,
    since: int,
    before: int | None = None,
    wanted: Wanted = EVERYTHING,
) -> list[ShownMessage]:
    found: deque[ShownMessage] = deque(maxlen=limit)
    async for batch in pages(ctx.client, room, since=since):
        earlier = [one for one in batch.messages if not before or one.seq < before]
        found.extend(filter(wanted.has, shown_all(earlier)))
        if len(earlier) < len(batch.messages):
            break
    return list(found)


async def _news(ctx: OpContext, params: ReceiveParams) -> ReceiveResult:
    limit = min(params.limit or MAX_SHOWN_MESSAGES, MAX_SHOWN_MESSAGES)
    first = await ctx.client.pull(
        params.room, limit=min(limit, DEFAULT_PULL_LIMIT), ack=0
    )
    found, cursor = shown_all(first.messages), first.cursor
    if found:
        rest = pages(ctx.client, params.room, since=cursor, limit=limit)
        while len(found) < limit and sum(map(size_of, found)) < MAX_SHOWN_BYTES:
            batch = await anext(rest, None)
            if batch is None:
                break
            taken = batch.messages[: limit - len(found)]
            found += shown_all(taken)
            cursor = taken[-1].seq
        await rest.aclose()
    me = ctx.client.agent_id
    return ReceiveResult(
        room=params.room,
        messages=[message for message in found if message.author.id != me],
        cursor=cursor,
    )


async def _history(ctx: OpContext, params: ReceiveParams) -> ReceiveResult:
    since = 0 if params.everything else params.since or 0
    limit = params.limit
    if params.everything and limit is not None:
        newest = await _last(ctx, params.room, limit, since=0)
        cursor = newest[-1].seq if newest else 0
        return ReceiveResult(room=params.room, messages=newest, cursor=cursor)
    if limit is None and not params.everything:
        limit = MAX_SHOWN_MESSAGES
    found: list[ShownMessage] = []
    page = min(limit or MAX_PULL_LIMIT, MAX_PULL_LIMIT)
    async for batch in pages(ctx.client, params.room, since=since, limit=page):
        found += shown_all(batch.messages)
        if limit is not None and len(found) >= limit:
            del found[limit:]
            break
    cursor = found[-1].seq if found else since
    return ReceiveResult(room=params.room, messages=found, cursor=cursor)


async def _send(
    ctx: OpContext,
    target: Target,
    parts: list[Part],
    *,
    mentions: list[str],
    reply_to: str | None = None,
    client_id: str | None = None,
) -> SendResult:
    try:
        sent = await ctx.client.send(
            target, parts, mentions=mentions, reply_to=reply_to, client_id=client_id
        )
    except UnicodeEncodeError:
        raise UsageError("the text is not valid UTF-8") from None
    except HubError as refused:
        if isinstance(target, DmTarget) and refused.hub_code is None:
            # An agent without a card is written to by nobody who has not yet (5.2).
            refused.next_step = (
                "ask it to run parler register, which gives it a card; or speak where "
                "you are both: parler send --room ROOM --mention NAME"
            )
        raise
    ctx.wrote_in(sent.room)
    return SendResult(id=sent.id, seq=sent.seq, room=sent.room)
