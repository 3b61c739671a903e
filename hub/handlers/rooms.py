"""The caller's rooms: listing, roster, deletion (protocol 4.5, 4.6)."""

import contextlib

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.blobs import drop_useless
from hub.handlers.caller import Caller
from hub.handlers.memory import drop_facts
from hub.services import Services
from hub.store import admission, agents, members, messages
from hub.store import receipts as stored_receipts
from hub.store import rooms as stored
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId
from parler.wire.records import RosterEntry
from parler.wire.replies import Event, ReceiptList, RoomDeleted, RoomList, RosterList


async def list_rooms(
    services: Services, caller: Caller, request: requests.Rooms
) -> RoomList:
    """All rooms of the caller with what it has not read."""
    found = await services.store.read(
        "rooms", lambda connection: stored.of_agent(connection, caller.agent)
    )
    return RoomList(rooms=found)


async def roster(
    services: Services, caller: Caller, request: requests.Roster
) -> RosterList:
    """The members of a room of the caller."""
    now = services.now()

    def read(connection: sa.Connection) -> list[RosterEntry]:
        member = messages.member(connection, request.room, caller.agent)
        shown = agents.EVERYBODY
        if member.guest:
            known = admission.may_ask(connection, member.room, caller.agent)
            shown = members.seen_by_guest(caller.agent, known=known)
        return agents.roster(
            connection, member.room, online=services.online, now=now, shown=shown
        )

    entries = await services.store.read("roster", read)
    return RosterList(room=request.room, entries=entries)


async def receipts(
    services: Services, caller: Caller, request: requests.Receipts
) -> ReceiptList:
    """How far a message got with each member (protocol 14.4)."""
    with contextlib.suppress(Refusal):  # a full disk keeps nobody from reading
        await services.receipts.flush()
    found = await services.store.read(
        "receipts",
        lambda connection: stored_receipts.receipts(
            connection, request.room, request.seq, asked_by=caller.agent
        ),
    )
    return ReceiptList(room=request.room, seq=request.seq, members=found)


async def delete_room(
    services: Services, caller: Caller, request: requests.DeleteRoom
) -> RoomDeleted:
    """Delete a room of the caller with everything in it."""

    def delete(connection: sa.Connection) -> tuple[Room, list[AgentId], bool]:
        room = rules.must_own(stored.by_name(connection, request.room), caller.agent)
        everybody = members.of_room(connection, room.id)
        return room, everybody, stored.delete(connection, room.id)

    def tell(deleted: tuple[Room, list[AgentId], bool]) -> None:
        room, everybody, _ = deleted
        services.rooms.deleted(room)
        services.notifier.wake(room.name)
        services.rights.ended(everybody)
        event = Event(event="room", room=room.name, change="deleted")
        services.notifier.tell(event, everybody)

    _, _, left = await services.store.write("delete room", delete, after=tell)
    services.background.start(_drop_the_rest(services, facts=left))
    return RoomDeleted(room=request.room)


async def _drop_the_rest(services: Services, *, facts: bool) -> None:
    """Delete what only a deleted room had; on a full disk the pruner does it."""
    if facts:
        await drop_facts(services)
    with contextlib.suppress(Refusal):
        await drop_useless(services)
