"""What the pages tell people to type, and whether the program would understand it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from hub.admin.commands import COMMANDS as DATA_COMMANDS
from hub.admin.commands import _parser as data_parser
from hub.settings import parser as hub_parser
from parler.cli.app import app
from parler.cli.hub import COMMANDS as HUB_COMMANDS
from parler.cli.hub import app as hub_app
from tests._support.processes import CHECKOUT

PAGES = [
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
    *sorted((CHECKOUT / "docs" / "guides").glob("*.md")),
    *sorted((CHECKOUT / "docs" / "apps").glob("*.md")),
    CHECKOUT / "docs" / "reference" / "files.md",
    *sorted((CHECKOUT / "deploy").rglob("README.md")),
]
_VAGUE = {"…", "--help"}
_INLINE = re.compile(r"`(parler [^`]+)`")


def blocks(page: Path) -> Iterator[str]:
    """The lines of a page's indented blocks, without their comments."""
    fenced, after_blank, inside = False, True, False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced, inside, after_blank = not fenced, False, False
        elif not fenced:
            inside = line.startswith("    ") and (inside or after_blank)
            after_blank = not line.strip()
            if inside:
                yield re.sub(r"\s{2,}# .*|\s+# .*$", "", line.strip())


def inline(page: Path) -> Iterator[str]:
    """Commands within the text of a page."""
    for found in _INLINE.finditer(page.read_text(encoding="utf-8")):
        yield found[1]


def understand(line: str) -> None:
    """Hold a command against the program's own grammar, without carrying it out.

    Raises:
        click.UsageError: There is no such command or option.
        SystemExit: There is none of a hub's.
    """
    words = shlex.split(line, comments=True)
    while words and "=" in words[0] and not words[0].startswith("-"):
        words.pop(0)
    assert words[0] == "parler", line
    words = [word.partition("|")[0] for word in words[1:] if word not in _VAGUE]
    if "<" in words:
        words = words[: words.index("<")]
    if words[:1] == ["hub"] and (len(words) == 1 or words[1] not in HUB_COMMANDS):
        if len(words) > 1 and words[1] in DATA_COMMANDS:
            named_only = len(words) == 2 and words[1] in ("backup", "restore")
            data_parser({}).parse_args([*words[1:], *(["DIR"] if named_only else [])])
        else:
            hub_parser({}).parse_args(words[1:])
        return
    if words[:1] == ["help"]:
        words = words[1:]
    if words[:1] == ["hook"]:
        return  # its grammar is held by tests/parler/apps/test_hooks.py
    command: click.Command = typer.main.get_command(app)
    if words[:1] == ["hub"]:
        command, words = typer.main.get_command(hub_app), words[1:]
    context = click.Context(command)
    while isinstance(command, click.Group) and words:
        name, *words = words
        inner = command.get_command(context, name)
        if inner is None:
            raise click.UsageError(f"no such command: {line}")
        command = inner
        context = click.Context(command, parent=context)
    command.make_parser(context).parse_args(list(words))
