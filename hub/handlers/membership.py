"""Memberships that begin and end, and who hears of it (protocol 14.3, 14.5)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.caller import Caller
from hub.services import Services
from hub.store import admission, agents, invites, members, messages
from hub.store import rooms as stored
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.records import RoomKind
from parler.wire.replies import Event, Left, MemberRemoved


@dataclass(frozen=True, slots=True)
class Change:
    """A membership that began or ended, as its transaction saw it."""

    room: Room
    agent: AgentId
    name: str
    others: list[AgentId]
    """The members after it, but guests of a service."""

    guest: bool = False


def enter(
    services: Services,
    connection: sa.Connection,
    room: Room,
    agent: AgentId,
    *,
    now: int,
    floor: int | None = None,
    approved: bool = False,
) -> Change:
    """Make an agent a member, inside a transaction; see `members.add`."""
    members.add(connection, room.id, agent, now=now, floor=floor, approved=approved)
    if room.kind is RoomKind.SERVICE:
        admission.apply_rule(
            connection,
            on=services.settings.owners_admit,
            room=room.id,
            agent=agent,
        )
    return _changed(connection, room, agent)


def _changed(connection: sa.Connection, room: Room, agent: AgentId) -> Change:
    return Change(
        room,
        agent,
        name=agents.name_of(connection, agent) or "",
        others=members.who_see_all(connection, room.id),
        guest=members.is_guest(connection, room.id, agent),
    )


def tell_joined(services: Services, change: Change) -> None:
    """Apply a new membership that was committed, and let the members hear of it."""
    services.rooms.joined(change.room, change.agent, guest=change.guest)
    _tell(services, change, "joined")


def _tell_gone(services: Services, change: Change, how: str) -> None:
    services.rooms.left(change.room, change.agent)
    services.notifier.wake(change.room.name)  # its parked pulls look again
    services.rights.ended([change.agent])  # and so do its downloads
    _tell(services, change, how)


def _tell(services: Services, change: Change, how: str) -> None:
    event = Event(
        event="member",
        room=change.room.name,
        agent=change.agent,
        name=foreign(change.name),
        change=how,
    )
    services.notifier.tell(event, {*change.others, change.agent})


async def leave(services: Services, caller: Caller, request: requests.Leave) -> Left:
    """Stop being a member; the owner of a room stays its owner."""

    def end(connection: sa.Connection) -> Change:
        room = stored.by_name(connection, request.room)
        if room is None or not members.remove(connection, room.id, caller.agent):
            raise messages.not_member()
        return _changed(connection, room, caller.agent)

    await services.store.write(
        "leave", end, after=lambda change: _tell_gone(services, change, "left")
    )
    return Left(room=request.room)


async def remove_member(
    services: Services, caller: Caller, request: requests.RemoveMember
) -> MemberRemoved:
    """Put somebody out of a room of the caller, with all keys that one made to it.

    It has to knock to come back.
    """
    now = services.now()

    def end(connection: sa.Connection) -> Change:
        room = rules.must_own(stored.by_name(connection, request.room), caller.agent)
        if request.agent == caller.agent:
            raise Refusal(
                ErrorCode.NOT_AUTHORIZED, "the owner cannot be removed; use leave"
            )
        if not members.remove(connection, room.id, request.agent):
            raise Refusal(ErrorCode.NOT_MEMBER, "that agent is not a member")
        invites.revoke_of(connection, room.id, request.agent)
        invites.note_knock(
            connection, room.id, request.agent, invites.Knock.REMOVED, now=now
        )
        return _changed(connection, room, request.agent)

    await services.store.write(
        "remove member",
        end,
        after=lambda change: _tell_gone(services, change, "removed"),
    )
    return MemberRemoved(room=request.room, agent=request.agent)
