"""Staying in a room: what is said, who knocks, and whether the hub is there.

Ends only by an error, by cancellation, or when its audience is gone.
"""

import asyncio
from contextlib import suppress
from typing import Protocol

from parler.client.client import Batch, Delivery, Event
from parler.errors import HubError, HubRefused, ParlerError, TransportError
from parler.ops.admission import Knock, join_requests
from parler.ops.context import OpContext
from parler.ops.message_view import shown_all
from parler.ops.messages import ReceiveResult
from parler.wire.base import RoomName
from parler.wire.codes import Feature

GLANCE_SECS = 0.25
"""How often the connection and the audience are looked at."""

KNOCK_SECS = 10.0
"""How often an owner asks for knocks at a hub that does not announce them."""

LAST_ACK_SECS = 2.0


class Audience(Protocol):
    """Who watches. Whatever a method raises ends the watch."""

    def hear(self, news: ReceiveResult) -> None:
        """Show messages. They count as read when this returns."""

    def knocked(self, who: Knock) -> None:
        """Show that somebody waits at the door."""

    def admitted(self, who: Knock) -> None:
        """Show that somebody was let in, as was decided beforehand."""

    def hub_down(self) -> None:
        """Show that the connection is gone."""

    def hub_back(self) -> None:
        """Show that it is there again."""

    def still_there(self) -> None:
        """Raise if nobody listens any more."""


async def watch(ctx: OpContext, room: RoomName, audience: Audience) -> None:
    """Show a room as it goes on, from the cursor; our own messages are left out.

    A message is acknowledged only after it was shown, and shown once even where the
    acknowledgement got lost with a connection.

    Raises:
        ExceptionGroup: With the `ParlerError` or what the audience raised.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_hear(ctx, room, audience))
        tasks.create_task(_mind_the_door(ctx, room, audience))
        tasks.create_task(_glance(ctx, audience))


async def _hear(ctx: OpContext, room: RoomName, audience: Audience) -> None:
    shown_up_to = -1
    async for batch in ctx.client.follow(room):
        news = _news(ctx, batch, after=shown_up_to)
        if news.messages:
            audience.hear(news)
        shown_up_to = max(shown_up_to, batch.cursor)
        try:
            await _acknowledged(batch)
        except TransportError:
            continue  # it comes again, and is acknowledged then


async def _acknowledged(batch: Batch) -> None:
    """Who ends the watch has seen what it shows: the hub is told that still."""
    try:
        await batch.ack()
    except asyncio.CancelledError:
        with suppress(ParlerError, TimeoutError):
            async with asyncio.timeout(LAST_ACK_SECS):
                await batch.ack()
        raise


def _news(ctx: OpContext, batch: Batch, *, after: int) -> ReceiveResult:
    new = [
        message
        for message in batch.messages
        if message.seq > after and message.author.id != ctx.client.agent_id
    ]
    return ReceiveResult(room=batch.room, messages=shown_all(new), cursor=batch.cursor)


async def _mind_the_door(ctx: OpContext, room: RoomName, audience: Audience) -> None:
    """Announce knocks if the room is ours, and admit whom the owner named before."""
    announced: set[tuple[str, int]] = set()
    if not await _look_outside(ctx, room, audience, announced):
        return
    if Feature.EVENTS not in ctx.client.features:
        while True:
            await asyncio.sleep(KNOCK_SECS)
            await _look_outside(ctx, room, audience, announced)
    await ctx.client.subscribe(["join_request"])
    await _look_outside(ctx, room, audience, announced)
    async for note in ctx.client.notifications():
        # Anything but these may stand for a missed knock (protocol 14.3).
        if isinstance(note, Delivery):
            continue
        if isinstance(note, Event) and note.event != "join_request":
            continue
        await _look_outside(ctx, room, audience, announced)


async def _look_outside(
    ctx: OpContext,
    room: RoomName,
    audience: Audience,
    announced: set[tuple[str, int]],
) -> bool:
    """Whether the door is ours to mind."""
    try:
        result = await join_requests(ctx, room)
    except HubRefused:
        return False
    except (TransportError, HubError):
        return True
    for one in result.admitted:
        audience.admitted(one)
    knocks = {(one.agent, one.requested_at): one for one in result.requests}
    for key, one in knocks.items():
        if key not in announced:
            audience.knocked(one)
    announced.intersection_update(knocks)
    announced.update(knocks)
    return True


async def _glance(ctx: OpContext, audience: Audience) -> None:
    up = True
    while True:
        await asyncio.sleep(GLANCE_SECS)
        audience.still_there()
        if ctx.client.connected is not up:
            up = ctx.client.connected
            (audience.hub_back if up else audience.hub_down)()
