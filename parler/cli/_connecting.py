"""Which hub ``connect`` and ``use`` mean, and whether it lets us in.

Flags, an invite, a team hub on this network, what was chosen before, or whoever sits at
the terminal: one of them names the hub. A join secret is asked for or read, never taken
from the command line's flags, and tried before anything is written.
"""

import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from parler.cli._arguments import piped_text
from parler.errors import ConfigError, UsageError
from parler.identity.chosen_hub import TEAM
from parler.text.terminal import shell_word, visible, word

if TYPE_CHECKING:
    from parler.cli._run import Options
    from parler.cli.render import Output
    from parler.errors import NotAuthorized
    from parler.identity.settings import Settings
    from parler.local_hub.lan import FoundHub, TeamHub
    from parler.ops.connect import Reach, Setting

ALONE = "connect --local"
"""The command that has this machine's hub serve nobody else."""

TRIES = 3
"""How often a person is asked for a secret."""


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

    @property
    def words(self) -> list[str]:
        """The flags that name a hub, as they are typed; never with an invite."""
        kinds = ("local", "team", "shared")
        given = [f"--{kind}" for kind in kinds if getattr(self, kind)]
        given += ["--join", "-"] if self.join is not None else []
        return given + (["--hub", self.hub] if self.hub is not None else [])

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
    choice: str
    """As `chosen_hub.choose` takes it: `LOCAL`, or the URL."""

    pinned: bool = True
    """Said now, so that apps which have another are told as well."""

    name: str | None = None
    source: str = ""
    secret: str | None = field(default=None, repr=False)
    team: "TeamHub | None" = None
    """The team's hub, if it runs here."""

    starts_here: bool = False
    """It is this machine's own, and may have to be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The person who chooses, and where it is kept."""

    settings: "Settings"
    home: Path
    """The machine home."""

    out: "Output"
    dry: bool = False
    """Nothing is started, asked or tried."""

    @property
    def asks(self) -> bool:
        """Whether there is a terminal to ask at."""
        return not (self.dry or self.out.json) and _at_a_terminal()


def choose(wishes: Wishes, desk: Desk, *, wired: Collection[str]) -> Chosen:
    """Find out which hub is meant.

    Args:
        wired: The apps that have one already.

    Raises:
        UsageError: More than one could be meant, or a secret is missing.
        ConfigError: The text names no hub, or one that must not be dialled.
        HubError: The hub does not take the secret.
        TransportError: It cannot be reached to try the secret.
        ConnectFailed: The team's hub does not come up.
    """
    from parler.identity.chosen_hub import (
        SHARED_HUB,
        is_unasked,
        local_url,
        read_choice,
    )
    from parler.identity.settings import HubSource

    settings = desk.settings
    if wishes.local:
        return local(desk, port=wishes.port)
    if wishes.team:
        return team(desk, wishes)
    if wishes.join is not None:
        return joined(wishes.join, desk, source="connect --join")
    if wishes.shared:
        desk.out.note(
            f"{SHARED_HUB} is a public server that somebody else runs: whoever runs it "
            "can read what is said there"
        )
        return at(SHARED_HUB, desk, source="connect --shared", name="shared")
    if settings.hub_source in (HubSource.FLAG, HubSource.ENV):
        return at(settings.hub, desk, source="connect --hub")
    choice = read_choice(desk.home).hub
    if choice is not None:
        return _as_before(desk, choice)
    unasked = is_unasked(settings.hub, local_url(desk.home))
    if not wired and unasked and desk.asks:
        return _asked_where(desk)
    if settings.hub_source is HubSource.CONFIG and not _is_own_place(desk):
        return _as_before(desk, _choice_of(settings.hub, desk.home))
    return local(desk, pinned=False)


def local(desk: Desk, *, port: int | None = None, pinned: bool = True) -> Chosen:
    """This machine's own hub; on another port where somebody else has its own."""
    import asyncio

    from parler.identity.chosen_hub import DEFAULT_PORT, LOCAL, dialled_addr
    from parler.local_hub import hub_paths, read_record, stands_in
    from parler.local_hub.port_owner import free_port_after, port_owner_of

    record = read_record(hub_paths(desk.home))
    if record is not None and port in (None, record.port):
        url = record.url
    else:
        url = dialled_addr(f"127.0.0.1:{port or DEFAULT_PORT}")
        owner = None if port else asyncio.run(port_owner_of(url))
        if owner and not stands_in(owner, desk.home, url):
            free = free_port_after(DEFAULT_PORT)
            desk.out.note(
                f"port {DEFAULT_PORT} is taken by {owner.what}; your own hub gets "
                f"port {free}"
            )
            url = dialled_addr(f"127.0.0.1:{free}")
    return Chosen(url=url, choice=LOCAL, pinned=pinned, starts_here=True, source=ALONE)


