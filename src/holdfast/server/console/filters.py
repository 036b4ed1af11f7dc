"""How values look on pages: money, times, statuses. Everything returned as markup is escaped here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from holdfast.model import JobStatus
from holdfast.server.console.failures import cause_of
from holdfast.wording import (
    age,
    counted,
    duration,
    limits,
    money,
    price,
    rough_duration,
    size,
    span_words,
    spent,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from holdfast.model import Job

SHAPES = {
    "queued": "○",
    "running": "▶",
    "suspended": "‖",
    "completed": "✓",
    "failed": "✕",
    "cancelled": "⊘",
}
"""A sign for each status, so that it is not told by colour alone."""

_CONTENT_CHARACTERS_MAX = 50_000


def when(at: datetime | None, now: datetime) -> Markup:
    """Return a time as how long ago it was, the exact one as its title."""
    if at is None:
        return Markup("–")
    words = f"in {age(now, at)}" if at > now else _ago(at, now)
    return Markup('<time datetime="{}" title="{}" data-relative>{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC", words
    )


def _ago(at: datetime, now: datetime) -> str:
    words = age(at, now)
    return words if words == "now" else f"{words} ago"


def status(job: Job) -> Markup:
    """Return a job's status as a badge: sign, colour and word, with what it waits for."""
    word = job.status.value
    if job.status is JobStatus.SUSPENDED and job.suspend_reason is not None:
        word = f"waits for {_REASONS[job.suspend_reason.value]}"
    elif job.cancel_requested_at is not None and not job.status.terminal:
        word = "cancelling"
    return badge(job.status.value, word)


_REASONS = {
    "sleep": "its time",
    "signal": "a signal",
    "children": "children",
    "budget": "budget",
    "quota": "quota",
}


def badge(kind: str, word: str | None = None) -> Markup:
    """Return a badge of a status's looks."""
    return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(
        kind, SHAPES.get(kind, "•"), word or kind
    )


def percent(fraction: float) -> str:
    """Return '40 %'."""
    return f"{fraction:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


def amount(usd: Decimal | None) -> str:
    """Return money as people type it: '2.10'; nothing for no limit."""
    if usd is None:
        return ""
    places = max(2, -int(usd.normalize().as_tuple().exponent))
    return f"{usd:.{places}f}"


def number(value: float) -> str:
    """Return '1,250'."""
    return f"{value:,.0f}"


def pretty_json(text: bytes) -> str:
    """Return JSON for people to read, cut where a page would become too long."""
    try:
        shown = msgspec.json.format(text, indent=2).decode() if text else ""
    except RecursionError:
        # Nested deeper than anybody reads.
        shown = text.decode()
    if len(shown) <= _CONTENT_CHARACTERS_MAX:
        return shown
    return shown[:_CONTENT_CHARACTERS_MAX] + "\n… cut here; the API has all of it"


def short(job_id: str) -> str:
    """Return the end of an id, by which people tell jobs apart."""
    return f"…{job_id[-8:]}" if len(job_id) > 12 else job_id


def query_of(values: Mapping[str, Any]) -> str:
    """Return a query string of what is set."""
    return urlencode({name: value for name, value in values.items() if value})


FILTERS = {
    "age": age,
    "amount": amount,
    "badge": badge,
    "cause": cause_of,
    "counted": counted,
    "duration": duration,
    "limits": limits,
    "money": money,
    "number": number,
    "percent": percent,
    "pretty_json": pretty_json,
    "price": price,
    "query": query_of,
    "rough": rough_duration,
    "short": short,
    "size": size,
    "span": span_words,
    "spent": spent,
    "status": status,
    "when": when,
}
