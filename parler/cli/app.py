"""The command tree, and the one place where an error becomes an exit status.

Only the modules that a command line needs are imported, for agents call commands all
the time; the list of commands, and whatever is none, needs no module at all.
"""

import errno
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Annotated

import click
import typer

from parler.cli import _completion
from parler.cli._command import group
from parler.cli._help import asked_for_help, in_order, no_such_command, shared_alone
from parler.cli._index import COMMANDS, WORDS
from parler.cli.render import (
    drop_stdout,
    prepare_streams,
    settle_stdout,
    show_error,
    show_help,
)
from parler.errors import (
    BadBundle,
    ConfigError,
    ConnectionLost,
    IdentityError,
    LocalProtocolError,
    ParlerError,
    RemoteProtocolError,
    TimedOut,
    UsageError,
    VersionMismatch,
)
from parler.identity.homes import process_environment
from parler.machine.interrupts import raise_interrupt
from parler.wire.codes import ErrorCode

INTERRUPTED = 130
UNEXPECTED = 1
USAGE = 2
UNWRITABLE = 3

_EPILOG = """\b
parler help COMMAND tells all about one of them, parler help --man about all.

\b
Exit status:
  0  done, also: waiting for approval, nothing new
  1  an unexpected failure of this program
  2  wrong usage
  3  settings, key file or disk
  4  the hub cannot be reached, or did not answer in time
  5  somebody broke the protocol
  6  the hub refused, or another agent did
  7  something is not from whom it says it is
  8  code or a file could not be handed over or taken
  9  an agent app is not wired, or does not work
  130  interrupted

\b
Environment:
  PARLER_HOME, PARLER_HUB, PARLER_NAME, PARLER_ROLE, PARLER_JOIN_SECRET,
  NO_COLOR, FORCE_COLOR, PARLER_PAGER
"""

_NEXT = {
    ErrorCode.NOT_MEMBER: "parler rooms",
    ErrorCode.NOT_OWNER: "ask whoever owns the room to do it",
    ErrorCode.RATE_LIMITED: "the same command in a minute",
    ErrorCode.AT_CAPACITY: "the same command in a while",
    ErrorCode.TOO_LARGE: "send it in smaller pieces",
    ErrorCode.STORAGE_FULL: "ask who runs the hub to make room on its disk",
    ErrorCode.UNKNOWN_SERVICE: "parler serve NAME, run by whoever does such work",
    ErrorCode.UNKNOWN_BLOB: "ask the sender to send it again",
    ErrorCode.INTERNAL: "the same command again, or parler doctor",
    RemoteProtocolError.code: "parler doctor",
    VersionMismatch.code: "install the version of parler that the hub speaks",
    TimedOut.code: "parler doctor",
    ConnectionLost.code: "parler doctor",
    ConfigError.code: "parler config, which says where each setting is from",
    IdentityError.code: "parler doctor",
    BadBundle.code: "ask the sender to push it again",
}
"""What to do about an error that does not say it itself, by its code."""

_AFTER_OS = {
    errno.ENOSPC: "make room on that disk, then the same command",
    errno.EDQUOT: "make room on that disk, then the same command",
    errno.EACCES: "the same command where this user may write, or another file",
    errno.EPERM: "the same command where this user may write, or another file",
    errno.EROFS: "the same command where this user may write, or another file",
    errno.ENOENT: "the same command with the name of a file that is there",
    errno.ENOTDIR: "the same command with the name of a file that is there",
    errno.EISDIR: "the same command with the name of a file in there",
}
"""What to do about what the system refused."""

AREAS = (
    *("session", "sealing", "messages", "rooms", "memory", "directory"),
    *("attachments", "queue"),
    *("inbox", "ui", "devices", "work", "attention", "peers", "ask", "projects"),
    *("identity", "contacts", "doctor", "mcp", "connect", "hubs", "update"),
    "completion",
)
"""The modules of this folder that have commands, in the order they are shown."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from parler.cli._run import Options
        from parler.cli.identity import version

        version(Options(command="version"))
        raise typer.Exit


def _parler(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Show the version.",
            is_eager=True,
            callback=_show_version,
        ),
    ] = False,
) -> None:
    pass


def _hub(context: typer.Context) -> None:
    """Run a hub, or look after this machine's own."""
    from parler.cli import hub as own_hub

    arguments = list(context.args)
    if arguments[:1] and arguments[0] in own_hub.COMMANDS:
        program = typer.main.get_command(own_hub.app)
        with program.make_context("hub", arguments, parent=context.parent) as inner:
            program.invoke(inner)
        return
    word = next(iter(arguments), "-")
    if word[:1] != "-" and word not in (*WORDS["hub"], own_hub.RUN):
        raise no_such_command(word, WORDS["hub"], context)
    from hub.app import main as run_hub

    if arguments[:1] == [own_hub.RUN]:
        home = arguments[2] if arguments[1:2] == ["--home"] else None
        arguments = own_hub.arguments_of_own_hub(home)
    raise typer.Exit(run_hub(arguments))


