"""Tools to remember, to find again, and to forget."""

from typing import Any

from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import fitting, only_one_target, tool
from parler.ops import memory
from parler.ops.memory import Hit, RecallResult
from parler.text.terminal import shown_name, word
from parler.text.untrusted import LEGEND, place_of, quote
from parler.wire.base import RoomName

_EMBEDDING = Arg(list[float] | None, default=None, hidden=True)


async def remember(call: Call, args: Any) -> Answer:
    """Keep a fact."""
    params = memory.RememberParams(
        text=args.text,
        key=args.key,
        room=_where(call, args),
        embedding=args.embedding,
        embedding_model=args.embedding_model,
    )
    result = await memory.remember(await call.ctx(), params)
    where = f"for the members of {word(result.room)}" if result.room else "for you"
    under = f" under {word(result.key)}" if result.key else ""
    return Answer(text=f"remembered {where}{under}")


async def recall(call: Call, args: Any) -> Answer:
    """Find facts again."""
    params = memory.RecallParams(
        query=args.query,
        key=args.key,
        room=RoomName(args.room) if args.room else None,
        limit=args.limit,
        embedding=args.embedding,
    )
    result = await memory.recall(await call.ctx(), params)
    return Answer(text="\n".join(_recalled(result)))


def _recalled(result: RecallResult) -> list[str]:
    texts = [_hit(one) for one in result.hits]
    count = fitting(texts)
    if count < len(texts):
        more = len(texts) - count
        texts = [*texts[:count], f"— {more} more: use a narrower query —"]
    return texts or ["nothing was remembered about it"]


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
    key = f", key {word(one.key)}" if one.key else ""
    who = (
        "you"
        if one.mine
        else f"{shown_name(one.name) if one.name else 'a former member'} "
        f"{one.fingerprint} ({LEGEND}, facts are not signed)"
    )
    return "\n".join([f"from {who}, {where}{key}:", *quote(one.text)])


TOOLS = (
    tool(
        memory.REMEMBER,
        remember,
        embedding=_EMBEDDING,
        embedding_model=Arg(str | None, default=None, hidden=True),
    ),
    tool(memory.RECALL, recall, embedding=_EMBEDDING),
    tool(memory.FORGET, forget),
)
