"""Refuses bodies that are too large, by what they say or by what comes, or that stop coming."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from holdfast.errors import RequestTimeoutError, RequestTooLargeError
from holdfast.server.problems import base_of, problem_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Refusal = RequestTimeoutError | RequestTooLargeError

SILENT_SECONDS = 15.0
"""A body of which nothing comes for so long is not waited for any more."""


class BodyLimit:
    """Middleware: a body that is too large is answered with 413, one that stops coming with 408."""

    def __init__(self, app: ASGIApp, *, bytes_max: int, silent_seconds: float = SILENT_SECONDS) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._silent_seconds = silent_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server has refused what is no number.
        if int(Headers(scope=scope).get("content-length", "0")) > self._bytes_max:
            error = RequestTooLargeError(limit_bytes=self._bytes_max)
            await _refuse(error, scope, receive, send)
            return
        body = _Body(receive, send, self._bytes_max, self._silent_seconds)
        try:
            await self._app(scope, body.receive, body.send)
        except (RequestTimeoutError, RequestTooLargeError):
            if body.started:
                raise
        if body.refusal is not None and not body.started:
            await _refuse(body.refusal, scope, receive, send)


async def _refuse(error: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_of(error, base_of(scope))
    if isinstance(error, RequestTimeoutError) and scope.get("http_version", "1.1").startswith("1"):
        # What may come yet is the rest of a body, not another request.
        answer.headers["Connection"] = "close"
    await answer(scope, receive, send)


class _Body:
    """One request's body while it comes, and its answer, which is held back once it was refused."""

    def __init__(self, receive: Receive, send: Send, bytes_max: int, silent_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._bytes_max = bytes_max
        self._silent_seconds = silent_seconds
        self._bytes = 0
        self._complete = False
        self.started = False
        self.refusal: Refusal | None = None

    async def receive(self) -> Message:
        message = await self._next()
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._bytes_max:
                self.refusal = RequestTooLargeError(limit_bytes=self._bytes_max)
                raise self.refusal
        return message

    async def _next(self) -> Message:
        # After the body, and once there is an answer, it is the end of the connection that is awaited.
        if self._complete or self.started:
            return await self._receive()
        try:
            async with asyncio.timeout(self._silent_seconds):
                return await self._receive()
        except TimeoutError:
            self.refusal = RequestTimeoutError(seconds=self._silent_seconds)
            raise self.refusal from None

    async def send(self, message: Message) -> None:
        # Frameworks make an answer of their own from the error above, which tells of the wrong trouble.
        if self.refusal is not None and not self.started:
            return
        self.started = True
        await self._send(message)
