"""The client of a hub, for programs: connect, ask, send, read, follow.

It signs what is sent and judges what is read. How connections are kept and requests
repeated is `parler.client.connection`'s part.
"""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType, UnionType
from typing import Protocol, TypeVar, overload
from urllib.parse import urlsplit

import msgspec

from parler.client.blobs import Blob, as_digest, digest_of, read_bounded, verified
from parler.client.connection import Connection, Gap, Note, Pace
from parler.client.messages import Batch, Message, mark_replays, read_message
from parler.client.pending import Progress
from parler.client.protocol import REPLIES, ClientProtocol, Introduction, Secret
from parler.client.sealing import Sealing
from parler.client.transport import Transport, dial_websocket
from parler.errors import (
    ConfigError,
    LocalProtocolError,
    ParlerError,
    RemoteProtocolError,
    UsageError,
)
from parler.identity.known_hubs import names_one_hub
from parler.identity.message_signing import fresh_uid, sign_parts
from parler.identity.seen_messages import SeenMessages
from parler.identity.signing import Keypair
from parler.machine.backoff import Backoff, system_fraction
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.codes import Feature
from parler.wire.limits import (
    DEFAULT_MAX_BLOB_BYTES,
    DEFAULT_PULL_LIMIT,
    MAX_WAIT_SECS,
)
from parler.wire.parts import Part
from parler.wire.records import RoomTarget, StoredMessage, Target
from parler.wire.replies import (
    BlobStored,
    Delivery,
    Event,
    Joined,
    JoinPending,
    Pulled,
    Reply,
    Sent,
)
from parler.wire.requests import (
    AnyRequest,
    GetBlob,
    Pull,
    PutBlob,
    Redeem,
    Send,
    op_of,
)
from parler.wire.urls import InvalidHubUrl, dial_url, leaves_this_network

__all__ = [
    "connect",
    "Client",
    "HubMemory",
    "Batch",
    "Message",
    "Blob",
    "Progress",
    "Note",
    "Gap",
    "Delivery",
    "Event",
]

_log = logging.getLogger(__name__)

MAX_NOTES = 1024
"""Notifications kept for a slow reader; beyond, the oldest go (protocol 5.4)."""

REQUEST_SECS = 30.0
FOLLOW_SECS = 25
"""How long `follow` lets the hub wait for news before it asks again."""

BLOB_SECS = 300.0
"""For a whole transfer of bytes: about what the hub allows an upload."""

R = TypeVar("R", bound=Reply)
S = TypeVar("S", bound=Reply)


class HubMemory(Protocol):
    """Remembers which hub offers which token, as `parler.identity.known_hubs` does."""

    def check(self, token_field: str, dialled_url: str, /) -> None:
        """Raise `RelayedChallenge` if that token belongs to another URL."""
        ...

    def former(self, dialled_url: str, /) -> Collection[str]:
        """The tokens that the hub at that URL had before."""
        ...


