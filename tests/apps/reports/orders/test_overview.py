"""What operators see of an order: its payment, its reports, its e-mails."""

import pytest

from holdfast.apps.reports.orders import desk, overview
from holdfast.apps.reports.orders.models import MailSort, OrderStatus
from holdfast.apps.reports.orders.overview import listed, overview_of
from holdfast.errors import FatalError, MailRefusedError, MailUnavailableError
from holdfast.store.base import PruneRequest
from holdfast.store.orders import OrderQuery, Payment
from tests.apps.reports.orders.conftest import job_of, ordered, paid

PRODUCT = "personal_blueprint"
"""Quicker to begin than agents are to be imported."""

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


async def page_of(shop, order):
    return await overview_of(shop, await desk.require_order(shop, order.order_id))


def letters(page):
    return [(letter.sort.value, letter.status, letter.error, letter.again) for letter in page.letters]


async def test_order_that_waits_for_its_payment_has_no_job_and_no_e_mail(shop):
    page = await page_of(shop, await ordered(shop, PRODUCT))

    assert page.status is OrderStatus.PENDING_PAYMENT
    assert (page.title, page.served_by, page.report, page.letters) == (
        "Personal Blueprint",
        None,
        None,
        [],
    )
    assert [part.job for part in page.parts] == [None]
    assert [(fact.what, fact.cents) for fact in page.payment_facts] == [("ordered", 3999)]
    assert not page.retriable


async def test_order_that_is_made_has_its_payment_its_report_and_what_was_sent(harness, shop):
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)

    page = await page_of(shop, order)

    assert page.status is OrderStatus.READY
    assert [fact.what for fact in page.payment_facts] == ["ordered", "paid"]
    assert letters(page) == [
        ("confirmation", "sent", None, False),
        ("ready", "sent", None, False),
    ]
    assert [part.result.pages for part in page.parts if part.result] == [1]
    assert not page.retriable


async def test_failed_order_may_be_retried_until_it_is_given_back(harness, shop, desk_errors):
    desk_errors("section_01-12", FatalError("the stars are out"))
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)
    failed = await page_of(shop, order)

    await desk.flag_refund(shop, order.order_id, "for the delay")
    refunded = await page_of(shop, order)

    assert (failed.status, failed.retriable) == (OrderStatus.FAILED, True)
    assert letters(failed)[1] == ("failed", "sent", None, False)
    assert (refunded.status, refunded.retriable) == (OrderStatus.REFUNDED, False)
    assert (refunded.order.payment, refunded.order.note) == (Payment.REFUNDED, "for the delay")
    assert [(fact.what, fact.cents) for fact in refunded.payment_facts][-1] == ("given back", 3999)


async def test_refused_e_mail_is_undelivered_and_one_sent_again_stands_beside_it(harness, shop, postbox):
    postbox.errors = [MailRefusedError("no such mailbox")] * 2
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)

    again = await desk.resend_mail(shop, order.order_id, MailSort.CONFIRMATION)
    await harness.end_of(again.job_id)
    postbox.errors = [MailRefusedError("no such mailbox")]
    failed = await desk.resend_mail(shop, order.order_id, MailSort.READY)
    await harness.end_of(failed.job_id)
    page = await page_of(shop, order)

    assert sorted(letters(page)) == [
        ("confirmation", "sent", None, True),
        ("confirmation", "undelivered", "mail_refused", False),
        ("ready", "undelivered", "mail_refused", False),
        ("ready", "undelivered", "mail_refused", True),
    ]
    assert {letter.job_id for letter in page.letters if letter.again} == {again.job_id, failed.job_id}


async def test_e_mail_whose_server_is_away_is_being_tried(harness, shop, postbox):
    postbox.errors = [MailUnavailableError("away")]
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.event(job_id, "step.retrying")

    page = await page_of(shop, order)

    [trying] = [letter for letter in page.letters if letter.status == "trying"]
    assert (trying.sort, trying.error, trying.tries) == (MailSort.CONFIRMATION, "mail_unavailable", 1)


async def test_e_mail_asked_for_again_is_there_before_a_worker_takes_it(harness, shop):
    order = await ordered(shop, PRODUCT)
    await paid(shop, order)
    await desk.resend_mail(shop, order.order_id, MailSort.CONFIRMATION)

    assert letters(await page_of(shop, order)) == [("confirmation", "trying", None, True)]


async def test_order_is_looked_at_after_its_jobs_were_deleted_and_its_product_left_the_shop(
    harness, shop, monkeypatch
):
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)
    await harness.client.retention.prune(PruneRequest(subject=order.subject))
    monkeypatch.setattr(overview, "product_of", lambda _: None)

    page = await page_of(shop, order)
    [row] = await listed(shop, await shop.orders.list_orders(OrderQuery()))

    assert (page.served_by, page.parts, page.letters) == (None, (), [])
    assert (page.title, page.status) == (PRODUCT, OrderStatus.READY)
    assert (row.title, row.status) == (PRODUCT, OrderStatus.READY)
