"""What orders are refused, and what becomes of them in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import InvalidInputError, OrderNotFoundError
from holdfast.store.base import PruneRequest
from holdfast.store.orders import (
    NOTE_CHARACTERS_MAX,
    SWEPT_MAX,
    OrderQuery,
    Payment,
    PaymentNews,
    PaymentOutcome,
)
from holdfast.testing.store_suite.bounds import UNSTORABLE
from holdfast.testing.store_suite.orders import (
    UNPAID_FOR,
    OrderFixtures,
    event,
    order,
    paid,
    refunded,
    work,
)
from holdfast.testing.store_suite.support import claimed, finish, worker

if TYPE_CHECKING:
    from holdfast.testing.store_suite.orders import OrderLab, Shop


class OrderKeepingSuite(OrderFixtures):
    """Promises of `holdfast.store.orders` on what is kept, for how long, and what is not."""

    # bounds ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", UNSTORABLE)
    async def test_text_that_cannot_be_stored_is_refused(self, shop: Shop, name: str) -> None:
        await shop.order()
        for field in ("order_id", "product", "subject", "currency", "session_id", "payment_id"):
            with pytest.raises(InvalidInputError, match=f"{field.replace('_', ' ')} .*cannot be stored"):
                await shop.order(2, **{field: name})
        for field in ("event_id", "order_id", "session_id", "payment_id"):
            changed: dict[str, Any] = {field: name}
            with pytest.raises(InvalidInputError, match=f"{field.replace('_', ' ')} .*cannot be stored"):
                await shop.tell(replace(paid(), **changed))
        for query in (OrderQuery(subject=name), OrderQuery(product=name), OrderQuery(before=name)):
            with pytest.raises(InvalidInputError, match="cannot be stored"):
                await shop.orders.list_orders(query)
        for refused in (
            shop.orders.set_note("order_1", name),
            shop.orders.set_outcome("order_1", name),
            shop.orders.set_session("order_1", name),
            shop.orders.erase_orders(name),
        ):
            with pytest.raises(InvalidInputError, match="cannot be stored"):
                await refused
        for missed in (shop.orders.set_note(name, "x"), shop.orders.set_session(name, "x")):
            with pytest.raises(OrderNotFoundError):
                await missed
        await shop.orders.set_outcome(name, "completed")

        assert await shop.orders.find_order(name) is None
        assert await shop.orders.find_order_of(session_id=name, payment_id=name) is None
        assert await shop.orders.list_orders(OrderQuery()) == [order()]
        assert await shop.jobs() == []

    @pytest.mark.parametrize(
        ("what", "change"),
        [
            ("amount cents", {"amount_cents": -1}),
            ("amount cents", {"amount_cents": 2**63}),
            ("session id", {"session_id": "x" * 256}),
            ("details", {"details": b"1" * (256 * 1024 + 1)}),
            ("note", {"note": "x" * (NOTE_CHARACTERS_MAX + 1)}),
        ],
    )
    async def test_order_beyond_its_bounds_is_refused(
        self, shop: Shop, what: str, change: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidInputError, match=what):
            await shop.order(**change)

        assert await shop.orders.find_order("order_1") is None

    async def test_event_beyond_its_bounds_is_refused(self, shop: Shop) -> None:
        await shop.order()

        with pytest.raises(InvalidInputError, match="paid cents"):
            await shop.tell(paid(paid_cents=2**63))
        with pytest.raises(InvalidInputError, match="needs the job"):
            await shop.orders.take_payment(paid(), None)
        with pytest.raises(InvalidInputError, match="idempotency key"):
            await shop.orders.take_payment(paid(), work(idempotency_key="x" * 256))

        assert (await shop.tell(paid(paid_cents=2**63 - 1))).outcome is PaymentOutcome.APPLIED

    # what goes ---------------------------------------------------------------------------------

    async def test_orders_nobody_pays_are_swept(self, lab: OrderLab, shop: Shop) -> None:
        many = SWEPT_MAX + 5
        for number in range(many):
            await shop.order(number)
        for number, news in (
            (0, PaymentNews.EXPIRED),
            (1, PaymentNews.PROCESSING),
            (2, PaymentNews.PAID),
        ):
            await shop.tell(event(f"evt_{number}", news, number), number)
        await shop.order(3, payment_id="pi_3")
        lab.clock.advance(UNPAID_FOR.total_seconds())
        await shop.order(100, created_at=lab.clock.now())
        assert len(await shop.orders.list_orders(OrderQuery())) == many + 1

        lab.clock.advance(1)
        await shop.order(101, created_at=lab.clock.now())
        assert len(await shop.orders.list_orders(OrderQuery())) == many + 2 - SWEPT_MAX
        await shop.order(101, created_at=lab.clock.now())

        left = {each.order_id for each in await shop.orders.list_orders(OrderQuery())}
        assert left == {"order_1", "order_2", "order_100", "order_101"}
        # What was told of the swept ones has gone with them.
        assert (await shop.tell(event("evt_0", PaymentNews.EXPIRED, 0))).outcome is (
            PaymentOutcome.UNKNOWN_ORDER
        )

    async def test_order_that_is_told_again_is_not_swept(self, lab: OrderLab, shop: Shop) -> None:
        await shop.order(session_id="cs_1")
        lab.clock.advance(UNPAID_FOR.total_seconds() + 1)

        assert (await shop.order()).session_id == "cs_1"

        assert await shop.orders.find_order("order_1") is not None

    async def test_events_without_an_order_are_forgotten_in_time(
        self, lab: OrderLab, shop: Shop
    ) -> None:
        await shop.tell(paid("evt_old"))
        lab.clock.advance(timedelta(days=91).total_seconds())
        await shop.tell(paid("evt_new", 2), 2)
        await shop.order(created_at=lab.clock.now())
        await shop.order(2, created_at=lab.clock.now())

        assert (await shop.tell(paid("evt_old"))).outcome is PaymentOutcome.APPLIED
        assert (await shop.tell(paid("evt_new", 2), 2)).outcome is PaymentOutcome.APPLIED

    async def test_customer_is_erased_but_for_work_under_way(self, shop: Shop) -> None:
        shop.store.beat(worker("w1"), first=True)
        for number in range(1, 6):
            await shop.order(number, subject="customer_2" if number == 4 else "customer_1")
        for number in (1, 2):
            await shop.tell(paid(f"evt_{number}", number), number)
        await shop.tell(event("evt_5", PaymentNews.PROCESSING, 5), 5)
        done = await claimed(shop.store)
        await finish(shop.store, done.lease)
        gone = (done.job.idempotency_key or "").replace("cs", "order")
        running = {"order_1", "order_2"} - {gone}

        assert sorted(await shop.orders.erase_orders("customer_1")) == sorted([gone, "order_3"])
        assert await shop.orders.erase_orders("customer_1") == []

        left = {each.order_id for each in await shop.orders.list_orders(OrderQuery())}
        assert left == running | {"order_4", "order_5"}
        number = int(gone[-1])
        assert (await shop.tell(paid(f"evt_{number}", number), number)).outcome is (
            PaymentOutcome.UNKNOWN_ORDER
        )

    async def test_order_outlives_its_job(self, shop: Shop) -> None:
        shop.store.beat(worker("w1"), first=True)
        await shop.order()
        served = await shop.tell(paid())
        await finish(shop.store, (await claimed(shop.store)).lease)
        await shop.orders.set_outcome("order_1", "completed")

        assert (await shop.store.prune_jobs(PruneRequest(older_than=timedelta(0)))).job_ids
        taken = await shop.tell(refunded())

        assert served.order is not None
        assert taken.order is not None
        assert (taken.order.job_id, taken.order.outcome) == (served.order.job_id, "completed")
        assert (taken.order.payment, taken.job) == (Payment.REFUNDED, None)
