"""What goes over the wire, in and out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from holdfast.model import JobStatus, SuspendReason
from holdfast.server.access import Action

if TYPE_CHECKING:
    from holdfast.model import Job
    from holdfast.server.access import Principal


class ProgressView(BaseModel):
    """How far a job is, by its own account."""

    done: float
    total: float
    fraction: float
    label: str
    eta_seconds: float | None


class UsageView(BaseModel):
    """What the provider calls of a job have cost."""

    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal
    unpriced_calls: int
    uncertain_calls: int
    uncertain_usd: Decimal


class ErrorView(BaseModel):
    """Why a job failed."""

    type: str
    code: str
    message: str


class JobView(BaseModel):
    """A job as the service shows it."""

    job_id: str
    kind: str
    queue: str
    status: JobStatus
    suspend_reason: SuspendReason | None
    priority: int
    tenant: str | None
    parent_id: str | None
    attempt: int
    progress: ProgressView
    usage: UsageView
    budget_usd: Decimal | None
    budget_tokens: int | None
    error: ErrorView | None
    input: Any = None
    output: Any = None
    event_seq: int
    created_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


def view_of(job: Job, principal: Principal, *, content: bool = True) -> JobView:
    """Return what a principal may see of a job; `content` False leaves input and output out anyway."""
    shown = content and Action.CONTENT in principal.actions
    error = job.error
    usage, progress = job.usage, job.progress
    return JobView(
        job_id=job.job_id,
        kind=job.kind,
        queue=job.queue,
        status=job.status,
        suspend_reason=job.suspend_reason,
        priority=job.priority,
        tenant=job.tenant,
        parent_id=job.parent_id,
        attempt=job.attempt,
        progress=ProgressView(
            done=progress.done,
            total=progress.total,
            fraction=progress.fraction,
            label=progress.label,
            eta_seconds=progress.eta_seconds,
        ),
        usage=UsageView(
            calls=usage.calls,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            usd=usage.usd,
            unpriced_calls=usage.unpriced_calls,
            uncertain_calls=usage.uncertain_calls,
            uncertain_usd=usage.uncertain_usd,
        ),
        budget_usd=job.budget.usd,
        budget_tokens=job.budget.tokens,
        error=None
        if error is None
        else ErrorView(type=error.type, code=error.code, message=error.message if shown else ""),
        input=msgspec.json.decode(job.input) if shown and job.input else None,
        output=msgspec.json.decode(job.output) if shown and job.output is not None else None,
        event_seq=job.event_seq,
        created_at=job.created_at,
        available_at=job.available_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested_at=job.cancel_requested_at,
    )
