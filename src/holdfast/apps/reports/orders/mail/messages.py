"""E-mails of an order, made from facts: nothing here knows the store or a server."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import jinja2

from holdfast.apps.reports.orders.mail.base import Mail
from holdfast.apps.reports.orders.mail.texts import MailFacts, MailPart, letter_of
from holdfast.ids import derived_id

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.mail.base import Sender
    from holdfast.apps.reports.orders.models import MailSort

__all__ = ["MailFacts", "MailPart", "compose", "message_id_of"]


def compose(
    sort: MailSort, facts: MailFacts, *, to: str, sender: Sender, again: str | None = None
) -> Mail:
    """Return an e-mail, ready to be sent; the same one for the same arguments.

    Args:
        sort: Which one.
        facts: What there is to tell.
        to: The customer's address.
        sender: Who it is from, and whom questions go to.
        again: Tells a sending that an operator asked for from the first one.
    """
    facts = replace(facts, name=_one_line(facts.name))
    letter = letter_of(sort, facts)
    shown = {"letter": letter, "facts": facts, "sender": sender}
    return Mail(
        message_id=message_id_of(facts.order_id, sort, sender, again),
        to=to,
        subject=letter.subject,
        text=_environment().get_template("letter.txt").render(shown),
        html=_environment().get_template("letter.html").render(shown),
    )


def message_id_of(order_id: str, sort: MailSort, sender: Sender, again: str | None = None) -> str:
    """Return the id of an order's e-mail of a sort: the same whenever and wherever it is sent."""
    parts = [order_id, sort.value] if again is None else [order_id, sort.value, again]
    return f"{derived_id('mail', *parts)}@{sender.domain}"


def _one_line(text: str) -> str:
    """Return the text without control characters and line breaks, and else as it was written."""
    breaks = {"Cc", "Zl", "Zp"}
    return " ".join("".join(" " if unicodedata.category(c) in breaks else c for c in text).split())


@cache
def _environment() -> jinja2.Environment:
    """Return what renders the templates: HTML is escaped, a name that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("holdfast.apps.reports.orders.mail"),
        autoescape=jinja2.select_autoescape(["html"], default=False, default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
