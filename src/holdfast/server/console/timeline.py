"""A job's life as rows of bars: its attempts and steps, and what they waited for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.store.base import RESERVED_KEY_PREFIX, UNDO_KEY_PREFIX
from holdfast.wording import duration, span_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.model import Event, Job

TYPES = (
    "job.queued",
    "job.suspended",
    "job.completed",
    "job.failed",
    "job.cancelled",
    "attempt.started",
    "attempt.failed",
    "attempt.released",
    "attempt.lost",
    "step.started",
    "step.retrying",
    "step.waiting",
    "step.admitted",
    "step.completed",
)
"""The events that it is drawn from; none holds content."""

ROWS_MAX = 50
"""Rows of steps; with more steps, those of one group share a row, and then the last are left out."""

STARTED_AFTER = timedelta(seconds=0.1)
"""`step.started` is told so long after the start."""

WAITING_AFTER = timedelta(seconds=1)
"""`step.waiting` is told so long after the wait began."""

_TICKS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200,
    1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 172_800, 604_800, 2_592_000, 31_536_000,
)  # fmt: skip
_TICKS_MAX = 5

_ENDS = {
    "attempt.failed": ("failed", "failed, to be tried again"),
    "attempt.released": ("run", "handed back in order"),
    "attempt.lost": ("lost", "its worker was lost"),
    "job.suspended": ("run", "suspended"),
    "job.completed": ("run", "completed the job"),
    "job.failed": ("failed", "failed for good"),
    "job.cancelled": ("cancelled", "was cancelled"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of time in a row; positions are percent of the whole."""

    kind: str
    """run, failed, lost, cancelled; thin: queued, suspended, backoff, lane."""
    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """What one attempt, step or group of steps has been through."""

    label: str
    """A step's key or group; a worker's id, or nothing for what the job waited for."""
    told: str
    """In words, for those who do not see the bars."""
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that is drawn."""

    ticks: tuple[tuple[float, str], ...]
    """Position in percent, and the time since the beginning in words."""
    attempts: tuple[TimelineRow, ...]
    steps: tuple[TimelineRow, ...]
    left_out: int
    """Steps that were not drawn."""
    grouped: bool
    """Whether rows stand for groups of steps."""
    live: bool


@dataclass(frozen=True, slots=True)
class _Span:
    kind: str
    start: datetime
    end: datetime
    title: str


@dataclass(slots=True)
class _Step:
    """A step while the events are gone through."""

    spans: list[_Span] = field(default_factory=list)
    running_since: datetime | None = None
    waiting: tuple[datetime, str] | None = None
    tries: int = 0
    waited: float = 0.0

    def begin(self, at: datetime) -> None:
        self.running_since, self.tries = at, self.tries + 1

    def end(self, at: datetime, kind: str, title: str) -> None:
        if self.waiting is not None:
            since, lane = self.waiting
            self.admitted(at, since, lane)
        if self.running_since is None:
            return
        # What was spent waiting for a lane is no work.
        began, self.running_since = self.running_since, None
        for wait in [span for span in self.spans if span.kind == "lane" and span.end > began]:
            if wait.start - began > WAITING_AFTER / 4:
                self.spans.append(_Span(kind, began, wait.start, title))
            began = max(began, wait.end)
        self.spans.append(_Span(kind, began, at, title))

    def fail(self, at: datetime) -> None:
        """End with the failure of the job: a last try that was too short to be told of, too."""
        if self.running_since is None:
            ends = [span.end for span in self.spans if span.end < at]
            self.begin(max(ends, default=at - STARTED_AFTER))
        self.end(at, "failed", "failed for good")

    def admitted(self, at: datetime, since: datetime, lane: str) -> None:
        seconds = (at - since).total_seconds()
        self.waiting, self.waited = None, self.waited + seconds
        self.spans.append(_Span("lane", since, at, f"waited {duration(seconds)} for lane {lane}"))


class _Reader:
    """Goes through the events in order and keeps the spans they tell of."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.attempts: list[tuple[str, _Span]] = []
        """What the job went through, each with the worker's name or none."""
        self.steps: dict[str, _Step] = defaultdict(_Step)
        self._attempt: tuple[datetime, str, int] | None = None
        self._idle: tuple[datetime, str, str] | None = None

    def read(self, event: Event) -> None:
        data = msgspec.json.decode(event.data)
        if event.type == "attempt.started":
            self._end_idle(event.at)
            self._attempt = (event.at, data["worker_id"], data["attempt"])
        elif event.type in _ENDS:
            self._end_attempt(event, data)
        elif event.type == "job.queued":
            self._end_idle(event.at)
            self._idle = (event.at, "queued", "waited for a worker")
        elif not _is_inner(data["key"]):
            self._read_step(event, data, self.steps[data["key"]])

    def close(self) -> None:
        """End what is still going on with the present."""
        self._add_attempt(self.now, "run", "running for")
        self._end_idle(self.now)
        for step in self.steps.values():
            step.end(self.now, "run", "running")

    def _end_idle(self, at: datetime) -> None:
        if self._idle is None:
            return
        since, kind, why = self._idle
        self._idle = None
        title = f"{why} for {duration((at - since).total_seconds())}"
        self.attempts.append(("", _Span(kind, since, at, title)))

    def _add_attempt(self, at: datetime, kind: str, words: str) -> None:
        if self._attempt is None:
            return
        began, worker_id, number = self._attempt
        self._attempt = None
        title = f"attempt {number} on {worker_id}: {words} {duration((at - began).total_seconds())}"
        self.attempts.append((worker_id, _Span(kind, began, at, title)))

    def _end_attempt(self, event: Event, data: dict[str, Any]) -> None:
        kind, words = _ENDS[event.type]
        self._add_attempt(event.at, kind, f"{words} after")
        culprit = _culprit(data)
        if culprit is not None and not _is_inner(culprit):
            self.steps[culprit].fail(event.at)
        for step in self.steps.values():
            step.end(
                event.at, "lost" if event.type == "attempt.lost" else "cancelled", f"ended: {words}"
            )
        if event.type == "job.suspended":
            self._idle = (event.at, "suspended", f"waited for {data['reason']}")
        elif event.type in ("attempt.failed", "attempt.released", "attempt.lost"):
            self._idle = (event.at, "queued", "waited for a worker")
        else:
            self._end_idle(event.at)

    def _read_step(self, event: Event, data: dict[str, Any], step: _Step) -> None:
        at = event.at
        if event.type == "step.started":
            step.begin(at - STARTED_AFTER)
        elif event.type == "step.waiting":
            step.waiting = (at - WAITING_AFTER, data["lane"])
        elif event.type == "step.admitted":
            step.admitted(at, at - timedelta(seconds=data["wait_seconds"]), data["lane"])
        elif event.type == "step.retrying":
            if step.running_since is None:
                step.begin(at - STARTED_AFTER / 2)
            error, wait = data["error"], timedelta(seconds=data["wait_seconds"])
            step.end(at, "failed", f"try {data['step_attempt']} failed: {_cause(error)}")
            step.spans.append(
                _Span(
                    "backoff", at, min(at + wait, self.now), f"waited {duration(wait.total_seconds())}"
                )
            )
        else:
            seconds = float(data["seconds"])
            if step.running_since is None:
                step.begin(at - timedelta(seconds=seconds))
            step.tries = max(step.tries, int(data["attempts"]))
            step.end(at, "run", f"finished after {duration(seconds)}")


