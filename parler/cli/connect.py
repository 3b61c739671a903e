"""``connect``: wire every agent app of this machine, see how they are, take it back."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import between, seconds
from parler.cli._command import command
from parler.cli._connecting import (
    Desk,
    Wishes,
    begin_hub,
    choose,
    not_for_agents,
    reach_of,
    setting_of,
    settled,
    tell_of_variable,
)
from parler.cli._own import Yes
from parler.cli._run import Options, settings_of
from parler.errors import AppError, UsageError
from parler.ops.connect import CONNECT
from parler.text.terminal import visible

if TYPE_CHECKING:
    from pathlib import Path

    from parler.apps.kit.app import App
    from parler.client.client import Client
    from parler.identity.settings import Settings
    from parler.local_hub.lan import TeamHub
    from parler.ops.connect import Arrival, ConnectResult, Setting, TeamLine

FAILED = AppError.exit_status
"""If an app could not be wired, does not work, or did not come."""

MAX_WAIT_SECS = 86_400
_Apps = Annotated[
    list[str] | None,
    typer.Argument(metavar="[APP]...", help="Only these; else all that are here."),
]
_Local = Annotated[bool, typer.Option("--local", help="A hub on this machine alone.")]
_Team = Annotated[
    bool, typer.Option("--team", help="A hub for this network, with a secret.")
]
_Shared = Annotated[
    bool, typer.Option("--shared", help="A public hub that somebody else runs.")
]
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
_VerifyTimeout = Annotated[
    float | None,
    typer.Option("--verify-timeout-secs", hidden=True, parser=seconds(MAX_WAIT_SECS)),
]
_Secret = Annotated[
    str | None, typer.Option("--join-secret", metavar="SECRET", hidden=True)
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
_Approvals = Annotated[
    bool | None,
    typer.Option(
        "--approvals/--no-approvals",
        help="Whether you can answer permission requests in your inbox, too.",
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
    command(app, CONNECT)(connect)


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
    verify_timeout: _VerifyTimeout = None,
    join_secret: _Secret = None,
    name: _Name = None,
    hooks: _Hooks = None,
    reservations: _Reservations = None,
    approvals: _Approvals = None,
    port: _Port = None,
    address: _Address = None,
    rotate_secret: _Rotate = False,
    yes: Yes = False,
) -> None:
    """Wire apps, show how they are, or take it back."""
    from dataclasses import replace

    from parler.apps.registry import all_apps
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
    _only_one(list=listing, remove=remove, verify=verify)
    _only_one(list=listing, print=show, verify=verify)
    wishes.check(
        needs_none="--list" if listing else "--remove" if remove else None,
    )
    settings = settings_of(options)
    chooses = not (show or listing or remove)
    _check_person(options, settings, wishes, apps or [], chooses=chooses)
    if join_secret is not None:
        if options.hub is None:
            raise UsageError(
                "--join-secret is that of a hub named with --hub",
                next_step="parler connect --hub URL --join-secret SECRET, or --join "
                "INVITE",
            )
        options.out.note(
            "whoever looks at this machine's processes sees --join-secret: "
            "PARLER_JOIN_SECRET keeps it from them"
        )
        settings = replace(settings, join_secret=join_secret)
    _check_approvals(options, apps or [], wanted=approvals)
    setting = setting_of(settings, name).hooked(
        hooks=hooks, reservations=reservations, approvals=approvals
    )
    here = operation.chosen(apps or [], setting.machine, wired=setting.manifest.apps())
    everything = here if apps else list(all_apps())
    if listing:
        _list(options, settings, setting, everything)
        return
    if remove:
        _end(options, operation.unwire(everything, setting, dry=show))
        return
    _check_rotation(wishes, setting.home, dry=show, yes=yes)
    desk = Desk(settings=settings, home=setting.home, out=options.out, dry=show)
    chosen = choose(wishes, desk, wired=setting.manifest.apps())
    setting = settled(setting, chosen)
    others = operation.told_another(here, setting)
    if chosen.pinned:
        here += [app for app in others if app not in here]
    elif others:  # each keeps its own: there is not one choice yet
        setting = replace(setting, choice=None)
    begin_hub(chosen, desk)
    with options.out.waiting("writing the settings of your apps"):
        result = operation.wire(here, setting, dry=show)
    team_ = None if show else chosen.team
    if verify and result.ok:
        if not options.json:  # there is one result, and that comes last
            _show(options, result, team_)
        wait = timeout if verify_timeout is None else verify_timeout
        _verify(options, settings, setting, here, wait)
    else:
        _end(options, result, team_)
    if not show:
        tell_of_variable(options, chosen.url)


def _check_approvals(
    options: Options, apps: Sequence[str], *, wanted: bool | None
) -> None:
    from parler.cli._own import person_line
    from parler.cli._person import check_no_agent
    from parler.ops.person_only import Deciding

    if not wanted:
        return
    line = person_line(options, "connect", "--approvals", *apps)
    what = "choose where its user is asked for permission"
    check_no_agent(Deciding(what=what, question="", line=line))


def _check_rotation(wishes: Wishes, home: "Path", *, dry: bool, yes: bool) -> None:
    """Ask before teammates are shut out."""
    from parler.cli._person import check_agreed
    from parler.local_hub import hub_paths, read_record
    from parler.ops.person_only import Deciding

    if dry or not wishes.rotate_secret:
        return
    record = read_record(hub_paths(home))
    if record is None or not record.team:  # there is no secret yet
        return
    deciding = Deciding(
        what="shut out the team",
        question="Whoever has the secret of the team's hub is shut out until you "
        "invite them anew.\nMake a new secret?",
        line="parler connect --team --rotate-secret",
    )
    check_agreed(deciding, yes=yes)


def _check_person(
    options: Options,
    settings: "Settings",
    wishes: Wishes,
    apps: Sequence[str],
    *,
    chooses: bool,
) -> None:
    """An agent may wire its user's apps, but to the hub that its user chose."""
    from parler.identity.chosen_hub import chosen_url
    from parler.identity.homes import machine_home
    from parler.identity.settings import HubSource
    from parler.wire.urls import same_hub

    words = wishes.words
    if not words and settings.hub_source is HubSource.ENV:  # whoever typed may set it
        chosen = chosen_url(machine_home(settings.base_home))
        if chosen is None or not same_hub(settings.hub, chosen):
            words = ["--hub", settings.hub]
    if words and chooses:
        not_for_agents(options, "connect", *words, *apps)


