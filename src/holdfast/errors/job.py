"""Errors in the course of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors.base import HoldfastError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta


class JobError(HoldfastError):
    """Something in the course of a job."""

    code = "job"


class RetryLaterError(JobError):
    """Raised by step or job code: try again after `retry_after`."""

    code = "retry_later"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FatalError(JobError):
    """Raised by step or job code: trying again is pointless."""

    code = "fatal"


class StepFailedError(JobError):
    """A step failed for good; the cause is chained."""

    code = "step_failed"

    def __init__(self, *, step_key: str, attempts: int, cause: BaseException) -> None:
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__(
            f"step {step_key!r} failed after {tries}: {type(cause).__name__}: {cause}",
            hint="'holdfast jobs retry' goes on from this step once the cause is mended",
        )
        self.step_key = step_key
        self.attempts = attempts
        # Stored with the error, so that failures can be told apart by what was behind them.
        self.cause = type(cause).__name__
        self.cause_code = cause.code if isinstance(cause, HoldfastError) else "exception"


class StepTimeoutError(JobError):
    """One attempt of a step took longer than its time limit."""

    code = "step_timeout"
    transient = True

    def __init__(self, *, step_key: str, limit_seconds: float) -> None:
        super().__init__(
            f"step {step_key!r} was still running after its limit of {limit_seconds:g} s",
            hint="raise timeout= if the step may take longer",
        )
        self.step_key = step_key


class DuplicateStepError(JobError):
    """A step key was used twice in one attempt."""

    code = "duplicate_step"

    def __init__(self, *, step_key: str, job_id: str, kind: str) -> None:
        super().__init__(
            f"step {step_key!r} was used twice in job {job_id!r} (kind {kind!r}); keys must be unique"
            f' – in a loop add the item, e.g. f"{step_key}/{{item}}"'
        )
        self.step_key = step_key


class StepUsageError(JobError):
    """A step was declared or called in a way that cannot work."""

    code = "step_usage"


class ValueTooLargeError(JobError):
    """A value exceeds a size limit."""

    code = "value_too_large"


class SignalTimeoutError(JobError, TimeoutError):
    """No signal came in the time given; the same in every later attempt, so not transient."""

    code = "signal_timeout"


class UnserializableValueError(JobError):
    """A value has no JSON form that would come back as what went in."""

    code = "unserializable_value"


class CheckpointTypeError(JobError):
    """A stored value does not fit the type the code now declares for it."""

    code = "checkpoint_type"


class CheckpointConflictError(JobError):
    """A step key already holds a different value."""

    code = "checkpoint_conflict"

    def __init__(self, *, step_key: str, job_id: str) -> None:
        super().__init__(
            f"step {step_key!r} of job {job_id!r} already holds a different result",
            hint="a finished step is never overwritten; use another key for another result",
        )
        self.step_key = step_key


class BudgetExceededError(JobError):
    """A provider call would pass the budget; the job parks until it is raised."""

    code = "budget_exceeded"

    def __init__(self, message: str, *, hint: str = "", until: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.until = until
        """When it is worth trying again although nobody has raised it; None for never."""


class MapFailedError(JobError):
    """Some items of a map, or gathered children, failed for good; the others were finished."""

    code = "map_failed"

    def __init__(self, *, what: str, failures: Mapping[str, Exception], total: int) -> None:
        listed = "; ".join(f"{key!r}: {error}" for key, error in list(failures.items())[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        super().__init__(f"{len(failures)} of {total} {what} failed: {listed}{more}")
        self.failures = failures


class BundleIncompleteError(JobError):
    """Some reports of a bundle could not be made; all have ended, and the others are ready."""

    code = "bundle_incomplete"

    def __init__(self, *, failed: Sequence[str], total: int) -> None:
        super().__init__(
            f"{len(failed)} of {total} reports could not be made: {', '.join(map(repr, failed))}",
            hint="their own jobs tell why; what is ready stays, and a retry makes only what failed",
        )
        self.failed = tuple(failed)
        """Products that there is no report of."""


class IsolationError(JobError):
    """A child process ended without a result."""

    code = "isolation"


class JobTimeoutError(JobError):
    """The job ran longer than its hard limit."""

    code = "job_timeout"


class SoftLimitError(JobError):
    """The job ran longer than its soft limit; raised once, at its next step."""

    code = "soft_limit"


class PoisonJobError(JobError):
    """The job took its worker down too often in the same step."""

    code = "poison_job"


class JobFailedError(JobError):
    """Raised to whoever waits for the output of a job that failed."""

    code = "job_failed"

    def __init__(self, message: str, *, hint: str = "", failed_with: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.failed_with = failed_with
        """Code of the error that the job failed with."""


class JobCancelledError(JobError):
    """Raised to whoever waits for the output of a job that was cancelled."""

    code = "job_cancelled"


class WebhookUndeliveredError(JobError):
    """A webhook's receiver did not take a message; it is told again by the schedule."""

    code = "webhook_undelivered"
    transient = True

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class WebhookRefusedError(JobError):
    """A webhook's URL leads where requests must not go."""

    code = "webhook_refused"
