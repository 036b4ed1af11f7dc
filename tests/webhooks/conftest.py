"""A receiver on loopback with a certificate for `shop.example`, and a sender that finds it there."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.clock import Clock, SystemClock
from holdfast.testing.signals import Mark
from holdfast.webhooks.sending import Sender

HOST = "shop.example"
LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with this status."""

    async def behave(_: Received, writer: asyncio.StreamWriter) -> None:
        told = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{told}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return behave


class Receiver:
    """A real server that keeps what it received and answers as the test wants."""

    def __init__(self) -> None:
        self.received = Mark()
        self.names: list[str | None] = []
        """Server names that clients asked for by TLS."""
        self.behaviours: list[Behaviour] = []
        """One for each request in turn; then 200."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/hooks?from=holdfast"

    @property
    def requests(self) -> list[Received]:
        return self.received.values

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that gives up in the middle is part of the game.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                await self._answer(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.strip().split("\r\n")
        split = (each.partition(":") for each in fields)
        headers = {name.lower(): value.strip() for name, _, value in split}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Received(line, headers, body)
        behave = self.behaviours.pop(0) if self.behaviours else answer()
        self.received.hit(request)
        await behave(request, writer)


@dataclass(frozen=True)
class Authority:
    """An authority of the test's own and the certificate it gave."""

    ca: Path
    certificate: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    now = datetime.now(UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Holdfast tests"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = (
        builder("Holdfast tests", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        builder(HOST, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(private + leaf.public_bytes(pem))
    return Authority(folder / "ca.pem", folder / "server.pem")


@pytest.fixture
async def receiver(authority: Authority) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate)
    context.sni_callback = lambda _socket, name, _context: receiver.names.append(name)
    async with serving(receiver, context):
        yield receiver


@contextlib.asynccontextmanager
async def serving(receiver: Receiver, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve on a free port of loopback, and end every connection at the end."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context, limit=2**20)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)


class Names:
    """A name server of the test's own, which keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.addresses: list[list[str]] = []
        """One list for each question in turn; then loopback."""

    def __call__(self, host: str, port: int):
        self.asked.append((host, port))
        found = self.addresses.pop(0) if self.addresses else ["127.0.0.1"]
        return [ip_address(each) for each in found]


@pytest.fixture
def names() -> Names:
    return Names()


MakeSender = Callable[..., Sender]


@pytest.fixture
def make_sender(authority: Authority, names: Names):
    """Make senders that trust the test's authority and may post to loopback."""
    made: list[Sender] = []

    def make(clock: Clock | None = None, **options) -> Sender:
        context = ssl.create_default_context(cafile=authority.ca)
        given: dict[str, Any] = {
            "networks": LOOPBACK,
            "resolve": names,
            "ssl_context": context,
        } | options
        made.append(Sender(clock or SystemClock(), **given))
        return made[-1]

    yield make
    for sender in made:
        sender.close()
