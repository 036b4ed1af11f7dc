"""An e-mail in the form in which it travels."""

from __future__ import annotations

from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email

from holdfast.errors import MailRefusedError

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.apps.reports.orders.mail.base import Mail, Sender


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
    message = EmailMessage(policy=(policy.SMTPUTF8 if utf8 else policy.SMTP).clone(cte_type="7bit"))
    try:
        message["Message-ID"] = f"<{mail.message_id}>"
        message["Date"] = at
        message["From"] = Address(display_name=sender.name, addr_spec=sender.address)
        message["To"] = Address(addr_spec=to)
        message["Subject"] = mail.subject
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
