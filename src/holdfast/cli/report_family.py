"""A report with its parts: one state of the whole family, whoever of it does the work."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import JobStatus, SuspendReason
from holdfast.store.base import JobQuery, JobRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.cli.report_state import ReportState
    from holdfast.engine.client import JobClient
    from holdfast.model import Event, Job

PARTS_MAX = 100


async def children_of(client: JobClient, job: Job) -> Sequence[Job]:
    """Return the children of a job; none for most."""
    return await client.list(JobQuery(parent_id=job.job_id, limit=PARTS_MAX))


async def family_records(client: JobClient, job: Job) -> JobRecords:
    """Return what is on record of a job and its parts."""
    ids = [job.job_id, *(part.job_id for part in await children_of(client, job))]
    found = [await client.records(job_id) for job_id in ids]
    return JobRecords(
        checkpoints=tuple(step for records in found for step in records.checkpoints),
        calls=tuple(call for records in found for call in records.calls),
    )


class Family:
    """Follows a job's events, and those of its parts once there are any, into one state."""

    def __init__(
        self, client: JobClient, state: ReportState, changed: Callable[[], None], *, words: float
    ) -> None:
        """Say what to keep up to date.

        Args:
            client: Reads the events.
            state: Takes them in.
            changed: Called after each change of it.
            words: What is to be written in all: the weight of the manifest.
        """
        self.parked = asyncio.Event()
        """Set when only a higher budget lets the family go on."""
        self._client = client
        self._state = state
        self._changed = changed
        self._words = words
        self._done: dict[str, float] = {}
        self._etas: dict[str, float] = {}
        self._ended: set[str] = set()
        self._short: set[str] = set()
        """Parts that wait for budget."""

    async def follow(self, job: Job) -> None:
        """Follow until the job has ended."""
        async with asyncio.TaskGroup() as group:
            followed: Counter[str] = Counter()
            if job.suspend_reason is SuspendReason.BUDGET:
                # Parked by an earlier command: no event will come to tell.
                self.parked.set()
            await self._meet(job, group, followed, fresh=False)
            async for event in self._client.events(job.job_id, after=job.event_seq):
                if _waits_for_parts(event):
                    await self._meet(job, group, followed, fresh=True)
                    continue
                self._state.apply(event)
                if self._state.suspended == SuspendReason.BUDGET:
                    self.parked.set()
                self._changed()

    async def _meet(
        self, job: Job, group: asyncio.TaskGroup, followed: Counter[str], *, fresh: bool
    ) -> None:
        """Begin to follow the parts that there are by now, `fresh` ones from their first event."""
        for part in await children_of(self._client, job):
            if not followed[part.job_id]:
                followed[part.job_id] += 1
                self._done[part.job_id] = part.progress.done
                if part.status.terminal:
                    self._ended.add(part.job_id)
                elif part.suspend_reason is SuspendReason.BUDGET:
                    self._short.add(part.job_id)
                group.create_task(self._follow_part(part, after=0 if fresh else part.event_seq))
        self._check_parked()

    async def _follow_part(self, part: Job, *, after: int) -> None:
        async for event in self._client.events(part.job_id, after=after):
            self._take(part.job_id, event)
            self._changed()
        self._ended.add(part.job_id)
        self._short.discard(part.job_id)
        self._check_parked()

    def _take(self, job_id: str, event: Event) -> None:
        state = self._state
        match event.type:
            case "progress":
                self._progress(job_id, msgspec.json.decode(event.data))
            case "attempt.started":
                self._short.discard(job_id)
                state.running, state.suspended = True, None
            case "job.suspended":
                if msgspec.json.decode(event.data)["reason"] == SuspendReason.BUDGET:
                    self._short.add(job_id)
                    self._check_parked()
            case "step.completed" if self._prints_early(event):
                # One part is being printed while another one is being written.
                pass
            case "step.completed" | "step.retrying" | "usage":
                state.apply(event)
            case _:
                pass

    def _prints_early(self, event: Event) -> bool:
        key: str = msgspec.json.decode(event.data)["key"]
        written = len(self._state.written) >= self._state.calls_total
        return key.startswith("print") and not written

    def _progress(self, job_id: str, fields: dict[str, Any]) -> None:
        """Tell of the whole: words of all parts, and the time of the one that takes longest."""
        self._done[job_id] = fields["done"]
        self._etas[job_id] = fields["eta_seconds"] or 0.0
        done = min(sum(self._done.values()), self._words)
        fraction = done / self._words if self._words else 0.0
        self._state.tell(fraction, fields["label"], max(self._etas.values()) or None)

    def _check_parked(self) -> None:
        if self._short and len(self._short | self._ended) == len(self._done):
            self._state.suspended = SuspendReason.BUDGET
            self._state.running = False
            self.parked.set()


def _waits_for_parts(event: Event) -> bool:
    return (
        event.type == "job.suspended"
        and msgspec.json.decode(event.data)["reason"] == SuspendReason.CHILDREN
    )


async def parked_parts(client: JobClient, job: Job) -> list[Job]:
    """Return the parts that wait for budget."""
    return [
        part
        for part in await children_of(client, job)
        if part.status is JobStatus.SUSPENDED and part.suspend_reason is SuspendReason.BUDGET
    ]
