"""Tools to open and enter sessions, to mind the door, and to leave."""

import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from parler.apps.install.manifest import Manifest
from parler.errors import ConfigError, HubError, UsageError
from parler.identity.homes import machine_home
from parler.identity.people import Relation
from parler.identity.person import find_person
from parler.identity.signing import fingerprint
from parler.mcp_server.tool_call import (
    MAX_RESULT_CHARS,
    Answer,
    Call,
    Question,
    Verdict,
)
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import (
    command_line,
    digest_lines,
    name_and_role,
    not_agreed,
    performed,
    shows,
    told,
    tool,
    transcript_of,
)
from parler.mcp_server.tools.directory import members
from parler.ops import admission, invites, rooms, session, tokens
from parler.ops.admission import DecisionResult, Knock, RequestsResult
from parler.ops.affiliations import introduced
from parler.ops.capability import SESSION, Capability
from parler.ops.context import OpContext
from parler.ops.invites import InviteResult
from parler.ops.own import is_ours
from parler.ops.rooms import RoomsResult
from parler.ops.session import (
    ONLY_THIS_USER,
    JoinResult,
    JoinState,
    RenameResult,
)
from parler.ops.tokens import WatchResult
from parler.runtime.entry import MAX_CHARS, MAX_SEED_CHARS
from parler.runtime.hub_link import HubAway
from parler.runtime.joining import RECENT, pasted_key
from parler.text.terminal import clipped, counted, quoted, shown_name, visible, word
from parler.text.untrusted import place_of
from parler.wire.base import RoomName
from parler.wire.foreign import foreign
from parler.wire.joinkey import JoinKey
from parler.wire.urls import same_hub

MAX_JOIN_WAIT_SECS = 600
MAX_JOIN_CHARS = 16_000

_CODE = Arg(str, "A key of any room.")
_COMPARE = " Anybody can use a name: compare the fingerprint."
_WAIT = Arg(int, "Wait for the owner's decision, up to 600.", 0)


class Backlog(StrEnum):
    """How much of what was said is shown to who joins."""

    RECENT = "recent"
    FULL = "full"


async def open_session(call: Call, args: Any) -> Answer:
    """Open a session, and say how others come in."""
    ctx = await call.ctx()
    result = await performed(call, session.OPEN, args)
    call.services.delivery.entered(result.room)
    gate = (
        f"Whoever uses it waits until your user lets it in. {told(call, 'who knocks')}"
        if result.gated
        else "Whoever has it is in at once: give it to nobody else."
    )
    walk_in = ["Your user's own agents", *map(shown_name, result.welcome)]
    named = "".join(f", and so does {word(one)}" for one in result.approved)
    return Answer(
        text="\n".join(
            [
                f"Session {word(result.room)} is open and active.",
                f"You are {_me(ctx)}.",
                f"KEY: {visible(result.portable)}",
                gate,
                *(
                    [f"{' and those of '.join(walk_in)} come in at once{named}."]
                    if result.gated
                    else ()
                ),
                *_ways_in(call, visible(result.portable)),
                *([ONLY_THIS_USER] if result.for_this_user else ()),
                "Show your user the key and these lines.",
            ]
        )
    )


def _ways_in(call: Call, key: str) -> Iterator[str]:
    """How others use a key."""
    join = f"  parler session join {shlex.quote(key)}"
    if _wired(machine_home(call.services.settings.base_home)):
        yield "The other agent's user gives it the key, or runs in its shell:"
        yield join
        return
    pasted = shlex.quote(f"PARLER_SESSION_KEY={key}")
    yield "The other agent's user gives it the key, or runs one of:"
    yield f"  claude mcp add parler -e {pasted} -- parler mcp"
    yield join


def _wired(machine: Path) -> bool:
    """Whether `parler connect` has set up the apps of this machine."""
    try:
        return bool(Manifest(machine).apps())
    except ConfigError:
        return False


async def join_session(call: Call, args: Any) -> Answer:
    """Redeem a key: knock, or enter and read what was said so far."""
    return await _join(call, args.key, args.wait_secs, args.backlog)


