"""Random histories of verbs against a model: what must never happen, whatever the order."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.errors import (
    BudgetExceededError,
    CheckpointConflictError,
    JobFinishedError,
    JobNotFinishedError,
    LeaseLost,
)
from holdfast.model import Budget, Checkpoint, Job, JobStatus, Lease, SuspendReason
from holdfast.store.base import ClaimRequest, NewEvent, Settlement
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.store_suite.support import (
    KIND,
    UNDO,
    ids_of,
    intent,
    job,
    outcome,
    seconds,
    worker,
)

# Some thousand transactions, each with an fsync or two.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

T = TypeVar("T")
WORKERS = ("w1", "w2")
TEMPLATE = Path(tempfile.mkdtemp(prefix="holdfast-template-")) / "holdfast.db"

endings = st.sampled_from(
    [
        Settlement(status=JobStatus.COMPLETED, output=b"1"),
        Settlement(status=JobStatus.FAILED),
        Settlement(status=JobStatus.CANCELLED),
        Settlement(status=JobStatus.QUEUED),
        Settlement(status=JobStatus.QUEUED, counts=False),
        Settlement(status=JobStatus.QUEUED, available_after=seconds(5)),
        Settlement(status=JobStatus.SUSPENDED, suspend_reason=SuspendReason.SIGNAL),
        Settlement(status=JobStatus.SUSPENDED, suspend_reason=SuspendReason.BUDGET),
        Settlement(
            status=JobStatus.SUSPENDED, suspend_reason=SuspendReason.SLEEP, available_after=seconds(9)
        ),
    ]
)
any_number = st.integers(0, 10**6)


@dataclass
class Known:
    """What the model knows of a job."""

    owner: Lease | None = None
    epoch: int = 0
    values: dict[str, bytes] = field(default_factory=dict)
    limit: int = 0
    limits: list[int] = field(default_factory=list)
    calls: int = 0
    ended: Job | None = None


class StoreMachine(RuleBasedStateMachine):
    """Two processes on one file, two workers, a few jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-machine-"))
        self.clock = ManualClock()
        if not TEMPLATE.exists():
            migrating = SqliteStore(TEMPLATE)
            self.run(migrating.open())
            self.run(migrating.close())
        shutil.copy(TEMPLATE, self.folder / "holdfast.db")
        self.stores = [
            SqliteStore(self.folder / "holdfast.db", clock=self.clock, synchronous="NORMAL")
            for _ in WORKERS
        ]
        for store in self.stores:
            self.run(store.open())
        self.turn = itertools.cycle(self.stores)
        self.known: dict[str, Known] = {}
        self.leases: list[Lease] = []

    def run(self, verb: Awaitable[T]) -> T:
        return self.loop.run_until_complete(verb)

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    @property
    def store(self) -> SqliteStore:
        return next(self.turn)

    def pick(self, number: int) -> str | None:
        return sorted(self.known)[number % len(self.known)] if self.known else None

    def owns(self, lease: Lease) -> bool:
        return self.known[lease.job_id].owner == lease

    def disown(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            assert self.known[job_id].owner is not None
            self.known[job_id].owner = None

    @rule(tokens=st.integers(0, 500), delay=st.sampled_from([None, 3]))
    def insert(self, tokens: int, delay: int | None) -> None:
        new = job(budget=Budget(tokens=tokens), delay=None if delay is None else seconds(delay))
        self.run(self.store.insert_job(new))
        self.known[new.job_id] = Known(limit=tokens)

    @rule(worker_id=st.sampled_from(WORKERS), first=st.booleans())
    def beat(self, worker_id: str, first: bool) -> None:
        self.store.beat(worker(worker_id), first=first)

    @rule(worker_id=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def claim(self, worker_id: str, limit: int) -> None:
        request = ClaimRequest(worker_id=worker_id, kinds=(KIND,), limit=limit)
        for each in self.run(self.store.claim_jobs(request)):
            known = self.known[each.job.job_id]
            assert known.owner is None
            assert known.ended is None
            assert each.lease.epoch == known.epoch + 1
            assert {k: c.value for k, c in each.checkpoints.items() if c.finished} == known.values
            known.owner, known.epoch = each.lease, each.lease.epoch
            self.leases.append(each.lease)

    @rule(number=any_number, key=st.sampled_from("abc"), value=st.sampled_from([b"1", b"2"]))
    def put(self, number: int, key: str, value: bytes) -> None:
        if not self.leases:
            return
        lease = self.leases[number % len(self.leases)]
        values = self.known[lease.job_id].values
        try:
            checkpoint = Checkpoint(key=key, value=value)
            self.run(self.store.put_checkpoint(lease, checkpoint, [NewEvent(type="x")]))
        except LeaseLost:
            assert not self.owns(lease)
        except CheckpointConflictError:
            assert values[key] != value
        else:
            assert self.owns(lease)
            assert values.setdefault(key, value) == value

    @rule(number=any_number, key=st.sampled_from("abc"), undo=st.sampled_from([None, UNDO]))
    def begin(self, number: int, key: str, undo: object) -> None:
        if self.leases:
            lease = self.leases[number % len(self.leases)]
            try:
                self.run(self.store.begin_step(lease, key, undo))  # type: ignore[arg-type]
            except LeaseLost:
                assert not self.owns(lease)
            else:
                assert self.owns(lease)

    @rule(number=any_number, tokens=st.integers(0, 300), used=st.integers(0, 300), settles=st.booleans())
    def call(self, number: int, tokens: int, used: int, settles: bool) -> None:
        if not self.leases:
            return
        lease = self.leases[number % len(self.leases)]
        known = self.known[lease.job_id]
        known.calls += 1
        call_id = f"call_{known.calls}"
        try:
            self.run(self.store.reserve_call(lease, intent(call_id, reserved_tokens=tokens)))
            if settles:
                spent = outcome(input_tokens=min(used, tokens), output_tokens=0, usd=Decimal("0.01"))
                self.run(self.store.settle_call(lease, call_id, spent))
        except LeaseLost:
            assert not self.owns(lease)
        except BudgetExceededError:
            assert self.owns(lease)
        else:
            assert self.owns(lease)

    @rule(number=any_number, ending=endings)
    def settle(self, number: int, ending: Settlement) -> None:
        if not self.leases:
            return
        lease = self.leases[number % len(self.leases)]
        try:
            ended = self.run(self.store.settle_attempt(lease, ending))
        except LeaseLost:
            assert not self.owns(lease)
        else:
            assert self.owns(lease)
            self.disown([lease.job_id])
            self.note_end(ended)

    def note_end(self, found: Job) -> None:
        self.known[found.job_id].ended = found if found.status.terminal else None

    @rule(number=any_number)
    def cancel(self, number: int) -> None:
        if (job_id := self.pick(number)) is not None:
            known = self.known[job_id]
            try:
                found = self.run(self.store.cancel_job(job_id))
            except JobFinishedError:
                assert known.ended is not None
            else:
                assert (found.status is JobStatus.RUNNING) == (known.owner is not None)
                self.note_end(found)

    @rule(number=any_number)
    def retry(self, number: int) -> None:
        if (job_id := self.pick(number)) is not None:
            known = self.known[job_id]
            try:
                found = self.run(self.store.retry_job(job_id))
            except (JobFinishedError, JobNotFinishedError):
                assert known.ended is None or known.ended.status is JobStatus.COMPLETED
            else:
                assert found.status is JobStatus.QUEUED
                known.ended = None

    @rule(number=any_number, raises=st.integers(-100, 200))
    def change_budget(self, number: int, raises: int) -> None:
        if (job_id := self.pick(number)) is not None:
            known = self.known[job_id]
            limit = max(0, known.limit + raises)
            try:
                self.run(self.store.set_budget(job_id, Budget(tokens=limit)))
            except JobFinishedError:
                assert known.ended is not None
            else:
                # What was let in under a higher limit may stay above a lower one.
                known.limits.append(known.limit)
                known.limit = limit

    @rule(number=any_number)
    def signal(self, number: int) -> None:
        if (job_id := self.pick(number)) is not None:
            try:
                self.run(self.store.signal_job(job_id, "go", b"1"))
            except JobFinishedError:
                assert self.known[job_id].ended is not None

    @rule(worker_id=st.sampled_from(WORKERS))
    def release(self, worker_id: str) -> None:
        released = list(ids_of(self.run(self.store.release_worker(worker_id))))
        owned = {
            job_id
            for job_id, known in self.known.items()
            if known.owner is not None and known.owner.worker_id == worker_id
        }
        assert set(released) == owned
        self.disown(released)

    @rule(elapsed=st.sampled_from([1, 4, 11]))
    def pass_time(self, elapsed: int) -> None:
        self.clock.advance(elapsed)

    @rule()
    def rescue(self) -> None:
        self.disown(list(ids_of(self.run(self.store.rescue_jobs()))))

    @rule()
    def wake(self) -> None:
        woken = self.run(self.store.wake_jobs(redispatch_after=seconds(2)))
        for job_id in ids_of(woken.dispatches):
            assert self.run(self.store.get_job(job_id)).status is JobStatus.QUEUED

    @invariant()
    def holds(self) -> None:
        store = self.store
        for job_id, known in self.known.items():
            found = self.run(store.get_job(job_id))
            assert (found.status is JobStatus.RUNNING) == (known.owner is not None)
            assert (found.worker_id is not None) == (known.owner is not None)
            assert (found.suspend_reason is not None) == (found.status is JobStatus.SUSPENDED)
            assert found.epoch == known.epoch
            assert 0 <= found.attempt <= found.epoch
            if known.ended is not None:
                assert found == known.ended
            usage = found.usage
            used = usage.input_tokens + usage.output_tokens + usage.reserved_tokens
            assert used <= max([known.limit, *known.limits])
            assert min(usage.reserved_tokens, usage.uncertain_calls) >= 0
            events = self.run(store.read_events(job_id, limit=10_000))
            assert [event.seq for event in events] == list(range(1, found.event_seq + 1))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
