"""Tools about this machine: who works here, asking a project, and reserving files."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from parler.client.questions import Status
from parler.identity.homes import machine_home, process_environment, user_home_of
from parler.identity.identity import find_identity
from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import READS, SETS, TALKS, Hints, Tool, arguments
from parler.mcp_server.tools.common import fitting, name_and_role
from parler.ops import ask as asking
from parler.ops import peers, reservations
from parler.ops.ask import AskResult
from parler.ops.context import OpContext
from parler.ops.machine_context import Here
from parler.ops.peers import Peer, Scope
from parler.ops.reservations import Reserved
from parler.runtime import bootstrap
from parler.text.terminal import shown_name, visible
from parler.text.untrusted import LEGEND, quote
from parler.wire.base import RoomName
from parler.wire.urls import same_hub

MAX_FILES = 5

_Peers = arguments("Peers", peers.PeersParams, about={"scope": ""})
_Summary = arguments(
    "Summary", peers.SummaryParams, about={"text": "Empty: derived from git again."}
)
_Ask = arguments(
    "Ask",
    asking.AskParams,
    about={
        "project": "",
        "question": "",
        "follow_up": "To whoever answered you last.",
        "context": "",
        "to": "",
        "headless": "",
        "timeout_secs": "",
    },
)
_Answer = arguments("Answer", asking.AnswerParams)
_Reserve = arguments("Reserve", reservations.ReserveParams)
_Release = arguments("Release", reservations.ReserveParams, only=("glob",))


async def show_peers(call: Call, args: Any) -> Answer:
    """Who is here."""
    ctx = await call.ctx() if args.scope is Scope.HUB else None
    params = peers.PeersParams(scope=args.scope)
    result = await peers.peers(_here(call), params, ctx=ctx)
    texts = [_peer(one) for one in result.peers]
    count = fitting(texts)
    if count < len(texts):
        texts = [*texts[:count], f"— and {len(result.peers) - count} more —"]
    if result.note:
        texts.append(visible(result.note))
    return Answer(text="\n".join(texts) or "nobody else is here")


async def say_summary(call: Call, args: Any) -> Answer:
    """Tell the others here what we work on."""
    result = peers.set_summary(_here(call), peers.SummaryParams(text=args.text))
    return Answer(text=f"shown: {visible(result.summary or 'nothing')}")


async def ask(call: Call, args: Any) -> Answer:
    """Ask a project's own agent."""
    fields = ("project", "question", "follow_up", "context", "to", "headless")
    params = asking.AskParams(
        timeout_secs=args.timeout_secs, **{name: getattr(args, name) for name in fields}
    )
    here = _here(call)

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
    result = await call.patiently(work, f"waiting for {visible(args.project)}")
    holds = await call.services.delivery.collect_replies(result.turn)
    failed = result.status is not Status.DONE
    return Answer(text="\n".join(_answered(result)), failed=failed, holds=holds)


async def answer(call: Call, args: Any) -> Answer:
    """Answer a question that a message brought."""
    params = asking.AnswerParams(
        room=RoomName(args.room), seq=args.seq, text=args.text, decline=args.decline
    )
    result = await asking.answer_question(await call.ctx(), params)
    return Answer(text=f"answered (seq {result.seq})")


async def reserve_files(call: Call, args: Any) -> Answer:
    """Ask the others here to leave files alone."""
    params = reservations.ReserveParams(
        glob=args.glob, minutes=args.minutes, why=args.why
    )
    result = reservations.reserve(_here(call), params)
    if result.reserved is None:
        lines = [_reserved(one) for one in result.in_the_way]
        return Answer(
            text="\n".join(["NOT reserved; in the way:", *lines]), failed=True
        )
    return Answer(text=f"reserved {_reserved(result.reserved)}")


async def release_files(call: Call, args: Any) -> Answer:
    """Give up what was reserved."""
    result = reservations.release(_here(call), args.glob)
    return Answer(text=f"{len(result.released)} reservations given up")


