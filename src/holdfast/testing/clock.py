"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


START = datetime(2030, 1, 1, 12, tzinfo=UTC)
"""What a new `ManualClock` shows."""


class ManualClock:
    """A `Clock` for tests: `advance` moves the time and wakes whoever slept until then."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = timedelta()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> datetime:
        """Return the present of this clock."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds it was advanced by."""
        return self._elapsed.total_seconds()

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Return once the clock was advanced by `seconds`; at once, but not before others ran, for 0.

        Counted from this call on, not from when the coroutine first runs: a sleep that is handed
        to a task must not begin only after the test has moved the clock.
        """
        return self._sleep_until(self._elapsed + timedelta(seconds=seconds))

    async def _sleep_until(self, until: timedelta) -> None:
        if until <= self._elapsed:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (until, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move the time forward, and wake in order of their times all whose sleep is over.

        To be called on the sleepers' event loop. They run when the caller next awaits; one that
        goes back to sleep sleeps from the new present on.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds!r} seconds")
        self._elapsed += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many are asleep, for tests that wait until somebody is."""
        return sum(not woken.done() for _, _, woken in self._sleepers)