def _list(
    options: Options,
    settings: "Settings",
    setting: "Setting",
    apps: "Sequence[App]",
) -> None:
    import asyncio

    from parler.cli import _connect_format
    from parler.ops.connect import examine_all

    with options.out.waiting("looking at your apps"):
        result = asyncio.run(examine_all(apps, setting, reach=reach_of(settings)))
    lines = _connect_format.listed(result)
    options.out.result(result, lines)
    if not result.ok:
        raise typer.Exit(FAILED)


def _verify(
    options: Options,
    settings: "Settings",
    setting: "Setting",
    apps: "Sequence[App]",
    timeout: float,
) -> None:
    import asyncio

    from parler.cli import _connect_format
    from parler.ops.connect import verify

    def seen(arrival: "Arrival") -> None:
        options.out.note(f"{arrival.title} is there")

    options.out.note("waiting for each app to come to its hub; start or restart it now")

    @asynccontextmanager
    async def dial(hub: str) -> "AsyncIterator[Client]":
        async with _passing_by(hub, settings, setting) as client:
            yield client

    with options.out.waiting("waiting for them", timeout):
        result = asyncio.run(
            verify(apps, setting, dial=dial, timeout=timeout, seen=seen)
        )
    options.out.result(result, _connect_format.verified(result))
    if not result.ok:
        raise typer.Exit(FAILED)


@asynccontextmanager
async def _passing_by(
    hub: str, settings: "Settings", setting: "Setting"
) -> "AsyncIterator[Client]":
    """A client of a hub in nobody's name, forgotten afterwards."""
    from parler.identity.identity import Identity
    from parler.identity.signing import Keypair
    from parler.runtime import dialling

    nobody = Identity(
        keypair=Keypair.generate(),
        name="parler-connect",
        role=None,
        hub_url=hub,
        home=setting.home,
    )
    async with dialling.dialled(hub, settings, nobody) as client:
        yield client


def _end(
    options: Options, result: "ConnectResult", team_: "TeamHub | None" = None
) -> None:
    _show(options, result, team_)
    if not result.ok:
        raise typer.Exit(FAILED)


def _show(options: Options, result: "ConnectResult", team_: "TeamHub | None") -> None:
    from parler.cli import _connect_format
    from parler.cli._own import person_line
    from parler.ops.connect import Outcome

    lines = [*_connect_format.done(result)]
    if team_:
        lines += _connect_format.team(team_, private=sys.stdout.isatty())
        result.team = _team_line(team_)
    options.out.result(result, lines)
    wired = [one.id for one in result.hosts if one.outcome is Outcome.WIRED]
    if wired:
        options.out.undo(person_line(options, "connect --remove", *wired))


def _team_line(team: "TeamHub") -> "TeamLine | None":
    from parler.local_hub.lan import team_invite
    from parler.ops.connect import TeamLine

    if not team.lan_urls:
        return None
    invite = team_invite(team)
    return TeamLine(
        command=invite.command, url=invite.url, fingerprint=team.fingerprint
    )


def _only_one(**modes: bool) -> None:
    given = [f"--{name}" for name, wanted in modes.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"{visible(' and '.join(given))} exclude each other")
