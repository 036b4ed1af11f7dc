"""Refuses callers that ask too often: each key, or each address without a good one, by itself.

The library `limits` was considered: its storage in memory keeps every caller's name for good, goes by
the wall clock, and starts a thread every few requests.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from starlette.datastructures import Headers, MutableHeaders

from holdfast.errors import TooManyRequestsError
from holdfast.server.problems import base_of, problem_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.server.service import Service

CALLERS_MAX = 10_000
"""Callers that are remembered; the one that asked least recently is forgotten."""

_MINUTE = 60.0
_ROUNDING = 1e-9
_TRY_LATER = 1013
"""Code that closes a WebSocket for now."""


class Verdict(NamedTuple):
    """Whether a request may pass."""

    passes: bool
    remaining: int
    reset_seconds: int
    """Until there is room again for one if it may not pass, for all otherwise."""


class _Counts:
    """Requests of one caller in the minute under way and in the one before."""

    __slots__ = ("before", "minute", "now")

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self.now = 0
        self.before = 0

    def turn(self, minute: int) -> None:
        if minute != self.minute:
            self.before = self.now if minute == self.minute + 1 else 0
            self.now, self.minute = 0, minute


class SlidingWindows:
    """Counts over the last minute: what is left of the minute before is taken as spread evenly."""

    def __init__(self, per_minute: int) -> None:
        self._limit = per_minute
        self._callers: OrderedDict[str, _Counts] = OrderedDict()

    def take(self, caller: str, at: float) -> Verdict:
        """Count a request at a monotonic time, unless there were too many."""
        minute, gone = divmod(at, _MINUTE)
        counts = self._callers.get(caller)
        if counts is None:
            counts = self._callers[caller] = _Counts(int(minute))
            if len(self._callers) > CALLERS_MAX:
                self._callers.popitem(last=False)
        self._callers.move_to_end(caller)
        counts.turn(int(minute))
        share = gone / _MINUTE
        used = counts.before * (1 - share) + counts.now
        if used + 1 > self._limit + _ROUNDING:
            return Verdict(passes=False, remaining=0, reset_seconds=self._wait(counts, share))
        counts.now += 1
        left = math.floor(self._limit - used - 1)
        return Verdict(passes=True, remaining=left, reset_seconds=math.ceil(_MINUTE - gone))

    def _wait(self, counts: _Counts, share: float) -> int:
        """Return the seconds after which one more fits."""
        room = self._limit - 1 - counts.now
        if room >= 0:
            wait = 1 - room / counts.before - share
        else:
            # Only in the next minute, once enough of this one has slid out of the window.
            wait = 1 - share + 1 - (self._limit - 1) / counts.now
        return max(1, math.ceil(wait * _MINUTE))


class RateLimit:
    """Middleware: so many requests a minute of one caller; a stream counts once, health does not."""

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        self._app = app
        self._limit = per_minute
        self._windows = SlidingWindows(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _tells_health(scope):
            await self._app(scope, receive, send)
            return
        service: Service = scope["state"]["holdfast"]
        verdict = self._windows.take(_caller(scope, service), service.clock.monotonic())
        if verdict.passes:
            await self._app(scope, receive, self._told(send, verdict))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_LATER, "reason": "too many requests"})
        else:
            error = TooManyRequestsError(limit=self._limit, retry_after=verdict.reset_seconds)
            await problem_of(error, base_of(scope))(scope, receive, self._told(send, verdict))

    def _told(self, send: Send, verdict: Verdict) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Limit"] = str(self._limit)
                headers["RateLimit-Remaining"] = str(verdict.remaining)
                headers["RateLimit-Reset"] = str(verdict.reset_seconds)
            await send(message)

        return told


def _tells_health(scope: Scope) -> bool:
    own: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return own.startswith("/health/")


def _caller(scope: Scope, service: Service) -> str:
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    name = service.good_keys.name_of(key.strip()) if scheme.lower() == "bearer" else None
    return name or network_of(scope["client"][0] if scope.get("client") else "")


def network_of(host: str) -> str:
    """Return what stands for an address: of IPv6 the half that one customer of a provider gets."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
