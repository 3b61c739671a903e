"""Saying and reading: ``send``, ``pull``, ``subscribe`` (protocol 5)."""

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec
import sqlalchemy as sa

from hub.delivery.notifier import EVENTS
from hub.delivery.outbox import Handed
from hub.delivery.room_cache import LiveRoom
from hub.errors import Refusal
from hub.handlers.caller import Caller
from hub.handlers.membership import Change, enter, tell_joined
from hub.handlers.queue import dispatched_roles
from hub.ids import message_id, room_name
from hub.services import Services
from hub.store import admission, directory, invites, members, messages, rooms
from hub.store.messages import NewMessage, Page, Stored
from hub.store.rooms import Room
from parler.wire import requests
from parler.wire.base import AgentId, MessageId, RoomName, Seq, WireStruct
from parler.wire.codec import encode_utf8
from parler.wire.codes import ErrorCode
from parler.wire.limits import (
    DEFAULT_PULL_LIMIT,
    MAX_PULL_LIMIT,
    MAX_PULLED_BYTES,
    MAX_WAIT_SECS,
)
from parler.wire.names import service_room
from parler.wire.records import (
    DmTarget,
    EndpointRef,
    RoomKind,
    RoomTarget,
    ServiceTarget,
    Target,
)
from parler.wire.replies import Reply, Sent, Subscribed

_RECORD = msgspec.json.Encoder()

MAX_PARKED_BYTES = MAX_PULLED_BYTES // 8
"""Messages in one reply of many that may be under way on a connection (14.2)."""


class _Record(WireStruct):
    """A `StoredMessage` as the log keeps it: without `seq` (protocol 3.1)."""

    id: MessageId
    room: RoomName
    author: EndpointRef = msgspec.field(name="from")
    parts: msgspec.Raw
    ts: int
    mentions: list[str] | None = None
    reply_to: str | None = None


class _Pulled(Reply, tag="pulled"):
    """A `Pulled` to which its messages, JSON as they were stored, are still to come."""

    room: RoomName
    cursor: Seq


async def send(services: Services, caller: Caller, request: requests.Send) -> Sent:
    """Store a message, then tell the room; the reply means it is on disk."""
    services.limits.count_send(caller.agent)
    live = await resolve(services, caller, request.target)
    services.limits.count_room_send(live.room.id)
    new = _new_message(services, caller, request, live)
    stored = await services.store.write_one_of_many(
        "send",
        messages.append,
        new,
        after=lambda stored: _tell_stored(services, live, new, stored),
    )
    return Sent(id=stored.id, seq=stored.seq, room=live.room.name)


def ready_room(
    services: Services, caller: Caller, request: requests.Send
) -> LiveRoom | None:
    """The room that `send_soon` may send to, if nothing has to be looked up first."""
    if not isinstance(request.target, RoomTarget):
        return None
    live = services.rooms.known(request.target.room)
    if live is None or caller.agent not in live.members or caller.agent in live.guests:
        return None
    return live


def send_soon(
    services: Services,
    caller: Caller,
    request: requests.Send,
    live: LiveRoom,
    answer: Callable[[Sent | BaseException], None],
) -> None:
    """`send` for who goes on meanwhile; `answer` is called when it is on disk.

    Raises:
        Refusal: The caller may not send so much; then nothing is answered.
    """
    services.limits.count_send(caller.agent)
    services.limits.count_room_send(live.room.id)
    new = _new_message(services, caller, request, live)

    def after(stored: Stored | BaseException) -> None:
        if isinstance(stored, BaseException):
            answer(stored)
            return
        try:
            _tell_stored(services, live, new, stored)
        finally:
            answer(Sent(id=stored.id, seq=stored.seq, room=live.room.name))

    services.store.write_soon("send", messages.append, new, after=after)


def _new_message(
    services: Services, caller: Caller, request: requests.Send, live: LiveRoom
) -> NewMessage:
    now = services.now()
    record = _Record(
        id=message_id(now),
        room=live.room.name,
        author=EndpointRef(id=caller.agent, name=caller.name, role=caller.role),
        parts=request.parts,
        mentions=_mentions(request.mentions),
        reply_to=request.reply_to,
        ts=now,
    )
    encoded = _RECORD.encode(record)
    services.quotas.count_stored(caller.agent, caller.ip, live.room.name, len(encoded))
    return NewMessage(
        room=live.room.id,
        id=record.id,
        author=caller.agent,
        client_id=request.client_id,
        ts=now,
        record=encoded.decode(),
        roles=_roles(live, request.parts),
        in_service=live.room.kind is RoomKind.SERVICE,
        reply_to=request.reply_to,
    )


def _tell_stored(
    services: Services, live: LiveRoom, new: NewMessage, stored: Stored
) -> None:
    if stored.repeated:
        return
    services.notifier.wake(live.room.name)

    def frame() -> Handed:
        message = messages.with_seq(stored.seq, new.record)
        text = b'{"type":"delivery","message":%b}' % message
        return Handed(text, live.room.id, stored.seq)

    hear = live.hear(stored.requester)
    services.notifier.deliver(frame, hear, author=new.author)


def _roles(live: LiveRoom, parts: msgspec.Raw) -> tuple[str, ...]:
    # Elsewhere nobody can ever ask for the work.
    return dispatched_roles(parts) if live.room.kind is RoomKind.SERVICE else ()


def _mentions(given: list[str] | None) -> list[str] | None:
    if not given:
        return None
    tidy = (mention.strip().lower() for mention in given)
    return list(dict.fromkeys(mention for mention in tidy if mention)) or None


