"""Who may see an order: its customer by the order's token, and operators by their keys."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from holdfast.apps.reports.orders.models import ORDER_KIND
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.shop.throttles import CHECKOUTS_PER_MINUTE, Throttles
from holdfast.errors import OrderNotFoundError, TooManyRequestsError
from holdfast.server.access import Action, key_id_of
from holdfast.server.auth import bearer_of, bearer_scheme, permitted
from holdfast.server.rate_limit import network_of
from holdfast.server.service import service_of
from holdfast.server.tokens import JOB_TOKEN_PREFIX
from holdfast.store.orders import Order

_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_SHOWN_CHARACTERS = 80


def shop_of(connection: HTTPConnection) -> Shop:
    """Return the shop that a request came to."""
    found = service_of(connection).resources[Shop]
    assert isinstance(found, Shop)  # noqa: S101 - the mapping is by type
    return found


async def _shop_here(connection: HTTPConnection) -> Shop:
    # Asynchronous, because FastAPI calls what is not in a thread, for every request.
    return shop_of(connection)


AtShop = Annotated[Shop, Depends(_shop_here)]
"""The shop, as a parameter of a route."""


def throttles_of(connection: HTTPConnection) -> Throttles:
    """Return what was asked of the shop lately."""
    found = service_of(connection).resources[Throttles]
    assert isinstance(found, Throttles)  # noqa: S101 - the mapping is by type
    return found


def address_of(connection: HTTPConnection) -> str:
    """Return what stands for the address that a request came from."""
    return network_of(connection.client.host if connection.client else "")


def count_checkout(connection: HTTPConnection) -> None:
    """Count an attempt to order something.

    Raises:
        TooManyRequestsError: There were too many from this address.
    """
    tries, address = throttles_of(connection).checkouts, address_of(connection)
    now = service_of(connection).clock.now()
    wait = tries.wait(address, now).total_seconds()
    if wait:
        raise TooManyRequestsError(limit=CHECKOUTS_PER_MINUTE, retry_after=math.ceil(wait))
    tries.add(address, now)


def given_token(connection: HTTPConnection) -> str | None:
    """Return what a customer sent to be let in: as `Authorization: Bearer`, or as `?token=`."""
    return bearer_of(connection) or connection.query_params.get("token")


async def customers_order(connection: HTTPConnection, order_id: str) -> Order:
    """Return the order whose own token the request carries.

    Raises:
        OrderNotFoundError: The token is not for this order or has expired, or there is none: which of
            them is not told.
    """
    shop, given = shop_of(connection), given_token(connection)
    if given is not None and shop.links.admits(given, order_id):
        order = await shop.orders.find_order(order_id)
        if order is not None:
            return order
    raise OrderNotFoundError(order_id=order_id[:_SHOWN_CHARACTERS])


async def find_for(connection: HTTPConnection, order_id: str, action: Action) -> Order:
    """Return the order if whoever asks is its customer, or an operator with a key for `action`.

    Raises:
        OrderNotFoundError: It is not for them, or does not exist: which of both is not told.
        NotAuthenticatedError, AccessDeniedError: Nobody known asks, or somebody who may not.
    """
    shop, given = shop_of(connection), given_token(connection)
    if given is not None and (shop.links.admits(given, order_id) or not _is_key(given)):
        return await customers_order(connection, order_id)
    principal = await permitted(connection, action, one_job=False)
    reaches = principal.tenant is None and principal.sees_kind(ORDER_KIND)
    found = None
    if reaches and _ORDER_ID.fullmatch(order_id):
        found = await shop.orders.find_order(order_id)
    if found is None:
        raise OrderNotFoundError(order_id=order_id[:_SHOWN_CHARACTERS])
    return found


def _is_key(given: str) -> bool:
    """Whether something has the form of a key of the service, or of a job's token."""
    return key_id_of(given) is not None or given.startswith(JOB_TOKEN_PREFIX)


def _seen_with(action: Action) -> Callable[..., Awaitable[Order]]:
    async def look(
        connection: HTTPConnection, order_id: str, _: Annotated[None, Depends(bearer_scheme)]
    ) -> Order:
        return await find_for(connection, order_id, action)

    return look


Watched = Annotated[Order, Depends(_seen_with(Action.READ))]
"""The order of a path, for who may see how it is."""

Delivered = Annotated[Order, Depends(_seen_with(Action.CONTENT))]
"""The order of a path, for who may see what came of it."""
