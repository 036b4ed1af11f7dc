"""Objects of Stripe's API as JSON, as far as a shop meets them: for test mode and the local Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

API_VERSION = "2026-10-28.endive"
"""The version whose forms these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A payment page, and what has come of it; times in seconds since 1970."""

    session_id: str
    payment_id: str
    amount_cents: int
    currency: str
    created_at: int
    expires_at: int
    reference: str | None = None
    """The page's `client_reference_id`."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of the page."""
    payment_metadata: Mapping[str, str] = field(default_factory=dict)
    """Of its payment, and so of the charge."""
    email: str | None = field(default=None, repr=False)
    success_url: str | None = field(default=None, repr=False)
    cancel_url: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    status: Literal["open", "complete", "expired"] = "open"
    payment_status: Literal["paid", "unpaid"] = "unpaid"
    refused: bool = False
    """A bank has refused it after the customer was done."""
    refunded_cents: int = 0

    @property
    def charge_id(self) -> str:
        """The charge of its payment."""
        return f"ch_{self.payment_id.removeprefix('pi_')}"

    def session(self, *, expand: bool = False) -> dict[str, Any]:
        """Return the `checkout.session`; with its payment and that one's charge in it, if expanded."""
        started = self.status == "complete"
        payment: Any = self.payment(expand=True) if expand else self.payment_id
        return {
            "id": self.session_id,
            "object": "checkout.session",
            "amount_subtotal": self.amount_cents,
            "amount_total": self.amount_cents,
            "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
            "cancel_url": self.cancel_url,
            "client_reference_id": self.reference,
            "created": self.created_at,
            "currency": self.currency,
            "customer": None,
            "customer_creation": "if_required",
            "customer_details": self._customer_details() if started else None,
            "customer_email": self.email,
            "expires_at": self.expires_at,
            "livemode": False,
            "locale": None,
            "metadata": dict(self.metadata),
            "mode": "payment",
            "payment_intent": payment if started else None,
            "payment_link": None,
            "payment_method_types": ["card"],
            "payment_status": self.payment_status,
            "status": self.status,
            "submit_type": None,
            "success_url": self.success_url,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted_page",
            "url": self.url if self.status == "open" else None,
        }

    def payment(self, *, expand: bool = False) -> dict[str, Any]:
        """Return the `payment_intent`; with its charge in it, if expanded."""
        paid = self.payment_status == "paid"
        charge: Any = self.charge() if expand else self.charge_id
        return {
            "id": self.payment_id,
            "object": "payment_intent",
            "amount": self.amount_cents,
            "amount_received": self.amount_cents if paid else 0,
            "created": self.created_at,
            "currency": self.currency,
            "latest_charge": charge if paid else None,
            "livemode": False,
            "metadata": dict(self.payment_metadata),
            "status": self._payment_progress(),
        }

    def charge(self) -> dict[str, Any]:
        """Return the `charge`."""
        return {
            "id": self.charge_id,
            "object": "charge",
            "amount": self.amount_cents,
            "amount_captured": self.amount_cents,
            "amount_refunded": self.refunded_cents,
            "billing_details": {"address": None, "email": self.email, "name": None, "phone": None},
            "captured": True,
            "created": self.created_at,
            "currency": self.currency,
            "livemode": False,
            "metadata": dict(self.payment_metadata),
            "paid": True,
            "payment_intent": self.payment_id,
            "refunded": self.refunded_cents >= self.amount_cents,
            "status": "succeeded",
        }

    def _payment_progress(self) -> str:
        if self.payment_status == "paid":
            return "succeeded"
        return "requires_payment_method" if self.refused else "processing"

    def _customer_details(self) -> dict[str, Any]:
        return {"address": None, "email": self.email, "name": None, "phone": None, "tax_exempt": "none"}


def event_of(event_id: str, event_type: str, about: dict[str, Any], at: int) -> dict[str, Any]:
    """Return an `event` that tells of an object."""
    return {
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    }
