"""A real SMTP server that keeps what it takes, and errs where a test wants it to."""

from __future__ import annotations

import asyncio
import email
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from email import policy
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from holdfast.testing.servers.base import HOST, free_port
from holdfast.testing.servers.programs import program
from holdfast.testing.signals import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from email.message import EmailMessage

    from aiosmtpd.smtp import Envelope, Session

_START_SECONDS = 30.0


class Encryption(StrEnum):
    """What the server offers."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class At(StrEnum):
    """Where in a conversation a fault strikes: in place of what the server does there."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    """The content has come, and is not taken yet."""
    TAKEN = "taken"
    """It is taken, and the client has not been told."""
    NOOP = "noop"
    QUIT = "quit"


_COMMANDS = (At.EHLO, At.STARTTLS, At.AUTH, At.MAIL, At.RCPT, At.DATA, At.NOOP, At.QUIT)


@dataclass(kw_only=True)
class Fault:
    """What goes wrong at one place."""

    at: At
    answer: str | None = None
    """Said there instead: `451 4.7.1 come back later`."""
    drop: bool = False
    """The connection is cut."""
    hang: bool = False
    """Nothing more is said; the connection stays."""
    delay_seconds: float = 0.0
    """It takes longer; then the rest happens, or all goes on as if nothing was."""
    to: str | None = None
    """Only for e-mails to this address, from when it was named."""
    times: int | None = None
    """How many times more it strikes; None: each time."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """An e-mail that the server has taken, with what the client said around it."""

    content: bytes = field(repr=False)
    sender: str
    to: tuple[str, ...]
    options: tuple[str, ...]
    """Of the command MAIL."""
    encrypted: bool
    user: str | None
    """Who had logged in."""
    greeted_as: str
    """What the client called itself."""
    at: float = field(default_factory=time.monotonic)
    """When it was taken, by `time.monotonic`."""
    answered: bool = False
    """Whether the client was told so."""

    @property
    def message(self) -> EmailMessage:
        """The e-mail, read by the standard library."""
        return email.message_from_bytes(self.content, policy=policy.default)

    @property
    def message_id(self) -> str:
        """Its id, without angle brackets."""
        return str(self.message["Message-ID"]).strip().strip("<>")


class Smtp:
    """An SMTP server in a thread of this process, at a port of its own.

    Stopped, it can be started again at the same port, with what it had taken. It may be asked from any
    thread.

    Args:
        encryption: What it offers.
        user: Who may log in, and then has to, in the clear, too.
        password: With what.
        utf8: Whether it takes addresses beyond ASCII.
    """

    name = "smtp"

    def __init__(
        self,
        *,
        encryption: Encryption = Encryption.NONE,
        user: str | None = None,
        password: str = "",
        utf8: bool = True,
    ) -> None:
        self.port = free_port()
        self.encryption = encryption
        self.user = user
        self.password = password
        self.utf8 = utf8
        self.deliveries: list[Delivery] = []
        """Everything that it has taken, repeats, too."""
        self.connections = 0
        """How often it was connected to."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-smtp-"))
        self._open: set[_Conversation] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # --- what it took ---

    @property
    def mails(self) -> dict[str, Delivery]:
        """What it has taken, by message id: of repeats, the first, as mailboxes show them."""
        found: dict[str, Delivery] = {}
        for delivery in tuple(self.deliveries):
            found.setdefault(delivery.message_id, delivery)
        return found

    async def holds(self, count: int) -> dict[str, Delivery]:
        """Return its mails once there are so many.

        Raises:
            AssertionError: They have not come in time.
        """
        await eventually(lambda: len(self.mails) >= count)
        return self.mails

    @property
    def busy(self) -> int:
        """How many connections are open."""
        return len(self._open)

    # --- what goes wrong ---

    def fails(self, at: At, answer: str | None = None, **how: Any) -> Fault:
        """Let something go wrong from now on; see `Fault`."""
        fault = Fault(at=at, answer=answer, **how)
        with self._lock:
            self._faults.append(fault)
        return fault

    def recovers(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._faults.clear()

    def next_fault(self, at: At, to: list[str]) -> Fault | None:
        """Return the fault that strikes here, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.at is at and fault.times != 0 and (fault.to is None or fault.to in to):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    # --- where it is ---

    @property
    def url(self) -> str:
        """Where clients reach it, with who may log in."""
        scheme = "smtps" if self.encryption is Encryption.TLS else "smtp"
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{scheme}://{login}{HOST}:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """What believes its certificate, which is for 127.0.0.1 and for localhost."""
        return ssl.create_default_context(cafile=self._certificate())

    # --- its life ---

    def start(self) -> Self:
        """Start it; returns once it can be connected to."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name=f"smtp-{self.port}", daemon=True
        )
        self._thread.start()
        ready.result(_START_SECONDS)
        return self

    def stop(self) -> None:
        """Cut all connections and take no more; nothing happens when it is down."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_START_SECONDS)

    def close(self) -> None:
        """Stop it, and remove its files."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _serve(self, ready: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            implicit = self._identity() if self.encryption is Encryption.TLS else None
            offered = self._identity() if self.encryption is Encryption.STARTTLS else None
            server = await self._loop.create_server(
                lambda: _Conversation(self, offered), HOST, self.port, ssl=implicit
            )
        except BaseException as error:  # noqa: BLE001 - whoever starts it is told
            ready.set_exception(error)
            return
        ready.set_result(None)
        await self._stopping.wait()
        server.close()
        for conversation in tuple(self._open):
            conversation.cut()
        await server.wait_closed()

    def _identity(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate(), self._folder / "key.pem")
        return context

    def _certificate(self) -> Path:
        """Return its certificate, which is its own authority; made when it is first needed."""
        path = self._folder / "certificate.pem"
        with self._lock:
            if not path.exists():
                _make_certificate(path, self._folder / "key.pem")
        return path

    def keep(self, delivery: Delivery) -> None:
        """Take an e-mail."""
        self.deliveries.append(delivery)

    def joins(self, conversation: _Conversation) -> None:
        """Count a connection; one that becomes encrypted comes twice."""
        if conversation not in self._open:
            self.connections += 1
            self._open.add(conversation)

    def leaves(self, conversation: _Conversation) -> None:
        """Forget a connection."""
        self._open.discard(conversation)


