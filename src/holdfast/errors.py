"""Every exception of Holdfast.

HoldfastError(code, hint)
├── ConfigError            UnknownJobKindError · DuplicateJobKindError · SchemaVersionError
├── RequestError           JobNotFoundError · InvalidInputError · IdempotencyConflictError
│                          · JobFinishedError · JobNotFinishedError
├── JobError               RetryLaterError · FatalError · StepFailedError · StepTimeoutError
│                          · DuplicateStepError · StepUsageError · ValueTooLargeError
│                          · UnserializableValueError · CheckpointTypeError · CheckpointConflictError
│                          · BudgetExceededError · MapFailedError · IsolationError
│                          · JobTimeoutError · SoftLimitError · PoisonJobError · JobFailedError
│                          · JobCancelledError · SignalTimeoutError
├── StoreError             StoreUnavailableError (transient) · StoreFullError · StoreCorruptError
│                          · SealedValueError
├── ArtifactError          ArtifactUnavailableError (transient)
├── DispatchError
└── LLMError               RateLimitedError · ProviderUnavailableError · ProviderTimeoutError
                           · ContextTooLongError · ContentRefusedError · InvalidResponseError
                           · TruncatedResponseError · ProviderRequestError · AccountRefusedError
                           · LaneHeldError
signal (BaseException):    LeaseLost

A message says what happened to which thing, the limit or cause, and what to do.
`code` is stable and has a row in `docs/errors.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose."""

    code: ClassVar[str] = "holdfast_error"
    transient: ClassVar[bool] = False
    """Whether trying again later may help without anything else changing."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


# --- configuration -------------------------------------------------------------------------


class ConfigError(HoldfastError):
    """Settings or registrations that cannot work; raised at start, before any job runs."""

    code = "config"


class UnknownJobKindError(ConfigError):
    """No job of that kind is registered in this application."""

    code = "unknown_job_kind"

    def __init__(self, *, kind: str, known: tuple[str, ...]) -> None:
        listed = ", ".join(repr(name) for name in known) or "none"
        super().__init__(
            f"job kind {kind!r} is not registered; registered kinds: {listed}",
            hint="check the spelling, or import the module that defines the job before submitting",
        )
        self.kind = kind


class DuplicateJobKindError(ConfigError):
    """Two functions were registered under one kind."""

    code = "duplicate_job_kind"

    def __init__(self, *, kind: str) -> None:
        super().__init__(
            f"job kind {kind!r} is registered twice", hint="give one of the two functions another kind"
        )
        self.kind = kind


class SchemaVersionError(ConfigError):
    """The database is at a schema that this release does not work with."""

    code = "schema_version"

    def __init__(self, *, found: str, needed: str, newer: bool) -> None:
        hint = (
            "upgrade this process to the release that wrote the database"
            if newer
            else "run 'holdfast migrate' (safe while workers are running)"
        )
        super().__init__(f"database is at schema {found!r}, this release needs {needed!r}", hint=hint)
        self.found = found
        self.needed = needed
        self.newer = newer


# --- requests --------------------------------------------------------------------------------


class RequestError(HoldfastError):
    """A caller asked for something that cannot be done; nothing was changed."""

    code = "request"


class JobNotFoundError(RequestError):
    """No job has that id."""

    code = "job_not_found"

    def __init__(self, *, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} does not exist in this store",
            hint="check the id with 'holdfast jobs list'; pruned jobs are gone",
        )
        self.job_id = job_id


class InvalidInputError(RequestError):
    """An input does not fit what the job kind or the call declares."""

    code = "invalid_input"


class IdempotencyConflictError(RequestError):
    """The idempotency key belongs to a job with another kind or input."""

    code = "idempotency_conflict"

    def __init__(self, *, key: str, job_id: str) -> None:
        super().__init__(
            f"key {key!r} already belongs to job {job_id!r} with a different input",
            hint="reuse the key only for the same request",
        )
        self.key = key
        self.job_id = job_id


class JobFinishedError(RequestError):
    """The job is terminal, so it can no longer be changed in this way."""

    code = "job_finished"

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        super().__init__(
            f"job {job_id!r} cannot {action}: it is already {status!r}",
            hint="'retry' runs a failed or cancelled job again, 'fork' copies a finished one",
        )
        self.job_id = job_id


class JobNotFinishedError(RequestError):
    """The job is not terminal yet, so it cannot be retried."""

    code = "job_not_finished"

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        super().__init__(
            f"job {job_id!r} cannot {action}: it is {status!r}",
            hint="wait until it has failed or was cancelled, or cancel it first",
        )
        self.job_id = job_id


# --- job code ----------------------------------------------------------------------------------


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


class MapFailedError(JobError):
    """Some items of a map, or gathered children, failed for good; the others were finished."""

    code = "map_failed"

    def __init__(self, *, what: str, failures: Mapping[str, Exception], total: int) -> None:
        listed = "; ".join(f"{key!r}: {error}" for key, error in list(failures.items())[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        super().__init__(f"{len(failures)} of {total} {what} failed: {listed}{more}")
        self.failures = failures


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


class JobCancelledError(JobError):
    """Raised to whoever waits for the output of a job that was cancelled."""

    code = "job_cancelled"


# --- seams -------------------------------------------------------------------------------------


class StoreError(HoldfastError):
    """The store cannot do what was asked."""

    code = "store"


class StoreUnavailableError(StoreError):
    """The store did not answer in time; the same call may succeed later."""

    code = "store_unavailable"
    transient = True


class StoreFullError(StoreError):
    """There is no room left for the write; what was committed before is safe."""

    code = "store_full"
    transient = True


class StoreCorruptError(StoreError):
    """The database file is damaged or is not a Holdfast database."""

    code = "store_corrupt"


class SealedValueError(StoreError):
    """A stored value is sealed and cannot be opened here."""

    code = "sealed_value"

    def __init__(self, *, field: str, owner: tuple[str, ...], key_id: str, known_key: bool) -> None:
        of = f" of {', '.join(map(repr, owner))}" if owner else ""
        if known_key:
            told = f"{field}{of} does not open with sealing key {key_id!r}"
            hint = "it was damaged, changed or moved, or sealed with another key under the same id"
        else:
            told = f"{field}{of} is sealed with key {key_id!r}, which is not among the sealing keys"
            hint = "add that key to HOLDFAST_SEALING_KEYS; without it nothing can open the value"
        super().__init__(told, hint=hint)
        self.key_id = key_id


class ArtifactError(HoldfastError):
    """A file could not be written to or read from artifact storage."""

    code = "artifact"


class ArtifactUnavailableError(ArtifactError):
    """Artifact storage did not answer, or has no room; the same call may succeed later."""

    code = "artifact_unavailable"
    transient = True


class DispatchError(HoldfastError):
    """A job could not be announced to the workers; the waker will announce it again."""

    code = "dispatch"
    transient = True


# --- model calls -------------------------------------------------------------------------------


class LLMError(HoldfastError):
    """A model call did not give a usable answer."""

    code = "llm"


class RateLimitedError(LLMError):
    """The provider refused the call because of its rate limits."""

    code = "rate_limited"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderUnavailableError(LLMError):
    """The provider failed or could not be reached (408, 409, 5xx, connection)."""

    code = "provider_unavailable"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderTimeoutError(LLMError):
    """The provider did not finish the call within its time limit."""

    code = "provider_timeout"
    transient = True


class ProviderRequestError(LLMError):
    """The provider refused the request itself (4xx); the same request will be refused again."""

    code = "provider_request"


class ContextTooLongError(LLMError):
    """The request does not fit into the model's context."""

    code = "context_too_long"


class ContentRefusedError(LLMError):
    """The model or a filter of the provider refused to answer."""

    code = "content_refused"


class InvalidResponseError(LLMError):
    """The model's output does not fit the asked schema; retried under its own small limit."""

    code = "invalid_response"
    transient = True
    malformed: ClassVar[bool] = True


class TruncatedResponseError(LLMError):
    """The output ended at `max_output_tokens`; the same request would end there again."""

    code = "truncated_response"


class AccountRefusedError(LLMError):
    """The provider refuses every call of the account: quota exhausted or key refused.

    Raised by providers; the client parks the lane and raises `LaneHeldError` instead.
    """

    code = "account_refused"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LaneHeldError(LLMError):
    """The lane is parked (quota exhausted or key refused); the job suspends, no attempt is eaten."""

    code = "lane_held"

    def __init__(self, message: str, *, until: datetime, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.until = until


class LeaseLost(BaseException):
    """This attempt no longer owns the job: another claim, a rescue or a drain came between.

    Not to be caught by job code: nothing the attempt still does can be stored.
    """
