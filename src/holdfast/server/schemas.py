"""What goes over the wire about jobs, in and out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from holdfast.model import JobStatus, SuspendReason
from holdfast.server import examples
from holdfast.server.access import Action

if TYPE_CHECKING:
    from holdfast.model import Artifact, Job, Usage
    from holdfast.server.access import Principal

NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
"""What names are made of: PostgreSQL keeps no NUL, and logs no line breaks."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_CONTROLS)]
Money = Annotated[Decimal, Field(ge=0, le=9_000_000_000, max_digits=19, decimal_places=9)]
"""US dollars; as much as the store can keep."""
Tokens = Annotated[int, Field(ge=0, le=2**63 - 1)]
JobId = Annotated[str, StringConstraints(pattern=r"^job_[0-9A-Z]{26}$")]
Priority = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]

_DELAY_SECONDS_MAX = 10 * 366 * 86_400


class Submission(BaseModel):
    """A job to be run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.SUBMISSION]})

    kind: Name = Field(description="A kind of `GET /kinds`.")
    input: Any = Field(None, description="Fits the `input_schema` of the kind.")
    queue: Name | None = Field(None, description="Instead of the kind's own.")
    priority: Priority | None = Field(None, description="Higher first; the kind's own by default.")
    tenant: Name | None = Field(
        None, description="Whose job it is; a key with a tenant makes all its jobs that tenant's."
    )
    subject: Name | None = Field(
        None, description="Whose personal data it holds: an id of your own, never an address or a name."
    )
    budget_usd: Money | None = Field(
        None, description="Most that its model calls may cost; null for no limit, the kind's if absent."
    )
    budget_tokens: Tokens | None = Field(
        None, description="Most tokens of its calls; null for no limit, the kind's if absent."
    )
    concurrency_key: Name | None = Field(
        None, description="Jobs with the same key share the limit of their kind."
    )
    delay_seconds: float | None = Field(
        None, ge=0, le=_DELAY_SECONDS_MAX, allow_inf_nan=False, description="Not started before."
    )


class ForkRequest(BaseModel):
    """What is to be different in the copy of a job."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.FORK]})

    keep: (
        Annotated[list[Annotated[str, StringConstraints(max_length=2_000)]], Field(max_length=100_000)]
        | None
    ) = Field(None, description="Keys of finished steps to keep; all of them if absent.")
    input: Any = Field(None, description="Another input; the source's if absent.")
    budget_usd: Money | None = Field(None, description="The source's if absent, null for no limit.")
    budget_tokens: Tokens | None = Field(None, description="The source's if absent, null for no limit.")


class SignalRequest(BaseModel):
    """Something that a job waits for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.SIGNAL]})

    name: Name
    payload: Any = None


class BudgetRequest(BaseModel):
    """The job's new limits; both are replaced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.BUDGET]})

    usd: Money | None = Field(description="US dollars; null for no limit.")
    tokens: Tokens | None = Field(description="Input plus output tokens; null for no limit.")


class TokenRequest(BaseModel):
    """How long a job's token is to be good for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"lifetime_seconds": 3600}]}
    )

    lifetime_seconds: int | None = Field(
        None, ge=1, le=366 * 86_400, description="Seven days if absent."
    )


class JobFilters(BaseModel):
    """Which jobs to list; all that are given have to fit."""

    kind: Name | None = None
    status: JobStatus | None = None
    tenant: Name | None = None
    subject: Name | None = None
    parent_id: JobId | None = Field(None, description="Only children of this job.")
    created_since: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    cursor: JobId | None = Field(None, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=500)


class ProgressView(BaseModel):
    """How far a job is, by its own account and its children's."""

    done: float
    total: float
    fraction: float
    label: str = Field(
        description="What the job is at, in its own words; empty for keys that do not allow `content`."
    )
    eta_seconds: float | None
    at: datetime | None = Field(description="When this was computed.")


class UsageView(BaseModel):
    """What provider calls have cost; calls in flight at a crash are counted apart, as uncertain."""

    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal
    unpriced_calls: int
    uncertain_calls: int
    uncertain_usd: Decimal
    reserved_tokens: int = Field(description="Reserved by calls in flight.")
    reserved_usd: Decimal


class ErrorView(BaseModel):
    """Why a job failed."""

    type: str
    code: str
    message: str
    details: dict[str, Any] = Field(description="Fields of the error, such as `step_key`.")


