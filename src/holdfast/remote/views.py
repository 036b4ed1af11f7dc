"""What comes over the wire becomes the values that the same calls give locally."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model import (
    Artifact,
    Budget,
    Call,
    CallStatus,
    Checkpoint,
    Event,
    Job,
    JobStatus,
    Progress,
    StoredError,
    SuspendReason,
    UndoCall,
    Usage,
)

_NULL = b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedArtifact(Artifact):
    """An artifact that knows whose it is, so that its content can be asked for."""

    job_id: str


class _Progress(msgspec.Struct):
    done: float
    total: float
    label: str
    eta_seconds: float | None
    at: datetime | None = None


class _Usage(msgspec.Struct):
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal
    unpriced_calls: int
    uncertain_calls: int
    uncertain_usd: Decimal
    reserved_tokens: int = 0
    reserved_usd: Decimal = Decimal(0)


class _Error(msgspec.Struct):
    type: str
    code: str
    message: str
    details: dict[str, Any] = {}


class JobView(msgspec.Struct):
    """A job as the service shows it; what an older one does not tell has a default."""

    job_id: str
    kind: str
    queue: str
    status: JobStatus
    suspend_reason: SuspendReason | None
    priority: int
    tenant: str | None
    parent_id: str | None
    attempt: int
    progress: _Progress
    usage: _Usage
    budget_usd: Decimal | None
    budget_tokens: int | None
    error: _Error | None
    event_seq: int
    created_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    content: bool = False
    """Whether input and output are shown."""
    input: msgspec.Raw = msgspec.Raw(_NULL)
    output: msgspec.Raw = msgspec.Raw(_NULL)
    subject: str | None = None
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    lost_workers: int = 0
    worker_id: str | None = None
    active_seconds: float = 0.0


class JobPage(msgspec.Struct):
    """Some jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None


class SignalAccepted(msgspec.Struct):
    """Where a signal stands in the job's log."""

    seq: int


class _ArtifactView(msgspec.Struct):
    name: str
    size_bytes: int
    media_type: str
    sha256: str


class ArtifactList(msgspec.Struct):
    """The files of a job."""

    artifacts: list[_ArtifactView]


class _StepView(msgspec.Struct):
    key: str
    finished: bool
    seconds: float
    attempts: int
    starts: int
    number: int
    finished_at: datetime | None
    artifact: _ArtifactView | None = None
    undo: str | None = None


class StepList(msgspec.Struct):
    """The steps of a job."""

    steps: list[_StepView]


class _CallView(msgspec.Struct):
    call_id: str
    step_key: str
    step_attempt: int
    provider: str
    model: str
    status: CallStatus
    reserved_tokens: int
    reserved_usd: Decimal | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal | None
    error_code: str | None
    started_at: datetime
    ended_at: datetime | None
    epoch: int = 0
    response_id: str | None = None


class UsageReport(msgspec.Struct):
    """The ledger of a job."""

    calls: list[_CallView]


class EventView(msgspec.Struct):
    """One numbered fact about a job."""

    seq: int
    type: str
    at: datetime
    data: msgspec.Raw


class EventPage(msgspec.Struct):
    """Some of a job's events, in order."""

    events: list[EventView]


def job_of(view: JobView) -> Job:
    """Return the job; its input is empty and its output None where they are not shown."""
    completed = view.status is JobStatus.COMPLETED
    usage, progress, error = view.usage, view.progress, view.error
    return Job(
        job_id=view.job_id,
        kind=view.kind,
        queue=view.queue,
        status=view.status,
        input=bytes(view.input) if view.content else b"",
        output=bytes(view.output) if view.content and completed else None,
        error=None
        if error is None
        else StoredError(type=error.type, code=error.code, message=error.message, details=error.details),
        suspend_reason=view.suspend_reason,
        priority=view.priority,
        tenant=view.tenant,
        subject=view.subject,
        idempotency_key=view.idempotency_key,
        parent_id=view.parent_id,
        concurrency_key=view.concurrency_key,
        attempt=view.attempt,
        lost_workers=view.lost_workers,
        worker_id=view.worker_id,
        event_seq=view.event_seq,
        budget=Budget(usd=view.budget_usd, tokens=view.budget_tokens),
        usage=Usage(**{name: getattr(usage, name) for name in usage.__struct_fields__}),
        progress=Progress(**{name: getattr(progress, name) for name in progress.__struct_fields__}),
        cancel_requested_at=view.cancel_requested_at,
        created_at=view.created_at,
        available_at=view.available_at,
        started_at=view.started_at,
        finished_at=view.finished_at,
        active_seconds=view.active_seconds,
    )


def event_of(view: EventView, job_id: str) -> Event:
    """Return the event."""
    return Event(job_id=job_id, seq=view.seq, type=view.type, data=bytes(view.data), at=view.at)


def artifact_of(view: _ArtifactView, job_id: str) -> ServedArtifact:
    """Return the artifact."""
    return ServedArtifact(
        name=view.name,
        sha256=view.sha256,
        size_bytes=view.size_bytes,
        media_type=view.media_type,
        job_id=job_id,
    )


def checkpoint_of(view: _StepView, job_id: str) -> Checkpoint:
    """Return what is known of a step."""
    return Checkpoint(
        key=view.key,
        finished=view.finished,
        undo=None if view.undo is None else UndoCall(function=view.undo, arguments=b"[[],{}]"),
        seconds=view.seconds,
        attempts=view.attempts,
        number=view.number,
        starts=view.starts,
        finished_at=view.finished_at,
        artifact=None if view.artifact is None else artifact_of(view.artifact, job_id),
    )


def call_of(view: _CallView, job_id: str) -> Call:
    """Return the ledger's entry."""
    return Call(job_id=job_id, **{name: getattr(view, name) for name in view.__struct_fields__})
