"""The arithmetic of a lane: two leaky budgets, a line, a pause, a hold. Pure functions, no clock.

A lane has a bucket of requests and a bucket of tokens. Both refill continuously at the nominal
rate times the rate factor, up to `burst_seconds` worth. A call takes from both or from neither.

A call that is larger than a whole bucket passes once the bucket is full and leaves it below
zero: what follows waits until the debt is paid, so the average never exceeds the limit.

Who has to wait stands in the lane's line (`holdfast.turns`) and leaves to those ahead what they
wait for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from math import sqrt
from typing import TYPE_CHECKING, TypedDict, Unpack

from holdfast import turns

if TYPE_CHECKING:
    from datetime import datetime

RATE_FACTOR_MIN = 0.5
"""However often the provider refuses, half of the nominal rate is still asked for."""

RATE_RECOVERY_PER_SECOND = 0.02
"""How fast a lowered rate factor climbs back to 1."""

CLOCK_SKEW_SECONDS_MAX = 5.0
"""A clock that is behind by more has been set back; by less, it belongs to another machine."""

WAIT_SECONDS_MIN = 0.001
"""Shortest wait asked for, so that rounding never makes a caller spin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneBuckets:
    """A lane's whole state, as a store keeps it; times are aware UTC."""

    requests_level: float
    """Requests that may start at `updated_at`; below zero after a clamp or a debt."""
    tokens_level: float
    """Tokens that may be taken at `updated_at`; below zero while a large call is paid off."""
    requests_per_minute: float
    """Nominal limit the last caller believed in; 0 before the first `take`."""
    tokens_per_minute: float
    """Nominal limit the last caller believed in; 0 before the first `take`."""
    burst_seconds: float
    """How many seconds' worth of permits may gather."""
    rate_factor: float = 1.0
    """Share of the nominal rate as of `factor_at`; recovers with time."""
    factor_at: datetime
    """When `rate_factor` was set."""
    updated_at: datetime
    """When the levels were true."""
    paused_until: datetime | None = None
    """No grants before; set by a 429."""
    held_until: datetime | None = None
    """Parked before; set when the quota is exhausted or the key is refused."""
    held_reason: str | None = None
    """Error code that parked it; set exactly while `held_until` is."""
    line: turns.Line = ()
    """The processes that wait, and those that are ahead of their share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Permits that one call needs, the limits its caller believes in, and who the caller is."""

    tokens: float
    """By the provider's own rule of charging; 0 or more."""
    requests_per_minute: float
    """Above 0."""
    tokens_per_minute: float
    """Above 0."""
    burst_seconds: float
    """How many seconds' worth of permits may gather while the lane is idle; at least one request
    always may."""
    asker: str = ""
    """The process; those that give the same name share one place in the line."""
    weight: float = 1.0
    """Of all that waits in this process; processes share the lane by it. Above 0."""
    more_waiting: bool = False
    """Whether the process will ask for as much again when this is granted: it stays in the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The answer to `take`."""

    granted: bool
    wait_seconds: float = 0.0
    """How long until it is worth asking again; when granted, for as much again."""
    held_until: datetime | None = None
    """Set while the lane is parked."""
    held_reason: str | None = None
    """Why it is parked."""


def fresh(
    *,
    requests_per_minute: float = 0.0,
    tokens_per_minute: float = 0.0,
    burst_seconds: float = 0.0,
    now: datetime,
) -> LaneBuckets:
    """Return a new lane with full buckets.

    Without limits (a lane that is adjusted before anyone asked it for permits) the buckets
    become full when the first `take` brings the limits.
    """
    return LaneBuckets(
        requests_level=_capacity(requests_per_minute, burst_seconds, least=1.0),
        tokens_level=_capacity(tokens_per_minute, burst_seconds, least=0.0),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        burst_seconds=burst_seconds,
        factor_at=now,
        updated_at=now,
    )


