"""A hub for the team on this network: started here, found there, joined with a secret.

The secret is made once and kept for its owner alone. It is never announced, never on a
command line and never in a result; an invite carries it because somebody hands that
over on purpose. What was heard by mDNS is a stranger's word until its hub let us in.
"""

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from parler.errors import ConfigError, UsageError
from parler.identity import join_secrets
from parler.identity.chosen_hub import ANYWHERE, DEFAULT_PORT
from parler.identity.homes import machine_home
from parler.identity.settings import dialled
from parler.local_hub import (
    HubPaths,
    LocalHub,
    Record,
    hub_paths,
    look,
    read_record,
    reconfigure,
)
from parler.machine import files
from parler.text.terminal import visible
from parler.wire.limits import MAX_HELLO_SECRET_BYTES
from parler.wire.urls import leaves_this_network

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

SERVICE = "_parler._tcp.local."
SCHEME = "parler-team"
FIND_SECS = 3.0
MAX_FOUND = 32
"""Hubs that are shown; more than that is somebody's joke."""

PLAIN_WARNING = (
    "the connection is not encrypted: whoever controls this network can read along, "
    "the secret included; on a network you do not trust put TLS before the hub "
    "(docs/local-and-team.md) and hand out its wss:// address"
)
"""To be shown with every invite to a hub without TLS."""

