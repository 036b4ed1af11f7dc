"""Several processes of a shop on one PostgreSQL database hear of the same orders at the same time."""

import asyncio

import psycopg
import pytest

from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.orders import Payment, PaymentNews, PaymentOutcome
from holdfast.store.postgres_store import PostgresStore
from holdfast.testing.store_suite.orders import UNPAID_FOR, event, order, paid, refunded, work

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(100)]

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock' AND query LIKE '%FROM shop_orders%'"
)
PATIENCE_SECONDS = 30.0
ORDERS = 10


@pytest.fixture
async def stores(postgres_url):
    """Two processes' stores."""
    opened = [PostgresStore(postgres_url) for _ in range(2)]
    for store in opened:
        await store.open()
    yield opened
    for store in opened:
        await store.close()


async def both_wait(admin: psycopg.AsyncConnection) -> None:
    """Return once two connections wait for an order."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await (await admin.execute(WAITING)).fetchone() != (2,):
            pass


@pytest.mark.parametrize("second", [paid(), paid("evt_other")])
async def test_events_that_meet_at_an_order_submit_one_job(stores, postgres_url, second):
    first = paid()
    await stores[0].orders.insert_order(order(), unpaid_for=UNPAID_FOR)
    async with (
        await psycopg.AsyncConnection.connect(postgres_url) as holder,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as admin,
    ):
        await holder.execute("SELECT 1 FROM shop_orders FOR UPDATE")
        told = asyncio.gather(
            stores[0].orders.take_payment(first, work()), stores[1].orders.take_payment(second, work())
        )
        await both_wait(admin)
        await holder.rollback()
        taken = await told

    outcomes = sorted(each.outcome.value for each in taken)
    late = PaymentOutcome.REPEATED if second == first else PaymentOutcome.NO_EFFECT
    assert outcomes == ["applied", late.value]
    (job,) = [each.job for each in taken if each.job is not None]
    assert [each.job_id for each in await stores[0].list_jobs(JobQuery())] == [job.job_id]
    assert {each.order.job_id for each in taken if each.order is not None} == {job.job_id}


async def test_payments_refunds_and_cancels_do_not_lock_each_other_out(stores):
    """All hold orders before jobs: nobody is refused, and what was given back is not worked on."""
    for number in range(ORDERS):
        await stores[0].orders.insert_order(
            order(number, payment_id=f"pi_{number}"), unpaid_for=UNPAID_FOR
        )

    async def cancel(store: PostgresStore, job_id: str) -> None:
        await store.cancel_job(job_id)

    async def tell(number: int) -> None:
        events = (
            paid(f"paid_{number}", number),
            refunded(event_id=f"refund_{number}", number=number),
            event(f"processing_{number}", PaymentNews.PROCESSING, number),
        )
        taken = await asyncio.gather(
            *(store.orders.take_payment(news, work(number)) for news in events for store in stores)
        )
        jobs = {each.order.job_id for each in taken if each.order is not None} - {None}
        assert len(jobs) <= 1
        await asyncio.gather(*(cancel(store, job_id) for store in stores for job_id in jobs))

    await asyncio.gather(*(tell(number) for number in range(ORDERS)))

    for number in range(ORDERS):
        kept = await stores[1].orders.find_order(f"order_{number}")
        assert kept is not None
        assert (kept.payment, kept.paid_cents) == (Payment.REFUNDED, 1_900)
    assert {job.status for job in await stores[0].list_jobs(JobQuery())} <= {JobStatus.CANCELLED}


async def test_event_of_a_new_order_that_two_processes_note_is_noted_once(stores, postgres_url):
    told = await asyncio.gather(
        *(store.orders.take_payment(paid(), work()) for store in stores for _ in range(5))
    )

    assert {each.outcome for each in told} == {PaymentOutcome.UNKNOWN_ORDER}
    with psycopg.connect(postgres_url) as admin:
        assert admin.execute("SELECT count(*) FROM shop_payment_events").fetchone() == (1,)
        assert admin.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
