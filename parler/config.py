"""Where settings come from: flag over environment over file over default.

`resolve_settings` is a pure function of its arguments; what it asks the disk goes
through a `Disk`. `process_settings` is the one place in the client that reads the
process environment. Nothing here writes a file or knows a key (`identity`).

Which home an agent works in is decided here as well, by the project directory and
never by a session id: an app gives its MCP server, its hooks and its shell different
session ids, and new ones at every start, so an identity keyed by them would lose its
rooms, cursors and direct messages at each restart, and the three would be strangers
to each other. They do agree on the project.
"""

import os
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from parler import files
from parler.errors import ConfigError, IdentityError
from parler.wire.limits import MAX_HELLO_NAME_BYTES
from parler.wire.urls import InvalidHubUrl, dial_url

CONFIG_FILE = "config.json"
DEFAULT_HUB = "wss://parler-hub.fly.dev"
INIT_HUB = "parler://127.0.0.1:7070"
"""What ``parler init`` writes unless told otherwise (protocol 2.4)."""

AGENT_SHELL = (
    "CODEX_THREAD_ID",
    "CODEX_WORKING_DIR",
    "CONDUCTOR_WORKSPACE_PATH",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_PROJECT_DIR",
)
"""Any of them set and not empty: an agent runs us (protocol 2.4)."""

ALWAYS_SCOPED = frozenset({"mcp", "hook"})
"""Commands that an agent's app starts, wherever that is. ``work`` and ``supervise``
are not among them: whoever joined a session in a shell starts its worker there too, and
the two must be one agent."""

NEVER_SCOPED = frozenset({"hub", "connect", "conversation"})
"""Commands about the machine or the terminal. ``init`` and ``doctor`` are not among
them: in an agent's shell they must speak of the identity that the agent will use."""

# The inner one first: an app started from another's shell inherits its variables,
# and Codex run by Claude Code is the usual way round.
_APPS = (
    ("codex", ("CODEX_THREAD_ID", "CODEX_WORKING_DIR")),
    ("claude-code", ("CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR")),
)
_FALSY = frozenset({"", "0", "false", "no"})
_NOT_IN_LABELS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class HubSource(StrEnum):
    """Who named the hub."""

    FLAG = "flag"
    ENV = "env"
    CONFIG = "config"
    DEFAULT = "default"


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
    agent_shell: bool
    hub: str
    hub_source: HubSource
    name: str | None
    """None: the identity's own, or one made up for a new identity."""
    role: str | None
    join_secret: str | None = field(repr=False)
    """Of `hub` alone; ask `join_secrets.secret_for` (protocol 13.2)."""
    session_key: str | None = field(repr=False)
    allow_plain: bool
    """``--insecure``: plain ws:// beyond this network was asked for."""
    no_color: bool


