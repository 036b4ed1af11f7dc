"""What answers teach about a lane: its limits, a pause after a refusal, a park, a refund."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.llm.budget import STORE_TROUBLE
from holdfast.llm.config import UNLIMITED, ChargingRule
from holdfast.llm.limits import lane_held
from holdfast.store.base import LaneAdjustment, LaneRequest

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.clock import Clock
    from holdfast.errors import AccountRefusedError, LaneHeldError
    from holdfast.llm.config import ModelConfig
    from holdfast.llm.lanes import Lanes
    from holdfast.llm.limits import Limiter
    from holdfast.llm.providers.headers import LimitHeaders

logger = logging.getLogger(__name__)

REFUSALS_WINDOW_SECONDS = 10.0
"""Refusals (429) are counted over this long."""

REFUSALS_SEVERAL = 2
"""From this many on, the rate is lowered, too."""

RATE_CUT = 0.9
"""What each refusal among several leaves of the rate."""

PAUSE_SECONDS_FIRST = 1.0
"""Pause after a refusal that does not say how long to wait; doubles with each in the window."""

PAUSE_SECONDS_MAX = 30.0
"""Longest pause that is not the provider's own wish."""

DISAGREEMENTS_BEFORE_CLAMP = 2
"""Answers in a row that must show less room than we count on."""

SHARE_MEMORY = 0.8
"""Weight of the past in the learnt share of the output limit that is used."""


