"""Parents and children: what flows up, what flows down, and money in both."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from holdfast.errors import BudgetExceededError, IdempotencyConflictError, LeaseLost
from holdfast.ids import child_id
from holdfast.model import Budget, CallStatus, JobStatus, Lease, SuspendReason, Usage
from holdfast.store.base import JobQuery, Store
from holdfast.testing.clock import ManualClock  # noqa: TC001 - pytest reads the fixtures' types
from holdfast.testing.store_suite.support import (
    UNDO,
    StoreFixtures,
    StoreLab,
    claimed,
    event_types,
    finish,
    ids_of,
    intent,
    job,
    last_event,
    lose_worker,
    outcome,
    put,
    seconds,
    settle,
    start,
    submit,
    worker,
)

USD = Decimal("0.01")


async def spawn(store: Store, parent: Lease, **changes: object) -> str:
    """Queue a child and return its id."""
    return await submit(store, parent=parent, **changes)


async def suspend(store: Store, lease: Lease, **changes: object) -> None:
    """Let a parent wait for its children."""
    fields = {"suspend_reason": SuspendReason.CHILDREN} | changes
    await settle(store, lease, JobStatus.SUSPENDED, **fields)


async def status_of(store: Store, job_id: str) -> JobStatus:
    """Return where a job is."""
    return (await store.get_job(job_id)).status


async def family(store: Store, levels: int, **changes: object) -> list[Lease]:
    """Return the leases of a job, its child, its grandchild and so on, all running."""
    leases = [await start(store, **changes)]
    for _ in range(levels - 1):
        leases.append((await claimed(store, await spawn(store, leases[-1]))).lease)
    return leases


async def check_sums(store: Store, leases: list[Lease]) -> None:
    """Compare each job's usage with its ledger and those of all below it."""
    below: list[Usage] = []
    for lease in reversed(leases):
        below.append(await _own_usage(store, lease.job_id))
        shown = (await store.get_job(lease.job_id)).usage
        for name in Usage.__dataclass_fields__:
            assert getattr(shown, name) == sum(getattr(own, name) for own in below), name


async def _own_usage(store: Store, job_id: str) -> Usage:
    calls = (await store.get_records(job_id)).calls
    booked = [call for call in calls if call.usd is not None]
    uncertain = [call for call in calls if call.status is CallStatus.UNCERTAIN]
    reserved = [call for call in calls if call.status is CallStatus.RESERVED]
    return Usage(
        calls=len(booked),
        input_tokens=sum(call.input_tokens for call in booked),
        output_tokens=sum(call.output_tokens for call in booked),
        usd=sum((call.usd or Decimal(0) for call in booked), Decimal(0)),
        uncertain_calls=len(uncertain),
        uncertain_usd=sum((call.reserved_usd or Decimal(0) for call in uncertain), Decimal(0)),
        reserved_tokens=sum(call.reserved_tokens for call in reserved),
        reserved_usd=sum((call.reserved_usd or Decimal(0) for call in reserved), Decimal(0)),
    )


