"""Exit statuses, and which error ends with which."""

from __future__ import annotations

from enum import IntEnum

from holdfast.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConfigError,
    HoldfastError,
    IdempotencyConflictError,
    JobCancelledError,
    JobFailedError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    MailUnavailableError,
    NotAuthenticatedError,
    OrderNotFoundError,
    OrderStateError,
    PaymentServiceError,
    RequestError,
    RequestTimeoutError,
    ServiceUnavailableError,
    StoreError,
    StreamsFullError,
    TooManyRequestsError,
    TooManyStreamsError,
    UnknownJobKindError,
    WebhookNotFoundError,
)
from holdfast.model import JobStatus


class ExitStatus(IntEnum):
    """What a command tells the shell; documented in `docs/reference/cli.md`."""

    OK = 0
    """Done."""
    FAILED = 1
    """Something unexpected, or `doctor` found a problem."""
    USAGE = 2
    """The command line or an input cannot be used."""
    JOB_FAILED = 3
    """The job has failed; `holdfast jobs retry` goes on from there."""
    JOB_CANCELLED = 4
    """The job was cancelled."""
    NOT_FOUND = 5
    """There is no such job, artifact, webhook or order."""
    CONFLICT = 6
    """The job or order is not in a status that allows this, the key belongs to another request, or
    something of a subject could not be erased."""
    PARKED = 75
    """The job waits for a higher budget; nothing goes on by itself."""
    UNAVAILABLE = 69
    """The store, the service or the payment service cannot be used right now."""
    CONFIGURATION = 78
    """Settings, a key or an installation that cannot work."""
    INTERRUPTED = 130
    """Ctrl-C; the work was handed back and goes on with the same command."""
    TERMINATED = 143
    """SIGTERM; otherwise as 130."""


# The first class that fits decides, so special cases stand before their bases.
_BY_ERROR: tuple[tuple[type[HoldfastError], ExitStatus], ...] = (
    (JobNotFoundError, ExitStatus.NOT_FOUND),
    (WebhookNotFoundError, ExitStatus.NOT_FOUND),
    (ArtifactNotFoundError, ExitStatus.NOT_FOUND),
    (OrderNotFoundError, ExitStatus.NOT_FOUND),
    (NotAuthenticatedError, ExitStatus.CONFIGURATION),
    (AccessDeniedError, ExitStatus.CONFIGURATION),
    (RequestTimeoutError, ExitStatus.UNAVAILABLE),
    (TooManyRequestsError, ExitStatus.UNAVAILABLE),
    (TooManyStreamsError, ExitStatus.UNAVAILABLE),
    (StreamsFullError, ExitStatus.UNAVAILABLE),
    (IdempotencyConflictError, ExitStatus.CONFLICT),
    (JobFinishedError, ExitStatus.CONFLICT),
    (JobNotFinishedError, ExitStatus.CONFLICT),
    (OrderStateError, ExitStatus.CONFLICT),
    (UnknownJobKindError, ExitStatus.USAGE),
    (RequestError, ExitStatus.USAGE),
    (JobFailedError, ExitStatus.JOB_FAILED),
    (JobCancelledError, ExitStatus.JOB_CANCELLED),
    (StoreError, ExitStatus.UNAVAILABLE),
    (ServiceUnavailableError, ExitStatus.UNAVAILABLE),
    (PaymentServiceError, ExitStatus.UNAVAILABLE),
    (MailUnavailableError, ExitStatus.UNAVAILABLE),
    (ConfigError, ExitStatus.CONFIGURATION),
)

_BY_STATUS = {
    JobStatus.FAILED: ExitStatus.JOB_FAILED,
    JobStatus.CANCELLED: ExitStatus.JOB_CANCELLED,
}


def status_of_error(error: HoldfastError) -> ExitStatus:
    """Return the exit status for an error that ends a command."""
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), ExitStatus.FAILED)


def status_of_job(status: JobStatus) -> ExitStatus:
    """Return the exit status for a command that ends with a job in this status."""
    return _BY_STATUS.get(status, ExitStatus.OK)
