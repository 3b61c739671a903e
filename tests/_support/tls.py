"""TLS in front of a hub, as a reverse proxy has it, with a certificate of its own."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


def self_made(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a hub")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ipaddress.ip_address(HOST))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


class Front:
    """The proxy: it can let go of all that are connected, and refuse further ones."""

    def __init__(self) -> None:
        self.behind = ""
        """The hub's own URL, once it runs."""

        self.port = 0
        self.open = True
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where the hub is reached from outside."""
        return f"wss://{HOST}:{self.port}"

    async def cut(self) -> None:
        """Let go of all, and of whoever comes until `open` is set again."""
        self.open = False
        for one in [*self._writers]:
            one.transport.abort()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection."""
        if not self.open:
            writer.transport.abort()
            return
        place = urlsplit(self.behind)
        there, back = await asyncio.open_connection(place.hostname, place.port)
        own = {writer, back}
        self._writers |= own
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_carry(reader, back))
                tasks.create_task(_carry(there, writer))
        finally:
            self._writers -= own
            for one in own:
                one.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


@asynccontextmanager
async def tls_front(certificate: Path, key: Path) -> AsyncIterator[Front]:
    """A proxy that listens, before there is a hub behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    front = Front()
    server = await asyncio.start_server(front.serve, HOST, 0, ssl=context)
    front.port = server.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        await front.cut()
        server.close()
