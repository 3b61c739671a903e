"""Which hub ``connect`` means, and what has to happen on it before and after.

Flags, an invite, a team hub on this network, or what is configured: one of them names
the hub. A join secret is asked for or read, never taken from the command line's flags.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from parler.cli._arguments import piped_text
from parler.errors import UsageError
from parler.text.terminal import shell_word, visible

if TYPE_CHECKING:
    from parler.cli.render import Output
    from parler.identity.settings import Settings
    from parler.local_hub.lan import FoundHub, TeamHub


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line said about the hub."""

    local: bool = False
    team: bool = False
    shared: bool = False
    join: str | None = None
    hub: str | None = None
    port: int | None = None
    address: str | None = None
    rotate_secret: bool = False

    def check(self, *, needs_none: str | None = None) -> None:
        """Refuse wishes that exclude each other.

        Args:
            needs_none: What is to be done, where no hub has a part in it.

        Raises:
            UsageError: They do.
        """
        kinds = {
            "--local": self.local,
            "--team": self.team,
            "--shared": self.shared,
            "--join": self.join is not None,
            "--hub": self.hub is not None,
        }
        given = [flag for flag, wanted in kinds.items() if wanted]
        if needs_none is not None:
            given.append(needs_none)
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other")
        if self.port is not None and not (self.local or self.team):
            raise UsageError("--port belongs to --local or --team")
        if (self.address or self.rotate_secret) and not self.team:
            raise UsageError("--address and --rotate-secret belong to --team")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The hub that is meant."""

    url: str
    pinned: bool
    secret: str | None = field(default=None, repr=False)
    starts_here: bool = False
    """It is this machine's own, and may have to be started."""

    team: "TeamHub | None" = None
    """The team's hub, if it runs here."""


def choose(
    wishes: Wishes, settings: "Settings", home: Path, out: "Output", *, dry: bool
) -> Chosen:
    """Find out which hub is meant; with `dry` nothing is started or asked for.

    Raises:
        UsageError: More than one could be meant, or a secret is missing.
        ConfigError: The text names no hub, or one that must not be dialled.
        ConnectFailed: The team's hub does not come up.
    """
    from parler.identity import join_secrets
    from parler.identity.settings import DEFAULT_HUB, HubSource

    if wishes.local:
        return _local(wishes, home)
    if wishes.team:
        return _team(wishes, home, out, settings, dry=dry)
    if wishes.join is not None:
        return _joined(wishes.join, settings, home, out, dry=dry)
    url = DEFAULT_HUB if wishes.shared else settings.hub
    join_secrets.require_safe_url(url, allow_plain=settings.allow_plain)
    said = settings.hub_source in (HubSource.FLAG, HubSource.ENV)
    return Chosen(
        url=url,
        pinned=wishes.shared or said,
        secret=join_secrets.secret_for(url, settings),
    )


def _local(wishes: Wishes, home: Path) -> Chosen:
    from parler.local_hub import hub_paths, read_record
    from parler.local_hub.record import DEFAULT_PORT

    record = read_record(hub_paths(home))
    if record is not None and wishes.port in (None, record.port):
        return Chosen(url=record.url, pinned=True, starts_here=True)
    url = f"ws://127.0.0.1:{wishes.port or DEFAULT_PORT}"
    return Chosen(url=url, pinned=True, starts_here=True)


def _team(
    wishes: Wishes, home: Path, out: "Output", settings: "Settings", *, dry: bool
) -> Chosen:
    import asyncio

    from parler.local_hub import lan
    from parler.local_hub.record import DEFAULT_PORT

    ours = lan.team_hub(home)
    is_set_up = wishes.port or wishes.address or wishes.rotate_secret
    if ours is None and not is_set_up:
        out.note("looking for a team hub on this network …")
        found = asyncio.run(lan.find_team_hubs(home))
        others = [hub for hub in found if not hub.is_ours]
        if others:
            return _found(others, settings, home, out, dry=dry)
    if dry:
        url = ours.url if ours else f"ws://127.0.0.1:{wishes.port or DEFAULT_PORT}"
        return Chosen(url=url, pinned=True, team=ours)
    team = lan.start_team_hub(
        home,
        port=wishes.port or (urlsplit(ours.url).port if ours else None) or DEFAULT_PORT,
        address=wishes.address,
        rotate_secret=wishes.rotate_secret,
    )
    return Chosen(url=team.url, pinned=True, team=team)


def _found(
    hubs: "list[FoundHub]",
    settings: "Settings",
    home: Path,
    out: "Output",
    *,
    dry: bool,
) -> Chosen:
    """A hub that somebody else on this network announces."""
    shown = [f"{visible(hub.name)} {hub.url} {hub.fingerprint or ''}" for hub in hubs]
    if len(hubs) > 1:
        raise UsageError(
            f"several team hubs announce themselves: {'; '.join(shown)}",
            next_step="parler connect --join URL, with the one your team told you",
        )
    out.note(f"found {shown[0]}: ask your team whether that is its hub")
    return _joined(hubs[0].url, settings, home, out, dry=dry)


def _joined(
    text: str, settings: "Settings", home: Path, out: "Output", *, dry: bool
) -> Chosen:
    """A hub that an invite names, with the secret from there, from us, or typed."""
    from parler.identity import join_secrets
    from parler.local_hub import lan

    was_typed = text != "-"
    invite = lan.parse_team_invite(text if was_typed else piped_text("an invite"))
    join_secrets.require_safe_url(invite.url, allow_plain=settings.allow_plain)
    if invite.secret and was_typed:
        out.note("that secret is in the history of your shell now; --join - reads it")
    if invite.url.startswith("ws://") and not _is_here(invite.url):
        out.note(lan.PLAIN_WARNING)
    known = join_secrets.JoinSecrets(home / join_secrets.FILE_NAME)
    secret = (
        invite.secret
        or join_secrets.secret_for(invite.url, settings)
        or known.for_hub(invite.url)
    )
    if secret is None and not dry:
        secret = _asked(invite.url)
    return Chosen(url=invite.url, pinned=True, secret=secret)


def _is_here(url: str) -> bool:
    from parler.identity.settings import dialled
    from parler.wire.urls import is_loopback

    return is_loopback(urlsplit(dialled(url)).hostname or "")


def _asked(url: str) -> str | None:
    """The secret, typed by the person at the terminal; none for an open hub."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"the secret of {url} is not known here",
            next_step=f"parler connect --join {shell_word(url)} in a terminal, "
            "or the invite on stdin: parler connect --join -",
        )
    typed: str = click.prompt(
        f"Join secret of {visible(url)} (empty if it has none)",
        default="",
        show_default=False,
        hide_input=True,
        err=True,
    )
    return typed.strip() or None