@dataclass(slots=True)
class _Lesson:
    """What this process has learnt of one lane."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    output_share: float = 1.0
    disagreements: int = 0
    parked_until: datetime | None = None
    """End of the park that was logged last; calls in flight at that time stay silent."""
    refusals: deque[float] = field(default_factory=lambda: deque(maxlen=64))


class LaneKeeper:
    """Turns answers into corrections of their lane."""

    def __init__(self, lanes: Lanes, limiter: Limiter, clock: Clock, *, rate_share: float) -> None:
        self._lanes = lanes
        self._limiter = limiter
        self._clock = clock
        self._rate_share = rate_share
        self._lessons: dict[str, _Lesson] = {}

    def request(self, model: ModelConfig, *, input_tokens: int, max_output_tokens: int) -> LaneRequest:
        """Return the permits that a call needs, under the limits as known now."""
        lesson = self._lesson(model)
        requests = _lower(model.requests_per_minute, lesson.requests_per_minute)
        tokens = _lower(model.tokens_per_minute, lesson.tokens_per_minute)
        return LaneRequest(
            lane=model.lane,
            tokens=charged_at_admission(
                model.charging,
                input_tokens=input_tokens,
                max_output_tokens=max_output_tokens,
                output_share=lesson.output_share,
            ),
            requests_per_minute=requests * self._rate_share,
            tokens_per_minute=tokens * self._rate_share,
            burst_seconds=model.burst_seconds,
        )

    async def refused(self, model: ModelConfig, retry_after: timedelta | None) -> timedelta:
        """Pause the lane after a 429; lower its rate when there are several.

        Returns:
            How long the lane is paused.
        """
        lesson, now = self._lesson(model), self._clock.monotonic()
        while lesson.refusals and lesson.refusals[0] <= now - REFUSALS_WINDOW_SECONDS:
            lesson.refusals.popleft()
        lesson.refusals.append(now)
        count = len(lesson.refusals)
        pause = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** (count - 1))
        if retry_after is not None:
            pause = retry_after.total_seconds()
        try:
            state = await self._lanes.adjust_lane(LaneAdjustment(lane=model.lane, pause_seconds=pause))
            if count >= REFUSALS_SEVERAL:
                await self._lanes.adjust_lane(
                    LaneAdjustment(lane=model.lane, rate_factor=state.rate_factor * RATE_CUT)
                )
        except STORE_TROUBLE:
            logger.warning("lane not paused, store unavailable", extra={"lane": model.lane})
        self._limiter.changed(model.lane)
        return timedelta(seconds=pause)

    async def park(
        self, model: ModelConfig, error: AccountRefusedError, seconds: float
    ) -> LaneHeldError:
        """Park the lane because the account is refused; return the error to raise."""
        until = self._clock.now() + timedelta(seconds=seconds)
        try:
            state = await self._lanes.adjust_lane(
                LaneAdjustment(lane=model.lane, hold_seconds=seconds, hold_reason=error.reason)
            )
            until = state.held_until or until
        except STORE_TROUBLE:
            logger.warning("lane not parked, store unavailable", extra={"lane": model.lane})
        lesson = self._lesson(model)
        if lesson.parked_until is None or lesson.parked_until <= self._clock.now():
            fields = {"lane": model.lane, "reason": error.reason, "until": until.isoformat()}
            logger.error("lane parked", extra=fields)
        lesson.parked_until = until
        self._limiter.changed(model.lane)
        return lane_held(model.lane, reason=error.reason, until=until)

    async def answered(
        self, model: ModelConfig, limits: LimitHeaders, *, charged: int, used_tokens: int
    ) -> None:
        """Learn from an answer: limits, remaining room, output really used.

        Args:
            model: The model that answered.
            limits: The answer's headers.
            charged: Tokens the lane gave for the call.
            used_tokens: Input plus output tokens of the answer.
        """
        lesson = self._lesson(model)
        lesson.requests_per_minute = limits.requests_per_minute or lesson.requests_per_minute
        lesson.tokens_per_minute = limits.tokens_per_minute or lesson.tokens_per_minute
        adjustment = self._clamp(model, lesson, limits)
        if model.charging is ChargingRule.ANTHROPIC and charged != used_tokens:
            adjustment = LaneAdjustment(
                lane=model.lane,
                refund_tokens=charged - used_tokens,
                requests_remaining=adjustment.requests_remaining if adjustment else None,
                tokens_remaining=adjustment.tokens_remaining if adjustment else None,
            )
        if adjustment is None:
            return
        try:
            await self._lanes.adjust_lane(adjustment)
        except STORE_TROUBLE:
            logger.warning("lane not corrected, store unavailable", extra={"lane": model.lane})
        self._limiter.changed(model.lane)

    def output_used(self, model: ModelConfig, *, output_tokens: int, limit: int) -> None:
        """Learn which share of the output limit answers use."""
        lesson = self._lesson(model)
        share = min(1.0, output_tokens / limit)
        lesson.output_share = SHARE_MEMORY * lesson.output_share + (1 - SHARE_MEMORY) * share

    def _clamp(self, model: ModelConfig, lesson: _Lesson, limits: LimitHeaders) -> LaneAdjustment | None:
        """Return a downward correction once two answers in a row show less room than we count on.

        Headers are as old as their answer, so one of them proves nothing.
        """
        seconds = model.burst_seconds / 60
        requests = _lower(model.requests_per_minute, lesson.requests_per_minute)
        tokens = _lower(model.tokens_per_minute, lesson.tokens_per_minute)
        short = _short_of(limits.requests_remaining, max(1.0, requests * seconds), requests)
        short = short or _short_of(limits.tokens_remaining, tokens * seconds, tokens)
        lesson.disagreements = lesson.disagreements + 1 if short else 0
        if lesson.disagreements < DISAGREEMENTS_BEFORE_CLAMP:
            return None
        lesson.disagreements = 0
        return LaneAdjustment(
            lane=model.lane,
            requests_remaining=limits.requests_remaining,
            tokens_remaining=limits.tokens_remaining,
        )

    def _lesson(self, model: ModelConfig) -> _Lesson:
        return self._lessons.setdefault(model.lane, _Lesson())


def _short_of(remaining: float | None, counted_on: float, limit: float) -> bool:
    return remaining is not None and limit < UNLIMITED and remaining < counted_on


def _lower(configured: float | None, learnt: float | None) -> float:
    """Return the lower of two limits: an account's share may be configured, never exceeded."""
    return min(configured or UNLIMITED, learnt or UNLIMITED)


def charged_at_admission(
    rule: ChargingRule, *, input_tokens: int, max_output_tokens: int, output_share: float
) -> int:
    """Return what the provider will count against the tokens per minute when a call starts.

    Args:
        rule: The provider's rule.
        input_tokens: Estimated prompt.
        max_output_tokens: Limit sent with the call.
        output_share: Learnt share of the limit that answers really use, 0 to 1.
    """
    match rule:
        case ChargingRule.OPENAI:
            return max(max_output_tokens, input_tokens)
        case ChargingRule.ANTHROPIC:
            return input_tokens + round(max_output_tokens * output_share)
        case ChargingRule.SUM:
            return input_tokens + max_output_tokens
