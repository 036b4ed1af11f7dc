"""The pages on which reports are looked at, ordered and followed."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from holdfast.apps.reports.jobs import PRODUCTS, product_of
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.orders.state import OrderView, expected_time, view_of
from holdfast.apps.reports.product import Product
from holdfast.apps.reports.requests import InvalidReportError
from holdfast.apps.reports.shop.access import (
    AtShop,
    count_checkout,
    customers_order,
    given_token,
    throttles_of,
)
from holdfast.apps.reports.shop.following import ENDS
from holdfast.apps.reports.shop.form import OrderForm
from holdfast.apps.reports.shop.ordering import place_order
from holdfast.apps.reports.shop.orders import asking_again, send_report
from holdfast.apps.reports.shop.rendering import (
    PACKAGE,
    ShopPageRoute,
    own_address,
    paying_policy,
    render,
    texts,
)
from holdfast.errors import PaymentServiceError
from holdfast.server.downloads import Asked
from holdfast.server.forms import read_form
from holdfast.server.html import redirect
from holdfast.server.service import Here
from holdfast.server.static_files import static_answer
from holdfast.store.orders import Order, Payment

logger = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False, route_class=ShopPageRoute)

SECRET_ADDRESS = {"Referrer-Policy": "no-referrer"}
"""Of pages whose address opens an order: nobody is told where a link was clicked."""

AFTER_END_SECONDS = 60
"""How often a page looks again that expects nothing, in case an operator has helped."""


@router.get("/reports")
async def show_reports(request: Request, shop: AtShop) -> Response:
    """Show what is sold."""
    offers = [await _offer(shop, product) for product in PRODUCTS]
    return render(request, "reports.html", offers=offers)


@router.get("/reports/static/{name}")
async def send_static(name: str) -> Response:
    """Send a style, a script, a picture or a font."""
    return static_answer(PACKAGE, name)


@router.get("/reports/{product}")
async def show_product(request: Request, product: str, shop: AtShop) -> Response:
    """Show a product with the form to order it."""
    return await _form_page(request, shop, _sold(product), OrderForm())


@router.post("/reports/{product}")
async def order_product(request: Request, product: str, shop: AtShop) -> Response:
    """Take the form: on to the payment, or back with what to type instead."""
    sold = _sold(product)
    form = OrderForm.read(await read_form(request))
    if not form.check():
        return await _form_page(request, shop, sold, form, status=422)
    count_checkout(request)
    try:
        checkout = await place_order(shop, product=product, **form.order())
    except InvalidReportError as error:
        form.blame(error)
        return await _form_page(request, shop, sold, form, status=422)
    except PaymentServiceError as error:
        logger.warning("payment page cannot be made", extra={"error": error.code, "told": error.message})
        form.trouble = texts()["wrong"]["payment"]
        return await _form_page(request, shop, sold, form, status=503)
    answer = redirect(own_address(request, checkout.url))
    answer.headers.update(paying_policy(shop))
    return answer


@router.get("/orders/{order_id}")
async def show_order(request: Request, order_id: str, shop: AtShop) -> Response:
    """Show how an order is, for whoever has its token."""
    order = await _up_to_date(request, shop, await customers_order(request, order_id))
    view = await view_of(shop, order)
    again = asking_again(shop, view) or {"Retry-After": str(AFTER_END_SECONDS)}
    return render(
        request,
        "order.html",
        headers=SECRET_ADDRESS | again,
        view=view,
        told=_told(view),
        token=given_token(request),
        refresh=again["Retry-After"],
        ended=view.status in ENDS,
    )


@router.get("/orders/{order_id}/pay")
async def pay_order(request: Request, order_id: str, shop: AtShop) -> Response:
    """Lead to where an order is paid, or back to the order if that is done."""
    order = await customers_order(request, order_id)
    if order.payment is Payment.PROCESSING and shop.mode == "test":
        # On our own page, the customer plays the bank, too.
        url = (await shop.payments.open_page(desk.page_request(shop, order))).url
    else:
        url = (await desk.open_payment(shop, order)).url
    answer = redirect(own_address(request, url))
    answer.headers.update(SECRET_ADDRESS)
    return answer


@router.get("/orders/{order_id}/files/{product}")
async def download(
    *, request: Request, order_id: str, product: str, here: Here, shop: AtShop, conditions: Asked
) -> Response:
    """Send a report, as e-mails and pages link to it."""
    order = await customers_order(request, order_id)
    answer = await send_report(here, shop, order, product, conditions)
    answer.headers.update(SECRET_ADDRESS)
    return answer


async def _offer(shop: Shop, product: Product) -> dict[str, object]:
    return {
        "product": product,
        "words": texts()["products"][product.kind],
        "cents": int(shop.terms[product.kind].price_usd * 100),
        "seconds": (await expected_time(shop, product.kind)).total_seconds(),
    }


def _sold(kind: str) -> Product:
    found = product_of(kind)
    if found is None:
        raise HTTPException(404)
    return found


async def _form_page(
    request: Request, shop: Shop, product: Product, form: OrderForm, *, status: int = 200
) -> Response:
    return render(
        request,
        "product.html",
        status=status,
        headers=paying_policy(shop),
        form=form,
        today=shop.clock.now().date(),
        **await _offer(shop, product),
    )


async def _up_to_date(request: Request, shop: Shop, order: Order) -> Order:
    """Return the order after asking the payment service, if it may know more than it has told."""
    if order.payment not in (Payment.AWAITED, Payment.PROCESSING) or order.session_id is None:
        return order
    look_ups, now = throttles_of(request).look_ups, shop.clock.now()
    if look_ups.wait(order.order_id, now):
        return order
    look_ups.add(order.order_id, now)
    try:
        taken = await desk.look_up_payment(shop, order)
    except PaymentServiceError as error:
        # Its webhook comes sooner or later; the page shows what is known.
        logger.warning("payment cannot be looked up", extra={"error": error.code})
        return order
    return order if taken is None or taken.order is None else taken.order


def _told(view: OrderView) -> str:
    """Return under which name the words for a state stand in the texts."""
    unpaid = {
        Payment.PROCESSING: "processing",
        Payment.EXPIRED: "expired",
        Payment.FAILED: "payment_failed",
    }
    if view.status is OrderStatus.PENDING_PAYMENT:
        return unpaid.get(view.payment, view.status.value)
    some_ready = any(part.status is OrderStatus.READY for part in view.parts)
    if view.status is OrderStatus.FAILED and some_ready:
        return "partly_failed"
    return view.status.value
