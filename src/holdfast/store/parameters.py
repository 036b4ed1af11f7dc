"""What the verbs of the store take and give: frozen values, beside those of `holdfast.model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.buckets import Ask
from holdfast.model import Budget, CallStatus, JobStatus, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from decimal import Decimal

    from holdfast.model import (
        Call,
        Checkpoint,
        Dispatch,
        Event,
        Job,
        Lease,
        StoredError,
        SuspendReason,
    )

RESERVED_KIND_PREFIX = "holdfast."
"""Kinds of Holdfast's own jobs begin so; lists leave them out unless they are asked for."""

RESERVED_KEY_PREFIX = "holdfast:"
"""Step keys that only the engine uses begin so."""

UNDO_KEY_PREFIX = RESERVED_KEY_PREFIX + "undo/"
"""`holdfast:undo/KEY` is the step that takes step KEY back."""

COMPENSATION_KEY = RESERVED_KEY_PREFIX + "compensation"
"""The checkpoint that records the decision to compensate, and how the job is to end."""

RETRY_KEY_PREFIX = RESERVED_KEY_PREFIX + "retry/"
"""`holdfast:retry/KEY/N` records the tries of step KEY before its N-th long wait."""

OUTPUT_COMPLETED = "output.completed"
"""Event that ends a step's streamed text: the step's result holds it now."""

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
    subject: str | None = None
    """Whose personal data it holds: an id of the application's own, kept in the clear. None for that of
    the parent."""
    idempotency_key: str | None = None
    """Unique per tenant; the same key with the same kind and input gives the same job."""
    parent: Lease | None = None
    """The attempt that spawns it: the child ends with its parent and counts towards its budget."""
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    """At most so many jobs with this key run at once; the limit of the one to be claimed counts."""
    budget: Budget = field(default_factory=Budget)
    delay: timedelta | None = None
    """Not claimed before this much later."""
    traceparent: str | None = None
    """The trace that the submission belongs to; not part of the request, so no conflict of keys."""


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
    """Only jobs of this kind; None for all but Holdfast's own."""
    kinds: tuple[str, ...] | None = None
    """Only jobs of one of these kinds; with `kind`, that one must be among them."""
    status: JobStatus | None = None
    tenant: str | None = None
    subject: str | None = None
    parent_id: str | None = None
    """Only children of this job."""
    before: str | None = None
    """Only jobs whose id sorts before this one: the cursor of the previous page."""
    created_since: datetime | None = None
    """Only jobs submitted at this time or later, to the millisecond; children count as their parent."""
    created_before: datetime | None = None
    """Only jobs submitted before this time."""
    limit: int = 50
    """1 to 1,000."""
    content: bool = True
    """False leaves inputs and outputs out, empty, and does not read them: they may be large."""


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
    holding: tuple[str, ...] | None = None
    """Set after a claim whose answer was lost: the jobs that the worker knows of. Whatever else
    runs under its name is queued again first."""
    waited: timedelta | None = None
    """Only jobs announced at least so long ago: whoever was told of them has not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claimed job with all that its attempt needs, loaded once."""

    job: Job
    lease: Lease
    at: datetime
    """When, by the store's clock: the attempt counts its time from here, whatever its machine's says."""
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
    """For SUSPENDED: if a signal, a raised budget, the end of a child or a cancel request was appended
    after this event number, the job is queued at once instead, so nothing is missed in between."""
    each_child: bool = False
    """For SUSPENDED: each child that ends wakes the job, as when it waits for some of several; else
    only the last unfinished one and those that do not complete."""
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

    dispatches: tuple[Dispatch, ...]
    """Queued and due jobs that no dispatch has been tried for lately: announce them."""
    next_in: timedelta | None
    """How long until the next suspended or delayed job falls due; 0 if more are due already."""


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
class LaneRequest(Ask):
    """Permits that one call needs from a lane, the limits its caller believes in, and who it is."""

    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneGrant:
    """A lane's answer: go, wait, or parked."""

    granted: bool
    wait_seconds: float = 0.0
    """How long until it is worth asking again; when granted, for as much again."""
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
class PruneRequest:
    """Which terminal jobs to delete, with all that is on record of them; none by default."""

    older_than: timedelta | None = None
    """Only jobs that ended at least so long ago."""
    kind: str | None = None
    subject: str | None = None
    """Only jobs that hold this subject's data."""
    limit: int = 100
    """Most jobs to delete in this one transaction; fewer, if much is on record of them."""
    files: tuple[str, ...] = ()
    """SHA-256 of stored files: tell those that no job refers to, beside those of the deleted jobs."""
    dry_run: bool = False
    """Only tell which jobs would be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was deleted."""

    job_ids: tuple[str, ...]
    """Deleted jobs."""
    unreferenced: tuple[str, ...]
    """SHA-256 of their artifacts and large results that no job in the store refers to any more."""
    more: bool
    """Whether another call may find more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """The store's own account of itself, for operators."""

    schema: str
    jobs: Mapping[JobStatus, int]
    workers: tuple[tuple[WorkerRecord, datetime], ...]
    """Each with the time its heartbeat expires."""
    lanes: tuple[LaneState, ...]
