"""What the auditor compares: plain values, however they were come by. Times are seconds of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SETTLED, FAILED, LOST = "settled", "failed", "lost"
RESERVED, UNCERTAIN = "reserved", "uncertain"

BOOKED = frozenset({SETTLED, FAILED, LOST})
"""What a call is in the ledger whose cost is on the job's row."""
ITEMISED = frozenset({LOST, UNCERTAIN})
"""What it is when a later attempt had to make it again though it may be paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidCall:
    """A call in the provider's book."""

    call_id: str
    question: str
    """Equal for equal questions."""
    began: float
    ended: float | None
    answered: bool
    """Whether a whole answer went out: it is paid."""
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCall:
    """A call in the ledger."""

    call_id: str
    job_id: str
    step_key: str
    epoch: int
    status: str
    input_tokens: int = 0
    output_tokens: int = 0
    nanos: int = 0
    reserved_tokens: int = 0
    began: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a job is known to do, by its input."""

    name: str
    """What it was submitted as."""
    steps: int | None = None
    """How many questions it asks; None where that is not known."""
    rest_seconds: float | None = None
    """How long it sleeps; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as the store has it in the end."""

    job_id: str
    kind: str
    asked: Asked
    status: str
    event_seq: int
    parent_id: str | None = None
    output: Any = None
    error_code: str | None = None
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    spent_nanos: int = 0
    uncertain_calls: int = 0
    uncertain_tokens: int = 0
    reserved_calls: int = 0
    reserved_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event of a job."""

    job_id: str
    seq: int
    type: str
    at: float = 0.0
    key: str = ""
    """Of the step, where it is about one."""
    epoch: int = 0
    """Where an attempt starts."""
    worker_id: str = ""
    """Where an attempt starts."""
    until: float | None = None
    """Where a job is suspended until a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A life of a worker's process."""

    name: str
    worker_ids: tuple[str, ...]
    began: float
    ended: float | None
    status: int | None
    forced: bool = False
    """Whether it had to be killed in the end, because it did not leave."""
    told: tuple[tuple[str, float], ...] = ()
    """Signals that it was sent, with their times."""
    blows: tuple[tuple[float, float], ...] = ()
    """When it could not go on or not renew its lease: at SIGKILL, from SIGSTOP until it had woken up
    after SIGCONT, and while the store was away for nearly as long as a lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A server was away."""

    server: str
    """`store` or `broker`."""
    began: float
    ended: float


@dataclass(slots=True, kw_only=True)
class Books:
    """All that is known after a run."""

    submitted: dict[str, str]
    """Name of each job, with the output it must end with."""
    drain_seconds: float
    """How long a worker may take to leave after SIGTERM."""
    jobs: list[JobRow] = field(default_factory=list)
    events: list[Happening] = field(default_factory=list)
    ledger: list[LedgerCall] = field(default_factory=list)
    provider: list[PaidCall] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    orphan_rows: dict[str, int] = field(default_factory=dict)
    """Rows of a table that belong to no job."""
    workers_left: list[str] = field(default_factory=list)
    """Workers that the store still knows though all have left."""
    files_unknown: list[str] = field(default_factory=list)
    """Files in artifact storage that no row names."""
    files_missing: list[str] = field(default_factory=list)
    """Artifacts that a row names and that are not in storage, or are damaged."""
    processes_left: list[int] = field(default_factory=list)
    errors_logged: list[str] = field(default_factory=list)
    """What workers have logged as unexpected: tracebacks."""
