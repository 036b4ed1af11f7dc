"""What a job's page shows, gathered within limits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from holdfast.model import Artifact, Call, CallStatus, JobStatus
from holdfast.server.access import Action
from holdfast.server.console.timeline import TYPES, Timeline, timeline_of
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from holdfast.model import Checkpoint, Event, Job, Usage
    from holdfast.server.access import Principal
    from holdfast.server.service import Service
    from holdfast.store.base import JobRecords

CHILDREN_MAX = 100
EVENTS_BYTES_MAX = 256 * 1024
EVENTS_SHOWN = 50
TIMELINE_EVENTS_MAX = 1_000
"""Events that the timeline is drawn from; of a longer history, the latest."""

STEPS_SHOWN = 500
CALLS_SHOWN = 200
TEXT_SHOWN = 4_000
"""Characters of text being written that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMoney:
    """What the calls to one model have cost."""

    model: str
    calls: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """All that the page shows; what the viewer may not see is not in it."""

    job: Job
    records: JobRecords
    timeline: Timeline | None
    cut: bool
    """Whether the timeline leaves out the beginning."""
    events: Sequence[Event]
    """The latest, newest first; none without the permission."""
    children: Sequence[Job]
    content: bool
    """Whether inputs, outputs, events and files are shown."""
    now: datetime

    @property
    def steps(self) -> list[Checkpoint]:
        """The latest steps, without saved files."""
        steps = [step for step in self.records.checkpoints if step.artifact is None]
        return steps[-STEPS_SHOWN:]

    @property
    def artifacts(self) -> list[Artifact]:
        """Saved files."""
        found = (step.artifact for step in self.records.checkpoints)
        return [artifact for artifact in found if artifact is not None]

    @property
    def calls(self) -> Sequence[Call]:
        """The latest calls, newest first."""
        return self.records.calls[: -CALLS_SHOWN - 1 : -1]

    @property
    def repeated(self) -> list[Call]:
        """Calls possibly paid twice."""
        return [call for call in self.records.calls if call.status.repeats]

    @property
    def models(self) -> list[ModelMoney]:
        """Money by model."""
        calls = sorted(self.records.calls, key=lambda call: call.model)
        return [_money(model, found) for model, found in groupby(calls, key=lambda call: call.model)]

    @property
    def eta_seconds(self) -> float | None:
        """Expected seconds to the end as of now; 0 when the estimate has run out."""
        return eta_of(self.job, self.now)

    @property
    def writing(self) -> tuple[str, str] | None:
        """The step that streams text just now, and the end of its text."""
        return _writing(self.events) if self.job.status is JobStatus.RUNNING else None


def eta_of(job: Job, now: datetime) -> float | None:
    """Return the expected seconds to a running job's end as of now."""
    progress = job.progress
    if job.status is not JobStatus.RUNNING or progress.eta_seconds is None or progress.at is None:
        return None
    return max(0.0, progress.eta_seconds - (now - progress.at).total_seconds())


def committed(usage: Usage) -> Decimal:
    """Return what counts against a budget: spent, possibly spent, and reserved by calls in flight."""
    return usage.usd + usage.uncertain_usd + usage.reserved_usd


async def job_page(here: Service, principal: Principal, job_id: str) -> JobPage:
    """Gather what the page shows; the caller has checked that the principal reaches the job."""
    job = await here.client.get(job_id, with_children=True)
    records = await here.client.records(job_id)
    events = await here.store.read_events(job_id, types=TYPES, limit=TIMELINE_EVENTS_MAX)
    cut = len(events) == TIMELINE_EVENTS_MAX
    if cut:
        after = max(0, job.event_seq - TIMELINE_EVENTS_MAX)
        events = await here.store.read_events(
            job_id, after=after, types=TYPES, limit=TIMELINE_EVENTS_MAX
        )
    content = Action.CONTENT in principal.actions
    latest: Sequence[Event] = ()
    if content:
        after = max(0, job.event_seq - EVENTS_SHOWN)
        latest = await here.store.read_events(
            job_id, after=after, limit=EVENTS_SHOWN, bytes_max=EVENTS_BYTES_MAX
        )
    query = JobQuery(parent_id=job_id, limit=CHILDREN_MAX, content=False)
    children = await here.store.list_jobs(query)
    now = here.clock.now()
    return JobPage(
        job=job,
        records=records,
        timeline=timeline_of(job, events, now),
        cut=cut,
        events=latest[::-1],
        children=[child for child in children if principal.sees(child)],
        content=content,
        now=now,
    )


def _money(model: str, calls: Iterable[Call]) -> ModelMoney:
    found = list(calls)
    booked = [call for call in found if call.status not in (CallStatus.RESERVED, CallStatus.UNCERTAIN)]
    return ModelMoney(
        model=model,
        calls=len(found),
        failed=sum(call.status is CallStatus.FAILED for call in found),
        input_tokens=sum(call.input_tokens for call in found),
        cached_tokens=sum(call.cached_tokens for call in found),
        output_tokens=sum(call.output_tokens for call in found),
        usd=sum((call.usd or Decimal(0) for call in booked), Decimal(0)),
        unpriced=sum(call.usd is None for call in booked),
    )


def _writing(events: Sequence[Event]) -> tuple[str, str] | None:
    """Put together what the step that streamed last has written; events come newest first."""
    parts: list[str] = []
    step: tuple[str, int] | None = None
    for event in events:
        if event.type == "output.completed" and step is None:
            return None
        if event.type != "output.delta":
            continue
        data = msgspec.json.decode(event.data)
        if "text" not in data:
            # Emptied: the step's result holds the text.
            continue
        if step is None:
            step = (data["key"], data["step_attempt"])
        if step == (data["key"], data["step_attempt"]):
            parts.append(data["text"])
    return None if step is None else (step[0], "".join(reversed(parts))[-TEXT_SHOWN:])
