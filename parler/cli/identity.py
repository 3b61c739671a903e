"""Who we are and whether all is well: no command here needs a room."""

from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command
from parler.cli._run import (
    HERE,
    Options,
    Run,
    carry_out,
    identity_of,
    settings_of,
)
from parler.runtime.bootstrap import known_hubs
from parler.text.terminal import visible

if TYPE_CHECKING:
    from parler.ops.identity import WhoamiResult


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "init", example="parler init --name alice --role webdev")(init)
    command(app, "whoami", example="parler whoami --json")(whoami)
    command(app, "presence", example='parler presence working --activity "the API"')(
        presence
    )
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
    from parler.ops.identity import describe

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
    from parler.ops.identity import describe

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
    from parler.ops.identity import presence as operation

    async def work(run: Run) -> None:
        result = await operation(run.ctx, status, activity=activity)
        what = f" — {visible(result.activity)}" if result.activity else ""
        run.out.result(result, [f"you are shown as {visible(result.status)}{what}"])

    carry_out(options, work, place=HERE)


def trust_hub(
    options: Options,
    url: Annotated[str, typer.Argument(metavar="URL", help="The refused hub's URL.")],
) -> None:
    """Accept a hub that was refused for showing another hub's challenge.

    Only if both addresses are one hub: else somebody could sign in there as you.
    """
    from parler.ops.identity import trust

    result = trust(known_hubs(settings_of(options)), url)
    options.out.result(result, [f"{visible(result.hub)} is trusted from now on"])


def version(options: Options) -> None:
    """Show the version of the program and of the protocol it speaks."""
    from parler.cli.render import version_line
    from parler.ops.identity import versions

    result = versions()
    options.out.result(result, [version_line(result.version, result.protocol)])


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
