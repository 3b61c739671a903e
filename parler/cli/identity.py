"""Who we are and whether all is well: no command here needs a room."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command
from parler.cli._run import (
    ELSEWHERE,
    HERE,
    Options,
    Run,
    carry_out,
    hub_of,
    identity_of,
    settings_of,
)
from parler.runtime.bootstrap import dialled, known_hubs
from parler.text.terminal import visible

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from parler.client.client import Client
    from parler.errors import ParlerError
    from parler.identity.identity import Identity
    from parler.identity.settings import Settings
    from parler.ops.doctor import Check
    from parler.ops.whoami import WhoamiResult


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "init", example="parler init --name alice --role webdev")(init)
    command(app, "whoami", example="parler whoami --json")(whoami)
    command(app, "presence", example='parler presence working --activity "the API"')(
        presence
    )
    command(app, "doctor", example="parler doctor")(doctor)
    command(app, "trust-hub", example="parler trust-hub wss://hub.example.org")(
        trust_hub
    )
    command(app, "version", example="parler version --json")(version)


def init(
    options: Options,
    name: Annotated[
        str | None, typer.Option("--name", help="What others see; need not be unique.")
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", help="What you do, as handoffs name it.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Keep the old one aside, make a new one."),
    ] = False,
) -> None:
    """Make an identity: a key of your own, and how you are called."""
    from parler.identity.identity import mint_identity
    from parler.identity.settings import dialled as check_hub
    from parler.ops.whoami import describe

    settings = settings_of(options)
    check_hub(settings.hub)
    identity = mint_identity(
        settings.home,
        hub_url=settings.hub,
        name=name or settings.name,
        role=role or settings.role,
        force=force,
    )
    result = describe(identity, hub=settings.hub, home=settings.home)
    options.out.result(result, _labelled(result))


def whoami(options: Options) -> None:
    """Show your id, name, fingerprint, hub and active session."""
    from parler.ops.whoami import describe

    settings = settings_of(options)
    identity = identity_of(settings, options.out)
    result = describe(identity, hub=settings.hub, home=settings.home)
    options.out.result(result, _labelled(result))


def presence(
    options: Options,
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="As: idle, working, waiting.")
    ],
    activity: Annotated[
        str | None, typer.Option("--activity", metavar="TEXT", help="What exactly.")
    ] = None,
) -> None:
    """Tell others what you are doing."""
    from parler.ops.presence import presence as operation

    async def work(run: Run) -> None:
        result = await operation(run.ctx, status, activity=activity)
        what = f" — {visible(result.activity)}" if result.activity else ""
        run.out.result(result, [f"you are shown as {visible(result.status)}{what}"])

    carry_out(options, work, place=HERE)


def doctor(
    options: Options,
    wake: Annotated[
        bool,
        typer.Option(
            "--wake", help="Send the agents in this folder a message; see what came."
        ),
    ] = False,
) -> None:
    """Examine this installation and its hub; changes nothing.

    The exit status is 0, or that of the first thing that is broken.
    """
    if wake:
        from parler.cli.doctor_wake import wake_doctor

        wake_doctor(options)
        return
    import asyncio

    from parler.cli import views
    from parler.identity.known_rooms import SessionBook
    from parler.ops.doctor import examine, exit_status

    settings = settings_of(options)
    hub = hub_of(options, ELSEWHERE, settings, SessionBook(settings.home))

    def dial(identity: "Identity") -> "AbstractAsyncContextManager[Client]":
        return dialled(hub, settings, identity, local=None, remember=False)

    async def apps() -> "list[Check]":
        return await _apps(settings)

    result = asyncio.run(examine(settings, hub=hub, dial=dial, more=[apps]))
    options.out.result(result, views.doctor(result))
    if not result.ok:
        raise typer.Exit(exit_status(result))


def trust_hub(
    options: Options,
    url: Annotated[str, typer.Argument(metavar="URL", help="The refused hub's URL.")],
) -> None:
    """Accept a hub that was refused for showing another hub's challenge.

    Only if both addresses are one hub: else somebody could sign in there as you.
    """
    from parler.ops.trust import trust

    result = trust(known_hubs(settings_of(options)), url)
    options.out.result(result, [f"{visible(result.hub)} is trusted from now on"])


def version(options: Options) -> None:
    """Show the version of the program and of the protocol it speaks."""
    from parler.cli.render import version_line
    from parler.ops.version import versions

    result = versions()
    options.out.result(result, [version_line(result.version, result.protocol)])


async def _apps(settings: "Settings") -> "list[Check]":
    """What the agent apps of this machine look like."""
    from parler.apps.kit.platform import Machine, Platform
    from parler.identity.homes import (
        current_directory,
        machine_home,
        process_environment,
        user_home_of,
    )
    from parler.machine.program import command_for_apps
    from parler.ops.connect import Setting
    from parler.ops.doctor import unreachable
    from parler.ops.doctor_apps import app_checks

    env, cwd = process_environment(), current_directory()
    setting = Setting(
        machine=Machine(
            platform=Platform.of(sys.platform),
            env=env,
            home=user_home_of(env) or Path.home(),
            cwd=cwd,
        ),
        home=machine_home(settings.base_home),
        command=command_for_apps(
            sys.argv[0], executable=sys.executable, env=env, cwd=cwd
        ),
        hub=settings.hub,
    )

    async def reach(hub: str) -> "ParlerError | None":
        return await unreachable(settings, hub)

    return await app_checks(setting, reach=reach)


def _labelled(result: "WhoamiResult") -> list[str]:
    rows = {
        "name": result.name + (f" ({result.role})" if result.role else ""),
        "fingerprint": result.fingerprint,
        "id": result.id,
        "hub": result.hub,
        "home": result.home,
    }
    if result.session:
        where = f" on {result.session_hub}" if result.session_hub else ""
        rows["session"] = result.session + where
    return [f"{label:<12} {visible(text)}" for label, text in rows.items()]
