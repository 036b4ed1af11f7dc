"""What the verbs of the store take and give: frozen values, beside those of `holdfast.model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.model import Budget, CallStatus, JobStatus, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from decimal import Decimal

    from holdfast.model import Call, Checkpoint, Event, Job, Lease, StoredError, SuspendReason

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
