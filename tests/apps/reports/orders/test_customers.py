"""All that is on record of a customer can be told and erased."""

from datetime import timedelta

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.customers import count_customer, erase_customer, order_record
from holdfast.apps.reports.orders.finding import find_orders
from holdfast.apps.reports.orders.models import MailSort
from holdfast.engine.subjects import jobs_of
from tests.apps.reports.conftest import BIRTH
from tests.apps.reports.orders.conftest import EMAIL, job_of, ordered, paid

PRODUCT = "personal_blueprint"

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


async def test_erasing_a_customer_leaves_nothing_of_theirs_and_all_of_others(harness, shop):
    order, other = (
        await ordered(shop, PRODUCT),
        await ordered(shop, PRODUCT, email="other@customers.example"),
    )
    await ordered(shop, "bundle")
    await harness.start_worker()
    for each in (order, other):
        await harness.end_of(job_of(await paid(shop, each)))
    again = await desk.resend_mail(shop, order.order_id, MailSort.READY)
    await harness.end_of(again.job_id)
    before = await count_customer(shop, EMAIL)

    erasure = await erase_customer(shop, EMAIL.upper(), wait=timedelta(0))

    assert (before.orders, before.jobs, before.unfinished) == (2, 3, 0)
    assert len(erasure.order_ids) == 2
    assert len(erasure.removal.job_ids) == 3
    assert (list(erasure.orders_left), list(erasure.jobs_left)) == ([], [])
    assert erasure.complete is not bool(erasure.removal.files_left)
    assert list(await find_orders(shop, EMAIL)) == []
    assert [job async for job in jobs_of(shop.client, order.subject)] == []
    assert len(await find_orders(shop, "other@customers.example")) == 1


async def test_order_whose_job_nobody_ends_stays_and_is_told(harness, shop, desk_hold):
    reached, release = desk_hold("section_01-12")
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    worker = await harness.start_worker()
    await reached.wait()
    await harness.abandon(worker)

    erasure = await erase_customer(shop, EMAIL, wait=timedelta(0))

    assert not erasure.complete
    assert [left.order_id for left in erasure.orders_left] == [order.order_id]
    assert job_id in {job.job_id for job in erasure.jobs_left}
    release.set()


async def test_record_of_an_order_holds_what_the_customer_told(shop):
    order = await ordered(shop, PRODUCT)
    await shop.orders.set_note(order.order_id, "called twice")

    record = order_record(await desk.require_order(shop, order.order_id))

    assert record["details"]["email"] == EMAIL
    assert record["details"]["request"]["birth"]["name"] == BIRTH.name
    assert (record["note"], record["amount_cents"]) == ("called twice", 3999)
