"""The shop of `tests/apps/reports/orders`, served over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import httpx2
import pytest

from holdfast.apps.reports.astro import places
from holdfast.apps.reports.astro.gazetteer import CITIES
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct, TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.shop.routers import shop_routers
from holdfast.apps.reports.shop.throttles import Throttles
from holdfast.store.orders import Order
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service
from tests.apps.reports.orders.conftest import URL, desk_errors, desk_hold, postbox, shop

__all__ = ["desk_errors", "desk_hold", "postbox", "shop"]

ORDER = {
    "product": "life_clarity",
    "email": "amelie@customers.example",
    "name": "Amélie Hartmann",
    "born": "1990-03-14 07:25",
    "place": "Lisbon",
}
PERSONAL = (
    "amelie@customers.example",
    "Amélie",
    "Am\\u00e9lie",
    "Am&eacute;lie",
    "1990-03-14",
    "Lisbon",
)
"""What no answer may hold."""


@contextlib.asynccontextmanager
async def served(harness: Harness, shop: Shop, **options: Any) -> AsyncIterator[RunningService]:
    """Serve a shop's pages and routes beside the service's own."""
    async with running_service(
        harness,
        public_url=URL,
        routers=shop_routers(),
        resources={Shop: shop, Throttles: Throttles()},
        **options,
    ) as running:
        yield running


@pytest.fixture
def cities_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the towns takes longer than a client waits on a busy machine."""
    monkeypatch.setattr(places, "TOWNS", CITIES)


@pytest.fixture
async def running(harness: Harness, shop: Shop) -> AsyncIterator[RunningService]:
    async with served(harness, shop) as running:
        yield running


@pytest.fixture
async def http(running: RunningService) -> AsyncIterator[httpx2.AsyncClient]:
    """A customer: without a key. Whatever it is told has nothing personal in it."""
    told: list[str] = []

    async def hear(answer: httpx2.Response) -> None:
        # The report itself is about somebody, and a stream has no end.
        if answer.headers.get("content-type", "") not in (
            "application/pdf",
            "text/event-stream; charset=utf-8",
        ):
            told.append((await answer.aread()).decode(errors="replace") + repr(answer.headers))

    async with running.http(event_hooks={"response": [hear]}) as http:
        yield http
    for text in told:
        for word in PERSONAL:
            assert word not in text


@pytest.fixture
def tell(shop: Shop, http: httpx2.AsyncClient) -> Callable[..., Any]:
    """Send the webhook of an act, as the payment service would."""

    async def send(order: Order, act: PaymentAct, **changed: Any) -> httpx2.Response:
        assert isinstance(shop.payments, TestPayments)
        body = shop.payments.event_for(order, act)
        headers = {"Stripe-Signature": shop.payments.sign(body)}
        return await http.post("/api/v1/webhooks/stripe", content=body, headers=headers | changed)

    return send


@pytest.fixture(scope="session", autouse=True)
def agents() -> None:
    """Import the Agents SDK, which takes seconds, before a test has to wait for it."""
    import_module("holdfast.llm.agents")
