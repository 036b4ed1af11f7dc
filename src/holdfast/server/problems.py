"""Errors on the wire: RFC 9457 problem details, with links to the page of errors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from holdfast.errors import (
    AccessDeniedError,
    ArtifactUnavailableError,
    ConfigError,
    HoldfastError,
    IdempotencyConflictError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    NotAuthenticatedError,
    RequestError,
    StoreError,
    UnknownJobKindError,
    UnserializableValueError,
    ValueTooLargeError,
    WebhookNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""How long a client should wait that came while the store was away."""

_STATUS: tuple[tuple[type[HoldfastError], int], ...] = (
    # The first that fits: special ones before what they derive from.
    (NotAuthenticatedError, 401),
    (AccessDeniedError, 403),
    (JobNotFoundError, 404),
    (UnknownJobKindError, 404),
    (WebhookNotFoundError, 404),
    (IdempotencyConflictError, 409),
    (JobFinishedError, 409),
    (JobNotFinishedError, 409),
    (ValueTooLargeError, 413),
    (UnserializableValueError, 422),
    (RequestError, 422),
    (StoreError, 503),
    (ArtifactUnavailableError, 503),
    (ConfigError, 500),
)


def status_of(error: HoldfastError) -> int:
    """Return the HTTP status that tells of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(
    status: int, code: str, detail: str, *, hint: str = "", headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return problem details; `type` is a link to the code's row on the page of errors."""
    body: dict[str, Any] = {
        "type": f"/errors#{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if hint:
        body["hint"] = hint
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> JSONResponse:
    """Return what a client is told of an error; one that nobody expected is told in the log."""
    if isinstance(error, HoldfastError):
        status = status_of(error)
        headers: dict[str, str] = {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status == 503:
            headers["Retry-After"] = str(RETRY_SECONDS)
        if status >= 500:
            logger.error("request failed", extra={"error": error.code})
        return problem(status, error.code, error.message, hint=error.hint, headers=headers)
    if isinstance(error, RequestValidationError):
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10]
        )
        return problem(422, "invalid_input", f"the request does not fit: {told}")
    if isinstance(error, HTTPException):
        return problem(
            error.status_code, "request", str(error.detail), headers=dict(error.headers or {})
        )
    logger.error("request failed", exc_info=error)
    return problem(500, "internal", "something went wrong here that nobody expected; it is in the log")


class ProblemRoute(APIRoute):
    """A route that tells its errors as problems, in whatever application it is mounted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - the last stop: nothing else would tell the client
                return problem_of(error)

        return handled
