"""Payments on a page of our own, where nobody pays anything: Stripe's way, walked without Stripe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlencode

from holdfast.apps.reports.orders.payments.base import PAGE_LIFETIME, PageRequest, PaymentPage
from holdfast.apps.reports.orders.payments.events import ORDER_ID, read_event
from holdfast.apps.reports.orders.payments.forms import Purchase, event_of
from holdfast.apps.reports.orders.payments.signatures import Signatures
from holdfast.clock import Clock
from holdfast.codec import to_json
from holdfast.ids import derived_id
from holdfast.server.tokens import Tokens
from holdfast.store.orders import Order, PaymentEvent

_PURPOSE = "test payment"


class PaymentAct(StrEnum):
    """What a customer, a bank or an operator does about a test payment."""

    PAY = "pay"
    """The customer pays by card."""
    PAY_LATER = "pay_later"
    """The customer pays by a method that a bank confirms days later."""
    CONFIRM = "confirm"
    """The bank confirms it."""
    REFUSE = "refuse"
    """The bank refuses it."""
    LEAVE = "leave"
    """The customer never pays, and the page expires."""
    REFUND = "refund"
    """An operator gives money back."""


_TOLD: Final = {
    PaymentAct.PAY: "checkout.session.completed",
    PaymentAct.PAY_LATER: "checkout.session.completed",
    PaymentAct.CONFIRM: "checkout.session.async_payment_succeeded",
    PaymentAct.REFUSE: "checkout.session.async_payment_failed",
    PaymentAct.LEAVE: "checkout.session.expired",
    PaymentAct.REFUND: "charge.refunded",
}


class TestPayments:
    """Stands in for Stripe: the same webhooks in the same form, signed with secrets of ours.

    Nothing is kept: the ids of a page, its payment and its events follow from the order, so that
    whoever clicks twice repeats an event.
    """

    __test__ = False  # its name would have pytest collect it

    def __init__(self, secrets: Sequence[str], public_url: str, clock: Clock) -> None:
        """Take the service's secrets, the one in use first, and where it is reached from outside."""
        self._tokens = Tokens(secrets, clock)
        self._signatures = Signatures([_webhook_secret(secret, clock) for secret in secrets], clock)
        self._base = public_url.rstrip("/")
        self._clock = clock

    async def open_page(self, request: PageRequest) -> PaymentPage:
        session_id = session_id_of(request.order)
        query = urlencode({"token": self._tokens.mark(_PURPOSE, session_id)})
        url = f"{self._base}/pay/{quote(session_id)}?{query}"
        return PaymentPage(session_id=session_id, url=url)

    def admits(self, token: str, session_id: str) -> bool:
        """Whether the token is the one in the address of this page."""
        return self._tokens.is_mark(_PURPOSE, session_id, token)

    def event_for(self, order: Order, act: PaymentAct, *, refunded_cents: int | None = None) -> bytes:
        """Return the body of the webhook by which Stripe would tell of an act.

        Args:
            order: Whose payment.
            act: What is done about it.
            refunded_cents: What was given back in sum, for a refund; None for all of it.
        """
        cents = order.amount_cents if refunded_cents is None else refunded_cents
        purchase = _after(_purchase(order), act, cents)
        about = purchase.charge() if act is PaymentAct.REFUND else purchase.session()
        variant = str(cents) if act is PaymentAct.REFUND else ""
        event_id = derived_id("evt_test", order.order_id, act.value, variant)
        return to_json(event_of(event_id, _TOLD[act], about, int(self._clock.now().timestamp())))

    def sign(self, body: bytes) -> str:
        """Return the `Stripe-Signature` to send with a body now."""
        return self._signatures.sign(body)

    def read_event(self, body: bytes, signature: str) -> PaymentEvent | None:
        self._signatures.check(body, signature)
        return read_event(body)

    async def look_up(self, order: Order) -> PaymentEvent | None:
        """Return None: nobody knows more of a test payment than its webhooks told."""
        return None

    async def check(self) -> str:
        return "a page of our own: nobody pays"

    async def close(self) -> None:
        pass


def session_id_of(order: Order) -> str:
    """Return the id of an order's page in test mode."""
    return derived_id("cs_test", order.order_id)


def _webhook_secret(secret: str, clock: Clock) -> str:
    return f"whsec_{Tokens((secret,), clock).mark(_PURPOSE, 'webhook')}"


def _purchase(order: Order) -> Purchase:
    created = order.created_at
    return Purchase(
        session_id=session_id_of(order),
        payment_id=derived_id("pi_test", order.order_id),
        amount_cents=order.amount_cents,
        currency=order.currency,
        created_at=int(created.timestamp()),
        expires_at=int((created + PAGE_LIFETIME).timestamp()),
        reference=order.order_id,
        metadata={ORDER_ID: order.order_id},
        payment_metadata={ORDER_ID: order.order_id},
    )


def _after(purchase: Purchase, act: PaymentAct, refunded_cents: int) -> Purchase:
    match act:
        case PaymentAct.PAY | PaymentAct.CONFIRM:
            return replace(purchase, status="complete", payment_status="paid")
        case PaymentAct.PAY_LATER:
            return replace(purchase, status="complete")
        case PaymentAct.REFUSE:
            return replace(purchase, status="complete", refused=True)
        case PaymentAct.LEAVE:
            return replace(purchase, status="expired")
        case PaymentAct.REFUND:
            paid = replace(purchase, status="complete", payment_status="paid")
            return replace(paid, refunded_cents=refunded_cents)
