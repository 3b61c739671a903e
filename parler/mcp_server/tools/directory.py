"""Tools about agents: who is there, who can do what, and what they are shown of us."""

import shlex
from collections.abc import Iterator
from typing import Any

from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.mcp_server.tool_call import Answer, Call, Question
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import (
    fitting,
    not_agreed,
    performed,
    shows,
    tool,
)
from parler.ops import attention, directory, identity, queue, rooms
from parler.ops.addressing import as_agent_id
from parler.ops.affiliations import introduced
from parler.ops.directory import DiscoverResult, Listed, RegisterResult
from parler.ops.queue import ServeResult
from parler.ops.rooms import Member
from parler.text.terminal import visible, word
from parler.text.transcript import shown_state
from parler.text.untrusted import LEGEND, quote
from parler.wire.base import RoomName

DEFAULT_FOUND = 25
_DETAIL = Arg(bool, default=False, hidden=True)


async def discover(call: Call, args: Any) -> Answer:
    """Who is in the directory."""
    result: DiscoverResult = await performed(call, directory.DISCOVER, args)
    texts = [
        _found(one) + (f"\n  id {one.card.id}" if args.detail else "")
        for one in result.agents
    ]
    count = fitting(texts)
    if result.more or count < len(texts):
        texts = [*texts[:count], "— there may be more: narrow the query, or limit —"]
    return Answer(text="\n".join(texts or ["nobody found"]))


async def roster(call: Call, args: Any) -> Answer:
    """The members of a room."""
    return await members(call, args.room, detail=args.detail)


async def members(call: Call, named: str | None, *, detail: bool = False) -> Answer:
    """Who is in a room, or else in the active session."""
    ctx = await call.ctx()
    me = ctx.client.agent_id
    result = await rooms.roster(ctx, call.room(named))
    texts = [
        _member(one, me=me) + (f"\n  id {one.id}" if detail else "")
        for one in result.entries
    ]
    count = fitting(texts)
    if count < len(texts):
        texts = [*texts[:count], f"— and {len(result.entries) - count} more —"]
    return Answer(text="\n".join([f"members of {word(result.room)}:", *texts]))


def _card(one: Listed) -> Iterator[str]:
    described = one.card
    yield _found(one)
    yield f"id {word(described.id)}"
    if described.description:
        yield f"about ({LEGEND}):"
        yield from quote(described.description)
    for skill in described.skills or []:
        yield f"skill {word(skill.name)}:"
        yield from quote(skill.description or "")


def _registered(result: RegisterResult) -> str:
    tags = ", ".join(map(word, result.card.tags or [])) or "none"
    return f"your card is {result.visibility}; tags: {tags}"


async def show(call: Call, args: Any) -> Answer:
    """Say what we are doing."""
    presence = call.services.presence
    presence.say(args.status, args.activity)
    status, words = presence.state
    await identity.stay_present(await call.ctx(), status, activity=words)
    return Answer(text=f"you are shown as {word(status)}")


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
            lines.append(f"{what}: {', '.join(map(word, names))}")
    return Answer(text="\n".join(lines))


def _served(result: ServeResult) -> str:
    if not result.admitted:
        return (
            f"you asked to work for {word(result.service)}; its owner has to admit "
            "you before you are given anything"
        )
    return f"you serve {word(result.service)} in {word(result.room)}"


async def admit_worker(call: Call, args: Any) -> Answer:
    """Let an agent work for a service, if a person says so."""
    ctx = await call.ctx()
    chosen = await queue.worker_meant(ctx, args.service, args.agent)
    who, service = str(chosen), visible(args.service)
    agent = as_agent_id(chosen.agent) or fingerprint(chosen.agent)
    refused = await not_agreed(
        call,
        Question(
            text=f"Let {who} work for the Parler service {service}? It is given what "
            "others ask there. Anybody can use a name: compare the fingerprint.",
            subject=f"admit\n{ctx.hub}\n{args.service}\n{chosen.agent}",
        ),
        "admitted",
        # The service is this agent's, so it is named.
        shlex.join(
            [
                *("parler", "serve", service, "--admit", agent),
                *("--home", str(call.services.home)),
            ]
        ),
    )
    if refused is not None:
        return refused
    result = await queue.admit(ctx, args.service, chosen.agent)
    return Answer(text=f"{result.fingerprint} works for {word(result.service)}")


def _found(one: Listed) -> str:
    described = one.card
    proof = "card signed" if one.signature is Signature.VALID else "card NOT proven"
    tags = "".join(f" #{word(tag)}" for tag in described.tags or [])
    state, activity = shown_state(one)
    who = introduced(described.name, described.role, described.id, one.affiliation)
    return f"{who}, {proof}, {one.visibility}, {state}{activity}{tags}"


def _member(one: Member, *, me: str) -> str:
    you = " (you)" if one.id == me else ""
    state, activity = shown_state(one)
    who = introduced(one.name, one.role, one.id, one.affiliation)
    return f"{who}{you} [{state}]{activity}"


TOOLS = (
    tool(
        directory.DISCOVER,
        discover,
        limit=Arg(int, "", DEFAULT_FOUND),
        detail=_DETAIL,
    ),
    tool(rooms.ROSTER, roster, detail=_DETAIL),
    shows(directory.CARD, _card, aliases={"id": "agent"}),
    shows(directory.REGISTER, _registered),
    tool(identity.PRESENCE, show),
    tool(attention.ATTENTION, attend),
    shows(queue.SERVE, _served),
    tool(queue.ADMIT, admit_worker),
)
