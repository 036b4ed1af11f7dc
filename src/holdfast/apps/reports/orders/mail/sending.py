"""The step that sends an e-mail of an order: says how things are at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.apps.reports.orders.mail.messages import MailFacts, PartFacts, compose
from holdfast.apps.reports.orders.models import MailSort, decode_details
from holdfast.apps.reports.orders.parts import parts_of, sold_product
from holdfast.apps.reports.orders.state import expected_time
from holdfast.errors import OrderNotFoundError

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.models import MailEnd
    from holdfast.apps.reports.orders.shop import Shop


async def send_mail(shop: Shop, order_id: str, sort: MailSort, again: str | None = None) -> MailEnd:
    """Send an e-mail of an order, once for each `sort` and `again`.

    Raises:
        MailUnavailableError: It may be taken later.
        MailRefusedError: It never will be.
        OrderNotFoundError: The order has been erased.
    """
    order = await shop.orders.find_order(order_id)
    if order is None:
        raise OrderNotFoundError(order_id=order_id)
    details = decode_details(order.details)
    facts = MailFacts(
        order_id=order_id,
        to=details.email,
        name=details.request.birth.name,
        title=sold_product(order).title,
        order_page=shop.links.order_page(order_id),
        parts=tuple(
            PartFacts(
                title=part.product.title,
                pages=part.result.pages if part.result else None,
                file=shop.links.file(order_id, part.product.kind) if part.result else None,
            )
            for part in await parts_of(shop.client, order)
        ),
        expected=await expected_time(shop, order.product),
        expires_at=shop.links.expiry(),
    )
    await shop.mailer.send(compose(sort, facts, again=again))
    return "sent"
