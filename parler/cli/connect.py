"""``connect``: wire every agent app of this machine, see how they are, take it back."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import between, seconds
from parler.cli._command import command
from parler.cli._connecting import Chosen, Wishes, choose
from parler.cli._run import Options, settings_of
from parler.errors import ConfigError, UsageError
from parler.text import visible

if TYPE_CHECKING:
    from parler.client import Client
    from parler.config import Settings
    from parler.hosts.host import Host
    from parler.ops.connect import Arrival, ConnectResult, Setting

FAILED = 9
"""The exit status if an app could not be wired, or did not come."""

MAX_WAIT_SECS = 86_400
_EXAMPLE = """\
parler connect
parler connect claude-code codex --local
parler connect --list
parler connect --remove gemini"""

_Apps = Annotated[
    list[str] | None,
    typer.Argument(metavar="[APP]...", help="Only these; else all that are here."),
]
_Local = Annotated[bool, typer.Option("--local", help="A hub on this machine alone.")]
_Team = Annotated[
    bool, typer.Option("--team", help="A hub for this network, with a secret.")
]
_Shared = Annotated[bool, typer.Option("--shared", help="The shared hub.")]
_Join = Annotated[
    str | None,
    typer.Option("--join", metavar="INVITE", help="A team's hub; - reads stdin."),
]
_Print = Annotated[
    bool, typer.Option("--print", help="Show what would be written; write nothing.")
]
_List = Annotated[
    bool, typer.Option("--list", help="Show what is wired, and whether it works.")
]
_Remove = Annotated[
    bool, typer.Option("--remove", help="Put everything back as it was.")
]
_Verify = Annotated[
    bool, typer.Option("--verify", help="Wire, then wait until each one comes.")
]
_Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECS",
        help="How long to wait for them.",
        parser=seconds(MAX_WAIT_SECS),
    ),
]
_Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What others see of the agents."),
]
_Hooks = Annotated[
    bool | None,
    typer.Option(
        "--hooks/--no-hooks",
        help="Whether messages come by themselves; they do unless told otherwise.",
    ),
]
_Reservations = Annotated[
    bool | None,
    typer.Option(
        "--reservations/--no-reservations",
        help="Whether edits of files that others reserved are refused.",
    ),
]
_Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        help="Of the local or team hub.",
        parser=between(1, 65_535),
    ),
]
_Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST", help="Where teammates reach this hub."),
]
_Rotate = Annotated[
    bool, typer.Option("--rotate-secret", help="Make a new secret for the team.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "connect", example=_EXAMPLE)(connect)


def connect(
    options: Options,
    apps: _Apps = None,
    local: _Local = False,
    team: _Team = False,
    shared: _Shared = False,
    join: _Join = None,
    show: _Print = False,
    listing: _List = False,
    remove: _Remove = False,
    verify: _Verify = False,
    timeout: _Timeout = 180.0,
    name: _Name = None,
    hooks: _Hooks = None,
    reservations: _Reservations = None,
    port: _Port = None,
    address: _Address = None,
    rotate_secret: _Rotate = False,
) -> None:
    """Wire agent apps to a hub; those that are wired keep theirs unless told otherwise.

    A join secret comes from an invite, from PARLER_JOIN_SECRET, or is asked for. It is
    kept in parler's own home and written nowhere else.
    """
    from parler.hosts import HOSTS
    from parler.ops import connect as operation

    wishes = Wishes(
        local=local,
        team=team,
        shared=shared,
        join=join,
        hub=options.hub,
        port=port,
        address=address,
        rotate_secret=rotate_secret,
    )
    wishes.check()
    _only_one(list=listing, remove=remove, verify=verify)
    _only_one(list=listing, print=show, verify=verify)
    settings = settings_of(options)
    dry = show or listing or remove
    setting, chosen = _setting(options, settings, wishes, dry=dry, name=name)
    setting = setting.hooked(hooks=hooks, reservations=reservations)
    here = operation.chosen(apps or [], setting.machine, wired=setting.ledger.hosts())
    everything = here if apps else list(HOSTS)
    if listing:
        _list(options, settings, setting, everything)
    elif remove:
        result = operation.unwire(everything, setting, dry=show)
        _end(options, result, dry=show)
    else:
        result = operation.wire(here, setting, dry=show)
        _begin_hub(options, setting, chosen, dry=show)
        if verify and result.ok and not show:
            if not options.json:  # there is one result, and that comes last
                _show(options, result, chosen)
            _verify(options, settings, setting, here, timeout)
        else:
            _end(options, result, dry=show, chosen=chosen)


def _setting(
    options: Options,
    settings: "Settings",
    wishes: Wishes,
    *,
    dry: bool,
    name: str | None,
) -> "tuple[Setting, Chosen]":
    from parler.config import clean_label
    from parler.homes import (
        current_directory,
        machine_home,
        process_environment,
        user_home_of,
    )
    from parler.hosts.machine import Machine, Platform
    from parler.hosts.program import own_command
    from parler.ops.connect import Setting

    home = machine_home(settings.base_home)
    env = process_environment()
    cwd = current_directory()
    user_home = user_home_of(env)
    if user_home is None:
        raise ConfigError("HOME is not set: it is not known whose apps are meant")
    chosen = choose(wishes, settings, home, options.out, dry=dry)
    machine = Machine(
        platform=Platform.of(sys.platform),
        env=env,
        home=user_home,
        cwd=cwd,
    )
    command_ = own_command(sys.argv[0], executable=sys.executable, env=env, cwd=cwd)
    setting = Setting(
        machine=machine,
        home=home,
        command=command_,
        hub=chosen.url,
        pinned=chosen.pinned,
        name=clean_label(name, what="name") if name is not None else None,
        secret=chosen.secret,
    )
    return setting, chosen


def _begin_hub(
    options: Options, setting: "Setting", chosen: Chosen, *, dry: bool
) -> None:
    """Start this machine's own hub if that is the one that was asked for."""
    import asyncio

    from parler.local_hub import ensure_local_hub

    if chosen.starts_here and not dry:
        hub = ensure_local_hub(setting.home, chosen.url, note=options.out.note)
        asyncio.run(hub)


