"""How the simulated provider limits: OpenAI's rule, written apart from the client's own buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Bucket:
    per_minute: float
    capacity: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def wait(self, amount: float) -> float:
        return max(0.0, min(amount, self.capacity) - self.level) * 60 / self.per_minute


@dataclass(frozen=True, slots=True)
class Admission:
    """What the limits say of one request."""

    refused_by: str | None
    """`requests` or `tokens`; None when admitted."""
    retry_after_seconds: float
    headers: dict[str, str]
    """`x-ratelimit-*`."""


class QuotaLimits:
    """Requests and tokens per minute; windows are shorter than a minute, as the provider's are."""

    def __init__(
        self, *, rpm: float | None, tpm: float | None, window_seconds: float, now: float
    ) -> None:
        self._buckets: dict[str, _Bucket] = {}
        for name, per_minute in (("requests", rpm), ("tokens", tpm)):
            if per_minute is not None:
                capacity = max(1.0, per_minute * window_seconds / 60)
                self._buckets[name] = _Bucket(per_minute, capacity, capacity, now)

    def admit(self, tokens: int, now: float) -> Admission:
        """Take one request and `tokens`, or refuse; a refused request counts as a request, too."""
        waits = {}
        for name, bucket in self._buckets.items():
            bucket.refill(now)
            waits[name] = bucket.wait(1 if name == "requests" else tokens)
        refused_by = max(waits, key=lambda name: waits[name], default=None)
        if refused_by is not None and waits[refused_by] <= _ROUNDING_SECONDS:
            refused_by = None
        if "requests" in self._buckets:
            self._buckets["requests"].level -= 1
        if refused_by is None and "tokens" in self._buckets:
            self._buckets["tokens"].level -= tokens
        wait = 0.0 if refused_by is None else waits[refused_by]
        return Admission(refused_by, wait, self._headers())

    def _headers(self) -> dict[str, str]:
        headers = {}
        for name, bucket in self._buckets.items():
            used = bucket.capacity - bucket.level
            headers[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute:.0f}"
            headers[f"x-ratelimit-remaining-{name}"] = f"{max(0, bucket.per_minute - used):.0f}"
            headers[f"x-ratelimit-reset-{name}"] = go_text(used * 60 / bucket.per_minute)
        return headers


_ROUNDING_SECONDS = 1e-6


def go_text(seconds: float) -> str:
    """Write a duration as Go does: `6m0s`, `1.5s`, `12ms`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.3g}s"


def charged_tokens(body: dict[str, Any]) -> int:
    """Return what a request counts against the tokens per minute: max(max_tokens, estimate)."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return max(int(limit), prompt_tokens(body))


def prompt_tokens(body: dict[str, Any]) -> int:
    """Return the estimated tokens of the messages: characters / 4, rounded up."""
    characters = sum(len(str(each.get("content", ""))) for each in body.get("messages", ()))
    return -(-characters // 4)
