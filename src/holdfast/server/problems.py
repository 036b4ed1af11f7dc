"""Errors on the wire: RFC 9457 problem details, with links to the page of errors."""

from __future__ import annotations

import functools
import json
import logging
import traceback
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic_core
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from holdfast.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactUnavailableError,
    ConfigError,
    HoldfastError,
    IdempotencyConflictError,
    InvalidSignatureError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    KeyNotFoundError,
    NotAuthenticatedError,
    OrderFileNotFoundError,
    OrderNotFoundError,
    OrderStateError,
    PaymentServiceError,
    RequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    StoreError,
    StreamsFullError,
    TooManyRequestsError,
    TooManyStreamsError,
    UnknownJobKindError,
    UnserializableValueError,
    ValueTooLargeError,
    WebhookNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response
    from starlette.types import Scope

logger = logging.getLogger(__name__)

INTERNAL = "internal"
"""Code of an error that is none of ours."""
MEDIA_TYPE = "application/problem+json"
_TOLD_MAX = 10
WITHHELD = "this cannot be done right now; the log of the service says why"
"""Told instead of the message of an error that is not the caller's."""

FIND_BASE = "holdfast.find_base"
"""Key of a request's scope: what finds its base where it is not known yet, but could be."""

RETRY_SECONDS = 5
"""How long a client should wait that came while the store was away."""

_STATUS: tuple[tuple[type[HoldfastError], int], ...] = (
    # The first that fits: special ones before what they derive from.
    (NotAuthenticatedError, 401),
    (AccessDeniedError, 403),
    (JobNotFoundError, 404),
    (ArtifactNotFoundError, 404),
    (KeyNotFoundError, 404),
    (WebhookNotFoundError, 404),
    (OrderNotFoundError, 404),
    (OrderFileNotFoundError, 404),
    (InvalidSignatureError, 400),
    (OrderStateError, 409),
    (IdempotencyConflictError, 409),
    (JobFinishedError, 409),
    (JobNotFinishedError, 409),
    (RequestTimeoutError, 408),
    (RequestTooLargeError, 413),
    (ValueTooLargeError, 413),
    (TooManyRequestsError, 429),
    (UnknownJobKindError, 422),
    (UnserializableValueError, 422),
    (TooManyStreamsError, 429),
    (StreamsFullError, 503),
    (RequestError, 422),
    (StoreError, 503),
    (PaymentServiceError, 503),
    (ArtifactUnavailableError, 503),
    (ConfigError, 500),
)


