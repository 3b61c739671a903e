"""Keys to rooms: minting, redeeming, knocking, approving (protocol 4, 14.5-14.7)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.caller import Caller
from hub.handlers.membership import Change, enter, tell_joined
from hub.handlers.rules import Admission
from hub.ids import room_name, session_key
from hub.services import Services
from hub.store import invites, members, messages, rooms
from hub.store.invites import Invite, Knock
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId, Code, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.joinkey import normalise_code
from parler.wire.limits import DEFAULT_INVITE_TTL_SECS, DEFAULT_INVITE_USES
from parler.wire.names import service_room, token
from parler.wire.records import JoinRequest, RoomKind
from parler.wire.replies import (
    Event,
    Invited,
    InviteList,
    InviteRevoked,
    Joined,
    JoinPending,
    JoinRequestList,
    JoinResolved,
)

MAX_LIVE_INVITES = 1000
"""Keys that open one room at a time."""

_PREFIXES = {RoomKind.CHANNEL: "room", RoomKind.DM: "dm", RoomKind.SERVICE: "svc"}
_UNKNOWN = "invalid or unknown invite code"  # clients look for these words (3.3)


async def invite(
    services: Services, caller: Caller, request: requests.Invite
) -> Invited:
    """Mint a key to a new room, or to one the caller is in (protocol 4.2)."""
    now = services.now()
    gated = rules.needs_approval(request.kind, request.require_approval)

    def mint(connection: sa.Connection) -> tuple[Room, Invite]:
        room = _existing(connection, request)
        if room is not None:
            member = messages.is_member(connection, room.id, caller.agent)
            if members.is_guest(connection, room.id, caller.agent):
                raise rules.not_owner("only workers of a service may make keys to it")
            rules.may_mint(room, caller.agent, member=member, gated=gated)
            live = invites.of_room(connection, room.id, room.kind, now=now)
            if len(live) >= MAX_LIVE_INVITES:
                raise Refusal(
                    ErrorCode.AT_CAPACITY, "too many live keys; revoke some first"
                )
        else:
            room = _create(services, connection, caller, request, now=now)
        minted = Invite(
            code=session_key(),
            room=room.id,
            max_uses=_uses(request),
            uses=0,
            expires=rules.expiry(request.ttl_secs, DEFAULT_INVITE_TTL_SECS, now=now),
            created_by=caller.agent,
            gated=gated,
        )
        invites.mint(connection, minted, now=now)
        return room, minted

    room, minted = await services.store.write("invite", mint)
    return Invited(
        code=foreign(minted.code),
        url=foreign(f"{services.public_url()}/join/{minted.code}"),
        room=room.name,
        kind=room.kind,
        expires_at=minted.expires,
    )


def _existing(connection: sa.Connection, request: requests.Invite) -> Room | None:
    # An exact name comes before any cleaning, so that an auto-named room can be
    # invited to again (protocol 14.7).
    if request.kind is RoomKind.DM or request.room is None:
        return None
    for name in (request.room, _clean(request.kind, request.room)):
        room = rooms.by_name(connection, name)
        if room is not None and room.kind is request.kind:
            return room
    return None


def _clean(kind: RoomKind, name: RoomName) -> RoomName:
    return service_room(name) if kind is RoomKind.SERVICE else RoomName(token(name))


def _create(
    services: Services,
    connection: sa.Connection,
    caller: Caller,
    request: requests.Invite,
    *,
    now: int,
) -> Room:
    check_room_quota(services, connection, caller.agent)
    if request.kind is RoomKind.DM or request.room is None:
        name = room_name(_PREFIXES[request.kind])
    else:
        name = _clean(request.kind, request.room)
    if rooms.by_name(connection, name) is not None:
        # Of another kind, or drawn twice: nobody gets into a room this way.
        raise Refusal(ErrorCode.NOT_MEMBER, "not a member of that room")
    room = rooms.create(
        connection,
        name,
        request.kind,
        owner=caller.agent,
        gated=rules.needs_approval(request.kind, request.require_approval),
        now=now,
    )
    members.add(connection, room.id, caller.agent, now=now)
    return room


def check_room_quota(
    services: Services, connection: sa.Connection, agent: AgentId
) -> None:
    """Refuse one more room than an agent may own (protocol 3.4).

    Raises:
        Refusal: It owns as many as it may.
    """
    if rooms.owned_by(connection, agent) >= services.settings.max_owned_rooms:
        raise Refusal(ErrorCode.AT_CAPACITY, "you own too many rooms; delete some")


def _uses(request: requests.Invite) -> int:
    if request.kind is RoomKind.DM:
        return 1
    return DEFAULT_INVITE_USES if request.max_uses is None else request.max_uses


@dataclass(frozen=True, slots=True)
class _Redeemed:
    room: Room
    admission: Admission | None
    """None for somebody who had been a member before."""

    change: Change | None = None
    """The new membership, if there is one."""


async def redeem(
    services: Services, caller: Caller, request: requests.Redeem
) -> Joined | JoinPending:
    """Enter with a key, or knock with it (protocol 4.3)."""
    now = services.now()
    code = normalise_code(request.code)

    def come_in(connection: sa.Connection) -> _Redeemed:
        key = invites.by_code(connection, code)
        room = rooms.by_id(connection, key.room) if key else None
        if key is None or room is None:
            raise rules.no_entry(_UNKNOWN)
        if messages.is_member(connection, room.id, caller.agent):
            return _Redeemed(room, None)
        knock = invites.knock_of(connection, room.id, caller.agent)
        admission = rules.admission(key, room, caller.agent, knock, now=now)
        if admission is not Admission.STILL_WAITING:
            invites.use(connection, key.code)
        if admission is Admission.KNOCK:
            invites.note_knock(
                connection, room.id, caller.agent, Knock.PENDING, now=now
            )
        if admission is not Admission.ENTER:
            return _Redeemed(room, admission)
        invites.forget_knock(connection, room.id, caller.agent)
        change = enter(services, connection, room, caller.agent, now=now)
        return _Redeemed(room, admission, change)

    if await _is_a_try(services, caller, code, now=now):
        services.limits.count_knock(caller.agent, caller.ip)
    done = await services.store.write(
        "redeem",
        come_in,
        after=lambda done: _tell_redeemed(services, caller, done, now),
    )
    if done.admission in (Admission.KNOCK, Admission.STILL_WAITING):
        return JoinPending(room=done.room.name)
    return Joined(room=done.room.name, kind=done.room.kind)


async def _is_a_try(
    services: Services, caller: Caller, code: Code, *, now: int
) -> bool:
    """Whether a redeem counts as a knock or a guess (protocol 14.6).

    Asking again about one's own pending knock is free: clients poll that way.
    """

    def look(connection: sa.Connection) -> bool:
        key = invites.by_code(connection, code)
        room = rooms.by_id(connection, key.room) if key else None
        if key is None or room is None:
            return True
        if messages.is_member(connection, room.id, caller.agent):
            return False
        knock = invites.knock_of(connection, room.id, caller.agent)
        try:
            admission = rules.admission(key, room, caller.agent, knock, now=now)
        except Refusal:
            return True
        return admission is Admission.KNOCK

    return await services.store.read("is a try", look)


def _tell_redeemed(
    services: Services, caller: Caller, done: _Redeemed, now: int
) -> None:
    if done.change is not None:
        tell_joined(services, done.change)
    if done.admission is Admission.KNOCK and done.room.owner is not None:
        event = Event(
            event="join_request",
            room=done.room.name,
            agent=caller.agent,
            name=caller.name,
            role=caller.role,
            requested_at=now,
        )
        services.notifier.tell(event, [done.room.owner])


async def join_requests(
    services: Services, caller: Caller, request: requests.JoinRequests
) -> JoinRequestList:
    """Who is knocking at a room of the caller."""

    def look(connection: sa.Connection) -> list[JoinRequest]:
        room = rules.must_own(rooms.by_name(connection, request.room), caller.agent)
        return invites.waiting(connection, room.id)

    found = await services.store.read("join requests", look)
    return JoinRequestList(room=request.room, requests=found)


async def resolve_join(
    services: Services, caller: Caller, request: requests.ResolveJoin
) -> JoinResolved:
    """Admit or reject somebody who knocked at a room of the caller."""
    now = services.now()
    if request.history not in (None, "all", "none"):
        raise Refusal(ErrorCode.BAD_FRAME, "history must be 'all' or 'none'")

    def resolve(connection: sa.Connection) -> Change | None:
        room = rules.must_own(rooms.by_name(connection, request.room), caller.agent)
        knock = invites.knock_of(connection, room.id, request.agent)
        if knock not in (Knock.PENDING, Knock.DENIED):
            raise Refusal(None, "nobody of that id is asking to join this room")
        if not request.approve:
            invites.note_knock(
                connection, room.id, request.agent, Knock.DENIED, now=now
            )
            return None
        floor = 0
        if request.history == "none":
            floor = messages.head(connection, room.id) or members.NO_MESSAGES_YET
        invites.forget_knock(connection, room.id, request.agent)
        return enter(
            services,
            connection,
            room,
            request.agent,
            now=now,
            floor=floor,
            approved=True,
        )

    def tell(change: Change | None) -> None:
        if change is not None:
            tell_joined(services, change)
        event = Event(
            event="join_resolved", room=request.room, approved=request.approve
        )
        services.notifier.tell(event, [request.agent])

    await services.store.write("resolve join", resolve, after=tell)
    return JoinResolved(
        room=request.room, agent=request.agent, approved=request.approve
    )


async def list_invites(
    services: Services, caller: Caller, request: requests.Invites
) -> InviteList:
    """The live keys of a room of the caller."""
    now = services.now()

    def look(connection: sa.Connection) -> InviteList:
        room = rules.must_own(rooms.by_name(connection, request.room), caller.agent)
        found = invites.of_room(connection, room.id, room.kind, now=now)
        return InviteList(room=room.name, invites=found)

    return await services.store.read("invites", look)


async def revoke_invite(
    services: Services, caller: Caller, request: requests.RevokeInvite
) -> InviteRevoked:
    """Make a key worthless: by the owner of the room, or by who minted it."""
    code = normalise_code(request.code)

    def revoke(connection: sa.Connection) -> None:
        key = invites.by_code(connection, code)
        room = rooms.by_id(connection, key.room) if key else None
        if key is None or room is None:
            raise rules.no_entry(_UNKNOWN)
        if caller.agent not in (room.owner, key.created_by):
            raise Refusal(
                ErrorCode.NOT_OWNER, "only the owner or its maker may revoke a key"
            )
        invites.revoke(connection, code)

    await services.store.write("revoke invite", revoke)
    return InviteRevoked(code=foreign(code))
