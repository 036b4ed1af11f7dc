"""What keeps one job from slowing the others on its event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

logger = logging.getLogger(__name__)

BLOCKED_SECONDS_MAX = 0.1
"""A step that holds the loop for longer at a stretch is logged with its key."""

DELTA_INTERVAL_SECONDS = 0.1
"""Streamed text is coalesced to at most ten events a second and step."""


class LoopWatch:
    """Awaits something and logs every stretch in which it did not give the loop back."""

    __slots__ = ("_awaitable", "_key")

    def __init__(self, awaitable: Awaitable[Any], key: str) -> None:
        self._awaitable = awaitable
        self._key = key

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        now = asyncio.get_running_loop().time
        if not hasattr(inner, "send"):
            # A future's iterator: it only waits, so it cannot hold the loop.
            return (yield from inner)
        resume: Callable[[Any], Any] = inner.send
        argument: Any = None
        while True:
            began = now()
            try:
                yielded = resume(argument)
            except StopIteration as stop:
                return stop.value
            finally:
                held = now() - began
                if held > BLOCKED_SECONDS_MAX:
                    logger.warning(
                        "step blocked the event loop",
                        extra={"step_key": self._key, "blocked_seconds": round(held, 3)},
                    )
            try:
                argument, resume = (yield yielded), inner.send
            except BaseException as error:  # noqa: BLE001 - handed on to the inner awaitable
                argument, resume = error, inner.throw


class DeltaBuffer:
    """Collects streamed text per step attempt and emits it at most ten times a second."""

    __slots__ = (
        "_emit",
        "_streamed",
        "_texts",
        "_timer",
    )

    def __init__(self, emit: Callable[[str, dict[str, object]], None]) -> None:
        self._emit = emit
        self._texts: dict[tuple[str, int], list[str]] = {}
        self._streamed: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: str, step_attempt: int, text: str) -> None:
        """Add text; it is emitted within the interval."""
        self._texts.setdefault((key, step_attempt), []).append(text)
        self._streamed.add(key)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DELTA_INTERVAL_SECONDS, self.flush)

    def has_streamed(self, key: str) -> bool:
        """Tell whether the step has streamed any text."""
        return key in self._streamed

    def flush(self) -> None:
        """Emit what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        texts, self._texts = self._texts, {}
        for (key, step_attempt), parts in texts.items():
            # Providers cut between the halves of a surrogate pair: joined here, or replaced.
            text = "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            self._emit("output.delta", {"key": key, "step_attempt": step_attempt, "text": text})
