"""This machine's own hub: is it there, start, stop, its log, and its service."""

from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command, group
from parler.cli._run import Options, settings_of
from parler.text.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parler.ops.local_hub import ServiceResult, StatusResult

app = group("This machine's own hub, which parler starts when it is needed.")

RUN = "run"
"""What a service or a background start runs: the hub itself, in the foreground."""


def status(options: Options) -> None:
    """Show whether the hub runs, where, and how much room it takes."""
    import asyncio

    from parler.ops import local_hub
    from parler.runtime.bootstrap import now

    result = asyncio.run(local_hub.status(_home(options), now=now))
    options.out.result(result, _status(result))


def start(options: Options) -> None:
    """Start the hub in the background."""
    from parler.ops import local_hub

    result = local_hub.begin(_home(options))
    how = "started" if result.started else "runs already"
    options.out.result(result, [f"{how}: {visible(result.url)} (process {result.pid})"])


def stop(
    options: Options,
    force: Annotated[
        bool, typer.Option("--force", help="Kill it if it does not end in time.")
    ] = False,
) -> None:
    """Stop the hub. A command that needs it starts it again; agents do not."""
    from parler.ops import local_hub

    result = local_hub.end(_home(options), force=force)
    text = f"stopped process {result.pid}" if result.stopped else "it does not run"
    options.out.result(result, [text])


def logs(
    options: Options,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many lines to show.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show more as it comes.")
    ] = False,
) -> None:
    """Show the end of the hub's log."""
    from parler.ops import local_hub

    home = _home(options)
    shown = local_hub.last_lines(home, lines)
    options.out.result({"lines": shown}, (visible(line) for line in shown))
    if follow:
        for line in local_hub.follow_log(home):
            options.out.result({"lines": [line]}, [visible(line)])


def install_service(options: Options) -> None:
    """Have the system start the hub at login, as a service of yours alone."""
    from parler.ops import local_hub

    result = local_hub.install_service(_home(options))
    options.out.result(result, _service(result))


def uninstall_service(options: Options) -> None:
    """Undo install-service."""
    from parler.ops import local_hub

    result = local_hub.uninstall_service(_home(options))
    options.out.result(result, _service(result))


def arguments_of_own_hub(options_home: str | None) -> list[str]:
    """The hub's command line for ``parler hub run``: what its owner decided.

    Raises:
        ConfigError: The record of it is damaged.
    """
    from parler.local_hub.record import Record, hub_arguments, hub_paths, read_record

    place = hub_paths(_home(Options(command="hub", home=options_home)))
    place.stopped.unlink(missing_ok=True)
    arguments = hub_arguments(place, read_record(place) or Record())
    return [*arguments, "--log-file", str(place.log)]


command(app, "status", example="parler hub status --json")(status)
command(app, "start", example="parler hub start")(start)
command(app, "stop", example="parler hub stop")(stop)
command(app, "logs", example="parler hub logs -f")(logs)
command(app, "install-service", example="parler hub install-service")(install_service)
command(app, "uninstall-service", example="parler hub uninstall-service")(
    uninstall_service
)

COMMANDS = frozenset(
    {"status", "start", "stop", "logs", "install-service", "uninstall-service"}
)


def _home(options: Options) -> "Path":
    return settings_of(options).base_home


def _status(result: "StatusResult") -> "Iterator[str]":
    yield f"hub        {visible(result.url)}  {result.state}" + (
        "" if result.healthy or result.state != "running" else ", but does not answer"
    )
    if result.pid is not None:
        uptime = f", up {_duration(result.uptime_secs or 0)}"
        version = visible(result.version or "?")
        yield f"process    {result.pid}, parler {version}{uptime}"
    sizes = result.sizes
    yield (
        f"room       database {_size(sizes.database)}, blobs {_size(sizes.blobs)}, "
        f"log {_size(sizes.log)}, in {visible(result.folder)}"
    )
    if result.team is not None:
        where = ", ".join(result.team.addresses) or "no network"
        yield f"team       {visible(where)}, fingerprint {result.team.fingerprint}"
    if result.service:
        state = "active" if result.service_active else "not active"
        yield f"service    {visible(result.service)} ({state})"
    if result.stopped_by_owner:
        yield "it was stopped with parler hub stop; parler hub start starts it"


def _service(result: "ServiceResult") -> "Iterator[str]":
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
