"""The command `parler doctor --wake`: which path brings a message to an agent."""

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import typer

from parler.cli._run import Options, settings_of
from parler.client.client import Client
from parler.errors import TimedOut
from parler.identity.homes import (
    current_directory,
    find_home,
    machine_home,
    process_environment,
    user_home_of,
)
from parler.identity.identity import Identity
from parler.identity.settings import Settings
from parler.ops.doctor_wake import Probe, live_homes, probe_wake
from parler.runtime.bootstrap import dialled
from parler.text.terminal import visible

_WHEN = {
    "push": "at once, also when it is idle",
    "turn": "when its turn ends",
    "next": "with its next prompt or tool call",
    "none": "never",
}


def wake_doctor(options: Options) -> None:
    """Send each agent that runs in this folder a test message and show what came."""
    settings = settings_of(options)

    def dial(hub: str, who: Identity) -> AbstractAsyncContextManager[Client]:
        return dialled(hub, settings, who, local=None, remember=False)

    homes = live_homes(_homes(settings))
    result = asyncio.run(probe_wake(homes, dial=dial, nonce=secrets.token_hex(4)))
    options.out.result(result, [_line(probe) for probe in result.probes])
    if not result.ok:
        raise typer.Exit(TimedOut.exit_status)


def _homes(settings: Settings) -> list[Path]:
    """Where the agents of this folder live: one home for each app."""
    env, cwd = process_environment(), current_directory()
    user_home = user_home_of(env)
    homes = [settings.home]
    for base in sorted((machine_home(settings.base_home) / "agents").glob("*")):
        named = {"PARLER_HOME": str(base)}
        found = find_home(env | named, cwd, user_home, command="mcp")
        homes += [found.path, found.base]
    return homes


def _line(probe: Probe) -> str:
    name = visible(probe.agent)
    if probe.arrived:
        return f"{name}: shown after {probe.after_ms} ms by {visible(probe.path or '')}"
    if probe.problem:
        return f"{name}: not sent: {visible(probe.problem)}"
    where = "it waits here" if probe.waiting else "its tools have not taken it"
    when = _WHEN[probe.wake]
    hooks = ", ".join(map(visible, probe.hooks)) or "none"
    return f"{name}: not shown yet, {where}; expected {when} (hooks seen: {hooks})"
