"""Orders over HTTP before they are paid: the checkout, and what the payment service tells."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.state import status_of
from holdfast.apps.reports.shop import examples
from holdfast.apps.reports.shop.access import AtShop, count_checkout
from holdfast.apps.reports.shop.ordering import KEY_CHARACTERS_MAX, place_order
from holdfast.apps.reports.shop.schemas import CheckoutAnswer, CheckoutRequest, WebhookAnswer
from holdfast.server.problems import CONFLICT, OpenRoute, Problem

router = APIRouter(prefix="/api/v1", tags=["orders"], route_class=OpenRoute)


@router.post(
    "/checkout",
    status_code=201,
    summary="Order a report",
    responses={
        201: {
            "headers": {"Location": {"description": "Where the order is.", "schema": {"type": "string"}}}
        },
        **CONFLICT,
    },
)
async def check_out(
    order: CheckoutRequest,
    request: Request,
    response: Response,
    shop: AtShop,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=KEY_CHARACTERS_MAX,
            description="The same key with the same order of the same customer gives the same order.",
        ),
    ] = None,
) -> CheckoutAnswer:
    """Store an order and make the page to pay it on; nobody is charged or written to before that.

    What cannot be used is told with the field and, for a place, what it may have meant: `details` of
    the problem have `field` and `suggestions`.
    """
    count_checkout(request)
    checkout = await place_order(shop, **dict(order), key=idempotency_key)
    order_id = checkout.order.order_id
    orders = request.url.path.rstrip("/").removesuffix("/checkout")
    response.headers["Location"] = f"{orders}/orders/{order_id}"
    return CheckoutAnswer(
        order_id=order_id,
        order_token=shop.links.token(order_id),
        status=await status_of(shop, checkout.order),
        checkout_url=checkout.url,
    )


@router.post(
    "/webhooks/stripe",
    summary="Take a payment event",
    responses={400: {"model": Problem, "description": "It is not signed by Stripe, or too old."}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": examples.WEBHOOK}},
        }
    },
)
async def take_payment_event(
    request: Request,
    shop: AtShop,
    stripe_signature: Annotated[str, Header(description="Over the body, as Stripe makes it.")] = "",
) -> WebhookAnswer:
    """Take what Stripe tells of a payment, once, in any order; `200` means that it is stored.

    Where it could not be, Stripe is answered with an error and tells it again.
    """
    await desk.take_webhook(shop, await request.body(), stripe_signature)
    return WebhookAnswer()
