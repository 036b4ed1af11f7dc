"""What is done with orders: by customers' pages, by the payment service's webhooks, by operators."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.apps.reports.jobs import PRODUCTS, product_of
from holdfast.apps.reports.orders.models import (
    MAIL_KIND,
    ORDER_KIND,
    MailInput,
    MailSort,
    OrderInput,
    OrderStatus,
    customer_of,
    decode_details,
    encode_details,
)
from holdfast.apps.reports.orders.parts import parts_of, sold_product
from holdfast.apps.reports.orders.payments.base import PageRequest
from holdfast.apps.reports.orders.state import status_of
from holdfast.errors import (
    InvalidInputError,
    OrderNotFoundError,
    OrderStateError,
)
from holdfast.ids import derived_id, new_id
from holdfast.store.orders import (
    Order,
    Payment,
    PaymentEvent,
    PaymentNews,
    PaymentOutcome,
    Taken,
)

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.models import OrderDetails
    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.model import Job

UNPAID_FOR: Final = timedelta(days=30)
"""How long an order that nobody pays is kept: pages to pay on are open a day, some banks take weeks."""

CURRENCY: Final = "usd"

_STRANGE: Final = frozenset({PaymentOutcome.UNKNOWN_ORDER, PaymentOutcome.FOREIGN})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """An order that waits to be paid."""

    order: Order
    url: str
    """Where the customer goes now: to the payment page, or to the order if there is nothing to pay."""


# customers ---------------------------------------------------------------------------------------


async def open_order(
    shop: Shop, product: str, details: OrderDetails, *, key: str | None = None
) -> Checkout:
    """Store an order and make the page to pay it on.

    Args:
        shop: Where it is ordered.
        product: Kind of what is ordered.
        details: What the customer told.
        key: The same key with the same order gives the same order and page.

    Raises:
        InvalidInputError: There is no such product.
        IdempotencyConflictError: The key belongs to another order.
        PaymentServiceError: The page cannot be made; the order waits, unpaid, and asking again with
            the same key makes it.
    """
    if product_of(product) is None:
        raise InvalidInputError(
            f"product {product!r} is not sold",
            hint=f"sold are {', '.join(repr(each.kind) for each in PRODUCTS)}",
        )
    order = await shop.orders.insert_order(
        Order(
            order_id=new_id("ord") if key is None else derived_id("ord", key),
            product=product,
            amount_cents=int(shop.terms[product].price_usd * 100),
            currency=CURRENCY,
            subject=customer_of(details.email),
            details=encode_details(details),
            created_at=shop.clock.now(),
        ),
        unpaid_for=UNPAID_FOR,
    )
    return await open_payment(shop, order)


async def open_payment(shop: Shop, order: Order) -> Checkout:
    """Make the page to pay an order on, or find it again; one that is over leads to the order itself.

    Raises:
        PaymentServiceError: It cannot be made; the order waits, unpaid.
    """
    if order.payment not in (Payment.AWAITED, Payment.EXPIRED):
        return Checkout(order=order, url=shop.links.order_page(order.order_id))
    try:
        page = await shop.payments.open_page(page_request(shop, order))
    except OrderStateError:
        # Paid a moment ago, or expired, and its news is on the way: the order's page looks it up.
        return Checkout(order=order, url=shop.links.order_page(order.order_id))
    order = await shop.orders.set_session(order.order_id, page.session_id)
    return Checkout(order=order, url=page.url)


def page_request(shop: Shop, order: Order) -> PageRequest:
    """Return what the payment page of an order is to show."""
    return PageRequest(
        order=order,
        title=sold_product(order).title,
        email=decode_details(order.details).email,
        # The same each time: the page is asked for again with the very same addresses.
        success_url=shop.links.order_page(order.order_id, order.created_at),
        cancel_url=shop.links.product_page(order.product),
    )


async def require_order(shop: Shop, order_id: str) -> Order:
    """Return the order.

    Raises:
        OrderNotFoundError: There is none with this id.
    """
    order = await shop.orders.find_order(order_id)
    if order is None:
        raise OrderNotFoundError(order_id=order_id)
    return order


# payments ----------------------------------------------------------------------------------------


async def take_webhook(shop: Shop, body: bytes, signature: str) -> Taken | None:
    """Take what the payment service tells; durable once this returns, so that it may be answered.

    None for news of something else than payments.

    Raises:
        InvalidSignatureError, InvalidInputError: See `Payments.read_event`.
        StoreError: It could not be stored; the service tells it again if it is not answered well.
    """
    event = shop.payments.read_event(body, signature)
    return None if event is None else await take_event(shop, event)


async def look_up_payment(shop: Shop, order: Order) -> Taken | None:
    """Ask the payment service what has become of an order, in case it could not tell us.

    Raises:
        PaymentServiceError: It cannot be reached or refuses.
    """
    event = await shop.payments.look_up(order)
    return None if event is None else await take_event(shop, event)


async def take_event(shop: Shop, event: PaymentEvent) -> Taken:
    """Take one piece of news: the order moves on, and its job is submitted or cancelled with it."""
    order = await _order_of(shop, event)
    new = None
    if order is not None:
        new = shop.client.submissions.draft(
            ORDER_KIND,
            OrderInput(order_id=order.order_id),
            idempotency_key=order.session_id or event.session_id or order.order_id,
            subject=order.subject,
        )
    taken = await shop.orders.take_payment(event, new)
    if taken.outcome in _STRANGE:
        # Money may have come for what nobody makes: the ids lead to it at the payment service.
        told = {"event_id": event.event_id, "news": event.news.value, "session_id": event.session_id}
        logger.warning(
            "payment event fits no order",
            extra={"outcome": taken.outcome.value, "payment_id": event.payment_id, **told},
        )
    if taken.job is not None:
        await shop.client.submissions.announce(taken.job)
    return taken


async def _order_of(shop: Shop, event: PaymentEvent) -> Order | None:
    if event.order_id is not None:
        return await shop.orders.find_order(event.order_id)
    return await shop.orders.find_order_of(session_id=event.session_id, payment_id=event.payment_id)


# operators ---------------------------------------------------------------------------------------


async def retry_order(shop: Shop, order_id: str) -> Job:
    """Make what failed again, from where it failed; what is ready stays, and nothing is paid twice.

    Raises:
        OrderNotFoundError: There is none with this id.
        OrderStateError: It has not failed, is not paid, or was given back.
        JobNotFoundError: Its job has been deleted.
    """
    order = await require_order(shop, order_id)
    if order.payment is Payment.REFUNDED:
        raise OrderStateError(order_id=order_id, status="refunded", action="be retried")
    if order.job_id is None:
        raise OrderStateError(order_id=order_id, status="not paid", action="be retried")
    job = await shop.client.get(order.job_id)
    if job.status not in ("failed", "cancelled"):
        raise OrderStateError(order_id=order_id, status=job.status.value, action="be retried")
    return await shop.client.retry(order.job_id)


async def resend_mail(shop: Shop, order_id: str, sort: MailSort) -> Job:
    """Send one of an order's e-mails again, as things are now.

    Raises:
        OrderNotFoundError: There is none with this id.
        OrderStateError: It is not paid or was given back, or that is not how it is: a bundle of which a
            part is missing has failed, and its e-mail tells what is ready.
    """
    order = await require_order(shop, order_id)
    if order.payment is not Payment.PAID:
        raise OrderStateError(order_id=order_id, status=order.payment.value, action="be written about")
    ready = [part.result is not None for part in await parts_of(shop.client, order)]
    if sort is MailSort.READY and not all(ready):
        raise OrderStateError(order_id=order_id, status="not ready", action="be announced")
    status = await status_of(shop, order)
    if sort is MailSort.FAILED and status is not OrderStatus.FAILED:
        raise OrderStateError(order_id=order_id, status=status.value, action="be told of as failed")
    again = MailInput(order_id=order_id, sort=sort, again=new_id("again"))
    return await shop.client.submit(MAIL_KIND, again, subject=order.subject)


async def flag_refund(shop: Shop, order_id: str, note: str | None = None) -> Order:
    """Note that an order was given back in full, as the payment service would tell it.

    The money itself is given back at the payment service; its own news of it then changes nothing.

    Raises:
        OrderNotFoundError: There is none with this id.
        OrderStateError: It was never paid.
    """
    order = await require_order(shop, order_id)
    if order.paid_at is None:
        raise OrderStateError(order_id=order_id, status=order.payment.value, action="be refunded")
    if note is not None:
        await shop.orders.set_note(order_id, note)
    event = PaymentEvent(
        event_id=new_id("operator"),
        news=PaymentNews.REFUNDED,
        order_id=order.order_id,
    )
    taken = await take_event(shop, event)
    return taken.order or order
