"""The step that sends an e-mail of an order: tells how things are at that moment."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from holdfast.apps.reports.orders.mail.messages import MailFacts, MailPart, compose
from holdfast.apps.reports.orders.models import decode_details
from holdfast.apps.reports.orders.parts import parts_of, sold_product
from holdfast.apps.reports.orders.state import expected_time
from holdfast.errors import MailRefusedError, OrderNotFoundError, OrderStateError
from holdfast.store.orders import Payment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.apps.reports.orders.models import MailEnd, MailSort
    from holdfast.apps.reports.orders.parts import Part
    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.store.orders import Order

logger = logging.getLogger(__name__)


async def send_mail(shop: Shop, order_id: str, sort: MailSort, again: str | None = None) -> MailEnd:
    """Send an e-mail of an order; repeats of the same `sort` and `again` are recognised as such.

    One that will never be taken is a result, not an error: it must not be tried again by later attempts.

    Raises:
        MailUnavailableError: It may be taken later.
        OrderNotFoundError: The order has been erased.
        OrderStateError: It was given back, or nothing is missing that could be told to have failed.
    """
    order = await shop.orders.find_order(order_id)
    if order is None:
        raise OrderNotFoundError(order_id=order_id)
    parts = await parts_of(shop.client, order)
    _check_still_true(order, sort, parts)
    details = decode_details(order.details)
    facts = MailFacts(
        order_id=order_id,
        title=sold_product(order).title,
        name=details.request.birth.name,
        parts=tuple(_told(shop, order, part) for part in parts),
        page_url=shop.links.order_page(order_id),
        links_until=shop.links.expiry().date(),
        price=f"${order.amount_cents / 100:.2f}",
        eta_seconds=(await expected_time(shop, order.product)).total_seconds(),
        test=shop.mode == "test",
    )
    # In a thread: the first one of a process reads and compiles the templates.
    mail = await asyncio.to_thread(
        compose, sort, facts, to=details.email, sender=shop.mailer.sender, again=again
    )
    try:
        await shop.mailer.send(mail)
    except MailRefusedError as error:
        logger.warning(
            "e-mail refused", extra={"order_id": order_id, "sort": sort.value, "error": str(error)}
        )
        return "undelivered"
    return "sent"


def _check_still_true(order: Order, sort: MailSort, parts: Sequence[Part]) -> None:
    """Refuse what has been overtaken: an e-mail may have waited for days for a server to take it."""
    if order.payment is Payment.REFUNDED:
        raise OrderStateError(order_id=order.order_id, status="refunded", action="be written about")
    if sort == "failed" and all(part.result is not None for part in parts):
        raise OrderStateError(order_id=order.order_id, status="ready", action="be told of as failed")


def _told(shop: Shop, order: Order, part: Part) -> MailPart:
    result = part.result
    if result is None:
        return MailPart(title=part.product.title)
    return MailPart(
        title=part.product.title,
        file_url=shop.links.file(order.order_id, part.product.kind),
        pages=result.pages,
        size_bytes=result.size_bytes,
    )
