"""The seam to what a shop keeps: orders, and what was told of their payments.

The promises of `holdfast.store.base` hold here, too: each verb is one transaction, durable once it has
returned, without effect once it has raised.

An order states facts: what was bought, what its payment has come to, which job serves it. How far the
job is, the job says. What a payment service tells comes in by `OrderStore.take_payment`, in any order
and any number of times; `what_becomes_of` is the table of what each piece of news does to an order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from holdfast.model import Job
    from holdfast.store.base import NewJob

ORDERS_MAX = 1_000
"""Orders that one list may ask for."""

NOTE_CHARACTERS_MAX = 2_000
"""Of an operator's note on an order."""

SWEPT_MAX = 10
"""Old unpaid orders that are deleted with each new one."""


class Payment(StrEnum):
    """What the payment of an order has come to."""

    AWAITED = "awaited"
    """The customer was sent to the payment page."""
    PROCESSING = "processing"
    """The customer is done there; a bank has yet to confirm it."""
    PAID = "paid"
    FAILED = "failed"
    """The bank has refused it. A later success counts."""
    EXPIRED = "expired"
    """The customer never paid. A later success counts."""
    REFUNDED = "refunded"
    """All of it was given back; nothing ends this."""


class PaymentNews(StrEnum):
    """What a payment service has to tell."""

    PAID = "paid"
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    """Money was given back, all of it or a part: `PaymentEvent.refunded_cents` in sum."""


class PaymentOutcome(StrEnum):
    """What became of a payment event."""

    APPLIED = "applied"
    """It has changed the order."""
    NO_EFFECT = "no_effect"
    """It tells what is known already, or was overtaken by something later."""
    REPEATED = "repeated"
    """An event of this id was taken before."""
    UNKNOWN_ORDER = "unknown_order"
    """No order is on record that it could be about; told again once there is one, it counts."""
    FOREIGN = "foreign"
    """It names an order, but another payment page, or without one another payment, than that order's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as stored."""

    order_id: str
    product: str
    """Kind of the job that makes what was bought."""
    amount_cents: int
    """The price, in hundredths of `currency`."""
    currency: str
    """Three lower-case letters (ISO 4217)."""
    subject: str
    """Stands for the customer: the same for all orders of one e-mail address, and no such address."""
    details: bytes = field(repr=False)
    """JSON of the shop's own, with the customer's personal data; sealed at rest."""
    created_at: datetime
    payment: Payment = Payment.AWAITED
    session_id: str | None = None
    """The payment service's id of the payment page; set once, by the checkout or the first event."""
    payment_id: str | None = None
    """The payment service's id of the payment itself, which refunds refer to."""
    paid_cents: int | None = None
    """What was paid; None until then."""
    paid_at: datetime | None = None
    refunded_cents: int = 0
    """What was given back, in sum."""
    refunded_at: datetime | None = None
    """When anything was given back last."""
    job_id: str | None = None
    """The job that serves it, from the moment of its payment."""
    outcome: str | None = None
    """How the job ended, kept for when the job is deleted; set by the job."""
    note: str | None = field(default=None, repr=False)
    """An operator's words, sealed at rest."""

    @property
    def served(self) -> bool:
        """Whether a job has been made for it."""
        return self.job_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentEvent:
    """One piece of news of a payment, whoever told it; without any personal data."""

    event_id: str
    """Unique: the payment service's own, or an operator's act."""
    news: PaymentNews
    order_id: str | None = None
    """As the payment service knows it from us; else it is found by `session_id` or `payment_id`."""
    session_id: str | None = None
    payment_id: str | None = None
    paid_cents: int | None = None
    """What was paid; None for the price."""
    refunded_cents: int | None = None
    """What was given back so far, in sum. None for all that is known to have been paid, as an operator
    tells it who looks at a paid order; a payment service tells the amount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a payment event."""

    outcome: PaymentOutcome
    order: Order | None = None
    """As it is now; None where no order was found."""
    job: Job | None = None
    """The job that it has submitted, or whose end it has requested, for the caller to announce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Which orders to list, newest first."""

    subject: str | None = None
    product: str | None = None
    payment: Payment | None = None
    before: str | None = None
    """Only orders older than the one with this id; none if there is no such order any more."""
    limit: int = 50


def what_becomes_of(order: Order, event: PaymentEvent, at: datetime) -> Order:
    """Return the order after an event; the same one if it has no effect.

    Whatever comes first, all orders of one set of events end alike: each fact only ever moves one way,
    and the payment follows from the facts.

    Args:
        order: Before.
        event: One that is about this order.
        at: When it is taken.
    """
    if event.news is PaymentNews.PAID:
        return _with_payment(_paid(order, event, at))
    if event.news is PaymentNews.REFUNDED:
        return _with_payment(_refunded(order, event, at))
    told = Payment(event.news.value)
    return replace(order, payment=told) if order.payment in _UNPAID_BEFORE[told] else order


