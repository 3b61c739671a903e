"""Which hubs are known on this machine, which one is chosen, and what is set how.

What is known of a hub is read from our own files; its reachability is asked over HTTP,
where it is told nothing of us.
"""

import asyncio
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from parler.apps.registry import app_named
from parler.errors import ConfigError, UsageError
from parler.identity.chosen_hub import FILE_NAME as CHOICE_FILE
from parler.identity.chosen_hub import LOCAL, TEAM, local_url, name_of, read_choice
from parler.identity.homes import CONFIG_FILE, machine_home
from parler.identity.identity import active_session, find_identity
from parler.identity.join_secrets import FILE_NAME as SECRETS_FILE
from parler.identity.join_secrets import JoinSecrets
from parler.identity.known_hubs import FILE_NAME as MET_FILE
from parler.identity.known_hubs import KnownHubs, same_place
from parler.identity.known_rooms import KnownRooms
from parler.identity.own_agents import own_agents
from parler.identity.settings import HubSource, Settings, read_saved
from parler.local_hub import find_own_hub, hub_paths, look, read_record, stands_in
from parler.local_hub.port_owner import port_owner_of
from parler.local_hub.probe import ask
from parler.ops.capability import Capability
from parler.ops.connect import AppOutcome, Setting, wire
from parler.ops.context import Result
from parler.text.terminal import counted
from parler.wire.urls import InvalidHubUrl, hub_url, same_hub

_OURS_ALONE = "which hub is used is for a person to decide"


class HubRow(Result):
    """A hub that is known here."""

    name: str
    """As `parler use` takes it."""

    url: str
    chosen: bool
    sources: list[str] = msgspec.field(name="from")
    """How it came to be known."""

    reachable: bool
    detail: str | None = None
    """Why it is not, or what is there."""


class HubsResult(Result):
    """The hubs that are known here; one is what commands dial."""

    hub: str
    """The URL of that one."""

    source: HubSource
    """Who named it."""

    hubs: list[HubRow]


class UseResult(Result):
    """The choice that was made."""

    hub: str
    apps: list[AppOutcome]
    """Those that are wired; what is open follows when it is started again."""

    rooms_elsewhere: dict[str, int] = msgspec.field(default_factory=dict)
    """Rooms that stay where they are: hub to how many."""


class SettingRow(Result):
    """One setting, and where it comes from."""

    name: str
    value: str | None
    source: str = msgspec.field(name="from")


class ConfigResult(Result):
    """Every setting of this process."""

    settings: list[SettingRow]


@dataclass(slots=True)
class KnownHub:
    """A hub that something of ours names."""

    name: str
    url: str
    sources: list[str] = field(default_factory=list)


def known_hubs(home: Path) -> list[KnownHub]:
    """The hubs that a machine home knows, its own first.

    Raises:
        ConfigError: A file of it is damaged.
    """
    own = KnownHub(LOCAL, local_url(home), ["this machine"])
    record = read_record(hub_paths(home))
    if record is not None and record.team:
        own.sources.append("serves the team")
    found = [own]
    for address, source, name in _named_here(home):
        try:
            url = hub_url(address)
        except InvalidHubUrl:
            continue
        known = next((one for one in found if same_place(one.url, url)), None)
        if known is None:
            found.append(known := KnownHub(name or name_of(url), url))
        if source not in known.sources:
            known.sources.append(source)
    return found


def _named_here(home: Path) -> Iterator[tuple[str, str, str | None]]:
    """Every hub that a file of ours names: its address, how so, and its name."""
    for one in read_choice(home).hubs:
        yield one.url, one.source or "parler use", one.name
    homes = _homes(home)
    for url, count in _rooms(homes).items():
        yield url, counted(count, "room"), None
    for one_home in homes:
        with suppress(ConfigError):
            if saved := read_saved(one_home):
                yield saved.hub_url, "saved settings", None
    for url in JoinSecrets(home / SECRETS_FILE).urls():
        yield url, "its secret is known", None
    for url in KnownHubs(home / MET_FILE, remember=False).urls():
        yield url, "used before", None


