"""The state of one attempt while it runs: what is in flight, what waits, and why it ends."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from holdfast import codec
from holdfast.engine.branches import Branches, Wait
from holdfast.engine.debts import Debts
from holdfast.engine.pacing import DeltaBuffer
from holdfast.engine.progress import PROGRESS_INTERVAL_SECONDS, ProgressMeter
from holdfast.engine.registry import Registry
from holdfast.errors import LeaseLost, StoreError
from holdfast.model import SuspendReason
from holdfast.store.base import OUTPUT_COMPLETED, NewEvent

if TYPE_CHECKING:
    from datetime import datetime

    from opentelemetry.trace import Span

    from holdfast.artifacts.base import ArtifactStore, Blobs
    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.registry import JobKind
    from holdfast.model import Checkpoint, Event, Progress
    from holdfast.store.base import Claim, Store

logger = logging.getLogger(__name__)

UNSURE_WAKE = timedelta(minutes=10)
"""A job that was suspended while its function waited for something unknown is woken after this."""

_BRANCHES_END_SECONDS = 3.0
"""How long the end of a job function waits for branches that hold on after their cancellation."""

SIGNAL_TYPE = "holdfast:signal"
"""Type name of checkpoints that record which signal a wait took."""

EVENTS_BUFFERED_MAX = 1_000
"""Events kept for a store that does not answer; then the oldest are dropped and counted."""


class Ending(Enum):
    """Why the engine ends an attempt before its function returns."""

    CANCEL = auto()
    """The job's end was requested."""
    DRAIN = auto()
    """The worker leaves the fleet."""
    SUSPEND = auto()
    """Everything that is left to do waits for a time or a signal."""
    HARD_LIMIT = auto()
    """The job ran out of time."""
    LOST = auto()
    """The lease is gone: nothing may be written any more."""


@dataclass(slots=True, kw_only=True)
class Services:
    """The seams that attempts work with; one for all attempts of a worker."""

    store: Store
    artifacts: ArtifactStore
    clock: Clock
    resources: dict[type, object]
    """What job code may ask for by type."""
    blobs: Blobs | None = None
    """Where large results lie; with the artifacts by default."""
    registry: Registry = field(default_factory=Registry)
    """The kinds that children may be of."""
    dispatcher: Dispatcher | None = None
    """Where to announce children; the waker finds them otherwise."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker leaves: no further step starts, attempts end when the running ones have."""