def connect(
    hub: str,
    keypair: Keypair,
    *,
    name: str,
    role: str | None = None,
    secret: Secret = None,
    known_hubs: HubMemory | None = None,
    seen: SeenMessages | None = None,
    sealing: Sealing | None = None,
    allow_plain: bool = False,
    timeout: float = 10.0,
    reconnect: bool = True,
    look: bool = False,
    events: Iterable[str] = (),
    heartbeat: float | None = 30.0,
    dial: Callable[[str], Awaitable[Transport]] = dial_websocket,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    fraction: Callable[[], float] = system_fraction,
) -> AbstractAsyncContextManager["Client"]:
    """Connect to a hub and prove who we are; the connection ends with the block.

    Args:
        hub: The hub's URL in any spelling (protocol 1.1).
        secret: The hub's join secret, if it asks for one. It goes to this hub only,
            so name one only if it belongs there. A function is asked at each
            connection.
        known_hubs: Notices a hub that relays another hub's challenge.
        seen: Notices messages that were copied from elsewhere. Without it only those
            are noticed that name another hub.
        sealing: Says into sealed rooms and reads them; without it nothing is known of
            them.
        allow_plain: Dial without TLS even beyond private addresses.
        timeout: For dialling and handshake together, in seconds.
        reconnect: Whether a lost connection is replaced. If not, it ends the client.
        look: Look without being seen: a hub that offers it (protocol 14.12) notes
            nothing of this connection for how the agent is doing.
        events: Events to subscribe to at once, with deliveries (protocol 14.3).
        heartbeat: Silence in seconds after which the hub is asked for a sign.
        dial: Opens the pipe to a dial URL.
        now: The clock that signatures state, in epoch milliseconds.
        fraction: Random numbers in [0, 1) for the delays between attempts.

    Raises (on entering the block):
        UsageError: `hub` names no hub.
        ConfigError: It would be dialled without TLS beyond this network.
        ConnectFailed: It cannot be reached, or is no hub.
        HubError: It refused us.
        ProtocolError: It broke the protocol.
        RelayedChallenge: It offered the challenge of another hub.
    """
    url = _checked_url(hub, allow_plain=allow_plain)
    who = Introduction(keypair=keypair, name=name, role=role, secret=secret, look=look)
    client = Client(
        hub, keypair, now=now, fraction=fraction, seen=seen, sealing=sealing
    )

    def check(token: str) -> None:
        if known_hubs is not None:
            known_hubs.check(token, url)
            client._former_tokens = known_hubs.former(url)
        client.hub_token = token
        client._signed_hub = token if names_one_hub(token, url) else None

    client._connection = Connection(
        url,
        dial=dial,
        converse=lambda: ClientProtocol(who, check_hub=check),
        notify=client._hear,
        fraction=fraction,
        pace=Pace(connect=timeout, heartbeat=heartbeat),
        reconnect=reconnect,
    )
    return _Connected(client, tuple(events))


