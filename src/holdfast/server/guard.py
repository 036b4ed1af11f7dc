"""What stands before the routes where they are part of another application."""

from __future__ import annotations

import functools
import re
from itertools import islice
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.routing import Match

from holdfast.server.body_limit import BodyLimit
from holdfast.server.problems import FIND_BASE
from holdfast.server.rate_limit import RateLimit
from holdfast.server.response_headers import ResponseHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from holdfast.server.service import ServiceOptions

_HANDLE = "holdfast.handle"
_PREFIXES_MAX = 8
"""Places in a path that are looked at: the prefix is somebody's choice, but the path is a client's."""


class Guard:
    """Limits bodies and requests and dresses answers, for the service's routes alone."""

    def __init__(self, options: ServiceOptions, *, counting: bool = True) -> None:
        """Take the limits; one guard counts the requests of all routes together, or none of them."""
        app: ASGIApp = BodyLimit(_go_on, bytes_max=options.body_bytes_max)
        if counting:
            app = RateLimit(app, per_minute=options.requests_per_minute)
        self._app = ResponseHeaders(app, https=options.public_url.startswith("https://"))

    async def __call__(self, handle: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_HANDLE] = handle
        await self._app(scope, receive, send)


async def _go_on(scope: Scope, receive: Receive, send: Send) -> None:
    await scope[_HANDLE](scope, receive, send)


class GuardedRouter(APIRouter):
    """Routes of all sorts, pages and WebSockets too, that a guard of the service stands before."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the guard look first; others' applications bring none of ours along."""
        scope[FIND_BASE] = functools.partial(self._find_base, scope)
        await self._guard(super().handle, scope, receive, send)

    def _find_base(self, scope: Scope) -> str:
        """Return what the routes were included below, by the first place from which one fits."""
        root, path = scope.get("root_path", ""), scope["path"]
        for place in islice(re.finditer("/", path), _PREFIXES_MAX):
            asked = {"type": "http", "method": "GET", "headers": [], "root_path": ""}
            asked["path"] = path[place.start() :]
            if any(route.matches(asked)[0] is not Match.NONE for route in self.routes):
                return str(path[: place.start()])
        return str(root)
