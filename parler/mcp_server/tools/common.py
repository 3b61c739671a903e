"""What several tools have in common: whom they mean, and how results read."""

import os
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, TypeAlias

from parler.apps.kit.promises import will_be_told
from parler.apps.kit.waker import WakeKind
from parler.errors import UsageError
from parler.identity.homes import machine_home, process_environment, user_home_of
from parler.identity.identity import find_identity
from parler.mcp_server.tool_call import (
    MAX_RESULT_CHARS,
    Answer,
    Call,
    Host,
    Question,
    Verdict,
)
from parler.mcp_server.tool_schema import Arg, Tool, arguments
from parler.ops.addressing import find_agent
from parler.ops.capability import Capability, Means
from parler.ops.context import OpContext
from parler.ops.machine_context import Here
from parler.ops.memory import Hit
from parler.ops.message_view import ShownMessage
from parler.ops.sealing import leaves_seal
from parler.runtime import bootstrap
from parler.text.terminal import shown_name, visible, word
from parler.text.transcript import Reader, body
from parler.text.untrusted import LEGEND, MARK, quote, quoted_message
from parler.wake.spool import hooks_seen
from parler.wake.waiter import is_armed
from parler.wire.foreign import Foreign
from parler.wire.records import DmTarget, RoomTarget, ServiceTarget, Target

MAX_DIGEST_CHARS = 4000

Run: TypeAlias = Callable[[Call, Any], Awaitable[Answer]]


def tool(
    capability: Capability,
    run: Run,
    *,
    only_for: Callable[[Host], bool] | None = None,
    drop: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    **own: Arg,
) -> Tool:
    """A tool that does more than its capability.

    Args:
        drop: What it does not take.
        aliases: By which other names it takes what.
        own: What it alone takes, or takes in another way.
    """
    return Tool(
        capability=capability,
        args=arguments(capability, own, drop=drop),
        run=run,
        hidden=[name for name, arg in own.items() if arg.hidden],
        shown_to={name: arg.only_for for name, arg in own.items() if arg.only_for},
        aliases=aliases or {},
        only_for=only_for,
    )


def shows(
    capability: Capability,
    view: Callable[[Any], str | Iterable[str]],
    *,
    aliases: Mapping[str, str] | None = None,
    **own: Arg,
) -> Tool:
    """A tool that does what its capability does, and shows the result."""

    async def run(call: Call, args: Any) -> Answer:
        told = view(await performed(call, capability, args))
        return Answer(text=told if isinstance(told, str) else "\n".join(told))

    return Tool(
        capability=capability,
        args=arguments(capability, own),
        run=run,
        aliases=aliases or {},
    )


async def performed(call: Call, capability: Capability, args: Any) -> Any:
    """Do what a capability does, in the room that is meant.

    Raises:
        UsageError: None is meant, or more than one.
    """
    values = {
        one.source: getattr(args, one.param.argument or one.key)
        for one in capability.params
        if one.param.on_tool and one.param.means is not Means.TARGET
    }
    if capability.needs == "Here":
        done = capability.perform(here_of(call), values)
        return await done if isawaitable(done) else done
    ctx = await call.ctx()
    if session := capability.means(Means.SESSION):
        values[session.source] = call.room(values[session.source])
    if target := capability.means(Means.TARGET):
        named = {key: getattr(args, key) for key in ("room", "to", "service")}
        values[target.source], _ = await target_of(ctx, **named)
    return await capability.perform(ctx, values)


def here_of(call: Call) -> Here:
    """This machine, as the agent that calls sees it."""
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
    outside = leaves_seal(ctx) if service or to else None
    told = f" ({outside})" if outside else ""
    if service:
        return ServiceTarget(service=service), f"service {word(service)}{told}"
    if not to:
        named = ctx.room(room)
        return RoomTarget(room=named), word(named)
    person = await find_agent(ctx, to)
    name = str(person) if person.name else to
    return DmTarget(agent=person.agent), f"{name}{told}"


def told(call: Call, what: str) -> str:
    """What this model may rely on to be told, and when (`will_be_told`)."""
    home = call.services.home
    kind = WakeKind(call.services.presence.wake)
    if is_armed(home):
        kind = WakeKind.PUSH  # it may wait since we looked last
    return will_be_told(what, app=call.host.app, kind=kind, hooks=hooks_seen(home))


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


def digest_lines(digest: Hit) -> list[str]:
    """What a member wrote of a session for those who join later."""
    who = shown_name(digest.name) if digest.name else "a former member"
    head = f"Digest of {who} {digest.fingerprint} ({LEGEND}, facts are not signed):"
    return [head, *quote(digest.text, max_chars=MAX_DIGEST_CHARS)]


def fitting(texts: list[str], *, max_chars: int = MAX_RESULT_CHARS) -> int:
    """How many of them fit into one result; one does in any case."""
    size = 0
    for count, text in enumerate(texts):
        size += len(text) + 1
        if size > max_chars and count:
            return count
    return len(texts)


def name_and_role(name: Foreign, role: Foreign | None) -> str:
    """How somebody calls itself."""
    return shown_name(name) + (f" ({shown_name(role)})" if role else "")


async def not_agreed(
    call: Call, question: Question, done: str, line: str
) -> Answer | None:
    """What the model is told where no person agreed; None if one did."""
    verdict = await call.decide(question)
    if verdict is Verdict.YES:
        return None
    why = "has not agreed" if verdict is Verdict.UNANSWERED else "has to decide"
    return Answer(
        text=f"NOT {done}: your user {why}. They can run this in a terminal of their "
        f"own:\n  {line}",
        failed=verdict is Verdict.UNANSWERED,
    )


def command_line(call: Call, verb: str, *words: str) -> str:
    """The command that the user can run in any terminal."""
    home = call.services.home
    user = user_home_of(process_environment())
    shared = user is not None and machine_home(home) == user / ".parler"
    # Only what lies in an unusual place has to be named.
    named = [] if shared else ["--home", str(home)]
    return shlex.join(["parler", *verb.split(), *map(visible, [*words, *named])])
