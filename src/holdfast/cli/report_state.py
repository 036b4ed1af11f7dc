"""What is known of a report under way: a fold over its job's events."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import JobStatus

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.model import Event, Job
    from holdfast.store.base import JobRecords

_WRITE = "write/"
_PRINT = "print"


class Stage(IntEnum):
    """Where a report is."""

    PRECOMPUTE = 0
    """The sky is computed; no model call yet."""
    WRITING = 1
    """Model calls."""
    RENDERING = 2
    """Typesetting the PDF."""
    DONE = 3
    """Nothing left to do."""

    @property
    def label(self) -> str:
        """Its name on the screen."""
        return self.name.lower()


@dataclass(slots=True)
class ReportState:
    """Fields change as events come in; the display reads them from another thread."""

    clock: Clock
    calls_total: int
    """Calls of the manifest; grows when a batch has to be split."""
    written: set[str] = field(default_factory=set)
    """Keys of the finished batches."""
    resumed: int = 0
    """Of those, finished before this command."""
    stage: Stage = Stage.PRECOMPUTE
    label: str = ""
    """What is being worked on."""
    fraction: float = 0.0
    """Of the writing, by words."""
    eta_seconds: float | None = None
    """As of `eta_at`."""
    eta_at: float = 0.0
    usd: Decimal = Decimal(0)
    unpriced: int = 0
    tokens: int = 0
    retries: int = 0
    """Failed tries of steps since this command began."""
    trouble: str = ""
    """The last reason to try again, until something succeeds."""
    suspended: str | None = None
    """What the suspended job waits for."""
    running: bool = False
    """Whether some worker has the job."""
    stopping: bool = False
    """Whether this process hands the job back."""
    started_at: float = 0.0

    @classmethod
    def of(cls, job: Job, records: JobRecords, calls_total: int, clock: Clock) -> ReportState:
        """Begin with what is on record."""
        keys = [step.key for step in records.checkpoints if step.finished]
        state = cls(clock=clock, calls_total=calls_total, started_at=clock.monotonic())
        for key in keys:
            state._finish(key)
        state.resumed = len(state.written)
        state.label = job.progress.label
        state.fraction = job.progress.fraction
        state.usd, state.unpriced = job.usage.usd, job.usage.unpriced_calls
        state.tokens = job.usage.input_tokens + job.usage.output_tokens
        state.suspended = job.suspend_reason
        state.running = job.status is JobStatus.RUNNING
        return state

    @property
    def elapsed(self) -> float:
        """Seconds since this command began."""
        return self.clock.monotonic() - self.started_at

    @property
    def remaining(self) -> float | None:
        """Expected seconds to the end, counted down between events."""
        if self.eta_seconds is None or not self.running:
            return None
        return max(0.0, self.eta_seconds - (self.clock.monotonic() - self.eta_at))

    def apply(self, event: Event) -> None:
        """Take one event in."""
        fields = msgspec.json.decode(event.data)
        match event.type:
            case "step.completed":
                self.trouble = ""
                self._finish(fields["key"])
            case "progress":
                self._progress(fields)
            case "usage":
                self.tokens += fields["input_tokens"] + fields["output_tokens"]
                if fields["usd"] is None:
                    self.unpriced += 1
                else:
                    self.usd += Decimal(fields["usd"])
            case "step.retrying":
                self.retries += 1
                self.trouble = f"{fields['error']['code'].replace('_', ' ')}, trying again"
            case "attempt.started":
                self.running, self.suspended = True, None
            case "attempt.released" | "attempt.failed" | "attempt.lost":
                self.running = False
            case "job.suspended":
                self.running, self.suspended = False, fields["reason"]
            case "job.completed":
                self.stage = Stage.DONE
            case _:
                pass

    def tell(self, fraction: float, label: str, eta_seconds: float | None) -> None:
        """Take somebody's word for how far the writing is."""
        self._progress({"fraction": fraction, "label": label, "eta_seconds": eta_seconds, "total": 1})

    def _progress(self, fields: dict[str, Any]) -> None:
        self.fraction = fields["fraction"]
        self.label = fields["label"] or self.label
        self.eta_seconds = fields["eta_seconds"]
        self.eta_at = self.clock.monotonic()
        if self.stage is Stage.PRECOMPUTE and fields["total"]:
            self.stage = Stage.WRITING

    def _finish(self, key: str) -> None:
        if key.startswith(_WRITE):
            self.written.add(key)
            self.calls_total = max(self.calls_total, len(self.written))
            self.stage = Stage.RENDERING if len(self.written) >= self.calls_total else Stage.WRITING
        elif key.startswith(_PRINT):
            self.stage = Stage.RENDERING
