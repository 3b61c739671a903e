"""Proxies between us and a hub: real ones on the loopback, and a hub with TLS."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve

from parler.client.proxy import proxy_for
from parler.client.transport import dial_websocket
from parler.errors import ConnectFailed
from tests._support.transports import WAIT

HOST = "hub.example"
"""Nobody but the proxies below knows where it is."""

HUB = f"wss://{HOST}/ws"
REFUSING = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no", "wss", "socks"):
        for one in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(one, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        *("ws://127.0.0.1:7070/ws", "wss://127.0.0.1/ws", "wss://localhost/ws"),
        *("wss://[::1]/ws", "wss://192.168.1.7/ws", "wss://10.0.0.2:7070/ws"),
        *("wss://desk.local/ws", "ws://hub.example/ws", "wss://172.20.1.1/ws"),
    ],
)
def test_what_is_plain_or_near_takes_no_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WSS_PROXY"):
        monkeypatch.setenv(name, f"http://{REFUSING}")
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HTTP_PROXY": "http://p:1"}, None),  # as for curl: that is for http://
        ({"https_proxy": "http://p:1"}, "the proxy http://p:1 of HTTPS_PROXY"),
        ({"HTTPS_PROXY": "p:1"}, "the proxy http://p:1 of HTTPS_PROXY"),
        ({"ALL_PROXY": "socks://p:1"}, "the proxy socks://p:1 of ALL_PROXY"),
        ({"SOCKS_PROXY": "p:1"}, "the proxy socks5h://p:1 of SOCKS_PROXY"),
        (
            {"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://u:secret@p:1"},
            "the proxy http://p:1 of HTTPS_PROXY",
        ),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x, .example"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_a_hub_beyond_takes_the_proxy_that_the_variables_name(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_for(HUB)
    assert (str(proxy) if proxy else None) == expected


@pytest.mark.parametrize(
    "proxy", ["http://{}", "socks5h://{}", "socks5h://ann:s%40crt@{}", "socks://{}"]
)
async def test_hub_is_reached_through_a_proxy_that_finds_it(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _tls_hub(tmp_path, monkeypatch) as port, _proxy(port) as address:
        monkeypatch.setenv("ALL_PROXY", proxy.format(address))
        async with asyncio.timeout(WAIT):
            transport = await dial_websocket(HUB)
            assert await transport.receive() == "hello"
            await transport.close()


@pytest.mark.parametrize("proxy", ["http://ann:wrong@{}", "socks5h://ann:wrong@{}"])
async def test_refusing_proxy_is_named_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _proxy(None) as address:
        monkeypatch.setenv("HTTPS_PROXY", proxy.format(address))
        failed = await _failure()
    scheme = proxy.partition("://")[0]
    assert failed.reason.startswith(f"the proxy {scheme}://{address} of HTTPS_PROXY: ")
    assert "user and password" in failed.reason
    assert "wrong" not in failed.message
    assert failed.next_step == f"mend HTTPS_PROXY, or name {HOST} in NO_PROXY"


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (f"http://{REFUSING}", "nothing listens there"),
        (f"socks5h://{REFUSING}", "nothing listens there"),
        ("http://nowhere.invalid:1", "nowhere.invalid cannot be resolved"),
        ("socks5h://nowhere.invalid", "nowhere.invalid cannot be resolved"),
        ("socks4://p:1", "none of http://, https:// and socks5h://"),
        ("http://p:port", "no address of a proxy"),
        ("http://%ff:x@p:1", "no address of a proxy"),
        ("http://p:1/path", "no address of a proxy"),
        ("http://ann@p:1", "its user has no password"),
    ],
)
async def test_a_proxy_that_is_no_use_is_named(
    proxy: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    failed = await _failure()
    assert "of HTTPS_PROXY: " in failed.reason
    assert why in failed.reason


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b""])
async def test_what_is_no_proxy_is_said_to_be_none(
    scheme: str, banner: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(banner)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{port}")
        failed = await _failure()
    assert f"the proxy {scheme}://127.0.0.1:{port} of HTTPS_PROXY" in failed.reason


async def test_fault_behind_a_proxy_is_told_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _tls_hub(tmp_path, monkeypatch) as port, _proxy(port) as address:
        monkeypatch.delenv("SSL_CERT_FILE")  # its certificate is nobody's we know
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        failed = await _failure()
    assert failed.reason.startswith("its TLS certificate is not valid")
    assert failed.reason.endswith(
        f"by way of the proxy http://{address} of HTTPS_PROXY"
    )


async def _failure() -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        async with asyncio.timeout(WAIT):
            await dial_websocket(HUB)
    return caught.value


@asynccontextmanager
async def _tls_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A WebSocket server with a certificate for `HOST` that we trust; its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    trusted, whole = folder / "trusted.pem", folder / "whole.pem"
    trusted.write_bytes(certificate)
    whole.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(whole)

    async def greet(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()

    async with serve(greet, "127.0.0.1", 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def _proxy(port: int | None) -> AsyncIterator[str]:
    """An HTTP and SOCKS 5 proxy that knows where `HOST` is; its address.

    Without a port it refuses whoever comes. Of a user it wants the password ``s@crt``.
    """

    async def serve_one(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first = await reader.readexactly(1)
        speak = _socks if first == b"\x05" else _http
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            if await speak(reader, writer, refuses=port is None):
                there = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _http(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, refuses: bool
) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith(f"ONNECT {HOST}:443 HTTP/1.1\r\n")
    status = "407 Authenticate" if refuses else "200 Through"
    writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
    return not refuses


async def _socks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, refuses: bool
) -> bool:
    methods = await reader.readexactly((await reader.readexactly(1))[0])
    method = max(methods)
    writer.write(bytes([5, method]))
    if method == 2:
        assert await reader.readexactly(5) == b"\x01\x03ann"
        password = await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(bytes([1, password != b"s@crt"]))
        if password != b"s@crt":
            return False
    name = HOST.encode()
    asked = b"\x05\x01\x00\x03" + bytes([len(name)]) + name + (443).to_bytes(2)
    assert await reader.readexactly(len(asked)) == asked
    # Where it dials from may be written as a name too.
    writer.write(b"\x05\x00\x00\x03\x04here\x00\x01")
    return not refuses


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
