"""What an operator may set, by flag or environment (protocol 12.1).

The one place of the hub that reads the environment and its command line. A flag wins
over its variable, which is ``PARLER_HUB_`` and the flag in capitals.
"""

import argparse
import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.errors import CannotStart
from hub.ids import join_secret
from hub.pages import Pages
from hub.quotas.machine import disk_bytes
from parler._version import __version__
from parler.wire import limits
from parler.wire.urls import is_loopback

DEFAULT_ADDR = "127.0.0.1:7070"
DEFAULT_NAME = "Parler Protocol Hub"
LOCAL_DATABASE = "hub.sqlite"
MIB = 2**20
SHARES = {
    "max_connections_per_ip": 256,
    "max_bytes_per_min": 32 * MIB,
    "max_bytes_per_ip_per_min": 64 * MIB,
    "max_stored_bytes_per_day": 64 * MIB,
    "max_room_stored_bytes_per_day": 256 * MIB,
    "max_stored_bytes_per_ip_per_day": 128 * MIB,
    "max_agent_blob_bytes": 256 * MIB,
    "max_room_blob_bytes": 512 * MIB,
    "max_uploaded_bytes_per_ip_per_day": 512 * MIB,
    "max_cards_per_ip_per_day": 100,
}
"""Of what all need, what one may take of a hub that others than its machine reach."""

LOCAL_RUNNING = "running"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A hub's settings, checked. Sizes in bytes, times in seconds, 0 = no limit."""

    host: str
    port: int
    db: Path | None = None
    url: str | None = None
    name: str = DEFAULT_NAME
    public: bool = False
    open_services: bool = False
    join_secret: str | None = None
    trust_proxy_headers: bool = False
    client_ip_header: str | None = None
    allow_origin: frozenset[str] = frozenset()
    idle_timeout_secs: float = 1800.0
    handshake_timeout_secs: float = 15.0
    ready_file: Path | None = None
    running_file: Path | None = None
    log_file: Path | None = None
    announce: bool = False
    lan_only: bool = False
    max_connections: int = 1024
    max_message_bytes: int = limits.DEFAULT_MAX_MESSAGE_BYTES
    max_text_frame_bytes: int = limits.DEFAULT_MAX_TEXT_FRAME_BYTES
    max_blob_bytes: int = limits.DEFAULT_MAX_BLOB_BYTES
    blob_dir: Path | None = None
    max_blob_dir_bytes: int = 2**30
    max_inflight_blob_bytes: int = 50 * 2**20
    max_blobs_per_hour: int = 120
    max_room_blobs_per_hour: int = 600
    retention_days: float = 30
    keep_messages_per_room: int = 10_000
    keep_facts: int = 500
    blob_ttl_days: float = 14
    card_ttl_days: float = 30
    janitor_interval_secs: float = 3600.0
    max_owned_rooms: int = 1000
    max_active_tokens: int = 1000
    max_keyed_facts: int = 10_000
    max_ops_per_min: int = 600
    max_sends_per_min: int = 240
    max_room_sends_per_min: int = 1200
    max_http_per_min: int = 600
    max_connections_per_ip: int = 0
    max_bytes_per_min: int = 0
    max_bytes_per_ip_per_min: int = 0
    max_stored_bytes_per_day: int = 0
    max_room_stored_bytes_per_day: int = 0
    max_stored_bytes_per_ip_per_day: int = 0
    max_agent_blob_bytes: int = 0
    max_room_blob_bytes: int = 0
    max_uploaded_bytes_per_ip_per_day: int = 0
    max_cards_per_ip_per_day: int = 0
    max_waiting_bytes: int | None = None
    """None takes a quarter of the memory the process may use."""

    max_database_bytes: int | None = None
    """None takes half of its file system, or in memory as much as may wait."""

    decoders: int = 2
    web: str | None = None
    metrics_addr: tuple[str, int] | None = None
    max_knocks_per_min: int = 10
    max_knocks_per_ip_per_min: int = 30
    log_level: str = "info"
    log_format: str = "text"

    @property
    def mode(self) -> str:
        """``public`` or ``private``, as HTTP and the start line say it."""
        return "public" if self.public else "private"

    @property
    def owners_admit(self) -> bool:
        """Whether the owner of a service says who works for it (protocol 14.10)."""
        return self.public and not self.open_services

    @property
    def address_header(self) -> str | None:
        """The header in which the proxy says who asks, in lower case."""
        forwarded = "x-forwarded-for" if self.trust_proxy_headers else None
        return self.client_ip_header or forwarded


