"""How a command explains itself, and what is said to a word that it does not know.

What there is to say of a command is declared with its capability, in `ops`.
"""

import inspect
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from typer.core import TyperCommand, TyperGroup

from parler.cli._colour import painted, wants_colour
from parler.cli._index import WORDS
from parler.identity.homes import process_environment
from parler.text.terminal import wrap

SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "Begin": ("connect", "use", "init", "whoami", "doctor"),
    "Converse": (
        *("session", "send", "recv", "history", "handoff", "status"),
        *("rooms", "roster"),
    ),
    "What waits for you": (
        *("inbox", "ui", "devices", "approve", "reject", "accept", "decline"),
        *("permit", "refuse", "attention"),
    ),
    "Code and files": ("push", "apply", "bundles", "send-file", "fetch"),
    "Questions and work": (
        *("ask", "ask-user", "answer", "project", "work", "supervise"),
        *("serve", "queue", "claim", "complete", "task"),
    ),
    "Beside each other": (
        *("peers", "summary", "presence", "reserve", "reservations", "release"),
    ),
    "Keys and members": (
        *("invite", "invites", "revoke", "members", "delete-room", "verify"),
    ),
    "Facts": ("remember", "recall", "forget"),
    "People and agents": (
        *("contacts", "trust", "untrust", "register", "discover", "card", "token"),
    ),
    "Hubs and this installation": (
        *("hub", "hubs", "trust-hub", "config"),
        *("completion", "update", "version", "mcp"),
    ),
}
"""The commands as the list of them has them, each once."""


