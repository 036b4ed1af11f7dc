"""An e-mail in the form in which it travels."""

from __future__ import annotations

import unicodedata
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final

from email_validator import EmailNotValidError, validate_email

from holdfast.errors import MailRefusedError

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.apps.reports.orders.mail.base import Mail, Sender

_ASCII_MAX: Final = 900
"""Of a line, which may have 998 characters with the name of its header."""


def encode(mail: Mail, sender: Sender, at: datetime, *, to: str, utf8: bool = False) -> bytes:
    """Return an e-mail as bytes that any server can pass on.

    Args:
        mail: What to send.
        sender: Who it is from.
        at: When it is sent.
        to: The customer's address, in the form that the server understands.
        utf8: Whether headers may be written as they are, which servers without SMTPUTF8 do not pass on.

    Raises:
        MailRefusedError: A header would hold a line break, or the address is none.
    """
    # Seven bits in the body, whatever is in it: the next server on the way may know no more.
    chosen = policy.SMTPUTF8 if utf8 else policy.SMTP
    message = EmailMessage(policy=chosen.clone(cte_type="7bit", refold_source="none"))
    try:
        message["Message-ID"] = f"<{mail.message_id}>"
        message["Date"] = at
        message.set_raw("From", f"{_phrase(sender.name)} <{sender.address}>".lstrip())
        message["To"] = _address(to)
        message.set_raw("Subject", _encoded(mail.subject))
    except ValueError:
        refused = True
    else:
        refused = False
    if refused:
        # Outside of the handler: that error quotes the header.
        raise MailRefusedError(
            f"e-mail {mail.message_id!r} cannot be written: a header holds what headers must not",
            hint="look for line breaks in the order's name, and at its address",
        )
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    # Its own choice would be a random one. No line of quoted-printable holds "=_".
    message.set_boundary(f"=_{mail.message_id.partition('@')[0]}")
    return message.as_bytes()


def _encoded(text: str) -> str:
    """Return a header's text in encoded words where it needs them, in lines; RFC 2047.

    The newer classes of the standard library lose spaces between encoded words.
    """
    if not text.isprintable() and any(unicodedata.category(each) == "Cc" for each in text):
        raise ValueError(text)
    if text.isascii() and "=?" not in text and len(text) < _ASCII_MAX:
        return text
    return Header(text, "utf-8", header_name="Subject").encode()


def _phrase(name: str) -> str:
    """Return the name of somebody as it may stand before an address."""
    if name.isascii() and "=?" not in name:
        return str(Address(name)).removesuffix(" <>") if name else ""
    return _encoded(name)


def _address(address: str) -> Address:
    local, _, domain = address.rpartition("@")
    if not (local and domain):
        raise ValueError(address)
    if address.isascii():
        return Address(addr_spec=address)
    # What stands before the @ is quoted already where it has to be, or else needs no quotes.
    return Address("", local, domain)


def ascii_address(address: str) -> str | None:
    """Return an address as every server understands it; None where only SMTPUTF8 can say it.

    Raises:
        MailRefusedError: Its domain is none.
    """
    if address.isascii():
        return address
    try:
        return validate_email(address, check_deliverability=False, test_environment=True).ascii_email
    except EmailNotValidError:
        pass  # it quotes the address
    raise MailRefusedError(
        "the address of an e-mail has a domain that cannot be",
        hint="ask the customer for another address",
    )
