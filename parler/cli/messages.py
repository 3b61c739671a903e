"""Saying something, handing over the turn, reading: ``send``, ``handoff``, ``recv``."""

from typing import Annotated

import typer

from parler.cli._arguments import (
    MAX_SEQ,
    MAX_U32,
    Room,
    Service,
    To,
    between,
    only_one,
    piped_text,
)
from parler.cli._command import command
from parler.cli._run import HERE, Options, Run, carry_out, in_room
from parler.cli._targets import place_of, target_of
from parler.errors import UsageError
from parler.text.terminal import visible

_SEND = """\
parler send "all tests pass"
parler send --role review "review PR 42"
git diff | parler send -"""
_HANDOFF = 'parler handoff --for webdev --summary "API done" --next "build the page"'
_RECV = """\
parler recv
parler recv --watch"""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "send", example=_SEND)(send)
    command(app, "handoff", example=_HANDOFF)(handoff)
    command(app, "recv", example=_RECV)(recv)


def send(
    options: Options,
    text: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="What to say; - reads stdin.")
    ],
    room: Room = None,
    to: To = None,
    service: Service = None,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="Work for one free worker of it."),
    ] = None,
    reply_to: Annotated[
        str | None,
        typer.Option("--reply-to", metavar="ID", help="The message answered."),
    ] = None,
    mention: Annotated[
        list[str] | None,
        typer.Option("--mention", metavar="NAME", help="Whom it names; repeatable."),
    ] = None,
) -> None:
    """Say something in the active session, a room, or to one agent.

    With --role it is a task that exactly one free worker of that role takes. When
    send returns, the hub has stored the message durably.
    """
    from parler.ops import messages

    only_one(room=room, to=to, service=service, role=role)
    if role is not None and (reply_to or mention):
        raise UsageError("--role takes no --reply-to or --mention")
    said = piped_text("the message") if text == ["-"] else " ".join(text)

    if role is not None:
        _dispatch(options, role, said)
        return

    async def work(run: Run) -> None:
        params = messages.SendParams(
            target=await target_of(run, room=room, to=to, service=service),
            text=said,
            reply_to=reply_to,
            mentions=mention or [],
        )
        result = await messages.send(run.ctx, params)
        run.out.result(result, [f"sent to {visible(result.room)} (seq {result.seq})"])

    carry_out(options, work, place=place_of(room, to, service))


def _dispatch(options: Options, role: str, text: str) -> None:
    from parler.ops import queue

    async def work(run: Run) -> None:
        result = await queue.dispatch(
            run.ctx, queue.DispatchParams(role=role, text=text)
        )
        task = f"task {visible(result.id)} for one worker of {visible(role)}"
        run.out.result(
            result, [f"{task}, in {visible(result.room)} (seq {result.seq})"]
        )

    carry_out(options, work, place=HERE)


def handoff(
    options: Options,
    next_: Annotated[
        str, typer.Option("--next", metavar="TEXT", help="What to do next.")
    ],
    summary: Annotated[
        str | None, typer.Option("--summary", metavar="TEXT", help="What was done.")
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="WHO", help="A name or role; else anyone."),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", metavar="BLOB", help="Code that belongs to it."),
    ] = None,
    room: Room = None,
    to: To = None,
    service: Service = None,
) -> None:
    """Hand the turn over: whoever is meant is shown HANDOFF TO YOU."""
    from parler.ops import messages

    only_one(room=room, to=to, service=service)

    async def work(run: Run) -> None:
        params = messages.HandoffParams(
            target=await target_of(run, room=room, to=to, service=service),
            next=next_,
            summary=summary,
            to=for_,
            bundle=bundle,
        )
        result = await messages.handoff(run.ctx, params)
        run.out.result(
            result,
            [
                f"handed to {visible(for_ or 'anyone')} in {visible(result.room)} "
                f"(seq {result.seq})"
            ],
        )

    carry_out(options, work, place=place_of(room, to, service))


def recv(
    options: Options,
    room: Room = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and show messages as they come.")
    ] = False,
    since: Annotated[
        int | None,
        typer.Option(
            "--since",
            metavar="SEQ",
            help="Read again what came after SEQ.",
            parser=between(0, MAX_SEQ),
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Read again everything from the start.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="At most N.",
            parser=between(1, MAX_U32),
        ),
    ] = None,
) -> None:
    """Show what is new, and count it as read once it was shown.

    Our own messages are left out. --since and --all show them as well and only look:
    nothing counts as read by them. With --json, --watch prints one object per line.
    """
    if watch and (all_ or since is not None or limit is not None):
        raise UsageError("--watch takes no --since, --all or --limit")
    if all_ and since is not None:
        raise UsageError("--all and --since exclude each other")
    from parler.cli import _receiving

    async def work(run: Run) -> None:
        chosen = run.ctx.room(room)
        if watch:
            await _receiving.watch(run, chosen)
        else:
            await _receiving.once(run, chosen, since=since, all_=all_, limit=limit)

    carry_out(options, work, place=in_room(room))
