"""Hands e-mails to an SMTP server."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

import aiosmtplib

from holdfast.apps.reports.orders.mail.conversation import Conversation, Limits
from holdfast.apps.reports.orders.mail.mime import ascii_address, encode
from holdfast.errors import MailRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.apps.reports.orders.mail.base import Mail, Sender
    from holdfast.apps.reports.orders.mail.server import SmtpServer
    from holdfast.clock import Clock
    from holdfast.errors import HoldfastError

logger = logging.getLogger(__name__)


class SmtpMailer:
    """Sends each e-mail over a connection of its own, which is closed before `send` returns."""

    def __init__(
        self,
        server: SmtpServer,
        sender: Sender,
        clock: Clock,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Prepare to send; nothing is connected to yet.

        Args:
            server: Where to hand e-mails over.
            sender: Who they are from.
            clock: For their date.
            ssl_context: Whose certificates to trust; the machine's choice by default.
            limits: How long the server may take.
        """
        self._server = server
        self._sender = sender
        self._clock = clock
        self._ssl_context = ssl_context
        self._limits = limits or Limits()

    @property
    def sender(self) -> Sender:
        return self._sender

    async def send(self, mail: Mail) -> None:
        """Hand an e-mail over.

        When the server has taken it and its answer is lost, this raises, too, and sending it again
        makes a second one of the same `message_id`: SMTP knows no better.

        Raises:
            MailRefusedError: The server will never take it.
            MailUnavailableError: It may be taken later.
        """
        plain = ascii_address(mail.to)
        content = encode(mail, self._sender, self._clock.now(), to=plain or mail.to, utf8=plain is None)

        async def hand_over(conversation: Conversation) -> None:
            if plain is None and not conversation.offers("smtputf8"):
                raise MailRefusedError(
                    f"mail server {self._server.shown!r} knows no addresses beyond ASCII (SMTPUTF8)",
                    hint="ask the customer for another address, or use a server that does",
                )
            await conversation.hand_over(
                content, sender=self._sender.address, to=plain or mail.to, utf8=plain is None
            )

        await self._converse(hand_over)
        logger.info("e-mail handed over", extra={"message_id": mail.message_id})

    async def check(self) -> str:
        """Connect, encrypt, log in and leave; return where e-mails go.

        Raises:
            MailUnavailableError, MailRefusedError: It cannot be reached, or refuses us.
        """
        await self._converse(Conversation.ask)
        return f"{self._server.shown}, from {self._sender.address}"

    async def forget(self, address: str) -> int:
        return 0

    async def _converse(self, talk: Callable[[Conversation], Awaitable[None]]) -> None:
        conversation = Conversation(self._server, self._limits, await self._trust(), self._sender.domain)
        problem: HoldfastError | None = None
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                await conversation.begin()
                await talk(conversation)
        except (aiosmtplib.SMTPException, OSError, ValueError) as failure:
            problem = conversation.error_of(failure)
            if not isinstance(failure, aiosmtplib.SMTPResponseException):
                conversation.drop()
        except asyncio.CancelledError:
            conversation.drop()
            raise
        finally:
            await conversation.end()
        if problem is not None:
            # Outside of the handler: the library's own error quotes what the server has said.
            raise problem

    async def _trust(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            # In a thread: reading all certificates takes a while.
            self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
        return self._ssl_context
