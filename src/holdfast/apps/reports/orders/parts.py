"""The reports that an order is made of, and the jobs that make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.apps.reports.jobs import product_of
from holdfast.apps.reports.models import ReportResult
from holdfast.apps.reports.orders.models import REPORT_KEY
from holdfast.errors import JobNotFoundError, OrderStateError
from holdfast.ids import child_id
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from holdfast.apps.reports.product import Product
    from holdfast.engine.client import JobClient
    from holdfast.model import Job
    from holdfast.store.orders import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One report of an order."""

    product: Product
    job: Job | None
    """What makes it; None before it is there, and once it has been deleted."""

    @property
    def result(self) -> ReportResult | None:
        """What there is of it; None while it is not ready."""
        if self.job is None or self.job.status is not JobStatus.COMPLETED or self.job.output is None:
            return None
        return ReportResult.model_validate_json(self.job.output)


def sold_product(order: Order) -> Product:
    """Return what was ordered.

    Raises:
        OrderStateError: It is not sold any more.
    """
    return _product(order, order.product)


def _product(order: Order, kind: str) -> Product:
    found = product_of(kind)
    if found is None:
        raise OrderStateError(
            order_id=order.order_id, status=f"for {kind!r}, which is unknown", action="be looked at"
        )
    return found


def report_job_id(order: Order) -> str | None:
    """Return the id of the job that makes what was ordered, whether or not it is there yet."""
    return None if order.job_id is None else child_id(order.job_id, REPORT_KEY)


async def parts_of(client: JobClient, order: Order) -> list[Part]:
    """Return the reports of an order, in the order in which they are offered, as they are now."""
    job_id = report_job_id(order)
    job_ids = sold_product(order).part_job_ids(job_id or "")
    return [
        Part(
            product=_product(order, kind),
            job=None if job_id is None else await find_job(client, part_job_id),
        )
        for kind, part_job_id in job_ids.items()
    ]


async def find_job(client: JobClient, job_id: str) -> Job | None:
    """Return a job; None if there is none."""
    try:
        return await client.get(job_id)
    except JobNotFoundError:
        return None
