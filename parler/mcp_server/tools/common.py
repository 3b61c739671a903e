"""What several tools have in common: whom they mean, and how results read."""

from collections.abc import Iterable

from parler.errors import UsageError
from parler.mcp_server.tool_call import MAX_RESULT_CHARS
from parler.mcp_server.tool_schema import Arg
from parler.ops.addressing import find_agent
from parler.ops.context import OpContext
from parler.ops.message_view import ShownMessage
from parler.text.terminal import shown_name, visible
from parler.text.transcript import Reader, body
from parler.text.untrusted import MARK, quoted_message
from parler.wire.records import DmTarget, RoomTarget, ServiceTarget, Target

ROOM = Arg(str | None, "Default: active session.", None)
PLAIN_ROOM = Arg(str | None, "", None)
TO = Arg(str | None, "One agent: name, id or fingerprint.", None)
SERVICE = Arg(str | None, "Whoever serves it.", None)


def only_one_target(**named: str | None) -> None:
    """Refuse more than one.

    Raises:
        UsageError: More than one was named.
    """
    given = [name for name, value in named.items() if value]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other",
            next_step="name one of them, or none for the active session",
        )


async def target_of(
    ctx: OpContext, *, room: str | None, to: str | None, service: str | None
) -> tuple[Target, str]:
    """The target that was named, and how it is spoken of.

    Raises:
        UsageError: Nobody is meant, or more than one.
    """
    only_one_target(room=room, to=to, service=service)
    if service:
        return ServiceTarget(service=service), f"service {visible(service)}"
    if not to:
        named = ctx.room(room)
        return RoomTarget(room=named), visible(named)
    person = await find_agent(ctx, to)
    return DmTarget(agent=person.agent), str(person) if person.name else to


def transcript_of(
    messages: Iterable[ShownMessage], reader: Reader, *, now: int, max_chars: int | None
) -> list[str]:
    """Messages as they are quoted; our own are named as ours."""
    shown: list[str] = []
    for message in messages:
        if message.author.id == reader.agent:
            text = body(message).removeprefix(MARK)
            shown.append(f"you [{message.seq}]: {text}")
        else:
            shown.append(
                quoted_message(
                    message, message.signature, reader, now=now, max_chars=max_chars
                )
            )
    return shown


def fitting(texts: list[str], *, max_chars: int = MAX_RESULT_CHARS) -> int:
    """How many of them fit into one result; one does in any case."""
    size = 0
    for count, text in enumerate(texts):
        size += len(text) + 1
        if size > max_chars and count:
            return count
    return len(texts)


def name_and_role(name: str, role: str | None) -> str:
    """How somebody calls itself."""
    return shown_name(name) + (f" ({shown_name(role)})" if role else "")


def bytes_of(size: int) -> str:
    """A size for people."""
    return f"{size} bytes" if size < 2**14 else f"{size / 1024:.0f} KiB"
