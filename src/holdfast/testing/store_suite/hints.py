"""Hints within the process and from other ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.model import Budget, JobStatus
from holdfast.store import hints
from holdfast.store.base import NewEvent, Store
from holdfast.testing.store_suite.support import (
    StoreFixtures,
    StoreLab,
    claimed,
    lose_worker,
    seconds,
    settle,
    start,
    submit,
)

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock


class HintSuite(StoreFixtures):
    """What `hints` tells after which verb."""

    async def test_growing_events_hint_at_the_job(self, store: Store) -> None:
        lease = await start(store)
        with store.hints.subscribe(lease.job_id) as mine:
            await store.append_events(lease, [NewEvent(type="x")])

            assert mine.is_set()

    async def test_claimable_jobs_hint_at_the_queue(self, store: Store, clock: ManualClock) -> None:
        with store.hints.subscribe(hints.QUEUED) as queued:
            await submit(store, delay=seconds(5))
            assert not queued.is_set()
            job_id = await submit(store)
            assert queued.is_set()
            queued.clear()

            lease = (await claimed(store, job_id)).lease
            assert not queued.is_set()
            await settle(store, lease, JobStatus.QUEUED)
            assert queued.is_set()
            queued.clear()

            await claimed(store, job_id)
            await lose_worker(store, clock)
            assert queued.is_set()
            queued.clear()

            clock.advance(5)
            await store.wake_jobs(redispatch_after=seconds(1))
            assert queued.is_set()

    async def test_cancel_and_signal_have_topics_of_their_own(self, store: Store) -> None:
        lease = await start(store, budget=Budget(tokens=1))
        with (
            store.hints.subscribe(hints.CANCEL) as cancels,
            store.hints.subscribe(hints.SIGNAL) as signals,
        ):
            await store.signal_job(lease.job_id, "go", b"1")
            assert (cancels.is_set(), signals.is_set()) == (False, True)
            signals.clear()
            await store.set_budget(lease.job_id, Budget(tokens=2))
            assert (cancels.is_set(), signals.is_set()) == (False, True)
            await store.cancel_job(lease.job_id)
            assert cancels.is_set()

    async def test_refused_verbs_give_no_hint(self, store: Store) -> None:
        lease = await start(store)
        await settle(store, lease, JobStatus.COMPLETED)
        with store.hints.subscribe(hints.SIGNAL) as signals:
            await asyncio.gather(store.signal_job(lease.job_id, "go", b"1"), return_exceptions=True)

            assert not signals.is_set()

    async def test_other_processes_are_heard_of_within_a_second(
        self, store: Store, lab: StoreLab, clock: ManualClock
    ) -> None:
        other = await lab.open()
        with store.hints.subscribe(hints.QUEUED) as queued:
            for _ in range(8):  # until what came before has been told
                clock.advance(0.5)
                await submit(store, delay=seconds(9))
            queued.clear()

            await submit(other)
            clock.advance(1)

            await asyncio.wait_for(queued.wait(), 10)

    async def test_end_of_a_job_has_a_topic_of_its_own(self, store: Store) -> None:
        lease = await start(store)
        waiting = await submit(store)
        with (
            store.hints.subscribe(hints.ended(lease.job_id)) as settled,
            store.hints.subscribe(hints.ended(waiting)) as cancelled,
        ):
            await settle(store, lease, JobStatus.COMPLETED)
            await store.cancel_job(waiting)

            assert settled.is_set()
            assert cancelled.is_set()
