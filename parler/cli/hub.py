"""This machine's own hub: is it there, start, stop, its log, and its service."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from parler.cli._command import command, group, shows
from parler.cli._run import Options, settings_of
from parler.local_hub.record import Record, hub_arguments, hub_paths, read_record
from parler.ops import local_hub
from parler.ops.local_hub import ServiceResult, StartResult, StatusResult, StopResult
from parler.runtime.bootstrap import now
from parler.text.terminal import visible, word

app = group("This machine's own hub, which parler starts when it is needed.")

RUN = "run"
"""What a service or a background start runs: the hub itself, in the foreground."""


def status(options: Options) -> None:
    """Show how the hub is."""
    result = asyncio.run(local_hub.status(_home(options), now=now))
    options.out.result(result, _status(result))


def logs(
    options: Options,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many lines to show.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show more as it comes.")
    ] = False,
) -> None:
    """Show the end of the log, and what follows."""
    home = _home(options)
    shown = local_hub.last_lines(home, lines)
    options.out.result(local_hub.LogLines(lines=shown), map(visible, shown))
    if follow:
        for line in local_hub.follow_log(home):
            options.out.result(local_hub.LogLines(lines=[line]), [visible(line)])


def arguments_of_own_hub(options_home: str | None) -> list[str]:
    """The hub's command line for ``parler hub run``: what its owner decided.

    Raises:
        ConfigError: The record of it is damaged.
    """
    place = hub_paths(_home(Options(command="hub", home=options_home)))
    place.stopped.unlink(missing_ok=True)
    arguments = hub_arguments(place, read_record(place) or Record())
    return [*arguments, "--log-file", str(place.log)]


def _home(options: Options) -> Path:
    return settings_of(options).base_home


def _started(result: StartResult) -> Iterator[str]:
    how = "started" if result.started else "runs already"
    url = visible(result.url)
    yield f"{how}: {url} (process {result.pid})"
    if result.new_secret:
        yield "it now asks for a secret: restart the apps that are open, to read it"
    if result.instead_of:
        yield (
            f"your rooms at {url} live on the hub {result.instead_of}: to use this one "
            f"in its place, parler trust-hub {url}"
        )


def _stopped(result: StopResult) -> str:
    return f"stopped process {result.pid}" if result.stopped else "it does not run"


def _status(result: StatusResult) -> Iterator[str]:
    yield f"hub        {visible(result.url)}  {result.state}" + (
        "" if result.healthy or result.state != "running" else ", but does not answer"
    )
    if result.in_its_place is not None:
        yield f"           its port is taken by {visible(result.in_its_place)}"
    if result.pid is not None:
        uptime = f", up {_duration(result.uptime_secs or 0)}"
        version = visible(result.version or "?")
        yield f"process    {result.pid}, parler {version}{uptime}"
    sizes = result.sizes
    yield (
        f"disk       database {_size(sizes.database)}, blobs {_size(sizes.blobs)}, "
        f"log {_size(sizes.log)}, in {visible(result.folder)}"
    )
    if result.team is not None:
        where = ", ".join(result.team.addresses) or "no network"
        yield f"team       {visible(where)}, fingerprint {result.team.fingerprint}"
    if result.service:
        state = "active" if result.service_active else "not active"
        yield f"service    {word(result.service)} ({state})"
    if result.stopped_by_owner:
        yield "it was stopped with parler hub stop; parler hub start starts it"


def _service(result: ServiceResult) -> Iterator[str]:
    what = "written" if result.installed else "removed"
    yield f"{what if result.changed else 'not there'}: {visible(result.file)}"
    if result.to_do:
        yield "run, since it could not be done from here:"
        yield from (f"  {visible(line)}" for line in result.to_do)
    if result.hint:
        yield result.hint


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 1024:.0f} KiB"


command(app, local_hub.STATUS)(status)
shows(app, local_hub.START, _started)
shows(app, local_hub.STOP, _stopped)
command(app, local_hub.LOGS)(logs)
shows(app, local_hub.INSTALL_SERVICE, _service)
shows(app, local_hub.UNINSTALL_SERVICE, _service)
COMMANDS = frozenset(one.name for one in app.registered_commands)
