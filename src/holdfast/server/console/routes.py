"""The pages, each a way to look; what changes something is in `actions` and `sessions`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from holdfast.model import Job, JobStatus
from holdfast.server.access import Principal
from holdfast.server.auth import reach
from holdfast.server.console import actions, sessions
from holdfast.server.console.charts import HEIGHT, OTHERS, chart_of
from holdfast.server.console.failures import grouped_failures
from holdfast.server.console.job_page import committed, eta_of, job_page
from holdfast.server.console.pages import PACKAGE, PageRoute, base_of, render
from holdfast.server.console.viewing import Anyone, Looking, Overseeing
from holdfast.server.html import redirect
from holdfast.server.service import Service, service_of
from holdfast.server.static_files import static_answer
from holdfast.store.base import JobQuery
from holdfast.store.service import SpendGroup, SpendQuery

JOBS_SHOWN = 50
FAILURES_SEEN = 200
"""Failed jobs that the page of failures looks at."""

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

PERIODS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_SLOTS = {
    "hour": timedelta(minutes=2),
    "day": timedelta(hours=1),
    "week": timedelta(hours=6),
    "month": timedelta(days=1),
}
_UNNAMED = {"tenant": "no tenant", "kind": "", "model": ""}

pages = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

Here = Annotated[Service, Depends(service_of)]


@pages.get("", name="console")
async def show_console(request: Request, _: Anyone) -> Response:
    """Go to the jobs, which is what people come for."""
    return redirect(f"{base_of(request)}/jobs")


@pages.get("/static/{name}")
async def send_static(name: str) -> Response:
    """Send the style or the script."""
    return static_answer(PACKAGE, name)


@pages.get("/jobs")
async def show_jobs(
    request: Request,
    here: Here,
    viewer: Looking,
    *,
    kind: str = "",
    status: str = "",
    tenant: str = "",
    within: str = "",
    before: str = "",
) -> Response:
    """Show jobs, newest first."""
    chosen = {"kind": kind, "status": status, "tenant": tenant, "within": within}
    now, period = here.clock.now(), PERIODS.get(within)
    query = JobQuery(
        kind=kind or None,
        status=JobStatus(status) if status in set(JobStatus) else None,
        tenant=tenant or None,
        before=before or None,
        created_since=None if period is None else now - period,
        limit=JOBS_SHOWN + 1,
        content=False,
    )
    found = await _list_jobs(here, viewer.principal, query)
    return render(
        request,
        "jobs.html",
        viewer,
        jobs=found[:JOBS_SHOWN],
        etas={job.job_id: eta_of(job, now) for job in found},
        older=found[JOBS_SHOWN - 1].job_id if len(found) > JOBS_SHOWN else "",
        chosen=chosen,
        before=before,
        kinds=sorted(here.registry.names),
        statuses=[status.value for status in JobStatus],
        periods=tuple(PERIODS),
        interval=2,
    )


@pages.get("/jobs/{job_id}")
async def show_job(
    request: Request, job_id: str, here: Here, viewer: Looking, done: str = ""
) -> Response:
    """Show all of a job."""
    await reach(here, viewer.principal, job_id)
    page = await job_page(here, viewer.principal, job_id)
    return render(
        request,
        "job.html",
        viewer,
        page=page,
        job=page.job,
        committed=committed(page.job.usage),
        done=done,
        interval=_interval(page.job, page.now),
    )


@pages.get("/queues")
async def show_queues(request: Request, here: Here, viewer: Overseeing) -> Response:
    """Show the lines of jobs, and who works on them."""
    queues = await here.records.list_queues(here.clock.now())
    workers = await here.records.list_workers()
    return render(request, "queues.html", viewer, queues=queues, workers=workers, interval=5)


@pages.get("/lanes")
async def show_lanes(request: Request, here: Here, viewer: Overseeing) -> Response:
    """Show what provider accounts allow, and how much of it is used."""
    now = here.clock.now()
    lanes = await here.records.list_lanes(now)
    last = SpendQuery(since=now - MINUTE, until=now, slot=MINUTE, group="lane")
    used = {row.name: row.usage for row in await here.records.sum_spend(last)}
    return render(request, "lanes.html", viewer, lanes=lanes, used=used, interval=2)


@pages.get("/spend")
async def show_spend(
    request: Request, here: Here, viewer: Overseeing, period: str = "day", by: SpendGroup = "kind"
) -> Response:
    """Show what calls have cost over time."""
    period = period if period in PERIODS else "day"
    principal, slot = viewer.principal, _SLOTS[period]
    until = _ceiling(here.clock.now(), slot)
    query = SpendQuery(
        since=until - PERIODS[period],
        until=until,
        slot=slot,
        group=by,
        tenant=principal.tenant,
        kinds=None if principal.kinds is None else tuple(principal.kinds),
    )
    rows = await here.records.sum_spend(query)
    return render(
        request,
        "spend.html",
        viewer,
        chart=chart_of(rows, query, _UNNAMED[by]),
        height=HEIGHT,
        others=OTHERS,
        rows=rows,
        query=query,
        period=period,
        periods=tuple(PERIODS),
        by=by,
        groups=("kind", "model", "tenant"),
        interval=30,
    )


@pages.get("/failures")
async def show_failures(request: Request, here: Here, viewer: Looking) -> Response:
    """Show failed jobs by what was behind them."""
    query = JobQuery(status=JobStatus.FAILED, limit=FAILURES_SEEN, content=False)
    failed = await _list_jobs(here, viewer.principal, query)
    return render(
        request,
        "failures.html",
        viewer,
        groups=grouped_failures(failed),
        count=len(failed),
        most=FAILURES_SEEN,
        interval=15,
    )


async def _list_jobs(here: Service, principal: Principal, query: JobQuery) -> list[Job]:
    """Return the jobs of a query that the principal reaches."""
    if principal.tenant is not None:
        if query.tenant not in (None, principal.tenant):
            return []
        query = replace(query, tenant=principal.tenant)
    if principal.kinds is not None:
        query = replace(query, kinds=tuple(sorted(principal.kinds)))
    return [job for job in await here.store.list_jobs(query) if principal.sees(job)]


def _interval(job: Job, now: datetime) -> int:
    """Return after how many seconds a job's page looks again: seldom once nothing is to be expected."""
    if job.status.terminal:
        return 15
    if job.status is JobStatus.SUSPENDED or now - (job.started_at or job.created_at) > HOUR:
        return 5
    return 2


def _ceiling(at: datetime, slot: timedelta) -> datetime:
    """Return the end of the span that a moment lies in, so that spans begin at round times."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((at - midnight) // slot + 1) * slot


router = APIRouter()
for part in (pages, sessions.router, actions.router):
    router.include_router(part)
