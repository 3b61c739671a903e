"""Which home an agent works in: one rule for its MCP server, its hooks and its shell.

It goes by the app and the project directory, and by the seat that the window has in it
(`parler.peers.seats`), never by a session id alone: an app gives its MCP server, its
hooks and its shell different ones, or none, and new ones at every start, so an identity
keyed by them would lose its rooms, cursors and direct messages at each restart.

The process environment is read here and nowhere else in the client. This is imported
at every hook of an app, so it needs a few quick modules only.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from parler.errors import ConfigError

CONFIG_FILE = "config.json"
DEFAULT_HOME = ".parler"
"""Of a user, in the home directory."""

LEGACY_FOLDER = ".parler-codex"

AGENTS = "agents"
"""Below the machine's home: one home for each app."""

PLACE_FILE = "place.json"
"""In the home of a seat that was ever taken: who has it, and for what."""

HUB_FOLDER = "hub"
HUB_RECORD = "local.json"
"""In there: what was decided about this machine's own hub."""

SEATS = "seats"
"""Below a project's home: those of its further windows, by their numbers."""

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

NEVER_SCOPED = frozenset({"hub", "connect", "conversation", "use", "hubs"})
"""Commands about the machine or the terminal. ``init`` and ``doctor`` are not among
them: in an agent's shell they must speak of the identity that the agent will use."""

CLAUDE_CODE = "claude-code"

# The inner one first: an app started from another's shell inherits its variables,
# and Codex run by Claude Code is the usual way round.
_APPS = (
    ("codex", ("CODEX_THREAD_ID", "CODEX_WORKING_DIR")),
    (CLAUDE_CODE, ("CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR")),
)
MAX_FOLDERS = 1000
"""Of one kind that are looked into; a user works on fewer projects."""

_FALSY = frozenset({"", "0", "false", "no"})


class Lookup(Protocol):
    """The two questions this rule asks the filesystem."""

    @property
    def exists(self) -> Callable[[Path], bool]:
        """Whether there is something at a path."""

    @property
    def canonical(self) -> Callable[[Path], Path]:
        """Where a path really leads."""


class _RealLookup(NamedTuple):
    exists: Callable[[Path], bool]
    canonical: Callable[[Path], Path]


class Home(NamedTuple):
    """Where an identity lives."""

    base: Path
    """The unscoped home: known hubs and secrets, shared by all its projects."""

    scope: Path | None
    """The project's home below it, if it has one of its own."""

    project: Path | None = None
    """The folder that is the project, where there is a scope."""

    seat: int = 1
    """Which of the project's windows it is for."""

    @property
    def path(self) -> Path:
        """Where the identity lives."""
        return seat_home(self.scope, self.seat) if self.scope else self.base

    @property
    def app(self) -> str | None:
        """The id of the app whose agents live here, if it is an app's home."""
        return self.base.name if self.base.parent.name == AGENTS else None


def really_exists(path: Path) -> bool:
    """Whether there is something at a path, as far as we may know."""
    try:
        return path.exists()
    except OSError:
        return False


def really_canonical(path: Path) -> Path:
    """Where a path really leads; itself where that cannot be told."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links, or no current directory
        return path


REAL_LOOKUP: Lookup = _RealLookup(really_exists, really_canonical)


def process_environment() -> dict[str, str]:
    """A copy of this process's environment."""
    return dict(os.environ)


def current_directory() -> Path | None:
    """Where this process works; None if that folder has gone."""
    try:
        return Path.cwd()
    except OSError:
        return None


def user_home_of(env: Mapping[str, str]) -> Path | None:
    """The user's home directory, by the environment or else by the user database.

    One that is not absolute would be another in each folder, and is none.
    """
    for name in ("HOME", *(["USERPROFILE"] if sys.platform == "win32" else [])):
        if (home := Path(env.get(name, ""))).is_absolute():
            return home
    if sys.platform == "win32":
        return None
    import pwd

    try:
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a container's user that nobody entered
        return None
    return home if home.is_absolute() else None


def find_home(
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    *,
    command: str,
    home: str | None = None,
    app: str | None = None,
    disk: Lookup = REAL_LOOKUP,
) -> Home:
    """The home of a command (protocol 2.4), that of the project's first seat.

    A home named by ``--home`` is taken as it is: whoever names a directory means that
    directory, so nothing is scoped below it.

    Args:
        app: The app in whose shell we are, by the processes above us. It counts if
            it was wired; without it, variables tell.

    Raises:
        ConfigError: It would lie somewhere else in each folder.
    """
    base = _base_home(env, cwd, user_home, home)
    if home:
        return Home(base, None)
    if env.get("PARLER_HOME"):
        given = _scoped(base, env, cwd, user_home, command, app, disk)
        if given.scope and disk.exists(given.scope / CONFIG_FILE):
            return given  # who was made there stays
    # `connect` gives an app's MCP server its own home by PARLER_HOME, which the shell
    # of that app does not see: without this they would be two agents.
    for one in (app, _innermost_app(env)):
        if one and disk.exists(base / AGENTS / one):
            return _scoped(base / AGENTS / one, env, cwd, user_home, command, app, disk)
    if user_home and not env.get("PARLER_HOME"):
        base = person_home(base, disk=disk)
    return _scoped(base, env, cwd, user_home, command, app, disk)


def machine_home(home: Path) -> Path:
    """The home that all agents of this user share, above those of apps and folders.

    An identity of long ago is in a folder of its own; what is shared is not.
    """
    home = project_home(home)
    if home.parent.name in ("ws", "answerers"):
        home = home.parent.parent
    if home.parent.name == AGENTS:
        home = home.parent.parent
    usual = home.parent / DEFAULT_HOME
    is_legacy = home.name == LEGACY_FOLDER and person_home(usual) == home
    return usual if is_legacy else home


