"""Tools to open and enter sessions, to mind the door, and to leave."""

import shlex
from typing import Any

from parler.errors import HubError, UsageError
from parler.identity.settings import DEFAULT_HUB
from parler.identity.signing import fingerprint
from parler.mcp_server.tool_call import Answer, Call, Question, Verdict
from parler.mcp_server.tool_schema import (
    READS,
    SETS,
    TALKS,
    Arg,
    Hints,
    Tool,
    arguments,
)
from parler.mcp_server.tools.common import (
    ROOM,
    name_and_role,
    transcript_of,
)
from parler.ops import admission, invites, rooms, session, tokens
from parler.ops.addressing import Person, pick
from parler.ops.admission import DecisionResult, Knock
from parler.ops.context import OpContext
from parler.ops.session import JoinResult, JoinState
from parler.runtime.entry import MAX_CHARS, MAX_SEED_CHARS
from parler.runtime.hub_link import HubAway
from parler.runtime.joining import RECENT, pasted_key
from parler.text.terminal import shown_name, visible
from parler.text.untrusted import place_of
from parler.wire.base import RoomName
from parler.wire.joinkey import JoinKey
from parler.wire.limits import DEFAULT_TOKEN_TTL_SECS
from parler.wire.records import RoomKind
from parler.wire.urls import same_hub

MAX_JOIN_WAIT_SECS = 600
MAX_JOIN_CHARS = 16_000

_Open = arguments(
    "Open",
    session.OpenParams,
    drop=("gated", "max_uses"),
    about={
        "topic": "",
        "context": "Recap for whoever joins: goal, state, decisions, next steps.",
        "preapprove": "Ids or fingerprints let in at once.",
        "ttl_secs": "",
    },
    approval=Arg(bool, "false: whoever has the key is in at once.", True),
    max_uses=Arg(int | None, "", None),
)
_Join = arguments(
    "Join",
    key=Arg(str, "KEY, KEY@HUB or a link."),
    wait_secs=Arg(int, "Wait for the owner's decision, up to 600.", 0),
)
_JoinAny = arguments(
    "JoinAny", code=Arg(str, "A key of any room."), wait_secs=Arg(int, "", 0)
)
_Approve = arguments(
    "Approve",
    agent=Arg(str, "Fingerprint or id; a name if only one has it."),
    room=ROOM,
)
_Room = arguments("Room", room=ROOM)
_Nothing = arguments("Nothing")
_Invite = arguments(
    "Invite",
    invites.InviteParams,
    only=("kind", "name", "ttl_secs", "max_uses", "require_approval"),
    about={"name": "Of the channel or service."},
    kind=Arg(RoomKind, "", RoomKind.DM),
)
_Watch = arguments(
    "Watch", room=ROOM, ttl_secs=Arg(int, "How long.", DEFAULT_TOKEN_TTL_SECS)
)


async def open_session(call: Call, args: Any) -> Answer:
    """Open a session, and say how others come in."""
    ctx = await call.ctx()
    params = session.OpenParams(
        topic=args.topic,
        context=args.context,
        gated=args.approval,
        preapprove=args.preapprove,
        ttl_secs=args.ttl_secs,
        max_uses=args.max_uses,
    )
    result = await session.open_session(ctx, params)
    call.services.delivery.entered(result.room)
    gate = (
        "Whoever uses it waits until your user lets it in; you will be told who knocks."
        if result.gated
        else "Whoever has it is in at once: give it to nobody else."
    )
    shared = same_hub(ctx.hub, DEFAULT_HUB)
    key = visible(result.key if shared else result.portable)
    pasted = shlex.quote(f"PARLER_SESSION_KEY={key}")
    return Answer(
        text="\n".join(
            [
                f"Session {visible(result.room)} is open and active.",
                f"You are {_me(ctx)}.",
                f"KEY: {visible(result.portable)}",
                gate,
                "The other agent's user gives it the key, or runs one of:",
                f"  claude mcp add parler -e {pasted} -- parler mcp",
                f"  parler session join {shlex.quote(visible(result.portable))}",
                "Show your user the key and these lines.",
            ]
        )
    )