@dataclass(frozen=True, slots=True)
class Disk:
    """The three questions settings ask the filesystem."""

    exists: Callable[[Path], bool]
    canonical: Callable[[Path], Path]
    saved: Callable[[Path], Saved | None]


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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _canonical(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links, or no current directory
        return path


REAL_DISK = Disk(exists=_exists, canonical=_canonical, saved=read_saved)


def process_settings(flags: Flags) -> Settings:
    """The settings of this process: its environment, directory and disk."""
    try:
        cwd = Path.cwd()
    except OSError:
        cwd = None
    home = os.environ.get("HOME")
    if not home and sys.platform == "win32":
        home = os.environ.get("USERPROFILE")
    return resolve_settings(os.environ, cwd, Path(home) if home else None, flags)


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, to choose from for a child of ours."""
    return dict(os.environ)


def resolve_settings(
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    flags: Flags,
    *,
    disk: Disk = REAL_DISK,
) -> Settings:
    """Decide every setting (protocol 2.4).

    The hub, name and role come from the flag, else the environment, else the saved
    config, else the default. A home named by ``--home`` is taken as it is: whoever
    names a directory means that directory, so nothing is scoped below it.

    A new scoped identity takes over one thing from the unscoped one, its hub.

    Raises:
        ConfigError: A name or role no hub would take, or the config that a new
            identity would inherit its hub from is unusable.
    """
    base = _base_home(env, cwd, user_home, flags, disk)
    scope = _scope(base, env, cwd, user_home, flags, disk)
    home = scope or base
    own = _usable(disk, home)
    hub, source = _hub(env, flags, own, _ancestors(base, scope, env, user_home), disk)
    name = _label(flags.name or env.get("PARLER_NAME"), "name")
    role = _label(flags.role or env.get("PARLER_ROLE"), "role")
    if own:  # as saved: a name we would not mint today is still that agent's
        name, role = name or own.name, role or own.role
    return Settings(
        home=home,
        base_home=base,
        scoped=scope is not None,
        agent_shell=in_agent_shell(env),
        hub=hub,
        hub_source=source,
        name=name,
        role=role,
        join_secret=env.get("PARLER_JOIN_SECRET") or None,
        session_key=env.get("PARLER_SESSION_KEY") or None,
        allow_plain=flags.insecure or truthy(env.get("PARLER_INSECURE")),
        no_color=flags.no_color or bool(env.get("NO_COLOR")),
    )


def truthy(value: str | None) -> bool:
    """Whether a variable switches something on (protocol 2.4)."""
    return value is not None and value.strip().lower() not in _FALSY


def in_agent_shell(env: Mapping[str, str]) -> bool:
    """Whether an agent app started us (protocol 2.4)."""
    return any(env.get(name) for name in AGENT_SHELL)


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


def fnv1a(data: bytes) -> int:
    """64-bit FNV-1a (protocol 2.4)."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def workspace_name(directory: Path, session: str | None = None) -> str:
    """The folder under ``ws/`` for a project directory (protocol 2.4)."""
    key = os.fsencode(directory)
    if session:
        key += b"\0" + os.fsencode(session)
    return f"{fnv1a(key):016x}"


def project_directory(
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    *,
    disk: Disk = REAL_DISK,
) -> Path | None:
    """The directory that an agent's identity belongs to, None if there is none.

    Conductor's workspace is taken as given. Otherwise it is the top of the git work
    tree around the app's project directory, or around the current one: apps tell the
    former only to their MCP server and hooks, and a shell below it must come to the
    same answer.
    """
    given, start = _start(env, cwd, disk)
    if given or start is None:
        return start
    # A repository of dotfiles in the home directory is not everybody's project.
    fence = disk.canonical(user_home) if user_home else None
    for directory in (start, *start.parents):
        if directory == fence:
            break
        if disk.exists(directory / ".git"):
            return directory
    return start


def _start(
    env: Mapping[str, str], cwd: Path | None, disk: Disk
) -> tuple[bool, Path | None]:
    """Whether the project was given outright, and where to look for it."""
    here = cwd or Path()
    if conductor := env.get("CONDUCTOR_WORKSPACE_PATH"):
        return True, disk.canonical(here / conductor)
    if claude := env.get("CLAUDE_PROJECT_DIR"):
        return False, disk.canonical(here / claude)
    return False, disk.canonical(cwd) if cwd else None


def _base_home(
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    flags: Flags,
    disk: Disk,
) -> Path:
    here = cwd or Path()
    given = flags.home or env.get("PARLER_HOME")
    if given:
        return here / _expand(given, user_home)
    default = here / (user_home or Path()) / ".parler"
    # `connect` gives an app's MCP server its own home by PARLER_HOME, which the shell
    # of that app does not see: without this they would be two agents.
    if app := _wired_app(env, default, disk):
        return default / "agents" / app
    if user_home and not disk.exists(default / CONFIG_FILE):
        legacy = here / user_home / ".parler-codex"
        if disk.exists(legacy / CONFIG_FILE):
            return legacy
    return default


def _wired_app(env: Mapping[str, str], default: Path, disk: Disk) -> str | None:
    for app, variables in _APPS:
        if any(env.get(name) for name in variables):
            return app if disk.exists(default / "agents" / app) else None
    return None


def _expand(text: str, user_home: Path | None) -> Path:
    """A leading ``~`` or ``~/`` means the home directory, ``~user`` does not."""
    if text == "~" or text.startswith("~/"):
        return (user_home or Path()) / text[2:]
    return Path(text)


def _scope(
    base: Path,
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    flags: Flags,
    disk: Disk,
) -> Path | None:
    wanted = flags.command in ALWAYS_SCOPED or (
        in_agent_shell(env) and flags.command not in NEVER_SCOPED
    )
    if not wanted or flags.home or truthy(env.get("PARLER_SHARED_IDENTITY")):
        return None
    project = project_directory(env, cwd, user_home, disk=disk)
    if project is None:
        return None
    # Only what the user sets on purpose splits a project into several identities.
    session = env.get("PARLER_AGENT_SESSION") or None
    # Existing clients key by the directory itself; an identity made there stays.
    _, start = _start(env, cwd, disk)
    if start is not None and start != project:
        existing = base / "ws" / workspace_name(start, session)
        if disk.exists(existing / CONFIG_FILE):
            return existing
    return base / "ws" / workspace_name(project, session)


def _usable(disk: Disk, home: Path) -> Saved | None:
    """A home's own settings; whoever loads the identity is told what is wrong."""
    try:
        return disk.saved(home)
    except ConfigError:
        return None


def _ancestors(
    base: Path, scope: Path | None, env: Mapping[str, str], user_home: Path | None
) -> list[Path]:
    """The homes that a new identity may inherit its hub from, nearest first."""
    if scope is None:
        return []
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
    ancestors: list[Path],
    disk: Disk,
) -> tuple[str, HubSource]:
    if flags.hub:
        return flags.hub, HubSource.FLAG
    if hub := env.get("PARLER_HUB"):
        return hub, HubSource.ENV
    if own:
        return own.hub_url, HubSource.CONFIG
    for home in ancestors:
        # Not `_usable`: a damaged config must not send a local user's agents to the
        # shared hub.
        if inherited := disk.saved(home):
            return inherited.hub_url, HubSource.CONFIG
    default = INIT_HUB if flags.command == "init" else DEFAULT_HUB
    return default, HubSource.DEFAULT
