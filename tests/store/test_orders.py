"""Whatever is told of an order, in whatever order and however often, it ends alike."""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.store.base import JobQuery
from holdfast.store.order_rows import list_orders
from holdfast.store.orders import (
    Order,
    OrderQuery,
    Payment,
    PaymentEvent,
    PaymentNews,
    PaymentOutcome,
    what_becomes_of,
)
from holdfast.store.sqlite_store import SqliteStore
from holdfast.store.transaction import SQLITE
from holdfast.testing.store_suite.orders import (
    AT,
    PRICE,
    UNPAID_FOR,
    Shop,
    event,
    order,
    paid,
    refunded,
    work,
)

AMOUNTS = (None, PRICE // 2, PRICE, PRICE + 361)
"""The price is not what is paid where there is a discount, or tax on top."""
NEWS: tuple[tuple[PaymentNews, int | None], ...] = (
    (PaymentNews.PROCESSING, None),
    (PaymentNews.FAILED, None),
    (PaymentNews.EXPIRED, None),
    *((PaymentNews.PAID, amount) for amount in AMOUNTS),
    *((PaymentNews.REFUNDED, amount) for amount in (0, 1, *AMOUNTS[1:])),
)


def told(number: int, which: int, event_id: str) -> PaymentEvent:
    """Return one piece of news of an order."""
    news, amount = NEWS[which]
    field = "refunded_cents" if news is PaymentNews.REFUNDED else "paid_cents"
    return event(event_id, news, number, payment_id=f"pi_{number}", **{field: amount})


def facts(of: Order) -> tuple[object, ...]:
    return of.payment, of.paid_cents, of.refunded_cents, of.paid_at is None


def test_every_order_of_events_ends_alike():
    """All orders of all sets of up to four events: nothing about money depends on what came first."""
    for size in range(1, 5):
        for chosen in itertools.combinations(range(len(NEWS)), size):
            ends = {
                facts(
                    reduce(
                        lambda now, which: what_becomes_of(now, told(1, which, str(which)), AT),
                        history,
                        order(),
                    )
                )
                for history in itertools.permutations(chosen)
            }
            assert len(ends) == 1, [NEWS[which] for which in chosen]


def test_table_tells_what_the_money_comes_to():
    def after(*events: PaymentEvent) -> Payment:
        return reduce(lambda now, each: what_becomes_of(now, each, AT), events, order()).payment

    discounted = paid(paid_cents=PRICE // 2)
    assert after(discounted) is Payment.PAID
    assert after(discounted, refunded(PRICE // 2)) is Payment.REFUNDED
    assert after(refunded(PRICE // 2), discounted) is Payment.REFUNDED
    assert after(paid(paid_cents=PRICE + 361), refunded(PRICE)) is Payment.PAID
    assert after(refunded(PRICE), paid(paid_cents=PRICE + 361)) is Payment.PAID
    assert after(paid(paid_cents=0)) is Payment.PAID
    everything = event("evt_all", PaymentNews.REFUNDED)
    assert after(paid(paid_cents=PRICE + 361), everything) is Payment.REFUNDED
    assert after(discounted, everything) is Payment.REFUNDED
    assert after(refunded(PRICE // 2)) is Payment.AWAITED


class Told:
    """A shop that hears histories, each of an order of its own."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.numbers = itertools.count(1)

    async def end_of(self, history: list[int]) -> tuple[object, ...]:
        """Tell a new order its history; return the facts it ends with, and whether anybody works on it.

        An event that is in the history more than once is told as often.
        """
        number = next(self.numbers)
        await self.shop.order(number)
        mine = f"order {number}"
        for which in history:
            news = told(number, which, f"evt_{number}_{which}")
            await self.shop.orders.take_payment(news, work(number, subject=mine))
        kept = await self.shop.orders.find_order(f"order_{number}")
        assert kept is not None
        jobs = await self.shop.store.list_jobs(JobQuery(subject=mine))
        assert len(jobs) <= 1
        assert [job.job_id for job in jobs] == [kept.job_id] * kept.served
        working = any(not job.status.terminal for job in jobs)
        assert working == (kept.payment is Payment.PAID)
        return facts(kept), working


@pytest.mark.timeout(120)
def test_any_history_ends_like_its_events_once(tmp_path, template):
    """At any multiplicity and order: the same money, and work under way or not, with one job at most."""
    path = tmp_path / "holdfast.db"
    path.write_bytes(template.read_bytes())

    async def opened() -> SqliteStore:
        store = SqliteStore(path, synchronous="NORMAL")
        await store.open()
        return store

    with asyncio.Runner() as runner:
        store = runner.run(opened())
        shop = Told(Shop(store, store.orders))

        @given(history=st.lists(st.integers(0, len(NEWS) - 1), min_size=1, max_size=8))
        @settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
        def ends_alike(history: list[int]) -> None:
            assert runner.run(shop.end_of(history)) == runner.run(shop.end_of(sorted(set(history))))

        ends_alike()
        runner.run(store.close())


async def test_no_statement_reads_all_orders(lab):
    """SQLite has no statistics: what is to be read by an index is told to it."""
    store = await lab.open()
    seen: set[str] = set()
    writer = store._writer.runner.connection
    await store._writer.submit(lambda _: writer.set_trace_callback(seen.add))
    for number in (1, 2):
        made = order(number, created_at=AT - number * UNPAID_FOR)
        await store.orders.insert_order(made, unpaid_for=UNPAID_FOR)
    for news in (paid(), paid(order_id=None), refunded(), paid("evt_9", 9)):
        await store.orders.take_payment(news, work())
    await store.orders.set_session("order_1", "cs_1")
    await store.orders.set_outcome("order_1", "failed")
    await store.orders.erase_orders("customer_1")

    with closing(sqlite3.connect(lab.path)) as connection:
        recorder = Recorder(connection)
        for query in (
            OrderQuery(before="x"),
            OrderQuery(product="x", before="x"),
            OrderQuery(payment=Payment.PAID, product="x", subject="x"),
        ):
            list_orders(recorder, SQLITE, query)
        ours = [sql for sql in seen if " shop_orders" in sql or "shop_payment_events" in sql]
        plans = recorder.plans + [plan for sql in ours for plan in recorder.explain(sql)]

    assert len(ours) > 12
    assert [plan for plan in plans if plan.startswith(("SCAN", "USE TEMP"))] == []
    assert "SEARCH shop_orders USING INDEX shop_orders_subject (subject=?)" in " ".join(recorder.plans)


class Recorder:
    """A connection that gives no rows, and keeps how it would look for them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, arguments: tuple[object, ...] = ()) -> sqlite3.Cursor:
        self.plans += self.explain(sql, arguments)
        return self.connection.execute("SELECT 1 WHERE 1 = 0")

    def explain(self, sql: str, arguments: tuple[object, ...] = ()) -> list[str]:
        return [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]


async def test_event_without_an_order_does_not_stay_for_ever(lab):
    store = await lab.open()
    for number in range(3):
        await store.orders.take_payment(paid(f"evt_{number}", 9), work(9))
    lab.clock.advance(timedelta(days=90, seconds=1).total_seconds())

    await store.orders.take_payment(paid("evt_late", 9), work(9))

    with closing(sqlite3.connect(lab.path)) as connection:
        rows = connection.execute(
            "SELECT event_id, order_id, outcome FROM shop_payment_events"
        ).fetchall()
    assert rows == [("evt_late", None, PaymentOutcome.UNKNOWN_ORDER)]


async def test_event_is_noted_with_what_became_of_it(lab):
    store = await lab.open()
    await store.orders.insert_order(order(), unpaid_for=UNPAID_FOR)
    for news in (paid(), paid(), refunded(5), paid("evt_foreign", session_id="cs_2")):
        await store.orders.take_payment(news, work())

    with closing(sqlite3.connect(lab.path)) as connection:
        rows = connection.execute(
            "SELECT event_id, order_id, news, outcome, refunded_cents"
            " FROM shop_payment_events ORDER BY rowid"
        ).fetchall()
    assert rows == [
        ("evt_paid", "order_1", "paid", "applied", None),
        ("evt_refund", "order_1", "refunded", "applied", 5),
        ("evt_foreign", "order_1", "paid", "foreign", None),
    ]


async def test_erased_customer_is_in_no_file_of_the_store(lab, tmp_path: Path):
    store = await lab.open()
    for number in range(20):
        kept = order(number, details=b'"Zaphod"' * 20, note="Zaphod again")
        await store.orders.insert_order(kept, unpaid_for=UNPAID_FOR)

    assert b"Zaphod" in _everything_in(tmp_path)
    assert len(await store.orders.erase_orders("customer_1")) == 20

    assert b"Zaphod" not in _everything_in(tmp_path)


def _everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("holdfast.db*")))
