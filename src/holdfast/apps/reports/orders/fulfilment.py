"""The job that serves an order: has its reports made, and writes to the customer.

The e-mails are steps of their own beside the making, so that a mail server that is away for a day delays
no report, and each sort is sent once however often the job is interrupted or retried.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from holdfast.apps.reports.orders.mail.base import SCHEDULE
from holdfast.apps.reports.orders.mail.sending import send_mail
from holdfast.apps.reports.orders.models import (
    MAIL_KIND,
    ORDER_KIND,
    ORDERS_QUEUE,
    REPORT_KEY,
    UNDELIVERED,
    MailEnd,
    MailInput,
    MailSort,
    OrderInput,
    OrderResult,
    decode_details,
)
from holdfast.apps.reports.orders.shop import Shop
from holdfast.engine.context import JobContext
from holdfast.errors import (
    JobCancelledError,
    JobFailedError,
    OrderNotFoundError,
    OrderStateError,
    StepFailedError,
)
from holdfast.store.orders import Payment

if TYPE_CHECKING:
    from holdfast.engine.registry import Registry
    from holdfast.store.orders import Order

_ENDS: Final = (JobFailedError, JobCancelledError)


async def serve_order(job: JobContext, given: OrderInput) -> OrderResult:
    """Make and deliver what was ordered.

    Raises:
        JobFailedError, JobCancelledError: It could not be made; the customer has been told. Retrying
            the job goes on from where it failed.
        OrderNotFoundError: The order has been erased.
        OrderStateError: It is not paid or was given back, or another job serves it.
    """
    shop = job.resource(Shop)
    order = await _order_of(shop, job, given)
    request = decode_details(order.details).request
    report = await job.spawn(REPORT_KEY, order.product, request)

    async def deliver() -> tuple[MailSort, MailEnd, Exception | None]:
        failure: Exception | None = None
        try:
            await report.result()
        except _ENDS as error:
            failure = error
        sort = MailSort.READY if failure is None else MailSort.FAILED
        # Mail sorts of an end are called as the status that they tell.
        await job.step(f"outcome/{sort}", shop.orders.set_outcome, order.order_id, sort.value)
        return sort, await write_to_customer(job, order.order_id, sort), failure

    confirmed, (sort, told, failure) = await asyncio.gather(
        write_to_customer(job, order.order_id, MailSort.CONFIRMATION), deliver()
    )
    if failure is not None:
        raise failure
    return OrderResult(mails={MailSort.CONFIRMATION: confirmed, sort: told})


async def _order_of(shop: Shop, job: JobContext, given: OrderInput) -> Order:
    """Return the order, if this job is to serve it: a fork or a job of somebody's own making is not.

    Looked at in each attempt, for a job that was retried just when the money was given back.
    """
    order = await shop.orders.find_order(given.order_id)
    if order is None:
        raise OrderNotFoundError(order_id=given.order_id)
    if order.payment is not Payment.PAID:
        raise OrderStateError(order_id=order.order_id, status=order.payment.value, action="be made")
    if order.job_id != job.job_id:
        raise OrderStateError(
            order_id=order.order_id, status="served by another job", action="be made by this one"
        )
    return order


async def write_to_customer(job: JobContext, order_id: str, sort: MailSort) -> MailEnd:
    """Send an e-mail of the order, once; one that cannot be delivered holds up nothing."""
    shop = job.resource(Shop)
    end: MailEnd
    try:
        end = await job.step(f"mail/{sort}", send_mail, shop, order_id, sort, retry=SCHEDULE)
    except StepFailedError:
        # For days the server took nothing, or the order was given back just now. A later attempt of
        # the job would try again.
        end = "undelivered"
    if end == "undelivered":
        job.emit(UNDELIVERED, sort=sort.value)
    return end


async def send_again(job: JobContext, given: MailInput) -> MailEnd:
    """Send an e-mail of an order again, because an operator has asked for it."""
    shop = job.resource(Shop)
    return await job.step(
        f"mail/{given.sort}", send_mail, shop, given.order_id, given.sort, given.again, retry=SCHEDULE
    )


def register_orders(registry: Registry) -> None:
    """Let workers with this registry serve orders; they need a `Shop`."""
    registry.add(ORDER_KIND, serve_order, queue=ORDERS_QUEUE)
    registry.add(MAIL_KIND, send_again, queue=ORDERS_QUEUE)