def _culprit(data: dict[str, Any]) -> str | None:
    """Return the key of the step that an attempt has failed by."""
    key = ((data.get("error") or {}).get("details") or {}).get("step_key")
    return key if isinstance(key, str) else None


def _cause(error: dict[str, Any]) -> str:
    return str(error["type"] if error["code"] == "exception" else error["code"])


def _is_inner(key: str) -> bool:
    return key.startswith(RESERVED_KEY_PREFIX) and not key.startswith(UNDO_KEY_PREFIX)


def timeline_of(job: Job, events: Sequence[Event], now: datetime) -> Timeline | None:
    """Return what is drawn of a job; None before anything has happened.

    Args:
        job: The job.
        events: Those of `TYPES`, in order; the first ones may be missing.
        now: Where the bars of what is going on end.
    """
    if not events:
        return None
    ended = job.finished_at if job.status.terminal else None
    reader = _Reader(ended or max(now, events[-1].at))
    for event in events:
        reader.read(event)
    reader.close()
    start, end = events[0].at, max(reader.now, events[-1].at)
    starts = [span.start for step in reader.steps.values() for span in step.spans]
    scale = _Scale(min([start, *starts]), end)
    rows = _step_rows(reader.steps, scale)
    grouped = len(reader.steps) > ROWS_MAX
    return Timeline(
        ticks=scale.ticks(),
        attempts=_attempt_rows(reader.attempts, scale),
        steps=tuple(rows[:ROWS_MAX]),
        left_out=max(0, len(rows) - ROWS_MAX),
        grouped=grouped,
        live=not job.status.terminal,
    )


