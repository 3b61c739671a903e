"""Opening a session, entering one with a key, and leaving it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from parler.errors import HubError, InvalidInvite, NotMember, ParlerError, UsageError
from parler.identity.identity import Knock, note_knock
from parler.ops.admission import check_preapproved
from parler.ops.capability import SESSION, SETS, Capability, Hints, Means, Param
from parler.ops.contacts import contacts_called, names_among
from parler.ops.context import OpContext, Result, check_texts, minted
from parler.ops.invites import KEY_TTL, KEY_USES
from parler.ops.memory import Hit, digest_of
from parler.ops.message_view import ShownMessage, Tail, pages, shown
from parler.ops.rooms import Room, rooms_with_topics
from parler.ops.sealing import (
    begins_sealed,
    come_in,
    is_sealed,
    knock_with,
    note_plain,
    portable,
    sealed_room,
    sealed_rooms,
)
from parler.ops.topics import (
    MAX_TOPIC_CHARS,
    is_topic,
    new_topic,
    opening,
    opens,
    perhaps,
    seed_of,
    topic_in,
    where_said,
)
from parler.text.terminal import shell_word
from parler.wire.base import Code, Millis, RoomName
from parler.wire.codes import ErrorCode, Feature
from parler.wire.foreign import Foreign, foreign
from parler.wire.joinkey import JoinKey
from parler.wire.limits import (
    DEFAULT_INVITE_TTL_SECS,
    DEFAULT_MAX_MESSAGE_BYTES,
    MAX_TTL_SECS,
)
from parler.wire.parts import TextPart
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import (
    Event,
    Invited,
    Joined,
    JoinPending,
    JoinRequestList,
    Left,
    Remembered,
    RoomDeleted,
    RoomList,
)
from parler.wire.requests import (
    DeleteRoom,
    Invite,
    JoinRequests,
    Leave,
    Redeem,
    Rooms,
)

WALK_IN_SECS = 2.0
"""How long whoever knocks waits at least: nobody has to decide about some."""

FIRST_POLL_SECS = 0.5
LONGEST_POLL_SECS = 2.0
ASK_OWNER = "ask the owner for a new key (parler session open, or parler invite)"
_APPROVE_ANYWAY = "only the owner can still let you in: parler session approve {}"
ONLY_THIS_USER = (
    "Only your own agents on this machine reach this hub; for others: "
    "parler connect --team"
)
MAX_CONTEXT_BYTES = DEFAULT_MAX_MESSAGE_BYTES - 4096
"""A recap must fit into one message together with its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenParams:
    """How a session is opened."""

    topic: Annotated[str | None, Param("What it is about.", "TEXT", brief="")] = None
    context: Annotated[
        str | None,
        Param(
            "The recap.",
            "TEXT",
            brief="Recap for whoever joins: goal, state, decisions, next steps.",
        ),
    ] = None
    gated: Annotated[
        bool,
        Param(
            "false: whoever has the key is in at once.", name="approval", on_cli=False
        ),
    ] = True
    preapprove: Annotated[
        list[str],
        Param(
            "Let this agent id or fingerprint in when it knocks.",
            "ID",
            brief="Ids, fingerprints or contacts let in at once.",
        ),
    ] = field(default_factory=list)
    welcome: Annotated[
        list[str],
        Param(
            "A contact whose agents come in unasked.",
            "NAME",
            option="--for",
            on_tool=False,
        ),
    ] = field(default_factory=list)
    sealed: Annotated[
        bool,
        Param(
            "Only its members can read it, and its hub cannot.",
            on_cli=False,
            brief="Unreadable for the hub.",
        ),
    ] = False
    ttl_secs: Annotated[int, KEY_TTL] = DEFAULT_INVITE_TTL_SECS
    max_uses: Annotated[int | None, KEY_USES] = None


class OpenResult(Result):
    """A session and the key to it."""

    key: str
    portable: str
    room: RoomName
    gated: bool
    sealed: bool
    """Its members read it, and its hub does not."""

    expires_at: int
    for_this_user: bool = False
    """No agent of somebody else can reach it."""

    welcome: list[str] = msgspec.field(default_factory=list)
    """Contacts whose agents come in unasked."""

    approved: list[str] = msgspec.field(default_factory=list)
    """The ids and fingerprints that were approved beforehand."""


class JoinState(StrEnum):
    """What became of a redeemed key."""

    JOINED = "joined"
    PENDING = "pending"


