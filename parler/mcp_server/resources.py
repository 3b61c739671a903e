"""What prompts and resources hold: the newest of the active session."""

import json
from collections import deque

from parler.mcp_server.instructions import (
    BACKLOG_URI,
    CONSOLIDATE_PROMPT,
)
from parler.mcp_server.tools.common import digest_lines, fitting, transcript_of
from parler.ops.context import OpContext
from parler.ops.memory import DIGEST_KEY, DIGEST_START, digest_of
from parler.ops.message_view import ShownMessage, pages, shown
from parler.ops.rooms import roster
from parler.runtime.bootstrap import reader_of
from parler.runtime.entry import MAX_CHARS
from parler.text.terminal import clipped, counted, word
from parler.wire.base import RoomName

NEWEST = 100


async def resource_text(ctx: OpContext, uri: str) -> str:
    """What a resource holds now.

    Raises:
        UsageError: There is no active session.
    """
    room = ctx.room(None)
    if uri == BACKLOG_URI:
        return await _newest(ctx, room)
    result = await roster(ctx, room)
    members = [
        {
            "name": clipped(one.name),
            "role": clipped(one.role) if one.role else None,
            "fingerprint": one.fingerprint,
            "id": clipped(one.id),
            "status": clipped(one.status),
            "activity": clipped(one.activity) if one.activity else None,
        }
        for one in result.entries
    ]
    return json.dumps(
        {"room": clipped(room), "members": members}, ensure_ascii=False, indent=1
    )


async def prompt_text(ctx: OpContext, name: str) -> str:
    """What a prompt says now.

    Raises:
        UsageError: There is no active session.
    """
    room = ctx.room(None)
    members = (await roster(ctx, room)).entries
    said = await _newest(ctx, room)
    head = f"The Parler session {word(room)} has {counted(len(members), 'member')}."
    if name == CONSOLIDATE_PROMPT:
        task = (
            f"Write a digest of it for whoever joins later: goal, decisions, state, "
            f"open points. Then call parler_remember with room={word(room)}, "
            f"key={DIGEST_KEY} and a text that starts with {DIGEST_START}."
        )
    else:
        task = (
            "Take over from here: say what is done and what is next, then go on with "
            "it. parler_recv brings what is new, parler_send answers, parler_handoff "
            "hands the turn on."
        )
    found = await digest_of(ctx, room)
    digest = ["\n".join(digest_lines(found))] if found else []
    return "\n\n".join([head, task, *digest, f"The newest messages:\n{said}"])


async def _newest(ctx: OpContext, room: RoomName) -> str:
    kept: deque[ShownMessage] = deque(maxlen=NEWEST)
    async for batch in pages(ctx.client, room, since=0):
        kept.extend(shown(message) for message in batch.messages)
    texts = transcript_of(
        kept, reader_of(ctx.identity), now=ctx.now(), max_chars=MAX_CHARS
    )
    # Of more than fits, the newest.
    count = fitting(texts[::-1])
    return "\n".join(texts[len(texts) - count :]) or "nothing was said yet"
