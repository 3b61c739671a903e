"""``parler session``: opening, entering, minding the door, leaving."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from parler.cli import _format
from parler.cli._arguments import piped_text
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, group, shows
from parler.cli._joining import join as redeem
from parler.cli._run import ELSEWHERE, Options
from parler.errors import UsageError
from parler.ops import admission, session, tokens
from parler.ops.session import LeaveResult
from parler.ops.tokens import WatchResult
from parler.text.terminal import visible
from parler.text.transcript import shown_time

app = group("Share one live conversation: open it, knock, let in, leave.")


def add_to(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="session")


@command(app, session.OPEN)
def open_session(
    options: Options,
    topic: str | None,
    context: str | None,
    context_file: Annotated[
        str | None,
        typer.Option("--context-file", metavar="FILE", help="The recap; - is stdin."),
    ] = None,
    no_approval: Annotated[
        bool,
        typer.Option("--no-approval", help="Let in whoever has the key, at once."),
    ] = False,
    **given: Any,
) -> None:
    """Open a session, and show the key to it."""
    recap = _recap(context, context_file)
    given |= {"topic": topic, "context": recap, "approval": not no_approval}
    carry_out_declared(options, session.OPEN, given, _format.opened, place=ELSEWHERE)


@command(app, session.JOIN_SESSION)
def join_session(options: Options, key: str, wait_secs: float) -> None:
    """Redeem a session key."""
    redeem(options, key, wait=wait_secs, again="parler session join")


def _left(result: LeaveResult) -> str:
    return f"left {visible(result.room)}"


def _watched(result: WatchResult) -> Iterator[str]:
    yield f"watch    {visible(result.token)} — reads {visible(result.room)}"
    yield f"expires  {shown_time(result.expires_at, None)}"
    yield f"reads    {visible(result.url)} (Authorization: Bearer TOKEN)"
    if result.viewer:
        yield f"viewer   {visible(result.viewer)}"


shows(app, admission.REQUESTS, _format.requests)
shows(app, admission.APPROVE, _format.decided, quoted=False)
shows(app, admission.REJECT, _format.decided, quoted=False)
shows(app, admission.DENY, _format.decided, quoted=False)
shows(app, session.LEAVE, _left, quoted=False)
shows(app, tokens.WATCH, _watched, quoted=False)


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
