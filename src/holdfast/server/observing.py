"""What is told of each request: a log line, a metric, a span.

None of them holds the path as it came, the query, a header or a body: the route stands for it, so
that no token, name or prompt gets anywhere by way of a URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from holdfast.ids import new_id
from holdfast.metrics import REQUEST_SECONDS, REQUESTS_ACTIVE
from holdfast.server.auth import is_job_id
from holdfast.telemetry import traces
from holdfast.telemetry.logs import bound_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
UNMATCHED = "unmatched"
"""Stands for the route where there is none."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES = ("/health/", "/metrics")
"""Routes that are asked every few seconds: told at debug level only."""
_EVENT_STREAM = "text/event-stream"
_CLIENT_LEFT = 499
"""Status, in logs and metrics, of a request whose client did not wait for the answer."""


class ObserveRequests:
    """ASGI middleware around everything that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        with bound_fields(request_id=request_id):
            await _Observed(scope, send, request_id).run(self._app, receive, headers.get("traceparent"))


class _Observed:
    """One request while it is answered."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._began = asyncio.get_running_loop().time()
        self._status: int | None = None
        self._measured = False
        self.method = "WEBSOCKET"
        if scope["type"] == "http":
            self.method = scope["method"] if scope["method"] in _METHODS else "_OTHER"

    async def run(self, app: ASGIApp, receive: Receive, traceparent: str | None) -> None:
        """Have the request answered, and tell of it."""
        error: BaseException | None = None
        with REQUESTS_ACTIVE.labels(self.method).track_inprogress(), self._traced(traceparent) as span:
            try:
                await app(self._scope, receive, self._sent)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._end(error)
                if span is not None and span.is_recording():
                    self._describe(span)

    @property
    def route(self) -> str:
        """The template that the path fits; known once the router has seen it."""
        # FastAPI keeps the template with the prefixes of all routers apart from the route.
        effective = self._scope.get("fastapi", {}).get("effective_route_context")
        found = effective or self._scope.get("route")
        return getattr(found, "path", None) or UNMATCHED

    async def _sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            if headers.get("content-type", "").startswith(_EVENT_STREAM):
                # How long somebody listens says nothing about how fast this service is.
                self._measure()
        elif message["type"] == "websocket.accept":
            self._status = 101
        await self._send(message)

    def _end(self, error: BaseException | None) -> None:
        if self._status is None:
            left = isinstance(error, asyncio.CancelledError)
            self._status = _CLIENT_LEFT if left else 500 if error is not None else 403
        self._measure()
        route = self.route
        job_id = self._scope.get("path_params", {}).get("job_id")
        logger.log(
            logging.DEBUG if route.startswith(_PROBES) else logging.INFO,
            "request",
            extra={
                "method": self.method,
                "route": route,
                "status": self._status,
                "duration_seconds": round(asyncio.get_running_loop().time() - self._began, 6),
                **({"job_id": job_id} if job_id is not None and is_job_id(job_id) else {}),
            },
        )

    def _measure(self) -> None:
        if self._measured or self._scope["type"] != "http":
            return
        self._measured = True
        REQUEST_SECONDS.labels(self.method, self.route, str(self._status)).observe(
            asyncio.get_running_loop().time() - self._began
        )

    @contextlib.contextmanager
    def _traced(self, traceparent: str | None) -> Iterator[Span | None]:
        parent = None if traceparent is None else traces.context_of(traceparent)
        span = traces.start_span(self.method, traces.Kind.SERVER, parent=parent)
        if span is None:
            yield None
            return
        with traces.under(span):
            yield span

    def _describe(self, span: Span) -> None:
        route, status = self.route, self._status or 0
        span.update_name(f"{self.method} {route}")
        described: dict[str, Any] = {
            "http.request.method": self.method,
            "http.route": route,
            "http.response.status_code": status,
            "url.scheme": self._scope.get("scheme", "http"),
            "holdfast.request.id": self._request_id,
        }
        if status >= 500:
            described["error.type"] = str(status)
            traces.mark_failed(span)
        span.set_attributes(described)
