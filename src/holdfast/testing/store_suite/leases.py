"""Claiming jobs and settling attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import LeaseLost
from holdfast.model import CallStatus, JobStatus, Progress, StoredError, SuspendReason
from holdfast.store.base import ClaimRequest, Settlement, Store
from holdfast.testing.store_suite.support import (
    KIND,
    LEASE_SECONDS,
    StoreFixtures,
    StoreLab,
    claim,
    claimed,
    event_types,
    finish,
    intent,
    last_event,
    lose_worker,
    put,
    seconds,
    settle,
    start,
    submit,
    worker,
)

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock

ERROR = StoredError(type="E", code="exception", message="broken", details={"step_key": "a"})


class LeaseSuite(StoreFixtures):
    """`claim_jobs`, `settle_attempt`."""

    async def test_claim_makes_job_running_under_a_grown_epoch(
        self, store: Store, clock: ManualClock
    ) -> None:
        job_id = await submit(store)

        taken = await claimed(store)

        assert taken.job == await store.get_job(job_id)
        assert (taken.job.status, taken.job.worker_id) == (JobStatus.RUNNING, "w1")
        assert (taken.job.epoch, taken.job.attempt) == (1, 1) == (taken.lease.epoch, 1)
        assert taken.job.started_at == clock.now()
        assert (taken.job.input, dict(taken.checkpoints), taken.signals) == (b'{"pages":3}', {}, ())
        assert await last_event(store, job_id) == (
            "attempt.started",
            {"attempt": 1, "epoch": 1, "worker_id": "w1"},
        )

    async def test_claim_takes_highest_priority_then_oldest(
        self, store: Store, clock: ManualClock
    ) -> None:
        low = await submit(store)
        clock.advance(1)
        lower = await submit(store)
        high = await submit(store, priority=5)

        claims = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(KIND,), limit=9))

        assert [each.job.job_id for each in claims] == [high, low, lower]

    async def test_claim_filters_by_kind_queue_and_limit(self, store: Store) -> None:
        wanted = [await submit(store, kind=kind, queue="q") for kind in ("a", "b")]
        await submit(store, kind="a", queue="other")
        await submit(store, kind="unknown", queue="q")

        async def ids(**filters: object) -> list[str]:
            request = ClaimRequest(worker_id="w1", kinds=("a", "b"), queues=("q", "r"), **filters)  # type: ignore[arg-type]
            return [each.job.job_id for each in await store.claim_jobs(request)]

        assert await ids(limit=1) == wanted[:1]
        assert await ids(limit=9) == wanted[1:]
        assert await ids(limit=9) == []

    async def test_claim_without_kinds_or_limit_takes_nothing(self, store: Store) -> None:
        await submit(store)

        assert await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=())) == []
        assert await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(KIND,), limit=0)) == []
        assert await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(KIND,), queues=())) == []

    async def test_claim_by_id_takes_only_that_job(self, store: Store) -> None:
        await submit(store)
        second = await submit(store)

        assert (await claimed(store, second)).job.job_id == second
        assert await claim(store, "job_none") is None

    async def test_claim_leaves_job_alone_before_its_time(
        self, store: Store, clock: ManualClock
    ) -> None:
        job_id = await submit(store, delay=seconds(5))

        assert await claim(store, job_id) is None
        clock.advance(5)
        assert await claim(store, job_id) is not None

    async def test_claim_leaves_running_suspended_and_terminal_jobs_alone(self, store: Store) -> None:
        running = await start(store)
        suspended = await start(store)
        await settle(store, suspended, JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL)
        done = await start(store)
        await finish(store, done)

        for lease in (running, suspended, done):
            before = await store.get_job(lease.job_id)
            assert await claim(store, lease.job_id) is None
            assert await store.get_job(lease.job_id) == before

    @pytest.mark.parametrize("worker_id", ["w1", "stranger"])
    async def test_claim_needs_a_live_heartbeat(
        self, store: Store, clock: ManualClock, worker_id: str
    ) -> None:
        await submit(store)
        clock.advance(LEASE_SECONDS)

        assert await claim(store, worker_id=worker_id) is None

    @pytest.mark.parametrize("alive", [True, False])
    async def test_claim_puts_right_what_the_worker_does_not_know_of(
        self, store: Store, clock: ManualClock, *, alive: bool
    ) -> None:
        """The answer to a claim may be lost: nobody would run those jobs, and nobody rescue them."""
        known, unknown = await start(store), await start(store)
        clock.advance(0 if alive else LEASE_SECONDS)
        request = ClaimRequest(
            worker_id="w1", kinds=("other",), holding=(known.job_id,) if alive else ()
        )

        assert list(await store.claim_jobs(request)) == []

        found = await store.get_job(unknown.job_id)
        assert (found.status, found.attempt, found.lost_workers) == (JobStatus.QUEUED, 0, 0)
        kept = JobStatus.RUNNING if alive else JobStatus.QUEUED
        assert (await store.get_job(known.job_id)).status is kept

    async def test_claim_loads_checkpoints_signals_and_history(
        self, store: Store, clock: ManualClock
    ) -> None:
        first = await start(store)
        await settle(store, first, JobStatus.COMPLETED, step_seconds={"draft": (2, 6.0)})
        second = await start(store)
        await put(store, second, "a", b'{"x":1}', seconds=2.5, attempts=3, type_name="m:T")
        await store.begin_step(second, "b", None)
        await store.signal_job(second.job_id, "go", b"1")
        await settle(store, second, JobStatus.QUEUED, step_seconds={"draft": (2, 2.0)})

        again = await claimed(store, second.job_id)

        done, begun = again.checkpoints["a"], again.checkpoints["b"]
        assert (done.value, done.seconds, done.attempts, done.type_name) == (b'{"x":1}', 2.5, 3, "m:T")
        assert (done.finished, done.finished_at, done.number) == (True, clock.now(), 1)
        assert (begun.finished, begun.starts, begun.value) == (False, 1, None)
        assert [signal.type for signal in again.signals] == ["signal.received"]
        assert again.history == {"draft": 2.0}

    async def test_calls_left_reserved_become_uncertain_at_the_next_claim(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())
        await lose_worker(store, clock)
        assert (await store.get_job(lease.job_id)).usage.reserved_tokens == 100

        again = await claimed(store, lease.job_id)

        assert (again.job.usage.uncertain_calls, again.job.usage.reserved_tokens) == (1, 0)
        [call] = (await store.get_records(lease.job_id)).calls
        assert call.status is CallStatus.UNCERTAIN

    async def test_two_processes_never_own_one_job(self, store: Store, lab: StoreLab) -> None:
        other = await lab.open()
        other.beat(worker("w2"), first=True)
        ids = {await submit(store) for _ in range(40)}

        requests = [ClaimRequest(worker_id=name, kinds=(KIND,), limit=3) for name in ("w1", "w2")]
        answers = await asyncio.gather(
            *(
                each.claim_jobs(asked)
                for _ in range(20)
                for each, asked in zip((store, other), requests, strict=True)
            )
        )

        owned = [each.job.job_id for claims in answers for each in claims]
        assert len(owned) == len(ids)
        assert set(owned) == ids

    # settling ------------------------------------------------------------------------------------

    async def test_completing_keeps_output_and_frees_the_worker(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        progress = Progress(done=1, total=2, label="pages", eta_seconds=3.5, at=clock.now())
        clock.advance(2)

        done = await settle(
            store, lease, JobStatus.COMPLETED, output=b"[1]", active_seconds=2.0, progress=progress
        )

        assert done == await store.get_job(lease.job_id)
        assert (done.status, done.output, done.worker_id) == (JobStatus.COMPLETED, b"[1]", None)
        assert (done.active_seconds, done.progress, done.finished_at) == (2.0, progress, clock.now())
        assert await last_event(store, lease.job_id) == ("job.completed", {})

    async def test_failing_keeps_the_error(self, store: Store) -> None:
        lease = await start(store)

        failed = await settle(store, lease, JobStatus.FAILED, error=ERROR)

        assert failed.error == ERROR
        event_type, fields = await last_event(store, lease.job_id)
        assert (event_type, fields["error"]["message"]) == ("job.failed", "broken")

    async def test_failed_attempt_waits_and_counts(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)

        queued = await settle(
            store, lease, JobStatus.QUEUED, error=ERROR, available_after=seconds(4), active_seconds=1
        )

        assert (queued.status, queued.attempt) == (JobStatus.QUEUED, 1)
        assert queued.available_at == clock.now() + seconds(4)
        assert (await last_event(store, lease.job_id))[0] == "attempt.failed"
        clock.advance(4)
        again = await claimed(store, lease.job_id)
        assert (again.job.attempt, again.job.epoch) == (2, 2)
        assert (await settle(store, again.lease, JobStatus.FAILED, active_seconds=2)).active_seconds == 3

    async def test_handed_back_attempt_gives_its_number_back(self, store: Store) -> None:
        lease = await start(store)

        queued = await settle(store, lease, JobStatus.QUEUED, counts=False)

        assert (queued.attempt, queued.epoch) == (0, 1)
        assert await last_event(store, lease.job_id) == ("attempt.released", {})
        assert (await claimed(store, lease.job_id)).job.attempt == 1

    async def test_suspending_names_reason_and_time(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        reason = SuspendReason.SLEEP

        asleep = await settle(
            store, lease, JobStatus.SUSPENDED, suspend_reason=reason, available_after=seconds(60)
        )

        assert (asleep.status, asleep.suspend_reason) == (JobStatus.SUSPENDED, reason)
        assert asleep.available_at == clock.now() + seconds(60)
        event_type, fields = await last_event(store, lease.job_id)
        assert (event_type, fields["reason"]) == ("job.suspended", "sleep")
        assert fields["until"].startswith("2030-01-01T12:01:00")

    async def test_suspending_until_a_signal_has_no_time(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)

        asleep = await settle(store, lease, JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL)

        assert asleep.available_at is None
        clock.advance(1e6)
        assert (await store.wake_jobs(redispatch_after=seconds(1))).dispatches == ()

    async def test_signal_between_look_and_suspension_is_not_missed(self, store: Store) -> None:
        lease = await start(store)
        seen = (await store.get_job(lease.job_id)).event_seq
        await store.signal_job(lease.job_id, "go", b"1")
        reason = SuspendReason.SIGNAL

        queued = await settle(
            store, lease, JobStatus.SUSPENDED, suspend_reason=reason, wake_after_seq=seen
        )

        assert (queued.status, queued.suspend_reason) == (JobStatus.QUEUED, None)
        again = await claimed(store, lease.job_id)
        seen = again.job.event_seq
        asleep = await settle(
            store, again.lease, JobStatus.SUSPENDED, suspend_reason=reason, wake_after_seq=seen
        )
        assert asleep.status is JobStatus.SUSPENDED

    @pytest.mark.parametrize(
        "settlement",
        [
            Settlement(status=JobStatus.SUSPENDED, suspend_reason=SuspendReason.SLEEP),
            Settlement(status=JobStatus.QUEUED, available_after=seconds(60)),
        ],
    )
    async def test_cancel_request_meanwhile_queues_at_once(
        self, store: Store, settlement: Settlement
    ) -> None:
        lease = await start(store)
        await store.cancel_job(lease.job_id)

        assert (await store.settle_attempt(lease, settlement)).status is JobStatus.QUEUED

        again = await claimed(store, lease.job_id)
        assert again.job.cancel_requested_at is not None

    async def test_cancel_known_at_the_claim_does_not_shorten_waits(
        self, store: Store, clock: ManualClock
    ) -> None:
        """A compensation that fails waits between its tries like any step."""
        lease = await start(store)
        await store.cancel_job(lease.job_id)
        await settle(store, lease, JobStatus.QUEUED)
        again = await claimed(store, lease.job_id)

        queued = await settle(store, again.lease, JobStatus.QUEUED, available_after=seconds(60))

        assert queued.available_at == clock.now() + seconds(60)

    async def test_reserved_calls_become_uncertain_when_the_attempt_ends(self, store: Store) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())

        done = await finish(store, lease)

        assert (done.usage.uncertain_calls, done.usage.reserved_tokens) == (1, 0)

    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
    async def test_terminal_job_refuses_its_old_lease(self, store: Store, status: JobStatus) -> None:
        lease = await start(store)
        ended = await settle(store, lease, status)

        with pytest.raises(LeaseLost):
            await settle(store, lease, JobStatus.QUEUED)

        assert await store.get_job(lease.job_id) == ended
        assert (await event_types(store, lease.job_id))[-1] == f"job.{status}"
