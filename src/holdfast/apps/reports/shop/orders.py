"""Orders over HTTP once they are there: how they are, live, and what came of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from holdfast.apps.reports.orders.parts import parts_of
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.orders.state import OrderView, view_of
from holdfast.apps.reports.shop import examples
from holdfast.apps.reports.shop.access import AtShop, Delivered, Watched, address_of, find_for
from holdfast.apps.reports.shop.following import ENDS, Following, digest_of
from holdfast.apps.reports.shop.throttles import ORDER_STREAMS_MAX
from holdfast.errors import HoldfastError, OrderFileNotFoundError
from holdfast.server.access import Action
from holdfast.server.conditional import matches
from holdfast.server.downloads import Asked, Conditions, send_artifact
from holdfast.server.polling import poll_seconds
from holdfast.server.problems import NOT_FOUND, Problem, ProblemRoute
from holdfast.server.service import Here, Service
from holdfast.server.sse import SSE, EventStream
from holdfast.server.streams import Streams, streams_of
from holdfast.store.orders import Order, Payment

router = APIRouter(prefix="/api/v1/orders/{order_id}", tags=["orders"], route_class=ProblemRoute)

PDF = "application/pdf"
_FILE = {PDF: {"schema": {"type": "string", "format": "binary"}, "example": "%PDF-1.7 …"}}


@router.get(
    "",
    summary="Get an order",
    response_model=OrderView,
    responses={
        200: {
            "content": {"application/json": {"example": examples.ORDER}},
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "Retry-After": {
                    "description": "Seconds after which to ask again; absent once it has ended.",
                    "schema": {"type": "integer"},
                },
            },
        },
        304: {"description": "It is as `If-None-Match` knows it."},
        **NOT_FOUND,
    },
)
async def get_order(request: Request, shop: AtShop, order: Watched) -> Response:
    """Return an order as its customer sees it: by the order's token, or by a key with `read`.

    Nothing of it is personal.
    """
    view = await view_of(shop, order)
    headers = {"ETag": f'W/"{digest_of(view)}"', **asking_again(shop, view)}
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(view.model_dump_json(), media_type="application/json", headers=headers)


def asking_again(shop: Shop, view: OrderView) -> dict[str, str]:
    """Return the header that says when to ask for an order again; none if nothing is to come."""
    if view.status in ENDS:
        return {}
    return {"Retry-After": str(poll_seconds(view.paid_at or view.created_at, shop.clock.now()))}


@router.get(
    "/stream",
    summary="Follow an order",
    response_class=StreamingResponse,
    responses={
        200: {"content": {SSE: {"schema": {}, "example": examples.ORDER_EVENT}}},
        **NOT_FOUND,
    },
)
async def stream_order(
    request: Request,
    *,
    here: Here,
    shop: AtShop,
    order: Watched,
    streams: Annotated[Streams, Depends(streams_of)],
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Send the whole order whenever it has changed, until nothing more is to come.

    An event's id stands for the state that it tells: with it as `Last-Event-ID`, a client that comes
    back is sent only what is new. An `end` event says that nothing more will come.
    """

    async def find() -> Order:
        return await find_for(request, order.order_id, Action.READ)

    client = (order.order_id if order.served else address_of(request), None)
    following = Following(service=here, shop=shop, find=find, known=last_event_id)
    with contextlib.ExitStack() as place:
        place.enter_context(streams.seat(client, ORDER_STREAMS_MAX))
        return EventStream(_until_refused(following), place.pop_all())


async def _until_refused(following: Following) -> AsyncIterator[bytes]:
    try:
        async for frame in following.frames():
            yield frame
    except HoldfastError:
        # The client comes back and is told why as a problem.
        return


@router.get(
    "/files/{product}",
    summary="Get a report",
    response_class=Response,
    responses={
        200: {"description": "The whole PDF.", "content": _FILE},
        206: {"description": "The part that `Range` asks for.", "content": _FILE},
        304: {"description": "It is as `If-None-Match` knows it."},
        416: {"model": Problem, "description": "The file has no such part."},
        **NOT_FOUND,
    },
)
async def get_report(
    product: str, here: Here, shop: AtShop, order: Delivered, conditions: Asked
) -> Response:
    """Return the PDF of one of an order's reports, by the order's token or a key with `content`.

    There is none before it is ready, nor after the order was given back.
    """
    return await send_report(here, shop, order, product, conditions)


async def send_report(
    here: Service, shop: Shop, order: Order, product: str, conditions: Conditions
) -> Response:
    """Return an answer with a report of an order.

    Raises:
        OrderFileNotFoundError: It is not ready, or was given back, or is not part of the order.
    """
    parts = [] if order.payment is Payment.REFUNDED else await parts_of(shop.client, order)
    part = next((part for part in parts if part.product.kind == product), None)
    artifact = None
    if part is not None and part.job is not None and part.result is not None:
        artifact = await here.records.find_artifact(part.job.job_id, part.result.artifact)
    if artifact is None:
        raise OrderFileNotFoundError(order_id=order.order_id, product=product[:80])
    # Its name is the product's own: nothing personal, and the same in every language.
    return await send_artifact(here, artifact, conditions)
