"""The seam to the store: at most 25 verbs, each one transaction.

What every implementation promises, and `holdfast.testing.store_suite` checks:

* A verb that returned is durable: it survives kill -9 and power loss. A verb that raised has
  changed nothing, except that after `StoreUnavailableError` the outcome may be unknown.
* Verbs of one process may be committed together; each still holds or fails by itself.
* Every write for an attempt is refused with `LeaseLost` unless the job is running under the
  lease's epoch.
* The store takes its time from one clock of its own, so callers never pass the present in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from holdfast.model import Budget, CallStatus, JobStatus, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from holdfast.model import (
        Call,
        Checkpoint,
        Event,
        Job,
        Lease,
        StoredError,
        SuspendReason,
        UndoCall,
    )
    from holdfast.store.hints import Hints

RESERVED_KEY_PREFIX = "holdfast:"
"""Step keys that only the engine uses begin so."""

UNDO_KEY_PREFIX = RESERVED_KEY_PREFIX + "undo/"
"""`holdfast:undo/KEY` is the step that takes step KEY back."""

COMPENSATION_KEY = RESERVED_KEY_PREFIX + "compensation"
"""The checkpoint that records the decision to compensate, and how the job is to end."""

POISON_LOST_WORKERS = 3
"""Workers lost in the same step before its job is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event before the store numbers it."""

    type: str
    data: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be queued."""

    job_id: str
    kind: str
    queue: str
    input: bytes
    priority: int = 0
    tenant: str | None = None
    idempotency_key: str | None = None
    """Unique per tenant; the same key with the same kind and input gives the same job."""
    budget: Budget = field(default_factory=Budget)
    delay: timedelta | None = None
    """Not claimed before this much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The answer to a submission."""

    job: Job
    created: bool
    """False when the idempotency key found an existing job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs to list, newest first."""

    kind: str | None = None
    status: JobStatus | None = None
    tenant: str | None = None
    before: str | None = None
    """Only jobs whose id sorts before this one: the cursor of the previous page."""
    limit: int = 50
    """1 to 1,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecords:
    """What is on record of a job beside its row; bounded by the job itself."""

    checkpoints: tuple[Checkpoint, ...]
    """In order of `number`; values are left out."""
    calls: tuple[Call, ...]
    """In order of `started_at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Which jobs a worker can take."""

    worker_id: str
    """Of a worker whose heartbeat is on record and not expired."""
    kinds: tuple[str, ...]
    """Kinds that the worker's code knows; others are left alone."""
    queues: tuple[str, ...] | None = None
    """None for every queue."""
    limit: int = 1
    job_id: str | None = None
    """Only this job, as when a message named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claimed job with all that its attempt needs, loaded once."""

    job: Job
    lease: Lease
    checkpoints: Mapping[str, Checkpoint]
    """By key, values included."""
    signals: tuple[Event, ...]
    """All `signal.received` events so far."""
    poisoned_by: str | None = None
    """Key of the unfinished step in which `POISON_LOST_WORKERS` workers were lost."""
    history: Mapping[str, float] = field(default_factory=dict)
    """Mean seconds by step group over finished jobs of this kind (see `Settlement.step_seconds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an attempt ends."""

    status: JobStatus
    """QUEUED (try again or hand back), SUSPENDED, or a terminal status."""
    output: bytes | None = None
    error: StoredError | None = None
    suspend_reason: SuspendReason | None = None
    available_after: timedelta | None = None
    """Delay for QUEUED (None: at once) and SUSPENDED (None: only a signal or budget wakes it)."""
    wake_after_seq: int | None = None
    """For SUSPENDED: if a signal, a raised budget or a cancel request was appended after this
    event number, the job is queued at once instead, so nothing is missed in between."""
    counts: bool = True
    """Whether the attempt number is used up."""
    active_seconds: float = 0.0
    """How long the attempt lasted; added to the job's."""
    progress: Progress | None = None
    step_seconds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Finished steps of this attempt by step group: count and summed seconds; adds to the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """What a worker says of itself with each heartbeat."""

    worker_id: str
    host: str
    pid: int
    queues: tuple[str, ...] | None
    slots: int
    running: int
    lease_seconds: float
    """The heartbeat is good for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The store's answer to a heartbeat."""

    alive: bool
    """False when this worker was rescued from or released: it must drop all its attempts."""
    cancels: tuple[str, ...] = ()
    """Ids of the worker's running jobs with a cancel request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wakeup:
    """What the waker found."""

    job_ids: tuple[str, ...]
    """Queued and due jobs that no dispatch has been tried for lately: announce them."""
    next_at: datetime | None
    """When the next suspended or delayed job falls due; the present if more are due already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallIntent:
    """A provider call about to start."""

    call_id: str
    step_key: str
    step_attempt: int
    provider: str
    model: str
    reserved_tokens: int
    """Upper bound: estimated input plus `max_output_tokens`."""
    reserved_usd: Decimal | None
    """Upper bound of its price; None when the price is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a provider call ended."""

    status: CallStatus
    """SETTLED or FAILED."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    """None when the price is unknown."""
    response_id: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRequest:
    """Permits that one call needs from a lane, and the limits its caller believes in."""

    lane: str
    tokens: int
    """By the provider's own rule of charging."""
    requests_per_minute: float
    tokens_per_minute: float
    burst_seconds: float
    """How many seconds' worth of permits may gather while the lane is idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneGrant:
    """A lane's answer: go, wait, or parked."""

    granted: bool
    wait_seconds: float = 0.0
    """When not granted: how long until it is worth asking again."""
    held_until: datetime | None = None
    """Set while the lane is parked."""
    held_reason: str | None = None
    """Error code that parked it, such as `insufficient_quota`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneAdjustment:
    """A correction of a lane's picture; None leaves a part as it is."""

    lane: str
    pause_seconds: float | None = None
    """No grants for this long (a 429); an earlier longer pause stays."""
    rate_factor: float | None = None
    """New share of the nominal rate, 0.5 to 1; recovers by 0.02 a second."""
    refund_tokens: int = 0
    """Given back, for providers that charge actual output."""
    requests_remaining: float | None = None
    """Clamps the gathered permits downwards."""
    tokens_remaining: float | None = None
    """Clamps the gathered permits downwards."""
    hold_seconds: float | None = None
    """Park the lane for this long; 0 releases it."""
    hold_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """A lane as stored."""

    lane: str
    requests_per_minute: float
    tokens_per_minute: float
    rate_factor: float
    paused_until: datetime | None
    held_until: datetime | None
    held_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """The store's own account of itself, for operators."""

    schema: str
    jobs: Mapping[JobStatus, int]
    workers: tuple[tuple[WorkerRecord, datetime], ...]
    """Each with the time its heartbeat expires."""
    lanes: tuple[LaneState, ...]