async def join(call: Call, args: Any) -> Answer:
    """Redeem the key of any room."""
    return await _join(call, args.code, args.wait_secs, Backlog.RECENT)


async def _join(call: Call, pasted: str, wait_secs: int, backlog: Backlog) -> Answer:
    key = pasted_key(pasted)
    services = call.services
    before = services.link.hub
    moved = key.hub is not None and not same_hub(key.hub, before)
    if moved:
        ctx = await _move(call, str(key.hub), before)
    else:
        ctx = await call.ctx()
    wait = min(max(wait_secs, session.WALK_IN_SECS), MAX_JOIN_WAIT_SECS)
    await services.presence.introduce(ctx)
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
            f"sees you as {_me(ctx)}{_whose(ctx)}: tell your user this, so that the "
            "owner's user can compare it. Nothing can be read before. Go on with other "
            f"work. {told(call, 'when it is decided')}{here}"
        )
    services.joiner.ended(key)
    services.delivery.entered(result.room)
    text = await _joined_text(call, ctx, result, backlog)
    claims = []
    if result.messages:  # whether we read for this agent is perhaps not decided yet
        claims = [services.delivery.has_read(result.room, result.messages[-1].seq)]
    return Answer(text=text + here, claims=claims)


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


async def _joined_text(
    call: Call, ctx: OpContext, result: JoinResult, backlog: Backlog
) -> str:
    entries = (await rooms.roster(ctx, result.room)).entries
    reader = call.reader(ctx)
    head = (
        f"You are in: {word(result.room)} is your active session, {len(entries)} "
        f"members. You are {_me(ctx)}."
    )
    if result.digest:
        head = "\n".join([head, *digest_lines(result.digest)])
    if not result.messages:
        return f"{head}\nNothing was said there yet."
    first, *rest = result.messages
    full = backlog is Backlog.FULL
    recent = rest if full else rest[-RECENT:]
    texts = transcript_of([first], reader, now=ctx.now(), max_chars=MAX_SEED_CHARS)
    left_out = len(rest) - len(recent) + result.omitted
    later = transcript_of(
        recent, reader, now=ctx.now(), max_chars=None if full else MAX_CHARS
    )
    most = MAX_RESULT_CHARS if full else MAX_JOIN_CHARS
    size = sum(map(len, later)) + len(texts[0])
    while later and size > most:
        size -= len(later.pop(0))
        left_out += 1
    if left_out:
        gone = counted(left_out, "message")
        texts.append(f"— {gone} left out: parler_recv since={first.seq} —")
    return "\n".join([head, *texts, *later])


async def approve(call: Call, args: Any) -> Answer:
    """Let somebody in, if a person says so."""
    ctx = await call.ctx()
    room, one = await _who_knocks(call, ctx, args)
    who = _knock(one)
    compare = "" if one.is_known else _COMPARE
    verdict = await call.decide(
        Question(
            text=f"{who} knocks at the Parler session {word(room)}, and would read "
            f"all that was said there.{compare} Let it in?",
            subject=f"{ctx.hub}\n{room}\n{one.agent}",
        )
    )
    if verdict is Verdict.YES:
        decided = await admission.decide(ctx, room, one.agent, approve=True)
        call.services.delivery.knocks.stale.add(room)
        return Answer(text="\n".join([_decided_text(decided), *_remember(decided)]))
    why = "has not agreed" if verdict is Verdict.UNANSWERED else "has to decide"
    return Answer(
        text=f"NOT approved: your user {why}. {who} still waits at {word(room)}. "
        f"Ask your user to run this, and not to do so before comparing the "
        f"fingerprint:\n  {command_line(call, 'approve', one.fingerprint)}",
        failed=verdict is Verdict.UNANSWERED,
    )


