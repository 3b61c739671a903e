"""Memberships that begin and end, and who hears of it (protocol 14.3, 14.5)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.caller import Caller
from hub.services import Services
from hub.store import agents, invites, members, messages
from hub.store import rooms as stored
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.replies import Event, Left, MemberRemoved


@dataclass(frozen=True, slots=True)
class Change:
    """A membership that began or ended, as its transaction saw it."""

    room: Room
    agent: AgentId
    name: str
    everybody: list[AgentId]
    """The members after it."""


def changed(connection: sa.Connection, room: Room, agent: AgentId) -> Change:
    """Note, inside its transaction, what the others are to hear."""
    name = agents.name_of(connection, agent) or ""
    return Change(room, agent, name, members.of_room(connection, room.id))


def tell_joined(services: Services, change: Change) -> None:
    """Apply a new membership that was committed, and let the members hear of it."""
    services.rooms.joined(change.room, change.agent)
    _tell(services, change, "joined", change.everybody)


def _tell_gone(services: Services, change: Change, how: str) -> None:
    services.rooms.left(change.room, change.agent)
    services.notifier.wake(change.room.name)  # its parked pulls look again
    services.rights.ended([change.agent])  # and so do its downloads
    _tell(services, change, how, [*change.everybody, change.agent])


def _tell(services: Services, change: Change, how: str, to: list[AgentId]) -> None:
    event = Event(
        event="member",
        room=change.room.name,
        agent=change.agent,
        name=change.name,
        change=how,
    )
    services.notifier.tell(event, to)


async def leave(services: Services, caller: Caller, request: requests.Leave) -> Left:
    """Stop being a member; the owner of a room stays its owner."""

    def end(connection: sa.Connection) -> Change:
        room = stored.by_name(connection, request.room)
        if room is None or not members.remove(connection, room.id, caller.agent):
            raise messages.not_member()
        return changed(connection, room, caller.agent)

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
        return changed(connection, room, request.agent)

    await services.store.write(
        "remove member",
        end,
        after=lambda change: _tell_gone(services, change, "removed"),
    )
    return MemberRemoved(room=request.room, agent=request.agent)
