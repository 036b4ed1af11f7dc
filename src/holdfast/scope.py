"""Which attempt and which step the running code belongs to.

The engine sets the scope around every attempt and every step attempt; the layers a step calls
(provider calls, ledger, lanes, logs) read it, so that job code never passes bookkeeping along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from holdfast.model import Job, Lease

Booking = Callable[[], Awaitable[None]]
"""Books one call; may be repeated."""


@dataclass(frozen=True, slots=True)
class StepScope:
    """The step attempt on whose behalf code runs."""

    lease: Lease
    """The lease of the job's attempt; every write for this step carries it."""
    kind: str
    """The job's kind."""
    step_key: str
    """The step's key within the job."""
    step_attempt: int
    """Which try of the step this is within the job's attempt, from 1."""
    priority: int
    """The job's priority; the weight of its calls in a lane follows from it."""
    tenant: str | None
    """Whose job it is, as given at submission."""
    emit: Callable[[str, dict[str, object]], None]
    """Appends an event to the job's log soon, without waiting for it."""
    emit_delta: Callable[[str], None]
    """Adds streamed text to the job's events as `output.delta`, coalesced."""
    owe: Callable[[str, Booking], None]
    """Takes over the booking of the call with this id, for when the store's trouble has passed."""


class AttemptScope(Protocol):
    """The attempt on whose behalf code runs, as far as logs want to know it."""

    job: Job
    """As it was claimed."""


_attempt: ContextVar[AttemptScope | None] = ContextVar("holdfast_attempt", default=None)
_current: ContextVar[StepScope | None] = ContextVar("holdfast_step", default=None)


def current_step() -> StepScope | None:
    """Return the scope of the step attempt this code runs in, or None outside of any step."""
    return _current.get()


enter_step = _current.set
"""Set the scope for the current task and what it starts; returns the token for `leave_step`."""

leave_step = _current.reset
"""Put the scope back to what it was before `enter_step`."""


def current_attempt() -> AttemptScope | None:
    """Return the attempt this code runs in, or None outside of any."""
    return _attempt.get()


enter_attempt = _attempt.set
"""Set the attempt for the current task and what it starts: each attempt has a task of its own."""
