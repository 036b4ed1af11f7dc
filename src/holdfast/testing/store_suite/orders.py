"""The shop's part of the store: orders, what was told of payments, and the jobs that follow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from holdfast.errors import IdempotencyConflictError, InvalidInputError, OrderNotFoundError
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery, NewJob
from holdfast.store.orders import (
    NOTE_CHARACTERS_MAX,
    Order,
    OrderQuery,
    Payment,
    PaymentEvent,
    PaymentNews,
    PaymentOutcome,
)
from holdfast.testing.clock import START
from holdfast.testing.store_suite.support import claimed, settle, worker

if TYPE_CHECKING:
    from holdfast.store.base import Store
    from holdfast.store.orders import OrderStore, Taken
    from holdfast.testing.clock import ManualClock

AT = START
"""When orders are made: the time of a new `ManualClock`."""
UNPAID_FOR = timedelta(days=3)
PRICE = 1_900
KIND = "report"
DETAILS = b'{"email":"zaphod@example.com","born":"1979-10-12"}'


class OrderLab(Protocol):
    """Opens stores of one database."""

    clock: ManualClock

    async def open(self) -> Store:
        """Open a store; the lab closes it."""
        ...

    def orders_of(self, store: Store) -> OrderStore:
        """Return what a shop keeps in the same database, sealed as the store is."""
        ...


class Shop:
    """One process of a shop: its store and its orders."""

    def __init__(self, store: Store, orders: OrderStore) -> None:
        self.store = store
        self.orders = orders

    @classmethod
    async def open(cls, lab: OrderLab) -> Shop:
        store = await lab.open()
        return cls(store, lab.orders_of(store))

    async def order(self, number: int = 1, **changes: Any) -> Order:
        """Keep a new order."""
        return await self.orders.insert_order(order(number, **changes), unpaid_for=UNPAID_FOR)

    async def tell(self, event: PaymentEvent, number: int = 1) -> Taken:
        """Take an event as the shop does."""
        return await self.orders.take_payment(event, work(number))

    async def jobs(self) -> list[str]:
        """Return the ids of all jobs."""
        return [job.job_id for job in await self.store.list_jobs(JobQuery(limit=100))]


def order(number: int = 1, **changes: Any) -> Order:
    """Return an order to be kept."""
    made = Order(
        order_id=f"order_{number}",
        product="horoscope",
        amount_cents=PRICE,
        currency="usd",
        subject="customer_1",
        details=DETAILS,
        created_at=AT,
    )
    return replace(made, **changes)


def work(number: int = 1, **changes: Any) -> NewJob:
    """Return the job that serves an order, anew each time as each process makes it."""
    fields: dict[str, Any] = {
        "job_id": f"job_{number}_{next(_numbers)}",
        "kind": KIND,
        "queue": "reports.orders",
        "input": f'{{"order_id":"order_{number}"}}'.encode(),
        "idempotency_key": f"cs_{number}",
        "subject": "customer_1",
    }
    return NewJob(**(fields | changes))


_numbers = iter(range(10**9))


def event(event_id: str, news: PaymentNews, number: int = 1, **changes: Any) -> PaymentEvent:
    """Return a piece of news of an order's payment."""
    fields: dict[str, Any] = {"order_id": f"order_{number}", "session_id": f"cs_{number}"}
    return PaymentEvent(event_id=event_id, news=news, **(fields | changes))


def paid(event_id: str = "evt_paid", number: int = 1, **changes: Any) -> PaymentEvent:
    """Return the news that an order is paid."""
    return event(event_id, PaymentNews.PAID, number, **({"payment_id": f"pi_{number}"} | changes))


def refunded(cents: int = PRICE, event_id: str = "evt_refund", number: int = 1) -> PaymentEvent:
    """Return the news of a refund, which knows the payment only."""
    return PaymentEvent(
        event_id=event_id,
        news=PaymentNews.REFUNDED,
        payment_id=f"pi_{number}",
        refunded_cents=cents,
    )


class OrderFixtures:
    """Fixtures of the suite on top of the user's `lab`."""

    @pytest.fixture
    async def shop(self, lab: OrderLab) -> Shop:
        """Give an open shop."""
        return await Shop.open(lab)


