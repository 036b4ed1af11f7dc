"""Progress and ETA of one attempt, from its own steps and the history of its kind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.model import Progress, SuspendReason
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from holdfast.clock import Clock
    from holdfast.model import Checkpoint, Job
    from holdfast.store.base import Store

PROGRESS_INTERVAL_SECONDS = 0.25
"""Progress events of one job are at least this far apart, the last one excepted."""

_RISE_PER_SECOND = 0.25
"""An ETA that turns out too low rises by at most this much of itself a second."""


_CHILDREN_PAGE = 1_000


async def with_family_progress(store: Store, job: Job) -> Job:
    """Return the job with its children's progress in its own."""
    return replace(job, progress=await family_progress(store, job))


async def family_progress(store: Store, job: Job) -> Progress:
    """Return a job's own account of its progress with what its children tell of theirs.

    Computed when somebody asks, so that a parent need not be awake for it. A child counts as 1; one
    that has ended, however, is done with, so that a failed one never sets the whole back.
    """
    own = job.progress
    done, total, unfinished, before = own.done, own.total, False, None
    while True:
        page = await store.list_jobs(
            JobQuery(parent_id=job.job_id, before=before, limit=_CHILDREN_PAGE, content=False)
        )
        for child in page:
            total += 1
            if child.status.terminal:
                done += 1
                continue
            unfinished = True
            found = child.progress
            if child.suspend_reason is SuspendReason.CHILDREN:
                found = await family_progress(store, child)
            done += found.fraction
        if len(page) < _CHILDREN_PAGE:
            break
        before = page[-1].job_id
    # The job's own estimate knows nothing of its children.
    eta = None if unfinished else own.eta_seconds
    return replace(own, done=done, total=total, eta_seconds=eta)


def step_group(key: str) -> str:
    """Return what steps of one sort share: the key up to its first slash."""
    return key.partition("/")[0]


class ProgressMeter:
    """Counts weight done against weight known, and estimates the rest.

    The rate of the running map counts everything that slows it (lanes, retries, concurrency);
    step groups that have not begun are added by their history.
    """

    __slots__ = (
        "_concurrency",
        "_emitted_at",
        "_eta",
        "_eta_at",
        "_history",
        "_known_groups",
        "_map_group",
        "_rate_done",
        "_rate_since",
        "done",
        "label",
        "step_seconds",
        "total",
    )

    def __init__(
        self, stored: Progress, history: Mapping[str, float], checkpoints: Mapping[str, Checkpoint]
    ) -> None:
        self.done = 0.0
        self.total = 0.0
        self.label = stored.label
        self.step_seconds: dict[str, tuple[int, float]] = {}
        """Finished steps of this attempt by group: count and summed seconds."""
        self._history = history
        # A dict, because an empty one is a quarter of an empty set, and there are thousands.
        self._known_groups = dict.fromkeys(
            step_group(key) for key, found in checkpoints.items() if found.finished
        )
        self._rate_since: datetime | None = None
        self._rate_done = 0.0
        self._concurrency = 1
        self._map_group = ""
        self._eta = stored.eta_seconds
        self._eta_at = stored.at
        self._emitted_at: float | None = None

    def begin_map(self, name: str, *, total: float, done: float, concurrency: int, clock: Clock) -> None:
        """Add a map's weight; `done` of it is finished already and says nothing of the rate."""
        self.total += total
        self.done += done
        self._map_group, self._concurrency = name, concurrency
        self._known_groups[name] = None
        self._rate_since, self._rate_done = clock.now(), 0.0

    def finish_item(self, weight: float, label: str) -> None:
        """Count one item of a map as done."""
        self.done += weight
        self._rate_done += weight
        self.label = label

    def report(self, done: float, total: float, label: str) -> None:
        """Take the job's own word for it."""
        self.done, self.total, self.label = float(done), float(total), label

    def finish_step(self, key: str, seconds: float) -> None:
        """Learn how long steps of this group take."""
        group = step_group(key)
        count, summed = self.step_seconds.get(group, (0, 0.0))
        self.step_seconds[group] = (count + 1, summed + seconds)
        self._known_groups[group] = None

    def due(self, clock: Clock) -> bool:
        """Whether a progress event is worth its row now."""
        if self._emitted_at is not None and self.done < self.total:
            return clock.monotonic() - self._emitted_at >= PROGRESS_INTERVAL_SECONDS
        return True

    def snapshot(self, clock: Clock) -> Progress:
        """Return progress as of now and remember that it was told."""
        now = clock.now()
        self._emitted_at = clock.monotonic()
        estimate = self._estimate(now)
        if estimate is not None and self._eta is not None and self._eta_at is not None:
            # What was promised, less the time gone by, may be corrected upwards only gradually.
            elapsed = max(0.0, (now - self._eta_at).total_seconds())
            promised = max(0.0, self._eta - elapsed)
            allowed = promised + (self._eta * _RISE_PER_SECOND + 1.0) * max(elapsed, 0.25)
            estimate = min(estimate, allowed)
        self._eta, self._eta_at = estimate, now
        return Progress(done=self.done, total=self.total, label=self.label, eta_seconds=estimate, at=now)

    def _estimate(self, now: datetime) -> float | None:
        remaining = max(0.0, self.total - self.done)
        later = sum(
            seconds for group, seconds in self._history.items() if group not in self._known_groups
        )
        if not remaining:
            return later if self.total else None
        rate = self._rate(now)
        return remaining / rate + later if rate else None

    def _rate(self, now: datetime) -> float | None:
        """Weight per second: observed once something finished, by history before."""
        if self._rate_since is not None and self._rate_done:
            elapsed = (now - self._rate_since).total_seconds()
            return self._rate_done / elapsed if elapsed > 0 else None
        usual = self._history.get(self._map_group)
        return self._concurrency / usual if usual else None
