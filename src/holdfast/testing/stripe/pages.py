"""What a client asks of a new payment page, checked as strictly as Stripe does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.apps.reports.orders.payments.forms import Purchase
from holdfast.ids import new_secret
from holdfast.testing.stripe.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_ITEM = "line_items[0]"
_PRICE = f"{_ITEM}[price_data]"
_KNOWN = re.compile(
    r"mode|success_url|cancel_url|client_reference_id|customer_email|expires_at"
    r"|metadata\[\w+\]|payment_intent_data\[metadata\]\[\w+\]"
    r"|line_items\[0\](\[quantity\]|\[price_data\](\[currency\]|\[unit_amount\]|\[product_data\]\[name\]))"
)
_NAMED = re.compile(r"(?P<of>.*metadata\]?)\[(?P<name>\w+)\]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

_LIFETIME_MIN = 30 * 60
_LIFETIME_MAX = 24 * 60 * 60
_CENTS_MIN = 50
"""What Stripe takes at least, in dollars."""


def read_page(fields: Mapping[str, str], now: int, base_url: str) -> Purchase:
    """Return the page that a form asks for.

    Args:
        fields: The form.
        now: Seconds since 1970.
        base_url: Where pages are.

    Raises:
        ApiError: Stripe would refuse it.
    """
    for name in fields:
        if not _KNOWN.fullmatch(name):
            raise invalid(f"Received unknown parameter: {name}", name, "parameter_unknown")
    if _needed(fields, "mode") != "payment" or _needed(fields, f"{_ITEM}[quantity]") != "1":
        raise invalid("Only one item in mode payment is for sale here", "mode")
    _needed(fields, f"{_PRICE}[product_data][name]")
    cents = _whole(fields, f"{_PRICE}[unit_amount]")
    if cents < _CENTS_MIN:
        raise invalid("The amount is too small", f"{_PRICE}[unit_amount]", "amount_too_small")
    session_id = new_secret("cs_test")
    return Purchase(
        session_id=session_id,
        payment_id=new_secret("pi", 24),
        amount_cents=cents,
        currency=_needed(fields, f"{_PRICE}[currency]"),
        created_at=now,
        expires_at=_end(fields, now),
        reference=fields.get("client_reference_id"),
        metadata=_metadata(fields, "metadata"),
        payment_metadata=_metadata(fields, "payment_intent_data[metadata]"),
        email=_email(fields),
        success_url=_needed(fields, "success_url"),
        cancel_url=fields.get("cancel_url"),
        url=f"{base_url}/c/pay/{session_id}",
    )


def _needed(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
    return fields[name]


def _whole(fields: Mapping[str, str], name: str) -> int:
    text = _needed(fields, name)
    if not text.isdecimal():
        raise invalid(f"Invalid integer: {text}", name, "parameter_invalid_integer")
    return int(text)


def _end(fields: Mapping[str, str], now: int) -> int:
    if "expires_at" not in fields:
        return now + _LIFETIME_MAX
    end = _whole(fields, "expires_at")
    if not _LIFETIME_MIN <= end - now <= _LIFETIME_MAX:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now."
        raise invalid(message, "expires_at")
    return end


def _email(fields: Mapping[str, str]) -> str | None:
    email = fields.get("customer_email")
    if email is not None and not _EMAIL.fullmatch(email):
        raise invalid(f"Invalid email address: {email}", "customer_email", "email_invalid")
    return email


def _metadata(fields: Mapping[str, str], of: str) -> dict[str, str]:
    named = ((_NAMED.fullmatch(name), value) for name, value in fields.items())
    return {found["name"]: value for found, value in named if found is not None and found["of"] == of}
