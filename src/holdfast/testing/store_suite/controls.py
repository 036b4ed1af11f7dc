"""Cancelling, retrying, signalling, budgets, waking."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import JobFinishedError, JobNotFinishedError, JobNotFoundError
from holdfast.model import Budget, CallStatus, JobStatus, StoredError, SuspendReason
from holdfast.store.base import COMPENSATION_KEY, Store
from holdfast.testing.store_suite.support import (
    UNDO,
    StoreFixtures,
    claimed,
    event_types,
    finish,
    ids_of,
    intent,
    last_event,
    lose_worker,
    put,
    seconds,
    settle,
    start,
    submit,
)

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock


async def suspend(store: Store, reason: SuspendReason, **changes: object) -> str:
    """Submit a job and let its attempt suspend."""
    lease = await start(store)
    await settle(store, lease, JobStatus.SUSPENDED, suspend_reason=reason, **changes)
    return lease.job_id


class ControlSuite(StoreFixtures):
    """`cancel_job`, `retry_job`, `signal_job`, `set_budget`, `wake_jobs`."""

    async def test_cancel_ends_queued_job_at_once(self, store: Store, clock: ManualClock) -> None:
        job_id = await submit(store)

        ended = await store.cancel_job(job_id)

        assert (ended.status, ended.finished_at) == (JobStatus.CANCELLED, clock.now())
        assert ended.cancel_requested_at == clock.now()
        assert await event_types(store, job_id, after=1) == ["job.cancel_requested", "job.cancelled"]

    async def test_cancel_ends_suspended_job_at_once(self, store: Store) -> None:
        job_id = await suspend(store, SuspendReason.SIGNAL)

        ended = await store.cancel_job(job_id)

        assert (ended.status, ended.suspend_reason) == (JobStatus.CANCELLED, None)

    @pytest.mark.parametrize("finished", [True, False])
    async def test_cancel_queues_suspended_job_with_something_to_undo(
        self, store: Store, clock: ManualClock, *, finished: bool
    ) -> None:
        lease = await start(store)
        await store.begin_step(lease, "pay", UNDO)
        if finished:
            await put(store, lease, "pay")
        await settle(
            store,
            lease,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.SLEEP,
            available_after=seconds(99),
        )

        queued = await store.cancel_job(lease.job_id)

        assert (queued.status, queued.available_at) == (JobStatus.QUEUED, clock.now())
        assert (await claimed(store, lease.job_id)).job.cancel_requested_at is not None

    async def test_cancel_leaves_begun_compensation_to_a_worker(self, store: Store) -> None:
        lease = await start(store)
        await put(store, lease, COMPENSATION_KEY)
        await settle(store, lease, JobStatus.QUEUED)

        assert (await store.cancel_job(lease.job_id)).status is JobStatus.QUEUED

    async def test_cancel_ends_job_whose_steps_are_all_undone(self, store: Store) -> None:
        lease = await start(store)
        await put(store, lease, "pay", undo=UNDO)
        await put(store, lease, "holdfast:undo/pay")
        await settle(store, lease, JobStatus.QUEUED)

        assert (await store.cancel_job(lease.job_id)).status is JobStatus.CANCELLED

    async def test_cancel_leaves_running_job_to_its_owner(self, store: Store) -> None:
        lease = await start(store)

        requested = await store.cancel_job(lease.job_id)

        assert requested.status is JobStatus.RUNNING
        assert await last_event(store, lease.job_id) == ("job.cancel_requested", {})
        await put(store, lease, "still allowed")

    async def test_repeated_cancel_changes_nothing(self, store: Store, clock: ManualClock) -> None:
        for job_id in (await submit(store), (await start(store)).job_id):
            first = await store.cancel_job(job_id)
            clock.advance(1)
            assert await store.cancel_job(job_id) == first

    async def test_cancel_refuses_finished_jobs(self, store: Store) -> None:
        for status in (JobStatus.COMPLETED, JobStatus.FAILED):
            lease = await start(store)
            await settle(store, lease, status)
            with pytest.raises(JobFinishedError):
                await store.cancel_job(lease.job_id)
        with pytest.raises(JobNotFoundError):
            await store.cancel_job("job_none")

    async def test_cancel_makes_calls_of_a_lost_attempt_uncertain(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())
        await lose_worker(store, clock)

        ended = await store.cancel_job(lease.job_id)

        assert (ended.usage.uncertain_calls, ended.usage.reserved_tokens) == (1, 0)
        assert (await store.get_records(lease.job_id)).calls[0].status is CallStatus.UNCERTAIN

    # retry ---------------------------------------------------------------------------------------

    async def test_retry_keeps_finished_steps_and_forgets_the_rest(self, store: Store) -> None:
        lease = await start(store)
        await put(store, lease, "kept")
        await put(store, lease, "pay", undo=UNDO)
        await put(store, lease, "half", undo=UNDO)
        await store.begin_step(lease, "begun", UNDO)
        await put(store, lease, COMPENSATION_KEY)
        await put(store, lease, "holdfast:undo/pay")
        await store.begin_step(lease, "holdfast:undo/half", None)
        error = StoredError(type="E", code="c", message="m")
        await settle(store, lease, JobStatus.FAILED, error=error)

        queued = await store.retry_job(lease.job_id)

        assert (queued.status, queued.error, queued.finished_at) == (JobStatus.QUEUED, None, None)
        assert await last_event(store, lease.job_id) == ("job.queued", {})
        assert list((await claimed(store, lease.job_id)).checkpoints) == ["kept"]

    async def test_retry_forgets_cancel_request_and_lost_workers(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        await lose_worker(store, clock)
        await store.cancel_job(lease.job_id)

        queued = await store.retry_job(lease.job_id)

        assert (queued.cancel_requested_at, queued.lost_workers) == (None, 0)
        assert (await claimed(store, lease.job_id)).lease.epoch == 2

    async def test_retry_refuses_completed_and_live_jobs(self, store: Store) -> None:
        lease = await start(store)
        with pytest.raises(JobNotFinishedError):
            await store.retry_job(lease.job_id)
        await finish(store, lease)
        with pytest.raises(JobFinishedError):
            await store.retry_job(lease.job_id)
        with pytest.raises(JobNotFoundError):
            await store.retry_job("job_none")

    # signals and budgets -------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "reason", [reason for reason in SuspendReason if reason is not SuspendReason.SLEEP]
    )
    async def test_signal_wakes_job_that_waits_for_one(
        self, store: Store, reason: SuspendReason
    ) -> None:
        job_id = await suspend(store, reason)

        seq = await store.signal_job(job_id, "approved", b'{"by":"ada"}')

        again = await claimed(store, job_id)
        [signal] = again.signals
        assert (signal.seq, signal.data) == (seq, b'{"name":"approved","payload":{"by":"ada"}}')

    async def test_signal_leaves_a_sleeping_job_alone(self, store: Store) -> None:
        job_id = await suspend(store, SuspendReason.SLEEP, available_after=seconds(9))

        await store.signal_job(job_id, "go", b"1")

        assert (await store.get_job(job_id)).status is JobStatus.SUSPENDED

    async def test_signal_refuses_terminal_and_unknown_jobs(self, store: Store) -> None:
        lease = await start(store)
        await finish(store, lease)

        with pytest.raises(JobFinishedError):
            await store.signal_job(lease.job_id, "go", b"1")
        with pytest.raises(JobNotFoundError):
            await store.signal_job("job_none", "go", b"1")

    async def test_budget_is_replaced_and_wakes_job_that_waits_for_it(self, store: Store) -> None:
        job_id = await suspend(store, SuspendReason.BUDGET)
        before = (await store.get_job(job_id)).event_seq
        budget = Budget(usd=Decimal("0.30"), tokens=7)

        changed = await store.set_budget(job_id, budget)

        assert (changed.budget, changed.status) == (budget, JobStatus.QUEUED)
        event = (await store.read_events(job_id, after=before))[0]
        assert (event.type, event.data) == ("budget.changed", b'{"usd":"0.3","tokens":7}')

    async def test_raised_budget_between_look_and_suspension_is_not_missed(self, store: Store) -> None:
        lease = await start(store, budget=Budget(tokens=1))
        seen = (await store.get_job(lease.job_id)).event_seq
        await store.set_budget(lease.job_id, Budget(tokens=2))

        queued = await settle(
            store,
            lease,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.BUDGET,
            wake_after_seq=seen,
        )

        assert queued.status is JobStatus.QUEUED

    async def test_lowered_budget_wakes_nobody(self, store: Store) -> None:
        lease = await start(store, budget=Budget(tokens=5))
        seen = (await store.get_job(lease.job_id)).event_seq
        await store.set_budget(lease.job_id, Budget(tokens=2))

        asleep = await settle(
            store,
            lease,
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.BUDGET,
            wake_after_seq=seen,
        )

        assert asleep.status is JobStatus.SUSPENDED

    async def test_budget_refuses_terminal_and_unknown_jobs(self, store: Store) -> None:
        lease = await start(store)
        await finish(store, lease)

        with pytest.raises(JobFinishedError):
            await store.set_budget(lease.job_id, Budget())
        with pytest.raises(JobNotFoundError):
            await store.set_budget("job_none", Budget())

    # waking --------------------------------------------------------------------------------------

    async def test_wake_queues_suspended_jobs_when_due(self, store: Store, clock: ManualClock) -> None:
        job_id = await suspend(store, SuspendReason.SLEEP, available_after=seconds(60))

        early = await store.wake_jobs(redispatch_after=seconds(30))
        clock.advance(60)
        due = await store.wake_jobs(redispatch_after=seconds(30))

        assert (ids_of(early.dispatches), early.next_in) == ((), seconds(60))
        assert (ids_of(due.dispatches), due.next_in) == ((job_id,), None)
        woken = await store.get_job(job_id)
        assert (woken.status, woken.suspend_reason) == (JobStatus.QUEUED, None)

    async def test_wake_finds_queued_jobs_again_and_again(
        self, store: Store, clock: ManualClock
    ) -> None:
        job_id = await submit(store)

        async def found() -> tuple[str, ...]:
            return ids_of((await store.wake_jobs(redispatch_after=seconds(30))).dispatches)

        assert await found() == ()
        clock.advance(30)
        assert await found() == ()
        clock.advance(0.001)
        assert await found() == (job_id,)
        assert await found() == ()
        clock.advance(31)
        assert await found() == (job_id,)

    async def test_wake_announces_delayed_job_as_soon_as_it_is_due(
        self, store: Store, clock: ManualClock
    ) -> None:
        job_id = await submit(store, delay=seconds(5))

        early = await store.wake_jobs(redispatch_after=seconds(30))
        clock.advance(5)
        due = await store.wake_jobs(redispatch_after=seconds(30))

        assert (ids_of(early.dispatches), early.next_in) == ((), seconds(5))
        assert (ids_of(due.dispatches), due.next_in) == ((job_id,), None)

    async def test_wake_leaves_running_and_terminal_jobs_alone(
        self, store: Store, clock: ManualClock
    ) -> None:
        await start(store)
        await finish(store, await start(store))
        clock.advance(99)

        woken = await store.wake_jobs(redispatch_after=seconds(1))

        assert (ids_of(woken.dispatches), woken.next_in) == ((), None)
