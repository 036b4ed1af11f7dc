"""A customer's personal data: what is on record of it, and its end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.apps.reports.orders.finding import orders_of
from holdfast.apps.reports.orders.models import customer_of
from holdfast.engine.subjects import ERASE_WAIT, erase, jobs_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.engine.retention import Removal
    from holdfast.model import Job
    from holdfast.store.orders import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased of a customer, and what could not be yet."""

    removal: Removal
    """The jobs and their files."""
    order_ids: Sequence[str]
    mails: int
    """E-mails that were kept here, such as in test mode."""
    jobs_left: Sequence[Job]
    orders_left: Sequence[Order]

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not (self.jobs_left or self.orders_left or self.removal.files_left)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRecord:
    """How much there is of a customer."""

    orders: int
    jobs: int
    unfinished: int
    """Of the jobs."""


async def count_customer(shop: Shop, email: str) -> OnRecord:
    """Return how much is on record of a customer."""
    subject = customer_of(email)
    orders = len([order async for order in orders_of(shop, subject)])
    ended = [job.status.terminal async for job in jobs_of(shop.client, subject)]
    return OnRecord(orders=orders, jobs=len(ended), unfinished=ended.count(False))


async def erase_customer(shop: Shop, email: str, *, wait: timedelta = ERASE_WAIT) -> Erasure:
    """Cancel a customer's jobs, then erase them with their files, then the orders.

    What has not ended in time is left, and its order with it; then this is to be called again. Neither
    the payment service nor the mail server forgets anything by it.

    Args:
        shop: Where it was ordered.
        email: The customer's address, however written.
        wait: How long to wait for jobs to end, and for files to be old enough to be deleted.

    Raises:
        StoreError: See `holdfast.engine.subjects.erase`; calling again goes on.
        MailUnavailableError: E-mails that are kept here cannot be deleted; all else is.
    """
    subject = customer_of(email)
    removal = await erase(shop.client, subject, wait=wait)
    order_ids = await shop.orders.erase_orders(subject)
    mails = await shop.mailer.forget(email)
    return Erasure(
        removal=removal,
        order_ids=order_ids,
        mails=mails,
        jobs_left=[job async for job in jobs_of(shop.client, subject)],
        orders_left=[order async for order in orders_of(shop, subject)],
    )


def order_record(order: Order) -> dict[str, Any]:
    """Return all that is on record of an order, its details and note with it, for its customer."""
    return {**asdict(order), "details": msgspec.json.decode(order.details)}