def read_settings(
    argv: Sequence[str], environment: Mapping[str, str] | None = None
) -> Settings:
    """Read flags and environment into checked settings.

    Raises:
        CannotStart: They contradict each other, or would expose a hub unprotected.
        SystemExit: ``--help``, or arguments argparse does not know.
    """
    variables = os.environ if environment is None else environment
    flags = parser(variables).parse_args(argv)
    values = vars(flags)
    values["host"], values["port"] = split_address(values.pop("addr"))
    if values.pop("local"):
        folder = _absolute(local_folder(variables))
        values["db"] = values["db"] or folder / LOCAL_DATABASE
        values["running_file"] = values["running_file"] or folder / LOCAL_RUNNING
        if not is_loopback(values["host"]):
            raise CannotStart("--local serves this machine only: use a loopback --addr")
    values["join_secret"] = _secret(
        values["join_secret"], values.pop("join_secret_file")
    )
    if values["metrics_addr"] is not None:
        values["metrics_addr"] = split_address(values["metrics_addr"])
    if values["client_ip_header"] is not None:
        values["client_ip_header"] = _header_name(values["client_ip_header"])
    values["allow_origin"] = _origins(values["allow_origin"])
    private = is_loopback(values["host"]) and not values["public"]
    for name, share in SHARES.items():
        if values[name] is None:
            values[name] = 0 if private else share
    if values["max_blob_dir_bytes"] is None:
        values["max_blob_dir_bytes"] = _blob_budget(values["blob_dir"], values["db"])
    if values["web"] and not values["web"].startswith(("https://", "http://")):
        raise CannotStart("--web takes an http(s) link")
    settings = Settings(**values)
    if not (settings.public or settings.join_secret or is_loopback(settings.host)):
        raise CannotStart(
            f"refusing to listen on {settings.host} without protection: anybody who "
            "reaches it could join; pass --join-secret-file FILE (or --public to "
            "serve everybody)"
        )
    return settings


def local_folder(variables: Mapping[str, str]) -> Path:
    """Where this machine's own hub keeps its files (design 6)."""
    given = variables.get("PARLER_HOME") or "~/.parler"
    home = Path(os.path.expanduser(given))  # noqa: PTH111 - pathlib's raises
    # An agent app has a home below that of its machine, and no hub of its own.
    return (home.parent.parent if home.parent.name == "agents" else home) / "hub"


def _absolute(folder: Path) -> Path:
    if not folder.is_absolute():
        raise CannotStart(f"{folder} is not an absolute path; set PARLER_HOME to one")
    return folder


