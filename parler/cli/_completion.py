"""What a shell is told may follow: values that are known here, without asking a hub.

What others chose, a name or a topic, is offered only if it is a plain word, or as the
description beside one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click
import typer
from click.shell_completion import (
    CompletionItem,
    get_completion_class,
    split_arg_string,
)

from parler.cli._help import without_shared
from parler.cli._index import WORDS
from parler.cli.render import Output
from parler.errors import ParlerError

if TYPE_CHECKING:
    from parler.identity.own_agents import OwnAgent
    from parler.identity.settings import Settings

VARIABLE: Final = "_PARLER_COMPLETE"
"""Where a shell says that it wants to complete a line, as click has it."""

SHELLS: Final = ("bash", "zsh", "fish")

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", re.ASCII)

Words: TypeAlias = Iterable[tuple[str, str]]
"""What may be typed, each with what is said beside it."""

Tree: TypeAlias = Callable[[Sequence[str]], typer.Typer]


def answer(tree_for: Tree, environment: Mapping[str, str]) -> int:
    """Tell a shell what may follow, or how it asks for that.

    Args:
        tree_for: The commands that are needed for a beginning of a line.
    """
    out = Output(json=False, quiet=True)
    shell, _, wanted = environment[VARIABLE].partition("_")
    found = get_completion_class(shell)
    if found is None:
        return 1
    if wanted == "source":
        out.verbatim(script(shell))
        return 0
    line = environment.get("COMP_WORDS", "")
    words = split_arg_string(line)[1:]
    if words and not line[-1:].isspace():
        del words[-1]

    class Completion(found):  # type: ignore[valid-type, misc]
        def get_completion_args(self) -> tuple[list[str], str]:
            typed, incomplete = super().get_completion_args()
            return _significant(typed), incomplete

    command = typer.main.get_command(_with_hub(tree_for, _significant(words)))
    out.verbatim(Completion(command, {}, "parler", VARIABLE).complete())
    return 0


def script(shell: str) -> str:
    """What a shell has to run once, so that it asks us."""
    found = get_completion_class(shell)
    assert found is not None
    text = found(click.Command("parler"), {}, "parler", VARIABLE).source()
    # A description may have commas.
    return text.replace('string split ","', 'string split --max 1 ","')


def _significant(words: Sequence[str]) -> list[str]:
    """What says where in the tree one is."""
    words = words[1:] if words[:1] == ["help"] else words
    return without_shared(words)


def _with_hub(tree_for: Tree, words: Sequence[str]) -> typer.Typer:
    """The tree, in which also the words below `hub` are commands."""
    if words[:1] != ["hub"]:
        return tree_for(words)
    from parler.cli import hub

    root = tree_for([])
    known = {one.name for one in hub.app.registered_commands}
    for word in WORDS["hub"]:
        if word not in known:
            hub.app.command(word)(lambda: None)
    root.registered_commands = [
        one for one in root.registered_commands if one.name != "hub"
    ]
    root.add_typer(hub.app, name="hub")
    return root


class Known(click.types.StringParamType):
    """A text of which some are known here."""

    def __init__(self, metavar: str) -> None:
        """Complete what stands as `metavar` in help."""
        self._words = _KNOWN[metavar]

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Those that begin so, or are said to be what begins so."""
        typed = incomplete.casefold()
        try:
            return [
                CompletionItem(word, help=beside or None)
                for word, beside in dict(self._words()).items()
                if _PLAIN.fullmatch(word)
                and (word.casefold().startswith(typed) or _is_said(typed, beside))
            ]
        except (ParlerError, OSError):
            return []  # a shell shows nothing of it


def of(metavar: str | None) -> Known | None:
    """What completes a value, by what stands for it in help."""
    return Known(metavar) if metavar and metavar in _KNOWN else None


def _is_said(typed: str, beside: str) -> bool:
    # Odd words of others stand in quotes.
    return bool(typed) and beside.casefold().lstrip('"').startswith(typed)


def _rooms() -> Iterator[tuple[str, str]]:
    """The rooms of all identities, with their topics; the ones entered last first."""
    from parler.cli._format import short_topic
    from parler.identity.known_rooms import KnownRooms

    for home in dict.fromkeys([_settings().home, *(one.home for one in _own())]):
        for record in reversed(KnownRooms(home).records()):
            yield record.room, short_topic(record.topic) if record.topic else ""


def _agents() -> Iterator[tuple[str, str]]:
    """Whom one can name: agents of ours, those that are here, the people known."""
    from parler.identity.contacts import Contacts
    from parler.peers.presence import read_live

    yield from _own_names()
    for one in read_live(_machine()):
        yield one.name, "is here"
    for contact in Contacts(_machine()).all():
        yield contact.name, "a contact"


def _own_names() -> Iterator[tuple[str, str]]:
    for one in _own():
        if one.identity is not None:
            yield one.identity.name, "you" if one.is_person else "yours"


def _projects() -> Iterator[tuple[str, str]]:
    from parler.ask.projects import Projects

    for one in Projects(_machine()).all():
        yield one.name, str(one.folder)


def _hubs() -> Iterator[tuple[str, str]]:
    from parler.identity.chosen_hub import LOCAL, TEAM, read_choice

    yield LOCAL, "this machine's own"
    yield TEAM, "the one in your network"
    for one in read_choice(_machine()).hubs:
        yield one.name, one.url


_KNOWN: Final[Mapping[str, Callable[[], Words]]] = {
    "ROOM": _rooms,
    "AGENT": _agents,
    "WHO": _agents,
    "OWN": _own_names,
    "PROJECT": _projects,
    "HUB": _hubs,
}


def _own() -> "list[OwnAgent]":
    from parler.identity.own_agents import own_agents

    return own_agents(_machine())


def _machine() -> Path:
    from parler.identity.homes import machine_home

    return machine_home(_settings().base_home)


@cache
def _settings() -> "Settings":
    from parler.cli._run import Options, settings_of

    return settings_of(Options(command="completion"))
