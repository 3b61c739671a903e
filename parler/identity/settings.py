"""Where settings come from: flag over environment over file over default.

The hub's file is the machine home's `chosen_hub`; a config.json has a hub too, for
clients that know no such choice, and it counts only where none was made.

`resolve_settings` is a pure function of its arguments; what it asks the disk goes
through a `Disk`. Nothing here knows a key (`identity`), and which
home an agent works in is decided in `homes`."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from parler.errors import ConfigError, IdentityError
from parler.identity import chosen_hub
from parler.identity.homes import (
    CONFIG_FILE,
    DEFAULT_HOME,
    Home,
    app_homes,
    current_directory,
    find_home,
    machine_home,
    person_home,
    person_homes,
    process_environment,
    really_canonical,
    really_exists,
    truthy,
    user_home_of,
)
from parler.machine import files
from parler.wire.limits import MAX_HELLO_NAME_BYTES
from parler.wire.urls import InvalidHubUrl, dial_url, hub_url

MAX_PROJECT_BYTES = 60
"""Of the project's name in that of a new agent."""

_NOT_IN_LABELS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class HubSource(StrEnum):
    """Who named the hub."""

    FLAG = "flag"
    ENV = "env"
    CHOICE = "choice"
    """`parler use`, or `parler connect`."""
    CONFIG = "config"
    """A config.json, from before there was a choice."""
    DEFAULT = "default"
    """Nobody: it is this machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line said; None or empty means it did not say."""

    command: str = ""
    home: str | None = None
    hub: str | None = None
    name: str | None = None
    role: str | None = None
    insecure: bool = False
    no_color: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The part of a config.json that is a setting."""

    hub_url: str
    name: str
    role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a command may depend on, decided once."""

    home: Path
    """Where the identity lives."""
    base_home: Path
    """The unscoped home: known hubs and secrets, shared by all its projects."""
    scoped: bool
    hub: str
    """In the one spelling of `hub_url`, unless it names no hub."""
    hub_source: HubSource
    name: str | None
    """None: the identity's own, or that of a new identity."""
    new_name: str | None = None
    """What a new identity is called that nobody named; None: something made up."""
    role: str | None
    join_secret: str | None = field(repr=False)
    """Of `hub` alone; ask `join_secrets.secret_for` (protocol 13.2)."""
    session_key: str | None = field(repr=False)
    allow_plain: bool
    """``--insecure``: plain ws:// beyond this network was asked for."""
    no_color: bool


@dataclass(frozen=True, slots=True)
class Disk:
    """The questions settings ask the filesystem."""

    exists: Callable[[Path], bool]
    canonical: Callable[[Path], Path]
    saved: Callable[[Path], Saved | None]
    chosen: Callable[[Path], str | None] = chosen_hub.chosen_url
    """The URL that was chosen for a machine home."""
    local: Callable[[Path], str] = chosen_hub.local_url
    """That of its own hub."""
    app_homes: Callable[[Path], Sequence[Path]] = app_homes
    """The homes of the apps that are wired below it."""


def read_saved(home: Path) -> Saved | None:
    """The settings in a home's config.json, None without one.

    Raises:
        IdentityError: It is damaged, or readable by others.
        ConfigError: It cannot be read.
    """
    path = home / CONFIG_FILE
    try:
        data = files.read_private(path)
    except FileNotFoundError:
        return None
    try:
        return saved_settings(files.json_object(data))
    except ValueError as exc:
        raise IdentityError(f"{path} is damaged: {exc}") from None


def saved_settings(raw: Mapping[str, object]) -> Saved:
    """The settings in a decoded config.json (protocol 2.4).

    Raises:
        ValueError: A field is missing or of the wrong type.
    """
    role = raw.get("role")
    if role is not None and not (isinstance(role, str) and _encodable(role)):
        raise ValueError("'role' is not a text")
    return Saved(
        hub_url=_text_field(raw, "hub_url"),
        name=_text_field(raw, "name"),
        role=role or None,
    )


