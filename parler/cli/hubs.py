"""Which hub is used: ``use``, ``hubs``, and ``config`` with every other setting."""

from collections.abc import Iterator
from typing import Annotated

import typer

from parler.cli._command import command
from parler.cli._connecting import (
    Chosen,
    Desk,
    Wishes,
    at,
    begin_hub,
    local,
    not_for_agents,
    setting_of,
    settled,
    team,
    tell_of_variable,
)
from parler.cli._own import person_line
from parler.cli._run import Options, settings_of
from parler.errors import AppError, UsageError
from parler.identity.chosen_hub import LOCAL, TEAM, read_choice
from parler.ops import hubs as operation
from parler.ops.connect import Outcome
from parler.ops.hubs import ConfigResult, HubsResult, UseResult
from parler.text.terminal import counted, visible
from parler.wire.urls import same_hub

_Where = Annotated[
    str, typer.Argument(metavar="HUB", help="local, team, an address or a name.")
]
_As = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="What it is called here from now on."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, operation.USE)(use)
    command(app, operation.HUBS)(hubs)
    command(app, operation.CONFIG)(config)


def use(options: Options, where: _Where, as_: _As = None) -> None:
    """Choose the hub for everybody here."""
    if options.hub is not None:
        raise UsageError("the hub is named without --hub", next_step="parler use HUB")
    not_for_agents(options, "use", where, *(["--as", as_] if as_ else []))
    settings = settings_of(options)
    setting = setting_of(settings)
    desk = Desk(settings=settings, home=setting.home, out=options.out)
    chosen = _chosen(where, desk, as_)
    begin_hub(chosen, desk)
    before = settings.hub
    result = operation.use(settled(setting, chosen))
    lines = _used(result, here=chosen.choice == LOCAL)
    options.out.result(result, lines)
    tell_of_variable(options, chosen.url)
    if not same_hub(before, result.hub):
        options.out.undo(person_line(options, "use", before))
    if any(one.outcome is Outcome.FAILED for one in result.apps):
        raise typer.Exit(AppError.exit_status)


def _chosen(where: str, desk: Desk, name: str | None) -> Chosen:
    """Which hub is meant by a word or an address."""
    from dataclasses import replace

    from parler.local_hub import hub_paths, read_record

    source = "use"
    if where == TEAM:
        record = read_record(hub_paths(desk.home))
        known = read_choice(desk.home).named(TEAM)
        if record is not None and record.team:
            where = LOCAL
        elif known is None:
            found = team(desk, Wishes(team=True), only_look=True)
            return replace(found, source=source)
    if where != LOCAL:
        where = operation.named_hub(where, desk.home)
    if where != LOCAL:
        return at(where, desk, source=source, name=name)
    if name is not None:
        raise UsageError(f"this machine's own hub is called {LOCAL!r}")
    return replace(local(desk), source=source)


def hubs(options: Options) -> None:
    """List the hubs that are known."""
    import asyncio

    result = asyncio.run(operation.hubs(settings_of(options)))
    options.out.result(result, _listed(result))


def config(options: Options) -> None:
    """Show every setting."""
    from parler.identity.homes import process_environment

    result = operation.config(settings_of(options), process_environment(), options.home)
    options.out.result(result, _configured(result))


def _used(result: UseResult, *, here: bool) -> Iterator[str]:
    what = f"{visible(result.hub)}, this machine's own" if here else visible(result.hub)
    yield f"hub: {what}"
    follow = [one for one in result.apps if one.outcome is not Outcome.FAILED]
    names = ", ".join(visible(one.title) for one in follow)
    yield f"used by your shell{f' and {names}' if names else ''}"
    if names:
        yield "apps that are open follow when they are started again"
    for one in result.apps:
        if one.outcome is Outcome.FAILED:
            yield f"✗ {visible(one.title)}: {visible(one.detail or '')}"
            if one.next:
                yield f"    next: {visible(one.next)}"
    for hub, count in result.rooms_elsewhere.items():
        rooms = counted(count, "room stays", "rooms stay")
        yield f"{rooms} on {visible(hub)}, and are reached there"


def _listed(result: HubsResult) -> Iterator[str]:
    names = max(len(one.name) for one in result.hubs)
    urls = max(len(one.url) for one in result.hubs)
    for one in result.hubs:
        mark = "*" if one.chosen else " "
        state = one.detail or ("answers" if one.reachable else "does not answer")
        yield (
            f"{mark} {visible(one.name):<{names}}  {visible(one.url):<{urls}}  "
            f"{visible(state)} ({visible(', '.join(one.sources))})"
        )


def _configured(result: ConfigResult) -> Iterator[str]:
    there = [one for one in result.settings if one.value is not None]
    names = max(len(one.name) for one in there)
    for one in there:
        value, source = visible(one.value or ""), visible(one.source)
        yield f"{one.name:<{names}}  {value}  ({source})"
    others = [one.name for one in result.settings if one.value is None]
    if others:
        yield f"not set: {', '.join(others)}"
