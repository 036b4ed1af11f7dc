"""Orders are found by whatever somebody has in hand."""

import pytest

from holdfast.apps.reports.orders import desk, finding
from holdfast.apps.reports.orders.finding import find_orders, orders_of, the_order
from holdfast.apps.reports.orders.models import MailSort, customer_of
from holdfast.apps.reports.orders.parts import report_job_id
from holdfast.errors import InvalidInputError, OrderNotFoundError
from tests.apps.reports.orders.conftest import EMAIL, job_of, ordered, paid, payment_of

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


async def test_order_is_found_by_its_own_id_and_by_those_of_its_payment(shop):
    order = await ordered(shop, "personal_blueprint")
    await paid(shop, order)

    assert order.session_id is not None
    for sought in (order.order_id, order.session_id, payment_of(order), f" {order.order_id}\n"):
        assert (await the_order(shop, sought)).order_id == order.order_id


async def test_order_is_found_by_each_job_that_works_for_it(harness, shop):
    order = await ordered(shop, "personal_blueprint")
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)
    paid_order = await the_order(shop, order.order_id)
    again = await desk.resend_mail(shop, order.order_id, MailSort.READY)

    report_id = report_job_id(paid_order)

    assert report_id is not None
    for sought in (job_id, report_id, again.job_id):
        assert (await the_order(shop, sought)).order_id == order.order_id


async def test_address_finds_all_orders_of_a_customer_however_it_is_written(shop):
    first, second = await ordered(shop, "personal_blueprint"), await ordered(shop, "bundle")
    await ordered(shop, "personal_blueprint", email="other@customers.example")

    found = await find_orders(shop, f" {EMAIL.upper()} ")

    assert {order.order_id for order in found} == {first.order_id, second.order_id}
    with pytest.raises(InvalidInputError, match="has 2 orders") as caught:
        await the_order(shop, EMAIL)
    assert EMAIL not in caught.value.message


async def test_address_of_one_order_means_that_order(shop):
    order = await ordered(shop, "personal_blueprint")

    assert await the_order(shop, EMAIL) == order


@pytest.mark.parametrize("sought", ["ord_unknown", "job_00000000000000000000000000", "", "a@b.example"])
async def test_what_means_no_order_is_not_found_and_no_address_is_repeated(shop, sought):
    assert list(await find_orders(shop, sought)) == []
    with pytest.raises(OrderNotFoundError) as caught:
        await the_order(shop, sought)
    assert "@" not in caught.value.message


async def test_job_that_serves_no_order_finds_none(harness, shop):
    async def lonely(job):
        pass

    harness.job("lonely", lonely)
    job_id = await harness.submit("lonely")

    assert list(await find_orders(shop, job_id)) == []


async def test_all_orders_of_a_customer_are_read_page_by_page(shop, monkeypatch):
    monkeypatch.setattr(finding, "ORDERS_MAX", 2)
    placed = [(await ordered(shop, "personal_blueprint")).order_id for _ in range(5)]

    found = [order.order_id async for order in orders_of(shop, customer_of(EMAIL))]

    assert sorted(found) == sorted(placed)