class Attempt:
    """One attempt: its lease, what it knows, and what it is doing right now."""

    __slots__ = (
        "_changed",
        "_claimed_at",
        "_deltas",
        "_events",
        "_flusher",
        "_loop",
        "_progress",
        "_progress_timer",
        "_steps_numbered",
        "_taken_signals",
        "_thread",
        "artifacts",
        "blobs",
        "branches",
        "careful",
        "changes",
        "checkpoints",
        "children",
        "clock",
        "code_ended",
        "compensating",
        "debts",
        "dispatcher",
        "draining",
        "ending",
        "job",
        "kind",
        "lease",
        "meter",
        "registry",
        "resources",
        "seen_seq",
        "signals",
        "soft_limit_raised",
        "span",
        "started_at",
        "store",
        "used_keys",
        "waits_at_end",
    )

    def __init__(self, claim: Claim, kind: JobKind, services: Services) -> None:
        self.job = claim.job
        self.lease = claim.lease
        self.kind = kind
        self.store = services.store
        self.artifacts = services.artifacts
        self.blobs: Blobs = services.blobs or services.artifacts
        self.clock = services.clock
        self.resources = services.resources
        self.registry = services.registry
        self.dispatcher = services.dispatcher
        self.children: dict[str, bool] = {}
        """Children spawned or found by this attempt whose output it has not kept: whether each is
        said to have ended."""
        self.checkpoints: dict[str, Checkpoint] = dict(claim.checkpoints)
        self.signals: list[Event] = list(claim.signals)
        self._taken_signals: set[int] | None = None
        self.seen_seq = claim.job.event_seq
        """Signals, budgets and ended children up to this event number are known to this attempt."""
        self.meter = ProgressMeter(claim.job.progress, claim.history, claim.checkpoints)
        self._deltas: DeltaBuffer | None = None
        self.careful = claim.job.lost_workers > 0
        """After a lost worker every step's beginning is recorded, to find the one that kills."""
        self.used_keys: set[str] = set()
        self.ending: Ending | None = None
        self.draining = services.draining
        self._claimed_at = claim.at
        self.started_at = self.clock.monotonic()
        self.soft_limit_raised = False
        self.span: Span | None = None
        """Where steps belong to; None unless traces are recorded."""
        self.code_ended = False
        """Set when the job function has ended: code it has let go of may start nothing more."""
        self.compensating = False
        """Set once the job is being taken back: a cancel request changes nothing any more."""
        self.waits_at_end: list[Wait] = []
        """What the branches waited for when the attempt was found idle."""
        self.changes = 0
        """Changes announced so far; see `changed`."""
        self._steps_numbered = max((found.number for found in self.checkpoints.values()), default=0)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.branches = Branches(self._suspend)
        """What job code is doing right now."""
        self._changed: asyncio.Event | None = None
        """Made when somebody waits for it: most of thousands of attempts never do."""
        self._events: list[NewEvent] = []
        self._progress: Progress | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._flusher: asyncio.Task[None] | None = None
        self.debts = Debts(self.announce_settled_calls)

    def count_step(self) -> int:
        """Return the next number in the order of steps, as the store will count it."""
        self._steps_numbered += 1
        return self._steps_numbered

    def now(self) -> datetime:
        """Return the time by the store's clock: other workers go on with what is written down here."""
        return self._claimed_at + timedelta(seconds=self.clock.monotonic() - self.started_at)

    # ending ------------------------------------------------------------------------------------

    def end(self, ending: Ending) -> None:
        """End the attempt from outside its code; a lost lease outranks every other reason."""
        if ending is Ending.CANCEL and self.compensating:
            return
        if self.ending is ending or (self.ending is not None and ending is not Ending.LOST):
            # Cancelled once already: a second time would tear up what ends in order.
            return
        self.ending = ending
        if self.branches.main is not None:
            self.branches.main.cancel()
            self.branches.cancel()

    async def end_branches(self) -> None:
        """Cancel what the job function left running when it ended: its results have no taker."""
        left = self.branches.cancel()
        if left:
            await asyncio.wait(left, timeout=_BRANCHES_END_SECONDS)

    def _suspend(self) -> None:
        self.waits_at_end = list(self.branches.waits)
        if not self.branches.main_waits and all(wait.until is None for wait in self.waits_at_end):
            # The job function may be waiting for these branches, or be on its way to a next step
            # that no signal will ever wake it for: look again after a while.
            until = self.now() + UNSURE_WAKE
            self.waits_at_end.append(Wait(reason=SuspendReason.SLEEP, until=until))
        self.end(Ending.SUSPEND)

    @property
    def active_seconds(self) -> float:
        """Time under a worker: earlier attempts and this one."""
        return self.job.active_seconds + self.clock.monotonic() - self.started_at

    # news from outside ---------------------------------------------------------------------------

    def announce_change(self) -> None:
        """Let waiting branches look again: a signal may have come, a budget grown, a child ended."""
        self.changes += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def announce_settled_calls(self) -> None:
        """Let branches that wait for budget try again: a step has ended and with it its reservations."""
        self.changes += 1
        if any(wait.reason is SuspendReason.BUDGET for wait in self.branches.waits):
            self.announce_change()

    async def changed(self, since: int) -> None:
        """Return once more changes were announced than the `since` that the caller has looked at."""
        while self.changes == since:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()

    @property
    def taken_signals(self) -> set[int]:
        """Numbers of the signals that waits have taken."""
        if self._taken_signals is None:
            self._taken_signals = {
                codec.from_json(found.value)["signal_seq"]
                for found in self.checkpoints.values()
                if found.type_name == SIGNAL_TYPE and found.value is not None
            }
        return self._taken_signals

    async def refresh_signals(self) -> None:
        """Read what has come since the claim or the last call: signals, budgets, ended children."""
        found = await self.store.read_events(
            self.job.job_id,
            after=self.seen_seq,
            limit=1_000,
            types=("signal.received", "budget.changed", "child.ended"),
        )
        self.signals.extend(event for event in found if event.type == "signal.received")
        for event in found:
            if event.type == "child.ended":
                self.children[codec.from_json(event.data)["child_id"]] = True
        if any(event.type != "signal.received" for event in found):
            # It is known from here on: whoever waits for budget or children must look now.
            self.announce_change()
        self.seen_seq = max((self.seen_seq, *(event.seq for event in found)))

    # events ------------------------------------------------------------------------------------

    def emit(self, event_type: str, fields: dict[str, object]) -> None:
        """Append an event soon: together with others, in order, without waiting for it.

        May be called from the thread of a step.
        """
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.emit, event_type, fields)
            return
        self._events.append(NewEvent(type=event_type, data=codec.to_json(fields)))
        del self._events[:-EVENTS_BUFFERED_MAX]
        self._start_flusher()

    def tell_progress(self) -> None:
        """Append a progress event now, or a moment later if the last one is very recent."""
        if self._progress_timer is not None:
            return
        if self.meter.due(self.clock):
            self._emit_progress()
        else:
            loop = asyncio.get_running_loop()
            self._progress_timer = loop.call_later(PROGRESS_INTERVAL_SECONDS, self._emit_progress)

    def _emit_progress(self) -> None:
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None
        self._progress = progress = self.meter.snapshot(self.clock)
        self.emit(
            "progress",
            {
                "done": progress.done,
                "total": progress.total,
                "fraction": round(progress.fraction, 4),
                "label": progress.label,
                "eta_seconds": None if progress.eta_seconds is None else round(progress.eta_seconds, 1),
            },
        )

    def add_delta(self, key: str, step_attempt: int, text: str) -> None:
        """Add streamed text of a step to the events, coalesced."""
        if self._deltas is None:
            self._deltas = DeltaBuffer(self.emit)
        self._deltas.add(key, step_attempt, text)

    async def end_output(self, key: str) -> tuple[NewEvent, ...]:
        """Store the rest of a step's streamed text; return the event by which its result replaces it."""
        if self._deltas is None or not self._deltas.has_streamed(key):
            return ()
        await self._flush_all()
        return (NewEvent(type=OUTPUT_COMPLETED, data=codec.to_json({"key": key})),)

    async def close_events(self) -> None:
        """Store what was emitted and stop the timers; the attempt is over."""
        if self._progress_timer is not None:
            self._emit_progress()
        self.branches.stop_looking()
        await self._flush_all()

    async def _flush_all(self) -> None:
        if self._deltas is not None:
            self._deltas.flush()
        self._start_flusher()
        while self._flusher is not None:
            await asyncio.shield(self._flusher)

    def _start_flusher(self) -> None:
        if self._events and self._flusher is None and self.ending is not Ending.LOST:
            self._flusher = asyncio.create_task(self._flush(), name=f"events of {self.job.job_id}")

    async def _flush(self) -> None:
        batch: list[NewEvent] = []
        try:
            while self._events and self.ending is not Ending.LOST:
                batch, self._events = self._events, []
                progress, self._progress = self._progress, None
                await self.store.append_events(self.lease, batch, progress)
        except LeaseLost:
            self.end(Ending.LOST)
        except StoreError as error:
            # Events are for readers; the job itself does not depend on them.
            logger.warning(
                "events dropped",
                extra={"job_id": self.job.job_id, "count": len(batch), "error": error.code},
            )
        finally:
            self._flusher = None