def take(buckets: LaneBuckets, ask: Ask, *, now: datetime) -> tuple[LaneBuckets, Taken]:
    """Take one request and the tokens from the buckets, both or neither.

    Args:
        buckets: The lane as stored.
        ask: What is wanted, and by whom.
        now: The present.

    Returns:
        The lane to store, changed also when nothing was granted, and the answer.

    Raises:
        ValueError: A number of `ask` is out of its range.
    """
    if not (ask.requests_per_minute > 0 and ask.tokens_per_minute > 0 and ask.weight > 0):
        raise ValueError(
            "limits and weight of a lane must be above 0; leave an unknown limit at a large number"
        )
    if ask.tokens < 0 or ask.burst_seconds < 0:
        raise ValueError("tokens and burst_seconds of a lane must be 0 or more")
    if not buckets.requests_per_minute > 0:
        opened = fresh(
            requests_per_minute=ask.requests_per_minute,
            tokens_per_minute=ask.tokens_per_minute,
            burst_seconds=ask.burst_seconds,
            now=now,
        )
        buckets = replace(
            buckets,
            requests_level=opened.requests_level,
            tokens_level=opened.tokens_level,
            updated_at=now,
        )
    # Time that has passed counts at the rates believed in back then, the future at the new ones.
    buckets = replace(
        _refilled(buckets, now),
        requests_per_minute=ask.requests_per_minute,
        tokens_per_minute=ask.tokens_per_minute,
        burst_seconds=ask.burst_seconds,
    )
    buckets = _capped(_forget_past(buckets, now))
    return _decide(buckets, ask, now)


class Corrections(TypedDict, total=False):
    """What an answer of the provider says of its lane; None leaves a part as it is."""

    pause_seconds: float | None
    """No grants for this long; an earlier pause that lasts longer stays."""
    rate_factor: float | None
    """New share of the nominal rate, brought into 0.5 to 1."""
    refund_tokens: float
    """Given back, never beyond a full bucket; negative takes more."""
    requests_remaining: float | None
    """Clamps the request level downwards, never upwards."""
    tokens_remaining: float | None
    """Clamps the token level downwards, never upwards."""
    hold_seconds: float | None
    """Parks the lane for this long; 0 releases it."""
    hold_reason: str | None
    """Error code to keep with the hold."""


def adjust(buckets: LaneBuckets, *, now: datetime, **asked: Unpack[Corrections]) -> LaneBuckets:
    """Correct a lane's picture after an answer of the provider.

    Returns:
        The lane to store. Its `rate_factor` is the one that holds now, recovery included.
    """
    buckets = _forget_past(_refilled(buckets, now), now)
    factor = asked.get("rate_factor")
    current = rate_factor_at(buckets, now) if factor is None else factor
    current = min(1.0, max(RATE_FACTOR_MIN, current))
    tokens_level = buckets.tokens_level + asked.get("refund_tokens", 0)
    buckets = _capped(replace(buckets, rate_factor=current, factor_at=now, tokens_level=tokens_level))
    buckets = replace(
        buckets,
        requests_level=_clamped(buckets.requests_level, asked.get("requests_remaining")),
        tokens_level=_clamped(buckets.tokens_level, asked.get("tokens_remaining")),
    )
    pause = asked.get("pause_seconds")
    if pause is not None and pause > 0:
        until = now + timedelta(seconds=pause)
        buckets = replace(buckets, paused_until=max(until, buckets.paused_until or until))
    hold = asked.get("hold_seconds")
    if hold is not None:
        until = now + timedelta(seconds=hold)
        reason = asked.get("hold_reason") or "held"
        buckets = (
            replace(buckets, held_until=until, held_reason=reason)
            if hold > 0
            else replace(buckets, held_until=None, held_reason=None)
        )
    return buckets


def _clamped(level: float, remaining: float | None) -> float:
    return level if remaining is None else min(level, remaining)


def as_of(buckets: LaneBuckets, now: datetime) -> LaneBuckets:
    """Return the lane as it is at `now`, with what has gathered and without what is over."""
    return _forget_past(_refilled(buckets, now), now)


def capacities(buckets: LaneBuckets) -> tuple[float, float]:
    """Return how many requests and how many tokens may gather."""
    return (
        _capacity(buckets.requests_per_minute, buckets.burst_seconds, least=1.0),
        _capacity(buckets.tokens_per_minute, buckets.burst_seconds, least=0.0),
    )


def rate_factor_at(buckets: LaneBuckets, now: datetime) -> float:
    """Return the share of the nominal rate that holds at `now`, recovery included."""
    elapsed = max(0.0, (now - buckets.factor_at).total_seconds())
    return min(1.0, buckets.rate_factor + RATE_RECOVERY_PER_SECOND * elapsed)


def _decide(buckets: LaneBuckets, ask: Ask, now: datetime) -> tuple[LaneBuckets, Taken]:
    """Grant from buckets that are up to date, or say how long to wait."""
    if buckets.held_until is not None:
        return buckets, Taken(
            granted=False,
            wait_seconds=(buckets.held_until - now).total_seconds(),
            held_until=buckets.held_until,
            held_reason=buckets.held_reason,
        )
    cost = max(1 / ask.requests_per_minute, ask.tokens / ask.tokens_per_minute)
    place = turns.Place(asker=ask.asker, weight=ask.weight, tokens=ask.tokens, cost=cost, expires_at=now)
    others, place = turns.join(buckets.line, place, now)
    wait = _seconds_until_turn(buckets, others, place, now)
    granted = wait <= 0
    if granted:
        others, place = turns.serve(others, replace(place, waiting=ask.more_waiting))
        buckets = replace(
            buckets,
            requests_level=buckets.requests_level - 1,
            tokens_level=buckets.tokens_level - ask.tokens,
        )
        if ask.more_waiting:
            wait = _seconds_until_turn(buckets, others, place, now)
    line = turns.keep(others, place, wait_seconds=wait, now=now)
    return replace(buckets, line=line), Taken(granted=granted, wait_seconds=wait)