def named_hub(text: str, home: Path) -> str:
    """What `parler use` was given, as a URL or `LOCAL`.

    Raises:
        UsageError: No hub of that name is known, and it is no address.
        ConfigError: A file of ours is damaged.
    """
    known = known_hubs(home)
    for one in known:
        if text == one.name:
            return LOCAL if one.name == LOCAL else one.url
    with suppress(InvalidHubUrl):
        if {":", "."} & set(text) or text == "localhost":
            return hub_url(text)
    names = list(dict.fromkeys([*(one.name for one in known), TEAM]))
    close = difflib.get_close_matches(text, names) or names
    raise UsageError(
        f"no hub is called {text!r}",
        next_step=f"one of: {', '.join(close)}; or its address: parler use wss://HOST",
    )


async def hubs(settings: Settings) -> HubsResult:
    """The hubs that are known here, and whether they answer.

    Raises:
        ConfigError: A file of ours is damaged.
    """
    home = machine_home(settings.base_home)
    known = known_hubs(home)
    if not any(same_place(one.url, settings.hub) for one in known):
        known.append(
            KnownHub(name_of(settings.hub), settings.hub, [_said_by(settings, home)])
        )
    answers = await asyncio.gather(*(_answer(one, home) for one in known))
    return HubsResult(
        hub=settings.hub,
        source=settings.hub_source,
        hubs=[
            HubRow(
                name=one.name,
                url=one.url,
                chosen=same_place(one.url, settings.hub),
                sources=one.sources,
                reachable=there,
                detail=detail,
            )
            for one, (there, detail) in zip(known, answers, strict=True)
        ],
    )


HUBS = Capability(
    run=hubs,
    about="List the hubs that are known here.",
    more="The chosen one is starred.",
    command="hubs",
    example="parler hubs --json",
    no_tool=_OURS_ALONE,
)


def use(setting: Setting) -> UseResult:
    """Choose a hub, for everybody here.

    Raises:
        ConfigError: Our own home cannot be written, or our notes are damaged.
    """
    apps = [app for app in map(app_named, setting.manifest.apps()) if app]
    wired = wire(apps, setting)
    return UseResult(
        hub=setting.hub,
        apps=wired.hosts,
        rooms_elsewhere=rooms_elsewhere(setting.home, setting.hub),
    )


USE = Capability(
    run=use,
    about="Choose the hub for your shell, all apps and the page.",
    more="`local` is this machine's own, `team` the one in your network; or an "
    "address, or a name of `parler hubs`. A room stays on the hub it is on; --hub and "
    "PARLER_HUB still come first.",
    command="use",
    example="""\
parler use local
parler use team
parler use wss://hub.example.org --as work""",
    no_tool=_OURS_ALONE,
)


def rooms_elsewhere(home: Path, url: str) -> dict[str, int]:
    """How many rooms of all agents here are on which other hubs."""
    counts = _rooms(_homes(home))
    return {hub: count for hub, count in counts.items() if not same_hub(hub, url)}


def config(
    settings: Settings, env: Mapping[str, str], home_flag: str | None
) -> ConfigResult:
    """Every setting with its value and where it comes from; changes nothing.

    Raises:
        IdentityError: The key file is damaged.
        ConfigError: A file of ours is damaged.
    """
    return ConfigResult(settings=list(_settings(settings, env, home_flag)))


CONFIG = Capability(
    run=config,
    about="Show every setting, and where it comes from.",
    command="config",
    example="parler config --json",
    no_tool="an agent is told what it needs",
)

_VARIABLES = {
    "shared identity": "PARLER_SHARED_IDENTITY",
    "agent session": "PARLER_AGENT_SESSION",
    "no colour": "NO_COLOR",
    "tools": "PARLER_TOOLS",
    "verbose tools": "PARLER_MCP_VERBOSE",
    "no card": "PARLER_NO_REGISTER",
    "public card": "PARLER_PUBLIC",
    "tags": "PARLER_TAGS",
    "skills": "PARLER_SKILLS",
    "description": "PARLER_DESCRIBE",
    "presence by others": "PARLER_PRESENCE_MANAGED",
}
"""What only the environment says."""


