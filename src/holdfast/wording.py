"""Numbers and times in words, the same on the command line and on pages."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.model import Budget, Usage

_CENTS_FROM = Decimal(1)


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return '1 call', '1,250 calls'."""
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def money(usd: Decimal) -> str:
    """Return dollars: cents from one dollar on, four places below."""
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= _CENTS_FROM else f"${usd:.4f}"


def spent(usage: Usage) -> str:
    """Return what was spent, with what is not known beside it."""
    unknown = usage.unpriced_calls and not usage.usd
    parts = [] if unknown else [money(usage.usd)]
    if usage.unpriced_calls:
        parts.append(f"{counted(usage.unpriced_calls, 'call')} of unknown price")
    if usage.uncertain_calls:
        parts.append(f"up to {money(usage.uncertain_usd)} possibly paid twice")
    return " + ".join(parts)


def limits(budget: Budget) -> str:
    """Return a budget in words."""
    parts = []
    if budget.usd is not None:
        parts.append(money(budget.usd))
    if budget.tokens is not None:
        parts.append(f"{budget.tokens:,} tokens")
    return " and ".join(parts) or "unlimited"


def duration(seconds: float) -> str:
    """Return '40 ms', '1.4 s', '12 s', '3 min 20 s', '2 h 5 min', '3 d 4 h'."""
    if seconds < 0.995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def span_words(seconds: float) -> str:
    """Return a round duration, as on an axis: '5 s', '2 min', '1 h'."""
    return duration(seconds).replace(".0 s", " s").removesuffix(" 0 min").removesuffix(" 0 h")


def rough_duration(seconds: float) -> str:
    """Return an estimate no more exact than it is: 'a few seconds', '40 s', '4 min', '2.5 h'."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def age(then: datetime, now: datetime) -> str:
    """Return 'now', '40 s', '12 min', '3 h', '5 d' since `then`."""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "now"


def size(size_bytes: int) -> str:
    """Return '812 B', '14.2 kB', '3.1 MB'."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def price(cents: int, currency: str) -> str:
    """Return what a customer pays: '$19.99', '19.99 EUR'."""
    amount = f"{Decimal(cents) / 100:,.2f}"
    return f"${amount}" if currency == "usd" else f"{amount} {currency.upper()}"