class OrderSuite(OrderFixtures):
    """Promises of `holdfast.store.orders`."""

    # orders ------------------------------------------------------------------------------------

    async def test_order_comes_back_as_it_was_kept(self, shop: Shop) -> None:
        kept = await shop.order()

        assert kept == order()
        assert await shop.orders.find_order("order_1") == order()
        assert await shop.order() == order()
        assert await shop.orders.find_order("order_2") is None
        assert "zaphod" not in repr(kept)

    @pytest.mark.parametrize(
        "change", [{"product": "clarity"}, {"amount_cents": 1}, {"details": b"{}"}, {"currency": "eur"}]
    )
    async def test_order_id_stands_for_one_request(self, shop: Shop, change: dict[str, Any]) -> None:
        await shop.order()

        with pytest.raises(IdempotencyConflictError, match="order 'order_1' is on record already"):
            await shop.order(**change)

        assert await shop.orders.find_order("order_1") == order()

    async def test_order_told_again_is_returned_as_it_is_now(self, shop: Shop) -> None:
        await shop.order()
        now = (await shop.tell(paid())).order

        assert await shop.order() == now

    async def test_payment_page_is_noted_once(self, shop: Shop) -> None:
        await shop.order()
        await shop.order(2)

        assert (await shop.orders.set_session("order_1", "cs_1")).session_id == "cs_1"
        assert (await shop.orders.set_session("order_1", "cs_9")).session_id == "cs_1"
        with pytest.raises(InvalidInputError, match="'cs_1' of order 'order_2' is that of order"):
            await shop.orders.set_session("order_2", "cs_1")
        with pytest.raises(OrderNotFoundError):
            await shop.orders.set_session("order_3", "cs_3")

        found = await shop.orders.find_order_of(session_id="cs_1")
        assert found == order(session_id="cs_1")
        assert await shop.orders.find_order_of(session_id="cs_9", payment_id="pi_9") is None

    async def test_lists_begin_with_the_newest(self, shop: Shop) -> None:
        for number in range(1, 6):
            await shop.order(
                number,
                subject=f"customer_{number % 2}",
                product="bundle" if number > 3 else "clarity",
            )
        await shop.tell(paid(number=4), 4)

        async def ids(**query: Any) -> list[str]:
            found = await shop.orders.list_orders(OrderQuery(**query))
            return [each.order_id.removeprefix("order_") for each in found]

        assert await ids() == ["5", "4", "3", "2", "1"]
        assert await ids(before="order_4", limit=2) == ["3", "2"]
        assert await ids(subject="customer_1") == ["5", "3", "1"]
        assert await ids(product="bundle") == ["5", "4"]
        assert await ids(payment=Payment.PAID) == ["4"]
        assert await ids(payment=Payment.AWAITED, product="bundle", subject="customer_1") == ["5"]
        for limit in (0, 1_001):
            with pytest.raises(InvalidInputError, match="order list must be 1 to 1000"):
                await ids(limit=limit)

    async def test_age_tells_the_newest_whatever_the_ids_are(self, shop: Shop) -> None:
        """Most ids are derived from what the customer has sent, and tell no time."""
        for age, number in enumerate((2, 5, 1, 4)):
            await shop.order(number, created_at=AT - age * timedelta(hours=1))

        async def ids(**query: Any) -> list[str]:
            found = await shop.orders.list_orders(OrderQuery(**query))
            return [each.order_id.removeprefix("order_") for each in found]

        assert await ids() == ["2", "5", "1", "4"]
        assert await ids(subject="customer_1", limit=2) == ["2", "5"]
        assert await ids(product="horoscope", before="order_5") == ["1", "4"]
        assert await ids(before="order_none") == []

    async def test_note_and_outcome_are_kept(self, shop: Shop) -> None:
        await shop.order()

        noted = await shop.orders.set_note("order_1", 'asked for "another"\nsign')
        await shop.orders.set_outcome("order_1", "completed")
        await shop.orders.set_outcome("order_2", "completed")

        expected = order(note='asked for "another"\nsign')
        assert noted == expected
        assert await shop.orders.find_order("order_1") == replace(expected, outcome="completed")
        assert (await shop.orders.set_note("order_1", None)).note is None
        await shop.orders.set_outcome("order_1", None)
        assert await shop.orders.find_order("order_1") == order()
        with pytest.raises(OrderNotFoundError):
            await shop.orders.set_note("order_2", "x")
        await shop.orders.set_note("order_1", "x" * NOTE_CHARACTERS_MAX)
        with pytest.raises(InvalidInputError, match="note on order 'order_1' has 2001 characters"):
            await shop.orders.set_note("order_1", "x" * (NOTE_CHARACTERS_MAX + 1))

    # payments ----------------------------------------------------------------------------------

    async def test_paid_order_gets_one_job(self, shop: Shop) -> None:
        await shop.order()

        taken = await shop.tell(paid())
        again = await shop.tell(paid())
        other = await shop.tell(paid("evt_other"))

        assert taken.job is not None
        assert taken.outcome is PaymentOutcome.APPLIED
        assert taken.order == order(
            payment=Payment.PAID,
            session_id="cs_1",
            payment_id="pi_1",
            paid_cents=PRICE,
            paid_at=AT,
            job_id=taken.job.job_id,
        )
        assert (again.outcome, again.order, again.job) == (
            PaymentOutcome.REPEATED, taken.order, None,
        )  # fmt: skip
        assert (other.outcome, other.order, other.job) == (
            PaymentOutcome.NO_EFFECT, taken.order, None,
        )  # fmt: skip
        assert await shop.jobs() == [taken.job.job_id]
        stored = await shop.store.get_job(taken.job.job_id)
        assert stored == taken.job
        assert (stored.input, stored.subject) == (b'{"order_id":"order_1"}', "customer_1")
        assert await shop.orders.find_order_of(payment_id="pi_1") == taken.order

    async def test_ends_without_money_give_way_to_a_success(self, shop: Shop) -> None:
        await shop.order()
        states = []
        for number, news in enumerate(("expired", "processing", "expired", "failed", "processing")):
            taken = await shop.tell(event(f"evt_{number}", PaymentNews(news)))
            assert taken.order is not None
            states.append((taken.outcome.value, taken.order.payment.value))

        assert states == [
            ("applied", "expired"),
            ("applied", "processing"),
            ("no_effect", "processing"),
            ("applied", "failed"),
            ("no_effect", "failed"),
        ]
        assert await shop.jobs() == []
        assert (await shop.tell(paid())).job is not None

    async def test_full_refund_cancels_the_job(self, shop: Shop) -> None:
        await shop.order()
        served = await shop.tell(paid())

        part = await shop.tell(refunded(500, "evt_part"))
        full = await shop.tell(refunded(PRICE, "evt_full"))
        late = await shop.tell(refunded(500, "evt_late"))

        assert served.job is not None
        assert part.order is not None
        assert (part.order.payment, part.order.refunded_cents, part.job) == (Payment.PAID, 500, None)
        assert full.order is not None
        assert full.job is not None
        assert (full.order.payment, full.job.job_id) == (Payment.REFUNDED, served.job.job_id)
        assert full.job.status is JobStatus.CANCELLED
        assert (late.outcome, late.order) == (PaymentOutcome.NO_EFFECT, full.order)

    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
    async def test_refund_leaves_a_job_that_has_ended(self, shop: Shop, status: JobStatus) -> None:
        shop.store.beat(worker("w1"), first=True)
        await shop.order()
        await shop.tell(paid())
        lease = (await claimed(shop.store)).lease
        await settle(shop.store, lease, status)

        taken = await shop.tell(refunded())

        assert (taken.outcome, taken.job) == (PaymentOutcome.APPLIED, None)
        assert (await shop.store.get_job(lease.job_id)).status is status

    async def test_refund_without_an_amount_is_all_that_was_paid(self, shop: Shop) -> None:
        """An operator tells it so, who need not know of a discount."""
        await shop.order()
        await shop.tell(paid(paid_cents=PRICE - 100))

        taken = await shop.tell(event("evt_operator", PaymentNews.REFUNDED, session_id=None))

        assert taken.order is not None
        assert (taken.order.payment, taken.order.refunded_cents) == (Payment.REFUNDED, PRICE - 100)

    async def test_refund_before_the_payment_holds(self, shop: Shop) -> None:
        await shop.order(payment_id="pi_1")

        early = await shop.tell(refunded())
        late = await shop.tell(paid())

        assert early.order is not None
        assert early.order.payment is Payment.REFUNDED
        assert (late.outcome, late.job) == (PaymentOutcome.APPLIED, None)
        assert late.order is not None
        assert (late.order.payment, late.order.paid_cents) == (Payment.REFUNDED, PRICE)
        assert await shop.jobs() == []

    async def test_event_without_an_order_counts_once_there_is_one(self, shop: Shop) -> None:
        first = await shop.tell(paid())
        again = await shop.tell(paid())
        await shop.order()
        other = await shop.tell(event("evt_other", PaymentNews.PROCESSING))
        late = await shop.tell(paid())
        repeated = await shop.tell(paid())

        unknown = (PaymentOutcome.UNKNOWN_ORDER, None, None)
        assert (first.outcome, first.order, first.job) == unknown
        assert (again.outcome, again.order, again.job) == unknown
        assert other.outcome is late.outcome is PaymentOutcome.APPLIED
        assert late.job is not None
        assert repeated.outcome is PaymentOutcome.REPEATED

    async def test_event_of_an_order_is_no_news_of_another(self, shop: Shop) -> None:
        """An event's id stands for one piece of news, whatever it is said to be about later."""
        await shop.order()
        taken = await shop.tell(paid())

        again = await shop.tell(paid(number=2), 2)

        assert (again.outcome, again.order, again.job) == (PaymentOutcome.REPEATED, None, None)
        assert await shop.orders.find_order("order_1") == taken.order

    async def test_order_is_found_by_what_the_event_knows(self, shop: Shop) -> None:
        await shop.order(session_id="cs_1", payment_id="pi_1")
        by_page = event("evt_1", PaymentNews.EXPIRED, order_id=None)
        by_payment = paid("evt_2", order_id=None, session_id=None)
        by_none = event("evt_3", PaymentNews.PROCESSING, order_id=None, session_id=None)
        by_others = paid("evt_4", order_id=None, session_id="cs_9", payment_id="pi_9")

        taken = [await shop.tell(news) for news in (by_page, by_payment, by_none, by_others)]

        assert [each.outcome.value for each in taken] == [
            "applied", "applied", "unknown_order", "unknown_order",
        ]  # fmt: skip

    async def test_change_of_an_order_is_hinted_at(self, shop: Shop) -> None:
        await shop.order()
        with shop.store.hints.subscribe("order_1") as news:
            await shop.tell(paid())
            assert news.is_set()
            news.clear()
            await shop.tell(paid("evt_again"))
            assert not news.is_set()

    @pytest.mark.parametrize(
        "foreign",
        [
            paid("evt_foreign", session_id="cs_2"),
            paid("evt_foreign", session_id=None, payment_id="pi_2"),
            paid("evt_foreign", number=3, session_id="cs_1"),
        ],
    )
    async def test_event_of_another_payment_leaves_the_order(
        self, shop: Shop, foreign: PaymentEvent
    ) -> None:
        await shop.order(session_id="cs_1", payment_id="pi_1")
        await shop.order(3)

        taken = await shop.tell(foreign)

        assert taken.outcome is PaymentOutcome.FOREIGN
        assert (taken.order, taken.job) == (await shop.orders.find_order(foreign.order_id or ""), None)
        assert taken.order is not None
        assert taken.order.payment is Payment.AWAITED
        assert (await shop.tell(foreign)).outcome is PaymentOutcome.REPEATED

    async def test_job_that_has_the_key_already_is_adopted(self, shop: Shop) -> None:
        await shop.order()
        made = await shop.store.insert_job(work())

        taken = await shop.tell(paid())

        assert taken.job is None
        assert taken.order is not None
        assert taken.order.job_id == made.job.job_id
        assert await shop.jobs() == [made.job.job_id]

    async def test_key_of_another_work_leaves_everything_as_it_was(self, shop: Shop) -> None:
        await shop.order()
        await shop.store.insert_job(work(input=b'{"order_id":"order_9"}'))

        with pytest.raises(IdempotencyConflictError, match="'cs_1'"):
            await shop.tell(paid())

        assert await shop.orders.find_order("order_1") == order()
        assert (await shop.tell(event("evt_paid", PaymentNews.FAILED))).outcome is PaymentOutcome.APPLIED

    async def test_processes_that_hear_the_same_submit_one_job(self, lab: OrderLab, shop: Shop) -> None:
        """No two get in each other's way, whatever they hear of one order and in whatever order."""
        other = await Shop.open(lab)
        await shop.order()
        told = [
            paid(),
            paid("evt_2"),
            refunded(5),
            event("evt_3", PaymentNews.PROCESSING),
            paid("evt_4"),
        ]

        taken = await asyncio.gather(
            *(each.tell(news) for news in told for each in (shop, other, shop)),
        )

        jobs = [each.job.job_id for each in taken if each.job is not None]
        assert await shop.jobs() == jobs
        assert len(jobs) == 1
        outcomes = [each.outcome for each in taken]
        assert outcomes.count(PaymentOutcome.REPEATED) >= len(told) * 2 - 2
        kept = await other.orders.find_order("order_1")
        assert kept is not None
        assert (kept.payment, kept.job_id) == (Payment.PAID, jobs[0])
