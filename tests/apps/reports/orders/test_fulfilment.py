"""One order, one job: made once, told once, whatever happens in between."""

import dataclasses
from datetime import timedelta

import pytest

from holdfast.apps.reports.orders import desk, fulfilment
from holdfast.apps.reports.orders.mail.base import SCHEDULE
from holdfast.apps.reports.orders.mail.sending import send_mail
from holdfast.apps.reports.orders.models import ORDER_KIND, MailSort, OrderInput, OrderStatus
from holdfast.apps.reports.orders.state import view_of
from holdfast.errors import FatalError, MailRefusedError, MailUnavailableError, OrderStateError
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery, PruneRequest
from holdfast.store.orders import Payment, PaymentEvent, PaymentNews, PaymentOutcome
from tests.apps.reports.orders.conftest import EMAIL, job_of, ordered, paid

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")

KINDS = ("life_clarity", "personal_blueprint", "personal_horoscope")


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Tries of an e-mail follow each other at once."""
    soon = dataclasses.replace(SCHEDULE, waits_seconds=(0.0,))
    monkeypatch.setattr(fulfilment, "SCHEDULE", soon)


async def status_of(shop, order) -> OrderStatus:
    return (await view_of(shop, await desk.require_order(shop, order.order_id))).status


async def test_paid_order_is_made_and_told_of_once(harness, shop, postbox):
    order = await ordered(shop)
    assert await status_of(shop, order) is OrderStatus.PENDING_PAYMENT

    taken = await paid(shop, order)
    assert await status_of(shop, order) is OrderStatus.PAID
    await harness.start_worker()
    job = await harness.end_of(job_of(taken))

    assert job.status is JobStatus.COMPLETED
    assert postbox.subjects == ["[Test] Ready", "[Test] Your order"]
    assert {mail.to for mail in postbox.taken} == {EMAIL}
    view = await view_of(shop, await desk.require_order(shop, order.order_id))
    assert view.status is OrderStatus.READY
    [part] = view.parts
    assert (part.product, part.status, part.pages) == ("life_clarity", OrderStatus.READY, 1)
    assert EMAIL not in view.model_dump_json()
    assert "Amélie" not in view.model_dump_json()
    assert EMAIL.encode() not in job.input + (job.output or b"")
    ready = next(mail for mail in postbox.taken if "Ready" in mail.subject)
    assert f"/orders/{order.order_id}/files/life_clarity?token=" in ready.text


async def test_repeated_news_of_a_payment_makes_no_second_job(harness, shop, postbox):
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()

    again = [await paid(shop, order, event_id) for event_id in ("evt_paid", "evt_other")]
    await harness.end_of(job_of(taken))
    after = await paid(shop, order, "evt_late")

    assert [each.outcome for each in (*again, after)] == [
        PaymentOutcome.REPEATED,
        PaymentOutcome.NO_EFFECT,
        PaymentOutcome.NO_EFFECT,
    ]
    assert len(await harness.client.list(JobQuery(kind="order"))) == 1
    assert len(postbox.taken) == 2


async def test_failure_is_told_and_a_retry_goes_on_from_there(harness, shop, postbox, desk_errors):
    desk_errors("identity", FatalError("the stars are out"))
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()

    failed = await harness.end_of(job_of(taken))
    assert failed.status is JobStatus.FAILED
    assert await status_of(shop, order) is OrderStatus.FAILED
    assert postbox.subjects == ["[Test] A problem with your order", "[Test] Your order"]

    await desk.retry_order(shop, order.order_id)
    job = await harness.end_of(job_of(taken))

    assert job.status is JobStatus.COMPLETED
    assert await status_of(shop, order) is OrderStatus.READY
    assert postbox.subjects == [
        "[Test] A problem with your order",
        "[Test] Ready",
        "[Test] Your order",
    ]
    with pytest.raises(OrderStateError, match="completed"):
        await desk.retry_order(shop, order.order_id)


async def test_part_of_a_bundle_that_failed_is_told_and_made_by_a_retry(
    harness, shop, postbox, desk_errors, desk_batches
):
    desk_errors("identity", FatalError("the stars are out"))
    order = await ordered(shop, "bundle")
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))

    view = await view_of(shop, await desk.require_order(shop, order.order_id))
    assert view.status is OrderStatus.FAILED
    assert {part.product: part.status.value for part in view.parts} == {
        "life_clarity": "failed",
        "personal_blueprint": "ready",
        "personal_horoscope": "ready",
    }
    [partly] = [mail for mail in postbox.taken if "Ready in part" in mail.subject]
    assert partly.text.count("/files/") == 2
    written = list(desk_batches())

    await desk.retry_order(shop, order.order_id)
    job = await harness.end_of(job_of(taken))

    assert job.status is JobStatus.COMPLETED
    again = desk_batches()[len(written) :]
    assert "yearly_2026" not in again
    assert "section_01-12" not in again
    [ready] = [mail for mail in postbox.taken if mail.subject.startswith("[Test] Ready:")]
    assert ready.text.count("/files/") == 3


async def test_mail_server_that_is_away_or_refuses_holds_up_no_report(harness, shop, postbox):
    postbox.errors = [MailUnavailableError("away")] * 3
    postbox.lost_answers = 1
    order = await ordered(shop)
    refused = await ordered(shop, email="nobody@customers.example")
    await harness.start_worker()

    await harness.end_of(job_of(await paid(shop, order)))
    assert postbox.subjects == ["[Test] Ready", "[Test] Your order"]
    assert len(postbox.taken) == 3, "one answer was lost, so that one e-mail was sent again"

    postbox.errors = [MailRefusedError("no such address")] * 2
    job = await harness.end_of(job_of(await paid(shop, refused)))

    assert job.status is JobStatus.COMPLETED
    assert harness.client.output_of(job).mails == {
        MailSort.CONFIRMATION: "undelivered",
        MailSort.READY: "undelivered",
    }
    assert await status_of(shop, refused) is OrderStatus.READY


async def test_refund_ends_what_is_under_way_and_no_report_is_announced(
    harness, shop, postbox, desk_hold
):
    reached, release = desk_hold("identity")
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await reached.wait()

    await desk.flag_refund(shop, order.order_id, "customer changed her mind")
    job = await harness.end_of(job_of(taken))
    release.set()

    assert job.status is JobStatus.CANCELLED
    assert await status_of(shop, order) is OrderStatus.REFUNDED
    assert postbox.subjects in (["[Test] Your order"], [])
    stored = await desk.require_order(shop, order.order_id)
    assert (stored.payment, stored.note) == (Payment.REFUNDED, "customer changed her mind")
    for verb in (
        desk.retry_order(shop, order.order_id),
        desk.resend_mail(shop, order.order_id, MailSort.READY),
    ):
        with pytest.raises(OrderStateError, match="refunded"):
            await verb


async def test_refund_that_comes_before_the_payment_starts_nothing(harness, shop):
    order = await ordered(shop)
    refund = PaymentEvent(
        event_id="evt_r",
        news=PaymentNews.REFUNDED,
        order_id=order.order_id,
        refunded_cents=order.amount_cents,
    )

    await desk.take_event(shop, refund)
    taken = await paid(shop, order)

    assert taken.job is None
    assert await status_of(shop, order) is OrderStatus.REFUNDED
    assert await harness.client.list(JobQuery(kind="order")) == []


async def test_mail_is_sent_again_when_an_operator_asks_for_it(harness, shop, postbox):
    order = await ordered(shop)
    with pytest.raises(OrderStateError, match="awaited"):
        await desk.resend_mail(shop, order.order_id, MailSort.CONFIRMATION)
    taken = await paid(shop, order)
    with pytest.raises(OrderStateError, match="not ready"):
        await desk.resend_mail(shop, order.order_id, MailSort.READY)
    await harness.start_worker()
    await harness.end_of(job_of(taken))

    job = await desk.resend_mail(shop, order.order_id, MailSort.READY)
    await harness.end_of(job.job_id)

    ready = [mail.message_id for mail in postbox.taken if "Ready" in mail.subject]
    assert len(ready) == len(set(ready)) == 2


async def test_order_keeps_its_end_when_its_jobs_are_deleted(harness, shop):
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))

    harness.registry.keep = timedelta(0)

    await harness.client.retention.prune(PruneRequest(subject=order.subject))

    view = await view_of(shop, await desk.require_order(shop, order.order_id))
    assert view.status is OrderStatus.READY
    assert view.parts[0].pages is None


async def test_only_its_own_job_serves_an_order(harness, shop, postbox):
    """A fork, or a job of somebody's own making, makes and tells nothing a second time."""
    order = await ordered(shop)
    unpaid = await harness.submit(ORDER_KIND, OrderInput(order_id=order.order_id))
    await harness.start_worker()
    refused = [await harness.end_of(unpaid)]
    taken = await paid(shop, order)
    await harness.end_of(job_of(taken))
    fork = await harness.client.fork(job_of(taken))
    refused.append(await harness.end_of(fork.job_id))

    assert [failure_code(job) for job in refused] == ["order_state"] * 2
    assert len(postbox.taken) == 2


