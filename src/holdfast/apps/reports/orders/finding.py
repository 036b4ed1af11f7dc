"""How operators find orders: by what a customer, the payment service or the console has told them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.apps.reports.orders.models import (
    MAIL_KIND,
    ORDER_KIND,
    MailInput,
    OrderInput,
    customer_of,
)
from holdfast.errors import InvalidInputError, JobNotFoundError, OrderNotFoundError
from holdfast.store.orders import ORDERS_MAX, OrderQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.store.orders import Order

_NAMED_MAX: Final = 5


async def find_orders(shop: Shop, sought: str, *, limit: int = 50) -> Sequence[Order]:
    """Return the orders that a text means, newest first.

    Args:
        shop: Where they were placed.
        sought: An e-mail address, or the id of an order, of its payment page, of its payment, or of a
            job that serves it.
        limit: At most so many.
    """
    text = sought.strip()
    if "@" in text:
        return await shop.orders.list_orders(OrderQuery(subject=customer_of(text), limit=limit))
    order = await _find_by_id(shop, text) if text else None
    return [] if order is None else [order]


async def the_order(shop: Shop, sought: str) -> Order:
    """Return the one order that a text means; see `find_orders`.

    Raises:
        OrderNotFoundError: There is none.
        InvalidInputError: It is an e-mail address with several.
    """
    found = await find_orders(shop, sought)
    if not found:
        raise OrderNotFoundError(order_id=_shown(sought))
    if len(found) > 1:
        named = ", ".join(order.order_id for order in found[:_NAMED_MAX])
        more = f" and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
        raise InvalidInputError(
            f"this address has {len(found)} orders: {named}{more}", hint="give the id of one of them"
        )
    # Read by itself: a list shows what it cannot open as it is.
    return await shop.orders.find_order(found[0].order_id) or found[0]


async def orders_of(shop: Shop, subject: str) -> AsyncIterator[Order]:
    """Yield the orders of a customer, newest first."""
    before: str | None = None
    while True:
        query = OrderQuery(subject=subject, before=before, limit=ORDERS_MAX)
        page = await shop.orders.list_orders(query)
        for order in page:
            yield order
        if len(page) < ORDERS_MAX:
            return
        before = page[-1].order_id


async def _find_by_id(shop: Shop, text: str) -> Order | None:
    if text.startswith("job_"):
        return await _find_by_job(shop, text)
    return (
        await shop.orders.find_order(text)
        or await shop.orders.find_order_of(session_id=text)
        or await shop.orders.find_order_of(payment_id=text)
    )


async def _find_by_job(shop: Shop, job_id: str) -> Order | None:
    """Return the order that a job serves, itself or by a parent."""
    try:
        job = await shop.client.get(job_id)
        while job.kind not in (ORDER_KIND, MAIL_KIND):
            if job.parent_id is None:
                return None
            job = await shop.client.get(job.parent_id)
    except JobNotFoundError:
        return None
    model = OrderInput if job.kind == ORDER_KIND else MailInput
    return await shop.orders.find_order(model.model_validate_json(job.input).order_id)


def _shown(sought: str) -> str:
    """Return what may be repeated in an error: no address."""
    return "of this address" if "@" in sought else sought.strip()