def parser(variables: Mapping[str, str]) -> argparse.ArgumentParser:
    """The hub's command line, with defaults from the environment."""
    top = argparse.ArgumentParser(
        prog="parler hub",
        description="Run a hub: agents meet there, and it stores what they say.",
        epilog="""\
Every flag may be given as PARLER_HUB_<FLAG> in the environment.

this machine's own hub, each with --help:
  parler hub status, start, stop, logs, install-service, uninstall-service
data, each with --help:
  parler hub check, backup, restore, stats
example:
  parler hub --local""",
        formatter_class=Pages,
    )

    def add(flag: str, default: Any, text: str, **options: Any) -> None:
        variable = "PARLER_HUB_" + flag.strip("-").upper().replace("-", "_")
        value = variables.get(variable) or default
        shown = options.pop("shown", default)
        if options.get("action") == "store_true":
            value = _truthy(variables.get(variable))
        if value not in options.get("choices", (value,)):  # only flags are checked
            raise CannotStart(f"{variable}={value!r} is not a choice of {flag}")
        said = "" if shown in (None, False) else f" (default: {shown})"
        top.add_argument(flag, default=value, help=text + said, **options)

    whole = {"type": _whole_number, "metavar": "N"}
    add("--addr", DEFAULT_ADDR, "host:port to listen on; port 0 picks a free one")
    add("--db", None, "database file; without it all is in memory", type=Path)
    add("--local", False, "keep the database under the home", action="store_true")
    add("--url", None, "this hub's URL in invites (default: parler://<addr>)")
    add("--name", DEFAULT_NAME, "display name")
    add("--public", False, "let anybody in, without a join secret", action="store_true")
    add(
        "--open-services",
        False,
        "let anybody work for any service, and ask it, though --public",
        action="store_true",
    )
    add("--join-secret", None, "secret every agent must show (prefer the file)")
    add("--join-secret-file", None, "file with the secret; made if missing", type=Path)
    add(
        "--trust-proxy-headers",
        False,
        "a proxy says who asks, as the last value of X-Forwarded-For",
        action="store_true",
    )
    add(
        "--client-ip-header",
        None,
        "the one header in which it says so instead: its last value counts",
        metavar="NAME",
    )
    add(
        "--allow-origin",
        None,
        "web origins whose pages may ask everything, with commas between; * for any",
        metavar="ORIGIN",
    )
    add(
        "--idle-timeout-secs",
        1800.0,
        "drop a silent agent after so long; fractions allowed, 0 = never",
        type=_seconds,
        metavar="SECS",
    )
    add("--ready-file", None, "write {url, pid} there once listening", type=Path)
    add("--running-file", None, "hold this file locked while running", type=Path)
    add("--log-file", None, "write to this file, and one older one", type=Path)
    add(
        "--announce",
        False,
        "let machines of this network find the hub by mDNS",
        action="store_true",
    )
    add(
        "--lan-only",
        False,
        "refuse whoever comes from beyond private networks",
        action="store_true",
    )
    add("--max-connections", 1024, "concurrent connections", **whole)
    add("--max-message-bytes", 2**20, "parts of one message", **whole)
    add("--max-text-frame-bytes", 2 * 2**20, "one text frame", **whole)
    add("--max-blob-bytes", limits.DEFAULT_MAX_BLOB_BYTES, "one blob", **whole)
    add("--blob-dir", None, "folder of blobs (default: <db>.blobs)", type=Path)
    add(
        "--max-blob-dir-bytes",
        None,
        "all blobs together",
        shown="1 GiB, or a quarter of a smaller file system",
        **whole,
    )
    add("--max-inflight-blob-bytes", 50 * 2**20, "uploads on their way", **whole)
    add("--max-blobs-per-hour", 120, "uploads of one agent; 0 = no limit", **whole)
    add("--max-room-blobs-per-hour", 600, "uploads to a room; 0 = no limit", **whole)
    add(
        "--retention-days",
        30.0,
        "messages older than this may be pruned; 0 keeps all",
        type=_seconds,
        metavar="DAYS",
    )
    add(
        "--keep-messages-per-room",
        10_000,
        "newest messages of a room that are never pruned; negative keeps all",
        type=int,
        metavar="N",
    )
    add(
        "--keep-facts",
        500,
        "newest unkeyed facts of an author in a room; negative keeps all",
        type=int,
        metavar="N",
    )
    add(
        "--blob-ttl-days",
        14.0,
        "blobs nobody fetched for so long are deleted; 0 keeps all",
        type=_seconds,
        metavar="DAYS",
    )
    add(
        "--card-ttl-days",
        30.0,
        "agents not seen for so long are not in the directory; 0 keeps all",
        type=_seconds,
        metavar="DAYS",
    )
    add(
        "--janitor-interval-secs",
        3600.0,
        "how often the hub prunes",
        type=_seconds,
        metavar="SECS",
    )
    add("--max-owned-rooms", 1000, "rooms one agent may own", **whole)
    add("--max-active-tokens", 1000, "live bearer tokens of one agent", **whole)
    add("--max-keyed-facts", 10_000, "facts with a key of one agent", **whole)
    add("--max-ops-per-min", 600, "requests of one agent; 0 = no limit", **whole)
    add("--max-sends-per-min", 240, "sends of one agent; 0 = no limit", **whole)
    add("--max-room-sends-per-min", 1200, "sends to a room; 0 = no limit", **whole)
    add("--max-knocks-per-min", 10, "knocks and wrong keys of one agent", **whole)
    add(
        "--max-knocks-per-ip-per-min",
        30,
        "knocks and wrong keys from one address",
        **whole,
    )
    add("--max-http-per-min", 600, "HTTP requests of an address", **whole)
    for flag, text in (
        ("--max-connections-per-ip", "connections from an address"),
        ("--max-bytes-per-min", "bytes of requests of one agent"),
        ("--max-bytes-per-ip-per-min", "bytes of requests from an address"),
        ("--max-stored-bytes-per-day", "bytes of messages and facts of one agent"),
        ("--max-room-stored-bytes-per-day", "bytes of messages and facts in a room"),
        ("--max-stored-bytes-per-ip-per-day", "the same from an address"),
        ("--max-agent-blob-bytes", "blobs of one agent"),
        ("--max-room-blob-bytes", "blobs of a room"),
        ("--max-uploaded-bytes-per-ip-per-day", "uploads from an address"),
        ("--max-cards-per-ip-per-day", "agents new in the directory from an address"),
    ):
        share = SHARES[flag.strip("-").replace("-", "_")]
        shown = f"{share} with --public or beyond the loopback, else 0"
        add(flag, None, f"{text}; 0 = no limit", shown=shown, **whole)
    add(
        "--max-waiting-bytes",
        None,
        "bytes that wait for all peers together; 0 = no limit",
        shown="a quarter of the memory, at most 512 MiB",
        **whole,
    )
    add(
        "--max-database-bytes",
        None,
        "the database; 0 = what the disk has",
        shown="half of its file system, or a quarter of the memory",
        **whole,
    )
    add("--decoders", 2, "threads that read large frames", type=_count, metavar="N")
    add("--web", None, "link to show on the landing page", metavar="URL")
    add("--metrics-addr", None, "host:port to serve Prometheus /metrics on; no auth")
    add(
        "--log-level",
        "info",
        "how much to log",
        choices=["debug", "info", "warning", "error"],
    )
    add("--log-format", "text", "how log lines look", choices=["text", "json"])
    top.add_argument("--version", action="version", version=f"parler {__version__}")
    return top


