"""Clocks of the simulated workers: each its own idea of the time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.testing.clock import START

if TYPE_CHECKING:
    from holdfast.testing.simulation.loop import SimulatedLoop


class DriftingClock:
    """A `Clock` that runs a little fast or slow, and can be set forwards and back."""

    def __init__(self, loop: SimulatedLoop, *, rate: float = 1.0) -> None:
        self._loop = loop
        self._rate = rate
        self._set_by = 0.0

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return START + timedelta(seconds=self.monotonic() + self._set_by)

    def monotonic(self) -> float:
        """Return the seconds since the simulation began, as this clock counts them."""
        return self._loop.time() * self._rate

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""
        await asyncio.sleep(seconds / self._rate)

    def step(self, seconds: float) -> None:
        """Set the wall clock, forward or back."""
        self._set_by += seconds