async def deny(call: Call, args: Any) -> Answer:
    """Reject somebody for good, if a person says so."""
    ctx = await call.ctx()
    room, one = await _who_knocks(call, ctx, args)
    refused = await not_agreed(
        call,
        Question(
            text=f"Reject {_knock(one)} for good, who knocks at the Parler session "
            f"{visible(room)}?",
            subject=f"reject\n{ctx.hub}\n{room}\n{one.agent}",
        ),
        "rejected",
        command_line(call, "reject", one.fingerprint),
    )
    if refused is not None:
        return refused
    decided = await admission.decide(ctx, room, one.agent, approve=False)
    call.services.delivery.knocks.stale.add(decided.room)
    return Answer(text=_decided_text(decided))


def _requests(result: RequestsResult) -> list[str]:
    lines = [f"let in, as decided beforehand: {_knock(one)}" for one in result.admitted]
    lines += [f"waits: {_knock(one)}" for one in result.requests]
    return lines or [f"nobody waits at {place_of(result.room)}"]


async def leave(call: Call, args: Any) -> Answer:
    """Leave a session; its owner's user is asked first."""
    ctx = await call.ctx()
    room = call.room(args.room)
    refused = await _kept(
        call,
        ctx,
        room,
        f"This agent opened the Parler session {word(room)}, and without it nobody can "
        "be let in any more. Leave it all the same?",
        "left",
        "session leave",
    )
    if refused is not None:
        return refused
    result = await performed(call, session.LEAVE, args)
    call.services.delivery.entered(call.services.active)
    left = f"left {word(result.room)}"
    if result.still_member:
        left += (
            ": it is no longer your active session. This hub lets nobody leave for "
            "good, so its members still see you as one."
        )
    return Answer(text=left)


async def delete(call: Call, args: Any) -> Answer:
    """Delete a room of ours, if a person says so."""
    ctx = await call.ctx()
    room = call.room(args.room)
    refused = await _kept(
        call,
        ctx,
        room,
        f"Delete the Parler session {word(room)} with all that was said there?",
        "deleted",
        "delete-room",
    )
    if refused is not None:
        return refused
    result = await rooms.delete_room(ctx, room)
    call.services.delivery.entered(call.services.active)
    return Answer(text=f"{word(result.room)} and all that was said there are gone")


async def _kept(
    call: Call, ctx: OpContext, room: RoomName, question: str, done: str, verb: str
) -> Answer | None:
    """What the model is told of a room of ours, unless its person wants it so.

    Args:
        done: What would be done, as in "NOT deleted".
        verb: The command by which the person does it.
    """
    if not await is_ours(ctx, room):
        return None
    return await not_agreed(
        call,
        Question(text=question, subject=f"{done}\n{ctx.hub}\n{room}"),
        done,
        command_line(call, verb, "--room", room),
    )


class Action(StrEnum):
    """What is done with a session."""

    LIST = "list"
    MEMBERS = "members"
    USE = "use"
    LEAVE = "leave"


_BY_COMMAND = {
    Action.MEMBERS: "parler roster --room",
    Action.USE: "parler session use",
    Action.LEAVE: "parler session leave --room",
}
"""What does the same with a room by its name; a model is told the tool."""


async def manage(call: Call, args: Any) -> Answer:
    """List our sessions, or their members; make another one active; leave one.

    One tool that names its actions, and not four: these take 0.5 KB of what a model
    reads at each start instead of 1.2, of the plausible calls in the tests the same
    are understood, and a wrong action is told which there are. What has other rights
    (letting in, deleting) stays a tool of its own, so that apps can ask by its name.
    """
    ctx = await call.ctx()
    if args.action is Action.LIST:
        return Answer(text="\n".join(_rooms(await rooms.rooms(ctx))))
    if args.room:
        step = _BY_COMMAND[args.action]
        called = await session.room_called(ctx, args.room, command=step)
        args = msgspec.structs.replace(args, room=called.name)
    if args.action is Action.LEAVE:
        return await leave(call, args)
    if args.action is Action.MEMBERS:
        return await members(call, args.room)
    if not args.room:
        raise UsageError(
            "which session is to be used?", next_step="parler_session action=list"
        )
    used = await session.use_session(ctx, args.room)
    call.services.delivery.entered(used.room)
    topic = f" {quoted(clipped(used.topic))}" if used.topic else ""
    return Answer(text=f"{word(used.room)}{topic} is your active session now")