class _Conversation(SMTP):
    """One connection, with the faults of the server."""

    def __init__(self, server: Smtp, offered: ssl.SSLContext | None) -> None:
        self._server = server
        self._to: list[str] = []
        super().__init__(
            _Intake(self),
            hostname="mail.example",
            tls_context=offered,
            enable_SMTPUTF8=server.utf8,
            authenticator=self._recognise,
            auth_require_tls=server.user is None,
            loop=asyncio.get_running_loop(),
        )
        for at in _COMMANDS:
            self._smtp_methods[at.name] = self._failing(at, self._smtp_methods[at.name])

    def cut(self) -> None:
        """Cut the connection at once."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.joins(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.leaves(self)
        super().connection_lost(error)

    async def take(self, session: Session, envelope: Envelope) -> str:
        """Keep an e-mail and return the answer."""
        if answer := await self.struck(At.CONTENT):
            return answer
        delivery = Delivery(
            content=bytes(envelope.original_content or b""),
            sender=envelope.mail_from or "",
            to=tuple(envelope.rcpt_tos),
            options=tuple(envelope.mail_options),
            encrypted=bool(session.ssl) or self._server.encryption is Encryption.TLS,
            user=self._server.user if session.authenticated else None,
            greeted_as=session.host_name or "",
        )
        self._server.keep(delivery)
        answer = await self.struck(At.TAKEN) or "250 2.0.0 taken"
        delivery.answered = answer.startswith("2")
        return answer

    async def struck(self, at: At) -> str | None:
        """Let a fault happen; return what to answer instead, if that is what it is."""
        fault = self._server.next_fault(at, self._to)
        if fault is None:
            return None
        if fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        if fault.drop:
            self.cut()
        if fault.drop or fault.hang:
            try:
                # Until the client is gone: that cancels us.
                await asyncio.Event().wait()
            finally:
                self.cut()
        return fault.answer

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Want a login where one is possible; the library's own option warns of logins in the clear."""
        if self._server.user is None or (self.session and self.session.authenticated):
            return False
        await self.push("530 5.7.0 log in first")
        return True

    def _recognise(self, *said: Any) -> AuthResult:
        login = said[-1]
        known = isinstance(login, LoginPassword) and (login.login, login.password) == (
            (self._server.user or "").encode(),
            self._server.password.encode(),
        )
        return AuthResult(success=known, handled=False, auth_data=login)

    async def _handle_client(self) -> None:
        if answer := await self.struck(At.GREETING):
            await self.push(answer)
            self.cut()
            return
        await super()._handle_client()

    def _failing(self, at: At, command: Callable[[str], Awaitable[None]]) -> Callable[..., Any]:
        """Return a command that faults come before."""

        async def run(argument: str) -> None:
            if at is At.MAIL:
                self._to = []
            if at is At.RCPT:
                self._to.append(argument.partition("<")[2].partition(">")[0])
            if answer := await self.struck(at):
                await self.push(answer)
            else:
                await command(argument)

        return run


class _Intake:
    """What the library hands e-mails to."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return await self._conversation.take(session, envelope)


def _make_certificate(certificate: Path, key: Path) -> None:
    # Signed by itself, and so the authority to be trusted, too.
    subprocess.run(  # noqa: S603 - nothing of it comes from elsewhere
        [
            *(program("openssl"), "req", "-x509", "-noenc", "-days", "2", "-subj", "/CN=mail.example"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", f"subjectAltName=DNS:localhost,IP:{HOST}"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=_START_SECONDS,
    )
