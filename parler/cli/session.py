"""``parler session``: opening, entering, minding the door, leaving."""

from pathlib import Path
from typing import Annotated

import typer

from parler.cli._arguments import Context, MaxUses, Room, Ttl, Wait, piped_text
from parler.cli._command import command, group
from parler.cli._run import ELSEWHERE, Options, Run, carry_out, in_room
from parler.errors import UsageError
from parler.text.terminal import visible

app = group("Share one live conversation: open it, knock, let in, leave.")


def add_to(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="session")


@command(
    app, "open", example='parler session open --topic "flaky login" --context-file -'
)
def open_session(
    options: Options,
    topic: Annotated[
        str | None, typer.Option("--topic", help="What it is about.")
    ] = None,
    context: Context = None,
    context_file: Annotated[
        str | None,
        typer.Option("--context-file", metavar="FILE", help="The recap; - is stdin."),
    ] = None,
    no_approval: Annotated[
        bool,
        typer.Option("--no-approval", help="Let in whoever has the key, at once."),
    ] = False,
    preapprove: Annotated[
        list[str] | None,
        typer.Option(
            "--preapprove",
            metavar="ID",
            help="Let this agent id or fingerprint in when it knocks; repeatable.",
        ),
    ] = None,
    ttl: Ttl = None,
    max_uses: MaxUses = None,
) -> None:
    """Open a session with a recap; prints the key to it.

    Whoever redeems the key waits for your approval, unless --no-approval is given.
    """
    from parler.cli import _format
    from parler.ops.session import OpenParams
    from parler.ops.session import open_session as operation

    params = OpenParams(
        topic=topic,
        context=_recap(context, context_file),
        gated=not no_approval,
        preapprove=preapprove or [],
        max_uses=max_uses,
        **({} if ttl is None else {"ttl_secs": ttl}),
    )

    async def work(run: Run) -> None:
        result = await operation(run.ctx, params)
        run.out.result(result, _format.opened(result))

    carry_out(options, work, place=ELSEWHERE)


@command(app, "join", example="parler session join KEY@HUB --wait 600")
def join_session(
    options: Options,
    key: Annotated[str, typer.Argument(metavar="KEY", help="KEY, KEY@HUB or a link.")],
    wait: Wait = 0,
) -> None:
    """Redeem a session key: knock, or enter and see what was said so far."""
    from parler.cli._joining import join

    join(options, key, wait=wait, again="parler session join")


@command(app, "requests", example="parler session requests")
def requests(options: Options, room: Room = None) -> None:
    """Show who is waiting to be let in."""
    from parler.cli import _format
    from parler.ops.admission import join_requests

    async def work(run: Run) -> None:
        result = await join_requests(run.ctx, run.ctx.room(room))
        run.out.result(result, map(run.out.quoted, _format.requests(result)))

    carry_out(options, work, place=in_room(room))


_Who = Annotated[
    str,
    typer.Argument(metavar="WHO", help="An id, a fingerprint, or a unique name."),
]


@command(app, "approve", example="parler session approve ABCD-EFGH-IJKL-MNOP")
def approve(options: Options, who: _Who, room: Room = None) -> None:
    """Let in somebody who waits. Compare the fingerprint: anybody can use a name."""
    _decide(options, who, room, approve=True)


@command(app, "reject", example="parler session reject ABCD-EFGH-IJKL-MNOP")
def reject(options: Options, who: _Who, room: Room = None) -> None:
    """Reject somebody who waits, for good."""
    _decide(options, who, room, approve=False)


@command(app, "deny", example="parler session deny ABCD-EFGH-IJKL-MNOP", hidden=True)
def deny(options: Options, who: _Who, room: Room = None) -> None:
    """Reject somebody who waits (the older name of `reject`)."""
    _decide(options, who, room, approve=False)


@command(app, "leave", example="parler session leave")
def leave(options: Options, room: Room = None) -> None:
    """Leave a session."""
    from parler.ops.session import leave_session

    async def work(run: Run) -> None:
        result = await leave_session(run.ctx, run.ctx.room(room))
        run.out.result(result, [f"left {visible(result.room)}"])

    carry_out(options, work, place=in_room(room))


def _decide(options: Options, who: str, room: str | None, *, approve: bool) -> None:
    from parler.cli import _format
    from parler.ops.admission import decide

    async def work(run: Run) -> None:
        result = await decide(run.ctx, run.ctx.room(room), who, approve=approve)
        run.out.result(result, [_format.decided(result)])

    carry_out(options, work, place=in_room(room))


def _recap(context: str | None, context_file: str | None) -> str | None:
    if context is not None and context_file is not None:
        raise UsageError("give --context or --context-file, not both")
    if context_file is None:
        return context
    if context_file == "-":
        return piped_text("the context")
    try:
        return Path(context_file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read the context file {context_file}: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"the context file {context_file} is not UTF-8") from None