def _here(call: Call) -> Here:
    settings = call.services.settings
    identity = find_identity(settings.home)
    environment = process_environment()
    return Here(
        home=machine_home(settings.base_home),
        folder=call.folder(None),
        environment=environment,
        agent=identity.agent_id if identity else None,
        name=settings.name or (identity.name if identity else "somebody"),
        pid=os.getpid(),
        now=bootstrap.now,
        token=secrets.token_hex,
        user_home=user_home_of(environment),
    )


def _peer(one: Peer) -> str:
    you = " (you)" if one.me else ""
    where = f" in {visible(one.project or one.folder or '')}" if one.folder else ""
    branch = f" on {visible(one.branch)}" if one.branch else ""
    app = f", {visible(one.app)}" if one.app else ""
    other = ", ON ANOTHER HUB" if one.other_hub else ""
    lines = [
        f"{name_and_role(one.name, one.role)}{you} {one.fingerprint}{app}{where}"
        f"{branch}, reached {one.reach}{other}"
    ]
    if one.summary:
        lines += quote(one.summary)
    if one.changed:
        shown = ", ".join(map(visible, one.changed[:MAX_FILES]))
        more = len(one.changed) - MAX_FILES
        lines += quote(f"changes {shown}" + (f" and {more} more" if more > 0 else ""))
    for held in one.reserved:
        lines += quote(f"reserved {held.glob} ({held.minutes} min): {held.why}")
    return "\n".join(lines)


def _answered(result: AskResult) -> list[str]:
    who = shown_name(result.answerer) if result.answerer else visible(result.project)
    tier = f", {result.tier}" if result.tier else ""
    print_ = f" {result.fingerprint}" if result.fingerprint else ""
    lines = [f"{who}{print_}{tier}: {result.status} ({LEGEND})"]
    if result.answer:
        lines += quote(result.answer)
    if result.note:
        lines.append(visible(result.note))
    return lines


def _reserved(one: Reserved) -> str:
    why = f": {visible(one.why)}" if one.why else ""
    whose = "you" if one.mine else shown_name(one.name)
    return f"{visible(one.glob)} by {whose} for {one.minutes} min{why}"


TOOLS = (
    Tool(
        name="parler_peers",
        about="Agents that are here now, what each works on, and whether a message "
        'reaches it at once. Example: {"scope": "repo"}',
        args=_Peers,
        run=show_peers,
        hints=READS,
        common=True,
        operation="peers.peers",
    ),
    Tool(
        name="parler_ask",
        about="Ask another project's own agent, which reads its code to answer. "
        'Example: {"project": "stagent", "question": "how do you retry webhooks?"}',
        args=_Ask,
        run=ask,
        hints=Hints(open_world=True),
        common=True,
        operation="ask.ask",
    ),
    Tool(
        name="parler_summary",
        about="Tell the other agents here what you work on. "
        'Example: {"text": "building the dashboard"}',
        args=_Summary,
        run=say_summary,
        hints=SETS,
        operation="peers.set_summary",
    ),
    Tool(
        name="parler_answer",
        about="Answer a question that a message asked. "
        'Example: {"room": "dm.abc", "seq": 12, "text": "with a queue"}',
        args=_Answer,
        run=answer,
        hints=TALKS,
        operation="ask.answer_question",
    ),
    Tool(
        name="parler_reserve",
        about="Ask the other agents here to leave files alone for a while. "
        'Example: {"glob": "src/auth/**", "why": "moving to sessions"}',
        args=_Reserve,
        run=reserve_files,
        hints=SETS,
        operation="reservations.reserve",
    ),
    Tool(
        name="parler_release",
        about='Give up files you reserved. Example: {"glob": "src/auth/**"}',
        args=_Release,
        run=release_files,
        hints=SETS,
        operation="reservations.release",
    ),
)