class JoinResult(Result):
    """Where we are with a session, and its backlog if we are in.

    `omitted` counts messages that were left out after the first one. `key_gone` says
    that we wait at a door whose key opens nothing any more.
    """

    state: JoinState
    room: RoomName
    messages: list[ShownMessage]
    omitted: int = 0
    key_gone: bool = False
    digest: Hit | None = None
    """What a member wrote for those who join later; nobody signed it."""

    sealed: bool = False
    """Its members read it, and its hub does not."""

    confirmed: bool = False
    """Of a sealed one: it is the room that our key was made for."""

    has_keys: bool = False
    """Of a sealed one: its owner has given us the keys."""


class JoinWatcher(Protocol):
    """Told how a wait for the owner goes."""

    def waiting(self, room: RoomName) -> None:
        """We knocked, and wait from now on."""

    def key_gone(self, room: RoomName) -> None:
        """The key opens nothing any more; the wait goes on."""


class LeaveResult(Result):
    """The room we are no longer in."""

    room: RoomName
    still_member: bool = False
    """The hub cannot end that: it is only no longer the active session."""


async def open_session(ctx: OpContext, params: OpenParams) -> OpenResult:
    """Open a session, seed it with the recap, and make it the active one.

    A session whose recap the hub does not take is deleted again: its key was never
    seen by anybody.

    Raises:
        UsageError: The recap is too long, a preapproval is no id or fingerprint, or
            somebody it is for is no contact.
    """
    names = set(await asyncio.to_thread(names_among, ctx, params.preapprove))
    approvals = check_preapproved(
        [one for one in params.preapprove if one not in names]
    )
    wanted = [*params.welcome, *names]
    welcome = await asyncio.to_thread(contacts_called, ctx, wanted)
    seed = _seed(ctx.identity.name, params)
    invited = await ctx.client.request(
        Invite(
            kind=RoomKind.CHANNEL,
            ttl_secs=params.ttl_secs,
            max_uses=params.max_uses,
            require_approval=params.gated,
        ),
        Invited,
    )
    key, secret = minted(invited.code), None
    try:
        if params.sealed:
            secret = await _seal(ctx, invited.room, Code(key), invited.expires_at)
        if seed:
            target = RoomTarget(room=invited.room)
            await ctx.client.send(target, [TextPart(text=seed)])
    except HubError:
        await ctx.client.request(DeleteRoom(room=invited.room), RoomDeleted)
        raise
    ctx.enter(invited.room, is_open=not params.gated)
    ctx.known_rooms.note_topics(ctx.hub, {invited.room: topic_in(seed or "")})
    if approvals:
        ctx.known_rooms.remember(ctx.hub, invited.room, preapprove=approvals)
    if not params.sealed:
        note_plain(ctx, invited.room)
    persons = [person for contact in welcome for person in contact.ids]
    ctx.known_rooms.opened(ctx.hub, invited.room, welcome=persons)
    return OpenResult(
        key=key,
        portable=portable(ctx, key, secret),
        room=invited.room,
        gated=params.gated,
        sealed=params.sealed,
        expires_at=invited.expires_at,
        for_this_user=ctx.for_this_user(),
        welcome=[contact.name for contact in welcome],
        approved=approvals,
    )


async def _seal(ctx: OpContext, room: RoomName, code: Code, expires_at: Millis) -> str:
    """Make a new room sealed; returns the secret half of its key."""
    rooms = sealed_rooms(ctx)
    rooms.seal(room)
    sealed = rooms.room(ctx.client, room)
    await sealed.open()
    return await sealed.invite(code, expires_at)


OPEN = Capability(
    run=open_session,
    about="Open a session with a recap; prints the key to it.",
    more="Whoever redeems the key waits for your approval, unless --no-approval is "
    "given. Your own agents, and those of contacts named with --for, come in unasked "
    "as soon as a client of yours sees them knock: an agent app, or parler inbox "
    "--watch.",
    command="session open",
    example='parler session open --topic "flaky login" --context-file -',
    tool="parler_open_session",
    brief="Open a conversation other agents can join with a key.",
    call='{"topic": "flaky login", "context": "We found that…"}',
    common=True,
)


