"""Which web pages may ask, and under which names the hub answers.

A browser lets any page send requests to any address, the loopback of its user included.
Two headers that a page cannot write tell it apart: `Origin`, who sends, and `Host`,
under which name. A hub on the loopback answers only to names of the loopback, since a
page can rebind its own name to it and is then of one origin with it.
"""

import ipaddress
import socket
from collections.abc import Iterable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response

from hub.http.addresses import HOST
from hub.http.answers import text
from parler.wire.urls import InvalidHubUrl, dial_url, is_loopback

Headers = list[tuple[bytes, bytes]]

VARY = "origin, access-control-request-method, access-control-request-headers"
ANY_ORIGIN = "*"

_PRIVATE = "/api/session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"https": 443, "http": 80}


class OriginPolicy:
    """What holds for the requests of browsers on one port."""

    def __init__(
        self,
        *,
        host: str,
        url: str | None = None,
        public: bool = False,
        allowed: Iterable[str] = (),
    ) -> None:
        """Take where the port is bound, and what its operator says of the hub.

        Args:
            url: The hub's own URL. Its host is a name to answer to, and if it is
                encrypted, its origin may ask.
            public: Whether any page may read what needs no token.
            allowed: Further origins that may ask everything, or `ANY_ORIGIN`.
        """
        self._any = ANY_ORIGIN in allowed
        self._origins = frozenset(allowed) | _origin_of(url)
        self._names = _names_of(url)
        self._on_loopback = is_loopback(host)
        self._public = public

    def refusal(self, scope: MutableMapping[str, Any]) -> Response | None:
        """The answer to a request that may not come so; None if it may."""
        hosts = _values(scope, b"host")
        if len(hosts) > 1:
            return text("more than one Host", status=HTTPStatus.BAD_REQUEST)
        # Without a Host it is no browser's.
        if self._on_loopback and hosts and not self._answers_to(hosts[0]):
            return text(
                "this hub does not answer to that name; its operator names it by --url",
                status=HTTPStatus.MISDIRECTED_REQUEST,
            )
        if self._is_foreign(scope) and not self._is_open(scope):
            return text(
                "pages of that origin may not ask this; its operator allows them by "
                "--allow-origin",
                status=HTTPStatus.FORBIDDEN,
            )
        return None

    def headers(self, scope: MutableMapping[str, Any]) -> Headers:
        """What an answer tells the browser about who may read it (CORS)."""
        headers = [(b"vary", VARY.encode()), (b"x-content-type-options", b"nosniff")]
        if self._any or self._is_open(scope):
            readers = b"*"
        else:
            origins = _values(scope, b"origin")
            if self._is_foreign(scope) or not origins:
                return [*headers, (b"cross-origin-resource-policy", b"same-origin")]
            readers = origins[0].encode("latin-1")
        return [*headers, (b"access-control-allow-origin", readers)]

    def _answers_to(self, host: str) -> bool:
        if not HOST.fullmatch(host):
            return False
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        name = name.lower().removesuffix(".")
        return name in self._names or is_loopback_name(name)

    def _is_foreign(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether a page sends this whose origin was not allowed."""
        if self._any:
            return False
        origins = _values(scope, b"origin")
        if origins:
            return len(origins) > 1 or origins[0] not in self._origins
        # What needs no permission to be sent comes without an origin. To follow a link
        # is fine: the page it was on learns nothing.
        sites = _values(scope, b"sec-fetch-site")
        return not (
            {*sites} <= {"none", "same-origin"}
            or (
                scope.get("method") in ("GET", "HEAD")
                and _values(scope, b"sec-fetch-mode") == ["navigate"]
                and _values(scope, b"sec-fetch-dest") == ["document"]
            )
        )

    def _is_open(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether any page may ask this and read the answer."""
        return (
            self._public
            and scope["type"] == "http"
            and scope["method"] in _SAFE
            and not scope["path"].startswith(_PRIVATE)
            and not _values(scope, b"authorization")
        )


def is_loopback_name(name: str) -> bool:
    """Whether a name can only mean this machine, in any spelling of an address.

    Args:
        name: In lower case, with IPv6 in brackets; no port.
    """
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 6.3
        return True
    try:
        if name.startswith("["):
            address = ipaddress.IPv6Address(name[1:-1])
            return address.is_loopback or bool(
                address.ipv4_mapped and address.ipv4_mapped.is_loopback
            )
        return socket.inet_aton(name)[0] == 127  # also 127.1, 0x7f.1, 2130706433
    except (OSError, ValueError):
        return False


def _names_of(url: str | None) -> frozenset[str]:
    host = _host_of(url)
    return frozenset({host.removesuffix(".")} if host else ())


def _origin_of(url: str | None) -> frozenset[str]:
    """The origin of an encrypted URL, as browsers write it (RFC 6454 6.2)."""
    host = _host_of(url)
    if url is None or not host or not dial_url(url).startswith("wss://"):
        return frozenset()
    port = urlsplit(dial_url(url)).port
    shown = "" if port in (None, _DEFAULT_PORTS["https"]) else f":{port}"
    return frozenset({f"https://{host}{shown}"})


def _host_of(url: str | None) -> str | None:
    """The host of a hub's URL as a browser writes it."""
    try:
        host = urlsplit(dial_url(url or "")).hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
    except (InvalidHubUrl, UnicodeError):
        return None
    return f"[{host}]" if ":" in host else host


def _values(scope: MutableMapping[str, Any], wanted: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [
        value.decode("latin-1").strip()
        for name, value in headers
        if name.lower() == wanted
    ]
