"""Whether all is well: ``doctor``, and which path brings a message to an agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.apps.kit.promises import WHEN
from parler.cli._command import command
from parler.cli._run import ELSEWHERE, Options, hub_of, settings_of
from parler.ops.doctor.installation import (
    DOCTOR,
    Check,
    DoctorResult,
    Finding,
    examine,
    exit_status,
)
from parler.ops.doctor.wake import Probe, live_homes, probe_wake
from parler.runtime.dialling import dialled
from parler.text.terminal import visible, word

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from parler.client.client import Client
    from parler.identity.identity import Identity
    from parler.identity.settings import Settings

_MARKS = {Finding.OK: "✓", Finding.WARN: "!", Finding.BROKEN: "✗"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, DOCTOR)(doctor)


def doctor(
    options: Options,
    wake: Annotated[
        bool,
        typer.Option(
            "--wake", help="Send the agents in this folder a message; see what came."
        ),
    ] = False,
) -> None:
    """Examine everything; what is broken is no success."""
    if wake:
        _wake(options)
        return
    import asyncio

    with options.out.waiting("examining"):
        result = asyncio.run(examined(options))
    options.out.result(result, _examined(result))
    if not result.ok:
        raise typer.Exit(exit_status(result))


async def examined(options: Options) -> DoctorResult:
    """What the doctor says of this installation and its apps."""
    from parler.identity.known_rooms import KnownRooms

    settings = settings_of(options)
    hub = hub_of(options, ELSEWHERE, settings, KnownRooms(settings.home))

    def dial(identity: "Identity") -> "AbstractAsyncContextManager[Client]":
        return dialled(hub, settings, identity, local=None, remember=False)

    async def apps() -> list[Check]:
        return await _apps(settings)

    return await examine(settings, hub=hub, dial=dial, more=[apps])


def _wake(options: Options) -> None:
    """Send each agent that runs in this folder a test message; show what came."""
    import asyncio
    import secrets

    from parler.errors import TimedOut

    settings = settings_of(options)

    def dial(hub: str, who: "Identity") -> "AbstractAsyncContextManager[Client]":
        return dialled(hub, settings, who, local=None, remember=False)

    homes = live_homes(_homes(settings))
    result = asyncio.run(probe_wake(homes, dial=dial, nonce=secrets.token_hex(4)))
    options.out.result(result, [_line(probe) for probe in result.probes])
    if not result.ok:
        raise typer.Exit(TimedOut.exit_status)


def _homes(settings: "Settings") -> list[Path]:
    """Where the agents of this folder live: one home for each window of an app."""
    from parler.identity.homes import (
        SEATS,
        current_directory,
        find_home,
        machine_home,
        process_environment,
        user_home_of,
    )

    env, cwd = process_environment(), current_directory()
    user_home = user_home_of(env)
    homes = [settings.home]
    for base in sorted((machine_home(settings.base_home) / "agents").glob("*")):
        named = {"PARLER_HOME": str(base)}
        found = find_home(env | named, cwd, user_home, command="mcp")
        further = sorted((found.path / SEATS).glob("*"))
        homes += [found.path, *further, found.base]
    return homes


def _examined(result: DoctorResult) -> Iterator[str]:
    for check in result.checks:
        yield f"{_MARKS[check.finding]} {check.name}: {visible(check.detail)}"
        if check.next:
            yield f"    next: {visible(check.next)}"


def _line(probe: Probe) -> str:
    name = visible(probe.agent)
    if probe.arrived:
        return f"{name}: shown after {probe.after_ms} ms by {visible(probe.path or '')}"
    if probe.problem:
        return f"{name}: not sent: {visible(probe.problem)}"
    where = "it waits here" if probe.waiting else "its tools have not taken it"
    when = WHEN[probe.wake]
    hooks = ", ".join(map(word, probe.hooks)) or "none"
    return f"{name}: not shown yet, {where}; expected {when} (hooks seen: {hooks})"


async def _apps(settings: "Settings") -> list[Check]:
    """What the agent apps of this machine look like."""
    from parler.cli._connecting import reach_of, setting_of
    from parler.ops.doctor.apps import app_checks

    return await app_checks(setting_of(settings), reach=reach_of(settings))
