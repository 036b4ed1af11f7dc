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
    """No order is on record that it could be about."""
    FOREIGN = "foreign"
    """It names an order, but another payment than that order's."""


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
    refunded_cents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a payment event."""

    outcome: PaymentOutcome
    order: Order | None = None
    """As it is now; None where no order was found."""
    job: Job | None = None
    """The job that the event has submitted, for the caller to announce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Which orders to list, newest first."""

    subject: str | None = None
    product: str | None = None
    payment: Payment | None = None
    before: str | None = None
    """Only orders before the one with this id."""
    limit: int = 50


def what_becomes_of(order: Order, event: PaymentEvent, at: datetime) -> Order:
    """Return the order after an event; the same one if it has no effect.

    Paid wins over everything but refunded, and refunded over everything, whatever comes first: so all
    orders of one set of events end alike.

    Args:
        order: Before.
        event: One that is about this order.
        at: When it is taken.
    """
    if event.news is PaymentNews.PAID:
        return _paid(order, event, at)
    if event.news is PaymentNews.REFUNDED:
        return _refunded(order, event, at)
    told = Payment(event.news.value)
    return replace(order, payment=told) if order.payment in _UNPAID_BEFORE[told] else order


_UNPAID_BEFORE = {
    Payment.PROCESSING: (Payment.AWAITED, Payment.EXPIRED),
    Payment.EXPIRED: (Payment.AWAITED,),
    Payment.FAILED: (Payment.AWAITED, Payment.EXPIRED, Payment.PROCESSING),
}
"""What each end without money may follow: of several, the one that stands last here stays."""


def _paid(order: Order, event: PaymentEvent, at: datetime) -> Order:
    if order.paid_at is not None:
        return order
    refunded = order.payment is Payment.REFUNDED
    return replace(
        order,
        payment=Payment.REFUNDED if refunded else Payment.PAID,
        paid_cents=order.amount_cents if event.paid_cents is None else event.paid_cents,
        paid_at=at,
    )


def _refunded(order: Order, event: PaymentEvent, at: datetime) -> Order:
    total = order.amount_cents if order.paid_cents is None else order.paid_cents
    given_back = total if event.refunded_cents is None else event.refunded_cents
    if given_back <= order.refunded_cents:
        return order
    return replace(
        order,
        payment=Payment.REFUNDED if given_back >= total else order.payment,
        refunded_cents=given_back,
        refunded_at=at,
    )


class OrderStore(Protocol):
    """What a shop needs of the store beside jobs."""

    async def insert_order(self, order: Order, *, unpaid_for: timedelta) -> Order:
        """Keep a new order, and return it; one with the same id is returned as it is.

        Deletes up to `SWEPT_MAX` orders that nobody has paid or is paying within `unpaid_for`.

        Raises:
            IdempotencyConflictError: An order of this id is for another product or has other details.
        """
        ...

    async def set_session(self, order_id: str, session_id: str) -> Order:
        """Note the payment page of an order that has none yet, and return the order.

        Raises:
            OrderNotFoundError: There is none with this id.
        """
        ...

    async def take_payment(self, event: PaymentEvent, job: NewJob | None) -> Taken:
        """Take an event once: note it, move the order on, and submit or cancel the job that serves it.

        The order is the one of `order_id`, else of `session_id`, else of `payment_id`. An event that
        names another session than the order's is `FOREIGN`; the order's ids that are not known yet are
        taken from the event. Once an order is paid, not given back and has no job, `job` is submitted
        for it; once it is given back in full, its job is cancelled unless it has ended.

        Args:
            event: What was told. One that finds no order is noted as well.
            job: Serves the order if this event makes it paid; needed for `PaymentNews.PAID`.
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

        Their jobs are the caller's to erase, before. An order that is paid and whose job has not ended
        stays.
        """
        ...
