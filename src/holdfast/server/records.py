"""What is on record of a job: its steps, and what its calls have cost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from holdfast.model import Call, CallStatus, Checkpoint
from holdfast.server import examples
from holdfast.server.auth import Reader, reach
from holdfast.server.problems import NOT_FOUND, ProblemRoute
from holdfast.server.schemas import ArtifactView, UsageView, artifact_view, usage_view
from holdfast.server.service import Here

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ProblemRoute)


class StepView(BaseModel):
    """What is known of a step; not its result."""

    key: str
    finished: bool = Field(description="False while it is only begun.")
    seconds: float = Field(description="How long the attempt took that finished it.")
    attempts: int = Field(description="Tries within the job's attempt that finished it.")
    starts: int = Field(description="Times it was begun on record without finishing.")
    number: int = Field(description="Order of beginning or finishing within the job.")
    finished_at: datetime | None
    artifact: ArtifactView | None = Field(description="The file that it saved.")
    undo: str | None = Field(description="The function that takes it back.")


class StepList(BaseModel):
    """The steps of a job, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.STEPS]})

    steps: list[StepView]


class CallView(BaseModel):
    """One provider call in the ledger."""

    call_id: str
    step_key: str
    step_attempt: int
    epoch: int = Field(description="Which claim of the job made it.")
    provider: str
    model: str
    status: CallStatus
    reserved_tokens: int
    reserved_usd: Decimal | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal | None = Field(description="Null while it runs, and where the price is unknown.")
    response_id: str | None = Field(description="The provider's id of the answer.")
    error_code: str | None
    started_at: datetime
    ended_at: datetime | None


class ModelUsageView(BaseModel):
    """What the calls of one model have used and cost."""

    provider: str
    model: str
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal = Field(description="Of the calls with a known price.")


class UsageReport(BaseModel):
    """What a job has cost: in sum, by model, and call by call."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.USAGE]})

    usage: UsageView = Field(description="The job's own calls and those of its children.")
    by_model: list[ModelUsageView]
    possibly_paid_twice: list[CallView] = Field(
        description="Calls that a later attempt had to make again though they may be paid for."
    )
    calls: list[CallView] = Field(description="The job's own, oldest first.")


@router.get("/{job_id}/steps", summary="List a job's steps", responses=NOT_FOUND)
async def list_steps(job_id: str, here: Here, principal: Reader) -> StepList:
    """Return what is on record of the job's steps, without their results."""
    await reach(here, principal, job_id)
    records = await here.store.get_records(job_id)
    return StepList(steps=[_step_view(found) for found in records.checkpoints])


@router.get("/{job_id}/usage", summary="Get a job's usage", responses=NOT_FOUND)
async def get_usage(job_id: str, here: Here, principal: Reader) -> UsageReport:
    """Return tokens and money of the job's model calls; calls possibly paid twice are itemised."""
    job = await reach(here, principal, job_id)
    calls = (await here.store.get_records(job_id)).calls
    return UsageReport(
        usage=usage_view(job.usage),
        by_model=sums_by_model(calls),
        possibly_paid_twice=[_call_view(call) for call in calls if call.status.repeats],
        calls=[_call_view(call) for call in calls],
    )


def _step_view(found: Checkpoint) -> StepView:
    return StepView(
        key=found.key,
        finished=found.finished,
        seconds=found.seconds,
        attempts=found.attempts,
        starts=found.starts,
        number=found.number,
        finished_at=found.finished_at,
        artifact=None if found.artifact is None else artifact_view(found.artifact),
        undo=None if found.undo is None else found.undo.function,
    )


def _call_view(call: Call) -> CallView:
    return CallView(**{name: getattr(call, name) for name in CallView.model_fields})


def sums_by_model(calls: Iterable[Call]) -> list[ModelUsageView]:
    """Return what the calls of each model come to, by name."""
    sums: dict[tuple[str, str], ModelUsageView] = {}
    for call in calls:
        of = sums.setdefault(
            (call.provider, call.model),
            ModelUsageView(
                provider=call.provider,
                model=call.model,
                calls=0,
                input_tokens=0,
                cached_tokens=0,
                output_tokens=0,
                usd=Decimal(0),
            ),
        )
        of.calls += 1
        of.input_tokens += call.input_tokens
        of.cached_tokens += call.cached_tokens
        of.output_tokens += call.output_tokens
        of.usd += call.usd or 0
    return [sums[name] for name in sorted(sums)]
