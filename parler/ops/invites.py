"""Keys to rooms: minting, listing, revoking."""

from dataclasses import dataclass

from parler.ops.context import OpContext, Result
from parler.wire.base import Code, Millis, RoomName
from parler.wire.limits import DEFAULT_INVITE_TTL_SECS
from parler.wire.records import InviteInfo, RoomKind
from parler.wire.replies import Invited, InviteList, InviteRevoked
from parler.wire.requests import Invite, Invites, RevokeInvite


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteParams:
    """A key to what."""

    kind: RoomKind
    name: str | None = None
    ttl_secs: int = DEFAULT_INVITE_TTL_SECS
    max_uses: int | None = None
    require_approval: bool = False


class InviteResult(Result):
    """A key and what it opens."""

    code: str
    portable: str
    room: RoomName
    kind: RoomKind
    expires_at: Millis


class InvitesResult(Result):
    """The live keys of a room."""

    room: RoomName
    invites: list[InviteInfo]


class RevokeResult(Result):
    """The key that opens nothing any more."""

    code: str


async def invite(ctx: OpContext, params: InviteParams) -> InviteResult:
    """Mint a key to a new or an existing room."""
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
    ctx.known_rooms.remember(ctx.hub, invited.room)
    return InviteResult(
        code=invited.code,
        portable=ctx.portable(invited.code),
        room=invited.room,
        kind=invited.kind,
        expires_at=invited.expires_at,
    )


async def invites(ctx: OpContext, room: RoomName) -> InvitesResult:
    """List the live keys of a room of ours."""
    listed = await ctx.client.request(Invites(room=room), InviteList)
    return InvitesResult(room=room, invites=listed.invites)


async def revoke(ctx: OpContext, code: Code) -> RevokeResult:
    """Make a key worthless; who is in already stays in."""
    await ctx.client.request(RevokeInvite(code=code), InviteRevoked)
    return RevokeResult(code=code)
