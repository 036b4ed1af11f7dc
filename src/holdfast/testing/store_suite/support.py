"""What the suite's tests share: the lab that opens stores, and short ways to a scene."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from holdfast.ids import new_id
from holdfast.model import CallStatus, Checkpoint, Job, JobStatus, UndoCall
from holdfast.store.base import (
    CallIntent,
    CallOutcome,
    Claim,
    ClaimRequest,
    NewJob,
    Settlement,
    Store,
    WorkerRecord,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Dispatch, Lease
    from holdfast.store.service import ServiceStore
    from holdfast.testing.clock import ManualClock

LEASE_SECONDS = 10.0
KIND = "report"
UNDO = UndoCall(function="shop:refund", arguments=b"[[1],{}]")


class StoreLab(Protocol):
    """What the user of the suite gives: stores on one fresh database, on one manual clock."""

    clock: ManualClock

    async def open(self) -> Store:
        """Open the database once more, as another process would; the lab closes what it opened."""
        ...

    def records_of(self, store: Store) -> ServiceStore:
        """Return what the HTTP service keeps in the same database, sealed as the store is."""
        ...


class StoreFixtures:
    """Fixtures of the suite on top of the user's `lab`."""

    @pytest.fixture
    async def store(self, lab: StoreLab) -> Store:
        """Give an open store with one live worker, `w1`."""
        store = await lab.open()
        store.beat(worker("w1"), first=True)
        return store

    @pytest.fixture
    def clock(self, lab: StoreLab) -> ManualClock:
        """Give the clock of the lab's stores."""
        return lab.clock


def worker(worker_id: str, **changes: Any) -> WorkerRecord:
    """Return a worker's account of itself."""
    fields: dict[str, Any] = {
        "worker_id": worker_id,
        "host": "host",
        "pid": 1,
        "queues": None,
        "slots": 4,
        "running": 0,
        "lease_seconds": LEASE_SECONDS,
    }
    return WorkerRecord(**(fields | changes))


def job(**changes: Any) -> NewJob:
    """Return a job to submit."""
    fields: dict[str, Any] = {
        "job_id": new_id("job"),
        "kind": KIND,
        "queue": "default",
        "input": b'{"pages":3}',
    }
    return NewJob(**(fields | changes))


async def submit(store: Store, **changes: Any) -> str:
    """Queue a job and return its id."""
    return (await store.insert_job(job(**changes))).job.job_id


async def claim(store: Store, job_id: str | None = None, worker_id: str = "w1") -> Claim | None:
    """Claim one job, if there is any."""
    claims = await store.claim_jobs(ClaimRequest(worker_id=worker_id, kinds=(KIND,), job_id=job_id))
    return claims[0] if claims else None


async def claimed(store: Store, job_id: str | None = None, worker_id: str = "w1") -> Claim:
    """Claim a job that must be there."""
    found = await claim(store, job_id, worker_id)
    assert found is not None
    return found


async def start(store: Store, **changes: Any) -> Lease:
    """Submit and claim a job."""
    return (await claimed(store, await submit(store, **changes))).lease


async def put(store: Store, lease: Lease, key: str, value: bytes = b"1", **changes: Any) -> None:
    """Finish a step."""
    await store.put_checkpoint(lease, Checkpoint(key=key, value=value, **changes), ())


async def settle(store: Store, lease: Lease, status: JobStatus, **changes: Any) -> Job:
    """End an attempt."""
    return await store.settle_attempt(lease, Settlement(status=status, **changes))


async def finish(store: Store, lease: Lease) -> Job:
    """Complete a job."""
    return await settle(store, lease, JobStatus.COMPLETED, output=b"{}")


async def lose_worker(store: Store, clock: ManualClock, worker_id: str = "w1") -> None:
    """Let a worker's heartbeat expire, rescue its jobs, and register it again."""
    clock.advance(LEASE_SECONDS)
    await store.rescue_jobs()
    store.beat(worker(worker_id), first=True)


def intent(call_id: str = "call_1", **changes: Any) -> CallIntent:
    """Return a call about to start."""
    fields: dict[str, Any] = {
        "call_id": call_id,
        "step_key": "draft",
        "step_attempt": 1,
        "provider": "openai",
        "model": "small",
        "reserved_tokens": 100,
        "reserved_usd": None,
    }
    return CallIntent(**(fields | changes))


def outcome(**changes: Any) -> CallOutcome:
    """Return how a call ended."""
    fields: dict[str, Any] = {"status": CallStatus.SETTLED, "input_tokens": 30, "output_tokens": 20}
    return CallOutcome(**(fields | changes))


async def event_types(store: Store, job_id: str, after: int = 0) -> list[str]:
    """Return the types of a job's events."""
    return [event.type for event in await store.read_events(job_id, after=after)]


async def last_event(store: Store, job_id: str) -> tuple[str, Any]:
    """Return type and fields of a job's last event."""
    event = (await store.read_events(job_id))[-1]
    return event.type, msgspec.json.decode(event.data)


def seconds(count: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=count)


def ids_of(dispatches: Sequence[Dispatch]) -> tuple[str, ...]:
    """Return which jobs are to be announced."""
    return tuple(dispatch.job_id for dispatch in dispatches)
