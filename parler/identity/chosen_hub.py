"""Which hub is meant where nobody says otherwise: one choice for a machine home.

It is in one small file of the machine home, which the shell, the agents of all apps and
the page read; the ``hub_url`` of a config.json only counts where no choice was made.
Nothing is dialled here, and no hub is started.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from parler.errors import ConfigError, UsageError
from parler.identity.homes import HUB_RECORD, hub_folder
from parler.machine import files
from parler.wire.urls import InvalidHubUrl, hub_url, same_hub

FILE_NAME = "hub.json"
LOCAL = "local"
"""The choice of this machine's own hub, wherever that listens."""

TEAM = "team"
SHARED_HUB = "wss://parler-hub.fly.dev"
"""A public hub that somebody else runs; never dialled unless it was named."""

DEFAULT_PORT = 7070
DEFAULT_ADDR = f"127.0.0.1:{DEFAULT_PORT}"
ANYWHERE = "0.0.0.0"  # noqa: S104 - compared; bound with a join secret only
MAX_HUBS = 100
MAX_NAME_CHARS = 64
_RESERVED = frozenset({LOCAL, TEAM})


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedHub:
    """A hub that was chosen once."""

    name: str
    url: str
    source: str
    """How it came to be known: the command that named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a hub.json says."""

    hub: str | None = None
    """`LOCAL` or a URL; None: nothing was chosen yet."""

    hubs: tuple[NamedHub, ...] = ()

    def named(self, name: str) -> NamedHub | None:
        """The hub of that name."""
        return next((one for one in self.hubs if one.name == name), None)


def read_choice(home: Path) -> Choice:
    """The choice of a machine home.

    Raises:
        ConfigError: Its file is damaged or cannot be read.
    """
    path = home / FILE_NAME
    try:
        return _choice(files.json_object(files.read_bounded(path)))
    except FileNotFoundError:
        return Choice()
    except ValueError as exc:
        # Going on without it could send agents to a hub that nobody named.
        raise ConfigError(
            f"{path} is damaged ({exc}): which hub was chosen is not known",
            next_step=f"{files.aside(path)}, "
            "then parler use local, or the hub that you had",
        ) from None


def choose(
    home: Path, hub: str, *, source: str = "", name: str | None = None
) -> Choice:
    """Make a hub the one that everybody below a machine home uses.

    Args:
        hub: `LOCAL` or a URL in any spelling.
        source: The command that names it.
        name: What it is called from now on; a known one keeps its name.

    Raises:
        UsageError: The name is another hub's, or none.
        ConfigError: The URL is none, or the file is damaged or not writable.
    """
    with files.locked(home / FILE_NAME):
        before = read_choice(home)
        if hub == LOCAL:
            choice = replace(before, hub=LOCAL)
        else:
            url = _address(hub)
            others = tuple(one for one in before.hubs if not same_hub(one.url, url))
            known = next((one for one in before.hubs if one not in others), None)
            if name is None:
                name = known.name if known else _free_name(url, others)
            elif name != TEAM:
                _check_name(name, others)
            others = tuple(one for one in others if one.name != name)
            entry = NamedHub(name=name, url=url, source=source)
            choice = Choice(hub=url, hubs=(*others, entry)[-MAX_HUBS:])
        if choice != before:
            files.write_private(home / FILE_NAME, files.json_bytes(_object(choice)))
        return choice


def chosen_url(home: Path) -> str | None:
    """The URL of the hub that was chosen for a machine home, if one was.

    Raises:
        ConfigError: As `read_choice`.
    """
    hub = read_choice(home).hub
    return local_url(home) if hub == LOCAL else hub


def local_url(home: Path) -> str:
    """Where the own hub of a machine home is dialled, be it there yet or not."""
    record = hub_folder(home) / HUB_RECORD
    try:
        addr = files.json_object(files.read_bounded(record)).get("addr")
    except (FileNotFoundError, ConfigError, ValueError):
        addr = None  # damaged: whoever starts it says so
    return dialled_addr(addr if isinstance(addr, str) else DEFAULT_ADDR)


def dialled_addr(addr: str) -> str:
    """The URL by which this machine dials a hub that listens on ``host:port``."""
    host, _, port = addr.rpartition(":")
    return f"ws://{'127.0.0.1' if host == ANYWHERE else host}:{port}"


def is_unasked(url: str, local: str) -> bool:
    """Whether a saved hub is one that earlier versions took where none was named.

    Args:
        local: Where this machine's own is dialled.
    """
    return same_hub(url, SHARED_HUB) or same_hub(url, local)


def name_of(url: str) -> str:
    """What a hub is called that nobody gave a name: its host."""
    parts = urlsplit(hub_url(url))
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}"


def _address(typed: str) -> str:
    try:
        return hub_url(typed)
    except InvalidHubUrl as exc:
        raise ConfigError(f"not a hub: {exc}") from None


def _free_name(url: str, others: Sequence[NamedHub]) -> str:
    taken = {one.name for one in others}
    names = (name_of(url), f"{name_of(url)}{urlsplit(url).path}", url)
    return next(name for name in names if name not in taken)


def _check_name(name: str, others: Sequence[NamedHub]) -> None:
    if (
        name in _RESERVED
        or not 0 < len(name) <= MAX_NAME_CHARS
        or not name.isprintable()
    ):
        raise UsageError(f"a hub cannot be called {name!r}")
    if taken := next((one for one in others if one.name == name), None):
        raise UsageError(
            f"{name!r} is the hub {taken.url}",
            next_step=f"another name, or parler use {shlex.quote(name)}",
        )


def _choice(raw: dict[str, object]) -> Choice:
    hub, hubs = raw.get("hub"), raw.get("hubs", [])
    if hub is not None and hub != LOCAL:
        hub = hub_url(_text(hub, "hub"))
    if not isinstance(hubs, list):
        raise ValueError("'hubs' is not a list")
    return Choice(hub=hub if hub is None else str(hub), hubs=tuple(_named(hubs)))


def _named(hubs: list[object]) -> Iterator[NamedHub]:
    for one in hubs:
        if not isinstance(one, dict):
            raise ValueError("an entry is no hub")
        yield NamedHub(
            name=_text(one.get("name"), "name"),
            url=hub_url(_text(one.get("url"), "url")),
            source=str(one.get("from") or ""),
        )


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what!r} is not a text")
    return value


def _object(choice: Choice) -> dict[str, object]:
    hubs = [{"name": o.name, "url": o.url, "from": o.source} for o in choice.hubs]
    return {"hub": choice.hub, "hubs": hubs}
