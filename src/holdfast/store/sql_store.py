"""The verbs of the store in SQL, wired to a database by `SqliteStore` and `PostgresStore`."""

from __future__ import annotations

import abc
import functools
from typing import TYPE_CHECKING, ClassVar, TypeVar

from holdfast.model import JobStatus
from holdfast.store import checkpoints, controls, jobs, lanes, leases, listing, pruning, usage, workers
from holdfast.store import events as _events
from holdfast.store.bounds import check_job_id, check_name, check_names, check_new_job, check_seq
from holdfast.store.sql_orders import SqlOrderStore
from holdfast.store.sql_service import SqlServiceStore
from holdfast.store.versions import HEAD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from holdfast.model import Budget, Checkpoint, Dispatch, Event, Job, Lease, Progress, UndoCall
    from holdfast.store.base import (
        CallIntent,
        CallOutcome,
        Claim,
        ClaimRequest,
        JobQuery,
        JobRecords,
        LaneAdjustment,
        LaneGrant,
        LaneRequest,
        LaneState,
        NewEvent,
        NewJob,
        Pruned,
        PruneRequest,
        Pulse,
        Settlement,
        StoreReport,
        Submitted,
        Wakeup,
        WorkerRecord,
    )
    from holdfast.store.hints import Hints
    from holdfast.store.transaction import Connection, Dialect, Transaction

T = TypeVar("T")