def _seconds_until_turn(
    buckets: LaneBuckets, others: turns.Line, place: turns.Place, now: datetime
) -> float:
    """Return how long until there is enough for all that are ahead and this one; 0 if there is."""
    ahead = turns.ahead_of(place, others)
    tokens_capacity = _capacity(buckets.tokens_per_minute, buckets.burst_seconds, least=0.0)
    requests = 1.0 + len(ahead)
    tokens = min(place.tokens, tokens_capacity) + sum(other.tokens for other in ahead)
    factor = rate_factor_at(buckets, now)
    wait = max(
        _seconds_to_refill(requests - buckets.requests_level, buckets.requests_per_minute / 60, factor),
        _seconds_to_refill(tokens - buckets.tokens_level, buckets.tokens_per_minute / 60, factor),
    )
    if buckets.paused_until is not None:
        wait = max(wait, (buckets.paused_until - now).total_seconds())
    return max(wait, WAIT_SECONDS_MIN) if wait > 0 else 0.0


def _refilled(buckets: LaneBuckets, now: datetime) -> LaneBuckets:
    """Add what has gathered since `updated_at`."""
    elapsed = (now - buckets.updated_at).total_seconds()
    if elapsed < -CLOCK_SKEW_SECONDS_MAX:
        # The clock was set back: without this the lane would stand still until it catches up.
        return replace(buckets, updated_at=now, factor_at=min(now, buckets.factor_at))
    if elapsed <= 0:
        # Another process's clock is a little ahead: moving back would count that time twice.
        return buckets
    start = rate_factor_at(buckets, buckets.updated_at)
    minutes = _factor_seconds(start, elapsed) / 60
    return _capped(
        replace(
            buckets,
            requests_level=buckets.requests_level + buckets.requests_per_minute * minutes,
            tokens_level=buckets.tokens_level + buckets.tokens_per_minute * minutes,
            updated_at=now,
        )
    )


def _capped(buckets: LaneBuckets) -> LaneBuckets:
    requests = _capacity(buckets.requests_per_minute, buckets.burst_seconds, least=1.0)
    tokens = _capacity(buckets.tokens_per_minute, buckets.burst_seconds, least=0.0)
    return replace(
        buckets,
        requests_level=min(buckets.requests_level, requests),
        tokens_level=min(buckets.tokens_level, tokens),
    )


def _capacity(per_minute: float, burst_seconds: float, *, least: float) -> float:
    return max(least, per_minute / 60 * burst_seconds)


def _forget_past(buckets: LaneBuckets, now: datetime) -> LaneBuckets:
    """Drop a pause or a hold that is over."""
    if buckets.paused_until is not None and buckets.paused_until <= now:
        buckets = replace(buckets, paused_until=None)
    if buckets.held_until is not None and buckets.held_until <= now:
        buckets = replace(buckets, held_until=None, held_reason=None)
    return buckets


def _factor_seconds(factor: float, seconds: float) -> float:
    """Return the integral of the recovering rate factor over `seconds`."""
    recovering = min(seconds, max(0.0, 1.0 - factor) / RATE_RECOVERY_PER_SECOND)
    climbed = recovering * factor + RATE_RECOVERY_PER_SECOND * recovering**2 / 2
    return climbed + (seconds - recovering)


def _seconds_to_refill(missing: float, per_second: float, factor: float) -> float:
    """Return how long the recovering rate needs to bring `missing` permits."""
    if missing <= _ROUNDING * max(1.0, per_second):
        return 0.0
    needed = missing / per_second
    recovering = max(0.0, 1.0 - factor) / RATE_RECOVERY_PER_SECOND
    during = _factor_seconds(factor, recovering)
    if needed >= during:
        return recovering + needed - during
    # Solve factor·t + recovery·t²/2 = needed for t.
    return (sqrt(factor**2 + 2 * RATE_RECOVERY_PER_SECOND * needed) - factor) / RATE_RECOVERY_PER_SECOND


_ROUNDING = 1e-6
"""Shortfalls that a microsecond of refill would cover come from rounding and are forgiven."""