def at(url: str, desk: Desk, *, source: str, name: str | None = None) -> Chosen:
    """A hub that was named by its address; tried, if it can be reached."""
    from parler.identity import join_secrets
    from parler.identity.chosen_hub import LOCAL
    from parler.wire.urls import hub_url

    settings = desk.settings
    join_secrets.require_safe_url(url, allow_plain=settings.allow_plain)
    url = hub_url(url)
    if (choice := _choice_of(url, desk.home)) == LOCAL:
        return Chosen(url=url, choice=LOCAL, starts_here=True, source=source)
    known = join_secrets.JoinSecrets(desk.home / join_secrets.FILE_NAME)
    secret = join_secrets.secret_for(url, settings, known)
    secret = _tried(url, secret, desk, must_answer=False)
    return Chosen(url=url, choice=choice, secret=secret, name=name, source=source)


def _as_before(desk: Desk, choice: str) -> Chosen:
    from parler.identity.chosen_hub import LOCAL, local_url

    here = choice == LOCAL
    url = local_url(desk.home) if here else choice
    return Chosen(url=url, choice=choice, pinned=False, starts_here=here)


def _choice_of(url: str, home: Path) -> str:
    """What choosing a URL means: this machine's own hub, if that is its address and
    nobody else has it."""
    import asyncio

    from parler.identity.chosen_hub import LOCAL
    from parler.local_hub import hub_paths, look, read_record, stands_in
    from parler.local_hub.port_owner import port_owner_of
    from parler.local_hub.record import serves
    from parler.wire.urls import hub_url

    paths = hub_paths(home)
    if look(paths).is_at(url):
        return LOCAL
    record = read_record(paths)
    if record is None or not serves(record.addr, url):
        return hub_url(url)
    owner = asyncio.run(port_owner_of(url))
    return LOCAL if owner is None or stands_in(owner, home, url) else hub_url(url)


def _is_own_place(desk: Desk) -> bool:
    """Whether the address is this machine's own, and no other hub's as we know."""
    from parler.identity.chosen_hub import local_url
    from parler.local_hub.lifecycle import known_instead
    from parler.wire.urls import same_hub

    url = local_url(desk.home)
    return same_hub(desk.settings.hub, url) and known_instead(desk.home, url) is None


def _asked_where(desk: Desk) -> Chosen:
    """The hub that the person at the terminal wants; asked once."""
    for line in (
        "Where shall the conversations of your agents live?",
        "  1  on this machine",
        "  2  in this network, for a team, with a secret",
        "  3  on a hub whose address you have",
    ):
        desk.out.note(line)
    which = click.prompt(
        "1, 2 or 3 [1]:",
        type=click.Choice(["1", "2", "3"]),
        default="1",
        show_default=False,
        show_choices=False,
        prompt_suffix=" ",
        err=True,
    )
    if which == "1":
        return local(desk)
    if which == "2":
        return team(desk, Wishes(team=True))
    address: str = click.prompt("Its address:", prompt_suffix=" ", err=True)
    return joined(_with_tls(address.strip()), desk, source="connect", name=None)


def _with_tls(address: str) -> str:
    """An address beyond this network that was typed without a scheme means TLS."""
    from parler.identity.settings import dialled
    from parler.wire.urls import leaves_this_network

    bare = "://" not in address
    return (
        f"wss://{address}"
        if bare and leaves_this_network(dialled(address))
        else address
    )


def team(desk: Desk, wishes: Wishes, *, only_look: bool = False) -> Chosen:
    """The team's hub: the one that runs here or on this network, else one started.

    Args:
        only_look: Start none.
    """
    import asyncio

    from parler.identity.chosen_hub import DEFAULT_PORT, LOCAL
    from parler.local_hub import hub_paths, lan, read_record

    home = desk.home
    ours, record = lan.team_hub(home), read_record(hub_paths(home))
    port = wishes.port or (record.port if record else DEFAULT_PORT)
    is_set_up = wishes.port or wishes.address or wishes.rotate_secret
    if ours is None and not is_set_up:
        desk.out.note("looking for a team hub on this network …")
        with desk.out.waiting("looking"):
            found = asyncio.run(lan.find_team_hubs(home))
        others = [hub for hub in found if not hub.is_ours]
        if others:
            return _found(others, desk)
    if only_look:
        raise UsageError(
            "no team's hub is known here, and none announces itself on this network",
            next_step="parler connect --join URL, or to run one here: parler connect "
            "--team",
        )
    source = "connect --team"
    if desk.dry:
        url = ours.url if ours else f"ws://127.0.0.1:{port}"
        return Chosen(url=url, choice=LOCAL, team=ours, source=source)
    hub = lan.start_team_hub(
        home,
        port=port,
        address=wishes.address,
        rotate_secret=wishes.rotate_secret,
    )
    return Chosen(url=hub.url, choice=LOCAL, team=hub, source=source)