_UNPAID_BEFORE = {
    Payment.EXPIRED: (Payment.AWAITED,),
    Payment.PROCESSING: (Payment.AWAITED, Payment.EXPIRED),
    Payment.FAILED: (Payment.AWAITED, Payment.EXPIRED, Payment.PROCESSING),
}
"""What each end without money may follow: of several, the one that stands last here stays."""


def _paid(order: Order, event: PaymentEvent, at: datetime) -> Order:
    told = order.amount_cents if event.paid_cents is None else event.paid_cents
    # One payment told twice is one amount; were it not, the smaller one is sure to have come.
    paid = told if order.paid_cents is None else min(told, order.paid_cents)
    return replace(order, paid_cents=paid, paid_at=order.paid_at or at)


def _refunded(order: Order, event: PaymentEvent, at: datetime) -> Order:
    given_back = _total(order) if event.refunded_cents is None else event.refunded_cents
    if given_back <= order.refunded_cents:
        return order
    return replace(order, refunded_cents=given_back, refunded_at=at)


def _with_payment(order: Order) -> Order:
    """Return the order with what its payment has come to by the money that has moved."""
    if 0 < order.refunded_cents >= _total(order):
        return replace(order, payment=Payment.REFUNDED)
    return order if order.paid_cents is None else replace(order, payment=Payment.PAID)


def _total(order: Order) -> int:
    """Return what there is to give back."""
    return order.amount_cents if order.paid_cents is None else order.paid_cents


class OrderStore(Protocol):
    """What a shop needs of the store beside jobs."""

    async def insert_order(self, order: Order, *, unpaid_for: timedelta) -> Order:
        """Keep a new order, and return it; one with the same id is returned as it is.

        Deletes up to `SWEPT_MAX` orders that nobody has paid or is paying within `unpaid_for`, and what
        was told of them.

        Raises:
            IdempotencyConflictError: An order of this id has another product, price or other details.
            InvalidInputError: Something cannot be stored, or is too large.
        """
        ...

    async def set_session(self, order_id: str, session_id: str) -> Order:
        """Note the payment page of an order that has none yet, and return the order.

        Raises:
            InvalidInputError: It is the page of another order, or cannot be stored.
            OrderNotFoundError: There is none with this id.
        """
        ...

    async def take_payment(self, event: PaymentEvent, job: NewJob | None) -> Taken:
        """Take an event once: note it, move the order on, and submit or cancel the job that serves it.

        The order is the one of `order_id`; without one that of `session_id`, else of `payment_id`. An
        event that names another session than the order's is `FOREIGN`; the order's ids that are not
        known yet are taken from the event. Once an order is paid, not given back and has no job, `job`
        is submitted for it, or the one found that has its idempotency key; once the order is given back
        in full, its job is cancelled unless it has ended. What has changed an order is hinted at under
        the order's id.

        Args:
            event: What was told. One that finds no order is noted as well, and counts when it is told
                again after there is one.
            job: Serves the order if this event makes it paid; needed for `PaymentNews.PAID`.

        Raises:
            InvalidInputError: Something cannot be stored, or is missing.
            IdempotencyConflictError: The job's key belongs to another kind of job, or another order's.
        """
        ...

    async def find_order(self, order_id: str) -> Order | None:
        """Return the order; None if there is none with this id."""
        ...

    async def find_order_of(
        self, *, session_id: str | None = None, payment_id: str | None = None
    ) -> Order | None:
        """Return the order of a payment page, else of a payment; None if there is none."""
        ...

    async def list_orders(self, query: OrderQuery) -> Sequence[Order]:
        """Return orders, newest first.

        Raises:
            InvalidInputError: The limit is not 1 to `ORDERS_MAX`.
        """
        ...

    async def set_outcome(self, order_id: str, outcome: str | None) -> None:
        """Note how the job of an order has ended; nothing happens if the order is gone."""
        ...

    async def set_note(self, order_id: str, note: str | None) -> Order:
        """Replace the operators' note on an order.

        Raises:
            OrderNotFoundError: There is none with this id.
            InvalidInputError: It is longer than `NOTE_CHARACTERS_MAX`.
        """
        ...

    async def erase_orders(self, subject: str) -> Sequence[str]:
        """Delete the orders of a customer and what was told of their payments; return their ids.

        Their jobs are the caller's to erase, before. An order whose job has not ended stays, and one
        whose payment a bank has yet to confirm.
        """
        ...
