"""What operators see of an order, on one page: its payment, its reports, its e-mails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.apps.reports.jobs import product_of
from holdfast.apps.reports.orders.letters import letters_of
from holdfast.apps.reports.orders.parts import find_job, parts_of, report_job_id
from holdfast.apps.reports.orders.state import status_of, view_of
from holdfast.store.orders import Payment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.apps.reports.orders.letters import Letter
    from holdfast.apps.reports.orders.models import OrderStatus
    from holdfast.apps.reports.orders.parts import Part
    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.apps.reports.orders.state import OrderProgress
    from holdfast.model import Job
    from holdfast.store.orders import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An order in a list."""

    order: Order
    title: str
    """What was bought, in the customer's words."""
    status: OrderStatus
    """What its customer is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFact:
    """One thing that has happened to an order's money."""

    at: datetime
    what: str
    cents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that operators ask of an order. Its details are sealed in `order`, and nowhere else here."""

    order: Order
    title: str
    status: OrderStatus
    progress: OrderProgress | None
    """While it is made."""
    served_by: Job | None
    """The order's own job; None before it is paid, and once it has been deleted."""
    report: Job | None
    """The job of the product."""
    parts: Sequence[Part]
    """None for a product that is not sold any more."""
    letters: Sequence[Letter]

    @property
    def payment_facts(self) -> list[PaymentFact]:
        """What has happened to its money, in order."""
        return payment_facts(self.order)

    @property
    def retriable(self) -> bool:
        """Whether it has failed and may be made again."""
        job = self.served_by
        return (
            job is not None
            and job.status in ("failed", "cancelled")
            and self.order.payment is not Payment.REFUNDED
        )


async def listed(shop: Shop, orders: Sequence[Order]) -> list[Listed]:
    """Return orders with what a list says of them."""
    return [
        Listed(order=order, title=title_of(order), status=await status_of(shop, order))
        for order in orders
    ]


async def overview_of(shop: Shop, order: Order) -> Overview:
    """Return all that operators ask of an order, as it is now."""
    sold = product_of(order.product) is not None
    report_id = report_job_id(order)
    served_by = None if order.job_id is None else await find_job(shop.client, order.job_id)
    return Overview(
        order=order,
        title=title_of(order),
        status=await status_of(shop, order),
        progress=(await view_of(shop, order)).progress if sold else None,
        served_by=served_by,
        report=None if report_id is None else await find_job(shop.client, report_id),
        parts=await parts_of(shop.client, order) if sold else (),
        letters=await letters_of(shop, order, served_by),
    )


def title_of(order: Order) -> str:
    """Return what was bought, in the customer's words as far as they are known still."""
    product = product_of(order.product)
    return order.product if product is None else product.title


def payment_facts(order: Order) -> list[PaymentFact]:
    """Return what has happened to an order's money, in order."""
    facts = [PaymentFact(at=order.created_at, what="ordered", cents=order.amount_cents)]
    if order.paid_at is not None:
        facts.append(PaymentFact(at=order.paid_at, what="paid", cents=order.paid_cents or 0))
    if order.refunded_at is not None:
        facts.append(PaymentFact(at=order.refunded_at, what="given back", cents=order.refunded_cents))
    return sorted(facts, key=lambda fact: fact.at)