async def join_session(
    ctx: OpContext,
    key: Annotated[
        JoinKey, Param("KEY, KEY@HUB or a link.", positional=True, typed=str)
    ],
    *,
    wait_secs: Annotated[
        float,
        Param(
            "Wait for the owner's decision.",
            option="--wait",
            ge=0,
            le=MAX_TTL_SECS,
            brief="Wait for the owner's decision, up to 600.",
        ),
    ] = 0,
    watcher: JoinWatcher | None = None,
    with_digest: bool = True,
) -> JoinResult:
    """Redeem a key. Waiting for the owner is a result, not an error.

    Who has knocked goes on waiting when the key expires or vanishes meanwhile: the
    owner can still approve.

    The backlog is read without moving the cursor: acknowledge the last message once
    it was shown.

    Raises:
        InvalidInvite: The hub does not take the key, or the owner rejected us.
    """
    home = ctx.identity.home
    key_gone = False
    secret = None if key.secret is None else await knock_with(ctx, key.secret, key.code)
    try:
        reply = await _redeem(ctx, key)
        if secret is not None:
            sealed_rooms(ctx).seal(reply.room)
            sealed_room(ctx, reply.room).expect(secret)
        nobody_asked = isinstance(reply, Joined) and not ctx.known_rooms.knows(
            ctx.hub, reply.room
        )
        if isinstance(reply, JoinPending):
            note_knock(home, Knock(reply.room, str(JoinKey(key.code, ctx.hub))))
            # Known from now on: without its key the room is found by its name only.
            ctx.known_rooms.remember(ctx.hub, reply.room, knocked=True)
            if wait_secs > 0:
                waiting = _Waiting(ctx, key, reply.room, watcher)
                reply = await waiting.end(wait_secs) or reply
                key_gone = waiting.key_gone
    except InvalidInvite:
        note_knock(home, None)
        raise
    if isinstance(reply, JoinPending):
        return JoinResult(
            state=JoinState.PENDING, room=reply.room, messages=[], key_gone=key_gone
        )
    ctx.enter(reply.room, is_open=nobody_asked)
    without_keys = JoinResult(
        state=JoinState.JOINED, room=reply.room, messages=[], sealed=True
    )
    sealed = is_sealed(ctx, reply.room)
    if sealed and not await come_in(ctx, reply.room, wait_secs=wait_secs):
        return without_keys
    return await _backlog(ctx, reply.room, with_digest=with_digest) or without_keys


async def _backlog(
    ctx: OpContext, room: RoomName, *, with_digest: bool
) -> JoinResult | None:
    """What was said in a room that we have entered; None if we lack its keys."""
    tail, known = Tail(), is_sealed(ctx, room)
    async for batch in pages(ctx.client, room, since=0):
        if tail.first is None and not known and await begins_sealed(ctx, room):
            return None  # who came with the code alone has no keys yet
        for message in batch.messages:
            if not message.said:
                continue
            if tail.first is None:
                topic = topic_in(message.text)
                ctx.known_rooms.note_topics(ctx.hub, {room: topic})
            tail.add(shown(message))
    sealed = is_sealed(ctx, room)
    return JoinResult(
        state=JoinState.JOINED,
        room=room,
        messages=tail.messages,
        omitted=tail.omitted,
        digest=await digest_of(ctx, room) if with_digest and not sealed else None,
        sealed=sealed,
        has_keys=sealed,
        confirmed=sealed and sealed_room(ctx, room).is_confirmed(),
    )


JOIN_SESSION = Capability(
    run=join_session,
    about="Redeem a session key: knock, or enter and read along.",
    command="session join",
    example="parler session join KEY@HUB --wait 600",
    tool="parler_join_session",
    brief="Enter a conversation with a key somebody gave you.",
    call='{"key": "ABCD2345@wss://hub.example"}',
    hints=SETS,
    common=True,
)
JOIN = Capability(
    run=join_session,
    about="Redeem the key of any room (as `session join` does).",
    command="join",
    hidden=True,
    example="parler join KEY@HUB",
    tool="parler_join",
    brief="Redeem the key of any room; it becomes the active session.",
    call='{"code": "ABCD2345"}',
    hints=SETS,
)


async def leave_session(
    ctx: OpContext, room: Annotated[RoomName, SESSION]
) -> LeaveResult:
    """Stop being a member of a room, or at least end the session there."""
    if is_sealed(ctx, room):
        with suppress(UsageError):  # who is no member goes all the same
            await sealed_room(ctx, room).say_farewell()
    if Feature.MEMBERSHIP in ctx.client.features:
        await ctx.client.request(Leave(room=room), Left)
        ctx.forget(room)
        return LeaveResult(room=room)
    if is_sealed(ctx, room):
        ctx.end_session(room)
        return LeaveResult(room=room, still_member=True)
    goodbye = TextPart(text=f"{ctx.identity.name} left the session")
    try:
        await ctx.client.send(RoomTarget(room=room), [goodbye])
    except NotMember:  # the room has gone
        ctx.forget(room)
        raise
    ctx.end_session(room)
    return LeaveResult(room=room, still_member=True)


LEAVE = Capability(
    run=leave_session,
    about="Leave a session; the others stay.",
    command="session leave",
    tool="parler_close_session",
    hints=Hints(destroys=True),
)