async def join_session(call: Call, args: Any) -> Answer:
    """Redeem a key: knock, or enter and read what was said so far."""
    key = pasted_key(args.key)
    services = call.services
    before = services.link.hub
    moved = key.hub is not None and not same_hub(key.hub, before)
    if moved:
        ctx = await _move(call, str(key.hub), before)
    else:
        ctx = await call.ctx()
    wait = min(max(args.wait_secs, 0), MAX_JOIN_WAIT_SECS)
    joining = session.join_session(ctx, key, wait_secs=wait)
    try:
        result = await call.patiently(joining, "waiting for the owner")
    except HubError:
        if moved:
            services.link.serve(before)
        raise
    here = f" This server serves the hub {ctx.hub} now." if moved else ""
    if result.state is JoinState.PENDING:
        services.joiner.expect(JoinKey(key.code, ctx.hub))
        return Answer(
            text=f"You knocked at {place_of(result.room)} and wait for its owner, who "
            f"sees you as {_me(ctx)}: tell your user this fingerprint, so that the "
            "owner's user can compare it. Nothing can be read before. You will be told "
            f"when it is decided; go on with other work.{here}"
        )
    services.joiner.ended(key)
    services.delivery.entered(result.room)
    text = await _joined_text(call, ctx, result)
    claims = []
    if result.messages:  # whether we read for this agent is perhaps not decided yet
        claims = [services.delivery.has_read(result.room, result.messages[-1].seq)]
    return Answer(text=text + here, claims=claims)


async def join(call: Call, args: Any) -> Answer:
    """Redeem the key of any room."""
    return await join_session(call, _Join(key=args.code, wait_secs=args.wait_secs))


async def _move(call: Call, hub: str, before: str) -> OpContext:
    """Serve the hub that a key belongs to, or stay where we are."""
    link = call.services.link
    link.serve(hub)
    try:
        return await link.ready()
    except HubAway as away:
        link.serve(before)
        raise HubAway(
            f"the key belongs to the hub {hub}, which cannot be reached "
            f"({away.message}); nothing was changed"
        ) from None


async def _joined_text(call: Call, ctx: OpContext, result: JoinResult) -> str:
    members = (await rooms.roster(ctx, result.room)).entries
    reader = call.reader(ctx)
    head = (
        f"You are in: {visible(result.room)} is your active session, {len(members)} "
        f"members. You are {_me(ctx)}."
    )
    if not result.messages:
        return f"{head} Nothing was said there yet."
    first, *rest = result.messages
    recent = rest[-RECENT:]
    texts = transcript_of([first], reader, now=ctx.now(), max_chars=MAX_SEED_CHARS)
    left_out = len(rest) - len(recent) + result.omitted
    later = transcript_of(recent, reader, now=ctx.now(), max_chars=MAX_CHARS)
    size = sum(map(len, later)) + len(texts[0])
    while later and size > MAX_JOIN_CHARS:
        size -= len(later.pop(0))
        left_out += 1
    if left_out:
        texts.append(f"— {left_out} messages left out: parler_recv since={first.seq} —")
    return "\n".join([head, *texts, *later])


