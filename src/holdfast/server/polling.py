"""How often to ask for what is not done yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_POLLS = ((30, 2), (300, 5))
"""Until so many seconds after its beginning, something should be asked for every so many seconds."""
_POLL_LATER = 15


def poll_seconds(since: datetime, now: datetime) -> int:
    """Return after how many seconds to ask again for what began at a time; for `Retry-After`."""
    age = (now - since).total_seconds()
    return next((seconds for until, seconds in _POLLS if age < until), _POLL_LATER)
