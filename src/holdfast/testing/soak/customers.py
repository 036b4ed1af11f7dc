"""Customers at the shop: they order, pay in their way, wait, come back, want their money back."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import TYPE_CHECKING, Any

import httpx2

from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.testing.soak.books import PAYING, Visit, Way
from holdfast.testing.stripe import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.testing.soak.books import Customer
    from holdfast.testing.stripe import StripeSimulator

_TIMEOUT_SECONDS = 30.0
_PAUSE_SECONDS = 0.5
"""Before a request is sent again that was not answered well."""
_LOOK_SECONDS = 1.0
"""Between two looks at the order."""
_THINKING_SECONDS = 2.0
_BANK_SECONDS = (1.0, 12.0)
_PATIENCE_SECONDS = 900.0
"""How long one waits for a report; what takes longer, the auditor finds."""

_BEGUN = frozenset({OrderStatus.GENERATING, OrderStatus.READY, OrderStatus.FAILED})
_ENDED = frozenset({OrderStatus.READY, OrderStatus.FAILED})


class HighStreet:
    """The way from customers to the shop and to the payment service's page."""

    def __init__(self, shop_url: str, stripe: StripeSimulator, seed: int) -> None:
        """Lead customers to a shop.

        Args:
            shop_url: Where it is.
            stripe: Where they pay.
            seed: Of how long they think.
        """
        self.visits: list[Visit] = []
        self.tokens: dict[str, str] = {}
        """What lets customers see their orders, by order."""
        self._url = shop_url
        self._stripe = stripe
        self._seed = seed

    async def visit(self, customer: Customer) -> Visit:
        """Do what the customer does; return when they have got what they wanted, or will not."""
        visit = Visit(customer=customer)
        self.visits.append(visit)
        draw = random.Random(f"{self._seed}/{customer.number}")
        async with self._client(customer) as client:
            page_id = await self._check_out(client, visit)
            await asyncio.sleep(draw.uniform(0.0, _THINKING_SECONDS))
            await self._pay(visit, page_id, draw)
            visit.paid_at = time.monotonic()
            # As the browser does that the payment page leads back.
            if customer.way is not Way.ABANDONED:
                success_url = str(self._stripe.books.find(page_id).success_url)
                await _asked(client, "GET", success_url)
            if customer.way is Way.REFUND_RUNNING:
                await self._wait(client, visit, _BEGUN)
                self._refund(page_id)
            elif customer.way in PAYING:
                await self._wait(client, visit, _ENDED)
                if customer.way is Way.REFUND_AFTER:
                    self._refund(page_id)
        return visit

    async def look_again(self, visit: Visit) -> None:
        """Note what the shop tells a customer at the end, and what there is to download."""
        async with self._client(visit.customer) as client:
            for order_id in visit.order_ids:
                order = await self._order(client, order_id)
                visit.status = order["status"]
                for part in order["parts"]:
                    path = f"/api/v1/orders/{order_id}/files/{part['product']}"
                    answer = await _asked(client, "GET", path, headers=self._holding(order_id))
                    if answer.status_code == httpx2.codes.OK:
                        visit.files[part["product"]] = hashlib.sha256(answer.content).hexdigest()

    async def _check_out(self, client: httpx2.AsyncClient, visit: Visit) -> str:
        """Order, and return the payment page that the shop leads to."""
        customer = visit.customer
        body = {name: getattr(customer, name) for name in ("product", "email", "name", "born", "place")}
        headers = {"Idempotency-Key": f"visit {customer.number}"}
        clicks = 2 if customer.way is Way.DOUBLE_CLICK else 1
        answers = await asyncio.gather(
            *(
                _asked(client, "POST", "/api/v1/checkout", json=body, headers=headers)
                for _ in range(clicks)
            )
        )
        for answer in answers:
            told = answer.raise_for_status().json()
            visit.order_ids.add(told["order_id"])
            self.tokens[told["order_id"]] = told["order_token"]
            visit.page_ids.add(told["checkout_url"].rpartition("/")[2])
        return min(visit.page_ids)

    async def _pay(self, visit: Visit, page_id: str, draw: random.Random) -> None:
        books, way = self._stripe.books, visit.customer.way
        if way is Way.ABANDONED:
            books.expire(page_id)
        elif way in (Way.BANK, Way.BANK_REFUSED):
            books.pay(page_id, Method.BANK)
            await asyncio.sleep(draw.uniform(*_BANK_SECONDS))
            books.settle(page_id, succeeded=way is Way.BANK)
        else:
            books.pay(page_id, Method.CARD)

    def _refund(self, page_id: str) -> None:
        self._stripe.books.refund(self._stripe.books.find(page_id).payment_id)

    async def _wait(
        self, client: httpx2.AsyncClient, visit: Visit, statuses: frozenset[OrderStatus]
    ) -> None:
        (order_id,) = visit.order_ids
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            if (await self._order(client, order_id))["status"] in statuses:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _order(self, client: httpx2.AsyncClient, order_id: str) -> Any:
        path = f"/api/v1/orders/{order_id}"
        answer = await _asked(client, "GET", path, headers=self._holding(order_id))
        return answer.raise_for_status().json()

    def _holding(self, order_id: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[order_id]}"}

    def _client(self, customer: Customer) -> httpx2.AsyncClient:
        # Each comes from an address of their own: the shop counts orders by it.
        address = f"127.1.{customer.number // 250}.{customer.number % 250 + 1}"
        return httpx2.AsyncClient(
            base_url=self._url,
            timeout=_TIMEOUT_SECONDS,
            transport=httpx2.AsyncHTTPTransport(local_address=address),
        )


async def _asked(client: httpx2.AsyncClient, method: str, url: str, **how: Any) -> httpx2.Response:
    """Return an answer; ask again as long as nobody answers, or the service says that it cannot."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            answer = await client.request(method, url, **how)
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
        else:
            if answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR or time.monotonic() > until:
                return answer
        await asyncio.sleep(_PAUSE_SECONDS)
