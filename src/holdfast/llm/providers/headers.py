"""What a provider's headers say of its limits: pure parsing, tolerant of every oddity.

Sources: OpenAI, "Rate limits in headers"; RFC 9110 section 10.2.3 (Retry-After). Values of zero
or below, and values that cannot be read, count as absent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

RESET_WAIT_SECONDS_MAX = 60.0
"""A reset header tells when the bucket is full again, which is later than needed."""

_GO_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)")
_GO_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_HINT = re.compile(r"(?:try again|retry) (?:in|after) ([0-9.]+(?:ms|s|m|h)(?:[0-9.]+(?:ms|s|m))*)")
_HINT_TEXT_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitHeaders:
    """`x-ratelimit-*` of one answer; None where absent."""

    requests_limit: float | None = None
    requests_remaining: float | None = None
    requests_reset_seconds: float | None = None
    """Until the bucket is full again."""
    tokens_limit: float | None = None
    tokens_remaining: float | None = None
    tokens_reset_seconds: float | None = None
    """Until the bucket is full again."""

    @property
    def requests_per_minute(self) -> float | None:
        """The limit, unless the headers show that it counts over more than a minute."""
        return _per_minute(self.requests_limit, self.requests_remaining, self.requests_reset_seconds)

    @property
    def tokens_per_minute(self) -> float | None:
        """The limit, unless the headers show that it counts over more than a minute."""
        return _per_minute(self.tokens_limit, self.tokens_remaining, self.tokens_reset_seconds)


def parse_limits(headers: Mapping[str, str]) -> LimitHeaders:
    """Read the `x-ratelimit-*` headers of an answer.

    Args:
        headers: With lower-case names, or a mapping that ignores case.
    """
    return LimitHeaders(
        requests_limit=_positive(headers.get("x-ratelimit-limit-requests")),
        requests_remaining=_positive(headers.get("x-ratelimit-remaining-requests")),
        requests_reset_seconds=go_duration(headers.get("x-ratelimit-reset-requests")),
        tokens_limit=_positive(headers.get("x-ratelimit-limit-tokens")),
        tokens_remaining=_positive(headers.get("x-ratelimit-remaining-tokens")),
        tokens_reset_seconds=go_duration(headers.get("x-ratelimit-reset-tokens")),
    )


def retry_after_seconds(headers: Mapping[str, str], *, hint: str = "", now: datetime) -> float | None:
    """Return how long the provider asks to wait, or None when it does not say.

    `retry-after-ms` goes before `Retry-After`, that before a hint in the error's text, that
    before the reset headers.

    Args:
        headers: With lower-case names, or a mapping that ignores case.
        hint: The error's own text, such as "Please try again in 6m0s."
        now: The present, for a Retry-After that is a date.
    """
    milliseconds = _positive(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    named = headers.get("retry-after")
    if named is not None:
        seconds = _positive(named)
        seconds = _until_date(named, now) if seconds is None else seconds
        if seconds is not None:
            return seconds
    found = _HINT.search(hint[:_HINT_TEXT_MAX])
    if found is not None and (seconds := go_duration(found[1])) is not None:
        return seconds
    limits = parse_limits(headers)
    resets = [
        reset
        for reset in (limits.requests_reset_seconds, limits.tokens_reset_seconds)
        if reset is not None
    ]
    return min(max(resets), RESET_WAIT_SECONDS_MAX) if resets else None


def go_duration(text: str | None) -> float | None:
    """Read a duration as Go prints it (`6m0s`, `12ms`, `1h2m3.5s`), in seconds.

    A bare number counts as seconds. Source: Go, `time.ParseDuration`.
    """
    if text is None:
        return None
    text = text.strip()
    bare = _positive(text)
    if bare is not None:
        return bare
    parts = _GO_DURATION.findall(text)
    if not parts or "".join(parts) != text:
        return None
    total = 0.0
    for part in parts:
        unit = part.lstrip("0123456789.")
        total += float(part[: -len(unit)]) * _GO_UNITS[unit]
    return total if 0 < total < math.inf else None


def _positive(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _until_date(text: str, now: datetime) -> float | None:
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        # A date without a zone cannot be compared with an aware one: TypeError.
        return None
    return seconds if seconds > 0 else None


def _per_minute(
    limit: float | None, remaining: float | None, reset_seconds: float | None
) -> float | None:
    if limit is None or remaining is None or reset_seconds is None:
        return limit
    # A bucket of one minute is full again after used/limit minutes. A much later reset means that
    # the limit is of an hour or a day (some accounts have requests per day in this header).
    due_seconds = 60 * max(0.0, limit - remaining) / limit
    return limit if reset_seconds <= 3 * due_seconds + 5 else None