class _Scale:
    """Times as percent of the whole."""

    def __init__(self, start: datetime, end: datetime) -> None:
        self._start = start
        self._seconds = max(0.001, (end - start).total_seconds())

    def bar(self, span: _Span) -> Bar:
        x = self._percent((span.start - self._start).total_seconds())
        width = self._percent((span.end - span.start).total_seconds())
        return Bar(span.kind, round(min(x, 99.6), 3), round(max(width, 0.4), 3), span.title)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        step = next((tick for tick in _TICKS if self._seconds / tick <= _TICKS_MAX), _TICKS[-1])
        count = min(_TICKS_MAX, int(self._seconds / step))
        return tuple(
            (round(self._percent(number * step), 3), span_words(number * step) if number else "0")
            for number in range(count + 1)
        )

    def _percent(self, seconds: float) -> float:
        return max(0.0, min(100.0, seconds / self._seconds * 100))


def _attempt_rows(found: list[tuple[str, _Span]], scale: _Scale) -> tuple[TimelineRow, ...]:
    """Put what the job waited for into one row, and each worker that ran it into another."""
    rows: dict[str, list[_Span]] = defaultdict(list)
    for worker_id, span in found:
        rows[worker_id].append(span)
    return tuple(
        TimelineRow(
            label=worker_id,
            told="; ".join(span.title for span in spans[-20:]),
            bars=tuple(scale.bar(span) for span in spans),
        )
        for worker_id, spans in rows.items()
    )


def _step_rows(steps: dict[str, _Step], scale: _Scale) -> list[TimelineRow]:
    grouped = len(steps) > ROWS_MAX
    rows: dict[str, list[tuple[str, _Step]]] = defaultdict(list)
    for key, step in steps.items():
        rows[key.partition("/")[0] if grouped else key].append((key, step))
    return [
        TimelineRow(
            label=label,
            told=_told(found),
            bars=tuple(
                scale.bar(_named(span, key if grouped else ""))
                for key, step in found
                for span in step.spans
            ),
        )
        for label, found in rows.items()
    ]


def _named(span: _Span, key: str) -> _Span:
    return _Span(span.kind, span.start, span.end, f"{key}: {span.title}") if key else span


def _told(found: list[tuple[str, _Step]]) -> str:
    tries = sum(step.tries for _, step in found)
    waited = sum(step.waited for _, step in found)
    parts = [f"{len(found)} steps"] if len(found) > 1 else []
    if tries > len(found):
        parts.append(f"{tries} tries")
    if waited:
        parts.append(f"{duration(waited)} at lanes")
    return ", ".join(parts)
