"""What operators ask over HTTP: lines, workers, lanes, spend."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from holdfast.errors import InvalidInputError
from holdfast.model import SuspendReason
from holdfast.server import examples
from holdfast.server.auth import Admin
from holdfast.server.problems import ProblemRoute
from holdfast.server.service import Here
from holdfast.store.service import LaneUse, QueueState, Spend, SpendGroup, SpendQuery, WorkerState

router = APIRouter(tags=["operations"], route_class=ProblemRoute)

DAY = timedelta(days=1)


class QueueView(BaseModel):
    """A line of jobs."""

    queue: str
    ready: int
    delayed: int
    held_back: int
    running: int
    suspended: dict[SuspendReason, int]
    oldest_at: datetime | None


class QueuesView(BaseModel):
    """All lines."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"queues": [examples.QUEUE]}]})

    queues: list[QueueView]


class WorkerView(BaseModel):
    """A worker on record."""

    worker_id: str
    host: str
    pid: int
    queues: list[str] | None
    slots: int
    running: int
    heartbeat_at: datetime
    expires_at: datetime


class WorkersView(BaseModel):
    """All workers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"workers": [examples.WORKER]}]})

    workers: list[WorkerView]


class LaneView(BaseModel):
    """A lane, and how much of its limits is free."""

    lane: str
    requests_per_minute: float
    tokens_per_minute: float
    rate_factor: float
    requests_free: float
    requests_room: float
    tokens_free: float
    tokens_room: float
    processes_waiting: int
    paused_until: datetime | None
    held_until: datetime | None
    held_reason: str | None


class LanesView(BaseModel):
    """All lanes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lanes": [examples.LANE]}]})

    lanes: list[LaneView]


class SpendView(BaseModel):
    """What the calls of one kind, model or tenant have cost within one span of time."""

    at: datetime
    name: str | None
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal
    unpriced_calls: int
    uncertain_calls: int
    uncertain_usd: Decimal


class SpendSumsView(BaseModel):
    """Sums over time; spans without a call are left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.SPEND]})

    since: datetime
    until: datetime
    bucket_seconds: float
    by: str
    spend: list[SpendView]


@router.get("/queues")
async def list_queues(here: Here, _: Admin) -> QueuesView:
    """Return how many jobs each queue has, and how long the oldest has waited."""
    found = await here.records.list_queues(here.clock.now())
    return QueuesView(queues=[_queue(state) for state in found])


@router.get("/workers")
async def list_workers(here: Here, _: Admin) -> WorkersView:
    """Return who works, on what, and when it was last heard of."""
    found = await here.records.list_workers()
    return WorkersView(workers=[_worker(state) for state in found])


@router.get("/lanes")
async def list_lanes(here: Here, _: Admin) -> LanesView:
    """Return what provider accounts allow, and how much of it is free."""
    found = await here.records.list_lanes(here.clock.now())
    return LanesView(lanes=[_lane(use) for use in found])


@router.get("/spend")
async def sum_spend(
    here: Here,
    principal: Admin,
    *,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    bucket: Annotated[int, Query(ge=1, le=92 * 86_400, description="Seconds in a span.")] = 3_600,
    by: SpendGroup = "kind",
) -> SpendSumsView:
    """Return what calls have cost between two moments, the last day by default."""
    until = until or here.clock.now()
    try:
        since = since or until - DAY
    except OverflowError:
        raise InvalidInputError(f"there is no day before {until}") from None
    query = SpendQuery(
        since=since,
        until=until,
        slot=timedelta(seconds=bucket),
        group=by,
        tenant=principal.tenant,
        kinds=None if principal.kinds is None else tuple(principal.kinds),
    )
    rows = await here.records.sum_spend(query)
    return SpendSumsView(
        since=query.since,
        until=query.until,
        bucket_seconds=bucket,
        by=by,
        spend=[_spend(row) for row in rows],
    )


def _queue(state: QueueState) -> QueueView:
    return QueueView(
        queue=state.queue,
        ready=state.ready,
        delayed=state.delayed,
        held_back=state.held_back,
        running=state.running,
        suspended=dict(state.suspended),
        oldest_at=state.oldest_at,
    )


def _worker(state: WorkerState) -> WorkerView:
    worker = state.worker
    return WorkerView(
        worker_id=worker.worker_id,
        host=worker.host,
        pid=worker.pid,
        queues=None if worker.queues is None else list(worker.queues),
        slots=worker.slots,
        running=worker.running,
        heartbeat_at=state.heartbeat_at,
        expires_at=state.expires_at,
    )


def _lane(use: LaneUse) -> LaneView:
    state = use.state
    return LaneView(
        lane=state.lane,
        requests_per_minute=state.requests_per_minute,
        tokens_per_minute=state.tokens_per_minute,
        rate_factor=state.rate_factor,
        requests_free=use.requests_free,
        requests_room=use.requests_room,
        tokens_free=use.tokens_free,
        tokens_room=use.tokens_room,
        processes_waiting=use.processes_waiting,
        paused_until=state.paused_until,
        held_until=state.held_until,
        held_reason=state.held_reason,
    )


def _spend(row: Spend) -> SpendView:
    usage = row.usage
    return SpendView(
        at=row.at,
        name=row.name,
        calls=usage.calls,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        usd=usage.usd,
        unpriced_calls=usage.unpriced_calls,
        uncertain_calls=usage.uncertain_calls,
        uncertain_usd=usage.uncertain_usd,
    )
