"""One conversation with an SMTP server, and what becomes of it when it goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import aiosmtplib

from holdfast.apps.reports.orders.mail.server import Encryption
from holdfast.errors import MailRefusedError, MailUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.apps.reports.orders.mail.server import SmtpServer
    from holdfast.errors import HoldfastError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a server may take."""

    connect_seconds: float = 15.0
    """To be reached and greet; and for the encryption."""
    command_seconds: float = 30.0
    """To answer a command."""
    content_seconds: float = 120.0
    """To take an e-mail's content: it may look for spam in it before it answers."""
    farewell_seconds: float = 5.0
    """To answer our goodbye, which changes nothing any more."""
    total_seconds: float = 180.0
    """For all but the goodbye, however slowly it goes on."""


class Phase(StrEnum):
    """Where a conversation is; the value completes 'while'."""

    CONNECTING = "connecting"
    ENCRYPTING = "agreeing on encryption"
    LOGGING_IN = "logging in"
    SENDER = "naming the sender"
    RECIPIENT = "naming the recipient"
    CONTENT = "handing over the content"
    ASKING = "asking whether it is there"


_REFUSED = {
    Phase.LOGGING_IN: ("our login", "check user and password in HOLDFAST_SMTP_URL"),
    Phase.SENDER: (
        "our sender",
        "set HOLDFAST_MAIL_FROM to an address that it lets this user send from",
    ),
    Phase.RECIPIENT: ("the recipient", "ask the customer for another address"),
    Phase.CONTENT: ("the content", "its log, or whoever runs it, can say why"),
}
"""What a no means in a phase, and what to do."""

_FINAL = (Phase.RECIPIENT, Phase.CONTENT)
"""Where a final no is about the e-mail. Elsewhere it is about us, and over once that is mended."""

_ENHANCED_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
"""Of RFC 3463, at the start of an answer; the text after it may quote anything."""


