"""A shop on a harness, so that its routes are walked with all others."""

from __future__ import annotations

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.links import Links
from holdfast.apps.reports.orders.models import OrderDetails
from holdfast.apps.reports.orders.payments.test_mode import TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.requests import report_request
from holdfast.apps.reports.shop.throttles import Throttles
from holdfast.apps.reports.terms import load_terms
from holdfast.server.tokens import Tokens
from holdfast.testing.harness import Harness
from tests.apps.reports.orders.conftest import SECRET, Postbox

URL = "http://127.0.0.1:8000"


def shop_resources(harness: Harness) -> dict[type, object]:
    """Return what the shop's routes work with."""
    shop = Shop(
        mode="test",
        orders=harness.real_store.orders,
        client=harness.client,
        terms=load_terms(),
        payments=TestPayments([SECRET], URL, harness.clock),
        mailer=Postbox(),
        links=Links(URL, Tokens([SECRET], harness.clock), harness.clock),
        clock=harness.clock,
    )
    return {Shop: shop, Throttles: Throttles()}


async def order_of(shop: Shop, mark: str) -> str:
    """Return the id of an unpaid order whose personal data holds a mark."""
    request = report_request(name=mark, born="1990-03-14", place="38.7, -9.1", start="2026-05-20")
    details = OrderDetails(email=f"{mark}@customers.example", request=request)
    return (await desk.open_order(shop, "life_clarity", details)).order.order_id
