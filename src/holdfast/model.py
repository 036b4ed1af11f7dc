"""What a job is, as plain frozen values. Times are aware UTC; JSON texts are `bytes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """Waiting for a worker; not before `available_at`."""
    RUNNING = "running"
    """Claimed by a worker whose lease guards it."""
    SUSPENDED = "suspended"
    """Waiting for a time or a signal; no worker holds it. The waker queues it again."""
    COMPLETED = "completed"
    """Ended with an output."""
    FAILED = "failed"
    """Ended with an error, after compensation."""
    CANCELLED = "cancelled"
    """Ended on request, after compensation."""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended; only `retry` leaves a terminal status, and never `completed`."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class SuspendReason(StrEnum):
    """What a suspended job waits for."""

    SLEEP = "sleep"
    """A time: a durable sleep or a long wait between retries."""
    SIGNAL = "signal"
    """A signal from outside, perhaps with a time limit."""
    CHILDREN = "children"
    """Child jobs."""
    BUDGET = "budget"
    """A higher budget."""
    QUOTA = "quota"
    """A provider lane that is parked: quota exhausted or key refused."""


class BudgetPeriod(StrEnum):
    """How long a tenant's budget has to last: by the calendar, in UTC."""

    DAY = "day"
    """From midnight to midnight."""
    MONTH = "month"
    """From the first of a month to the first of the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A hard limit on what a job, or a tenant in a period, may spend; None means unlimited."""

    usd: Decimal | None = None
    """Money in US dollars."""
    tokens: int | None = None
    """Input plus output tokens."""

    if TYPE_CHECKING:

        def __init__(
            self, *, usd: Decimal | str | float | None = None, tokens: int | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        """Accept int, float or str for `usd`, exactly as written.

        Raises:
            ValueError: A limit is negative or not a number.
        """
        if self.usd is not None:
            try:
                usd = Decimal(str(self.usd))
            except InvalidOperation:
                usd = Decimal("NaN")
            if not usd.is_finite() or usd < 0:
                raise ValueError(
                    f"budget usd {self.usd!r} is not an amount of money; give a number >= 0"
                )
            object.__setattr__(self, "usd", usd)
        if self.tokens is not None and self.tokens < 0:
            raise ValueError(f"budget tokens {self.tokens!r} is negative; give a number >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most so many running jobs of a kind, per kind, tenant or something else; others wait."""

    limit: int
    per: Literal["kind", "tenant"] | Callable[[Any], str] = "kind"
    """Which jobs of the kind share the limit: all, those of one tenant, or those for whose input
    this function returns the same text."""

    def __post_init__(self) -> None:
        """Check the limit.

        Raises:
            ValueError: The limit is below 1, or `per` is neither a function nor one of its words.
        """
        if self.limit < 1:
            raise ValueError(f"concurrency limit {self.limit!r}: give at least 1")
        if not callable(self.per) and self.per not in ("kind", "tenant"):
            raise ValueError(
                f"concurrency per {self.per!r}: give 'kind', 'tenant' or a function of the input"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What provider calls have cost; sums over a job or one call."""

    calls: int = 0
    """Calls settled, failed ones included."""
    input_tokens: int = 0
    """Prompt tokens, cached ones included."""
    cached_tokens: int = 0
    """Prompt tokens that the provider served from its cache."""
    output_tokens: int = 0
    """Completion tokens, reasoning included."""
    usd: Decimal = Decimal(0)
    """Money of the calls with a known price."""
    unpriced_calls: int = 0
    """Calls whose price is unknown; their money is not in `usd`."""
    uncertain_calls: int = 0
    """Calls in flight at a crash: possibly paid, and possibly paid twice."""
    uncertain_usd: Decimal = Decimal(0)
    """What the uncertain calls were reserved at; counted against the budget."""
    reserved_tokens: int = 0
    """Reserved by calls in flight."""
    reserved_usd: Decimal = Decimal(0)
    """Reserved by calls in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredError:
    """An error at rest: JSON, never a pickle."""

    type: str
    """Class name."""
    code: str
    """Stable code of `docs/errors.md`, or `exception` for an error that is not ours."""
    message: str
    """What `str(error)` gave, cut at 4,000 characters."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON fields of the error, such as `step_key`."""
    traceback: str = ""
    """Formatted frames without local variables, cut at 16,000 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is, by its own account."""

    done: float = 0
    """Finished weight."""
    total: float = 0
    """Known weight; 0 before the first map or report of progress."""
    label: str = ""
    """What is being worked on, for people."""
    eta_seconds: float | None = None
    """Expected seconds to the end as of `at`; None while there is no basis."""
    at: datetime | None = None
    """When this was computed."""

    @property
    def fraction(self) -> float:
        """Done by total, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One durable unit of work as the store last knew it."""

    job_id: str
    """`job_` and 26 characters; sorts by time of submission."""
    kind: str
    """The registered function it runs."""
    queue: str
    """The line it waits in."""
    status: JobStatus
    input: bytes
    """JSON text of the argument."""
    output: bytes | None = None
    """JSON text of the return value once completed."""
    error: StoredError | None = None
    """Why it failed; kept until a retry."""
    suspend_reason: SuspendReason | None = None
    """Set exactly while suspended."""
    priority: int = 0
    """Higher is claimed first and weighs more in a lane."""
    tenant: str | None = None
    subject: str | None = None
    """Whose personal data it holds, in the application's own terms; never an address or a name."""
    idempotency_key: str | None = None
    parent_id: str | None = None
    """The job that spawned it; its usage counts towards the parent's, too."""
    concurrency_key: str | None = None
    """Jobs with the same key share a limit on how many of them run at once."""
    attempt: int = 0
    """Tries that count; suspension, drain and rescue give the number back."""
    epoch: int = 0
    """Grows with every claim; older epochs can write nothing."""
    lost_workers: int = 0
    """Workers that vanished while running it since the last finished step."""
    worker_id: str | None = None
    """Who runs it; set exactly while running."""
    event_seq: int = 0
    """Number of its last event."""
    budget: Budget = field(default_factory=Budget)
    usage: Usage = field(default_factory=Usage)
    progress: Progress = field(default_factory=Progress)
    cancel_requested_at: datetime | None = None
    created_at: datetime
    available_at: datetime | None
    """Not claimed or woken before; None while only a signal or a budget can wake it."""
    started_at: datetime | None = None
    """First claim."""
    finished_at: datetime | None = None
    """When it became terminal."""
    active_seconds: float = 0.0
    """Time under a worker in settled attempts."""
    traceparent: str | None = None
    """The trace that its submission belongs to, as a W3C `traceparent`; what runs it goes on with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What to tell a worker pool: this job is queued. A hint; the store is the truth."""

    job_id: str
    queue: str
    number: int
    """Number of the job's last event; with `job_id` it names this announcement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A worker's right to run one attempt; every write for the attempt carries it."""

    job_id: str
    epoch: int
    worker_id: str
    row: int
    """The store's own handle of the job; meaningless elsewhere."""
    parent: int | None = None
    """The same of its parent."""
    keyed: bool = False
    """Whether its job has a concurrency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named immutable file made by a job, addressed by its content."""

    name: str
    """Unique within the job, such as `horoscope.pdf`."""
    sha256: str
    """64 hexadecimal digits; also where the bytes lie in artifact storage."""
    size_bytes: int
    media_type: str
    """Such as `application/pdf`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoCall:
    """How to take a step back: an importable function and the step's own arguments."""

    function: str
    """`module:qualified.name`."""
    arguments: bytes
    """JSON text `[[positional…], {keyword…}]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is known of a step: its stored result, or only that it has begun."""

    key: str
    finished: bool = True
    """False while only begun (recorded for steps with an undo, or after a worker was lost)."""
    value: bytes | None = None
    """JSON text of the result; None when unfinished or kept as a blob."""
    blob: str | None = None
    """SHA-256 of the result's JSON text in artifact storage, for large results."""
    type_name: str | None = None
    """`module:qualified.name` of a typed result, when no annotation tells."""
    undo: UndoCall | None = None
    seconds: float = 0.0
    """How long the successful attempt took."""
    attempts: int = 1
    """Tries within the job's attempt that finished it."""
    number: int = 0
    """Order of beginning or finishing within the job; undo runs from the highest down."""
    starts: int = 0
    """Times it was begun on record without finishing; counts towards the poison cap."""
    finished_at: datetime | None = None
    artifact: Artifact | None = None
    """Set when the step saved an artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An append-only, numbered fact about a job."""

    job_id: str
    seq: int
    """From 1, gapless per job."""
    type: str
    """`noun.past_participle`, such as `step.completed`."""
    data: bytes
    """JSON object."""
    at: datetime


class CallStatus(StrEnum):
    """Where a provider call is in the ledger."""

    RESERVED = "reserved"
    """Intent written; the call may be in flight."""
    SETTLED = "settled"
    """Answered and booked."""
    FAILED = "failed"
    """Ended without a usable answer; what it cost is booked."""
    UNCERTAIN = "uncertain"
    """In flight when its worker was lost: possibly paid, and possibly paid twice."""
    LOST = "lost"
    """Answered and booked, but the attempt ended before the step's result was stored: the next
    attempt runs the step again and pays again."""

    @property
    def repeats(self) -> bool:
        """Whether a later attempt has to make the same call again though this one may be paid for."""
        return self in (CallStatus.UNCERTAIN, CallStatus.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One provider call in the ledger."""

    call_id: str
    job_id: str
    step_key: str
    step_attempt: int
    epoch: int
    provider: str
    model: str
    status: CallStatus
    reserved_tokens: int
    reserved_usd: Decimal | None
    """Upper bound by the price table; None when the price is unknown."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    """None while reserved, and where the price is unknown: never 0 for unknown."""
    response_id: str | None = None
    """The provider's id of the answer."""
    error_code: str | None = None
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed step is tried again. See `holdfast.retry` for the rules."""

    attempts: int = 5
    """Tries in total; 1 means no retry."""
    base_seconds: float = 1.0
    """Wait before the second try; doubles each time."""
    cap_seconds: float = 60.0
    """Longest wait of the formula; a provider's Retry-After may be longer."""
    jitter: bool = True
    """Draw each wait evenly between half and the whole of the formula."""
    waits_seconds: tuple[float, ...] = ()
    """Waits before the second try, the third and so on, instead of the formula; the last one repeats.
    A Retry-After can only lengthen them."""
    malformed_attempts: int = 3
    """Tries in total when the failure is malformed model output."""
    retry_on: tuple[type[Exception], ...] = ()
    """Further exception classes to treat as transient."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: A count is below 1 or a wait is negative.
        """
        if self.attempts < 1 or self.malformed_attempts < 1:
            raise ValueError(
                f"retry policy with attempts={self.attempts!r}, malformed_attempts="
                f"{self.malformed_attempts!r}: both count the first try and must be at least 1"
            )
        if min(self.base_seconds, self.cap_seconds, *self.waits_seconds) < 0:
            raise ValueError("retry policy with a negative wait; give seconds >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Limits of a step that runs in a child process of its own."""

    memory_bytes: int | None = 2 * 1024**3
    """Address space of the child (RLIMIT_AS); None for no limit."""
    timeout: timedelta | None = None
    """Killed after this; None for the step's own timeout only."""