async def resolve(services: Services, caller: Caller, target: Target) -> LiveRoom:
    """The room behind a target, which may be made or entered by it (protocol 5.2).

    Raises:
        Refusal: The caller may not write there.
    """
    match target:
        case RoomTarget(room=name):
            pass
        case DmTarget(agent=agent):
            name = await _direct_room(services, caller, agent)
        case ServiceTarget(service=service):
            name = await _enter_service(services, caller, service)
    live = await services.rooms.get(name)
    if live is None or caller.agent not in live.members:
        raise messages.not_member()
    if caller.agent in live.guests:
        check = partial(admission.check_may_ask, room=live.room.id, agent=caller.agent)
        await services.store.read("may ask", check)
    return live


async def _direct_room(services: Services, caller: Caller, peer: AgentId) -> RoomName:
    """The room of these two, made if the peer can be written to (protocol 5.2)."""
    now = services.now()
    if peer == caller.agent:
        raise Refusal(
            ErrorCode.NOT_AUTHORIZED, "a direct message to yourself reaches nobody"
        )

    def find_or_open(connection: sa.Connection) -> Room:
        room = rooms.direct(connection, caller.agent, peer)
        if room is not None:
            return room
        if not directory.has_card(connection, peer):
            raise Refusal(None, "that agent is not in the directory of this hub")
        room = rooms.create(
            connection,
            room_name("dm"),
            RoomKind.DM,
            owner=None,
            gated=False,
            now=now,
        )
        for agent in (caller.agent, peer):
            members.add(connection, room.id, agent, now=now)
        return room

    room = await services.store.write("direct room", find_or_open)
    return room.name


async def _enter_service(services: Services, caller: Caller, service: str) -> RoomName:
    """Let whoever asks a service into its room (protocol 5.2)."""
    now = services.now()

    def come_in(connection: sa.Connection) -> tuple[Room, Change | None]:
        room = rooms.by_name(connection, service_room(service))
        if room is None:
            raise Refusal(ErrorCode.UNKNOWN_SERVICE, "nobody serves that name")
        if messages.is_member(connection, room.id, caller.agent):
            return room, None
        if invites.knock_of(connection, room.id, caller.agent) is not None:
            raise messages.not_member()  # put out by the owner (protocol 14.5)
        if services.settings.owners_admit:
            admission.check_may_ask(connection, room.id, caller.agent)
        return room, enter(services, connection, room, caller.agent, now=now)

    def tell(entered: tuple[Room, Change | None]) -> None:
        if entered[1] is not None:
            tell_joined(services, entered[1])

    room, _ = await services.store.write("enter service", come_in, after=tell)
    return room.name


async def pull(services: Services, caller: Caller, request: requests.Pull) -> Handed:
    """Read a room, and wait for news if there is none (protocol 5.3)."""
    asked = DEFAULT_PULL_LIMIT if request.limit is None else request.limit
    limit = min(asked, MAX_PULL_LIMIT)
    most = MAX_PARKED_BYTES if steps_aside(request) else MAX_PULLED_BYTES
    look = partial(
        messages.after,
        room=request.room,
        agent=caller.agent,
        since=request.since,
        limit=limit,
        max_bytes=most,
    )
    waits = request.since is None and limit > 0
    deadline = asyncio.get_running_loop().time() + min(
        (request.wait_secs or 0) if waits else 0, MAX_WAIT_SECS
    )
    ack = request.ack

    def read(connection: sa.Connection) -> tuple[Handed, int | None]:
        page = look(connection, ack=ack)
        return _as_reply(request, page), page.ack

    while True:
        with services.notifier.waiting(request.room) as news:
            async with caller.pulling:  # until the reply is in the outbox
                await caller.listener.has_room()
                async with services.quotas.memory.reserved(most):
                    reply, raised = await services.store.read("pull", read)
                    if raised is not None:
                        await _mark_read(services, caller, reply.room, raised)
                    if request.since is None and request.ack is None and reply.seq:
                        await _mark_read(services, caller, reply.room, reply.seq)
            if reply.seq or not await _news(news, caller.is_stopping, deadline):
                return reply
            ack = None  # stored by now


def _as_reply(request: requests.Pull, page: Page) -> Handed:
    pulled = _Pulled(room=request.room, cursor=page.cursor, rid=request.rid)
    # Joined, not encoded: so they are copied once, and not by the event loop.
    pieces = page.pieces or [b""]
    pieces[0] = encode_utf8(pulled)[:-1] + b',"messages":[' + pieces[0]
    pieces[-1] += b"]}"
    return Handed(b",".join(pieces), page.room, page.cursor if page.count else 0)


def steps_aside(request: requests.Pull) -> bool:
    """Whether later requests may overtake this one (protocol 14.2)."""
    return request.rid is not None and bool(request.wait_secs)


async def _news(
    news: asyncio.Event, is_stopping: Callable[[], bool], deadline: float
) -> bool:
    """Wait for news of a room; False at the deadline or when the hub stops."""
    loop = asyncio.get_running_loop()
    if is_stopping() or loop.time() >= deadline:
        return False
    try:
        async with asyncio.timeout_at(deadline):
            await news.wait()
    except TimeoutError:
        return False
    return not is_stopping()


async def _mark_read(
    services: Services, caller: Caller, room: int, cursor: int
) -> None:
    await services.store.write(
        "mark read",
        partial(members.mark_read, room=room, agent=caller.agent, cursor=cursor),
    )
    services.receipts.seen(room, caller.agent)


async def subscribe(
    services: Services, caller: Caller, request: requests.Subscribe
) -> Subscribed:
    """Push to this connection from now on (protocol 5.4, 14.3)."""
    caller.events = frozenset(request.events or ()) & EVENTS
    services.notifier.subscribe(caller.agent, caller.listener)
    return Subscribed()
