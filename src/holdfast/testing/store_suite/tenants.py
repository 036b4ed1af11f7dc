"""Budgets of tenants: every call of their jobs is held to them, whatever process makes it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import BudgetExceededError, InvalidInputError, LeaseLost
from holdfast.model import Budget, BudgetPeriod, JobStatus, SuspendReason
from holdfast.store import hints
from holdfast.testing.store_suite.support import (
    StoreFixtures,
    claimed,
    event_types,
    ids_of,
    intent,
    last_event,
    lose_worker,
    outcome,
    seconds,
    settle,
    start,
)

if TYPE_CHECKING:
    from holdfast.store.service import TenantBudget
    from holdfast.store.sql_store import SqlStore
    from holdfast.testing.clock import ManualClock
    from holdfast.testing.store_suite.service import ServiceLab

DAY, MONTH = BudgetPeriod
ACME = "acme"


async def found(store: SqlStore, period: BudgetPeriod = DAY) -> TenantBudget:
    """Return the budget of a period as it stands."""
    budgets = await store.service.list_tenant_budgets(ACME)
    return next(each for each in budgets if each.period is period)


async def state(store: SqlStore, period: BudgetPeriod = DAY) -> tuple[int, int]:
    """Return the tokens used and reserved in a period."""
    budget = await found(store, period)
    return budget.used_tokens, budget.reserved_tokens


class TenantBudgetSuite(StoreFixtures):
    """`set_tenant_budget` and what it means to `reserve_call`, `settle_call` and lost calls."""

    @pytest.fixture
    async def acme(self, store: SqlStore) -> SqlStore:
        """Give a store where the tenant may use 150 tokens a day: one call of 100 at a time."""
        await store.service.set_tenant_budget(ACME, DAY, Budget(tokens=150))
        return store

    async def test_call_is_reserved_and_booked_in_every_period(self, acme: SqlStore) -> None:
        await acme.service.set_tenant_budget(ACME, MONTH, Budget(usd=Decimal("0.5")))
        lease = await start(acme, tenant=ACME)

        await acme.reserve_call(lease, intent(reserved_usd=Decimal("0.25")))
        assert await state(acme) == await state(acme, MONTH) == (0, 100)
        assert (await found(acme)).reserved_usd == Decimal("0.25")
        await acme.settle_call(lease, "call_1", outcome(usd=Decimal("0.125")))

        for period in BudgetPeriod:
            budget = await found(acme, period)
            assert (budget.used_tokens, budget.reserved_tokens) == (50, 0)
            assert (budget.spent_usd, budget.reserved_usd) == (Decimal("0.125"), Decimal(0))
        assert (await acme.get_job(lease.job_id)).usage.usd == Decimal("0.125")

    async def test_call_that_does_not_fit_is_refused_and_reserves_nothing(self, acme: SqlStore) -> None:
        first, second = await start(acme, tenant=ACME), await start(acme, tenant=ACME)
        await acme.reserve_call(first, intent())

        with pytest.raises(
            BudgetExceededError, match=r"up to 100 tokens, 50 of 150 are left .* 'acme' for a day"
        ):
            await acme.reserve_call(second, intent())

        assert await state(acme) == (0, 100)
        assert (await acme.get_job(second.job_id)).usage.reserved_tokens == 0
        assert (await acme.get_records(second.job_id)).calls == ()

    async def test_call_refused_by_its_jobs_own_budget_charges_its_tenant_nothing(
        self, acme: SqlStore
    ) -> None:
        lease = await start(acme, tenant=ACME, budget=Budget(tokens=10))

        with pytest.raises(BudgetExceededError, match=f"budget of job '{lease.job_id}'"):
            await acme.reserve_call(lease, intent())

        assert await state(acme) == (0, 0)

    async def test_other_tenants_and_jobs_without_one_are_not_held_to_it(self, acme: SqlStore) -> None:
        for tenant in (None, "", "other"):
            lease = await start(acme, tenant=tenant)
            await acme.reserve_call(lease, intent(reserved_tokens=10_000))

        assert await state(acme) == (0, 0)

    async def test_budget_in_money_refuses_dear_calls_and_unknown_prices(self, store: SqlStore) -> None:
        await store.service.set_tenant_budget(ACME, MONTH, Budget(usd=Decimal(1)))
        lease = await start(store, tenant=ACME)

        with pytest.raises(BudgetExceededError, match=r"may cost 1\.5 .* 1 of 1 are left .* a month"):
            await store.reserve_call(lease, intent(reserved_usd=Decimal("1.5")))
        with pytest.raises(BudgetExceededError, match="price of model 'small' is unknown"):
            await store.reserve_call(lease, intent())

    async def test_repeated_reserving_and_settling_count_once(self, acme: SqlStore) -> None:
        lease = await start(acme, tenant=ACME)

        for _ in range(2):
            await acme.reserve_call(lease, intent())
        for _ in range(2):
            await acme.settle_call(lease, "call_1", outcome())

        assert await state(acme) == (50, 0)

    async def test_calls_of_children_count_once(self, acme: SqlStore) -> None:
        parent = await start(acme, tenant=ACME)
        child = await start(acme, tenant=ACME, parent=parent)

        await acme.reserve_call(child, intent())
        assert await state(acme) == (0, 100)
        await acme.settle_call(child, "call_1", outcome())

        assert await state(acme) == (50, 0)

    async def test_call_of_a_lost_worker_counts_with_what_it_can_have_used(
        self, acme: SqlStore, clock: ManualClock
    ) -> None:
        lease = await start(acme, tenant=ACME)
        await acme.reserve_call(lease, intent())
        await lose_worker(acme, clock)

        later = await claimed(acme, lease.job_id)

        assert await state(acme) == (100, 0)
        with pytest.raises(LeaseLost):
            await acme.reserve_call(lease, intent("call_2", reserved_tokens=1))
        await acme.settle_call(later.lease, "call_1", outcome())
        assert await state(acme) == (100, 0)

    async def test_next_period_begins_with_nothing_spent_and_what_is_reserved(
        self, acme: SqlStore, clock: ManualClock
    ) -> None:
        lease = await start(acme, tenant=ACME)
        await acme.reserve_call(lease, intent())
        await acme.settle_call(lease, "call_1", outcome())
        await acme.reserve_call(lease, intent("call_2"))
        budget = await found(acme)
        assert (budget.begins_at, budget.ends_at) == (
            datetime(2030, 1, 1, tzinfo=UTC),
            datetime(2030, 1, 2, tzinfo=UTC),
        )

        clock.advance((budget.ends_at - clock.now()).total_seconds())
        assert await state(acme) == (0, 100)
        await acme.settle_call(lease, "call_2", outcome())

        assert await state(acme) == (50, 0)
        assert (await found(acme)).begins_at == datetime(2030, 1, 2, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("used", "wanted", "until"),
        [
            # Nothing but another day helps; or what the other call gives back may do.
            (0, 200, timedelta(hours=12)),
            (100, 100, timedelta(minutes=1)),
        ],
    )
    async def test_refusal_tells_when_to_try_again(
        self, acme: SqlStore, clock: ManualClock, used: int, wanted: int, until: timedelta
    ) -> None:
        busy, lease = await start(acme, tenant=ACME), await start(acme, tenant=ACME)
        if used:
            await acme.reserve_call(busy, intent(reserved_tokens=used))

        with pytest.raises(BudgetExceededError) as refused:
            await acme.reserve_call(lease, intent(reserved_tokens=wanted))

        assert refused.value.until == clock.now() + until

    async def test_call_begun_before_the_tenant_had_a_budget_is_not_booked_on_it(
        self, store: SqlStore
    ) -> None:
        lease = await start(store, tenant=ACME)
        await store.reserve_call(lease, intent())
        await store.service.set_tenant_budget(ACME, DAY, Budget(tokens=150))

        await store.settle_call(lease, "call_1", outcome())

        assert await state(store) == (0, 0)

    async def test_budget_that_was_lifted_for_a_while_has_counted_on(self, acme: SqlStore) -> None:
        lease = await start(acme, tenant=ACME)
        await acme.reserve_call(lease, intent())
        await acme.service.set_tenant_budget(ACME, DAY, Budget())
        assert await acme.service.list_tenant_budgets(ACME) == []
        await acme.settle_call(lease, "call_1", outcome())
        await acme.reserve_call(lease, intent("call_2", reserved_tokens=10_000))

        await acme.service.set_tenant_budget(ACME, DAY, Budget(tokens=150))

        assert await state(acme) == (50, 10_000)

    async def test_changed_budget_wakes_the_jobs_that_wait_for_it(self, acme: SqlStore) -> None:
        waits = await start(acme, tenant=ACME)
        await settle(
            acme,
            waits,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.BUDGET,
            available_after=seconds(3600),
        )
        sleeps = await start(acme, tenant=ACME)
        await settle(
            acme,
            sleeps,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.SLEEP,
            available_after=seconds(3600),
        )

        budget = await acme.service.set_tenant_budget(ACME, DAY, Budget(tokens=300))
        woken = await acme.wake_jobs(redispatch_after=seconds(600))

        assert budget == await found(acme)
        assert ids_of(woken.dispatches) == (waits.job_id,)
        assert (await event_types(acme, waits.job_id))[-2:] == ["budget.changed", "job.queued"]
        assert await last_event(acme, sleeps.job_id) == (
            "budget.changed",
            {"tenant": ACME, "period": "day", "usd": None, "tokens": 300},
        )
        await acme.reserve_call((await claimed(acme, waits.job_id)).lease, intent(reserved_tokens=300))

    async def test_attempt_that_did_not_know_of_the_change_is_queued_instead_of_suspended(
        self, acme: SqlStore
    ) -> None:
        lease = await start(acme, tenant=ACME)
        seen = (await acme.get_job(lease.job_id)).event_seq
        with acme.hints.subscribe(hints.SIGNAL) as told:
            await acme.service.set_tenant_budget(ACME, DAY, Budget(tokens=300))
            assert told.is_set()

        job = await settle(
            acme,
            lease,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.BUDGET,
            wake_after_seq=seen,
        )

        assert job.status is JobStatus.QUEUED

    async def test_processes_never_pass_it_together(self, lab: ServiceLab, acme: SqlStore) -> None:
        """However many ask at once, as much is granted as fits."""
        await acme.service.set_tenant_budget(ACME, DAY, Budget(tokens=1_000))
        stores = [acme, await lab.open(), await lab.open()]
        leases = [await start(acme, tenant=ACME) for _ in range(3)]

        async def spend(number: int) -> bool:
            store, lease = stores[number % 3], leases[number % 3]
            call_id = f"call_{number}"
            try:
                await store.reserve_call(lease, intent(call_id))
            except BudgetExceededError:
                return False
            if number % 2:
                await store.settle_call(lease, call_id, outcome(input_tokens=100, output_tokens=0))
            return True

        granted = await asyncio.gather(*map(spend, range(30)))

        assert granted.count(True) == 10
        assert sum(await state(acme)) == 1_000

    async def test_list_has_all_that_are_limited_in_order(self, acme: SqlStore) -> None:
        await acme.service.set_tenant_budget("zoo", MONTH, Budget(tokens=1))
        await acme.service.set_tenant_budget("bar", MONTH, Budget())

        listed = await acme.service.list_tenant_budgets()

        assert [(each.tenant, each.period) for each in listed] == [(ACME, DAY), ("zoo", MONTH)]

    @pytest.mark.parametrize(
        "change", [{"tenant": "a\0b"}, {"budget": Budget(tokens=2**63)}, {"tenant": "x" * 256}]
    )
    async def test_what_cannot_be_stored_is_refused(
        self, store: SqlStore, change: dict[str, Any]
    ) -> None:
        given: dict[str, Any] = {"tenant": ACME, "period": DAY, "budget": Budget(tokens=1)}

        with pytest.raises(InvalidInputError):
            await store.service.set_tenant_budget(**(given | change))

        assert await store.service.list_tenant_budgets() == []
