"""``parler update``: which version there is, what it brings, and taking it."""

from collections.abc import Iterator
from typing import Annotated

import typer

from parler.cli._command import command
from parler.cli._own import Yes
from parler.cli._person import check_agreed, check_no_agent
from parler.cli._run import Options, settings_of
from parler.machine.installed import Installed, Way, installed
from parler.ops import update as operation
from parler.ops.person_only import Deciding
from parler.ops.update import UpdateResult

NEWER = 10
"""The exit status of --check, if there is something newer."""

_SAID = {
    Way.UV: "by uv tool",
    Way.PIPX: "by pipx",
    Way.SCRIPT: "by install.sh",
    Way.VENV: "by pip",
    Way.UV_VENV: "by uv pip",
    Way.USER: "by pip --user",
    Way.SYSTEM: "by the system's package manager",
    Way.SINGLE: "a single file",
    Way.CHECKOUT: "run from its sources",
}

_Check = Annotated[
    bool, typer.Option("--check", help="Only look; the exit status tells.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, operation.UPDATE)(update)


def update(options: Options, check: _Check = False, yes: Yes = False) -> None:
    """Look, show, ask, and do it."""
    found = installed()
    deciding = _deciding(found)
    if not check:
        check_no_agent(deciding)
    if found.is_replaceable:
        options.out.note("asking the package index for the newest version …")
    with options.out.waiting("looking"):
        result = operation.look(found)
    if not check and result.newer:
        for line in _told(result, found):
            options.out.note(line)
        check_agreed(deciding, yes=yes)
        with options.out.waiting("updating"):
            result = operation.update(found, result)
        lines = [f"updated to {result.newest}", *_running(options)]
    else:
        lines = list(_told(result, found))
    options.out.result(result, lines)
    if check and result.newer:
        raise typer.Exit(NEWER)


def _line(found: Installed) -> str:
    return " ".join(found.replacing())


def _deciding(found: Installed) -> Deciding:
    return Deciding(
        what="update this program",
        question=f"This runs: {_line(found)}\nUpdate Parler?",
        line="parler update",
    )


def _told(result: UpdateResult, found: Installed) -> Iterator[str]:
    source = f" from {found.source}" if found.source else ""
    yield f"parler {result.version}, {_SAID[found.way]}{source}, in {result.where}"
    if result.next:
        yield f"not updated from here; for a newer one: {result.next}"
    elif not result.newer:
        yield f"the newest is {result.newest}: nothing to do"
    else:
        yield f"the newest is {result.newest}"
        yield from result.news


def _running(options: Options) -> Iterator[str]:
    from parler import local_hub

    yield "agents that run go on with what was there: start their apps anew"
    seen = local_hub.look(local_hub.hub_paths(settings_of(options).base_home))
    if seen.state is local_hub.State.RUNNING:
        yield "so does this machine's hub: parler hub stop, then parler hub start"