class Store(Protocol):
    """Everything durable. Implementations are opened and closed by `wiring`."""

    hints: Hints
    """Tells what may have changed, in this process at once, across processes within a second."""

    # jobs ------------------------------------------------------------------------------------

    async def insert_job(self, new: NewJob) -> Submitted:
        """Queue a job with its first event, `job.queued`.

        An id that is taken is treated like an idempotency key: derived ids converge.

        Raises:
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
        """Return up to `query.limit` jobs, newest first; inputs and outputs included."""
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
        or terminal are left alone, so any number of stray messages is harmless.
        Returns nothing when the worker's own heartbeat has expired or is not on record.
        """
        ...

    async def settle_attempt(self, lease: Lease, settlement: Settlement) -> Job:
        """End the attempt: hand back, retry later, suspend, or finish the job.

        Emits `attempt.failed` or `attempt.released` for QUEUED, `job.suspended`, or
        `job.completed|failed|cancelled`. Reserved calls of the attempt become uncertain.
        A cancel request that arrived since the claim turns SUSPENDED and QUEUED-with-delay into
        QUEUED at once, so that a worker compensates; one that the attempt knew of does not, so
        that a failing compensation keeps its waits.

        Raises:
            LeaseLost: The attempt no longer owns the job.
        """
        ...

    async def cancel_job(self, job_id: str) -> Job:
        """Request the job's end, with a `job.cancel_requested` event; repeating changes nothing.

        A queued or suspended job without anything to undo is cancelled at once; with
        something to undo it is queued for a worker. A running job is left to its owner, which
        learns of it by hint or heartbeat.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is completed or failed. (Cancelled: returned as it is.)
        """
        ...

    async def retry_job(self, job_id: str) -> Job:
        """Queue a failed or cancelled job again; finished steps stay, undone ones are forgotten.

        Forgets the compensation record, undo checkpoints and the steps they took back, begun
        marks, error, cancel request, lost workers. Emits `job.queued`.

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
        input, queue, budget; its kind must be the source's.

        Raises:
            JobNotFoundError: There is no such source.
            InvalidInputError: A key of `keep` is not a finished step of the source.
        """
        ...

    async def signal_job(self, job_id: str, name: str, payload: bytes) -> int:
        """Append `signal.received` (`{"name", "payload"}`) and wake the job if it waits for signals.

        Reasons SIGNAL and CHILDREN wait for signals. A wake appends `job.queued`.

        Returns:
            The event's number.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is terminal.
        """
        ...

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        """Replace the job's budget, append `budget.changed`, wake the job if it waits for budget.

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

    async def release_worker(self, worker_id: str) -> Sequence[str]:
        """Sign a worker off; its running jobs are queued again, attempt number given back.

        Returns:
            The ids of those jobs.
        """
        ...

    async def rescue_jobs(self) -> Sequence[str]:
        """Sign off every worker whose heartbeat has expired and queue its jobs again.

        Each job counts one more lost worker, gets the attempt number back and an
        `attempt.lost` event.

        Returns:
            The ids of those jobs.
        """
        ...

    async def wake_jobs(self, *, redispatch_after: timedelta) -> Wakeup:
        """Queue suspended jobs whose time has come, and find queued jobs nobody was told of.

        A job is in `job_ids` when it is queued and due, and was queued, woken or last in such
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
        self, job_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] = ()
    ) -> Sequence[Event]:
        """Return events with `seq > after` in order, all types or only those named.

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
            BudgetExceededError: Spent plus reserved plus this call would pass the job's budget,
                or the budget is in money and the call's price is unknown.
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
        """
        ...

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        """Correct a lane's picture after an answer of the provider; creates the lane if new."""
        ...

    # operations --------------------------------------------------------------------------------

    async def inspect(self) -> StoreReport:
        """Return counts, workers and lanes for operators."""
        ...