def _text_field(raw: Mapping[str, object], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value or not _encodable(value):
        raise ValueError(f"{name!r} is missing or not a text")
    return value


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


REAL_DISK = Disk(exists=really_exists, canonical=really_canonical, saved=read_saved)


def first_seat(home: Home) -> Home:
    """Where windows are not told apart."""
    return home


def process_settings(
    flags: Flags,
    *,
    app: str | None = None,
    seat: Callable[[Home], Home] = first_seat,
) -> Settings:
    """The settings of this process: its environment, directory and disk.

    What all agents share is brought together first (`legacy_home`).

    Args:
        app: The app in whose shell we are, by the processes above us.
        seat: From a project's home to that of our window (`parler.peers.seats`).
    """
    env = process_environment()
    cwd, user_home = current_directory(), user_home_of(env)
    if user_home and person_homes(user_home / DEFAULT_HOME)[1:]:
        from parler.identity.legacy_home import take_over

        with suppress(files.Unwritable):
            take_over(user_home / DEFAULT_HOME)
    return resolve_settings(env, cwd, user_home, flags, app=app, seat=seat)


def resolve_settings(
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    flags: Flags,
    *,
    app: str | None = None,
    seat: Callable[[Home], Home] = first_seat,
    disk: Disk = REAL_DISK,
) -> Settings:
    """Decide every setting (protocol 2.4).

    Name and role come from the flag, else the environment, else the saved config. So
    does the hub, where nothing was chosen for the machine home; chosen it beats every
    config, and without any of these it is this machine's own. A home named by
    ``--home`` is taken as it is: whoever names a directory means that directory, so
    nothing is scoped below it.

    Raises:
        ConfigError: A name or role no hub would take, or what says which hub is meant
            is unusable.
    """
    found = find_home(
        env, cwd, user_home, command=flags.command, home=flags.home, app=app, disk=disk
    )
    if found.scope is not None:
        found = seat(found)
    own = _usable(disk, found.path)
    hub, source = _hub(env, flags, own, found, user_home, disk)
    name = _label(flags.name or env.get("PARLER_NAME"), "name")
    role = _label(flags.role or env.get("PARLER_ROLE"), "role")
    if name and found.seat > 1 and not flags.name:
        name = _told_apart(name, found, disk)
    if own:  # as saved: a name we would not mint today is still that agent's
        name, role = name or own.name, role or own.role
    return Settings(
        home=found.path,
        base_home=found.base,
        scoped=found.scope is not None,
        hub=spelled(hub),
        hub_source=source,
        name=name,
        new_name=_new_name(found),
        role=role,
        join_secret=env.get("PARLER_JOIN_SECRET") or None,
        session_key=env.get("PARLER_SESSION_KEY") or None,
        allow_plain=flags.insecure or truthy(env.get("PARLER_INSECURE")),
        no_color=flags.no_color or bool(env.get("NO_COLOR")),
    )


def clean_label(text: str, *, what: str) -> str:
    """A display name or role as a hub takes it (protocol 2.3).

    Raises:
        ConfigError: Empty, too long, or with control characters.
    """
    label = text.strip()
    if not label:
        raise ConfigError(f"the {what} is empty")
    if any(unicodedata.category(char) in _NOT_IN_LABELS for char in label):
        raise ConfigError(f"the {what} {label!r} contains control characters")
    if len(label.encode("utf-8")) > MAX_HELLO_NAME_BYTES:
        raise ConfigError(f"the {what} is longer than {MAX_HELLO_NAME_BYTES} bytes")
    return label


def hub_key(url: str) -> str:
    """What all spellings of one hub have in common (protocol 1.1, 4.7).

    Scheme, case, a default port, trailing slashes and ``/ws`` are left out.

    Raises:
        ConfigError: The text names no hub.
    """
    _, _, rest = dialled(url.lower()).partition("://")
    authority, _, path = rest.partition("/")
    # Both default ports, as the scheme is left out too: ws://h:80 is ws://h is wss://h.
    authority = authority.removesuffix(":443").removesuffix(":80")
    return f"{authority}/{path}".removesuffix("/ws").rstrip("/")


def spelled(hub: str) -> str:
    """A hub's address in the one spelling of `hub_url`; itself if it names none.

    Whoever dials that says what is wrong with it.
    """
    try:
        return hub_url(hub)
    except InvalidHubUrl:
        return hub


def dialled(url: str) -> str:
    """The WebSocket URL behind a hub URL.

    Raises:
        ConfigError: The text names no hub.
    """
    try:
        if not _encodable(url):
            raise InvalidHubUrl("it is not a UTF-8 text")
        return dial_url(url)
    except InvalidHubUrl as exc:
        raise ConfigError(f"not a hub: {exc}") from None


def _usable(disk: Disk, home: Path) -> Saved | None:
    """A home's own settings; whoever loads the identity is told what is wrong."""
    try:
        return disk.saved(home)
    except ConfigError:
        return None


def _new_name(found: Home) -> str | None:
    """What a person would call the agent: by its project and its app."""
    if found.project is None or found.app is None:
        return None
    words = (found.project.name, found.app.removesuffix("-code"))
    name = "-".join(filter(None, (_handle(word) for word in words)))
    return f"{name}-{found.seat}" if found.seat > 1 else name


def _handle(text: str) -> str:
    """A word that is typed without quotes."""
    kept = (char if char.isalnum() or char in "._" else "-" for char in text.lower())
    word = "-".join(filter(None, "".join(kept).split("-"))).strip("._")
    return word.encode()[:MAX_PROJECT_BYTES].decode("utf-8", "ignore")


def _told_apart(name: str, found: Home, disk: Disk) -> str:
    """A name that was given to all windows of an app, for a further one of them."""
    first = _usable(disk, found._replace(seat=1).path)
    return f"{name}-{found.seat}" if first and first.name == name else name


def _ancestors(
    found: Home, env: Mapping[str, str], user_home: Path | None
) -> list[Path]:
    """The homes that a new identity may inherit its hub from, nearest first."""
    if found.scope is None:
        return []
    if found.seat > 1:
        first = found._replace(seat=1)
        return [first.path, *_ancestors(first, env, user_home)]
    base = found.base
    chosen_by_us = not env.get("PARLER_HOME")
    if chosen_by_us and base.parent.name == "agents" and user_home:
        return [base, base.parent.parent]
    return [base]


def _label(text: str | None, what: str) -> str | None:
    return clean_label(text, what=what) if text else None


def _hub(
    env: Mapping[str, str],
    flags: Flags,
    own: Saved | None,
    found: Home,
    user_home: Path | None,
    disk: Disk,
) -> tuple[str, HubSource]:
    if flags.hub:
        return flags.hub, HubSource.FLAG
    if hub := env.get("PARLER_HUB"):
        return hub, HubSource.ENV
    machine = machine_home(found.base)
    if hub := disk.chosen(machine):
        return hub, HubSource.CHOICE
    unasked = own is None or chosen_hub.is_unasked(own.hub_url, disk.local(machine))
    is_person = found.path == person_home(machine, disk=disk)
    if is_person and unasked and (hub := _hub_of_apps(machine, disk)):
        return hub, HubSource.CONFIG
    if own:
        return own.hub_url, HubSource.CONFIG
    for home in _ancestors(found, env, user_home):
        # Not `_usable`: a damaged config must not send a local user's agents to
        # another hub.
        if inherited := disk.saved(home):
            return inherited.hub_url, HubSource.CONFIG
    return disk.local(machine), HubSource.DEFAULT


def _hub_of_apps(machine: Path, disk: Disk) -> str | None:
    """The hub to which an earlier version wired all apps, if that is one: the shell
    of their user must not dial another."""
    saved = [_usable(disk, home) for home in disk.app_homes(machine)]
    hubs = {spelled(one.hub_url) for one in saved if one}
    return hubs.pop() if len(hubs) == 1 else None