@cache
def tree(word: str | None = None) -> typer.Typer:
    """The command tree, or as much of it as the command of that name needs."""
    app = _root()
    if word in (None, "hub"):
        app.command(
            "hub",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )(_hub)
    for name in AREAS if word is None else COMMANDS[word][:1]:
        if name:
            import_module(f"parler.cli.{name}").add_to(app)
    if word is not None:  # the others of its module would be made for nothing
        commands, groups = app.registered_commands, app.registered_groups
        app.registered_commands = [one for one in commands if one.name == word]
        app.registered_groups = [one for one in groups if one.name == word]
    return app


def outline() -> typer.Typer:
    """What commands there are, without any of them."""
    app = _root()
    for name, (_, about) in COMMANDS.items():
        app.command(name, short_help=about)(lambda: None)
    return app


def _root() -> typer.Typer:
    app = group("Separate coding agents share one live conversation.")
    app.info.epilog = _EPILOG
    app.callback()(_parler)
    return app


def _tree_for(arguments: Sequence[str]) -> typer.Typer:
    asked = next(iter(arguments), None)
    return tree(asked) if asked in COMMANDS else outline()


def _tree_of(words: Sequence[str]) -> typer.Typer:
    """What a shell needs that completes what follows some words."""
    return _tree_for(words) if words else outline()


def __getattr__(name: str) -> typer.Typer:
    # The whole tree is made for those who look at it.
    if name == "app":
        return tree()
    raise AttributeError(name)


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; returns the exit status."""
    as_json = "--json" in arguments
    manual = arguments[:1] == ["help"] and "--man" in arguments
    if arguments[:1] == ["help"]:
        arguments = asked_for_help(arguments[1:])
    else:
        arguments = in_order(arguments)
    try:
        prepare_streams()
        if manual:
            from parler.cli._manual import show_manual

            return show_manual()
        environment = process_environment()
        if environment.get(_completion.VARIABLE):
            return _completion.answer(_tree_of, environment)
        return _invoke(arguments)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BaseExceptionGroup as several:
        return _report(_first(several), arguments, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the outermost place of the program
        return _report(error, arguments, as_json=as_json)


def _invoke(arguments: Sequence[str]) -> int:
    if (alone := shared_alone(arguments)) is not None:
        from parler.cli._run import Options
        from parler.cli.inbox import glance

        raise_interrupt()
        glance(Options(command="inbox", **alone))
        return 0
    # Not command.main(): that would turn a closed pipe into a failure.
    command = typer.main.get_command(_tree_for(arguments))
    try:
        raise_interrupt()
        with command.make_context("parler", list(arguments)) as context:
            command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _report(error: BaseException, arguments: Sequence[str], *, as_json: bool) -> int:
    match error:
        case BrokenPipeError():
            drop_stdout()
            return 0
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case RuntimeError() if isinstance(error.__cause__, KeyboardInterrupt):
            return INTERRUPTED  # it came while a class was made
        case click.exceptions.NoArgsIsHelpError():
            show_help(click.unstyle(error.format_message()))
            return USAGE
        case click.ClickException():
            return _report_usage(error, as_json=as_json)
        case ParlerError():
            if isinstance(error, LocalProtocolError):
                traceback.print_exception(error)
            step = error.next_step or _NEXT.get(error.code)
            if step is None and isinstance(error, UsageError):
                step = " ".join(["parler", *_command_in(arguments), "--help"])
            late = error if isinstance(error, TimedOut) else None
            show_error(
                error.code,
                error.message,
                step,
                as_json=as_json,
                may_have_happened=late.may_have_happened if late else None,
            )
            return error.exit_status
        case OSError():
            reason = error.strerror or type(error).__name__
            where = f" {error.filename}" if error.filename else ""
            step = _AFTER_OS.get(error.errno or 0, "parler doctor")
            show_error("os", f"{reason}{where}", step, as_json=as_json)
            settle_stdout()
            return UNWRITABLE
        case _:
            traceback.print_exception(error)
            text = f"unexpected {type(error).__name__}; this is a fault of parler"
            show_error("unexpected", text, "parler doctor", as_json=as_json)
            return UNEXPECTED


def _command_in(arguments: Sequence[str]) -> list[str]:
    """The command of a line that was understood, none for `parler` alone."""
    words = [word for word in arguments[:1] if word in COMMANDS]
    below = WORDS.get(words[0], ()) if words else ()
    return [*words, *(word for word in arguments[1:2] if word in below)]


def _report_usage(error: click.ClickException, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "parler"
    message = _one_suggestion(error).rstrip(".")
    show_error("usage", message, f"{command} --help", as_json=as_json)
    return USAGE


def _one_suggestion(error: click.ClickException) -> str:
    perhaps = getattr(error, "possibilities", None)
    if not perhaps:
        return error.format_message()
    return f"{error.message.rstrip('.')}. Did you mean {perhaps[0]!r}?"


def _first(group_: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one of several simultaneous errors that is told: ours before others."""
    leaves = list(_leaves(group_))
    ours = [leaf for leaf in leaves if isinstance(leaf, ParlerError | BrokenPipeError)]
    return (ours or leaves)[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
