"""Tools about agents: who is there, who can do what, and what they are shown of us."""

from typing import Any

from parler.identity.message_signing import Signature
from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import READS, SETS, Arg, Hints, Tool, arguments
from parler.mcp_server.tools.common import PLAIN_ROOM, ROOM, fitting, name_and_role
from parler.ops import attention, directory, identity, queue, rooms
from parler.ops.directory import Listed
from parler.ops.rooms import Member
from parler.text.terminal import shown_name, visible
from parler.text.untrusted import LEGEND, quote
from parler.wire.base import RoomName
from parler.wire.records import Attention

DEFAULT_FOUND = 25

_Discover = arguments(
    "Discover",
    directory.DiscoverParams,
    drop=("limit",),
    about={
        "query": "In names, tags and skills.",
        "tag": "",
        "skill": "",
        "status": "As idle.",
        "scope": "",
    },
    limit=Arg(int, "", DEFAULT_FOUND),
)
_Roster = arguments("Roster", room=ROOM)
_Card = arguments(
    "Card", agent=Arg(str | None, "Name, id or fingerprint; else your own.", None)
)
_Register = arguments("Register", directory.RegisterParams, drop=("replace",))
_Presence = arguments(
    "Presence",
    status=Arg(str, "idle, working or waiting."),
    activity=Arg(str | None, "In a few words.", None),
)
_Attention = arguments(
    "Attention",
    mode=Arg(Attention | None, "What may interrupt you; nothing shows it.", None),
    room=PLAIN_ROOM,
    room_attention=Arg(
        attention.RoomAttention | None, "An exception for that room.", None
    ),
)
_Serve = arguments("Serve", service=Arg(str, "Its name."))


async def discover(call: Call, args: Any) -> Answer:
    """Look for agents."""
    params = directory.DiscoverParams(
        query=args.query,
        tag=args.tag,
        skill=args.skill,
        status=args.status,
        scope=args.scope,
        limit=max(1, min(args.limit, directory.MAX_DISCOVERED)),
    )
    result = await directory.discover(await call.ctx(), params)
    texts = [_found(one) for one in result.agents]
    count = fitting(texts)
    if result.more or count < len(texts):
        texts = [*texts[:count], "— there may be more: narrow the query, or limit —"]
    return Answer(text="\n".join(texts) or "nobody found")


async def roster(call: Call, args: Any) -> Answer:
    """The members of a room."""
    ctx = await call.ctx()
    result = await rooms.roster(ctx, call.room(args.room))
    texts = [_member(one, me=ctx.client.agent_id) for one in result.entries]
    count = fitting(texts)
    if count < len(texts):
        texts = [*texts[:count], f"— and {len(result.entries) - count} more —"]
    return Answer(text="\n".join([f"members of {visible(result.room)}:", *texts]))


async def card(call: Call, args: Any) -> Answer:
    """One agent's card."""
    one = await directory.card(await call.ctx(), args.agent)
    described = one.card
    lines = [_found(one), f"id {described.id}"]
    if described.description:
        lines += [f"about ({LEGEND}):", *quote(described.description)]
    for skill in described.skills or []:
        lines += quote(f"skill {skill.name}: {skill.description or ''}")
    return Answer(text="\n".join(lines))


async def register(call: Call, args: Any) -> Answer:
    """Change what our card says."""
    fields = ("visibility", "tags", "remove_tags", "skills", "remove_skills")
    params = directory.RegisterParams(
        description=args.description,
        role=args.role,
        **{name: getattr(args, name) for name in fields},
    )
    result = await directory.register(await call.ctx(), params)
    tags = ", ".join(map(visible, result.card.tags or [])) or "none"
    return Answer(text=f"your card is {result.visibility}; tags: {tags}")


async def show(call: Call, args: Any) -> Answer:
    """Say what we are doing."""
    result = await identity.presence(
        await call.ctx(), args.status, activity=args.activity
    )
    call.services.presence.say(args.status, args.activity)
    return Answer(text=f"you are shown as {visible(result.status)}")


async def attend(call: Call, args: Any) -> Answer:
    """What may interrupt us."""
    if args.mode is not None:
        params = attention.ModeParams(mode=args.mode)
        result = await attention.set_mode(await call.ctx(), params)
    else:
        identity = (await call.ctx()).identity
        room = RoomName(args.room) if args.room else None
        if room is not None and args.room_attention is not None:
            change = attention.RoomParams(room=room, attention=args.room_attention)
            result = attention.set_room(identity, change)
        else:
            result = attention.show_attention(identity, room=room)
    call.services.delivery.judge_anew()
    lines = [f"mode {result.mode}"]
    for what, names in (("quiet", result.quiet_rooms), ("muted", result.muted_rooms)):
        if names:
            lines.append(f"{what}: {', '.join(map(visible, names))}")
    return Answer(text="\n".join(lines))


async def serve(call: Call, args: Any) -> Answer:
    """Become a worker of a service."""
    result = await queue.serve(await call.ctx(), args.service)
    return Answer(text=f"you serve {visible(result.service)} in {visible(result.room)}")


def _found(one: Listed) -> str:
    described = one.card
    proof = "card signed" if one.signature is Signature.VALID else "card NOT proven"
    tags = "".join(f" #{visible(tag)}" for tag in described.tags or [])
    activity = f" — {visible(one.activity)}" if one.activity else ""
    return (
        f"{name_and_role(described.name, described.role)} {one.fingerprint}, {proof}, "
        f"{one.visibility}, {visible(one.status)}{activity}{tags}"
    )


def _member(one: Member, *, me: str) -> str:
    role = f" ({shown_name(one.role)})" if one.role else ""
    you = " (you)" if one.id == me else ""
    attends = f", {one.attention}" if one.attention else ""
    activity = f" — {visible(one.activity)}" if one.activity else ""
    return (
        f"{shown_name(one.name)}{role}{you} {one.fingerprint} "
        f"[{visible(one.status)}{attends}]{activity}"
    )


TOOLS = (
    Tool(
        name="parler_discover",
        about="Agents in the hub's directory. "
        'Example: {"tag": "planning", "status": "idle"}',
        args=_Discover,
        run=discover,
        hints=READS,
        common=True,
        operation="directory.discover",
    ),
    Tool(
        name="parler_roster",
        about="Who is in a session, what each is doing, and how it is woken. "
        "Example: {}",
        args=_Roster,
        run=roster,
        hints=READS,
        common=True,
        operation="rooms.roster",
    ),
    Tool(
        name="parler_card",
        about='What an agent says of itself. Example: {"agent": "planner"}',
        args=_Card,
        run=card,
        hints=READS,
        operation="directory.card",
    ),
    Tool(
        name="parler_register",
        about="Change your card in the directory. "
        'Example: {"visibility": "public", "tags": ["planning"]}',
        args=_Register,
        run=register,
        hints=Hints(repeatable=True, open_world=True),
        operation="directory.register",
    ),
    Tool(
        name="parler_presence",
        about='What others are shown of you. Example: {"status": "working", '
        '"activity": "fixing the login"}',
        args=_Presence,
        run=show,
        hints=SETS,
        operation="identity.presence",
    ),
    Tool(
        name="parler_attention",
        about="What may interrupt you: open everything, dnd what is meant for you, "
        'focus only handoffs. Example: {"mode": "dnd"}',
        args=_Attention,
        run=attend,
        hints=SETS,
        operation="attention.set_mode",
    ),
    Tool(
        name="parler_serve",
        about='Take tasks of a service. Example: {"service": "review"}',
        args=_Serve,
        run=serve,
        hints=SETS,
        operation="queue.serve",
    ),
)
