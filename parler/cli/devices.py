"""The phones that act for the person: ``devices``, ``devices remove``."""

import shlex
from collections.abc import Iterator

import typer

from parler.cli._command import alone, command, group
from parler.cli._machine import here_of
from parler.cli._person import check_no_agent
from parler.cli._run import Options
from parler.cli._when import when
from parler.ops import devices
from parler.ops.devices import DevicesResult
from parler.ops.person_only import Deciding
from parler.text.terminal import shown_name


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    phones = group("Show the phones that act for you, or remove one.")
    command(phones, devices.DEVICES)(listed)
    command(phones, devices.REMOVE)(remove)
    alone(phones, listed)
    app.add_typer(phones, name="devices")


def listed(options: Options) -> None:
    """Show the phones."""
    result = devices.devices(here_of(options))
    options.out.result(result, list(_devices(result)))


def remove(options: Options, name: str) -> None:
    """End what a phone may do."""
    line = shlex.join(["parler", "devices", "remove", name])
    check_no_agent(Deciding(what="remove a phone", question="", line=line))
    result = devices.remove_device(here_of(options), name)
    said = f"{shown_name(result.device.name)} may do nothing any more"
    options.out.result(result, [said])


def _devices(result: DevicesResult) -> Iterator[str]:
    for one in result.devices:
        used = f", last used {when(one.used)}" if one.used else ""
        yield f"{shown_name(one.name)} {one.fingerprint}, since {when(one.since)}{used}"
    if not result.devices:
        yield "no phone acts for you; parler ui --phone pairs one"