def _found(hubs: "list[FoundHub]", desk: Desk) -> Chosen:
    """A hub that somebody else on this network announces."""
    shown = [f"{word(hub.name)} {hub.url} {hub.fingerprint or ''}" for hub in hubs]
    if len(hubs) > 1:
        raise UsageError(
            f"several team hubs announce themselves: {'; '.join(shown)}",
            next_step="parler connect --join URL, with the one your team told you",
        )
    desk.out.note(f"found {shown[0]}: ask your team whether that is its hub")
    return joined(hubs[0].url, desk, source="connect --team")


def joined(text: str, desk: Desk, *, source: str, name: str | None = TEAM) -> Chosen:
    """A hub that an invite names, with the secret from there, from us, or typed."""
    from parler.identity import join_secrets
    from parler.local_hub import lan
    from parler.wire.urls import hub_url

    settings, out = desk.settings, desk.out
    was_typed = text != "-"
    invite = lan.parse_team_invite(text if was_typed else piped_text("an invite"))
    join_secrets.require_safe_url(invite.url, allow_plain=settings.allow_plain)
    if invite.secret and was_typed:
        out.note("that secret is in the history of your shell now; --join - reads it")
    if invite.url.startswith("ws://") and not _is_here(invite.url):
        out.note(lan.PLAIN_WARNING)
    known = join_secrets.JoinSecrets(desk.home / join_secrets.FILE_NAME)
    secret = invite.secret or join_secrets.secret_for(invite.url, settings, known)
    secret = _tried(invite.url, secret, desk, must_answer=True)
    url = hub_url(invite.url)
    return Chosen(url=url, choice=url, secret=secret, name=name, source=source)


def _tried(
    url: str, secret: str | None, desk: Desk, *, must_answer: bool
) -> str | None:
    """The secret that a hub took, asked for as long as it wants another.

    Args:
        must_answer: It is no use to choose a hub that is away.
    """
    import asyncio

    from parler.errors import NotAuthorized, TransportError

    for left in () if desk.dry else reversed(range(TRIES + 1)):
        try:
            asyncio.run(enter(url, desk.settings, desk.home, secret=secret))
        except NotAuthorized as refused:
            told = "did not take that secret" if secret else "asks for a secret"
            if not (left and _at_a_terminal()):
                raise _not_let_in(url, f"{url} {told}", refused) from None
            if secret:
                desk.out.note(f"{visible(url)} {told}; nothing was written")
            secret = _typed_secret(url)
        except TransportError as error:
            if must_answer:
                raise
            desk.out.note(f"{visible(url)} does not answer now: {error.message}")
            break
        else:
            break
    return secret


def _not_let_in(url: str, what: str, refused: "NotAuthorized") -> "NotAuthorized":
    from parler.errors import NotAuthorized

    return NotAuthorized(
        f"{what}; nothing was written",
        hub_code=refused.hub_code,
        next_step=f"parler connect --join {shell_word(url)} in a terminal, which asks "
        "for the secret, or the invite on stdin: parler connect --join -",
    )


async def enter(
    hub: str, settings: "Settings", home: Path, *, secret: str | None = None
) -> None:
    """Sign in at a hub and leave again, in the name of nobody; nothing is kept.

    Args:
        secret: Instead of the one that is known for it.

    Raises:
        TransportError: It cannot be reached.
        HubError: It does not let us in.
    """
    from dataclasses import replace

    from parler.identity.identity import Identity
    from parler.identity.signing import Keypair
    from parler.runtime import dialling
    from parler.wire.replies import Pong
    from parler.wire.requests import Ping

    if secret is not None:
        settings = replace(settings, hub=hub, join_secret=secret)
    nobody = Identity(
        keypair=Keypair.generate(),
        name="parler-connect",
        role=None,
        hub_url=hub,
        home=home,
    )
    dialled = dialling.dialled(hub, settings, nobody, local=None, remember=False)
    async with dialled as client:
        await client.request(Ping(), Pong)


