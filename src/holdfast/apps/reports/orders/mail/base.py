"""The seam to what sends e-mail."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final, Protocol

from holdfast.errors import ConfigError
from holdfast.model import RetryPolicy

SCHEDULE: Final = RetryPolicy(
    attempts=10,
    waits_seconds=tuple(
        wait.total_seconds()
        for wait in (
            timedelta(seconds=30),
            # Servers that turn strangers away at first want to see them again after five minutes.
            timedelta(minutes=5),
            timedelta(minutes=15),
            *(timedelta(hours=hours) for hours in (1, 3, 6, 12, 24, 24)),
        )
    ),
    # Each e-mail counts from its own first try: they come no thicker than they did then.
    jitter=False,
)
"""Ten tries within almost three days, for the step that sends an e-mail."""

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """An e-mail, ready to be sent."""

    message_id: str
    """Without angle brackets; the same each time that it is sent, so that repeats are recognised."""
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who e-mails are from, and whom answers reach."""

    name: str
    """As customers see it; may be empty."""
    address: str
    """In ASCII."""

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.address.rpartition("@")[2]

    @property
    def shown(self) -> str:
        """The name, or the address where there is none."""
        return self.name or self.address


class Mailer(Protocol):
    """Sends e-mails; knows who they come from."""

    @property
    def sender(self) -> Sender:
        """Who its e-mails are from."""
        ...

    async def send(self, mail: Mail) -> None:
        """Hand an e-mail over for good; safe to repeat, as far as its `message_id` is recognised.

        Raises:
            MailRefusedError: The server will never take it.
            MailUnavailableError: It may be taken later.
        """
        ...

    async def check(self) -> str:
        """Reach the server without sending anything, and return where e-mails go, for people.

        Raises:
            MailUnavailableError, MailRefusedError: It cannot be reached, or refuses us.
        """
        ...

    async def forget(self, address: str) -> int:
        """Delete what we keep of e-mails to an address, and return how many those were.

        What was handed over to a server is no longer ours to delete.
        """
        ...


def parse_sender(text: str) -> Sender:
    """Read a sender such as `Acme Reports <reports@acme.example>`.

    Raises:
        ConfigError: It is not one address, or one that servers everywhere can read.
    """
    message = EmailMessage()
    # A line break is a ValueError, a missing domain Python's own IndexError: all is told alike.
    with contextlib.suppress(ValueError, IndexError):
        message["From"] = text
    header = message["From"]
    if header and len(header.addresses) == 1 and not header.defects:
        found = header.addresses[0]
        domain = found.domain.lower()
        if found.username and found.username.isascii() and _DOMAIN.fullmatch(domain):
            address = Address(username=found.username, domain=domain).addr_spec
            return Sender(name=found.display_name, address=address)
    raise ConfigError(
        f"HOLDFAST_MAIL_FROM is {text!r}, which is not one address in ASCII",
        hint="write it like 'Acme Reports <reports@acme.example>', an international domain as xn--…",
    )
