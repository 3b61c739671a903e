"""Tools to say something, to read, and to hand over the turn."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from parler.errors import TransportError, UsageError
from parler.identity.identity import knocked_at
from parler.identity.settings import hub_key
from parler.mcp_server.tool_call import MAX_RESULT_CHARS, Answer, Call, Host
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import (
    fitting,
    only_one_target,
    shows,
    target_of,
    tool,
    transcript_of,
)
from parler.ops import messages, queue, receipts, tasks
from parler.ops.addressing import as_agent_id
from parler.ops.capability import SETS, Capability
from parler.ops.context import OpContext, not_in_yet
from parler.ops.messages import ReceiveResult
from parler.ops.receipts import StatusResult
from parler.ops.session import MAX_CONTEXT_BYTES
from parler.runtime.entry import MAX_CHARS
from parler.runtime.outbox import Queued
from parler.text.terminal import shown_name, word
from parler.text.untrusted import place_of
from parler.wire.base import RoomName, Seq
from parler.wire.records import Target

SEND_SECS = 15.0
"""How long a hub that is there may take before the message is queued."""

OUTCOME_SECS = 5.0
FETCH_SECS = 5.0
"""How long what a session holds already may take to be fetched."""

MAX_WAIT_SECS = 300
DEFAULT_MESSAGES = 30
MAX_MESSAGES = 200
RECV_CHARS = 16_000
PARKED_SECS = 20
"""How long one wait on the hub takes, of those that make up a longer one."""

OTHER_WINDOW = (
    "(Another window of this agent reads its messages: shown here, these do not count "
    "as read.)"
)


async def send(call: Call, args: Any) -> Answer:
    """Say something, now or once the hub is back."""
    only_one_target(room=args.room, to=args.to, service=args.service, role=args.role)
    if not args.text.strip():
        raise UsageError("the message is empty")
    if args.role and (args.reply_to or args.mentions):
        raise UsageError("role takes no reply_to and no mentions")
    return await _say(
        call, "parler_send", args, len(args.text.encode("utf-8", "replace"))
    )


async def handoff(call: Call, args: Any) -> Answer:
    """Hand over the turn, now or once the hub is back."""
    only_one_target(room=args.room, to=args.to, service=args.service)
    if not args.next.strip():
        raise UsageError("a handoff needs a next step")
    size = len((args.next + (args.summary or "")).encode("utf-8", "replace"))
    return await _say(call, "parler_handoff", args, size)


async def _say(call: Call, name: str, args: Any, size: int) -> Answer:
    if size > MAX_CONTEXT_BYTES:
        raise UsageError(
            f"the message has {size} bytes; {MAX_CONTEXT_BYTES} fit",
            next_step="send it in pieces, or as a file",
        )
    given = {
        field.encode_name: getattr(args, field.name)
        for field in msgspec.structs.fields(args)
        if getattr(args, field.name) not in (None, [])
    }
    if not (given.get("to") or given.get("service") or given.get("role")):
        given["room"] = call.room(args.room)  # as it is meant now
    services = call.services
    one = Queued(
        client_id=str(uuid.uuid4()),
        hub=hub_key(services.link.hub),
        tool=name,
        arguments=given,
        queued_at=services.now(),
    )
    if not await services.outbox.count(services.link.hub):
        try:
            ctx = await call.ctx()
            async with asyncio.timeout(SEND_SECS):
                return Answer(text=await post(ctx, one))
        except (TransportError, TimeoutError):
            pass  # what may have gone out is stored once: it keeps its client id
    await services.outbox.add(one)
    if services.link.ctx is not None:
        said = await services.outbox.outcome(one, OUTCOME_SECS)
        if said is not None:
            return Answer(text=said)
    to = given.get("to")
    warning = ""
    if to and as_agent_id(str(to).strip()) is None:
        warning = " Who that name is will be looked up then."
    return Answer(
        text="QUEUED, NOT YET STORED: it is kept on this machine and goes out by "
        f"itself, once, when the hub is back; do not send it again.{warning}"
    )


async def post(ctx: OpContext, one: Queued) -> str:
    """Send what was said; the hub stores it once however often this is done."""
    given = one.arguments
    if one.tool == "parler_handoff":
        target, where = await _target(ctx, given)
        handed = await messages.handoff(
            ctx,
            messages.HandoffParams(
                target=target,
                next=given["next"],
                summary=given.get("summary"),
                to=given.get("for"),
                bundle=given.get("bundle"),
                client_id=one.client_id,
            ),
        )
        whom = shown_name(given["for"]) if given.get("for") else "anyone"
        return f"handed to {whom} in {where} (seq {handed.seq})"
    if role := given.get("role"):
        sent = await queue.dispatch(
            ctx,
            queue.DispatchParams(
                role=role, text=given["text"], client_id=one.client_id
            ),
        )
        return f"task {word(sent.id)} for one worker of {word(role)}"
    target, where = await _target(ctx, given)
    sent = await messages.send(
        ctx,
        messages.SendParams(
            target=target,
            text=given["text"],
            reply_to=given.get("reply_to"),
            mentions=given.get("mentions", []),
            client_id=one.client_id,
        ),
    )
    return f"sent to {where} (seq {sent.seq})"


async def _target(ctx: OpContext, given: dict[str, Any]) -> tuple[Target, str]:
    return await target_of(
        ctx,
        room=given.get("room"),
        to=given.get("to"),
        service=given.get("service"),
    )


async def recv(call: Call, args: Any) -> Answer:
    """What is new, or what was said before; waits for it if asked to."""
    noted = await _note_seen(call, args.seen)
    answer = await _recv(call, args)
    answer.text = "\n".join([*noted, answer.text])
    return answer


async def _recv(call: Call, args: Any) -> Answer:
    if args.since is not None:
        return await _again(call, args)
    delivery = call.services.delivery
    named = args.room or call.services.active
    room = RoomName(named) if named else None
    if room is not None and not await delivery.follows(room, secs=FETCH_SECS):
        return await _elsewhere(call, args, room)
    answered = bool(delivery.waiting(room)) or await delivery.ask(FETCH_SECS)
    if args.wait_secs > 0 and not delivery.waiting(room):
        await call.patiently(
            delivery.wait_any(room, min(args.wait_secs, MAX_WAIT_SECS)),
            "waiting for news",
        )
        answered = bool(delivery.waiting(room)) or await delivery.ask(FETCH_SECS)
    if room is None:
        knock = knocked_at(call.services.home)
        why = not_in_yet(knock) if knock else "no session is active"
        return Answer(text=f"{word(why)}; what waits elsewhere is shown below")
    got = await delivery.collect(
        room=room,
        limit=min(args.limit or DEFAULT_MESSAGES, MAX_MESSAGES),
        max_chars=RECV_CHARS,
    )
    if not answered and not got.items:
        return Answer(
            text=f"the hub does not answer: whether there is something new in "
            f"{place_of(room)} is not known",
            failed=True,
        )
    if got.held is None or not got.items:
        return Answer(text=f"nothing new in {place_of(room)}")
    text = "\n".join(item.text for item in got.items)
    if got.left:
        text += f"\n— {got.left} more wait: parler_recv again —"
    return Answer(text=text, holds=[got.held])


async def _again(call: Call, args: Any) -> Answer:
    """Read what was said before; nothing counts as read by it."""
    ctx = await call.ctx()
    room = call.room(args.room)
    params = messages.ReceiveParams(
        room=room,
        since=args.since,
        limit=min(args.limit or DEFAULT_MESSAGES, MAX_MESSAGES),
    )
    result = await messages.receive(ctx, params)
    return Answer(text=_read_text(call, ctx, result, max_chars=None)[0])


async def _elsewhere(call: Call, args: Any, room: RoomName) -> Answer:
    """Read a room that is not followed here."""
    ctx = await call.ctx()
    params = messages.ReceiveParams(
        room=room, limit=min(args.limit or DEFAULT_MESSAGES, MAX_MESSAGES)
    )
    result = await messages.receive(ctx, params)
    left = min(args.wait_secs, MAX_WAIT_SECS)
    while not result.messages and left > 0:
        parked = min(left, PARKED_SECS)
        waiting = ctx.client.pull(room, limit=1, wait_secs=parked)
        await call.patiently(waiting, "waiting for news")
        left -= parked
        result = await messages.receive(ctx, params)
    max_chars = None if call.services.options.verbose else MAX_CHARS
    text, upto = _read_text(call, ctx, result, max_chars=max_chars)
    delivery = call.services.delivery
    if not delivery.leads:
        return Answer(text=f"{text}\n{OTHER_WINDOW}" if result.messages else text)
    claims = [delivery.has_read(room, upto)] if result.messages else []
    return Answer(text=text, claims=claims)


def _read_text(
    call: Call, ctx: OpContext, result: ReceiveResult, *, max_chars: int | None
) -> tuple[str, Seq]:
    """The messages that fit into a result, and up to where they go."""
    if not result.messages:
        return f"nothing new in {place_of(result.room)}", result.cursor
    texts = transcript_of(
        result.messages, call.reader(ctx), now=ctx.now(), max_chars=max_chars
    )
    count = fitting(texts)
    text = "\n".join(texts[:count])
    if len(text) > MAX_RESULT_CHARS:
        text = text[:MAX_RESULT_CHARS] + "\n(cut: it is longer than a result may be)"
    last = result.messages[count - 1].seq
    if count < len(texts):
        text += f"\n— more: parler_recv room={word(result.room)} since={last} —"
        return text, last
    return text, result.cursor


async def task(call: Call, args: Any) -> Answer:
    """Say how far a task is."""
    ctx = await call.ctx()
    target, where = await target_of(
        ctx, room=args.room, to=args.to, service=args.service
    )
    fields = ("status", "task", "note", "result", "tokens", "elapsed_ms")
    params = tasks.TaskParams(
        target=target, **{name: getattr(args, name) for name in fields}
    )
    result = await tasks.task(ctx, params)
    return Answer(text=f"task {result.status} told to {where} (seq {result.seq})")


def _status(result: StatusResult) -> Iterator[str]:
    yield f"message {result.seq} in {place_of(result.room)}:"
    for one in result.members:
        yield f"{one.state}: {shown_name(one.name)} {one.fingerprint}"


async def seen(call: Call, args: Any) -> Answer:
    """What came through the channel has been read."""
    return Answer(text="\n".join(await _note_seen(call, args.refs)))


async def _note_seen(call: Call, refs: list[str]) -> list[str]:
    """Note what came through the channel as read; says how much of it waited."""
    if not refs:
        return []
    count = await call.services.delivery.mark_seen(set(map(_mark, refs)))
    call.services.channel_works()
    return [f"{count} noted as seen"]


def _has_channel(host: Host) -> bool:
    return host.channel is not None


_REFS = "The ref of each channel event that you have read."


_SEEN = Capability(
    run=seen,
    about="Confirm channel events of parler that you have read, so that they are not "
    "shown again.",
    tool="parler_seen",
    call='{"refs": ["room.abc234#12"]}',
    hints=SETS,
    no_command="only an app's model is shown such events",
)


def _mark(ref: str) -> tuple[str, int]:
    room, _, number = ref.rpartition("#")
    if not room or not number.isdecimal():
        raise UsageError(f"{ref[:80]!r} is not the ref of a channel event")
    return room, int(number)


TOOLS = (
    tool(messages.SEND, send),
    tool(
        messages.RECEIVE,
        recv,
        wait_secs=Arg(int, "Wait so long for news, up to 300.", 0),
        seen=Arg(list[str], _REFS, [], only_for=_has_channel),
    ),
    tool(messages.HANDOFF, handoff),
    tool(tasks.TASK, task),
    shows(receipts.STATUS, _status),
    tool(
        _SEEN,
        seen,
        only_for=_has_channel,
        refs=Arg(list[str], _REFS),
    ),
)
