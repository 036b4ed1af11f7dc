"""What the local Stripe knows: pages, what was paid and given back, and the events of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from holdfast.apps.reports.orders.payments.events import ORDER_ID
from holdfast.apps.reports.orders.payments.forms import Purchase, event_of
from holdfast.ids import new_id
from holdfast.testing.stripe.problems import ApiError, invalid, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.clock import Clock


class Method(StrEnum):
    """How a customer pays."""

    CARD = "card"
    """Paid at once."""
    BANK = "bank"
    """Paid or refused when the bank says so, by `Books.settle`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money given back."""

    refund_id: str
    session_id: str
    cents: int


class Books:
    """Pages by id and refunds in order; every change is told as an event. The auditor's other side."""

    def __init__(self, clock: Clock, tell: Callable[[dict[str, Any]], None]) -> None:
        """Keep books by this clock.

        Args:
            clock: For times.
            tell: Called with each event, once.
        """
        self.purchases: dict[str, Purchase] = {}
        self.refunds: list[Refund] = []
        self._clock = clock
        self._tell = tell

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock.now().timestamp())

    @property
    def paid(self) -> list[Purchase]:
        """The pages on which money was paid, whether or not it was given back."""
        return [each for each in self.purchases.values() if each.payment_status == "paid"]

    def of_order(self, order_id: str) -> list[Purchase]:
        """Return the pages that were made for an order."""
        found = self.purchases.values()
        return [purchase for purchase in found if purchase.metadata.get(ORDER_ID) == order_id]

    def find(self, session_id: str) -> Purchase:
        """Return a page.

        Raises:
            ApiError: There is none with this id.
        """
        if session_id not in self.purchases:
            raise missing("checkout.session", session_id, "session")
        return self.purchases[session_id]

    def open(self, purchase: Purchase) -> None:
        """Add a page."""
        self.purchases[purchase.session_id] = purchase

    def pay(self, session_id: str, method: Method = Method.CARD) -> Purchase:
        """Have the customer pay.

        Raises:
            ApiError: The page is not open.
        """
        paid = replace(self._open(session_id), status="complete")
        if method is Method.CARD:
            paid = replace(paid, payment_status="paid")
        return self._change(paid, "checkout.session.completed")

    def settle(self, session_id: str, *, succeeded: bool) -> Purchase:
        """Have the bank say what has become of a payment by `Method.BANK`.

        Raises:
            ApiError: No bank is asked.
        """
        waiting = self.find(session_id)
        if waiting.status != "complete" or waiting.payment_status == "paid" or waiting.refused:
            raise invalid("No bank is asked about this payment.", "session")
        if succeeded:
            paid = replace(waiting, payment_status="paid")
            return self._change(paid, "checkout.session.async_payment_succeeded")
        refused = replace(waiting, refused=True)
        return self._change(refused, "checkout.session.async_payment_failed")

    def expire(self, session_id: str) -> Purchase:
        """End a page on which nobody has paid.

        Raises:
            ApiError: The page is not open.
        """
        return self._change(
            replace(self._open(session_id), status="expired"), "checkout.session.expired"
        )

    def refund(self, payment_id: str, cents: int | None = None) -> Refund:
        """Give back money of a payment or charge.

        Args:
            payment_id: Of the payment, or of its charge.
            cents: How much; None for all that is left.

        Raises:
            ApiError: It was not paid, or less is left.
        """
        paid = next(
            (each for each in self.paid if payment_id in {each.payment_id, each.charge_id}), None
        )
        if paid is None:
            raise missing("payment_intent", payment_id, "payment_intent")
        left = paid.amount_cents - paid.refunded_cents
        given = left if cents is None else cents
        if not 0 < given <= left:
            code = "amount_too_large" if left else "charge_already_refunded"
            raise ApiError(400, f"{left} cents are left to refund", code=code, param="amount")
        refund = Refund(refund_id=new_id("re"), session_id=paid.session_id, cents=given)
        self.refunds.append(refund)
        changed = replace(paid, refunded_cents=paid.refunded_cents + given)
        self.purchases[paid.session_id] = changed
        self._event("charge.refunded", changed.charge())
        return refund

    def _open(self, session_id: str) -> Purchase:
        found = self.find(session_id)
        if found.status != "open":
            message = f"This Checkout Session is {found.status}; only open ones can be changed."
            raise invalid(message, "session")
        return found

    def _change(self, purchase: Purchase, event_type: str) -> Purchase:
        self.purchases[purchase.session_id] = purchase
        self._event(event_type, purchase.session())
        return purchase

    def _event(self, event_type: str, about: dict[str, Any]) -> None:
        self._tell(event_of(new_id("evt"), event_type, about, self.now))