class ArtifactView(BaseModel):
    """A file that a job has saved."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ARTIFACT]})

    name: str
    size_bytes: int
    media_type: str
    sha256: str


class JobView(BaseModel):
    """A job as the service shows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    job_id: str
    kind: str
    queue: str
    status: JobStatus
    suspend_reason: SuspendReason | None = Field(description="What a suspended job waits for.")
    priority: int
    tenant: str | None
    subject: str | None = Field(description="Whose personal data it holds; null for a job's token.")
    idempotency_key: str | None = Field(description="Null for a job's token.")
    parent_id: str | None
    concurrency_key: str | None
    attempt: int
    lost_workers: int = Field(description="Workers that vanished while running its unfinished step.")
    worker_id: str | None = Field(description="Who runs it; null for a job's token.")
    active_seconds: float = Field(description="Time under a worker in attempts that have ended.")
    progress: ProgressView
    usage: UsageView
    budget_usd: Decimal | None
    budget_tokens: int | None
    error: ErrorView | None
    content: bool = Field(
        description="Whether input and output are shown: to keys that allow `content`, not in lists."
    )
    input: Any = Field(None, description="Null unless `content`.")
    output: Any = Field(None, description="Null unless `content`, and until the job has completed.")
    event_seq: int = Field(description="Number of its last event.")
    created_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


class JobPage(BaseModel):
    """Some jobs, newest first; input and output are left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB_PAGE]})

    jobs: list[JobView]
    next_cursor: str | None = Field(description="Give it as `cursor` for those before; null at the end.")


class SignalAccepted(BaseModel):
    """Where the signal stands in the job's log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seq": 17}]})

    seq: int


class TokenView(BaseModel):
    """A token that lets its holder see one job; it is on record nowhere."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TOKEN]})

    token: str
    expires_at: datetime


def view_of(job: Job, principal: Principal, *, content: bool = True) -> JobView:
    """Return what a principal may see of a job; `content` False leaves input and output out anyway.

    Error messages are always shown: they are what an operator goes by.
    """
    sees_content = Action.CONTENT in principal.actions
    shown = content and sees_content
    # A job's token is in an end user's browser, which these are no business of.
    inside = principal.job_id is None
    error = job.error
    progress = job.progress
    return JobView(
        job_id=job.job_id,
        kind=job.kind,
        queue=job.queue,
        status=job.status,
        suspend_reason=job.suspend_reason,
        priority=job.priority,
        tenant=job.tenant,
        subject=job.subject if inside else None,
        idempotency_key=job.idempotency_key if inside else None,
        parent_id=job.parent_id,
        concurrency_key=job.concurrency_key,
        attempt=job.attempt,
        lost_workers=job.lost_workers,
        worker_id=job.worker_id if inside else None,
        active_seconds=job.active_seconds,
        progress=ProgressView(
            done=progress.done,
            total=progress.total,
            fraction=progress.fraction,
            # The author's words, which may be made of what the job holds.
            label=progress.label if sees_content else "",
            eta_seconds=progress.eta_seconds,
            at=progress.at,
        ),
        usage=usage_view(job.usage),
        budget_usd=job.budget.usd,
        budget_tokens=job.budget.tokens,
        error=None
        if error is None
        else ErrorView(type=error.type, code=error.code, message=error.message, details=error.details),
        content=shown,
        input=msgspec.json.decode(job.input) if shown and job.input else None,
        output=msgspec.json.decode(job.output) if shown and job.output is not None else None,
        event_seq=job.event_seq,
        created_at=job.created_at,
        available_at=job.available_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested_at=job.cancel_requested_at,
    )


def usage_view(usage: Usage) -> UsageView:
    """Return what is shown of usage."""
    return UsageView(
        calls=usage.calls,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        usd=usage.usd,
        unpriced_calls=usage.unpriced_calls,
        uncertain_calls=usage.uncertain_calls,
        uncertain_usd=usage.uncertain_usd,
        reserved_tokens=usage.reserved_tokens,
        reserved_usd=usage.reserved_usd,
    )


def artifact_view(artifact: Artifact) -> ArtifactView:
    """Return what is shown of an artifact."""
    return ArtifactView(
        name=artifact.name,
        size_bytes=artifact.size_bytes,
        media_type=artifact.media_type,
        sha256=artifact.sha256,
    )
