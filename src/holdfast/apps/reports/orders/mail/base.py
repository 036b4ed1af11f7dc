"""The seam to what sends e-mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """An e-mail, ready to be sent."""

    message_id: str
    """Without angle brackets; the same each time that it is sent, so that repeats are recognised."""
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


class Mailer(Protocol):
    """Sends e-mails; knows who they come from."""

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
