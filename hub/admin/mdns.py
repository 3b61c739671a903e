"""Telling the local network by mDNS that there is a hub, and where (design 1).

What is said is public to everybody on that network: name, version and a fingerprint to
compare with what the hub's owner sees. The join secret is never said, nor anything made
from it.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from hub.settings import Settings
from parler._version import __version__
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.urls import is_loopback

log = logging.getLogger(__name__)

SERVICE = "_parler._tcp.local."
LOOK_SECS = 15.0
"""How often to see whether this machine moved to another network."""

GOODBYE_SECS = 3.0
_MAX_LABEL_BYTES = 63
_SEED_BYTES = 16
_NO_LAN = re.compile(r"(docker|br-|veth|virbr|vmnet|vbox|cni|flannel|lxc|podman)")
"""Interfaces with private addresses that lead to no other machine."""


def fingerprint(settings: Settings) -> str:
    """Eight digits that tell this hub from others; the same after a restart.

    They prove nothing: whoever hears them can say them. They are for people who see
    two hubs and want the one whose owner sits beside them.
    """
    db = settings.db
    seed = _kept(db.with_name(f"{db.name}.id")) if db else os.urandom(_SEED_BYTES)
    digits = hashlib.sha256(b"parler hub " + seed).hexdigest()[:8]
    return f"{digits[:4]}-{digits[4:]}"


def lan_addresses(host: str) -> list[str]:
    """Where other machines may reach a hub bound to `host`, the likeliest first."""
    if is_loopback(host) or ":" in host:
        return []
    if host != "0.0.0.0":  # noqa: S104 - compared, not bound
        return [host]
    import ifaddr

    found = [
        one.ip
        for adapter in ifaddr.get_adapters()
        if not _NO_LAN.match(adapter.name)
        for one in adapter.ips
        if isinstance(one.ip, str) and _is_lan(one.ip)
    ]
    first = _source_of_default_route()
    return sorted(set(found), key=lambda ip: (ip != first, found.index(ip)))


async def keep_announced(
    settings: Settings, host: str, port: int, found: Callable[[list[str]], None]
) -> None:
    """Announce the hub until cancelled, anew whenever its addresses change.

    Args:
        found: Told the addresses, at first and after each change.
    """
    mark = fingerprint(settings)
    while True:
        addresses = lan_addresses(host)
        found(addresses)
        try:
            async with _announced(settings, addresses, port, mark):
                while lan_addresses(host) == addresses:  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(LOOK_SECS)
        except Exception as error:  # noqa: BLE001 - no odd network may end the hub
            log.warning("the hub cannot be announced by mDNS: %s", error)
            await asyncio.sleep(LOOK_SECS)


@contextlib.asynccontextmanager
async def _announced(
    settings: Settings, addresses: list[str], port: int, mark: str
) -> AsyncIterator[None]:
    if not addresses:
        yield
        return
    from zeroconf import IPVersion, ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

    machine = socket.gethostname().partition(".")[0] or "parler"
    info = ServiceInfo(
        SERVICE,
        f"{_label(f'{settings.name} on {machine}')}.{SERVICE}",
        port=port,
        server=f"parler-{mark}.local.",
        parsed_addresses=addresses,
        properties={
            "v": PROTOCOL_VERSION,
            "version": __version__,
            "fp": mark,
            "auth": "secret" if settings.join_secret else "open",
        },
    )
    speaker = AsyncZeroconf(interfaces=addresses, ip_version=IPVersion.V4Only)
    try:
        await (await speaker.async_register_service(info, allow_name_change=True))
        log.info("announced by mDNS at %s", ", ".join(addresses))
        yield
    finally:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GOODBYE_SECS):
                await speaker.async_unregister_all_services()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GOODBYE_SECS):
                await speaker.async_close()


def _label(text: str) -> str:
    """A name as mDNS takes it: one label of so many bytes, without dots."""
    plain = text.replace(".", " ").encode()[:_MAX_LABEL_BYTES]
    return plain.decode("utf-8", "ignore").strip()


def _kept(path: Path) -> bytes:
    fresh = os.urandom(_SEED_BYTES)
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "r+b") as file:
            kept = file.read(_SEED_BYTES)
            if len(kept) == _SEED_BYTES:
                return kept
            file.seek(0)
            file.write(fresh)
    return fresh


def _is_lan(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.is_private and not (address.is_loopback or address.is_link_local)


def _source_of_default_route() -> str | None:
    """Our address towards the world. Nothing is sent to find it out."""
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return address
    return None
