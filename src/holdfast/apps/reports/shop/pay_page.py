"""The payment page of test mode: whoever clicks sends a signed webhook, and nobody pays anything."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.parts import sold_product
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct, TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.shop.access import AtShop
from holdfast.apps.reports.shop.pages import SECRET_ADDRESS
from holdfast.apps.reports.shop.rendering import ShopPageRoute, own_address, render
from holdfast.server.forms import read_form
from holdfast.server.html import redirect
from holdfast.store.orders import Order, Payment

router = APIRouter(prefix="/pay", include_in_schema=False, route_class=ShopPageRoute)

_OFFERED = {
    Payment.AWAITED: (PaymentAct.PAY, PaymentAct.PAY_LATER, PaymentAct.LEAVE),
    Payment.PROCESSING: (PaymentAct.CONFIRM, PaymentAct.REFUSE),
}
"""What can be done about a payment; nothing once it has come to an end."""


@router.get("/{session_id}")
async def show_payment(request: Request, session_id: str, shop: AtShop, token: str = "") -> Response:
    """Show what can be done about a payment."""
    order, _ = await _paid_here(shop, session_id, token)
    acts = _OFFERED.get(order.payment, ())
    if not acts:
        return _to_order(request, shop, order)
    return render(
        request,
        "pay.html",
        order=order,
        title=sold_product(order).title,
        acts=[act.value for act in acts],
        token=token,
        order_page=own_address(request, shop.links.order_page(order.order_id)),
    )


@router.post("/{session_id}")
async def act(request: Request, session_id: str, shop: AtShop) -> Response:
    """Do it, by the very webhook that the payment service would send."""
    form = await read_form(request)
    order, payments = await _paid_here(shop, session_id, form.get("token", ""))
    wanted = form.get("act", "")
    if wanted in _OFFERED.get(order.payment, ()):
        body = payments.event_for(order, PaymentAct(wanted))
        await desk.take_webhook(shop, body, payments.sign(body))
    if wanted == PaymentAct.PAY_LATER:
        return redirect(f"{request.url.path}?token={form.get('token', '')}")
    return _to_order(request, shop, order)


async def _paid_here(shop: Shop, session_id: str, token: str) -> tuple[Order, TestPayments]:
    """Return the order of a payment page, for whoever was sent there.

    Raises:
        HTTPException: The shop is no trial, or there is no such page.
    """
    if shop.mode == "test" and isinstance(shop.payments, TestPayments):
        order = None
        if shop.payments.admits(token, session_id):
            order = await shop.orders.find_order_of(session_id=session_id)
        if order is not None:
            return order, shop.payments
    raise HTTPException(404)


def _to_order(request: Request, shop: Shop, order: Order) -> Response:
    answer = redirect(own_address(request, shop.links.order_page(order.order_id)))
    answer.headers.update(SECRET_ADDRESS)
    return answer