def is_person_home(home: Path) -> bool:
    """Whether the identity of a home is the person's, not an agent's."""
    return home == person_home(machine_home(home))


def person_homes(machine: Path) -> list[Path]:
    """The machine home, and the person's if that is another: agents live below both."""
    return list(dict.fromkeys((machine, person_home(machine))))


def hub_folder(machine: Path) -> Path:
    """The folder of this machine's own hub; one that was made with an identity of long
    ago stays there, with its rooms."""
    made = (home / HUB_FOLDER for home in person_homes(machine))
    with_record = (one for one in made if really_exists(one / HUB_RECORD))
    return next(with_record, machine / HUB_FOLDER)


def project_home(home: Path) -> Path:
    """The home of the first seat of the project that a home is of."""
    return home.parent.parent if home.parent.name == SEATS else home


def seat_home(home: Path, seat: int) -> Path:
    """The home of a seat, below that of the project."""
    return home if seat == 1 else home / SEATS / str(seat)


def homes_below(base: Path) -> Iterator[Path]:
    """The homes of projects and their seats below one of an app or a machine."""
    for home in sorted((base / "ws").glob("*")):
        yield home
        yield from sorted((home / SEATS).glob("*"))


def app_homes(machine: Path) -> list[Path]:
    """The homes of the apps that are wired below a machine home."""
    return _folders(machine / AGENTS)


def person_home(home: Path, *, disk: Lookup = REAL_LOOKUP) -> Path:
    """Where the person of a machine home lives: there, but for one of long ago."""
    if home.name == DEFAULT_HOME and not disk.exists(home / CONFIG_FILE):
        legacy = home.parent / LEGACY_FOLDER
        if disk.exists(legacy / CONFIG_FILE):
            return legacy
    return home


def truthy(value: str | None) -> bool:
    """Whether a variable switches something on (protocol 2.4)."""
    return value is not None and value.strip().lower() not in _FALSY


def in_agent_shell(env: Mapping[str, str]) -> bool:
    """Whether an agent app started us (protocol 2.4)."""
    return any(env.get(name) for name in AGENT_SHELL)


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
    app: str | None = None,
    disk: Lookup = REAL_LOOKUP,
) -> Path | None:
    """The directory that an agent's identity belongs to, None if there is none.

    Conductor's workspace is taken as given. Otherwise it is the top of the git work
    tree around the app's project directory, or around the current one: apps tell the
    former only to their MCP server and hooks, and a shell below it must come to the
    same answer.

    Args:
        app: The app that runs us, if that is known; else the variables tell it.
    """
    given, start = _start(env, cwd, app, disk)
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


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())[:MAX_FOLDERS]
    except OSError:
        return []


def _start(
    env: Mapping[str, str], cwd: Path | None, app: str | None, disk: Lookup
) -> tuple[bool, Path | None]:
    """Whether the project was given outright, and where to look for it."""
    here = cwd or Path()
    if conductor := env.get("CONDUCTOR_WORKSPACE_PATH"):
        return True, disk.canonical(here / conductor)
    # An app that was started from Claude Code's shell has a project of its own.
    claude = env.get("CLAUDE_PROJECT_DIR")
    if claude and (app or _innermost_app(env)) == CLAUDE_CODE:
        return False, disk.canonical(here / claude)
    return False, disk.canonical(cwd) if cwd else None


def _base_home(
    env: Mapping[str, str], cwd: Path | None, user_home: Path | None, named: str | None
) -> Path:
    given = named or env.get("PARLER_HOME") or f"~/{DEFAULT_HOME}"
    path = _expand(given, user_home)
    if path.is_absolute():
        return path
    if named and cwd and not named.startswith(("~", "$", "%")):
        return cwd / path  # whoever types that means here
    if given.startswith("~/"):
        raise ConfigError(
            "it is not known where your home directory is: HOME is not an absolute "
            "path, and the system knows of none",
            next_step="set HOME, or PARLER_HOME to an absolute path",
        )
    name = "--home" if named else "PARLER_HOME"
    raise ConfigError(
        f"{name} is {given!r}: not an absolute path, so another one in each folder",
        next_step=f"give {name} a path that begins with / or ~/",
    )


def _innermost_app(env: Mapping[str, str]) -> str | None:
    for app, variables in _APPS:
        if any(env.get(name) for name in variables):
            return app
    return None


def _expand(text: str, user_home: Path | None) -> Path:
    """A leading ``~`` or ``~/`` means the home directory, ``~user`` does not."""
    if text == "~" or text.startswith("~/"):
        return user_home / text[2:] if user_home else Path(text)
    return Path(text)


def _scoped(
    base: Path,
    env: Mapping[str, str],
    cwd: Path | None,
    user_home: Path | None,
    command: str,
    app: str | None,
    disk: Lookup,
) -> Home:
    whole = Home(base, None)
    in_shell = in_agent_shell(env) or (app is not None and whole.app == app)
    wanted = command in ALWAYS_SCOPED or (in_shell and command not in NEVER_SCOPED)
    if not wanted or truthy(env.get("PARLER_SHARED_IDENTITY")):
        return whole
    project = project_directory(env, cwd, user_home, app=whole.app, disk=disk)
    if project is None:
        return whole
    # Only what the user sets on purpose splits a project into several identities.
    session = env.get("PARLER_AGENT_SESSION") or None
    # Existing clients key by the directory itself; an identity made there stays.
    _, start = _start(env, cwd, whole.app, disk)
    if start is not None and start != project:
        existing = base / "ws" / workspace_name(start, session)
        if disk.exists(existing / CONFIG_FILE):
            return Home(base, existing, project)
    return Home(base, base / "ws" / workspace_name(project, session), project)
