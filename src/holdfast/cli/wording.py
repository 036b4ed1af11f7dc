"""Numbers and times in words, and what only a terminal needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.wording import (
    age,
    counted,
    duration,
    limits,
    money,
    price,
    rough_duration,
    size,
    spent,
)

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "age",
    "clock_time",
    "counted",
    "duration",
    "limits",
    "moment",
    "money",
    "price",
    "printable",
    "rough_duration",
    "size",
    "spent",
]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return text from outside without characters that could command the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def clock_time(seconds: float) -> str:
    """Return '0:07', '12:30', '1:02:03'."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def moment(at: datetime | None) -> str:
    """Return a time in the machine's zone, or a dash."""
    return "–" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
