"""Refuses bodies that are too large: by what they say of themselves, and by what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from holdfast.errors import RequestTooLargeError
from holdfast.server.problems import problem_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Middleware: a body of more than so many bytes is answered with 413, and not read to its end."""

    def __init__(self, app: ASGIApp, *, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The server has refused what is no number.
        if int(Headers(scope=scope).get("content-length", "0")) > self._bytes_max:
            await self._refuse(scope, receive, send)
            return
        counted = _Counted(receive, send, self._bytes_max)
        try:
            await self._app(scope, counted.receive, counted.send)
        except RequestTooLargeError:
            if counted.started:
                raise
        if counted.exceeded and not counted.started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await problem_of(RequestTooLargeError(limit_bytes=self._bytes_max))(scope, receive, send)


class _Counted:
    """One request's body while it comes, and its answer, which is held back once there was too much."""

    def __init__(self, receive: Receive, send: Send, bytes_max: int) -> None:
        self._receive = receive
        self._send = send
        self._bytes_max = bytes_max
        self._bytes = 0
        self.started = False

    @property
    def exceeded(self) -> bool:
        return self._bytes > self._bytes_max

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self.exceeded:
                raise RequestTooLargeError(limit_bytes=self._bytes_max)
        return message

    async def send(self, message: Message) -> None:
        # Frameworks make an answer of their own from the error above, which tells of the wrong trouble.
        if self.exceeded and not self.started:
            return
        self.started = True
        await self._send(message)
