"""Keys to rooms: minting, listing, revoking."""

from dataclasses import dataclass
from typing import Annotated

from parler.errors import UsageError
from parler.ops.capability import MAX_U32, SESSION, Capability, Param
from parler.ops.context import OpContext, Result, minted
from parler.ops.sealing import is_sealed, portable, rooms_of_key, sealed_room
from parler.text.terminal import shell_word
from parler.wire.base import Code, Millis, RoomName
from parler.wire.limits import DEFAULT_INVITE_TTL_SECS, MAX_TTL_SECS
from parler.wire.names import token
from parler.wire.records import InviteInfo, RoomKind
from parler.wire.replies import (
    Invited,
    InviteList,
    InviteRevoked,
    RoomDeleted,
    RoomList,
)
from parler.wire.requests import DeleteRoom, Invite, Invites, RevokeInvite, Rooms

KEY_TTL = Param(
    "How long the key works.",
    "SECS",
    option="--ttl",
    ge=1,
    le=MAX_TTL_SECS,
    clamped=True,
    brief="",
)
KEY_USES = Param("How often it works.", "N", ge=1, le=MAX_U32, brief="")


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteParams:
    """A key to what."""

    kind: Annotated[RoomKind, Param(on_cli=False)] = RoomKind.DM
    name: Annotated[str | None, Param("Of the channel or service.", on_cli=False)] = (
        None
    )
    require_approval: Annotated[bool, Param("Whoever redeems it waits for you.")] = (
        False
    )
    ttl_secs: Annotated[int, KEY_TTL] = DEFAULT_INVITE_TTL_SECS
    max_uses: Annotated[int | None, KEY_USES] = None


class InviteResult(Result):
    """A key and what it opens."""

    code: str
    portable: str
    room: RoomName
    kind: RoomKind
    expires_at: Millis
    sealed: bool = False
    """Its members read the room, and its hub does not."""


class InvitesResult(Result):
    """The live keys of a room."""

    room: RoomName
    invites: list[InviteInfo]


class RevokeResult(Result):
    """The key that opens nothing any more."""

    code: str


async def invite(ctx: OpContext, params: InviteParams) -> InviteResult:
    """Mint a key to a new or an existing room.

    Raises:
        UsageError: A model wants a key past the question that its user is asked, or
            the hub takes the name of an existing room for that of another.
    """
    if not params.require_approval and params.name:
        asks = ctx.known_rooms.is_gated(ctx.hub, params.name)
        if params.kind is RoomKind.CHANNEL and asks and ctx.for_model():
            raise UsageError(
                f"whoever comes into {params.name} is let in by your user, and a key "
                "without that is for your user to decide; require_approval makes one "
                "that asks",
                next_step=f"parler invite --group {shell_word(params.name)}",
            )
    unclean = params.name is not None and token(params.name) != params.name
    before = await _rooms_of(ctx) if unclean else set()
    invited = await ctx.client.request(
        Invite(
            kind=params.kind,
            room=RoomName(params.name) if params.name else None,
            ttl_secs=params.ttl_secs,
            max_uses=params.max_uses,
            require_approval=params.require_approval,
        ),
        Invited,
    )
    if params.name in before and invited.room != params.name:
        if invited.room not in before:
            await ctx.client.request(DeleteRoom(room=invited.room), RoomDeleted)
        raise UsageError(
            f"this hub makes no further key to {params.name}: its name is one that the "
            "hub gave, and cannot be asked for there",
            next_step="use the key made at first, or parler session open",
        )
    code = minted(invited.code)
    ctx.known_rooms.remember(ctx.hub, invited.room, is_open=not params.require_approval)
    sealed, secret = is_sealed(ctx, invited.room), None
    if sealed:
        room = sealed_room(ctx, invited.room)
        secret = await room.invite(Code(code), invited.expires_at)
    return InviteResult(
        code=code,
        sealed=sealed,
        portable=portable(ctx, code, secret),
        room=invited.room,
        kind=invited.kind,
        expires_at=invited.expires_at,
    )


async def _rooms_of(ctx: OpContext) -> set[str]:
    return {one.name for one in (await ctx.client.request(Rooms(), RoomList)).rooms}


INVITE = Capability(
    run=invite,
    about="Make a key to a channel, a service or a direct room.",
    command="invite",
    example="parler invite --group backend --require-approval",
    tool="parler_invite",
    call='{"kind": "channel", "name": "backend"}',
)


async def invites(ctx: OpContext, room: Annotated[RoomName, SESSION]) -> InvitesResult:
    """List the live keys of a room of ours."""
    listed = await ctx.client.request(Invites(room=room), InviteList)
    return InvitesResult(room=room, invites=listed.invites)


INVITES = Capability(
    run=invites,
    about="List the live keys to a room of yours.",
    command="invites",
    no_tool="which keys stay good is for a person to look after",
)


async def revoke(
    ctx: OpContext,
    code: Annotated[Code, Param("KEY or KEY@HUB.", "KEY", name="key", positional=True)],
) -> RevokeResult:
    """Make a key worthless; who is in already stays in.

    Of a sealed room first what shows that somebody was given it.
    """
    for sealed in rooms_of_key(ctx, code):
        await sealed.revoke(code)
    await ctx.client.request(RevokeInvite(code=code), InviteRevoked)
    return RevokeResult(code=code)


REVOKE = Capability(
    run=revoke,
    about="Make a key worthless; who is in stays in.",
    command="revoke",
    example="parler revoke KEY",
    no_tool="which keys stay good is for a person to look after",
)
