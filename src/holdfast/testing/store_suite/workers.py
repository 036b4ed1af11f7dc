"""Heartbeats, signing off, rescue, the report to operators."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import LeaseLost
from holdfast.model import JobStatus
from holdfast.store.base import POISON_LOST_WORKERS, LaneRequest, Pulse, Store
from holdfast.testing.store_suite.support import (
    LEASE_SECONDS,
    StoreFixtures,
    claimed,
    ids_of,
    last_event,
    lose_worker,
    put,
    seconds,
    start,
    submit,
    worker,
)

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock


class WorkerSuite(StoreFixtures):
    """`beat`, `release_worker`, `rescue_jobs`, `inspect`."""

    async def test_heartbeat_keeps_worker_alive(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        for _ in range(3):
            clock.advance(LEASE_SECONDS - 1)
            assert store.beat(worker("w1"), first=False) == Pulse(alive=True)

        assert await store.rescue_jobs() == []
        await put(store, lease, "a")

    async def test_unknown_worker_stays_dead(self, store: Store) -> None:
        assert store.beat(worker("stranger"), first=False) == Pulse(alive=False)

    async def test_heartbeat_tells_of_cancels_of_own_running_jobs(self, store: Store) -> None:
        store.beat(worker("w2"), first=True)
        cancelled = await start(store)
        await start(store)
        others = await claimed(store, await submit(store), "w2")
        for job_id in (cancelled.job_id, others.job.job_id):
            await store.cancel_job(job_id)

        assert store.beat(worker("w1"), first=False).cancels == (cancelled.job_id,)

    async def test_heartbeat_works_while_the_loop_is_blocked(self, store: Store) -> None:
        answers: list[Pulse] = []
        thread = threading.Thread(target=lambda: answers.append(store.beat(worker("w1"), first=False)))

        thread.start()
        thread.join(timeout=10)  # the loop stands still meanwhile

        assert answers == [Pulse(alive=True)]

    async def test_release_queues_jobs_and_gives_attempts_back(
        self, store: Store, clock: ManualClock
    ) -> None:
        leases = [await start(store) for _ in range(2)]
        available_at = (await store.get_job(leases[0].job_id)).available_at
        clock.advance(3)

        released = await store.release_worker("w1")

        assert sorted(ids_of(released)) == sorted(lease.job_id for lease in leases)
        for lease in leases:
            found = await store.get_job(lease.job_id)
            assert (found.status, found.attempt, found.worker_id) == (JobStatus.QUEUED, 0, None)
            assert (found.lost_workers, found.available_at) == (0, available_at)
            assert await last_event(store, lease.job_id) == ("attempt.released", {})
        assert not store.beat(worker("w1"), first=False).alive

    async def test_rescuer_that_was_asleep_spares_itself(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        clock.advance(LEASE_SECONDS + 1)

        assert await store.rescue_jobs(spare="w1") == []

        assert store.beat(worker("w1"), first=False).alive
        assert (await store.get_job(lease.job_id)).status is JobStatus.RUNNING

    async def test_rescue_takes_jobs_of_expired_workers_only(
        self, store: Store, clock: ManualClock
    ) -> None:
        store.beat(worker("w2"), first=True)
        lost, kept = await start(store), (await claimed(store, await submit(store), "w2")).lease
        clock.advance(LEASE_SECONDS - 1)
        store.beat(worker("w2"), first=False)
        assert await store.rescue_jobs() == []
        clock.advance(1)

        assert ids_of(await store.rescue_jobs()) == (lost.job_id,)

        found = await store.get_job(lost.job_id)
        assert (found.status, found.attempt, found.lost_workers) == (JobStatus.QUEUED, 0, 1)
        assert await last_event(store, lost.job_id) == ("attempt.lost", {"worker_id": "w1"})
        assert (await store.get_job(kept.job_id)).status is JobStatus.RUNNING
        assert not store.beat(worker("w1"), first=False).alive

    async def test_lease_is_lost_after_rescue_and_after_the_next_claim(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        await lose_worker(store, clock)
        with pytest.raises(LeaseLost):
            await put(store, lease, "a")
        again = await claimed(store, lease.job_id)

        with pytest.raises(LeaseLost):
            await put(store, lease, "a")
        await put(store, again.lease, "a")

    async def test_job_that_takes_workers_down_in_one_step_is_poisoned(
        self, store: Store, clock: ManualClock
    ) -> None:
        job_id = await submit(store)
        for lost in range(POISON_LOST_WORKERS):
            taken = await claimed(store, job_id)
            assert (taken.job.lost_workers, taken.poisoned_by) == (lost, None)
            if lost:
                await store.begin_step(taken.lease, "crash", None)
            if lost == POISON_LOST_WORKERS - 1:
                await store.begin_step(taken.lease, "innocent", None)
            await lose_worker(store, clock)

        assert (await claimed(store, job_id)).poisoned_by == "crash"

    async def test_finished_step_resets_lost_workers(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        await lose_worker(store, clock)
        again = await claimed(store, lease.job_id)
        await store.begin_step(again.lease, "a", None)
        assert (await store.get_job(lease.job_id)).lost_workers == 1

        await put(store, again.lease, "a")

        assert (await store.get_job(lease.job_id)).lost_workers == 0

    async def test_report_counts_jobs_and_lists_workers_and_lanes(
        self, store: Store, clock: ManualClock
    ) -> None:
        await start(store)
        await submit(store)
        record = worker("w2", queues=("fast", "slow"), running=2)
        store.beat(record, first=True)
        await store.take_lane(
            LaneRequest(
                lane="openai/small",
                tokens=1,
                requests_per_minute=60,
                tokens_per_minute=600,
                burst_seconds=1,
            )
        )

        report = await store.inspect()

        assert {status for status, count in report.jobs.items() if count == 0} == set(JobStatus) - {
            JobStatus.QUEUED,
            JobStatus.RUNNING,
        }
        assert report.workers[1] == (record, clock.now() + seconds(LEASE_SECONDS))
        assert [lane.lane for lane in report.lanes] == ["openai/small"]
