"""Tools to remember, to find again, and to forget."""

from typing import Any

from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import READS, SETS, Arg, Hints, Tool, arguments
from parler.mcp_server.tools.common import fitting, only_one_target
from parler.ops import memory
from parler.ops.memory import Hit
from parler.text.terminal import shown_name, visible
from parler.text.untrusted import LEGEND, place_of, quote
from parler.wire.base import RoomName

_Remember = arguments(
    "Remember",
    memory.RememberParams,
    about={
        "text": "",
        "key": "Replaces your last fact under it.",
        "room": "Default: active session, whose members recall it too.",
    },
    private=Arg(bool, "For you alone.", False),
)
_Recall = arguments(
    "Recall",
    memory.RecallParams,
    about={
        "query": "Words, or their beginnings.",
        "key": "Exactly this key.",
        "room": "",
        "limit": "",
    },
)
_Forget = arguments(
    "Forget",
    memory.ForgetParams,
    about={"room": "Default: active session."},
    private=Arg(bool, "What only you see.", False),
)


async def remember(call: Call, args: Any) -> Answer:
    """Keep a fact."""
    params = memory.RememberParams(
        text=args.text, key=args.key, room=_where(call, args)
    )
    result = await memory.remember(await call.ctx(), params)
    where = f"for the members of {visible(result.room)}" if result.room else "for you"
    under = f" under {visible(result.key)}" if result.key else ""
    return Answer(text=f"remembered {where}{under}")


async def recall(call: Call, args: Any) -> Answer:
    """Find facts."""
    ctx = await call.ctx()
    params = memory.RecallParams(
        query=args.query, key=args.key, room=args.room, limit=args.limit
    )
    hits = (await memory.recall(ctx, params)).hits
    texts = [_hit(one) for one in hits]
    count = fitting(texts)
    if count < len(texts):
        texts = [*texts[:count], f"— {len(hits) - count} more: use a narrower query —"]
    return Answer(text="\n".join(texts) or "nothing was remembered about it")


async def forget(call: Call, args: Any) -> Answer:
    """Drop facts of our own."""
    params = memory.ForgetParams(key=args.key, text=args.text, room=_where(call, args))
    result = await memory.forget(await call.ctx(), params)
    return Answer(text=f"{result.count} facts of yours are gone")


def _where(call: Call, args: Any) -> RoomName | None:
    """The room that is meant; none without a session, and none for a private fact."""
    if args.private:
        only_one_target(room=args.room, private="yes")
        return None
    named = args.room or call.services.active
    return RoomName(named) if named else None


def _hit(one: Hit) -> str:
    where = place_of(one.room) if one.room else "private"
    key = f", key {visible(one.key)}" if one.key else ""
    who = (
        "you"
        if one.mine
        else f"{shown_name(one.name) if one.name else 'a former member'} "
        f"{one.fingerprint} ({LEGEND}, facts are not signed)"
    )
    return "\n".join([f"from {who}, {where}{key}:", *quote(one.text)])


TOOLS = (
    Tool(
        name="parler_remember",
        about='Keep a fact. Example: {"key": "deploy", "text": "we deploy blue-green"}',
        args=_Remember,
        run=remember,
        hints=SETS,
        common=True,
        operation="memory.remember",
    ),
    Tool(
        name="parler_recall",
        about="Find facts that you or members of your rooms kept. "
        'Example: {"query": "deploy"}',
        args=_Recall,
        run=recall,
        hints=READS,
        common=True,
        operation="memory.recall",
    ),
    Tool(
        name="parler_forget",
        about='Drop facts that you kept. Example: {"key": "deploy"}',
        args=_Forget,
        run=forget,
        hints=Hints(destroys=True, repeatable=True),
        operation="memory.forget",
    ),
)