class Conversation:
    """A connection to a server, from greeting to goodbye."""

    def __init__(self, server: SmtpServer, limits: Limits, trust: ssl.SSLContext, name: str) -> None:
        """Prepare it.

        Args:
            server: Whom to speak to.
            limits: How long it may take.
            trust: Whose certificates are believed.
            name: What to introduce ourselves as: a domain.
        """
        self._server = server
        self._limits = limits
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.encryption is Encryption.TLS,
            start_tls=False,
            tls_context=trust,
            local_hostname=name,
            # Times are ours to keep: before Python 3.12, its way may swallow a cancellation.
            timeout=None,
        )
        self._phase = Phase.CONNECTING

    async def begin(self) -> None:
        """Connect, encrypt and log in."""
        async with self._within(self._limits.connect_seconds, Phase.CONNECTING):
            await self._client.connect()
        async with self._within(self._limits.command_seconds, Phase.CONNECTING):
            await self._client.ehlo()
        if self._server.encryption is Encryption.STARTTLS and self.offers("starttls"):
            async with self._within(self._limits.connect_seconds, Phase.ENCRYPTING):
                await self._client.starttls()
                await self._client.ehlo()
        if self._server.user is not None and self._server.password is not None:
            async with self._within(self._limits.command_seconds, Phase.LOGGING_IN):
                await self._log_in(self._server.user, self._server.password)

    def offers(self, extension: str) -> bool:
        """Whether the server has said that it knows an extension."""
        return self._client.supports_extension(extension)

    async def ask(self) -> None:
        """Have it answer something."""
        async with self._within(self._limits.command_seconds, Phase.ASKING):
            await self._client.noop()

    async def hand_over(self, content: bytes, *, sender: str, to: str, utf8: bool) -> None:
        """Have it take an e-mail; once this has returned, delivering it is the server's task."""
        options = ["SMTPUTF8"] if utf8 else []
        async with self._within(self._limits.command_seconds, Phase.SENDER):
            await self._client.mail(sender, options=options, encoding="utf-8")
        async with self._within(self._limits.command_seconds, Phase.RECIPIENT):
            await self._client.rcpt(to, encoding="utf-8")
        async with self._within(self._limits.content_seconds, Phase.CONTENT):
            await self._client.data(content)

    async def end(self) -> None:
        """Say goodbye if there is still somebody to hear it, and let go of the connection."""
        transport = self._client.transport
        try:
            # Whatever the server has promised, it has promised: how it takes our leave changes nothing.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                if self._client.is_connected:
                    async with asyncio.timeout(self._limits.farewell_seconds):
                        await self._client.quit()
        finally:
            self._let_go(transport)

    def drop(self) -> None:
        """Let go of the connection at once."""
        self._let_go(self._client.transport)

    def error_of(self, failure: BaseException) -> HoldfastError:
        """Return what a failure of this conversation means, without anything that the server has said.

        Servers quote addresses and content in their answers.
        """
        if isinstance(failure, aiosmtplib.SMTPResponseException):
            return self._answered(failure.code, failure.message)
        host = self._server.shown
        cause = _root_of(failure)
        if isinstance(cause, ssl.SSLError):
            return self._not_encrypted(cause)
        if isinstance(failure, TimeoutError):
            return MailUnavailableError(
                f"mail server {host!r} did not answer in time while {self._phase}"
            )
        if isinstance(failure, ValueError) and self._phase is Phase.RECIPIENT:
            # The library knows it without asking, and quotes the address.
            return MailRefusedError(
                "the address of an e-mail cannot be said to a server", hint=_REFUSED[self._phase][1]
            )
        if self._phase is Phase.CONNECTING:
            reason = getattr(cause, "strerror", None) or type(cause).__name__
            return MailUnavailableError(f"mail server {host!r} cannot be reached: {reason}")
        return MailUnavailableError(f"mail server {host!r} broke off while {self._phase}")

    async def _log_in(self, user: str, password: str) -> None:
        encrypted = self._client.get_transport_info("sslcontext") is not None
        if not (encrypted or self._server.nearby):
            raise MailUnavailableError(
                f"mail server {self._server.shown!r} offers no encryption, and a password is not sent"
                " in the clear",
                hint="use smtps://, or a port at which it offers STARTTLS",
            )
        if not self._client.supported_auth_methods:
            raise MailUnavailableError(
                f"mail server {self._server.shown!r} offers no way to log in that we know",
                hint="leave user and password out of HOLDFAST_SMTP_URL if it needs none",
            )
        await self._client.login(user, password)

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float, phase: Phase) -> AsyncIterator[None]:
        self._phase = phase
        async with asyncio.timeout(seconds):
            yield

    def _let_go(self, transport: asyncio.BaseTransport | None) -> None:
        self._client.close()
        if isinstance(transport, asyncio.WriteTransport):
            # Closing alone waits for a server that may say nothing any more.
            transport.abort()

    def _answered(self, code: int, text: str) -> HoldfastError:
        found = _ENHANCED_STATUS.match(text)
        status = f"{code} {found[0]}" if found else str(code)
        host = self._server.shown
        if 500 <= code < 600 and self._phase in _REFUSED:
            what, hint = _REFUSED[self._phase]
            refused = MailRefusedError if self._phase in _FINAL else MailUnavailableError
            return refused(f"mail server {host!r} refused {what} with {status}", hint=hint)
        if not 200 <= code < 600:
            return MailUnavailableError(
                f"mail server {host!r} gave no answer of SMTP while {self._phase}"
            )
        return MailUnavailableError(f"mail server {host!r} answered {status} while {self._phase}")

    def _not_encrypted(self, cause: ssl.SSLError) -> HoldfastError:
        reason = cause.reason or type(cause).__name__
        hint = ""
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"its certificate is not accepted, {cause.verify_message}"
            hint = "name it as its certificate does; SSL_CERT_FILE may name an authority of your own"
            if self._server.nearby and self._server.encryption is Encryption.STARTTLS:
                hint += "; on this machine, ?starttls=no does without"
        host = self._server.shown
        return MailUnavailableError(
            f"mail server {host!r} cannot be spoken to by TLS: {reason}", hint=hint
        )


def _root_of(failure: BaseException) -> BaseException:
    """Return what a failure came from: the library wraps what the system has told."""
    seen = failure
    while seen.__cause__ is not None and seen.__cause__ is not seen:
        seen = seen.__cause__
    return seen