class SqlStore(abc.ABC):
    """`holdfast.store.base.Store` by statements that both databases understand."""

    dialect: ClassVar[Dialect]
    """The words in which its database differs."""
    hints: Hints
    created = False
    """Whether opening found no tables and made them."""

    def __init__(self) -> None:
        self.service = SqlServiceStore(self._write_alone, self._read, self.dialect)
        """What the HTTP service keeps and asks beside jobs, in the same database."""
        self.orders = SqlOrderStore(self._write_alone, self._read, self.dialect, self._scrub)
        """What a shop keeps beside jobs, in the same database."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Connect; create or check the tables."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Commit everything that was asked for and disconnect; closing twice is allowed."""

    @abc.abstractmethod
    def _write(self, operation: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run an operation together with others that wait; done once it is committed."""

    def _write_alone(self, operation: Callable[[Transaction], T]) -> Awaitable[T]:
        """Run an operation that changes rows of several processes' jobs, or lanes.

        Where rows are locked one by one, it must not hold others' rows while it waits.
        """
        return self._write(operation)

    @abc.abstractmethod
    def _run(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and block until it is committed; from any thread."""

    @abc.abstractmethod
    async def _read(self, query: Callable[[Connection], T]) -> T:
        """Return what `query` finds in the state after the last commit."""

    @abc.abstractmethod
    async def _scrub(self) -> None:
        """Leave nothing of what was deleted readable in the database's files."""

    # jobs ------------------------------------------------------------------------------------

    async def insert_job(self, new: NewJob) -> Submitted:
        check_new_job(new)
        return await self._write(lambda tx: jobs.insert_job(tx, new))

    async def get_job(self, job_id: str) -> Job:
        check_job_id(job_id)
        return await self._read(lambda connection: jobs.load_job(connection, job_id))

    async def list_jobs(self, query: JobQuery) -> Sequence[Job]:
        check_names(query)
        return await self._read(lambda connection: listing.list_jobs(connection, query))

    async def get_records(self, job_id: str) -> JobRecords:
        check_job_id(job_id)
        return await self._read(lambda connection: jobs.get_records(connection, job_id))

    async def claim_jobs(self, request: ClaimRequest) -> Sequence[Claim]:
        # Jobs that are handed back wait for their keys.
        write = self._write if request.holding is None else self._write_alone
        return await write(lambda tx: leases.claim_jobs(tx, request))

    async def settle_attempt(self, lease: Lease, settlement: Settlement) -> Job:
        ends_children = settlement.status in (JobStatus.FAILED, JobStatus.CANCELLED)
        settled = None
        # Alone where it changes rows of others: its children's, its ancestors', those of its key.
        if not (ends_children or lease.keyed or lease.parent is not None):
            settled = await self._write(lambda tx: leases.settle_with_others(tx, lease, settlement))
        if settled is None:
            settled = await self._write_alone(lambda tx: leases.settle_attempt(tx, lease, settlement))
        return settled

    async def cancel_job(self, job_id: str) -> Job:
        check_job_id(job_id)
        return await self._write_alone(lambda tx: controls.cancel_job(tx, job_id))

    async def retry_job(self, job_id: str) -> Job:
        check_job_id(job_id)
        return await self._write_alone(lambda tx: controls.retry_job(tx, job_id))

    async def fork_job(self, source_id: str, new: NewJob, *, keep: Sequence[str] | None) -> Job:
        check_job_id(source_id)
        check_new_job(new)
        return await self._write(lambda tx: jobs.fork_job(tx, source_id, new, keep))

    async def signal_job(self, job_id: str, name: str, payload: bytes) -> int:
        check_job_id(job_id)
        check_name("signal", name)
        return await self._write_alone(lambda tx: controls.signal_job(tx, job_id, name, payload))

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        check_job_id(job_id)
        return await self._write_alone(lambda tx: controls.set_budget(tx, job_id, budget))

    # workers -----------------------------------------------------------------------------------

    def beat(self, worker: WorkerRecord, *, first: bool) -> Pulse:
        return self._run(lambda tx: workers.beat(tx, worker, first=first))

    async def release_worker(self, worker_id: str) -> Sequence[Dispatch]:
        return await self._write_alone(lambda tx: workers.release_worker(tx, worker_id))

    async def rescue_jobs(self, dead: Sequence[str] = (), *, spare: str = "") -> Sequence[Dispatch]:
        return await self._write_alone(lambda tx: workers.rescue_jobs(tx, dead, spare))

    async def wake_jobs(self, *, redispatch_after: timedelta) -> Wakeup:
        return await self._write_alone(lambda tx: controls.wake_jobs(tx, redispatch_after))

    # attempts ----------------------------------------------------------------------------------

    async def begin_step(self, lease: Lease, key: str, undo: UndoCall | None) -> None:
        await self._write(lambda tx: checkpoints.begin_step(tx, lease, key, undo))

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        await self._write(lambda tx: checkpoints.put_checkpoint(tx, lease, checkpoint, events))

    async def append_events(
        self, lease: Lease, events: Sequence[NewEvent], progress: Progress | None = None
    ) -> int:
        return await self._write(lambda tx: _events.append_events(tx, lease, events, progress))

    async def read_events(
        self,
        job_id: str,
        *,
        after: int = 0,
        limit: int = 500,
        types: Sequence[str] = (),
        bytes_max: int | None = None,
    ) -> Sequence[Event]:
        check_job_id(job_id)
        check_seq(after)
        return await self._read(
            lambda connection: _events.read_events(
                connection, job_id, after, limit, types, bytes_max=bytes_max
            )
        )

    # money -------------------------------------------------------------------------------------

    async def reserve_call(self, lease: Lease, intent: CallIntent) -> None:
        await self._charge(lease, functools.partial(usage.reserve_call, lease=lease, intent=intent))

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        await self._charge(
            lease,
            functools.partial(usage.settle_call, lease=lease, call_id=call_id, outcome=outcome),
        )

    async def _charge(self, lease: Lease, write: Callable[..., bool]) -> None:
        """Write to the rows of one job together with others' writes, to those of several alone."""
        if lease.parent is not None or not await self._write(lambda tx: write(tx, alone=False)):
            await self._write_alone(lambda tx: write(tx, alone=True))

    # lanes -------------------------------------------------------------------------------------

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        return await self._write_alone(lambda tx: lanes.take_lane(tx, request))

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        return await self._write_alone(lambda tx: lanes.adjust_lane(tx, adjustment))

    # operations --------------------------------------------------------------------------------

    async def prune_jobs(self, request: PruneRequest) -> Pruned:
        check_names(request)
        return await self._write_alone(lambda tx: pruning.prune_jobs(tx, request))

    async def inspect(self) -> StoreReport:
        return await self._read(lambda connection: workers.inspect(connection, HEAD))
