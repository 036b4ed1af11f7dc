"""Dates, times and lists in words: one style for prompts, sample texts and the printed report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from holdfast.apps.reports.manifest import MONTH_NAMES, Period

WEEKDAY_NAMES = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()


def day_month(day: date) -> str:
    """Return '20 May'."""
    return f"{day.day} {MONTH_NAMES[day.month - 1]}"


def long_date(day: date) -> str:
    """Return '20 May 2026'."""
    return f"{day_month(day)} {day.year}"


def month_year(day: date) -> str:
    """Return 'May 2026'."""
    return f"{MONTH_NAMES[day.month - 1]} {day.year}"


def weekday_date(day: date) -> str:
    """Return 'Wednesday, 20 May 2026'."""
    return f"{WEEKDAY_NAMES[day.weekday()]}, {long_date(day)}"


def span(first: date, last: date) -> str:
    """Return '18 – 24 May 2026', repeating month and year only where they differ."""
    if first.year != last.year:
        return f"{long_date(first)} – {long_date(last)}"
    if first.month != last.month:
        return f"{day_month(first)} – {long_date(last)}"
    return f"{first.day} – {long_date(last)}"


def clock(moment: datetime) -> str:
    """Return '16:13 UTC'."""
    return f"{moment:%H:%M} UTC"


def moment(at: datetime, *, with_day: bool) -> str:
    """Return '20 May, 16:13 UTC', or the time alone."""
    return f"{day_month(at.date())}, {clock(at)}" if with_day else clock(at)


def ordinal(number: int) -> str:
    """Return 'first' to 'twelfth'."""
    return _ORDINALS[number - 1]


def joined(items: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def capital(sentence: str) -> str:
    """Return the sentence with a capital letter at its beginning."""
    return sentence[:1].upper() + sentence[1:]


def period_title(period: Period) -> str:
    """Return the period's heading."""
    match period.kind:
        case "daily":
            return weekday_date(period.first_day)
        case "weekly":
            return span(period.first_day, period.last_day)
        case "monthly":
            return month_year(period.first_day)
        case "section":
            return period.title
        case "yearly":
            return f"Your year, {span(period.first_day, period.last_day)}"


def degrees(value: float) -> str:
    """Return degrees and minutes within a sign, cut off and not rounded, as almanacs do."""
    minutes = int(value * 60 + 1e-9)
    return f"{minutes // 60}°{minutes % 60:02d}′"