async def approve(call: Call, args: Any) -> Answer:
    """Let somebody in, if a person says so."""
    ctx = await call.ctx()
    room, one = await _who_knocks(call, ctx, args)
    who = f"{name_and_role(one.name, one.role)} {one.fingerprint}"
    verdict = await call.decide(
        Question(
            text=f"Let {who} into the Parler session {visible(room)}? It will read all "
            "that was said there. Anybody can use a name: compare the fingerprint.",
            yes="let in",
            no="not now",
            subject=f"{ctx.hub}\n{room}\n{one.agent}",
        )
    )
    if verdict is Verdict.YES:
        decided = await admission.decide(ctx, room, one.agent, approve=True)
        call.services.delivery.knocks.stale.add(room)
        return Answer(text=_decided_text(decided))
    if verdict is Verdict.NO:
        return Answer(
            text=f"Your user did not let {who} in; it still waits. To reject it for "
            f"good: {_command('reject', one, room, call)}"
        )
    why = "has not agreed" if verdict is Verdict.UNANSWERED else "has to decide"
    return Answer(
        text=f"NOT approved: your user {why}. {who} still waits at {visible(room)}. "
        f"Ask your user to run this, and not to do so before comparing the "
        f"fingerprint:\n  {_command('approve', one, room, call)}",
        failed=verdict is Verdict.UNANSWERED,
    )


async def deny(call: Call, args: Any) -> Answer:
    """Reject somebody for good."""
    ctx = await call.ctx()
    room = call.room(args.room)
    decided = await admission.decide(ctx, room, args.agent, approve=False)
    call.services.delivery.knocks.stale.add(room)
    return Answer(text=_decided_text(decided))


async def requests(call: Call, args: Any) -> Answer:
    """Who waits."""
    ctx = await call.ctx()
    result = await admission.join_requests(ctx, call.room(args.room))
    lines = [f"let in, as decided beforehand: {_knock(one)}" for one in result.admitted]
    lines += [f"waits: {_knock(one)}" for one in result.requests]
    return Answer(text="\n".join(lines) or f"nobody waits at {place_of(result.room)}")


async def leave(call: Call, args: Any) -> Answer:
    """Leave a session."""
    ctx = await call.ctx()
    result = await session.leave_session(ctx, call.room(args.room))
    call.services.delivery.entered(call.services.active)
    return Answer(text=f"left {visible(result.room)}")


async def delete(call: Call, args: Any) -> Answer:
    """Delete a room of ours."""
    ctx = await call.ctx()
    result = await rooms.delete_room(ctx, call.room(args.room))
    call.services.delivery.entered(call.services.active)
    return Answer(text=f"{visible(result.room)} and all that was said there are gone")


async def list_rooms(call: Call, args: Any) -> Answer:
    """The rooms we are in."""
    ctx = await call.ctx()
    result = await rooms.rooms(ctx, active=call.services.active)
    lines = [
        f"{'*' if one.name == result.active else ' '} {visible(one.name)} "
        f"[{one.kind}] {one.members} members, {one.unread} unread"
        for one in result.rooms
    ]
    return Answer(text="\n".join(lines) or "you are in no room")


async def invite(call: Call, args: Any) -> Answer:
    """Make a key to a room that is no session."""
    ctx = await call.ctx()
    result = await invites.invite(
        ctx,
        invites.InviteParams(
            kind=args.kind,
            name=args.name,
            ttl_secs=args.ttl_secs,
            max_uses=args.max_uses,
            require_approval=args.require_approval,
        ),
    )
    return Answer(
        text=f"KEY: {visible(result.portable)}\nIt opens the {result.kind} "
        f"{visible(result.room)}."
    )


async def watch(call: Call, args: Any) -> Answer:
    """Make a token to read along."""
    ctx = await call.ctx()
    room = call.room(args.room)
    result = await tokens.watch_token(ctx, room, ttl_secs=args.ttl_secs)
    lines = [f"WATCH: {visible(result.token)}", f"reads {visible(result.url)}"]
    if result.viewer:
        lines.append(f"viewer: {visible(result.viewer)}")
    return Answer(text="\n".join(lines))


async def _who_knocks(call: Call, ctx: OpContext, args: Any) -> tuple[RoomName, Knock]:
    """Who is meant among those who wait.

    Raises:
        UsageError: Nobody, or more than one.
    """
    room = call.room(args.room)
    waiting = (await admission.join_requests(ctx, room)).requests
    if not waiting:
        raise UsageError(f"nobody waits at {place_of(room)}")
    people = [Person(agent=one.agent, name=one.name) for one in waiting]
    chosen = pick(
        args.agent,
        people,
        among=f"waits at {place_of(room)}",
        next_step="use the fingerprint of the one who is meant",
    )
    return room, next(one for one in waiting if one.agent == chosen.agent)


