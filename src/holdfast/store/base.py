"""The seam to the store: at most 25 verbs, each one transaction.

What every implementation promises, and `holdfast.testing.store_suite` checks:

* A verb that returned is durable: it survives kill -9 and power loss. A verb that raised has
  changed nothing, except that after `StoreUnavailableError` the outcome may be unknown.
* Verbs of one process may be committed together; each still holds or fails by itself.
* Every write for an attempt is refused with `LeaseLost` unless the job is running under the
  lease's epoch.
* Names and numbers that not every database can hold are refused with `InvalidInputError` (see
  `holdfast.store.bounds`); an id that none can hold names no job.
* The store takes its time from one clock of its own, so callers never pass the present in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.store.parameters import (
    COMPENSATION_KEY,
    OUTPUT_COMPLETED,
    POISON_LOST_WORKERS,
    RESERVED_KEY_PREFIX,
    RESERVED_KIND_PREFIX,
    RETRY_KEY_PREFIX,
    UNDO_KEY_PREFIX,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from holdfast.model import Budget, Checkpoint, Dispatch, Event, Job, Lease, Progress, UndoCall
    from holdfast.store.hints import Hints

__all__ = [
    "COMPENSATION_KEY",
    "OUTPUT_COMPLETED",
    "POISON_LOST_WORKERS",
    "RESERVED_KEY_PREFIX",
    "RESERVED_KIND_PREFIX",
    "RETRY_KEY_PREFIX",
    "UNDO_KEY_PREFIX",
    "CallIntent",
    "CallOutcome",
    "Claim",
    "ClaimRequest",
    "Enlister",
    "JobQuery",
    "JobRecords",
    "LaneAdjustment",
    "LaneGrant",
    "LaneRequest",
    "LaneState",
    "NewEvent",
    "NewJob",
    "PruneRequest",
    "Pruned",
    "Pulse",
    "Settlement",
    "Store",
    "StoreReport",
    "Submitted",
    "Wakeup",
    "WorkerRecord",
]


class Store(Protocol):
    """Everything durable. Implementations are opened and closed by `wiring`."""

    hints: Hints
    """Tells what may have changed, in this process at once, across processes within a second."""

    # jobs ------------------------------------------------------------------------------------

    async def insert_job(self, new: NewJob) -> Submitted:
        """Queue a job with its first event, `job.queued`.

        An id that is taken is treated like an idempotency key: derived ids converge.
        A child of a parent whose end was requested is born with the same request.

        Raises:
            LeaseLost: `new.parent` no longer owns the parent job.
            IdempotencyConflictError: The key belongs to a job with another kind or input.
            InvalidInputError: The budget is larger than can be stored.
        """
        ...

    async def get_job(self, job_id: str) -> Job:
        """Return the job.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        ...

    async def list_jobs(self, query: JobQuery) -> Sequence[Job]:
        """Return up to `query.limit` jobs, newest first; inputs and outputs if `query.content`.

        Holdfast's own jobs, whose kinds begin with `RESERVED_KIND_PREFIX`, are left out unless
        their kind is asked for.
        """
        ...

    async def get_records(self, job_id: str) -> JobRecords:
        """Return the job's checkpoints (without values) and ledger.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        ...

    async def claim_jobs(self, request: ClaimRequest) -> Sequence[Claim]:
        """Take due queued jobs, highest priority and then oldest first.

        Each becomes running under a grown epoch and a counted attempt, with an
        `attempt.started` event. Calls that an earlier epoch left reserved become uncertain:
        their reservation moves to the job's uncertain usage. Jobs that are running, suspended
        or terminal are left alone, so any number of stray messages is harmless. A job whose
        concurrency key has as many running jobs as its limit allows stays queued until one ends.
        Returns nothing when the worker's own heartbeat has expired or is not on record.
        """
        ...

    async def settle_attempt(self, lease: Lease, settlement: Settlement) -> Job:
        """End the attempt: hand back, retry later, suspend, or finish the job.

        Emits `attempt.failed` or `attempt.released` for QUEUED, `job.suspended`, or
        `job.completed|failed|cancelled`. Reserved calls of the attempt become uncertain; for
        QUEUED, settled calls of steps without a stored result become lost.
        A cancel request that arrived since the claim turns SUSPENDED and QUEUED-with-delay into
        QUEUED at once, so that a worker compensates; one that the attempt knew of does not, so
        that a failing compensation keeps its waits.
        A job that fails or is cancelled takes its unfinished children along. A child that ends
        appends `child.ended` (`{"child_id", "status"}`) to its parent, and queues a parent that
        is suspended for anything but SLEEP if it was the last unfinished child or did not complete,
        or if the parent asked for `each_child`. Its family's jobs that wait for a budget above it are
        queued, too: what it had reserved is free.
        With a job's end – here as by `cancel_job` – a delivery is queued for each webhook that wants
        to hear of it, see `holdfast.store.service`.

        Raises:
            LeaseLost: The attempt no longer owns the job.
        """
        ...

    async def cancel_job(self, job_id: str) -> Job:
        """Request the job's end, with a `job.cancel_requested` event; repeating changes nothing.

        A queued or suspended job without anything to undo is cancelled at once; with
        something to undo it is queued for a worker. A running job is left to its owner, which
        learns of it by hint or heartbeat. The same goes for its unfinished children.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is completed or failed. (Cancelled: returned as it is.)
        """
        ...

    async def retry_job(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again; finished steps stay, undone ones are forgotten.

        Forgets the compensation record, undo checkpoints and the steps they took back, begun
        marks, error, cancel request, lost workers, counted attempts. Failed and cancelled
        children are retried with it.
        Emits `job.queued`.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is completed.
            JobNotFinishedError: It is not terminal.
        """
        ...

    async def fork_job(self, source_id: str, new: NewJob, *, keep: Sequence[str] | None) -> Job:
        """Queue a copy of a job with its finished checkpoints, or only those named in `keep`.

        Engine-reserved checkpoints, steps taken back, ledger and events are not copied, nor is
        the undo of a step, whose effects are the source's. `new` may carry another
        input, queue, budget; its kind must be the source's, and its subject is, if that has one.

        Raises:
            JobNotFoundError: There is no such source.
            InvalidInputError: A key of `keep` is not a finished step of the source.
        """
        ...

    async def signal_job(self, job_id: str, name: str, payload: bytes) -> int:
        """Append `signal.received` (`{"name", "payload"}`) and wake the job if it waits for signals.

        Every reason but SLEEP counts as waiting for signals: a job tells one reason, but its
        branches may wait for several things. A wake appends `job.queued`.

        Returns:
            The event's number.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is terminal.
        """
        ...

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        """Replace the job's budget, append `budget.changed`, wake a job that waits for it.

        One that waits for quota is woken too: another of its branches may wait for the budget. So are
        the jobs below it, whose calls count towards it.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is terminal.
        """
        ...

    # workers -----------------------------------------------------------------------------------

    def beat(self, worker: WorkerRecord, *, first: bool) -> Pulse:
        """Register (`first`) or renew a worker. The one verb that blocks; call it from a thread.

        Must work while the event loop is blocked. A worker that is no longer on record stays
        dead: `Pulse(alive=False)`.
        """
        ...

    async def release_worker(self, worker_id: str) -> Sequence[Dispatch]:
        """Sign a worker off; its running jobs are queued again, attempt number given back.

        Returns:
            Those jobs, to be announced.
        """
        ...

    async def rescue_jobs(self, dead: Sequence[str] = (), *, spare: str = "") -> Sequence[Dispatch]:
        """Sign off every worker whose heartbeat has expired and queue its jobs again.

        So are the workers of `dead`, which the caller knows to be gone, whatever their heartbeat;
        not so `spare`, the caller itself: it has been asleep, and as long as nobody else has taken
        its jobs, its next heartbeat keeps them.

        Each job counts one more lost worker, gets the attempt number back and an
        `attempt.lost` event. Its settled calls of steps without a stored result
        become lost: the next attempt pays for them again.

        Returns:
            Those jobs, to be announced.
        """
        ...

    async def wake_jobs(self, *, redispatch_after: timedelta) -> Wakeup:
        """Queue suspended jobs whose time has come, and find queued jobs nobody was told of.

        A job is in `dispatches` when it is queued and due, and was queued, woken or last in such
        an answer more than `redispatch_after` ago – or was woken by this call, or was queued with
        a delay and has fallen due since, for nobody was told of it. Woken jobs get `job.queued`.
        """
        ...

    # attempts ----------------------------------------------------------------------------------

    async def begin_step(self, lease: Lease, key: str, undo: UndoCall | None) -> None:
        """Record that a step begins: an unfinished checkpoint with its undo.

        Repeating it counts one more start.

        Raises:
            LeaseLost: The attempt no longer owns the job.
        """
        ...

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        """Store the result of a finished step, with `events` and reset `lost_workers`.

        An `output.completed` event among them empties the step's `output.delta` events, so that
        streamed text is not kept twice; their numbers stay.

        Writing the same key twice with an equal value is allowed, so a worker that lost the
        reply may repeat the call. `number` and `finished_at` are the store's to set.

        Raises:
            LeaseLost: The attempt no longer owns the job.
            CheckpointConflictError: The key holds a different value.
        """
        ...

    async def append_events(
        self, lease: Lease, events: Sequence[NewEvent], progress: Progress | None = None
    ) -> int:
        """Append events of an attempt, and keep `progress` on the job.

        Returns:
            The number of the last one.

        Raises:
            LeaseLost: The attempt no longer owns the job.
        """
        ...

    async def read_events(
        self,
        job_id: str,
        *,
        after: int = 0,
        limit: int = 500,
        types: Sequence[str] = (),
        bytes_max: int | None = None,
    ) -> Sequence[Event]:
        """Return events with `seq > after` in order, all types or only those named.

        With `bytes_max`, no more than fit into so many bytes of data, but always the first.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        ...

    # money -------------------------------------------------------------------------------------

    async def reserve_call(self, lease: Lease, intent: CallIntent) -> None:
        """Write the intent of a paid call and reserve its cost, before it starts.

        Repeating it under the same lease changes nothing.

        Raises:
            LeaseLost: The attempt no longer owns the job: the call must not start.
            BudgetExceededError: Spent plus reserved plus this call would pass the budget of the job,
                of one above it, or of its tenant for the present period (see
                `ServiceStore.set_tenant_budget`); or the budget is in money and the call's price is
                unknown. Then nothing is reserved.
        """
        ...

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        """Book what a call has used, return the rest of its reservation, append a `usage` event.

        Settling a settled call again changes nothing. An uncertain call can be settled by a later
        attempt that found its answer.

        Raises:
            LeaseLost: The attempt no longer owns the job; the call stays uncertain.
            InvalidInputError: The call was never reserved.
        """
        ...

    # lanes -------------------------------------------------------------------------------------

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        """Take one request and its tokens from the lane's buckets, both or neither.

        Buckets refill continuously at the nominal rate times `rate_factor`, up to
        `burst_seconds` worth (but at least one request, and at least the tokens asked for, so
        that a call larger than the burst can pass once the bucket is full). A new lane starts
        full.

        Askers that must wait keep a place in the lane's line, in the order of weighted fair
        queueing between them; permits for those ahead are held back from those behind. A place
        lasts until shortly after the time its asker was told to wait, and never more than
        `turns.ASK_AGAIN_SECONDS_MAX` + `turns.LATE_SECONDS_MAX`.
        """
        ...

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        """Correct a lane's picture after an answer of the provider; creates the lane if new."""
        ...

    # operations --------------------------------------------------------------------------------

    async def prune_jobs(self, request: PruneRequest) -> Pruned:
        """Delete terminal jobs, oldest end first: inputs, outputs, steps, events, ledger, artifacts.

        A child goes after its parent, never before; a parent stays while a child is unfinished.
        Of a subject, the oldest job goes first, and a child as soon as its parent is terminal:
        the parent may be somebody else's and kept. Children of a deleted parent have none.
        A call for a subject that finds nothing sees to it that what earlier calls deleted cannot be
        read from the store's files either, where they are the store's to write (SQLite).

        Deleting the files of `unreferenced` is the caller's, by `ArtifactStore.delete` with
        `settled_only`: another job may be about to refer to the same content.

        Raises:
            InvalidInputError: The limit is not 1 to 1,000, there are more than 1,000 files, or the
                request names nothing.
        """
        ...

    async def inspect(self) -> StoreReport:
        """Return counts, workers and lanes for operators."""
        ...


class Enlister(Protocol):
    """Takes part in transactions of the caller's own, on the store's database."""

    async def insert_job(self, within: object, new: NewJob, committing: Callable[[], None]) -> Submitted:
        """Queue a job as `Store.insert_job` does, once the caller commits and only if it does.

        An error leaves the caller's transaction as it was, except that of a statement that failed.

        Args:
            within: What holds the transaction, in the terms of the library behind.
            new: The job.
            committing: Called just before the caller's commit, from whatever thread that is in; once,
                and never for a transaction that is rolled back. It must not raise.

        Raises:
            IdempotencyConflictError, InvalidInputError: See `Store.insert_job`.
            StoreUnavailableError: Another transaction came first; the same may succeed in a new one.
            ConfigError: `within` is of no known kind, or on another database than the store's.
            SchemaVersionError: The database is at another schema than this release's.
        """
        ...
