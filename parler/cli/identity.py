"""Who we are and whether all is well: no command here needs a room."""

from dataclasses import replace
from typing import Annotated

import typer

from parler.cli._command import command, shows
from parler.cli._own import person_line
from parler.cli._person import check_no_agent
from parler.cli._run import Options, identity_of, settings_of
from parler.cli.render import version_line
from parler.identity.identity import mint_identity
from parler.identity.settings import dialled as check_hub
from parler.ops import identity
from parler.ops.identity import PresenceResult, WhoamiResult, describe
from parler.ops.person_only import Deciding
from parler.runtime.dialling import known_hubs
from parler.text.terminal import sentence, visible, word
from parler.wire.urls import same_hub


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, identity.INIT)(init)
    command(app, identity.WHOAMI)(whoami)
    shows(app, identity.PRESENCE, _present)
    command(app, identity.TRUST_HUB)(trust_hub)
    command(app, identity.VERSION)(version)


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
    """Make an identity, and show it."""
    settings = settings_of(options)
    check_hub(settings.hub)
    made = mint_identity(
        settings.home,
        hub_url=settings.hub,
        name=name or settings.name or settings.new_name,
        role=role or settings.role,
        force=force,
    )
    result = describe(made, hub=settings.hub, home=settings.home)
    options.out.result(result, _labelled(result))
    used = settings_of(replace(options, hub=None)).hub
    if not same_hub(used, settings.hub):
        options.out.note(
            f"commands use {used}, which was chosen; to change that: "
            f"parler use {settings.hub}"
        )


def whoami(options: Options) -> None:
    """Show who we are; made on first use."""
    settings = settings_of(options)
    who = identity_of(options, settings)
    result = describe(who, hub=settings.hub, home=settings.home)
    options.out.result(result, _labelled(result))


def trust_hub(options: Options, url: str) -> None:
    """Accept a hub that was refused."""
    line = person_line(options, "trust-hub", url)
    check_no_agent(Deciding(what="decide which hub is trusted", question="", line=line))
    result = identity.trust(known_hubs(settings_of(options)), url)
    options.out.result(result, [f"{word(result.hub)} is trusted from now on"])


def version(options: Options) -> None:
    """Show both versions."""
    result = identity.versions()
    options.out.result(result, [version_line(result.version, result.protocol)])


def _present(result: PresenceResult) -> str:
    what = f" — {sentence(result.activity)}" if result.activity else ""
    return f"you are shown as {word(result.status)}{what}"


def _labelled(result: WhoamiResult) -> list[str]:
    rows = {
        "name": result.name + (f" ({result.role})" if result.role else ""),
        "fingerprint": result.fingerprint,
        "id": result.id,
        "hub": result.hub,
        "home": result.home,
    }
    if person := result.person:
        rows["person"] = f"{person.name}  {person.fingerprint}  {person.id}"
    if result.session:
        where = f" on {result.session_hub}" if result.session_hub else ""
        rows["session"] = result.session + where
    return [f"{label:<12} {visible(text)}" for label, text in rows.items()]