def _settings(
    settings: Settings, env: Mapping[str, str], home_flag: str | None
) -> Iterator[SettingRow]:
    home = machine_home(settings.base_home)
    identity = find_identity(settings.home)
    saved = str(settings.home / CONFIG_FILE)
    yield SettingRow(name="hub", value=settings.hub, source=_said_by(settings, home))
    if session := active_session(settings.home):
        where = KnownRooms(settings.home).hub_of(session)
        at = f"{session} on {where}" if where else session
        yield SettingRow(name="session", value=at, source=str(settings.home))
    where = "default"
    if home_flag:
        where = "--home"
    elif env.get("PARLER_HOME"):
        where = "PARLER_HOME"
    if settings.scoped:
        where += ", and this project"
    yield SettingRow(name="home", value=str(settings.home), source=where)
    yield SettingRow(name="machine home", value=str(home), source="above home")
    for name, value in (("name", settings.name), ("role", settings.role)):
        said = env.get(f"PARLER_{name.upper()}")
        unset = "default" if identity or name == "role" else "made with the identity"
        source = f"PARLER_{name.upper()}" if said else saved if value else unset
        yield SettingRow(name=name, value=value, source=source)
    mode = identity.attention.mode.value if identity else "open"
    yield SettingRow(
        name="attention", value=mode, source=saved if identity else "default"
    )
    yield _secret(settings, home)
    key = settings.session_key
    yield SettingRow(
        name="session key",
        value="set" if key else None,
        source="PARLER_SESSION_KEY" if key else "default",
    )
    plain = env.get("PARLER_INSECURE")
    yield SettingRow(
        name="insecure",
        value="yes" if settings.allow_plain else "no",
        source="PARLER_INSECURE"
        if plain
        else "--insecure" * settings.allow_plain or "default",
    )
    for name, variable in _VARIABLES.items():
        value = env.get(variable) or None
        yield SettingRow(
            name=name, value=value, source=variable if value else "default"
        )


def _said_by(settings: Settings, home: Path) -> str:
    """Who named the hub, as people know it."""
    return {
        HubSource.FLAG: "--hub",
        HubSource.ENV: "PARLER_HUB",
        HubSource.CHOICE: str(home / CHOICE_FILE),
        HubSource.CONFIG: "config.json, as nothing was chosen",
        HubSource.DEFAULT: "default: this machine's own",
    }[settings.hub_source]


def _secret(settings: Settings, home: Path) -> SettingRow:
    """Whether the hub is shown a secret; never which."""
    source = None
    own = find_own_hub([settings.base_home], settings.hub)
    if own and own.secret:
        source = str(hub_paths(home).folder)
    elif settings.join_secret:
        source = "PARLER_JOIN_SECRET"
    elif JoinSecrets(home / SECRETS_FILE).for_hub(settings.hub):
        source = str(home / SECRETS_FILE)
    return SettingRow(
        name="join secret", value="set" if source else None, source=source or "default"
    )


def _homes(home: Path) -> list[Path]:
    return list(dict.fromkeys([home, *(one.home for one in own_agents(home))]))


def _rooms(homes: Iterable[Path]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for home in homes:
        with suppress(ConfigError):
            for hub in (one.hub for one in KnownRooms(home).records()):
                with suppress(InvalidHubUrl):
                    counts[hub_url(hub)] += 1
    return counts


async def _answer(hub: KnownHub, home: Path) -> tuple[bool, str | None]:
    """Whether a hub answers, and what is to be said of that."""
    if hub.name == LOCAL:
        return await _own_answer(hub.url, home)
    try:
        answer = await ask(hub.url)
    except TimeoutError:
        return False, "does not answer in time"
    except OSError as error:
        return False, error.strerror or str(error) or type(error).__name__
    if answer is None:
        return False, "nothing listens there"
    return answer.is_hub, None if answer.is_hub else "that is no hub"


async def _own_answer(url: str, home: Path) -> tuple[bool, str | None]:
    if look(hub_paths(home)).is_at(url):
        return True, None
    owner = await port_owner_of(url)
    if owner is None:
        return False, "does not run"
    if stands_in(owner, home, url):
        return True, f"{owner.what} stands in"
    return False, f"taken by {owner.what}"
