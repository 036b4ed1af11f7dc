"""What can go wrong at Stripe, and when it does: on order, or by chance."""

from __future__ import annotations

import random
from collections import deque
from enum import StrEnum


class FaultKind(StrEnum):
    """One way to fail."""

    UNAVAILABLE = "unavailable"
    """503 before anything was done."""
    SERVER_ERROR = "server_error"
    """500 after the request was begun: repeated under the same idempotency key from then on."""
    RATE_LIMIT = "rate_limit"
    """429 before anything was done."""
    FORBIDDEN = "forbidden"
    """403: a restricted key without this permission."""
    HANG = "hang"
    """No answer until the client goes away; nothing was done."""
    DROP = "drop"
    """Everything was done, and the connection is reset instead of an answer."""
    CUT = "cut"
    """Everything was done, and the connection is reset in the middle of the answer."""


class FaultPlan:
    """Decides for each request whether and how it fails."""

    def __init__(self, *, chances: dict[FaultKind, float] | None = None, seed: int = 0) -> None:
        """Lay down the plan.

        Args:
            chances: Probability of each kind, drawn for each request.
            seed: Of the draws.
        """
        self._chances = dict(chances or {})
        self._random = random.Random(seed)
        self._ordered: deque[FaultKind] = deque()

    def order(self, *kinds: FaultKind) -> None:
        """Have the next requests fail, in this order."""
        self._ordered.extend(kinds)

    @property
    def pending(self) -> int:
        """How many ordered failures have not happened yet."""
        return len(self._ordered)

    def clear(self) -> None:
        """Have nothing fail any more."""
        self._ordered.clear()
        self._chances.clear()

    def draw(self) -> FaultKind | None:
        """Return how the next request fails."""
        if self._ordered:
            return self._ordered.popleft()
        for kind, chance in self._chances.items():
            if self._random.random() < chance:
                return kind
        return None