_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 5, 4
_MAX_INVITE_CHARS = 2048
_MAX_NAME_CHARS = 80
_FINGERPRINT = re.compile(r"[0-9a-f]{4}-[0-9a-f]{4}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamHub:
    """A team hub that runs on this machine."""

    url: str
    """For this machine's own agents; it stays when the network changes."""
    lan_urls: tuple[str, ...]
    """For teammates, the likeliest first; empty without a network."""
    fingerprint: str | None
    secret: str = field(repr=False)
    hub: LocalHub


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHub:
    """A hub that announced itself. All of it is what a stranger says."""

    name: str
    url: str
    fingerprint: str | None
    version: str | None
    asks_secret: bool
    is_ours: bool
    """It runs on this machine, under this home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamInvite:
    """What a teammate needs: an address, and the secret if it was handed over."""

    url: str
    secret: str | None = field(default=None, repr=False)

    @property
    def command(self) -> str:
        """The teammate's line. The secret is typed or pasted when it asks for it, so
        that it is in no shell history and no process list."""
        return f"parler connect --join {self.url}"

    @property
    def text(self) -> str:
        """Address and secret in one text, for ``parler connect --join -``, a prompt or
        a QR code. It is a secret itself."""
        parts = urlsplit(self.url)
        address = parts.netloc + parts.path
        secure = "?tls" if parts.scheme == "wss" else ""
        return f"{SCHEME}://{address}{secure}#{quote(self.secret or '', safe='')}"


def start_team_hub(
    base_home: Path,
    *,
    port: int = DEFAULT_PORT,
    name: str | None = None,
    address: str | None = None,
    rotate_secret: bool = False,
) -> TeamHub:
    """Have this machine's hub serve the team; running already, it is kept.

    A hub that so far served this machine alone is restarted with all it stores. The
    secret is remembered for this machine's own agents as well. Takes seconds and
    blocks: on an event loop call it in a thread.

    Args:
        base_home: The settings' base home.
        name: How the hub is called on the network; None keeps what it is.
        address: The address or name that teammates shall dial, where the likeliest
            one is wrong: of another interface, or of a TLS proxy as ``wss://…``.
        rotate_secret: Make a new secret. Teammates have to be invited anew.

    Raises:
        ConnectFailed: The hub does not come up, or its port is taken.
        ConfigError: Its files cannot be written, or the address is none.
    """
    paths = hub_paths(base_home)
    if address is not None:
        _lan_url(address, port)  # before anything is changed
    secret, fresh = _secret(paths, rotate=rotate_secret)
    before = read_record(paths) or Record()
    record = Record(
        addr=f"{ANYWHERE}:{port}",
        team=True,
        name=name or before.name,
        address=address or before.address,
    )
    hub = reconfigure(base_home, record, again=fresh)
    team = _team(paths, record, secret, hub)
    for url in (team.url, *team.lan_urls):
        remember_secret(base_home, url, secret)
    return team


def team_hub(base_home: Path) -> TeamHub | None:
    """The team hub of this machine as it runs now; None if there is none.

    Raises:
        ConfigError: Its files are damaged or readable by others.
    """
    paths = hub_paths(base_home)
    record, seen = read_record(paths), look(paths)
    if record is None or not record.team or seen.url is None:
        return None
    try:
        secret = files.read_private(paths.secret).decode().strip()
    except FileNotFoundError:
        return None
    hub = LocalHub(url=record.url, pid=seen.pid, log=paths.log)
    return _team(paths, record, secret, hub)


def reached_as(base_home: Path, url: str) -> str | None:
    """Where teammates reach the hub that a loopback URL dials, if it is the team's."""
    paths = hub_paths(base_home)
    seen = look(paths)
    if not seen.is_at(url):
        return None
    record = read_record(paths)
    if record is None or not record.team:
        return None
    addresses = [record.address] if record.address else list(seen.lan)
    return _lan_url(addresses[0], record.port) if addresses else None


def team_invite(team: TeamHub) -> TeamInvite:
    """What to hand to a teammate.

    Raises:
        ConfigError: This machine is in no network.
    """
    if not team.lan_urls:
        raise ConfigError(
            "this machine has no address in a private network: there is nowhere a "
            "teammate could reach the hub",
            next_step="join a network, or name the address: "
            "parler connect --team --address HOST",
        )
    return TeamInvite(url=team.lan_urls[0], secret=team.secret)


def parse_team_invite(text: str) -> TeamInvite:
    """Read what a teammate pasted: an invite, its whole line, or a bare address.

    Without a secret in it, the teammate has to be asked for that.

    Raises:
        UsageError: It is none of these.
    """
    words = text[: _MAX_INVITE_CHARS + 1].split()
    if not words or len(text) > _MAX_INVITE_CHARS:
        raise UsageError("this is no invite: paste the line that connect --team shows")
    word = next((one for one in words if one.startswith(f"{SCHEME}:")), words[-1])
    try:
        if word.startswith(f"{SCHEME}:"):
            return _read_invite(word)
        url = dialled(word).removesuffix("/ws")
    except (ValueError, ConfigError):
        raise UsageError(
            "this is no invite: paste the line that connect --team shows"
        ) from None
    return TeamInvite(url=url)


def remember_secret(base_home: Path, url: str, secret: str) -> None:
    """Keep the join secret of a hub for all agents of this user.

    Raises:
        ConfigError: It is empty or too long, or cannot be written.
    """
    path = machine_home(base_home) / join_secrets.FILE_NAME
    join_secrets.JoinSecrets(path).remember(url, secret)


async def find_team_hubs(
    base_home: Path, *, timeout: float = FIND_SECS
) -> list[FoundHub]:
    """Listen for hubs that announce themselves on this network.

    Returns:
        Those heard in time, sorted by name; none also where mDNS does not work.
    """
    from zeroconf import IPVersion, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

    names: dict[str, None] = {}

    def heard(zeroconf: Zeroconf, service_type: str, name: str, **_: object) -> None:
        if len(names) < MAX_FOUND:
            names[name] = None

    try:
        listener = AsyncZeroconf(ip_version=IPVersion.V4Only)
    except OSError:
        return []
    try:
        browser = AsyncServiceBrowser(listener.zeroconf, SERVICE, handlers=[heard])
        await asyncio.sleep(timeout)
        await browser.async_cancel()
        asked = [_resolved(listener, name) for name in list(names)]
        found = [info for info in await asyncio.gather(*asked) if info is not None]
    finally:
        await listener.async_close()
    ours = look(hub_paths(base_home)).fingerprint
    hubs = [hub for info in found for hub in _shown(info, ours)]
    return sorted(hubs, key=lambda hub: (hub.name, hub.url))


def qr_lines(text: str) -> Iterator[str]:
    """A QR code in half blocks, for a terminal with light text on dark."""
    import segno

    matrix = [
        bytes(row) for row in segno.make_qr(text, error="m").matrix_iter(border=2)
    ]
    if len(matrix) % 2:
        matrix.append(bytes(len(matrix[0])))
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    for upper, lower in zip(matrix[::2], matrix[1::2], strict=True):
        yield "".join(
            blocks[bool(one), bool(other)]
            for one, other in zip(upper, lower, strict=True)
        )


def _team(paths: HubPaths, record: Record, secret: str, hub: LocalHub) -> TeamHub:
    seen = look(paths)
    addresses = [record.address] if record.address else list(seen.lan)
    return TeamHub(
        url=record.url,
        lan_urls=tuple(_lan_url(one, record.port) for one in addresses),
        fingerprint=seen.fingerprint,
        secret=secret,
        hub=hub,
    )


def _lan_url(address: str, port: int) -> str:
    """The URL of an address that may have a scheme and a port, or be bare.

    Raises:
        ConfigError: It is none, or would send everything in clear beyond this network.
    """
    bare = address
    if "://" not in address:
        bare = f"[{address}]" if address.count(":") > 1 else address
        if not re.search(r":\d+$", bare):
            bare += f":{port}"
    return join_secrets.require_safe_url(bare, allow_plain=False).removesuffix("/ws")


def _secret(paths: HubPaths, *, rotate: bool) -> tuple[str, bool]:
    """The join secret, and whether it is new."""
    with files.locked(paths.secret):
        if not rotate:
            try:
                kept = files.read_private(paths.secret).decode().strip()
            except (FileNotFoundError, UnicodeDecodeError):
                kept = ""
            if kept:
                return kept, False
        groups = (
            "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))
            for _ in range(_GROUPS)
        )
        fresh = "-".join(groups)
        files.write_private(paths.secret, f"{fresh}\n".encode())
        return fresh, True


def _read_invite(text: str) -> TeamInvite:
    parts = urlsplit(text)
    if "@" in parts.netloc or "\\" in text:  # shows one address and dials another
        raise ValueError("no address of a hub")
    scheme = "wss" if parts.query == "tls" else "ws"
    url = dialled(f"{scheme}://{parts.netloc}{parts.path}").removesuffix("/ws")
    secret = unquote(parts.fragment, errors="strict")
    if len(secret.encode()) > MAX_HELLO_SECRET_BYTES:
        raise ValueError("the secret is too long")
    return TeamInvite(url=url, secret=secret or None)


async def _resolved(listener: "AsyncZeroconf", name: str) -> "AsyncServiceInfo | None":
    from zeroconf import BadTypeInNameException
    from zeroconf.asyncio import AsyncServiceInfo

    try:
        info = AsyncServiceInfo(SERVICE, name)
        known = await info.async_request(listener.zeroconf, FIND_SECS * 1000)
    except (BadTypeInNameException, OSError, ValueError):
        return None
    return info if known else None


def _shown(info: "AsyncServiceInfo", ours: str | None) -> Iterator[FoundHub]:
    url = _announced_url(info)
    if url is None:
        return
    said = info.decoded_properties
    mark = said.get("fp") or ""
    fingerprint = mark if _FINGERPRINT.fullmatch(mark) else None
    name = info.name.removesuffix(f".{SERVICE}")
    version = said.get("version")
    yield FoundHub(
        name=visible(name)[:_MAX_NAME_CHARS],
        url=url,
        fingerprint=fingerprint,
        version=visible(version)[:20] if version else None,
        asks_secret=said.get("auth") != "open",
        is_ours=ours is not None and fingerprint == ours,
    )


def _announced_url(info: "AsyncServiceInfo") -> str | None:
    """An address in a private network; a name or the internet could be anybody's."""
    for address in info.parsed_addresses():
        try:
            one = ipaddress.ip_address(address)
        except ValueError:
            continue
        if one.version != 4 or one.is_loopback or one.is_unspecified:
            continue
        url = f"ws://{address}:{info.port}"
        if info.port and not leaves_this_network(url):
            return url
    return None
