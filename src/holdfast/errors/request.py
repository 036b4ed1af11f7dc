"""Errors of whoever sets up, and of whoever asks."""

from __future__ import annotations

from holdfast.errors.base import HoldfastError


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
    """The idempotency key belongs to a job with another kind or input, or to another order."""

    code = "idempotency_conflict"

    def __init__(self, *, key: str, job_id: str = "", order_id: str = "") -> None:
        super().__init__(
            f"order {order_id!r} is on record already, for another product or with other details"
            if order_id
            else f"key {key!r} already belongs to job {job_id!r} with a different input",
            hint="reuse the key only for the same request",
        )
        self.key = key
        self.job_id = job_id
        """Empty where an order holds the key."""
        self.order_id = order_id
        """Empty where a job holds the key."""


class JobFinishedError(RequestError):
    """The job is terminal, so it can no longer be changed in this way."""

    code = "job_finished"

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        super().__init__(
            f"job {job_id!r} cannot {action}: it is already '{status}'",
            hint="'retry' runs a failed or cancelled job again, 'fork' copies a finished one",
        )
        self.job_id = job_id


class JobNotFinishedError(RequestError):
    """The job is not terminal yet, so it cannot be retried."""

    code = "job_not_finished"

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        super().__init__(
            f"job {job_id!r} cannot {action}: it is '{status}'",
            hint="wait until it has failed or was cancelled, or cancel it first",
        )
        self.job_id = job_id


class RequestTooLargeError(RequestError):
    """The body of a request is larger than the service takes."""

    code = "request_too_large"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(
            f"the request's body is larger than {limit_bytes:,} bytes",
            hint="send less, or raise HOLDFAST_BODY_BYTES_MAX",
        )
        self.limit_bytes = limit_bytes


class RequestTimeoutError(RequestError):
    """The body of a request stopped coming before its end."""

    code = "request_timeout"
    transient = True

    def __init__(self, *, seconds: float) -> None:
        super().__init__(
            f"nothing of the request's body came for {seconds:g} s, and it is not complete",
            hint="send the request again, all of it at once",
        )
        self.seconds = seconds


class TooManyRequestsError(RequestError):
    """One caller asked more often than the service answers."""

    code = "too_many_requests"
    transient = True

    def __init__(self, *, limit: int, retry_after: int) -> None:
        super().__init__(
            f"more than {limit:,} requests within a minute",
            hint=f"try again in {retry_after} s, or raise HOLDFAST_CLIENT_REQUESTS_PER_MINUTE",
        )
        self.limit = limit
        self.retry_after = retry_after


class ArtifactNotFoundError(RequestError):
    """The job has saved no artifact of that name."""

    code = "artifact_not_found"

    def __init__(self, *, job_id: str, name: str) -> None:
        super().__init__(
            f"job {job_id!r} has no artifact {name!r}", hint="list the job's artifacts; names are exact"
        )
        self.name = name


class KeyNotFoundError(RequestError):
    """No key in force has that id."""

    code = "key_not_found"

    def __init__(self, *, key_id: str) -> None:
        super().__init__(
            f"there is no key {key_id!r} in force", hint="'holdfast keys list' shows those there are"
        )
        self.key_id = key_id


class WebhookNotFoundError(RequestError):
    """No webhook has that id."""

    code = "webhook_not_found"

    def __init__(self, *, webhook_id: str) -> None:
        super().__init__(
            f"webhook {webhook_id!r} does not exist",
            hint="'holdfast webhooks list' shows those there are; one that answered 410 was deleted",
        )
        self.webhook_id = webhook_id


class NotAuthenticatedError(RequestError):
    """The service does not know who is asking."""

    code = "not_authenticated"

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="send a key as 'Authorization: Bearer …'; 'holdfast keys' makes one"
        )


class AccessDeniedError(RequestError):
    """The key does not allow what was asked for."""

    code = "access_denied"

    def __init__(self, *, name: str, action: str) -> None:
        super().__init__(
            f"key {name!r} does not allow '{action}'", hint="use a key that was made with this action"
        )
        self.action = action


class StreamsFullError(RequestError):
    """This server process has as many open streams as it may."""

    code = "streams_full"
    transient = True

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"this server process has {limit} open streams, the most it may have",
            hint="try again soon; run more servers, or raise HOLDFAST_STREAMS_MAX and 'ulimit -n'",
        )
        self.limit = limit


class TooManyStreamsError(RequestError):
    """One key, or one job's token, has as many open streams as it may."""

    code = "too_many_streams"
    transient = True

    def __init__(self, *, name: str, limit: int) -> None:
        super().__init__(
            f"{name!r} has {limit} open streams on this server process, the most it may have",
            hint="close streams that nobody looks at, or raise HOLDFAST_CLIENT_STREAMS_MAX",
        )
        self.limit = limit


class OrderNotFoundError(RequestError):
    """No order has that id."""

    code = "order_not_found"

    def __init__(self, *, order_id: str) -> None:
        super().__init__(
            f"order {order_id!r} does not exist",
            hint="'holdfast orders list' shows those there are; unpaid ones are deleted after a while",
        )
        self.order_id = order_id


class OrderStateError(RequestError):
    """The order is not in a state in which this can be done."""

    code = "order_state"

    def __init__(self, *, order_id: str, status: str, action: str) -> None:
        super().__init__(
            f"order {order_id!r} cannot {action}: it is {status!r}",
            hint="'holdfast orders show' tells what has happened to it",
        )
        self.order_id = order_id


class OrderFileNotFoundError(RequestError):
    """The order has no such report: it is not ready, was given back, or is no part of the order."""

    code = "order_file_not_found"

    def __init__(self, *, order_id: str, product: str) -> None:
        super().__init__(
            f"order {order_id!r} has no report {product!r} to download",
            hint="the order's 'parts' tell which reports are ready",
        )
        self.order_id = order_id
        self.product = product


class InvalidSignatureError(RequestError):
    """A webhook was not signed by whom it should come from, or too long ago."""

    code = "invalid_signature"
