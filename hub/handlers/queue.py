"""Service queues: ``serve``, ``queue``, ``claim``, ``complete`` (protocol 10.4)."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.caller import Caller
from hub.handlers.invites import check_room_quota
from hub.handlers.membership import Change, enter, tell_joined
from hub.services import Services
from hub.store import admission, agents, invites, members, messages, queue, rooms
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.limits import DEFAULT_LEASE_SECS, DEFAULT_QUEUE_LIMIT, MAX_ID_BYTES
from parler.wire.names import service_room
from parler.wire.records import RoomKind
from parler.wire.replies import Claimed, Completed, Joined, Reply, WorkerAdmitted

MAX_QUEUE_LIMIT = 200
MIN_LEASE_SECS = 15
MAX_DISPATCHED_ROLES = 256
"""Roles one message may give work to; as many as it may mention (protocol 3.2)."""

DISPATCH_KIND = "com.parler.dispatch"


class _Head(msgspec.Struct):
    kind: str
    role: Any = None


_HEADS = msgspec.json.Decoder(list[_Head])


class _Queued(Reply, tag="queued"):
    """A `Queued` whose messages are still the JSON that was stored."""

    room: RoomName
    messages: list[msgspec.Raw]


def dispatched_roles(parts: msgspec.Raw) -> tuple[str, ...]:
    """The roles that parts give work to, as they are compared (protocol 5.2).

    A role nobody could ever serve or ask for, because it is too long, is left out.

    Raises:
        Refusal: There are too many.
    """
    raw = bytes(parts)
    # Almost no message is work; only an escape could hide the kind from this search.
    if DISPATCH_KIND.encode() not in raw and b"\\u00" not in raw:
        return ()
    named = (
        head.role
        for head in _HEADS.decode(raw)
        if head.kind == DISPATCH_KIND and isinstance(head.role, str)
    )
    fitting = (role for role in named if len(role.encode()) <= MAX_ID_BYTES)
    roles = tuple(dict.fromkeys(map(queue.folded, fitting)))
    if len(roles) > MAX_DISPATCHED_ROLES:
        raise Refusal(ErrorCode.TOO_LARGE, "work for too many roles in one message")
    return roles


async def serve(services: Services, caller: Caller, request: requests.Serve) -> Joined:
    """Make the caller a worker of a service, which is new if nobody served it.

    Where its owner decides it may have to wait for that (protocol 14.10).
    """
    now = services.now()
    admits = services.settings.owners_admit

    def enlist(connection: sa.Connection) -> _Enlisted:
        room = rooms.by_name(connection, service_room(request.service))
        if room is None:
            check_room_quota(services, connection, caller.agent)
            room = rooms.create(
                connection,
                service_room(request.service),
                RoomKind.SERVICE,
                owner=caller.agent,
                gated=False,
                now=now,
            )
        if admits and request.open is not None:
            rules.must_own(room, caller.agent)
            admission.set_open(connection, room.id, is_open=request.open)
            admission.apply_rule(connection, on=True, room=room.id)
            room = replace(room, open=request.open)
        change = None
        if not messages.is_member(connection, room.id, caller.agent):
            if invites.knock_of(connection, room.id, caller.agent) is not None:
                raise messages.not_member()  # put out by the owner (protocol 14.5)
            change = enter(services, connection, room, caller.agent, now=now)
        queue.enlist(connection, room.id, caller.agent, request.service)
        return _Enlisted(room, members.guests(connection, room.id), change)

    def tell(enlisted: _Enlisted) -> None:
        services.rooms.guests(enlisted.room, enlisted.guests)
        if enlisted.change is not None:
            tell_joined(services, enlisted.change)

    done = await services.store.write("serve", enlist, after=tell)
    return Joined(
        room=done.room.name,
        kind=done.room.kind,
        admitted=False if caller.agent in done.guests else None,
    )


@dataclass(frozen=True, slots=True)
class _Enlisted:
    room: Room
    guests: list[AgentId]
    change: Change | None
    """The new membership, if there is one."""


async def admit_worker(
    services: Services, caller: Caller, request: requests.AdmitWorker
) -> WorkerAdmitted:
    """Let an agent work for a service of the caller, now or when it comes."""
    if not services.settings.owners_admit:
        raise Refusal(ErrorCode.BAD_FRAME, "at this hub anybody may work")

    def admit(connection: sa.Connection) -> tuple[Room, list[AgentId]]:
        name = service_room(request.service)
        room = rules.must_own(rooms.by_name(connection, name), caller.agent)
        if agents.name_of(connection, request.agent) is None:
            raise Refusal(None, "nobody of that id has been at this hub")
        invites.forget_knock(connection, room.id, request.agent)
        admission.admit(connection, room.id, request.agent, role=request.service)
        admission.apply_rule(connection, on=True, room=room.id, agent=request.agent)
        return room, members.guests(connection, room.id)

    def tell(admitted: tuple[Room, list[AgentId]]) -> None:
        services.rooms.guests(*admitted)
        services.notifier.wake(admitted[0].name)  # its parked pulls look again

    await services.store.write("admit worker", admit, after=tell)
    return WorkerAdmitted(service=foreign(request.service), agent=request.agent)


async def list_queue(
    services: Services, caller: Caller, request: requests.Queue
) -> Reply:
    """The tasks for a role of the caller that nobody holds."""
    now = services.now()
    asked = DEFAULT_QUEUE_LIMIT if request.limit is None else request.limit

    def look(connection: sa.Connection) -> list[msgspec.Raw]:
        room = _service(connection, request.room, caller)
        if members.is_guest(connection, room.id, caller.agent):
            return []
        return queue.waiting(
            connection,
            room.id,
            caller.agent,
            role=request.role,
            limit=min(asked, MAX_QUEUE_LIMIT),
            now=now,
        )

    found = await services.store.read("queue", look)
    return _Queued(room=request.room, messages=found)


async def claim(services: Services, caller: Caller, request: requests.Claim) -> Claimed:
    """Take a task for a while, or renew the lease on it."""
    now = services.now()
    asked = DEFAULT_LEASE_SECS if request.lease_secs is None else request.lease_secs
    lease_ms = min(max(asked, MIN_LEASE_SECS) * 1000, queue.MAX_LEASE_MS)

    def take(connection: sa.Connection) -> int | None:
        room = _service(connection, request.room, caller)
        if members.is_guest(connection, room.id, caller.agent):
            return None
        return queue.claim(
            connection,
            room.id,
            caller.agent,
            message=request.message,
            lease_ms=lease_ms,
            now=now,
        )

    lease_until = await services.store.write("claim", take)
    return Claimed(
        room=request.room,
        message=request.message,
        claimed=lease_until is not None,
        lease_until=lease_until,
    )


async def complete(
    services: Services, caller: Caller, request: requests.Complete
) -> Completed:
    """End a task that the caller holds."""
    now = services.now()

    def end(connection: sa.Connection) -> bool:
        room = _service(connection, request.room, caller)
        if members.is_guest(connection, room.id, caller.agent):
            raise Refusal(
                ErrorCode.NOT_AUTHORIZED, "the owner of this service did not admit you"
            )
        if not request.status.final:
            raise Refusal(
                ErrorCode.NOT_AUTHORIZED,
                "a task ends as done, failed or cancelled",
            )
        return queue.complete(
            connection,
            room.id,
            caller.agent,
            message=request.message,
            status=request.status,
            now=now,
        )

    completed = await services.store.write("complete", end)
    return Completed(room=request.room, message=request.message, completed=completed)


def _service(connection: sa.Connection, name: RoomName, caller: Caller) -> Room:
    room = rooms.by_name(connection, name)
    if room is None or not messages.is_member(connection, room.id, caller.agent):
        raise messages.not_member()
    if room.kind is not RoomKind.SERVICE:
        raise Refusal(ErrorCode.NOT_AUTHORIZED, "that room is not a service")
    return room
