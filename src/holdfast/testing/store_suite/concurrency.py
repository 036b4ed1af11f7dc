"""At most so many running jobs of one concurrency key, and none that waits for ever."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from holdfast.model import JobStatus, SuspendReason
from holdfast.store.base import Claim, ClaimRequest, JobQuery, Store
from holdfast.testing.store_suite.support import (
    KIND,
    UNDO,
    StoreFixtures,
    StoreLab,
    claimed,
    event_types,
    finish,
    ids_of,
    lose_worker,
    put,
    seconds,
    settle,
    submit,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.testing.clock import ManualClock

KEY = "tenant acme"


async def line(store: Store, count: int, limit: int = 1, **changes: object) -> list[str]:
    """Queue jobs of one key and return their ids."""
    fields = {"concurrency_key": KEY, "concurrency_limit": limit} | changes
    return [await submit(store, **fields) for _ in range(count)]


async def take(store: Store, limit: int = 100, worker_id: str = "w1") -> Sequence[Claim]:
    """Claim whatever there is to claim."""
    return await store.claim_jobs(ClaimRequest(worker_id=worker_id, kinds=(KIND,), limit=limit))


def ids(claims: Sequence[Claim]) -> list[str]:
    """Return which jobs were claimed, in order."""
    return [claim.job.job_id for claim in claims]


class ConcurrencySuite(StoreFixtures):
    """`NewJob.concurrency_key` and `concurrency_limit`."""

    @pytest.mark.parametrize("limit", [1, 3])
    async def test_no_more_run_than_the_limit_allows(self, store: Store, limit: int) -> None:
        queued = await line(store, 5, limit)

        first, second = await take(store), await take(store)

        assert (ids(first), ids(second)) == (queued[:limit], [])
        assert (await store.get_job(queued[0])).concurrency_key == KEY

    async def test_other_keys_and_jobs_without_one_are_not_held_up(self, store: Store) -> None:
        queued = await line(store, 3)
        others = [*await line(store, 1, concurrency_key="tenant other"), await submit(store)]

        assert ids(await take(store, limit=3)) == [queued[0], *others]

    async def test_job_that_was_passed_over_is_as_it_was(self, store: Store) -> None:
        _, waiting = await line(store, 2)
        before = await store.get_job(waiting)

        await take(store)

        assert await store.get_job(waiting) == before
        assert await event_types(store, waiting) == ["job.queued"]

    async def test_job_that_is_asked_for_by_name_waits_too(self, store: Store) -> None:
        first, second = await line(store, 2)
        lease = (await claimed(store, first)).lease
        request = ClaimRequest(worker_id="w1", kinds=(KIND,), job_id=second)

        assert await store.claim_jobs(request) == []
        await finish(store, lease)
        assert ids(await store.claim_jobs(request)) == [second]

    async def test_highest_priority_goes_first_then_the_oldest(self, store: Store) -> None:
        low = await line(store, 2)
        high = await line(store, 2, priority=5)

        order = []
        while claims := await take(store):
            order += ids(claims)
            await finish(store, claims[0].lease)

        assert order == [*high, *low]

    async def test_job_that_comes_while_others_wait_takes_its_turn(self, store: Store) -> None:
        first, second = await line(store, 2)
        [running] = await take(store)
        [urgent] = await line(store, 1, priority=5)
        await finish(store, running.lease)

        assert running.job.job_id == first
        [claim] = await take(store)
        assert claim.job.job_id == urgent
        await finish(store, claim.lease)
        assert ids(await take(store)) == [second]

    async def test_two_workers_at_once_never_exceed_the_limit(self, lab: StoreLab, store: Store) -> None:
        other = await lab.open()
        other.beat(worker("w2"), first=True)
        await line(store, 12, 3)

        taken = await asyncio.gather(
            *(take(store, 2) for _ in range(4)), *(take(other, 2, "w2") for _ in range(4))
        )

        assert sum(map(len, taken)) == 3

    async def test_long_line_is_passed_over_at_once_and_worked_off_in_order(self, store: Store) -> None:
        queued = await line(store, 60, 2)

        order: list[str] = []
        running = list(await take(store, 7))
        while running:
            order += ids(running)
            for claim in running:
                await finish(store, claim.lease)
            running = list(await take(store, 7))

        assert order == queued

    @pytest.mark.parametrize(
        "leaving", ["complete", "fail", "cancel", "suspend", "delay", "hand back", "lose", "release"]
    )
    async def test_whoever_leaves_lets_the_next_one_in(
        self, store: Store, clock: ManualClock, leaving: str
    ) -> None:
        first, second, _ = await line(store, 3)
        lease = (await claimed(store, first)).lease
        assert await take(store) == []

        if leaving == "lose":
            await lose_worker(store, clock)
        elif leaving == "release":
            await store.release_worker("w1")
            store.beat(worker("w1"), first=True)
        elif leaving == "suspend":
            await settle(store, lease, JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL)
        elif leaving == "delay":
            await settle(store, lease, JobStatus.QUEUED, available_after=seconds(60))
        else:
            status = {
                "complete": JobStatus.COMPLETED,
                "fail": JobStatus.FAILED,
                "cancel": JobStatus.CANCELLED,
                "hand back": JobStatus.QUEUED,
            }[leaving]
            await settle(store, lease, status)

        # One that is handed back is the oldest and goes first again.
        again = leaving in ("hand back", "lose", "release")
        assert ids(await take(store)) == [first if again else second]

    async def test_waiting_job_that_is_cancelled_keeps_no_place(self, store: Store) -> None:
        first, second, third = await line(store, 3)
        lease = (await claimed(store, first)).lease
        await take(store)
        await finish(store, lease)

        await store.cancel_job(second)

        assert ids(await take(store)) == [third]

    async def test_job_that_nobody_serves_keeps_no_place_from_others(self, store: Store) -> None:
        """Two kinds share a key, and no worker knows one of them."""
        [running] = await line(store, 1)
        lease = (await claimed(store, running)).lease
        await line(store, 1, kind="unknown", priority=9)
        [known] = await line(store, 1)
        everything = ClaimRequest(worker_id="w1", kinds=(KIND, "unknown"), limit=9)
        assert await store.claim_jobs(everything) == []

        await finish(store, lease)

        assert ids(await take(store)) == [known]

    async def test_next_in_line_is_announced_by_the_next_round_of_the_waker(self, store: Store) -> None:
        """Its message was used up when it was passed over."""
        first, second, _ = await line(store, 3)
        lease = (await claimed(store, first)).lease
        await take(store)
        await finish(store, lease)

        assert ids_of((await store.wake_jobs(redispatch_after=seconds(600))).dispatches) == (second,)

    async def test_suspended_job_that_wakes_waits_for_its_turn(self, store: Store) -> None:
        first, second = await line(store, 2)
        lease = (await claimed(store, first)).lease
        await settle(store, lease, JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL)
        running = (await claimed(store, second)).lease
        await store.signal_job(first, "go", b"1")

        assert await take(store) == []
        await finish(store, running)
        assert ids(await take(store)) == [first]

    async def test_waiting_job_that_has_to_be_taken_back_gets_its_turn(self, store: Store) -> None:
        first, second = await line(store, 2)
        lease = (await claimed(store, first)).lease
        await put(store, lease, "pay", undo=UNDO)
        await settle(store, lease, JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL)
        running = (await claimed(store, second)).lease

        await store.cancel_job(first)

        assert await take(store) == []
        await finish(store, running)
        assert ids(await take(store)) == [first]

    @pytest.mark.parametrize("seed", range(12))
    async def test_no_job_is_stuck_and_none_too_many_whatever_happens(
        self, store: Store, clock: ManualClock, seed: int
    ) -> None:
        draw = random.Random(seed)
        limits = {"a": 1, "b": 2, "c": 4}
        running: dict[str, Claim] = {}

        for _ in range(120):
            await _one_move(store, clock, draw, limits, running)
            counts = [claim.job.concurrency_key for claim in running.values()]
            assert all(counts.count(key) <= limit for key, limit in limits.items())

        await _work_off(store, clock, running)
        assert all(found.status.terminal for found in await store.list_jobs(JobQuery(limit=1_000)))


async def _one_move(
    store: Store,
    clock: ManualClock,
    draw: random.Random,
    limits: dict[str, int],
    running: dict[str, Claim],
) -> None:
    """Let one thing happen, drawn by chance, and keep the books on what runs."""
    move = draw.choice(("submit", "submit", "claim", "claim", "settle", "settle", "outside"))
    if move == "submit":
        key = draw.choice(sorted(limits))
        await submit(
            store,
            concurrency_key=key,
            concurrency_limit=limits[key],
            priority=draw.randrange(3),
            queue=draw.choice(("fast", "slow")),
        )
    elif move == "claim":
        for claim in await take(store, draw.randrange(1, 6)):
            running[claim.job.job_id] = claim
    elif move == "settle" and running:
        claim = running.pop(draw.choice(sorted(running)))
        status, changes = draw.choice(_LEAVINGS)
        await settle(store, claim.lease, status, **changes)
    elif move == "outside":
        await _from_outside(store, clock, draw, running)


_LEAVINGS: tuple[tuple[JobStatus, dict[str, object]], ...] = (
    (JobStatus.COMPLETED, {"output": b"{}"}),
    (JobStatus.FAILED, {}),
    (JobStatus.QUEUED, {"counts": False}),
    (JobStatus.QUEUED, {"available_after": seconds(30)}),
    (JobStatus.SUSPENDED, {"suspend_reason": SuspendReason.SIGNAL}),
    (JobStatus.SUSPENDED, {"suspend_reason": SuspendReason.SLEEP, "available_after": seconds(20)}),
)


async def _from_outside(
    store: Store, clock: ManualClock, draw: random.Random, running: dict[str, Claim]
) -> None:
    what = draw.choice(("cancel", "signal", "time", "lose", "release"))
    if what == "lose":
        await lose_worker(store, clock)
        running.clear()
    elif what == "release":
        await store.release_worker("w1")
        store.beat(worker("w1"), first=True)
        running.clear()
    elif what == "time":
        clock.advance(5)
        store.beat(worker("w1"), first=False)
        await store.wake_jobs(redispatch_after=seconds(600))
    else:
        alive = [
            found.job_id
            for found in await store.list_jobs(JobQuery(limit=1_000))
            if not found.status.terminal
        ]
        if alive and what == "cancel":
            await store.cancel_job(draw.choice(alive))
        elif alive:
            await store.signal_job(draw.choice(alive), "go", b"1")


async def _work_off(store: Store, clock: ManualClock, running: dict[str, Claim]) -> None:
    """Complete everything that is left, waking what waits."""
    for claim in running.values():
        await finish(store, claim.lease)
    quiet = 0
    while quiet < 2:
        clock.advance(60)
        store.beat(worker("w1"), first=True)
        await store.wake_jobs(redispatch_after=seconds(600))
        for found in await store.list_jobs(JobQuery(status=JobStatus.SUSPENDED, limit=1_000)):
            await store.signal_job(found.job_id, "go", b"1")
        claims = await take(store, 3)
        quiet = 0 if claims else quiet + 1
        for claim in claims:
            await finish(store, claim.lease)
