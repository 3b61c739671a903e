"""The proxy that stands between us and a hub beyond this network, if one is named.

Which one, and for which hosts none, is said by the usual variables or the system.
Only ``wss://`` takes it: what is plain would be read there, and this machine and its
neighbours are nothing a proxy could reach. HTTP proxies are websockets' business, SOCKS
is spoken here: python-socks would be imported at every start that connects.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from parler.wire.urls import leaves_this_network

_VARIABLES = ("wss", "https", "socks", "all")
"""As `urllib.request.getproxies` has them, the nearest first."""

_HTTP = ("http", "https")
_SOCKS = ("socks", "socks5", "socks5h")
_SOCKS_PORT = 1080
_OPEN, _WITH_PASSWORD = 0, 2
_REPLIES = {
    2: "its rules do not let us through to that hub",
    3: "it has no network to reach that hub by",
    4: "it cannot find or reach that hub",
    5: "nothing listens at that hub (connection refused)",
    6: "it could not reach that hub in time",
}


class ProxyRefused(Exception):
    """A proxy that cannot be used, or did not let us through; says why."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and what named it."""

    url: str
    source: str
    """A variable, or the system."""

    @property
    def scheme(self) -> str:
        """What it speaks."""
        return self.url.partition("://")[0].lower()

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS 5."""
        return self.scheme in _SOCKS

    @property
    def host(self) -> str:
        """Where it is."""
        return urlsplit(self.url).hostname or ""

    def __str__(self) -> str:
        """To be read: without the password."""
        address = urlsplit(self.url).netloc.rpartition("@")[2]
        return f"the proxy {self.scheme}://{address} of {self.source}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy that is named for a dial URL, if that takes any."""
    parts = urlsplit(url)
    if parts.scheme != "wss" or not leaves_this_network(url):
        return None
    from urllib.request import getproxies, getproxies_environment, proxy_bypass

    named = getproxies()
    name = next((one for one in _VARIABLES if named.get(one)), None)
    if name is None or proxy_bypass(f"{parts.hostname}:{parts.port or 443}"):
        return None
    scheme, separator, rest = named[name].rpartition("://")
    if not separator or (name == "socks" and scheme == "http"):
        scheme = "socks5h" if name == "socks" else "http"
    is_variable = name in getproxies_environment()
    source = f"{name.upper()}_PROXY" if is_variable else "this system's settings"
    return Proxy(f"{scheme}://{rest}", source)


def check_usable(proxy: Proxy) -> None:
    """Raise `ProxyRefused` for one that is written so that it cannot be used."""
    if proxy.scheme not in (*_HTTP, *_SOCKS):
        raise ProxyRefused("it is none of http://, https:// and socks5h://")
    try:
        parts = urlsplit(proxy.url)
        usable = bool(parts.hostname) and (parts.port or 1) > 0 and proxy.url.isascii()
        unquote(f"{parts.username}{parts.password}", errors="strict")
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment:
        raise ProxyRefused("that is no address of a proxy")
    if not proxy.is_socks and parts.username and parts.password is None:
        raise ProxyRefused("its user has no password")


async def open_through_socks(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A connection to a host by way of a SOCKS 5 proxy, which finds the host.

    Raises:
        ProxyRefused: It did not make it.
        OSError: The proxy itself cannot be reached.
    """
    parts = urlsplit(proxy.url)
    stream = await _dialled(parts.hostname or "", parts.port or _SOCKS_PORT)
    try:
        user = unquote(parts.username or "").encode()
        password = unquote(parts.password or "").encode()
        await _greet(stream, user, password)
        address = _address(host) + port.to_bytes(2)
        await _say(stream, b"\x05\x01\x00" + address)
        _, status, _, kind = await _read(stream, 4)
        if status != 0:
            raise ProxyRefused(
                _REPLIES.get(status, f"it failed (SOCKS error {status})")
            )
        length = {1: 4, 4: 16}.get(kind) or (await _read(stream, 1))[0]
        await _read(stream, length + 2)
    except BaseException:
        stream.close()
        raise
    return stream


async def _greet(stream: socket.socket, user: bytes, password: bytes) -> None:
    methods = bytes([_OPEN, _WITH_PASSWORD] if user else [_OPEN])
    await _say(stream, bytes([5, len(methods)]) + methods)
    version, method = await _read(stream, 2)
    if version != 5:
        raise ProxyRefused("what listens there does not speak SOCKS 5")
    if method not in methods:
        raise ProxyRefused("it wants a user and a password")
    if method == _WITH_PASSWORD:
        if max(len(user), len(password)) > 255:
            raise ProxyRefused("its user or password is too long for SOCKS")
        await _say(
            stream,
            bytes([1, len(user)]) + user + bytes([len(password)]) + password,
        )
        _, status = await _read(stream, 2)
        if status != 0:
            raise ProxyRefused("it does not take its user and password")


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return bytes([3, len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


async def _dialled(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        stream = socket.socket(family, kind, protocol)
        stream.setblocking(False)
        try:
            await loop.sock_connect(stream, address)
        except BaseException as error:
            stream.close()
            if not isinstance(error, OSError):
                raise
            failed = error
        else:
            return stream
    raise failed or OSError(f"{host} has no address")


async def _say(stream: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(stream, data)


async def _read(stream: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count:
        piece = await loop.sock_recv(stream, count - len(data))
        if not piece:
            raise ProxyRefused("it closed the connection")
        data += piece
    return data
