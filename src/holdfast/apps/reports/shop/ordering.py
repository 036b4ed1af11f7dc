"""From what a customer sent to an order that waits to be paid."""

from __future__ import annotations

import asyncio
from datetime import date

from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.desk import Checkout
from holdfast.apps.reports.orders.models import OrderDetails, customer_of
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.requests import InvalidReportError, report_request

KEY_CHARACTERS_MAX = 255


async def place_order(
    shop: Shop,
    *,
    product: str,
    email: str,
    name: str,
    born: str,
    place: str,
    start: date | None = None,
    key: str | None = None,
) -> Checkout:
    """Check what was typed, and open an order for it.

    Args:
        shop: Where it is ordered.
        product: Kind of what is ordered.
        email: Where to write.
        name: For the cover.
        born: `1990-03-14`, or `1990-03-14 07:25`.
        place: As a person writes it.
        start: First day of the report; today by default.
        key: The same one with the same order of the same customer gives the same order.

    Raises:
        InvalidInputError: Something cannot be used, or there is no such product.
        IdempotencyConflictError: The customer has used the key for something else.
        PaymentServiceError: The page to pay on cannot be made.
    """
    # Places, the sky and fonts take files to be read, and the chart some work.
    first_day = start or shop.clock.now().date()
    request = await asyncio.to_thread(_request, name, born, place, first_day)
    details = OrderDetails(email=email, request=request)
    # Keys are for the asker to choose: those of different customers do not meet.
    own_key = None if key is None else f"{customer_of(email)} {key}"
    return await desk.open_order(shop, product, details, key=own_key)


def _request(name: str, born: str, place: str, start: date) -> ReportRequest:
    """Return what is to be made, if it can be: nobody shall pay for a cover that cannot be printed."""
    from holdfast.apps.reports.render.glyphs import foreign_letters

    request = report_request(name=name, born=born, place=place, start=start)
    foreign = foreign_letters(request.birth.name)
    if foreign:
        raise InvalidReportError(
            f"name {name!r} has letters that our fonts cannot print: {foreign}",
            field="name",
            reason="name_unprintable",
            hint="write it in another script",
        )
    return request
