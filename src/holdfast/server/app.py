"""The service as an ASGI application, and as a router for others' applications."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse

from holdfast.server import (
    artifacts,
    console,
    errors_page,
    events,
    exposition,
    health,
    job_tokens,
    jobs,
    keys,
    kinds,
    operations,
    records,
    webhooks,
    websocket,
)
from holdfast.server.body_limit import BodyLimit
from holdfast.server.console.pages import SectionRouter
from holdfast.server.guard import Guard, GuardedRouter
from holdfast.server.observing import ObserveRequests
from holdfast.server.openapi import DESCRIPTION, TAGS, DescribedApi
from holdfast.server.problems import problem_of
from holdfast.server.rate_limit import RateLimit
from holdfast.server.response_headers import ResponseHeaders
from holdfast.server.stopping import closing_on_signals
from holdfast.server.streams import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.responses import Response

    from holdfast.server.service import Service, ServiceOptions

    OpenService = Callable[[], AbstractAsyncContextManager[Service]]

ROUTERS = (
    jobs.router,
    records.router,
    artifacts.router,
    job_tokens.router,
    kinds.router,
    keys.router,
    events.router,
    websocket.router,
    operations.router,
    webhooks.router,
)
"""All resources, each with its own path below `/api/v1`."""

ROOT_ROUTERS = (exposition.router, errors_page.router, console.router)
"""What is asked for at the root, by machines that know no versions and by people; health beside it."""

ASKED_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"),
    *("If-None-Match", "If-Range", "Range"),
)
"""What pages of allowed origins may send."""

EXPOSED_HEADERS = (
    *("Location", "Retry-After", "ETag", "Idempotent-Replayed", "Content-Range", "Content-Disposition"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)
"""What pages of allowed origins may read."""


def create_router(
    open_service: OpenService,
    guarded_by: ServiceOptions | None = None,
    *,
    routers: Sequence[APIRouter] = (),
) -> APIRouter:
    """Return all routes as a router, for `include_router` of a FastAPI application.

    The service is opened and closed with the application that it is included in.

    Args:
        open_service: Opens it.
        guarded_by: Limits of requests where the application has no middleware of ours.
        routers: Of applications, with whole paths of their own.
    """
    sections = [each.section for each in routers if isinstance(each, SectionRouter)]

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        async with open_service() as service, Streams(service).running() as streams:
            try:
                with closing_on_signals(service.closing):
                    yield {
                        "holdfast": service,
                        "holdfast_streams": streams,
                        "holdfast_sections": sections,
                    }
            finally:
                service.closing.set()
                await service.checks.close()
                await service.fleet.close()

    router = APIRouter(lifespan=lifespan)
    if guarded_by is None:
        counted = uncounted = router
    else:
        counted = GuardedRouter(Guard(guarded_by))
        uncounted = GuardedRouter(Guard(guarded_by, counting=False))
    uncounted.include_router(health.router)
    for resource in ROUTERS:
        counted.include_router(resource, prefix="/api/v1")
    for resource in (*ROOT_ROUTERS, *routers):
        counted.include_router(resource)
    for guarded in (uncounted, counted):
        if guarded is not router:
            router.include_router(guarded)
    return router


def create_api(
    open_service: OpenService, options: ServiceOptions, *, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """Return the whole service as an application of its own; see `create_router`."""
    api = DescribedApi(
        title="Holdfast",
        summary="Durable jobs for long AI work.",
        description=DESCRIPTION,
        version=version("holdfast"),
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        # Its spans hold paths and queries, and a query may hold a token; see `observing`.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    # Each goes around those before it: the last one sees a request first.
    api.add_middleware(BodyLimit, bytes_max=options.body_bytes_max)
    api.add_middleware(RateLimit, per_minute=options.requests_per_minute)
    if options.cors_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=options.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=ASKED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
        )
    api.add_middleware(ResponseHeaders, https=options.public_url.startswith("https://"))
    api.include_router(create_router(open_service, routers=routers))
    api.add_api_route("/", _to_console, include_in_schema=False)
    api.add_exception_handler(HTTPException, _told)
    api.add_exception_handler(RequestValidationError, _told)
    api.add_exception_handler(Exception, _told)
    # Added last, so that it is around all others and sees what they answer.
    api.add_middleware(ObserveRequests)
    return api


async def _to_console() -> RedirectResponse:
    return RedirectResponse("/console", 303)


async def _told(_: Request, error: Exception) -> Response:
    return problem_of(error)
