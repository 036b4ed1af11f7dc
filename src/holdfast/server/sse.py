"""Server-sent events, as the HTML standard has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

SSE = "text/event-stream"

RECONNECT_MILLISECONDS = 1_000
"""How long a browser waits before it comes back."""

HELLO = f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()
"""What a stream begins with."""

HEARTBEAT = b": still here\n\n"
"""What shows that it lives."""

END = b"event: end\ndata: {}\n\n"
"""Says that nothing more will come."""

_HEADERS = {
    "Cache-Control": "no-store",
    # Asks nginx, and others who go by it, to pass on each event as it comes.
    "X-Accel-Buffering": "no",
}


class EventStream(StreamingResponse):
    """An answer of server-sent events."""

    media_type = SSE

    def __init__(self, frames: AsyncIterator[bytes], place: contextlib.ExitStack) -> None:
        """Send frames as they come.

        Args:
            frames: Whole events.
            place: Closed in the end, whether or not anything came to be sent.
        """
        super().__init__(frames, headers=_HEADERS)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)
