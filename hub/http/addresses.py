"""Who asks, and under which address this hub is known to them (protocol 11, 12.2)."""

import ipaddress
import re
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any

_IPV6_NETWORK = 64
"""What one household or server is given: limits per address count these as one."""

_CARRIER = ipaddress.ip_network("100.64.0.0/10")
"""Private networks laid over others use these; they are behind somebody's door too."""

HOST = re.compile(
    r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?"
)
_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]*)\](?::\d+)?")
"""Some proxies write the port of the client too."""

_LOCAL = ("localhost", "0.0.0.0", "127.", "[::")  # noqa: S104  (a prefix, no bind)


def peer_address(scope: MutableMapping[str, Any], *, header: str | None) -> str | None:
    """The address that limits count a request under; None if it is not known.

    IPv6 addresses count by their /64.

    Args:
        header: The one in which a proxy says who asks, in lower case. Its last value
            counts, since whatever stands before it was written by the client (protocol
            13.17); where that is no address, it is the proxy itself that asks.
    """
    if header is not None:
        seen = _as_key(_header(scope, header.encode()).rpartition(",")[2])
        if seen is not None:
            return seen
    client = scope.get("client")
    return _as_known_key(client[0]) if client else None


def is_near(client: tuple[str, int] | None) -> bool:
    """Whether a socket's peer is this machine or one of its private networks."""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0]) if client else None
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address is None:
        return False
    return address.is_private or address.is_link_local or address in _CARRIER


def base_url(scope: MutableMapping[str, Any], public_url: str) -> str:
    """Under which http(s) URL the one who asks reached this hub (protocol 11)."""
    host = _header(scope, b"host")
    if not HOST.fullmatch(host):
        return http_url(public_url)
    proto = _header(scope, b"x-forwarded-proto").partition(",")[0].strip().lower()
    if proto not in ("http", "https"):
        proto = "http" if host.lower().startswith(_LOCAL) else "https"
    return f"{proto}://{host}"


def http_url(public_url: str) -> str:
    """A hub's public URL for somebody who does not speak WebSocket."""
    scheme, separator, rest = public_url.partition("://")
    if not separator:
        scheme, rest = "", public_url
    secure = scheme.lower() in ("https", "wss")
    return f"{'https' if secure else 'http'}://{rest.rstrip('/').removesuffix('/ws')}"


def _header(scope: MutableMapping[str, Any], wanted: bytes) -> str:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    found = [value for name, value in headers if name.lower() == wanted]
    return found[-1].decode("latin-1").strip() if found else ""


def _as_key(text: str) -> str | None:
    with_port = _PORT.fullmatch(text.strip())
    bare = (with_port[1] or with_port[2]) if with_port else text.strip()
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))


# An agent dials again and again. What a client wrote is not kept: it may be long.
_as_known_key = lru_cache(maxsize=1024)(_as_key)