def _list(
    options: Options,
    settings: "Settings",
    setting: "Setting",
    hosts: "Sequence[Host]",
) -> None:
    import asyncio

    from parler.cli import connect_views
    from parler.ops.connect import examine_all

    async def reach(hub: str) -> str | None:
        return await _unreachable(hub, settings)

    result = asyncio.run(examine_all(hosts, setting, reach=reach))
    options.out.result(result, connect_views.listed(result))


async def _unreachable(hub: str, settings: "Settings") -> str | None:
    """Why a hub does not answer; nothing is signed in to, and none is started."""
    from parler.local_hub import place_of, starts_by_itself
    from parler.probe import ask

    try:
        answer = await ask(hub)
        if answer is not None:
            return None if answer.is_hub else f"what answers at {hub} is no hub"
        if starts_by_itself(settings, hub):
            if place_of(settings.base_home).stopped.exists():
                return f"the hub {hub} was stopped: parler hub start"
            return None  # whoever needs it starts it
    except TimeoutError:
        return f"the hub {hub} does not answer in time"
    except (OSError, ConfigError) as error:
        return f"the hub {hub} cannot be reached: {error}"
    return f"nothing listens at the hub {hub}"


def _verify(
    options: Options,
    settings: "Settings",
    setting: "Setting",
    hosts: "Sequence[Host]",
    timeout: float,
) -> None:
    import asyncio

    from parler.cli import connect_views
    from parler.ops.connect import verify

    def seen(arrival: "Arrival") -> None:
        options.out.note(f"{arrival.title} is there")

    options.out.note("waiting for each app to come to its hub; start or restart it now")

    @asynccontextmanager
    async def dial(hub: str) -> "AsyncIterator[Client]":
        async with _passing_by(hub, settings, setting) as client:
            yield client

    result = asyncio.run(verify(hosts, setting, dial=dial, timeout=timeout, seen=seen))
    options.out.result(result, connect_views.verified(result))
    if not result.ok:
        raise typer.Exit(FAILED)


@asynccontextmanager
async def _passing_by(
    hub: str, settings: "Settings", setting: "Setting"
) -> "AsyncIterator[Client]":
    """A client of a hub in nobody's name, forgotten afterwards."""
    from parler import composition
    from parler.identity import Identity
    from parler.signing import Keypair

    nobody = Identity(
        keypair=Keypair.generate(),
        name="parler-connect",
        role=None,
        hub_url=hub,
        home=setting.home,
    )
    async with composition.dialled(hub, settings, nobody) as client:
        yield client


def _end(
    options: Options,
    result: "ConnectResult",
    *,
    dry: bool,
    chosen: Chosen | None = None,
) -> None:
    _show(options, result, None if dry else chosen)
    if not result.ok:
        raise typer.Exit(FAILED)


def _show(options: Options, result: "ConnectResult", chosen: Chosen | None) -> None:
    from parler.cli import connect_views

    lines = [*connect_views.done(result)]
    if chosen and chosen.team:
        lines += connect_views.team(chosen.team, private=sys.stdout.isatty())
    options.out.result(result, lines)


def _only_one(**modes: bool) -> None:
    given = [f"--{name}" for name, wanted in modes.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"{visible(' and '.join(given))} exclude each other")
