"""How the service learns, inside a server of others, that the server begins to stop.

ASGI tells it only at the lifespan's end, and servers wait for open answers before that: a stream would
hold them up for as long as its job lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_told: ContextVar[bool] = ContextVar("holdfast_server_tells", default=False)


@contextlib.contextmanager
def server_tells() -> Iterator[None]:
    """Leave signals alone for a lifespan within: the server itself says when it begins to stop."""
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


@contextlib.contextmanager
def closing_on_signals(closing: asyncio.Event) -> Iterator[None]:
    """Set `closing` as soon as a signal comes that makes the server stop; the server gets it, too.

    Only where that is ours to see: in the main thread, for signals that the server handles.
    """
    if _told.get() or threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.ExitStack() as stack:
        for number in _SIGNALS:
            stack.enter_context(_chained(number, closing))
        yield


@contextlib.contextmanager
def _chained(number: signal.Signals, closing: asyncio.Event) -> Iterator[None]:
    earlier = signal.getsignal(number)
    # By default, the process ends by the signal: there is no server that waits.
    if not callable(earlier):
        yield
        return
    handle = _handler(closing, asyncio.get_running_loop(), earlier)
    signal.signal(number, handle)
    try:
        yield
    finally:
        # Whoever came after us restores what was there by itself.
        if signal.getsignal(number) is handle:
            signal.signal(number, earlier)


def _handler(
    closing: asyncio.Event,
    loop: asyncio.AbstractEventLoop,
    earlier: Callable[[int, FrameType | None], object],
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        # Between any two instructions of the loop's own thread: nothing but to wake it.
        loop.call_soon_threadsafe(closing.set)
        earlier(number, frame)

    return handle
