"""Jobs over HTTP: submit, look, steer."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from holdfast.engine.progress import with_family_progress
from holdfast.errors import AccessDeniedError, UnknownJobKindError
from holdfast.model import Budget
from holdfast.server.access import Action, Principal
from holdfast.server.allowances import check_budget, check_line, check_submission
from holdfast.server.auth import Controller, Lister, Reader, Submitter, reach
from holdfast.server.conditional import matches
from holdfast.server.polling import poll_seconds
from holdfast.server.problems import CONFLICT, NOT_FOUND, ProblemRoute
from holdfast.server.schemas import (
    BudgetRequest,
    ForkRequest,
    JobFilters,
    JobPage,
    JobView,
    SignalAccepted,
    SignalRequest,
    Submission,
    view_of,
)
from holdfast.server.service import Here
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from holdfast.model import Job

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ProblemRoute)

_LOCATION = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=JobView,
    responses={
        202: {
            "headers": {
                **_LOCATION,
                "Idempotent-Replayed": {
                    "description": "`true` when the idempotency key found this job.",
                    "schema": {"type": "string"},
                },
            }
        },
        **CONFLICT,
    },
)
async def submit_job(
    submission: Submission,
    request: Request,
    here: Here,
    principal: Submitter,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="1 to 255 characters; the same key with the same request gives the same job."
        ),
    ] = None,
) -> Response:
    """Accept a job: once this has answered, it will reach an end, whatever dies.

    The answer waits for the disk, never for a worker or a broker.
    """
    if not principal.sees_kind(submission.kind):
        known = tuple(name for name in here.registry.names if principal.sees_kind(name))
        raise UnknownJobKindError(kind=submission.kind, known=known)
    if principal.tenant is not None and submission.tenant not in {None, principal.tenant}:
        raise AccessDeniedError(name=principal.name, action=f"submit for tenant {submission.tenant}")
    kind = here.registry.get(submission.kind)
    check_submission(principal, submission, kind)
    budget = _budget(submission, kind.budget)
    check_budget(principal, budget, kind.budget)
    delay = submission.delay_seconds
    submitted = await here.client.submissions.accept(
        submission.kind,
        submission.input,
        idempotency_key=idempotency_key,
        queue=submission.queue,
        priority=submission.priority,
        tenant=principal.tenant or submission.tenant,
        subject=submission.subject,
        budget=budget,
        concurrency_key=submission.concurrency_key,
        delay=None if delay is None else timedelta(seconds=delay),
    )
    headers = {"Location": f"{request.url.path.rstrip('/')}/{submitted.job.job_id}"}
    if not submitted.created:
        headers["Idempotent-Replayed"] = "true"
    return _answer(submitted.job, principal, 202, headers)


@router.get("", summary="List jobs")
async def list_jobs(here: Here, principal: Lister, filters: Annotated[JobFilters, Query()]) -> JobPage:
    """Return jobs within reach of the key, newest first."""
    if principal.tenant is not None and filters.tenant not in {None, principal.tenant}:
        return JobPage(jobs=[], next_cursor=None)
    if filters.kind is not None and not principal.sees_kind(filters.kind):
        return JobPage(jobs=[], next_cursor=None)
    limit = filters.limit
    query = JobQuery(
        kind=filters.kind,
        kinds=None if principal.kinds is None else tuple(sorted(principal.kinds)),
        status=filters.status,
        tenant=principal.tenant or filters.tenant,
        subject=filters.subject,
        parent_id=filters.parent_id,
        before=filters.cursor,
        created_since=filters.created_since,
        created_before=filters.created_before,
        # One more tells whether there is another page.
        limit=limit + 1,
        content=False,
    )
    found = await here.client.list(query)
    page = found[:limit]
    return JobPage(
        jobs=[view_of(job, principal, content=False) for job in page],
        next_cursor=page[-1].job_id if len(found) > limit else None,
    )


@router.get(
    "/{job_id}",
    summary="Get a job",
    response_model=JobView,
    responses={
        200: {
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "Retry-After": {
                    "description": "Seconds after which to ask again; absent once the job has ended.",
                    "schema": {"type": "integer"},
                },
            }
        },
        304: {"description": "It is as `If-None-Match` knows it."},
        **NOT_FOUND,
    },
)
async def get_job(job_id: str, request: Request, here: Here, principal: Reader) -> Response:
    """Return a job: status, progress, usage; input and output only to who may see content."""
    job = await with_family_progress(here.store, await reach(here, principal, job_id))
    headers = {"ETag": _etag(job, principal)}
    if not job.status.terminal:
        headers["Retry-After"] = str(poll_seconds(job.created_at, here.clock.now()))
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return _answer(job, principal, 200, headers)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=JobView,
    responses={**NOT_FOUND, **CONFLICT},
)
async def cancel_job(job_id: str, here: Here, principal: Controller) -> Response:
    """Ask for the job's end; its worker acts within a second. Repeating it changes nothing."""
    await reach(here, principal, job_id)
    return _answer(await here.client.cancel(job_id), principal, 202)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Retry a job",
    response_model=JobView,
    responses={**NOT_FOUND, **CONFLICT},
)
async def retry_job(job_id: str, here: Here, principal: Controller) -> Response:
    """Run a failed or cancelled job again from where it ended; finished steps stay."""
    await reach(here, principal, job_id)
    return _answer(await here.client.retry(job_id), principal, 202)


