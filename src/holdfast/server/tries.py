"""Counts tries, so that nobody can go on trying for ever."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime, timedelta

NAMES_MAX = 10_000
"""Names remembered at once; whoever tried longest ago is forgotten first."""


class Tries:
    """Remembers the latest tries by name: at most `limit` within `seconds`."""

    def __init__(self, *, limit: int, seconds: float) -> None:
        """Begin without any try."""
        self._limit = limit
        self._span = timedelta(seconds=seconds)
        self._tries: OrderedDict[str, deque[datetime]] = OrderedDict()

    def add(self, name: str, at: datetime) -> None:
        """Count one more."""
        self._tries.setdefault(name, deque(maxlen=self._limit)).append(at)
        self._tries.move_to_end(name)
        while len(self._tries) > NAMES_MAX:
            self._tries.popitem(last=False)

    def wait(self, name: str, at: datetime) -> timedelta:
        """Return how long until the next one is allowed; nothing if it is."""
        tries = self._tries.get(name)
        if tries is None or len(tries) < self._limit:
            return timedelta()
        return max(timedelta(), tries[0] + self._span - at)