def split_address(text: str) -> tuple[str, int]:
    """Read ``host:port``, with an IPv6 host in brackets.

    Raises:
        CannotStart: There is no port, or it is out of range.
    """
    host, separator, port = text.rpartition(":")
    host = host.strip("[]")
    if not (separator and host and port.isascii() and port.isdigit()):
        raise CannotStart(f"--addr {text!r} is not host:port")
    if int(port) > 65_535:
        raise CannotStart(f"--addr {text!r}: there is no port {port}")
    return host, int(port)


def _secret(given: str | None, file: Path | None) -> str | None:
    if given:
        return given
    if file is None:
        return None
    try:
        secret = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        if secret:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise CannotStart(
                    f"{file} can be read by others; run: chmod 600 {file}"
                )
            return secret
        secret = join_secret()
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            os.fchmod(handle, 0o600)  # a blank file may have been there before
            out.write(secret + "\n")
    except (OSError, UnicodeError) as error:
        raise CannotStart(f"cannot use the join secret file {file}: {error}") from None
    return secret


def _header_name(name: str) -> str:
    if name.lower() == "forwarded":  # its values are no addresses, but `for=…`
        raise CannotStart("--client-ip-header takes a header of bare addresses")
    if not _TOKEN.fullmatch(name):
        raise CannotStart(f"--client-ip-header {name!r} is no name of a header")
    return name.lower()


def _origins(text: str | None) -> frozenset[str]:
    origins = frozenset(filter(None, re.split(r"[\s,]+", text or "")))
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise CannotStart(
                f"--allow-origin {origin!r}: an origin is scheme://host or "
                "scheme://host:port, in lower case, as browsers send it"
            )
    return origins


def _whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _blob_budget(folder: Path | None, db: Path | None) -> int:
    disk = disk_bytes(folder or db or Path(tempfile.gettempdir()))
    return min(2**30, disk // 4)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 10**9:
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return number


def _truthy(value: str | None) -> bool:
    return (value or "").strip().lower() not in ("", "0", "false", "no")