def _command(verb: str, one: Knock, room: RoomName, call: Call) -> str:
    # A shell outside of the app would be another agent, of its own home.
    return (
        f"parler session {verb} {one.fingerprint} --room {shlex.quote(visible(room))} "
        f"--home {shlex.quote(str(call.services.home))}"
    )


def _decided_text(result: DecisionResult) -> str:
    done = "is in" if result.approved else "is rejected and cannot ask again"
    who = f"{shown_name(result.name)} {result.fingerprint}"
    return f"{who} {done} ({visible(result.room)})"


def _knock(one: Knock) -> str:
    return f"{name_and_role(one.name, one.role)} {one.fingerprint}"


def _me(ctx: OpContext) -> str:
    me = ctx.identity
    return f"{name_and_role(me.name, me.role)} {fingerprint(me.agent_id)}"


TOOLS = (
    Tool(
        name="parler_open_session",
        about="Open a conversation other agents can join with a key. Example: "
        '{"topic": "flaky login", "context": "We found that…"}',
        args=_Open,
        run=open_session,
        hints=TALKS,
        common=True,
        operation="session.open_session",
    ),
    Tool(
        name="parler_join_session",
        about="Enter a conversation with a key somebody gave you. Example: "
        '{"key": "ABCD2345@wss://hub.example"}',
        args=_Join,
        run=join_session,
        hints=SETS,
        common=True,
        operation="session.join_session",
    ),
    Tool(
        name="parler_join",
        about='Enter any room with its key. Example: {"code": "ABCD2345"}',
        args=_JoinAny,
        run=join,
        hints=SETS,
        operation="session.join_session",
    ),
    Tool(
        name="parler_approve_join",
        about="Ask your user to let in an agent that knocked. "
        'Example: {"agent": "ABCD-EFGH-IJKL-MNOP"}',
        args=_Approve,
        run=approve,
        hints=Hints(destroys=True),
        common=True,
        asks_user=True,
        operation="admission.decide",
    ),
    Tool(
        name="parler_deny_join",
        about='Reject an agent that knocked, for good. Example: {"agent": "bob"}',
        args=_Approve,
        run=deny,
        hints=Hints(destroys=True),
        asks_user=True,
        operation="admission.decide",
    ),
    Tool(
        name="parler_join_requests",
        about="Who waits to be let in. Example: {}",
        args=_Room,
        run=requests,
        hints=READS,
        operation="admission.join_requests",
    ),
    Tool(
        name="parler_close_session",
        about="Leave a session; the others stay. Example: {}",
        args=_Room,
        run=leave,
        hints=Hints(destroys=True),
        operation="session.leave_session",
    ),
    Tool(
        name="parler_delete_room",
        about="Delete a room of yours with all that was said in it. "
        'Example: {"room": "room.abc234"}',
        args=_Room,
        run=delete,
        hints=Hints(destroys=True),
        asks_user=True,
        operation="rooms.delete_room",
    ),
    Tool(
        name="parler_watch_session",
        about="Make a token that lets a person read a session along. Example: {}",
        args=_Watch,
        run=watch,
        hints=Hints(open_world=True),
        operation="tokens.watch_token",
    ),
    Tool(
        name="parler_rooms",
        about="The rooms you are in, and what is unread. Example: {}",
        args=_Nothing,
        run=list_rooms,
        hints=READS,
        operation="rooms.rooms",
    ),
    Tool(
        name="parler_invite",
        about="Make a key to a channel, a service or a direct room. "
        'Example: {"kind": "channel", "name": "backend"}',
        args=_Invite,
        run=invite,
        hints=TALKS,
        operation="invites.invite",
    ),
)
