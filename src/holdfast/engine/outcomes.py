"""What the end of a job function means for its job: one table."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.engine.attempt import Ending
from holdfast.errors import HoldfastError, JobTimeoutError, StepFailedError, StoreError
from holdfast.ids import jitter
from holdfast.model import JobStatus, StoredError, SuspendReason
from holdfast.retry import next_wait

if TYPE_CHECKING:
    from holdfast.engine.attempt import Attempt
    from holdfast.store.base import Settlement

_MESSAGE_CHARACTERS = 4_000
_TRACEBACK_CHARACTERS = 16_000
_STORE_TROUBLE_WAIT = timedelta(seconds=5)

_SUSPEND_ORDER = (
    SuspendReason.QUOTA,
    SuspendReason.BUDGET,
    SuspendReason.SIGNAL,
    SuspendReason.CHILDREN,
    SuspendReason.SLEEP,
)
"""Which reason is told when branches wait for different things: the one people can act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt is to be settled."""

    status: JobStatus
    output: bytes | None = None
    error: StoredError | None = None
    suspend_reason: SuspendReason | None = None
    available_after: timedelta | None = None
    counts: bool = True

    @property
    def compensates(self) -> bool:
        """Whether the steps that registered an undo are to be taken back first."""
        return self.status in (JobStatus.FAILED, JobStatus.CANCELLED)


def outcome_of_result(attempt: Attempt, result: Any) -> Outcome:
    """The function returned: the job is completed.

    Raises:
        UnserializableValueError, ValueTooLargeError: The result cannot be stored.
    """
    what = f"output of job {attempt.job.job_id!r}"
    text, _ = codec.encode_value(result, attempt.kind.output_type, what=what)
    return Outcome(status=JobStatus.COMPLETED, output=text)


def outcome_of_ending(attempt: Attempt, ending: Ending) -> Outcome:
    """The engine ended the attempt before its function returned."""
    if ending is Ending.CANCEL:
        return Outcome(status=JobStatus.CANCELLED)
    if ending is Ending.HARD_LIMIT:
        limit = attempt.kind.hard_limit or timedelta()
        return Outcome(
            status=JobStatus.FAILED,
            error=describe(
                JobTimeoutError(
                    f"job {attempt.job.job_id!r} was still running at its hard limit of "
                    f"{limit.total_seconds():g} s",
                    hint="raise hard_limit, or split the job",
                )
            ),
        )
    waits = [wait for wait in attempt.waits_at_end if wait.reason is not None]
    # An attempt that owes bookings holds budget that it may be waiting for itself.
    unsure = attempt.debts or len(waits) < len(attempt.waits_at_end) or not waits
    if ending is Ending.DRAIN or unsure:
        return Outcome(status=JobStatus.QUEUED, counts=False)
    reasons = {wait.reason for wait in waits}
    dues = [wait.until for wait in waits if wait.until is not None]
    after = min(dues) - attempt.now() if dues else None
    return Outcome(
        status=JobStatus.SUSPENDED,
        suspend_reason=next(reason for reason in _SUSPEND_ORDER if reason in reasons),
        available_after=None if after is None else max(after, timedelta()),
        counts=False,
    )


def outcome_of_error(attempt: Attempt, error: BaseException) -> Outcome:
    """The function raised: the job is tried again by its kind's policy, or has failed.

    An error that a step already retried in vain is final, whatever the job's policy says.
    Trouble of the store is not the job's fault: it is tried again and no attempt is eaten.
    """
    error = _culprit(error)
    if isinstance(error, StoreError) and error.transient:
        return Outcome(
            status=JobStatus.QUEUED,
            error=describe(error),
            available_after=_STORE_TROUBLE_WAIT,
            counts=False,
        )
    if not isinstance(error, StepFailedError):
        tries = attempt.job.attempt
        wait = next_wait(attempt.kind.retry, error, tries=tries, malformed_tries=tries, spread=jitter())
        if wait is not None:
            return Outcome(status=JobStatus.QUEUED, error=describe(error), available_after=wait)
    return Outcome(status=JobStatus.FAILED, error=describe(error))


def describe(error: BaseException) -> StoredError:
    """Turn an exception into what is stored of it: no pickles, no local variables."""
    details = {
        name: _plain_value(value)
        for name, value in vars(error).items()
        if isinstance(value, (str, int, float))
        and name not in {"message", "hint"}
        and not name.startswith("_")
    }
    frames = traceback.format_exception(error)
    return StoredError(
        type=type(error).__name__,
        code=error.code if isinstance(error, HoldfastError) else "exception",
        message=_encodable(_message(error)),
        details=details,
        traceback=_encodable("".join(frames), keep_end=True),
    )


def _culprit(error: BaseException) -> BaseException:
    """Look through the groups that task groups make of any error, if they come down to one."""
    leaves = _leaves(error)
    if len(leaves) == 1 or all(isinstance(leaf, StoreError) and leaf.transient for leaf in leaves):
        return leaves[0]
    return error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - somebody else's class; the failure must still be stored
        return f"{type(error).__name__} without a readable message"


def _encodable(text: str, *, keep_end: bool = False) -> str:
    """Cut a text to what is stored, and replace what UTF-8 does not have (lone surrogates)."""
    text = text[-_TRACEBACK_CHARACTERS:] if keep_end else text[:_MESSAGE_CHARACTERS]
    return text.encode("utf-8", "replace").decode()


def settlement_of(attempt: Attempt, outcome: Outcome) -> Settlement:
    """Add to an outcome what the attempt has learnt."""
    from holdfast.store.base import Settlement

    return Settlement(
        status=outcome.status,
        output=outcome.output,
        error=outcome.error,
        suspend_reason=outcome.suspend_reason,
        available_after=outcome.available_after,
        wake_after_seq=attempt.seen_seq if outcome.status is JobStatus.SUSPENDED else None,
        each_child=_waits_for_some_children(attempt),
        counts=outcome.counts,
        active_seconds=max(0.0, attempt.clock.monotonic() - attempt.started_at),
        progress=attempt.meter.snapshot(attempt.clock),
        step_seconds=attempt.meter.step_seconds,
    )


def _waits_for_some_children(attempt: Attempt) -> bool:
    """Whether a branch goes on before all the children known to be unfinished have ended."""
    unfinished = {job_id for job_id, ended in attempt.children.items() if not ended}
    return any(
        wait.reason is SuspendReason.CHILDREN and not unfinished <= wait.children
        for wait in attempt.waits_at_end
    )


def _plain_value(value: str | float) -> str | float:
    """Return a value that JSON has: subclasses such as NumPy's numbers become Python's own."""
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return repr(value)
