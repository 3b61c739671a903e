"""Letting a phone act for the person: a code, one phone, and a yes at the terminal.

The code opens a direct room that lets in one agent once, so of two phones that
photograph it one gets further; which one, the person sees by comparing six digits.
"""

import asyncio
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from parler.errors import ParlerError, UsageError
from parler.identity.devices import Device, Devices
from parler.ops.context import OpContext
from parler.text.terminal import shown_name
from parler.ui.remote import SECRET_BYTES, Line, Pair
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import Feature
from parler.wire.foreign import exact
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import Invited, RoomDeleted
from parler.wire.requests import DeleteRoom, Invite
from parler.wire.urls import dial_url

CODE_SECS = 600
"""How long a code is good."""

_WAIT_SECS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What is shown to be photographed."""

    url: str
    room: RoomName
    secret: bytes


def page_of(hub: str) -> str:
    """Where a hub has the phone's page.

    Raises:
        UsageError: A phone reaches it only without TLS, which no browser allows.
    """
    parts = urlsplit(dial_url(hub))
    if parts.scheme != "wss":
        raise UsageError(
            f"a phone needs a hub with TLS (wss://…), and {hub} has none: "
            "docs/deploy.md says how to give one a certificate",
            next_step="parler use wss://HUB, then parler ui --phone",
        )
    path = parts.path.removesuffix("/ws") + "/phone"
    return urlunsplit(("https", parts.netloc, path, "", ""))


async def make_code(ctx: OpContext, join_secret: str | None, page: str | None) -> Code:
    """A code that lets in one phone.

    Args:
        page: The address of the page, if that is not the hub's.

    Raises:
        UsageError: The hub has no TLS, or no such page.
        ParlerError: The hub makes no room.
    """
    own_page = page_of(ctx.hub)
    if page is None and Feature.PHONE not in ctx.client.features:
        raise UsageError(
            f"the hub {ctx.hub} has no page for phones",
            next_step="parler ui --phone --phone-page URL takes it from elsewhere",
        )
    secret = secrets.token_bytes(SECRET_BYTES)
    made = await ctx.client.request(
        Invite(kind=RoomKind.DM, ttl_secs=CODE_SECS), Invited
    )
    fields = [
        _text(secret),
        exact(made.code),
        ctx.client.agent_id,
        _text((join_secret or "").encode()),
        _text(dial_url(ctx.hub).encode()) if page else "",
    ]
    url = f"{page or own_page}#{'.'.join(fields)}"
    return Code(url=url, room=made.room, secret=secret)


async def pair(
    ctx: OpContext,
    devices: Devices,
    code: Code,
    agrees: Callable[[str, str], Awaitable[bool]],
) -> Device | None:
    """Wait for the phone, and have the person compare; None if the person says no.

    Whatever ends it otherwise, the room of the code is gone.

    Args:
        agrees: Given the name that the phone has for itself, and the six digits.

    Raises:
        UsageError: No phone came in time, or there are too many.
        ParlerError: The hub is not reached.
    """
    device = None
    try:
        try:
            async with asyncio.timeout(CODE_SECS):
                line, counter, wanted, seq = await _first(ctx, code)
        except TimeoutError:
            raise UsageError(
                "no phone came in time", next_step="parler ui --phone"
            ) from None
        name = shown_name(wanted.name)
        if await agrees(name, line.comparison):
            device = await asyncio.to_thread(
                devices.add,
                Device(
                    name=name,
                    id=line.phone,
                    hub=ctx.hub,
                    room=code.room,
                    secret=code.secret,
                    since=ctx.now(),
                    seq=seq,
                    heard=counter,
                    sent=1,
                ),
            )
            ctx.known_rooms.remember(ctx.hub, code.room)
        part = line.say(1, {"paired": device is not None})
        with suppress(ParlerError):  # it asks again
            await ctx.client.send(RoomTarget(room=code.room), [part])
        return device
    finally:
        if device is None:
            with suppress(ParlerError):
                await end_room(ctx, code.room)


async def _first(ctx: OpContext, code: Code) -> tuple[Line, int, Pair, int]:
    """The first phone that has the secret."""
    me: AgentId = ctx.client.agent_id
    seq = 0
    while True:
        batch = await ctx.client.pull(code.room, wait_secs=_WAIT_SECS, ack=seq)
        for message in batch.messages:
            seq = message.seq
            line = Line(code.secret, code.room, message.author.id, me)
            heard = line.hear(message)
            if heard and isinstance(heard[1], Pair):
                return line, heard[0], heard[1], seq


async def end_room(ctx: OpContext, room: RoomName) -> None:
    """Have nothing left of a phone's room at its hub.

    Raises:
        ParlerError: The hub refuses, or is not reached.
    """
    await ctx.client.request(DeleteRoom(room=room), RoomDeleted)
    ctx.known_rooms.forget(ctx.hub, room)


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
