"""Which hub is this machine's own: its folder, its settings, and the URLs that mean it.

A machine has one such hub for a user, whatever agent app asks. What its owner decided
about it is in one small file; what runs now is not known here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from parler.errors import ConfigError
from parler.identity.chosen_hub import (
    ANYWHERE,
    DEFAULT_ADDR,
    LOCAL,
    dialled_addr,
    read_choice,
)
from parler.identity.homes import HUB_RECORD, hub_folder, machine_home
from parler.identity.settings import HubSource, Settings, dialled, hub_key
from parler.machine import files
from parler.wire.urls import is_loopback

_SAME_HOST = frozenset({"localhost", "127.0.0.1"})


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the owner of this machine decided about its hub."""

    addr: str = DEFAULT_ADDR
    """Where it listens, as ``host:port``."""
    team: bool = False
    """Other machines may join, with the secret."""
    name: str | None = None
    address: str | None = None
    """Under which teammates reach it, where its owner chose that."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.addr.rpartition(":")[2])

    @property
    def url(self) -> str:
        """Where this machine dials it."""
        return dialled_addr(self.addr)


@dataclass(frozen=True, slots=True)
class HubPaths:
    """The files of this machine's hub (design 6)."""

    folder: Path

    @property
    def record(self) -> Path:
        """What its owner decided."""
        return self.folder / HUB_RECORD

    @property
    def running(self) -> Path:
        """Held locked by the hub that runs."""
        return self.folder / "running"

    @property
    def starting(self) -> Path:
        """Locked while somebody starts or stops it."""
        return self.folder / "change"

    @property
    def stopped(self) -> Path:
        """There if its owner stopped it: agents in the background leave it so."""
        return self.folder / "stopped"

    @property
    def log(self) -> Path:
        """What it says; the part before is in the same name with ``.1``."""
        return self.folder / "hub.log"

    @property
    def database(self) -> Path:
        """What it stores."""
        return self.folder / "hub.sqlite"

    @property
    def blobs(self) -> Path:
        """Files and bundles that agents handed over."""
        return self.folder / "hub.sqlite.blobs"

    @property
    def secret(self) -> Path:
        """The join secret of a team hub."""
        return self.folder / "join-secret"

    @property
    def local_secret(self) -> Path:
        """That of a hub for this machine alone: web pages and other users have none."""
        return self.folder / "local-secret"


def hub_paths(base_home: Path) -> HubPaths:
    """The one place for all homes below a machine's."""
    return HubPaths(hub_folder(machine_home(base_home)))


def read_record(paths: HubPaths) -> Record | None:
    """What was decided about the hub; None if there never was one.

    Raises:
        ConfigError: The file is damaged.
    """
    try:
        record = msgspec.json.decode(files.read_bounded(paths.record), type=Record)
        _check(record)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(
            f"{paths.record} is damaged: {error}",
            next_step=f"{files.aside(paths.record)}, then parler hub start",
        ) from None
    return record


def write_record(paths: HubPaths, record: Record) -> None:
    """Keep what was decided.

    Raises:
        ConfigError: It makes no sense, or cannot be written.
    """
    try:
        _check(record)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    data = msgspec.json.format(msgspec.json.encode(record), indent=2)
    files.write_private(paths.record, data + b"\n")


def secret_file(paths: HubPaths, record: Record) -> Path:
    """The file with the hub's join secret; the hub makes it if it is missing."""
    return paths.secret if record.team else paths.local_secret


def hub_arguments(paths: HubPaths, record: Record) -> list[str]:
    """The command line of the hub that a record describes, without its program."""
    arguments = ["--addr", record.addr, "--db", str(paths.database)]
    arguments += ["--running-file", str(paths.running)]
    arguments += ["--join-secret-file", str(secret_file(paths, record))]
    if record.team:
        arguments += ["--lan-only", "--announce"]
    if record.name:
        arguments += ["--name", record.name]
    return arguments


def starts_by_itself(settings: Settings, url: str) -> bool:
    """Whether a URL that is about to be dialled means this machine's own hub.

    It does where it was chosen, or where nothing was. Once there is one, that is its
    address, whoever names it. Before, it is the default address, and only if that is
    the configured hub: neither a pasted key nor a ``--hub`` of the moment makes a
    machine run a hub.

    Raises:
        ConfigError: The text names no hub, or the record is damaged.
    """
    if not is_loopback(urlsplit(dialled(url)).hostname or ""):
        return False
    if read_choice(machine_home(settings.base_home)).hub not in (None, LOCAL):
        return False
    record = read_record(hub_paths(settings.base_home))
    if record is not None:
        return serves(record.addr, url)
    configured = settings.hub_source is not HubSource.FLAG
    meant = configured and hub_key(url) == hub_key(settings.hub)
    return meant and serves(DEFAULT_ADDR, url)


def serves(addr: str, url: str) -> bool:
    """Whether a hub that listens on ``host:port`` is what a loopback URL dials."""
    parts = urlsplit(dialled(url))
    host, _, port = addr.rpartition(":")
    if parts.scheme != "ws" or parts.path != "/ws" or (parts.port or 80) != int(port):
        return False
    host, wanted = host.strip("[]"), parts.hostname or ""
    if host == wanted or {host, wanted} <= _SAME_HOST:
        return True
    return host == ANYWHERE and is_loopback(wanted) and ":" not in wanted


def record_for(url: str) -> Record:
    """The record of a first local hub under a loopback URL.

    Raises:
        ConfigError: A hub of this machine cannot listen there.
    """
    parts = urlsplit(dialled(url))
    host = parts.hostname or ""
    if parts.scheme != "ws" or parts.path != "/ws" or not is_loopback(host):
        raise ConfigError(f"{url} is no address for a hub of this machine")
    shown = f"[{host}]" if ":" in host else host
    return Record(addr=f"{shown}:{parts.port or 80}")


def changed(paths: HubPaths, change: Callable[[Record], Record]) -> Record:
    """Change what was decided, and keep it.

    Raises:
        ConfigError: The record is damaged, or cannot be written.
    """
    record = change(read_record(paths) or Record())
    write_record(paths, record)
    return record


def _check(record: Record) -> None:
    host, _, port = record.addr.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        raise ValueError(f"there is no port {port!r}")
    if not record.team and not is_loopback(host):
        raise ValueError(f"a hub on {host} needs a join secret: it is no local one")