class Client:
    """An agent at a hub. Made by `connect`; any number of tasks may use it."""

    _connection: Connection

    def __init__(
        self,
        hub: str,
        keypair: Keypair,
        *,
        now: Callable[[], int],
        fraction: Callable[[], float],
        seen: SeenMessages | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        """Use `connect` instead."""
        self.hub = hub
        self.sealing = sealing
        self.hub_token: str | None = None
        """What the hub's challenge calls it (protocol 2.3); None before the first."""

        self.agent_id: AgentId = keypair.agent_id
        self._keypair = keypair
        self._now = now
        self._fraction = fraction
        self._seen = seen
        self._former_tokens: Collection[str] = ()
        self._signed_hub: str | None = None
        self._acked: dict[RoomName, Seq] = {}
        self._notes: deque[Note] = deque()
        self._news = asyncio.Event()
        self._listening = False
        self._followers: list[tuple[RoomName, asyncio.Event]] = []
        self._closing = False

    @property
    def features(self) -> frozenset[str]:
        """What the hub advertises (protocol 14.1)."""
        return self._connection.features

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._connection.connected

    @overload
    async def request(
        self, frame: AnyRequest, reply: type[R], *, timeout: float = ...
    ) -> R: ...
    @overload
    async def request(
        self,
        frame: AnyRequest,
        reply: tuple[type[R], type[S]],
        *,
        timeout: float = ...,
    ) -> R | S: ...
    @overload
    async def request(
        self, frame: Redeem, reply: UnionType, *, timeout: float = ...
    ) -> Joined | JoinPending: ...
    async def request(
        self,
        frame: AnyRequest,
        reply: type[Reply] | tuple[type[Reply], ...] | UnionType,
        *,
        timeout: float = REQUEST_SECS,
    ) -> Reply:
        """Ask the hub and wait for the reply.

        After a lost connection it is asked again until the time is over; what that
        means for which request is said in `parler.client.connection`.

        Args:
            reply: The type or types that answer this request.

        Raises:
            HubError: The hub refused. Final.
            ConnectionLost: There was no connection for too long.
            TimedOut: The hub did not answer in time.
            RemoteProtocolError: It answered against the protocol.
            LocalProtocolError: `reply` is not what answers this request.
        """
        if not all(issubclass(t, reply) for t in REPLIES.get(type(frame), (Reply,))):
            raise LocalProtocolError(f"{op_of(frame)!r} is not answered by {reply!r}")
        if isinstance(frame, Send) and frame.client_id is None:
            frame = msgspec.structs.replace(frame, client_id=str(uuid.uuid4()))
        if self.sealing is not None:
            await self.sealing.check(self, frame)
        return await self._connection.call(frame, timeout=timeout)

    async def send(
        self,
        target: Target,
        parts: Sequence[Part],
        *,
        mentions: Sequence[str] = (),
        reply_to: str | None = None,
        client_id: str | None = None,
        timeout: float = REQUEST_SECS,
    ) -> Sent:
        """Say something, signed. When it returns, the hub has stored it durably.

        It may go out several times, always with one client id: it is stored once.

        Args:
            client_id: Give the one of an earlier attempt that ended in a
                `TransportError` to be sure that the two are stored as one.

        Raises:
            HubError: The hub refused, and stored nothing.
            TransportError: It did not answer; the error says what is known.
            ValueError: A part that has no JSON.
        """
        sealing, room = self.sealing, _room_of(target)
        if sealing and room and await sealing.settle(self, room):
            sent = await sealing.say(
                self,
                room,
                parts,
                mentions=mentions,
                reply_to=reply_to,
                client_id=client_id,
            )
            self._stir(sent.room)
            return sent
        signed = sign_parts(
            self._keypair,
            target,
            list(parts),
            ts=self._now(),
            uid=fresh_uid(self._signed_hub),
            reply_to=reply_to,
            hub_token=self._signed_hub,
        )
        frame = Send(
            target=target,
            parts=signed,
            mentions=list(mentions) or None,
            reply_to=reply_to,
            client_id=client_id or str(uuid.uuid4()),
        )
        sent = await self.request(frame, Sent, timeout=timeout)
        self._stir(sent.room)  # the hub pushes nothing to its author (5.4)
        return sent

    async def pull(
        self,
        room: RoomName,
        *,
        since: int | None = None,
        limit: int | None = None,
        wait_secs: int | None = None,
        ack: int | None = 0,
        opened: bool = True,
    ) -> Batch:
        """Read a room after a position, or after our cursor in it.

        Args:
            since: Read after this position, and leave the cursor alone.
            wait_secs: Let the hub wait so long for a message if there is none. A hub
                without the feature ``rid`` answers nothing else meanwhile.
            ack: Raise the cursor up to here first. None moves it up to what is handed
                out, whether or not that arrives: for that, await `Batch.ack` instead.
            opened: Whether what is sealed is opened; if not, it is as the hub has it.

        Raises:
            HubError: The hub refused.
            TransportError: It did not answer in time.
            RemoteProtocolError: It answered with something else than that room.
        """
        frame = Pull(
            room=room,
            since=since,
            limit=DEFAULT_PULL_LIMIT if limit is None else limit,
            wait_secs=wait_secs if since is None else None,
            ack=ack if since is None else None,
        )
        patience = REQUEST_SECS + min(frame.wait_secs or 0, MAX_WAIT_SECS)
        pulled = await self.request(frame, Pulled, timeout=patience)
        _check_pulled(pulled, frame)
        return Batch(
            room=room,
            messages=await self._read(room, pulled.messages, opened=opened),
            cursor=pulled.cursor,
            commit=self.ack,
        )

    async def _read(
        self, room: RoomName, stored: Sequence[StoredMessage], *, opened: bool
    ) -> list[Message]:
        if stored and self._seen is not None:
            # The memory of what was seen may be held by another process.
            messages = await asyncio.to_thread(self._judged, stored)
        else:
            messages = self._judged(stored)
        if messages and opened and self.sealing is not None:
            return await self.sealing.opened(self, room, messages)
        return messages

    async def ack(self, room: RoomName, seq: int) -> None:
        """Raise our cursor in a room. When it returns, the hub has stored it.

        Raises:
            HubError: The hub refused.
            TransportError: It did not answer in time.
        """
        await self.request(Pull(room=room, limit=0, ack=seq), Pulled)
        self._acked[room] = max(seq, self._acked.get(room, 0))

    async def follow(
        self, room: RoomName, *, wait_secs: int = FOLLOW_SECS
    ) -> AsyncGenerator[Batch, None]:
        """Read a room as it goes on, without end and without skipping anything.

        Await ``batch.ack()`` once a batch was taken; one that was not comes again,
        more slowly each time. Lost connections are waited out (see `connected`).

        News come at once: by a parked pull where the hub has the feature ``rid``,
        else by a push, since there a parked pull would hold up every other request.
        In the second case, our own messages sent over other connections may take
        `wait_secs` to appear.

        Raises:
            HubError: The hub refuses; we may no longer be a member.
            ProtocolError: It answered against the protocol.
            ConnectionLost: The connection is gone and `connect` was told not to
                replace it.
        """
        pace = Backoff(self._fraction)
        wait_secs = max(wait_secs, 1)
        with self._follower(room) as news:
            while True:
                news.clear()  # register first, then look
                try:
                    batch, in_time = await self._look(room, news, wait_secs)
                except ParlerError as error:
                    if not error.retryable or self._connection.over is not None:
                        raise
                    _log.info("following is held up: %s", error.code)
                    await asyncio.sleep(pace.next())
                    continue
                if batch.messages:
                    yield batch
                    in_time = self._acked.get(room, 0) >= batch.cursor
                if in_time:
                    pace.reset()
                else:
                    await asyncio.sleep(pace.next())

    async def subscribe(self, events: Iterable[str] = ()) -> None:
        """Have deliveries come as `notifications`, and the named events (14.3).

        It holds for later connections too. Events that the hub does not offer stay
        away without an error; see `features`.

        Raises:
            HubError: The hub refused.
            TransportError: It did not answer in time.
        """
        await self._connection.subscribe(events, timeout=REQUEST_SECS)

    async def notifications(self) -> AsyncGenerator[Note, None]:
        """What the hub says unasked, from `subscribe` on; for one reader at a time.

        All of it are hints. A `Gap` says that some may be missing, after a lost
        connection or because more than `MAX_NOTES` were waiting: ask the hub again.
        The message of a `Delivery` is not judged yet: `judge` does it.

        Raises:
            LocalProtocolError: Somebody else is reading them.
            ParlerError: Why the connection is gone for good.
        """
        if self._listening:
            raise LocalProtocolError("the notifications are being read already")
        self._listening = True
        try:
            while True:
                while self._notes:
                    yield self._notes.popleft()
                if self._closing:
                    return
                if self._connection.over is not None:
                    raise self._connection.over
                self._news.clear()
                await self._news.wait()
        finally:
            self._listening = False

    def judge(self, stored: StoredMessage) -> Message:
        """A message as `pull` hands it out: parts read, author checked.

        It may take long, and may wait for other processes: call it in a thread.
        """
        return self._judged([stored])[0]

    def _judged(self, several: Sequence[StoredMessage]) -> list[Message]:
        token = self.hub_token
        messages = [
            read_message(
                stored,
                reader=self.agent_id,
                hub_token=token,
                former_tokens=self._former_tokens,
            )
            for stored in several
        ]
        if self._seen is None or token is None:
            return messages
        return mark_replays(messages, self._seen, token=token, url=self.hub)

    async def put_blob(
        self,
        target: Target,
        data: bytes | Path,
        *,
        media_type: str | None = None,
        sealed: bool = False,
        progress: Progress | None = None,
        timeout: float = BLOB_SECS,
    ) -> BlobStored:
        """Store bytes where a target's members can fetch them. Nobody is told of it.

        After a lost connection it starts anew. Two uploads at once go one by one.

        Args:
            data: The bytes, or the file that holds them, which is read at once.
            sealed: They are sealed already, and may go into a sealed room.
            progress: Told how many bytes have gone, and of how many.
            timeout: For the whole of it, in seconds.

        Raises:
            HubError: The hub refused, and stored nothing.
            TransportError: It did not confirm it in time.
            TooManyBytes: The file has more bytes than any hub takes.
            OSError: The file cannot be read.
        """
        if isinstance(data, Path):
            data = await asyncio.to_thread(read_bounded, data)
        digest = await asyncio.to_thread(digest_of, data)
        frame = PutBlob(
            target=target, sha256=digest, size=len(data), media_type=media_type
        )
        if self.sealing is not None and not sealed:
            await self.sealing.check(self, frame)
        stored = await self._connection.upload(
            frame, data, timeout=timeout, progress=progress
        )
        if (stored.id, stored.size) != (digest, len(data)):
            raise RemoteProtocolError("the hub confirmed another upload than ours")
        return stored

    async def get_blob(
        self,
        digest: str,
        *,
        max_bytes: int = DEFAULT_MAX_BLOB_BYTES,
        progress: Progress | None = None,
        timeout: float = BLOB_SECS,
    ) -> Blob:
        """Fetch bytes by their digest, and see to it that they are the ones.

        Raises:
            DigestMismatch: The hub handed out others.
            TooManyBytes: They are more than `max_bytes`.
            HubError: The hub refused; there may be no such blob in any room of ours.
            TransportError: They did not come in time.
            UsageError: That is no digest.
        """
        wanted = as_digest(digest)
        received = await self._connection.download(
            GetBlob(id=wanted), max_bytes=max_bytes, timeout=timeout, progress=progress
        )
        return await asyncio.to_thread(
            verified, wanted, received.data, announced=received.incoming
        )

    async def _look(
        self, room: RoomName, news: asyncio.Event, wait_secs: int
    ) -> tuple[Batch, bool]:
        """Pull once; also, whether an empty batch took its time, as it should (5.3)."""
        acked = self._acked.get(room, 0)
        if Feature.RID in self.features:
            clock = asyncio.get_running_loop().time
            started = clock()
            batch = await self.pull(room, wait_secs=wait_secs, ack=acked)
            return batch, clock() - started >= min(1.0, wait_secs / 2)
        if not self._connection.subscribed:
            await self.subscribe()
        batch = await self.pull(room, ack=acked)
        if not batch.messages:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_secs):
                    await news.wait()
        return batch, True

    @contextmanager
    def _follower(self, room: RoomName) -> Iterator[asyncio.Event]:
        follower = (room, asyncio.Event())
        self._followers.append(follower)
        try:
            yield follower[1]
        finally:
            self._followers.remove(follower)

    def _hear(self, note: Note) -> None:
        if len(self._notes) >= MAX_NOTES:
            self._notes.popleft()
            self._notes[0] = Gap()
        self._notes.append(note)
        self._news.set()
        match note:
            case Delivery(message=message):
                self._stir(message.room)
            case Gap():
                self._stir(None)

    def _stir(self, room: RoomName | None) -> None:
        for followed, news in self._followers:
            if room in (None, followed):
                news.set()