def _is_here(url: str) -> bool:
    from parler.identity.settings import dialled
    from parler.wire.urls import is_loopback

    return is_loopback(urlsplit(dialled(url)).hostname or "")


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _typed_secret(url: str) -> str | None:
    """The secret, typed by the person at the terminal."""
    typed: str = click.prompt(
        f"Join secret of {visible(url)}",
        default="",
        show_default=False,
        hide_input=True,
        err=True,
    )
    return typed.strip() or None


def setting_of(settings: "Settings", name: str | None = None) -> "Setting":
    """What wiring works with, before a hub was chosen."""
    from parler.apps.kit.platform import Machine, Platform
    from parler.identity.homes import (
        current_directory,
        machine_home,
        process_environment,
        user_home_of,
    )
    from parler.identity.settings import clean_label
    from parler.machine.program import command_for_apps
    from parler.ops.connect import Setting

    env = process_environment()
    cwd = current_directory()
    user_home = user_home_of(env)
    if user_home is None:
        raise ConfigError(
            "HOME is not set: it is not known whose apps are meant",
            next_step="set HOME to your home directory",
        )
    machine = Machine(
        platform=Platform.of(sys.platform),
        env=env,
        home=user_home,
        cwd=cwd,
    )
    return Setting(
        machine=machine,
        home=machine_home(settings.base_home),
        command=command_for_apps(
            sys.argv[0], executable=sys.executable, env=env, cwd=cwd
        ),
        hub=settings.hub,
        name=clean_label(name, what="name") if name is not None else None,
    )


def settled(setting: "Setting", chosen: Chosen) -> "Setting":
    """The same with the hub that was chosen."""
    from dataclasses import replace

    return replace(
        setting,
        hub=chosen.url,
        pinned=chosen.pinned,
        choice=chosen.choice,
        hub_name=chosen.name,
        source=chosen.source,
        secret=chosen.secret,
    )


def begin_hub(chosen: Chosen, desk: Desk) -> None:
    """Start this machine's own hub if that was chosen, before apps rely on it."""
    import asyncio

    from parler import local_hub

    if not chosen.starts_here or desk.dry:
        return
    place = local_hub.hub_paths(desk.home)
    record, seen = local_hub.read_record(place), local_hub.look(place)
    is_another = record is not None and (
        record.url != chosen.url or (record.team and chosen.source == ALONE)
    )
    if is_another or (seen.url is not None and not seen.is_at(chosen.url)):
        if seen.url is not None:
            desk.out.note("the hub of this machine is restarted")
        local_hub.use_local_hub(desk.home, port=urlsplit(chosen.url).port or 80)
        return
    hub = asyncio.run(
        local_hub.ensure_local_hub(desk.home, chosen.url, note=desk.out.note)
    )
    if hub.pid is None:
        desk.out.note(
            f"another hub of yours runs at {chosen.url}: it is used, and no further "
            "one is started"
        )


def not_for_agents(options: "Options", verb: str, *words: str) -> None:
    """Leave it to a person where everybody's messages go from now on.

    Raises:
        UsageError: An agent's shell runs us.
    """
    from parler.cli._own import person_line
    from parler.cli._person import check_no_agent
    from parler.ops.person_only import Deciding

    line = person_line(options, verb, *words)
    what = "choose the hub of this user's shell and agents"
    check_no_agent(Deciding(what=what, question="", line=line))


def reach_of(settings: "Settings") -> "Reach":
    """Tells why a hub does not answer, or does not let us in."""
    from parler.errors import NotAuthorized, ParlerError
    from parler.identity.homes import machine_home
    from parler.ops.doctor.installation import unreachable

    home = machine_home(settings.base_home)

    async def reach(hub: str) -> ParlerError | None:
        if why := await unreachable(settings, hub):
            return why
        try:
            await enter(hub, settings, home)
        except NotAuthorized as refused:
            refused.next_step = f"parler connect --join {shell_word(hub)}"
            return refused
        except ParlerError as error:  # not there: this machine's own, which starts
            return error if await _answers(hub) else None
        return None

    return reach


async def _answers(hub: str) -> bool:
    from parler.local_hub.probe import ask

    try:
        return await ask(hub) is not None
    except (OSError, TimeoutError):
        return True


def tell_of_variable(options: "Options", url: str) -> None:
    """Say so, if this very shell does not follow the choice."""
    from parler.identity.homes import process_environment
    from parler.wire.urls import same_hub

    said = process_environment().get("PARLER_HUB")
    if said and not same_hub(said, url):
        options.out.note(
            f"in this shell PARLER_HUB={said} comes first; to follow the choice here: "
            "unset PARLER_HUB"
        )