class FamilySuite(StoreFixtures):
    """Children of `insert_job`, and what every verb means for parents and children."""

    # spawning ----------------------------------------------------------------------------------

    async def test_child_knows_its_parent_and_is_listed_under_it(self, store: Store) -> None:
        parent = await start(store, tenant="acme", subject="person-7")

        child = await spawn(store, parent, tenant="acme", subject="person-7")
        await submit(store)

        found = await store.get_job(child)
        assert (found.parent_id, found.tenant, found.subject) == (parent.job_id, "acme", "person-7")
        listed = await store.list_jobs(JobQuery(parent_id=parent.job_id))
        assert [each.job_id for each in listed] == [child]
        assert (await claimed(store, child)).lease.parent == parent.row

    async def test_child_spawned_twice_is_one_job(self, store: Store) -> None:
        parent = await start(store)
        derived = child_id(parent.job_id, "page/1")

        first = await store.insert_job(job(job_id=derived, parent=parent))
        second = await store.insert_job(job(job_id=derived, parent=parent))

        assert (first.created, second.created) == (True, False)
        assert second.job == first.job
        with pytest.raises(IdempotencyConflictError):
            await store.insert_job(job(job_id=derived, parent=parent, input=b"1"))

    async def test_children_spawned_by_two_attempts_at_once_are_one_job(
        self, store: Store, clock: ManualClock
    ) -> None:
        """The old attempt does not know yet that it has lost its lease."""
        old = await start(store)
        derived = child_id(old.job_id, "page/1")
        await lose_worker(store, clock)
        new = (await claimed(store, old.job_id)).lease

        results = await asyncio.gather(
            *(store.insert_job(job(job_id=derived, parent=lease)) for lease in (old, new)),
            return_exceptions=True,
        )

        assert isinstance(results[0], LeaseLost)
        assert [each.job_id for each in await store.list_jobs(JobQuery(parent_id=old.job_id))] == [
            derived
        ]

    async def test_stale_lease_spawns_nothing(self, store: Store, clock: ManualClock) -> None:
        parent = await start(store)
        await lose_worker(store, clock)

        with pytest.raises(LeaseLost):
            await spawn(store, parent)

        assert await store.list_jobs(JobQuery(parent_id=parent.job_id)) == []

    async def test_child_of_a_parent_that_is_to_end_is_born_cancelled(self, store: Store) -> None:
        parent = await start(store)
        await store.cancel_job(parent.job_id)

        child = await spawn(store, parent)

        assert await status_of(store, child) is JobStatus.CANCELLED

    # waking ------------------------------------------------------------------------------------

    async def test_only_the_last_child_wakes_its_parent(self, store: Store) -> None:
        parent = await start(store)
        children = [await spawn(store, parent) for _ in range(3)]
        await suspend(store, parent)

        for child in children[:2]:
            await finish(store, (await claimed(store, child)).lease)
        assert await status_of(store, parent.job_id) is JobStatus.SUSPENDED
        await finish(store, (await claimed(store, children[2])).lease)

        assert await status_of(store, parent.job_id) is JobStatus.QUEUED
        events = await store.read_events(parent.job_id, types=("child.ended",))
        assert [msgspec.json.decode(event.data) for event in events] == [
            {"child_id": child, "status": "completed"} for child in children
        ]

    async def test_children_that_end_at_the_same_time_elsewhere_wake_their_parent(
        self, lab: StoreLab, store: Store
    ) -> None:
        """Each of two processes must see that the other has ended the last but one."""
        other = await lab.open()
        other.beat(worker("w2"), first=True)
        for _ in range(5):
            parent = await start(store, budget=Budget(tokens=1_000))
            ids = [await spawn(store, parent) for _ in range(4)]
            here = [(await claimed(store, child)).lease for child in ids[:2]]
            there = [(await claimed(other, child, "w2")).lease for child in ids[2:]]
            await suspend(store, parent)

            await asyncio.gather(
                *(finish(store, lease) for lease in here), *(finish(other, lease) for lease in there)
            )

            await finish(store, (await claimed(store, parent.job_id)).lease)

    async def test_woken_parent_is_announced_by_the_next_round_of_the_waker(self, store: Store) -> None:
        """Whoever ended the child does not know that its parent was queued."""
        parent = await start(store)
        child = await spawn(store, parent)
        await suspend(store, parent)
        await finish(store, (await claimed(store, child)).lease)

        told = await store.wake_jobs(redispatch_after=seconds(600))

        assert ids_of(told.dispatches) == (parent.job_id,)
        assert (await store.wake_jobs(redispatch_after=seconds(600))).dispatches == ()

    @pytest.mark.parametrize("ends", [JobStatus.FAILED, JobStatus.CANCELLED])
    async def test_child_that_does_not_complete_wakes_its_parent_at_once(
        self, store: Store, ends: JobStatus
    ) -> None:
        parent = await start(store)
        child, sibling = [await spawn(store, parent) for _ in range(2)]
        running = (await claimed(store, sibling)).lease
        await suspend(store, parent)

        await settle(store, (await claimed(store, child)).lease, ends)

        assert await status_of(store, parent.job_id) is JobStatus.QUEUED
        assert await status_of(store, sibling) is JobStatus.RUNNING
        await finish(store, running)

    async def test_parent_that_waits_for_some_of_its_children_is_woken_by_each(
        self, store: Store
    ) -> None:
        """Another child may go on for ever, or wait for what its parent does next."""
        parent = await start(store)
        child, _ = [await spawn(store, parent) for _ in range(2)]
        await suspend(store, parent, each_child=True)

        await finish(store, (await claimed(store, child)).lease)

        assert await status_of(store, parent.job_id) is JobStatus.QUEUED

    async def test_wish_to_be_woken_by_each_child_ends_with_the_suspension(self, store: Store) -> None:
        parent = await start(store)
        children = [await spawn(store, parent) for _ in range(3)]
        await suspend(store, parent, each_child=True)
        await finish(store, (await claimed(store, children[0])).lease)
        await suspend(store, (await claimed(store, parent.job_id)).lease)

        await finish(store, (await claimed(store, children[1])).lease)

        assert await status_of(store, parent.job_id) is JobStatus.SUSPENDED

    async def test_children_do_not_wake_a_parent_that_sleeps(self, store: Store) -> None:
        parent = await start(store)
        child = await spawn(store, parent)
        await suspend(store, parent, suspend_reason=SuspendReason.SLEEP, available_after=seconds(60))

        await settle(store, (await claimed(store, child)).lease, JobStatus.FAILED)

        assert await status_of(store, parent.job_id) is JobStatus.SUSPENDED

    async def test_child_that_ends_before_its_parent_suspends_is_not_missed(self, store: Store) -> None:
        parent = await start(store)
        child = await spawn(store, parent)
        seen = (await store.get_job(parent.job_id)).event_seq
        await finish(store, (await claimed(store, child)).lease)

        await suspend(store, parent, wake_after_seq=seen)

        assert await status_of(store, parent.job_id) is JobStatus.QUEUED

    async def test_child_outlives_a_parent_that_completes(self, store: Store) -> None:
        parent = await start(store)
        child = (await claimed(store, await spawn(store, parent))).lease
        await finish(store, parent)

        await finish(store, child)

        assert (await event_types(store, parent.job_id))[-1] == "job.completed"

    # ending ------------------------------------------------------------------------------------

    async def test_cancel_reaches_three_levels(self, store: Store) -> None:
        top, middle, low = await family(store, 3)
        await suspend(store, top)
        await suspend(store, middle)

        await store.cancel_job(top.job_id)

        assert await status_of(store, top.job_id) is JobStatus.CANCELLED
        assert await status_of(store, middle.job_id) is JobStatus.CANCELLED
        left = await store.get_job(low.job_id)
        assert (left.status, left.cancel_requested_at is None) == (JobStatus.RUNNING, False)

    async def test_cancel_leaves_compensation_at_any_level_to_a_worker(self, store: Store) -> None:
        top, middle, low = await family(store, 3)
        await put(store, low, "pay", undo=UNDO)
        await suspend(store, low, suspend_reason=SuspendReason.SIGNAL)
        await suspend(store, middle)
        await suspend(store, top)

        await store.cancel_job(top.job_id)

        assert await status_of(store, middle.job_id) is JobStatus.CANCELLED
        assert await status_of(store, low.job_id) is JobStatus.QUEUED
        assert ids_of((await store.wake_jobs(redispatch_after=seconds(600))).dispatches) == (low.job_id,)
        await settle(store, (await claimed(store, low.job_id)).lease, JobStatus.CANCELLED)
        assert await status_of(store, low.job_id) is JobStatus.CANCELLED

    async def test_cancel_again_changes_nothing_below(self, store: Store) -> None:
        top, child = await family(store, 2)
        await store.cancel_job(top.job_id)
        before = await event_types(store, child.job_id)

        await store.cancel_job(top.job_id)

        assert await event_types(store, child.job_id) == before

    async def test_child_that_is_cancelled_already_is_not_cancelled_again(self, store: Store) -> None:
        top, child = await family(store, 2)
        await store.cancel_job(child.job_id)
        before = await event_types(store, child.job_id)

        await store.cancel_job(top.job_id)

        assert await event_types(store, child.job_id) == before

    @pytest.mark.parametrize("ends", [JobStatus.FAILED, JobStatus.CANCELLED])
    async def test_parent_that_does_not_complete_takes_its_children_along(
        self, store: Store, ends: JobStatus
    ) -> None:
        parent = await start(store)
        queued = await spawn(store, parent)
        running = (await claimed(store, await spawn(store, parent))).lease
        done = (await claimed(store, await spawn(store, parent))).lease
        await finish(store, done)

        await settle(store, parent, ends)

        assert await status_of(store, queued) is JobStatus.CANCELLED
        assert (await store.get_job(running.job_id)).cancel_requested_at is not None
        assert await status_of(store, done.job_id) is JobStatus.COMPLETED

    async def test_parent_is_told_of_a_child_that_is_cancelled_at_once(self, store: Store) -> None:
        parent = await start(store)
        child = await spawn(store, parent)

        await store.cancel_job(child)

        assert await last_event(store, parent.job_id) == (
            "child.ended",
            {"child_id": child, "status": "cancelled"},
        )

    # retry and fork ----------------------------------------------------------------------------

    async def test_retry_takes_failed_and_cancelled_children_along(self, store: Store) -> None:
        parent = await start(store)
        failed, cancelled, done = [
            (await claimed(store, await spawn(store, parent))).lease for _ in range(3)
        ]
        await finish(store, done)
        await settle(store, failed, JobStatus.FAILED)
        await settle(store, parent, JobStatus.FAILED)
        await settle(store, cancelled, JobStatus.CANCELLED)
        await store.wake_jobs(redispatch_after=seconds(600))

        await store.retry_job(parent.job_id)

        again = [failed.job_id, cancelled.job_id]
        for job_id in again:
            found = await store.get_job(job_id)
            assert (found.status, found.cancel_requested_at) == (JobStatus.QUEUED, None)
        assert await status_of(store, done.job_id) is JobStatus.COMPLETED
        # The caller announces the parent, which it asked for.
        told = await store.wake_jobs(redispatch_after=seconds(600))
        assert sorted(ids_of(told.dispatches)) == sorted(again)

    async def test_fork_of_a_parent_has_no_children(self, store: Store) -> None:
        parent = await start(store)
        await put(store, parent, "page/1", b"2")
        child = await spawn(store, parent)

        fork = await store.fork_job(parent.job_id, job(), keep=None)

        assert await store.list_jobs(JobQuery(parent_id=fork.job_id)) == []
        assert (await store.get_job(child)).parent_id == parent.job_id
        assert "page/1" in (await claimed(store, fork.job_id)).checkpoints

    # money -------------------------------------------------------------------------------------

    async def test_usage_of_a_child_counts_on_all_above_it_at_all_times(self, store: Store) -> None:
        leases = await family(store, 3)
        for number, lease in enumerate(leases):
            await store.reserve_call(lease, intent(f"a{number}", reserved_usd=USD))
            await check_sums(store, leases)
            await store.reserve_call(lease, intent(f"b{number}", reserved_usd=USD))
            await store.settle_call(lease, f"a{number}", outcome(usd=USD / 2))
            await check_sums(store, leases)
        for lease in reversed(leases):
            await finish(store, lease)
            await check_sums(store, leases)

    async def test_calls_of_a_lost_child_are_uncertain_on_all_above_it(
        self, store: Store, clock: ManualClock
    ) -> None:
        leases = await family(store, 3)
        for number, lease in enumerate(leases):
            await store.reserve_call(lease, intent(f"c{number}", reserved_usd=USD))
        await lose_worker(store, clock)
        await check_sums(store, leases)

        again = [(await claimed(store, lease.job_id)).lease for lease in reversed(leases)]

        await check_sums(store, leases)
        assert (await store.get_job(leases[0].job_id)).usage.uncertain_calls == 3
        for lease in again:
            number = [each.job_id for each in leases].index(lease.job_id)
            await store.settle_call(lease, f"c{number}", outcome(usd=USD))
            await check_sums(store, leases)
        assert (await store.get_job(leases[0].job_id)).usage.uncertain_calls == 0

    async def test_answers_that_a_lost_child_had_paid_for_stay_on_all_above_it(
        self, store: Store, clock: ManualClock
    ) -> None:
        leases = await family(store, 2)
        await store.reserve_call(leases[1], intent("c", reserved_usd=USD))
        await store.settle_call(leases[1], "c", outcome(usd=USD))

        await lose_worker(store, clock)

        [call] = (await store.get_records(leases[1].job_id)).calls
        assert call.status is CallStatus.LOST
        assert (await store.get_job(leases[0].job_id)).usage.usd == USD
        await check_sums(store, leases)

    async def test_calls_of_a_child_that_is_cancelled_in_flight_are_uncertain_above_it(
        self, store: Store
    ) -> None:
        leases = await family(store, 2)
        await store.reserve_call(leases[1], intent("c", reserved_usd=USD))

        await settle(store, leases[1], JobStatus.CANCELLED)

        assert (await store.get_job(leases[0].job_id)).usage.uncertain_usd == USD
        await check_sums(store, leases)

    @pytest.mark.parametrize("limited", [0, 1, 2])
    async def test_budget_of_any_job_above_holds_and_a_refusal_reserves_nothing(
        self, store: Store, limited: int
    ) -> None:
        top = await start(store, budget=Budget(tokens=150 if limited == 0 else None))
        leases = [top]
        for level in (1, 2):
            budget = Budget(tokens=150 if limited == level else None)
            child = await spawn(store, leases[-1], budget=budget)
            leases.append((await claimed(store, child)).lease)
        await store.reserve_call(leases[2], intent("a", reserved_usd=USD))

        with pytest.raises(BudgetExceededError, match=leases[limited].job_id):
            await store.reserve_call(leases[2], intent("b", reserved_usd=USD))

        await check_sums(store, leases)

    async def test_children_never_pass_their_parents_budget_together(self, store: Store) -> None:
        parent = await start(store, budget=Budget(tokens=250))
        children = [(await claimed(store, await spawn(store, parent))).lease for _ in range(6)]

        async def reserve(lease: Lease) -> bool:
            try:
                await store.reserve_call(lease, intent())
            except BudgetExceededError:
                return False
            return True

        assert sum(await asyncio.gather(*map(reserve, children))) == 2
        assert (await store.get_job(parent.job_id)).usage.reserved_tokens == 200

    async def test_budget_of_a_parent_that_is_raised_wakes_the_children_that_wait_for_it(
        self, store: Store
    ) -> None:
        top, middle, low = await family(store, 3, budget=Budget(tokens=10))
        await suspend(store, low, suspend_reason=SuspendReason.BUDGET)
        await suspend(store, middle)
        await suspend(store, top)

        await store.set_budget(top.job_id, Budget(tokens=1_000))

        assert await status_of(store, low.job_id) is JobStatus.QUEUED
        assert await status_of(store, middle.job_id) is JobStatus.SUSPENDED

    async def test_child_that_ends_leaves_its_reservation_to_siblings_that_wait_for_budget(
        self, store: Store
    ) -> None:
        parent = await start(store, budget=Budget(tokens=150))
        spends, waits = [(await claimed(store, await spawn(store, parent))).lease for _ in range(2)]
        await store.reserve_call(spends, intent())
        await suspend(store, waits, suspend_reason=SuspendReason.BUDGET)
        await suspend(store, parent)
        await store.settle_call(spends, "call_1", outcome())

        await finish(store, spends)

        assert await status_of(store, waits.job_id) is JobStatus.QUEUED
        await store.reserve_call((await claimed(store, waits.job_id)).lease, intent())
