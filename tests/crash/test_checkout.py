"""Whatever the service dies at: a checkout asked for again is the same one, a payment counts once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.models import OrderDetails
from holdfast.apps.reports.orders.payments.base import PageRequest, PaymentPage
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct, TestPayments, session_id_of
from holdfast.apps.reports.orders.shop import Shop
from holdfast.artifacts.local import LocalArtifacts
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.orders import OrderQuery, Payment, PaymentOutcome
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.crash import CrashPoint, Died, Life, MortalStore
from tests.apps.reports.conftest import report_request
from tests.apps.reports.orders.conftest import EMAIL, SECRET, URL, Postbox, make_shop, told

pytestmark = pytest.mark.crash

DETAILS = OrderDetails(email=EMAIL, request=report_request())
NOTE_ORDER, NOTE_PAGE = 1, 2
"""The writes of a checkout; the page is made between the two."""


class Pages(TestPayments):
    """Remembers which pages were made, whoever lived to hear of them."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__([SECRET], URL, clock)
        self.made: list[PaymentPage] = []

    async def open_page(self, request: PageRequest) -> PaymentPage:
        page = await super().open_page(request)
        self.made.append(page)
        return page


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, template: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    shutil.copy(template, tmp_path / "holdfast.db")
    store = SqliteStore(tmp_path / "holdfast.db", clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def pages(clock: ManualClock) -> Pages:
    return Pages(clock)


@pytest.fixture
def shop_until(
    tmp_path: Path, store: SqliteStore, clock: ManualClock, pages: Pages
) -> Callable[[CrashPoint | None], Shop]:
    """Give the shop of a service that dies at a moment."""

    def until(point: CrashPoint | None) -> Shop:
        life = Life(point)
        registry = Registry()
        register_orders(registry)
        client = JobClient(
            MortalStore(store, life).as_store,
            registry,
            LocalDispatcher(store.hints),
            LocalArtifacts(tmp_path / "artifacts", clock),
        )
        orders = MortalStore(store.orders, life).as_orders
        return dataclasses.replace(make_shop(orders, client, Postbox(), clock), payments=pages)

    return until


@pytest.fixture
async def shop(shop_until) -> Shop:
    """The shop of a service that lives on."""
    found: Shop = shop_until(None)
    return found


async def check_out(shop: Shop) -> desk.Checkout:
    return await desk.open_order(shop, "life_clarity", DETAILS, key="once")


@pytest.mark.parametrize(
    "point",
    [
        CrashPoint(at="write", number=number, when=when)
        for number in (NOTE_ORDER, NOTE_PAGE)
        for when in ("before", "after")
    ],
    ids=str,
)
async def test_checkout_asked_for_again_is_the_same_one(store, shop, shop_until, pages, point):
    with pytest.raises(Died):
        await check_out(shop_until(point))
    begun = await store.orders.list_orders(OrderQuery())

    checkout = await check_out(shop)

    assert {order.order_id for order in begun} <= {checkout.order.order_id}
    assert list(await store.orders.list_orders(OrderQuery())) == [checkout.order]
    assert checkout.order.session_id == session_id_of(checkout.order)
    assert {page.url for page in pages.made} == {checkout.url}


async def test_payment_told_before_its_page_is_noted_finds_its_order(store, shop, shop_until, pages):
    """The customer may have the page though the service died before it noted so."""
    point = CrashPoint(at="write", number=NOTE_PAGE, when="before")
    with pytest.raises(Died):
        await check_out(shop_until(point))
    [order] = await store.orders.list_orders(OrderQuery())
    assert order.session_id is None

    taken = await told(shop, order, PaymentAct.PAY)
    again = await check_out(shop)

    assert taken.outcome is PaymentOutcome.APPLIED
    assert again.order == taken.order
    assert again.order.session_id == pages.made[0].session_id
    assert again.url == shop.links.order_page(order.order_id)
    [job] = await store.list_jobs(JobQuery())
    assert job.job_id == again.order.job_id


@pytest.mark.parametrize(
    ("when", "outcome"), [("before", PaymentOutcome.APPLIED), ("after", PaymentOutcome.REPEATED)]
)
async def test_payment_told_again_after_a_death_makes_one_job(store, shop, shop_until, when, outcome):
    """What was committed and never announced waits for the next worker that looks."""
    order = (await check_out(shop)).order
    point = CrashPoint(at="write", number=1, when=when)
    with pytest.raises(Died):
        await told(shop_until(point), order, PaymentAct.PAY)

    taken = await told(shop, order, PaymentAct.PAY)

    assert taken.outcome is outcome
    [job] = await store.list_jobs(JobQuery())
    assert (job.kind, job.status) == ("order", JobStatus.QUEUED)
    found = await store.orders.find_order(order.order_id)
    assert found is not None
    assert (found.payment, found.job_id) == (Payment.PAID, job.job_id)
