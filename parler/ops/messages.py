"""Saying something, handing over the turn, and reading what is new."""

from dataclasses import dataclass, field

from parler.errors import UsageError
from parler.ops.context import OpContext, Result
from parler.ops.message_view import (
    MAX_SHOWN_BYTES,
    MAX_SHOWN_MESSAGES,
    ShownMessage,
    pages,
    shown_all,
    size_of,
)
from parler.wire.base import Digest, MessageId, RoomName
from parler.wire.limits import DEFAULT_PULL_LIMIT, MAX_PULL_LIMIT
from parler.wire.parts import HandoffPart, Part, TextPart
from parler.wire.records import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SendParams:
    """What is said, and to whom."""

    target: Target
    text: str
    reply_to: str | None = None
    mentions: list[str] = field(default_factory=list)
    client_id: str | None = None
    """Of an earlier attempt, so that the two are stored as one (protocol 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffParams:
    """Whose turn it is now, and for what."""

    target: Target
    next: str
    summary: str | None = None
    to: str | None = None
    bundle: str | None = None
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

    room: RoomName
    since: int | None = None
    everything: bool = False
    limit: int | None = None


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
        reply_to=params.reply_to,
        client_id=params.client_id,
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
    part = HandoffPart(
        next=params.next,
        summary=params.summary,
        to=to,
        bundle=Digest(params.bundle) if params.bundle else None,
    )
    return await _send(
        ctx,
        params.target,
        [part],
        mentions=[to] if to else [],
        client_id=params.client_id,
    )


async def receive(ctx: OpContext, params: ReceiveParams) -> ReceiveResult:
    """Read, without moving the cursor: acknowledge `cursor` once it was shown.

    What does not fit within the bounds of one answer stays unread on the hub.
    """
    if params.since is not None or params.everything:
        return await _history(ctx, params)
    return await _news(ctx, params)


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
    return SendResult(id=sent.id, seq=sent.seq, room=sent.room)