class UseResult(Result):
    """The session that commands mean from now on."""

    room: RoomName
    topic: Foreign | None = None


async def use_session(
    ctx: OpContext,
    room: Annotated[
        str,
        Param("Which; its topic will do.", "ROOM", positional=True, means=Means.ROOM),
    ],
) -> UseResult:
    """Make a room that we are in the active session.

    Raises:
        NotMember: We are in no such room.
        UsageError: Several have that topic.
    """
    found = await room_called(ctx, room)
    ctx.enter(found.name, is_open=ctx.known_rooms.is_open(ctx.hub, found.name))
    return UseResult(room=found.name, topic=found.topic)


async def room_called(
    ctx: OpContext, room: str, *, command: str = "parler session use"
) -> Room:
    """The room of ours that has a name, or a topic.

    Args:
        command: What the name of the room makes a command that says which is meant.

    Raises:
        NotMember: We are in no such room.
        UsageError: Several have that topic.
    """
    mine = await rooms_with_topics(ctx)
    # Members choose topics: none of them stands in for a room's own name.
    found = [one for one in mine if one.name == room] or [
        one for one in mine if is_topic(one.topic, room)
    ]
    if not found:
        near = perhaps(((one.name, one.topic) for one in mine), room)
        raise NotMember(
            f"you are in no room {room!r} on {ctx.hub}{near}",
            hub_code=ErrorCode.NOT_MEMBER,
            next_step="parler session list",
        )
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise UsageError(
            f"{room!r} is the topic of several: {names}",
            next_step=command + f" {found[0].name}",
        )
    return found[0]


USE = Capability(
    run=use_session,
    about="Make another room of yours the active session.",
    more="It is what send, recv and the like mean where no room is named.",
    command="session use",
    example="""\
parler session use room.abc234
parler session use "flaky login\"""",
    hints=SETS,
    no_tool="tools take the room as an argument",
)


class RenameResult(Result):
    """What a session is about from now on."""

    room: RoomName
    topic: Foreign
    seq: int


async def rename_session(
    ctx: OpContext,
    room: Annotated[RoomName, replace(SESSION, on_cli=False)],
    topic: Annotated[str, Param("What it is about now.", on_cli=False)],
) -> RenameResult:
    """Give a session of ours another topic; its members are told in the room.

    Raises:
        UsageError: The topic is empty or too long, or nobody could see that it is ours.
        HubError: It is not ours.
    """
    check_texts(topic=topic)
    topic = " ".join(topic.split())
    if not topic:
        raise UsageError(
            "the topic is empty", next_step='parler session rename "what it is about"'
        )
    if len(topic) > MAX_TOPIC_CHARS:
        raise UsageError(f"a topic has at most {MAX_TOPIC_CHARS} characters")
    # Others would ignore what anybody else but the owner says of it.
    await ctx.client.request(JoinRequests(room=room), JoinRequestList)
    first = await opening(ctx.client, room)
    if first and not opens(first, ctx.client.agent_id):
        raise UsageError(
            "that session was opened without a topic, so its members cannot tell who "
            "may give it one",
            next_step=f"parler session open --topic {shell_word(topic)}",
        )
    said, *named_so = new_topic(topic)
    if not first:
        said = TextPart(text=seed_of(ctx.identity.name, topic, None) or "")
    sent = await ctx.client.send(RoomTarget(room=room), [said, *named_so])
    if not is_sealed(ctx, room):  # a fact would say it in clear
        await ctx.client.request(where_said(room, topic, sent.seq), Remembered)
    named = foreign(topic)
    ctx.known_rooms.note_topics(ctx.hub, {room: named}, said_in={room: sent.seq})
    return RenameResult(room=room, topic=named, seq=sent.seq)


RENAME = Capability(
    run=rename_session,
    about="Give a session of yours another topic.",
    more="Its members are told in the room. One of your agents' is renamed by that "
    "agent.",
    command="session rename",
    example="""\
parler session rename "cart and checkout"
parler session rename "cart split" "cart and checkout\"""",
    tool="parler_rename_session",
    call='{"topic": "cart and checkout"}',
    hints=SETS,
)


def _seed(name: str, params: OpenParams) -> str | None:
    text = seed_of(name, params.topic, params.context)
    if text is None:
        return None
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError("the context is not valid UTF-8") from None
    if size > MAX_CONTEXT_BYTES:
        raise UsageError(
            f"the context has {size} bytes; {MAX_CONTEXT_BYTES} fit into a message",
            next_step="shorten it, and send the rest with `parler send -`",
        )
    return text


async def _redeem(ctx: OpContext, key: JoinKey) -> Joined | JoinPending:
    try:
        return await _ask(ctx, key)
    except InvalidInvite as refused:
        raise _explained(ctx, key, refused) from None


