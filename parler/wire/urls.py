"""From what somebody typed for a hub to what is dialled (protocol 1.1)."""

import ipaddress
from urllib.parse import urlsplit

_WEBSOCKET_SCHEMES = {
    "wss": "wss",
    "https": "wss",
    "ws": "ws",
    "http": "ws",
    "parler": "ws",
}


class InvalidHubUrl(ValueError):
    """A text that names no hub; says why."""


def dial_url(typed: str) -> str:
    """The WebSocket URL behind a hub URL in any of its spellings.

    Raises:
        InvalidHubUrl: An unknown scheme, or no host in it.
    """
    text = typed.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "ws", text
    websocket = _WEBSOCKET_SCHEMES.get(scheme.lower())
    if websocket is None:
        raise InvalidHubUrl(
            f"{typed!r}: unknown scheme {scheme!r}; use wss://, ws:// or parler://"
        )
    rest = rest.rstrip("/")
    if not rest.endswith("/ws"):
        rest += "/ws"
    url = f"{websocket}://{rest}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() or ord(char) < 32 for char in url):
        raise InvalidHubUrl(f"{typed!r} names no host to dial")
    return url


def hub_url(typed: str) -> str:
    """A hub's address in the one spelling that is shown and kept: ``wss://host``.

    Raises:
        InvalidHubUrl: It names no hub.
    """
    scheme, _, rest = dial_url(typed).removesuffix("/ws").partition("://")
    authority, slash, path = rest.partition("/")
    usual = ":443" if scheme == "wss" else ":80"
    return f"{scheme}://{authority.lower().removesuffix(usual)}{slash}{path}"


def same_hub(one: str, other: str) -> bool:
    """Whether two spellings name one hub: scheme, slash and case aside (4.7)."""
    return _comparable(one) == _comparable(other)


def leaves_this_network(url: str) -> bool:
    """Whether a dialled host is beyond private addresses, as far as its name tells.

    A name that is neither ``localhost`` nor ends in ``.local`` counts as beyond.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local")):
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return not (address.is_private or address.is_loopback or address.is_link_local)


def is_loopback(host: str) -> bool:
    """Whether a bind or dial host is this machine alone (protocol 12.1)."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:
        return False


def _comparable(url: str) -> str:
    text = url.strip().lower().partition("://")
    return (text[2] or text[0]).rstrip("/").removesuffix("/ws").rstrip("/")
