"""What is told of an order: its status and progress, derived from its payment and its jobs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.apps.reports.orders.parts import find_job, parts_of, report_job_id, sold_product
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.orders import Payment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.apps.reports.orders.parts import Part
    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.model import Job
    from holdfast.store.orders import Order

_HISTORY: Final = 20
"""Reports of a product whose time the estimate for the next one is made of."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class PartView(_View):
    """One report of an order."""

    product: str
    """Its kind."""
    title: str
    status: OrderStatus
    pages: int | None = None
    """Of the PDF, once it is ready."""
    size_bytes: int | None = None
    """Of the PDF, once it is ready."""


class OrderProgress(_View):
    """How far an order is."""

    fraction: float
    """0 to 1, over all of its reports."""
    label: str
    """What is being worked on, in the customer's words."""
    eta_seconds: float | None = None
    """Expected seconds to the end; None while there is no basis."""


class OrderView(_View):
    """An order as its customer sees it; nothing of it is personal."""

    order_id: str
    product: str
    title: str
    """What was bought, in the customer's words."""
    status: OrderStatus
    payment: Payment
    amount_cents: int
    currency: str
    created_at: datetime
    paid_at: datetime | None
    progress: OrderProgress | None
    """While it is made."""
    parts: tuple[PartView, ...]

    @property
    def price(self) -> Decimal:
        """What it costs, in whole units of the currency."""
        return Decimal(self.amount_cents) / 100


async def view_of(shop: Shop, order: Order) -> OrderView:
    """Return how an order is now."""
    parts = await parts_of(shop.client, order)
    status = await status_of(shop, order)
    making = status in (OrderStatus.PAID, OrderStatus.GENERATING)
    return OrderView(
        order_id=order.order_id,
        product=order.product,
        title=sold_product(order).title,
        status=status,
        payment=order.payment,
        amount_cents=order.amount_cents,
        currency=order.currency,
        created_at=order.created_at,
        paid_at=order.paid_at,
        progress=await _progress_of(shop, parts) if making else None,
        parts=tuple(_part_view(part, status) for part in parts),
    )


async def status_of(shop: Shop, order: Order) -> OrderStatus:
    """Return what a customer is told of an order."""
    job_id = report_job_id(order)
    if order.payment is Payment.REFUNDED:
        return OrderStatus.REFUNDED
    if order.job_id is None or job_id is None:
        return OrderStatus.PENDING_PAYMENT
    report = await find_job(shop.client, job_id)
    if report is not None:
        return _status_of_report(report)
    served_by = await find_job(shop.client, order.job_id)
    if served_by is None:
        # Deleted after its time, or by hand: what it has left on the order counts.
        return OrderStatus(order.outcome or OrderStatus.FAILED)
    ended = served_by.status in (JobStatus.FAILED, JobStatus.CANCELLED)
    return OrderStatus.FAILED if ended else OrderStatus.PAID


def _status_of_report(job: Job) -> OrderStatus:
    if job.status is JobStatus.COMPLETED:
        return OrderStatus.READY
    if job.status.terminal:
        return OrderStatus.FAILED
    return OrderStatus.PAID if job.started_at is None else OrderStatus.GENERATING


def _part_view(part: Part, status: OrderStatus) -> PartView:
    view = PartView(product=part.product.kind, title=part.product.title, status=status)
    result = part.result
    if part.job is None or status in (OrderStatus.REFUNDED, OrderStatus.PENDING_PAYMENT):
        return view
    view = view.model_copy(update={"status": _status_of_report(part.job)})
    if result is None:
        return view
    return view.model_copy(update={"pages": result.pages, "size_bytes": result.size_bytes})


# progress ----------------------------------------------------------------------------------------


async def _progress_of(shop: Shop, parts: Sequence[Part]) -> OrderProgress:
    """Return the progress of all reports together.

    Each counts by the time that it typically takes, known before it begins: counted by what has been
    found to do so far, the quick one of a bundle alone would be all of it, and then next to nothing.
    """
    told = [part.job.progress for part in parts if part.job is not None]
    weights = [shop.terms[part.product.kind].typical_seconds for part in parts]
    done = [_fraction(part) * weight for part, weight in zip(parts, weights, strict=True)]
    label = next((one.label for one in told if one.label and one.fraction < 1), "")
    left = [await _seconds_left(shop, part) for part in parts]
    known = [seconds for seconds in left if seconds is not None]
    return OrderProgress(
        fraction=sum(done) / sum(weights),
        label=label,
        eta_seconds=max(known) if len(known) == len(left) else None,
    )


def _fraction(part: Part) -> float:
    if part.job is None:
        return 0.0
    return 1.0 if part.job.status.terminal else part.job.progress.fraction


async def _seconds_left(shop: Shop, part: Part) -> float | None:
    job = part.job
    if job is None or job.started_at is None:
        return (await expected_time(shop, part.product.kind)).total_seconds()
    if job.status.terminal:
        return 0.0
    found = job.progress
    now = shop.clock.now()
    if found.eta_seconds is not None and found.at is not None:
        return max(0.0, found.eta_seconds - (now - found.at).total_seconds())
    # Nothing to measure by yet: what others took, as long as that makes sense.
    others = (await expected_time(shop, part.product.kind)).total_seconds()
    left = others - (now - job.started_at).total_seconds()
    return left if left > 0 else None


async def expected_time(shop: Shop, product: str) -> timedelta:
    """Return how long an order of a product is likely to take: the median of the last ones.

    While there are too few of them, it is what the product's terms say.
    """
    query = JobQuery(kind=product, status=JobStatus.COMPLETED, limit=_HISTORY, content=False)
    took = [
        (job.finished_at - job.created_at).total_seconds()
        for job in await shop.client.list(query)
        if job.finished_at is not None
    ]
    if len(took) < _HISTORY // 4:
        return shop.terms[product].typical_time
    return timedelta(seconds=median(took))
