"""Tools about this machine: who works here, asking a project, and reserving files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from parler.client.questions import Status
from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import (
    fitting,
    here_of,
    performed,
    shows,
    told,
    tool,
)
from parler.ops import ask as asking
from parler.ops import peers, questions, reservations
from parler.ops.affiliations import introduced
from parler.ops.ask import AskResult
from parler.ops.context import OpContext
from parler.ops.messages import SendResult
from parler.ops.peers import Peer, Scope, SummaryResult
from parler.ops.questions import State
from parler.ops.reservations import ReleaseResult, Reserved
from parler.runtime import bootstrap
from parler.text.terminal import sentence, shown_name, visible, word
from parler.text.untrusted import LEGEND, quote
from parler.wire.urls import same_hub

MAX_FILES = 5
FETCH_SECS = 5.0
"""How long what the hub has may take to be fetched."""


async def show_peers(call: Call, args: Any) -> Answer:
    """Who is here."""
    ctx = await call.ctx() if args.scope is Scope.HUB else None
    params = peers.PeersParams(scope=args.scope, query=args.query)
    result = await peers.peers(here_of(call), params, ctx=ctx)
    texts = [_peer(one) for one in result.peers]
    count = fitting(texts)
    if count < len(texts):
        texts = [*texts[:count], f"— and {len(result.peers) - count} more —"]
    if result.note:
        texts.append(word(result.note))
    return Answer(text="\n".join(texts) or "nobody else is here")


def _summary(result: SummaryResult) -> str:
    return f"shown: {visible(result.summary or 'nothing')}"


async def ask(call: Call, args: Any) -> Answer:
    """Ask a project's own agent."""
    params = asking.AskParams(**msgspec.structs.asdict(args))
    here = here_of(call)

    @asynccontextmanager
    async def connect(hub: str | None) -> AsyncIterator[OpContext]:
        services = call.services
        if hub is None or same_hub(hub, services.link.hub):
            yield await call.ctx()
            return
        identity, _ = bootstrap.identity_of(services.settings, hub=hub)
        async with bootstrap.connected(hub, services.settings, identity) as ctx:
            yield ctx

    work = asking.ask(here, params, connect=connect)
    result = await call.patiently(work, f"waiting for {word(args.project)}")
    holds = await call.services.delivery.collect_replies(result.turn)
    failed = result.status is not Status.DONE
    return Answer(text="\n".join(_answered(result)), failed=failed, holds=holds)


async def ask_user(call: Call, args: Any) -> Answer:
    """Ask the person whose agent calls."""
    ctx = await call.ctx()
    services = call.services
    params = questions.AskUserParams(**msgspec.structs.asdict(args))
    work = questions.ask_user(
        ctx,
        params,
        as_person=lambda: bootstrap.as_person(ctx.hub, services.settings),
    )
    result = await call.patiently(work, "waiting for your user")
    if result.state is State.WAITING:
        return Answer(
            text="Your user has not answered yet. The question waits in their inbox "
            f"(`parler inbox`). {told(call, 'what they answer')}"
        )
    await services.delivery.ask(FETCH_SECS)  # else it would come once more
    holds = await services.delivery.collect_replies(result.turn)
    said = "declines to answer" if result.state is State.DECLINED else "answers"
    lines = [f"Your user {said}, signature verified:", *quote(result.answer or "")]
    return Answer(text="\n".join(lines if result.answer else lines[:1]), holds=holds)


def _told(result: SendResult) -> str:
    return f"answered (seq {result.seq})"


async def reserve_files(call: Call, args: Any) -> Answer:
    """Ask the others here to leave files alone."""
    result = await performed(call, reservations.RESERVE, args)
    if result.reserved is None:
        lines = [_reserved(one) for one in result.in_the_way]
        return Answer(
            text="\n".join(["NOT reserved; in the way:", *lines]), failed=True
        )
    return Answer(text=f"reserved {_reserved(result.reserved)}")


def _released(result: ReleaseResult) -> str:
    return f"{len(result.released)} reservations given up"


def _peer(one: Peer) -> str:
    you = " (you)" if one.me else ""
    where = f" in {visible(one.project or one.folder or '')}" if one.folder else ""
    branch = f" on {word(one.branch)}" if one.branch else ""
    app = f", {word(one.app)}" if one.app else ""
    other = ", ON ANOTHER HUB" if one.other_hub else ""
    who = introduced(one.name, one.role, one.agent, one.affiliation)
    lines = [f"{who}{you}{app}{where}{branch}, reached {one.reach}{other}"]
    if one.summary:
        lines += quote(one.summary)
    if one.changed:
        shown = ", ".join(map(word, one.changed[:MAX_FILES]))
        more = len(one.changed) - MAX_FILES
        lines += quote(f"changes {shown}" + (f" and {more} more" if more > 0 else ""))
    for held in one.reserved:
        lines += quote(f"reserved {held.glob} ({held.minutes} min): {held.why}")
    return "\n".join(lines)


def _answered(result: AskResult) -> list[str]:
    who = shown_name(result.answerer) if result.answerer else word(result.project)
    tier = f", {result.tier}" if result.tier else ""
    print_ = f" {result.fingerprint}" if result.fingerprint else ""
    lines = [f"{who}{print_}{tier}: {result.status} ({LEGEND})"]
    if result.answer:
        lines += quote(result.answer)
    if result.note:
        lines.append(word(result.note))
    return lines


def _reserved(one: Reserved) -> str:
    why = f": {word(one.why)}" if one.why else ""
    whose = "you" if one.mine else shown_name(one.name)
    return f"{sentence(one.glob)} by {whose} for {one.minutes} min{why}"


TOOLS = (
    tool(peers.PEERS, show_peers),
    tool(asking.ASK, ask),
    shows(peers.SUMMARY, _summary),
    tool(questions.ASK_USER, ask_user),
    shows(asking.ANSWER, _told),
    tool(reservations.RESERVE, reserve_files),
    shows(
        reservations.RELEASE, _released, glob=Arg(str, "As it was reserved, or its id.")
    ),
)