@dataclass(frozen=True, slots=True)
class Shared:
    """An option that every command takes, also before its name."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    """What stands for its value; a flag has none."""

    @property
    def key(self) -> str:
        """Its name in Python."""
        return self.names[0].removeprefix("--")

    @property
    def row(self) -> tuple[str, str]:
        """How a list of options has it."""
        shown = ", ".join(reversed(self.names))
        return f"{shown} {self.metavar}" if self.metavar else shown, self.help


SHARED: Final = (
    Shared(("--json",), "Print one line of JSON."),
    Shared(("--quiet", "-q"), "No notes on stderr."),
    Shared(("--hub",), "Use this hub.", "URL"),
    Shared(("--home",), "Use the identity kept here.", "DIR"),
    Shared(("--insecure",), "Allow plain ws:// beyond this network."),
)
_MIN_COLUMNS: Final = 30
_MAX_COLUMNS: Final = 80
_BY_NAME: Final = {name: one for one in SHARED for name in one.names}


class _Pages(click.HelpFormatter):
    """Help pages in which no command, option or path is broken where a line ends."""

    def __init__(self, **_: Any) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(width=max(min(columns, _MAX_COLUMNS) - 2, _MIN_COLUMNS))

    def write_text(self, text: str) -> None:
        """Write paragraphs; one that starts with a mark of click keeps its lines."""
        indent = " " * self.current_indent
        shown = []
        for paragraph in text.strip().split("\n\n"):
            if paragraph.startswith("\b\n"):
                width = self.width - self.current_indent
                kept = wrap(paragraph.removeprefix("\b\n"), width, "    ", ours=True)
                lines = kept.split("\n")
            else:
                lines = self._wrapped(paragraph, self.current_indent)
            shown.append("\n".join(f"{indent}{line}".rstrip() for line in lines))
        self.write("\n\n".join(shown) + "\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write what each of some words means, beside them or else below."""
        rows = list(rows)
        indent = " " * self.current_indent
        wide = max(len(word) for word, _ in rows)
        column = min(wide, col_max, self.width // 2) + col_spacing
        for word, about in rows:
            lines = self._wrapped(about, self.current_indent + column)
            if len(word) > column - col_spacing:
                lines.insert(0, "")
            for beside, line in zip([word, *[""] * len(lines)], lines, strict=False):
                self.write(f"{indent}{beside:<{column}}{line}".rstrip() + "\n")

    def _wrapped(self, text: str, column: int) -> list[str]:
        text = " ".join(text.split())
        return wrap(text, self.width - column, "", ours=True).split("\n")


class _Context(click.Context):
    formatter_class = _Pages


class _Help(click.Command):
    """Whatever has a help page."""

    context_class = _Context

    def get_help(self, ctx: click.Context) -> str:
        """The page, in colour where stdout has it."""
        page = super().get_help(ctx)
        ctx.color = wants_colour(sys.stdout, process_environment())
        return painted(page) if ctx.color else page

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and further sections."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(inspect.cleandoc(self.epilog))


class Command(_Help, TyperCommand):
    """A command that tells its own options before those that all have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the only thing that is looked at with and without its option."""
        there = {one.name: isinstance(one, click.Argument) for one in self.params}
        is_alone = sum(there.values()) == there.get("room")
        if not ctx.resilient_parsing and is_alone and not {"to", "service"} & {*there}:
            if there["room"]:
                args = _without_name(args)
            else:
                _, rest, _ = self.make_parser(ctx).parse_args(list(args))
                if len(rest) == 1 and "--room" not in args:
                    at = args.index(rest[0])
                    args = [*args[:at], "--room", *args[at:]]
        return super().parse_args(ctx, args)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the sections of its arguments and options."""
        _options(self, ctx, formatter)


class Group(_Help, TyperGroup):
    """Commands below one word."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the sections of commands, then those of options."""
        self.format_commands(ctx, formatter)
        _options(self, ctx, formatter)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write whole sentences: what is too long for a line is broken, not cut."""
        there = {
            name: command
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) and not command.hidden
        }
        rows = {name: (name, _sentence(command)) for name, command in there.items()}
        sections: Iterable[tuple[str, Sequence[str]]] = [("Commands", list(rows))]
        if ctx.parent is None:
            sections = SECTIONS.items()
        width = max(map(len, rows), default=0)
        for title, names in sections:
            listed = [rows[name] for name in names if name in rows]
            if listed:
                with formatter.section(title):
                    formatter.write_dl(
                        [(f"{name:<{width}}", about) for name, about in listed]
                    )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant.

        Raises:
            click.UsageError: There is none; one that is like it is named.
        """
        word = args[0]
        known = word.startswith("-") or self.get_command(ctx, word) is not None
        if not known and not ctx.resilient_parsing:
            raise no_such_command(word, list(self.commands), ctx)
        return super().resolve_command(ctx, args)


def no_such_command(
    word: str, known: Sequence[str], ctx: click.Context | None
) -> click.UsageError:
    """The refusal of a word, with the one that may have been meant."""
    meant = None
    if ctx is not None and ctx.parent is None:
        below = (group for group, words in WORDS.items() if word in words)
        meant = next((f"{group} {word}" for group in below), None)
    meant = meant or _like(word, known)
    perhaps = f". Did you mean {meant!r}?" if meant else ""
    return click.UsageError(f"No such command {word!r}{perhaps}", ctx)


def _like(word: str, known: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    longer = [one for one in known if one.startswith(word)]
    return next(iter([*longer, *get_close_matches(word, known, n=1)]), None)


def in_order(arguments: Sequence[str]) -> list[str]:
    """A command line with the options that all commands have behind the command."""
    words, options, rest = _parted(arguments)
    if not words:
        return list(arguments)
    # Before the first option: what follows a -- is no option any more.
    at = next((i for i, one in enumerate(rest) if one.startswith("-")), len(rest))
    return [*words, *rest[:at], *options, *rest[at:]]


def without_shared(arguments: Sequence[str]) -> list[str]:
    """A command line without those before the command."""
    words, _, rest = _parted(arguments)
    return [*words, *rest]


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The words of the command, what all take and stands before them, and the rest."""
    words, options, rest = list[str](), list[str](), list(arguments)
    while rest and len(words) < (2 if words and words[0] in WORDS else 1):
        name, equals, _ = rest[0].partition("=")
        if name in _BY_NAME:
            takes = 2 if _BY_NAME[name].metavar and not equals else 1
            options += rest[:takes]
            del rest[:takes]
        elif rest[0].startswith("-"):
            break
        else:
            words.append(rest.pop(0))
    return words, options, rest


def shared_alone(arguments: Sequence[str]) -> dict[str, Any] | None:
    """What `Options` are given where no command was; None if there is more."""
    given, rest = dict[str, Any](), list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        option = _BY_NAME.get(name)
        if option is None or (option.metavar and not equals and not rest):
            return None
        if option.metavar:
            given[option.key] = value if equals else rest.pop(0)
        else:
            given[option.key] = True
    return given


def _without_name(args: list[str]) -> list[str]:
    """A command line with the room that follows its name in the place of both."""
    options = args[: args.index("--")] if "--" in args else args
    return [
        one.removeprefix("--room=") if one in options else one
        for one in args
        if one != "--room" or one not in options
    ]


def asked_for_help(arguments: Sequence[str]) -> list[str]:
    """What `parler help` stands for."""
    words = [one for one in arguments if not one.startswith("-")]
    return [*words, "--help"]


def _sentence(command: click.Command) -> str:
    """What a command does, in its first sentence."""
    text = command.short_help or (command.help or "").split("\n\n")[0]
    return " ".join(text.split())


def _options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    arguments, own, shared = [], [], []
    for one in command.get_params(ctx):
        record = one.get_help_record(ctx)
        if record is None:
            continue
        if isinstance(one, click.Argument):
            arguments.append(record)
        elif one.opts[0] in _BY_NAME or "--help" in one.opts:
            shared.append(record)
        else:
            own.append(record)
    if isinstance(command, click.Group) and len(shared) < len(SHARED):
        shared = [*(one.row for one in SHARED), *shared]
    for title, rows in (
        ("Arguments", arguments),
        ("Options", own),
        ("Every command", shared),
    ):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