@router.post(
    "/{job_id}/fork",
    status_code=202,
    summary="Fork a job",
    response_model=JobView,
    responses={202: {"headers": _LOCATION}, **NOT_FOUND},
)
async def fork_job(
    job_id: str,
    *,
    request: Request,
    here: Here,
    principal: Submitter,
    fork: ForkRequest | None = None,
) -> Response:
    """Queue a copy of a job that keeps its finished steps, or only those named."""
    source = await reach(here, principal, job_id)
    fork = fork or ForkRequest()
    kind = here.registry.get(source.kind)
    check_line(principal, source.queue, source.priority, kind)
    budget = _budget(fork, source.budget)
    check_budget(principal, budget, kind.budget)
    job = await here.client.fork(job_id, keep=fork.keep, value=fork.input, budget=budget)
    jobs = request.url.path.removesuffix("/fork").rpartition("/")[0]
    return _answer(job, principal, 202, {"Location": f"{jobs}/{job.job_id}"})


@router.post(
    "/{job_id}/signals", status_code=202, summary="Signal a job", responses={**NOT_FOUND, **CONFLICT}
)
async def signal_job(
    job_id: str, signal: SignalRequest, here: Here, principal: Controller
) -> SignalAccepted:
    """Send the job a signal; it finds it when it waits for that name, now or later."""
    await reach(here, principal, job_id)
    return SignalAccepted(seq=await here.client.signal(job_id, signal.name, signal.payload))


@router.put(
    "/{job_id}/budget",
    summary="Set a job's budget",
    response_model=JobView,
    responses={**NOT_FOUND, **CONFLICT},
)
async def set_budget(job_id: str, budget: BudgetRequest, here: Here, principal: Controller) -> Response:
    """Replace both limits; a job that waits for budget goes on."""
    await reach(here, principal, job_id)
    changed = await here.client.set_budget(job_id, Budget(usd=budget.usd, tokens=budget.tokens))
    return _answer(changed, principal, 200)


def _budget(asked: Submission | ForkRequest, default: Budget) -> Budget:
    """Return the default with those limits replaced that were given; null takes one away."""
    given = asked.model_fields_set
    return Budget(
        usd=asked.budget_usd if "budget_usd" in given else default.usd,
        tokens=asked.budget_tokens if "budget_tokens" in given else default.tokens,
    )


def _answer(
    job: Job, principal: Principal, status_code: int, headers: dict[str, str] | None = None
) -> Response:
    """Return a job with its input and output as they are stored: they may be large, and nested deep."""
    shown = Action.CONTENT in principal.actions
    view = view_of(job, principal, content=False).model_copy(update={"content": shown})
    told = view.model_dump_json(exclude={"input", "output"})
    parts = (
        *(told.encode().removesuffix(b"}"), b',"input":', job.input if shown and job.input else b"null"),
        *(b',"output":', job.output if shown and job.output is not None else b"null", b"}"),
    )
    return Response(b"".join(parts), status_code, headers, media_type="application/json")


def _etag(job: Job, principal: Principal) -> str:
    """Return what changes when the answer does; progress and usage may, without an event."""
    shown = Action.CONTENT in principal.actions
    told = (job.event_seq, job.status, shown, job.progress, job.usage, job.cancel_requested_at)
    return f'W/"{hashlib.sha256(f"{job.job_id} {told}".encode()).hexdigest()[:32]}"'
