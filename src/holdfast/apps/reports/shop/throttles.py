"""What keeps strangers from asking the shop for work without end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdfast.server.tries import Tries

CHECKOUTS_PER_MINUTE: Final = 20
"""Of one address; each resolves a place, casts a chart and makes a payment page."""

LOOK_UP_SECONDS: Final = 5
"""How long the payment service is left alone about an order that was asked for."""

ORDER_STREAMS_MAX: Final = 20
"""Streams of one order that is paid, or of all unpaid orders of one address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttles:
    """What was asked for lately, in this process."""

    checkouts: Tries = field(default_factory=lambda: Tries(limit=CHECKOUTS_PER_MINUTE, seconds=60))
    """Orders begun, by address."""
    look_ups: Tries = field(default_factory=lambda: Tries(limit=1, seconds=LOOK_UP_SECONDS))
    """Questions to the payment service, by order."""