async def test_retry_that_meets_a_refund_makes_and_tells_nothing(
    harness, shop, postbox, desk_errors, desk_batches
):
    desk_errors("identity", FatalError("the stars are out"))
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))
    told, written = len(postbox.taken), desk_batches()
    await desk.flag_refund(shop, order.order_id)

    await harness.client.retry(job_of(taken))
    job = await harness.end_of(job_of(taken))

    assert failure_code(job) == "order_state"
    assert (len(postbox.taken), desk_batches()) == (told, written)


async def test_mail_that_was_overtaken_is_not_sent(harness, shop, postbox, desk_errors):
    desk_errors("identity", FatalError("the stars are out"))
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))
    told = len(postbox.taken)
    await desk.retry_order(shop, order.order_id)
    await harness.end_of(job_of(taken))

    with pytest.raises(OrderStateError, match="'ready'"):
        await desk.resend_mail(shop, order.order_id, MailSort.FAILED)
    with pytest.raises(OrderStateError, match="'ready'"):
        await send_mail(shop, order.order_id, MailSort.FAILED)
    await desk.flag_refund(shop, order.order_id)
    with pytest.raises(OrderStateError, match="'refunded'"):
        await send_mail(shop, order.order_id, MailSort.READY)

    assert len(postbox.taken) == told + 1


def failure_code(job):
    return job.error.code