_SESSION = Capability(
    run=manage,
    about="Your sessions: list them, their members, make one active, leave one.",
    tool="parler_session",
    call='{"action": "use", "room": "flaky login"}',
    common=True,
    no_command="each of it is a command of its own: parler session list, use, leave",
)


def _rooms(result: RoomsResult) -> list[str]:
    lines = [
        f"{'*' if one.name == result.active else ' '} {word(one.name)} "
        + (f"{quoted(clipped(one.topic))} " if one.topic else "")
        + f"[{one.kind}] {counted(one.members, 'member')}, {one.unread} unread"
        for one in result.rooms
    ]
    return lines or ["you are in no room"]


def _invited(result: InviteResult) -> Iterator[str]:
    yield f"KEY: {visible(result.portable)}"
    yield f"It opens the {result.kind} {word(result.room)}."


def _renamed(result: RenameResult) -> Iterator[str]:
    yield f"{word(result.room)} is about {quoted(clipped(result.topic))} from now on"


def _watched(result: WatchResult) -> Iterator[str]:
    yield f"WATCH: {visible(result.token)}"
    yield f"reads {visible(result.url)}"
    if result.viewer:
        yield f"viewer: {visible(result.viewer)}"


async def _who_knocks(call: Call, ctx: OpContext, args: Any) -> tuple[RoomName, Knock]:
    """Who is meant among those who wait.

    Raises:
        UsageError: Nobody, or more than one.
    """
    room = call.room(args.room)
    waiting = (await admission.join_requests(ctx, room)).requests
    return room, admission.knock_meant(
        args.agent,
        waiting,
        at=f" at {place_of(room)}",
        next_step="parler_join_requests",
    )


def _remember(result: DecisionResult) -> Iterator[str]:
    person = result.affiliation.person if result.affiliation else None
    if person is not None and person.relation is Relation.UNKNOWN:
        yield (
            f"To know the agents of {shown_name(person.name)} from now on, your user "
            f"runs: parler trust {person.fingerprint}"
        )


def _decided_text(result: DecisionResult) -> str:
    done = "is in" if result.approved else "is rejected and cannot ask again"
    who = introduced(result.name, None, result.agent, result.affiliation)
    return f"{who} {done} ({word(result.room)})"


def _knock(one: Knock) -> str:
    return introduced(one.name, one.role, one.agent, one.affiliation)


def _whose(ctx: OpContext) -> str:
    """The person whose agent we are, as the owner sees it."""
    try:
        person = find_person(machine_home(ctx.identity.home))
    except ConfigError:
        return ""
    if person is None or person.agent_id == ctx.client.agent_id:
        return ""
    return f", an agent of {shown_name(person.name)} {fingerprint(person.agent_id)}"


def _me(ctx: OpContext) -> str:
    me = ctx.identity
    name = name_and_role(foreign(me.name), foreign(me.role))
    return f"{name} {fingerprint(me.agent_id)}"


TOOLS = (
    tool(session.OPEN, open_session),
    tool(
        session.JOIN_SESSION,
        join_session,
        wait_secs=_WAIT,
        backlog=Arg(Backlog, default=Backlog.RECENT, hidden=True),
    ),
    tool(
        session.JOIN,
        join,
        drop=["key"],
        code=Arg(str, "A key of any room."),
        wait_secs=_WAIT,
    ),
    tool(admission.APPROVE, approve),
    tool(admission.REJECT, deny),
    tool(
        _SESSION,
        manage,
        action=Arg(Action, default=Action.LIST),
        room=Arg(str | None, "Name or topic; default: active session.", None),
    ),
    shows(admission.REQUESTS, _requests),
    tool(session.LEAVE, leave),
    tool(rooms.DELETE, delete, room=Arg(str | None, SESSION.about, None)),
    shows(session.RENAME, _renamed),
    shows(tokens.WATCH, _watched),
    shows(rooms.ROOMS, _rooms),
    shows(invites.INVITE, _invited),
)