class _Connected(AbstractAsyncContextManager[Client]):
    """A client with the task that keeps it connected.

    Not a generator: what the caller's block raises must leave it as it is, and not
    as a group of exceptions.
    """

    def __init__(self, client: Client, events: tuple[str, ...]) -> None:
        self._client = client
        self._events = events
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Client:
        connection = self._client._connection
        await connection.open(events=self._events)
        await self._group.__aenter__()
        self._task = self._group.create_task(connection.run())
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client._closing = True
        self._task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, traceback)
        else:
            await self._group.__aexit__(None, None, None)


def _checked_url(hub: str, *, allow_plain: bool) -> str:
    try:
        url = dial_url(hub)
    except InvalidHubUrl as error:
        raise UsageError(str(error)) from None
    plain = urlsplit(url).scheme == "ws"
    if plain and not allow_plain and leaves_this_network(url):
        host = urlsplit(url).hostname
        raise ConfigError(
            f"{hub} would be dialled without encryption, beyond this network",
            next_step=f"use wss://{host} if the hub has TLS, or --insecure",
        )
    return url


def _check_pulled(pulled: Pulled, frame: Pull) -> None:
    """Hold an answer against protocol 5.3: no other room, no skipping, no going back.

    Raises:
        RemoteProtocolError: It breaks that.
    """
    seqs = [stored.seq for stored in pulled.messages]
    floor = [] if frame.since is None else [frame.since]
    if any(room != frame.room for room in (pulled.room, *_rooms(pulled))):
        raise RemoteProtocolError(f"asked for {frame.room!r}, got another room")
    ascending = all(one < next_ for one, next_ in pairwise([*floor, *seqs]))
    if seqs and not (ascending and pulled.cursor == seqs[-1]):
        raise RemoteProtocolError("the hub's messages and cursor are out of order")


def _room_of(target: Target) -> RoomName | None:
    return target.room if isinstance(target, RoomTarget) else None


def _rooms(pulled: Pulled) -> Iterator[RoomName]:
    return (stored.room for stored in pulled.messages)
