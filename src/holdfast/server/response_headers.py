"""Headers that every answer has unless its route says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRICT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""For what is no page; pages send a policy of their own."""

DEFAULTS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": STRICT_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
HTTPS_ONLY = "max-age=31536000"


class ResponseHeaders:
    """Middleware: what keeps browsers from keeping, framing, guessing at and telling of answers."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        """Take whether the service is reached by HTTPS only, as its public URL says."""
        self._app = app
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
                if self._https or scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", HTTPS_ONLY)
            await send(message)

        await self._app(scope, receive, dressed)