async def _ask(ctx: OpContext, key: JoinKey) -> Joined | JoinPending:
    return await ctx.client.request(Redeem(code=key.code), (Joined, JoinPending))


def _explained(ctx: OpContext, key: JoinKey, refused: InvalidInvite) -> InvalidInvite:
    """What a refused key means, and what to do about it.

    All of it comes under one code, so only the words tell (protocol 3.3).
    """
    if _is_rejection(refused):
        refused.next_step = _APPROVE_ANYWAY.format(ctx.identity.agent_id)
        return refused
    if "unknown" not in refused.message:
        refused.next_step = refused.next_step or ASK_OWNER
        return refused
    if key.hub and not ctx.for_this_user():
        step = ASK_OWNER
    else:
        step = (
            "if another hub gave out the key, ask for all of it, KEY@HUB: parler "
            f"session join {key.code}@HUB; else {ASK_OWNER}"
        )
    return InvalidInvite(
        f"the hub {ctx.hub} does not know the key {key.code} (invalid or unknown "
        "invite code)",
        hub_code=refused.hub_code or ErrorCode.INVALID_INVITE,
        next_step=step,
    )


def _is_rejection(refused: InvalidInvite) -> bool:
    return any(word in refused.message for word in ("reject", "denied", "declined"))


class _Waiting:
    """One wait for the owner's decision on a knock of ours."""

    def __init__(
        self, ctx: OpContext, key: JoinKey, room: RoomName, watcher: JoinWatcher | None
    ) -> None:
        self.key_gone = False
        self._ctx, self._key, self._room = ctx, key, room
        self._watcher = watcher
        self._rejected = False
        self._decided = asyncio.Event()

    async def end(self, wait_secs: float) -> Joined | None:
        """How we got in, or None if nothing was decided in time.

        Raises:
            InvalidInvite: The owner rejected us.
        """
        if self._watcher:
            self._watcher.waiting(self._room)
        listens = Feature.EVENTS in self._ctx.client.features
        if listens:
            await self._ctx.client.subscribe(["join_resolved"])
        async with asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(self._listen())
            if not listens:
                listener.cancel()
            try:
                outcome = await self._poll(wait_secs)
            except ParlerError as error:
                outcome = error  # as it is, not in a group
            listener.cancel()
        if isinstance(outcome, ParlerError):
            raise outcome
        return outcome

    async def _poll(self, wait_secs: float) -> Joined | ParlerError | None:
        """Ask until there is a decision; an event only shortens the pause (14.3)."""
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + wait_secs, FIRST_POLL_SECS
        while (left := deadline - clock()) > 0:
            try:
                async with asyncio.timeout(min(pause, left)):
                    await self._decided.wait()
            except TimeoutError:
                pause = min(pause * 1.5, LONGEST_POLL_SECS)
            self._decided.clear()
            if joined := await self._ask():
                return joined
            if self.key_gone and self._rejected:
                return _rejection(self._ctx, self._room)
        return None

    async def _ask(self) -> Joined | None:
        if not self.key_gone:
            try:
                reply = await _ask(self._ctx, self._key)
            except InvalidInvite as refused:
                if not _is_gone(refused):
                    raise _explained(self._ctx, self._key, refused) from None
                self.key_gone = True
                if self._watcher:
                    self._watcher.key_gone(self._room)
            else:
                return reply if isinstance(reply, Joined) else None
        # The knock outlives its key, and the owner may still decide (protocol 4.3).
        # Redeeming that key again would only count as guessing (protocol 14.6).
        mine = await self._ctx.client.request(Rooms(), RoomList)
        found = (room for room in mine.rooms if room.name == self._room)
        return next((Joined(room=room.name, kind=room.kind) for room in found), None)

    async def _listen(self) -> None:
        with suppress(ParlerError):
            async for note in self._ctx.client.notifications():
                if isinstance(note, Event) and note.room == self._room:
                    # Only believed where nothing is left to ask.
                    self._rejected = note.approved is False
                    self._decided.set()


def _is_gone(refused: InvalidInvite) -> bool:
    # An unknown key was swept after it expired, or revoked; the knock was not.
    if _is_rejection(refused):
        return False
    return any(word in refused.message for word in ("expired", "unknown"))


def _rejection(ctx: OpContext, room: RoomName) -> InvalidInvite:
    return InvalidInvite(
        f"the owner of {room} rejected your request",
        hub_code=ErrorCode.INVALID_INVITE,
        next_step=_APPROVE_ANYWAY.format(ctx.identity.agent_id),
    )