class Problem(BaseModel):
    """What went wrong, as RFC 9457 problem details."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "/errors#job_not_found",
                    "title": "job not found",
                    "status": 404,
                    "detail": "job 'job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC' does not exist in this store",
                    "code": "job_not_found",
                    "hint": "check the id with 'holdfast jobs list'; pruned jobs are gone",
                }
            ]
        },
    )

    type: str
    """Link to what the code means."""
    title: str
    status: int
    detail: str
    """What happened to which thing."""
    code: str
    """Stable: what programs go by."""
    hint: str | None = None
    """What to do."""
    details: dict[str, str | int | float | bool | list[str] | None] | None = None
    """Fields of the error, such as `job_id`."""


def status_of(error: HoldfastError) -> int:
    """Return the HTTP status that tells of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def base_of(scope: Scope) -> str:
    """Return what this service's own paths are below, as the client sees it."""
    root: str = scope.get("root_path", "")
    route = scope.get("route")
    if not isinstance(route, ProblemRoute):
        # Refused before a route was chosen.
        find_base = scope.get(FIND_BASE)
        return root if find_base is None else str(find_base())
    # The route knows its path without the prefixes of the routers that it was included by.
    path = scope["path"]
    own = route.path_format.format(**scope["path_params"])
    if not own.startswith("/api/"):
        own = f"/api/v1{own}"
    return path.removesuffix(own) if path.endswith(own) else root


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    details: dict[str, Any] | None = None,
    base: str = "",
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return problem details; `type` is a link to the code's row on the page of errors."""
    body: dict[str, Any] = {
        "type": f"{base}/errors#{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if hint:
        body["hint"] = hint
    if details:
        body["details"] = details
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception, base: str = "") -> JSONResponse:
    """Return what a client is told of an error; one that nobody expected is told in the log.

    Args:
        error: What was raised.
        base: What the page of errors is below.
    """
    told = functools.partial(problem, base=base)
    if isinstance(error, HoldfastError):
        status = status_of(error)
        headers: dict[str, str] = {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status in {429, 503}:
            headers["Retry-After"] = str(RETRY_SECONDS)
        if isinstance(error, TooManyRequestsError):
            headers["Retry-After"] = str(error.retry_after)
        if status >= 500:
            # Its message may name hosts and folders, which are nobody's business out there.
            logger.error("request failed", extra={"error": error.code, "told": error.message})
            return told(status, error.code, WITHHELD, headers=headers)
        return told(
            status, error.code, error.message, hint=error.hint, details=_fields(error), headers=headers
        )
    if isinstance(error, RequestValidationError):
        places = "; ".join(map(_told, error.errors()[:_TOLD_MAX]))
        return told(422, "invalid_input", f"the request does not fit: {places}")
    if isinstance(error, HTTPException):
        return told(error.status_code, "request", str(error.detail), headers=dict(error.headers or {}))
    log_unexpected(error)
    return told(500, INTERNAL, "something went wrong here that nobody expected; it is in the log")


def log_unexpected(error: Exception) -> None:
    """Log where an error happened, but not what it says: that may quote what somebody sent."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request failed", extra={"error": type(error).__name__, "frames": frames})


def _fields(error: HoldfastError) -> dict[str, Any]:
    """Return what an error knows beside its message, as far as it is plain."""
    plain = (str, int, float, bool, type(None))
    found: dict[str, Any] = {}
    for name, value in vars(error).items():
        if name in {"message", "hint"}:
            continue
        if isinstance(value, plain):
            found[name] = value
        elif isinstance(value, tuple) and all(isinstance(each, str) for each in value):
            found[name] = list(value)
    return found


def _told(found: dict[str, Any]) -> str:
    """Say where a request does not fit and why; never with the value that does not."""
    if found["type"] == "json_invalid":
        return f"the body is no JSON: {found['ctx']['error']}"
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}"


class JsonRequest(Request):
    """A request whose JSON is read strictly: UTF-8, no NaN, no lone surrogates, no endless nesting."""

    async def json(self) -> Any:
        try:
            return pydantic_core.from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


_ALWAYS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        401: "No key, or one that is not good.",
        403: "The key does not allow this.",
        408: "The body stopped coming.",
        413: "The body is too large.",
        422: "The request does not fit.",
        429: "Too many requests.",
        500: "Something failed that nobody expected.",
        503: "The store or the artifact storage does not answer.",
    }.items()
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such thing, or it is somebody else's."}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The job's state, or an earlier request, does not allow it."}
}


class ProblemRoute(APIRoute):
    """A route that reads JSON strictly and tells its errors as problems, wherever it is mounted."""

    failures: ClassVar[dict[int | str, dict[str, Any]]] = _ALWAYS
    """How any request may end, whatever its function does."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: dict[int | str, dict[str, Any]] | None = None,
        operation_id: str | None = None,
        **options: Any,
    ) -> None:
        """Make a route; the name of its function is its operation id."""
        super().__init__(
            path,
            endpoint,
            responses={**self.failures, **(responses or {})},
            operation_id=operation_id or endpoint.__name__,
            **options,
        )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(JsonRequest(request.scope, request.receive))
            except Exception as error:  # noqa: BLE001 - the last stop: nothing else would tell the client
                return problem_of(error, base_of(request.scope))

        return handled


class OpenRoute(ProblemRoute):
    """A `ProblemRoute` that anybody may ask."""

    failures: ClassVar[dict[int | str, dict[str, Any]]] = {
        status: told for status, told in _ALWAYS.items() if status not in {401, 403}
    }
