"""Where lanes are kept: the store's (shared by all workers), or this process's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast import buckets
from holdfast.store.base import LaneGrant, LaneState

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.store.base import LaneAdjustment, LaneRequest


class Lanes(Protocol):
    """Permits by lane; `holdfast.store.base.Store` is one."""

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        """Take one request and its tokens, or learn how long to wait; see `Store.take_lane`."""
        ...

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        """Correct a lane's picture; see `Store.adjust_lane`."""
        ...


class LocalLanes:
    """Lanes of one process, for using the client without a store. Lost when the process ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, buckets.LaneBuckets] = {}

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        now = self._clock.now()
        before = self._lanes.get(request.lane) or buckets.fresh(now=now)
        self._lanes[request.lane], taken = buckets.take(before, request, now=now)
        return LaneGrant(
            granted=taken.granted,
            wait_seconds=taken.wait_seconds,
            held_until=taken.held_until,
            held_reason=taken.held_reason,
        )

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        now = self._clock.now()
        lane = self._lanes[adjustment.lane] = buckets.adjust(
            self._lanes.get(adjustment.lane) or buckets.fresh(now=now),
            pause_seconds=adjustment.pause_seconds,
            rate_factor=adjustment.rate_factor,
            refund_tokens=adjustment.refund_tokens,
            requests_remaining=adjustment.requests_remaining,
            tokens_remaining=adjustment.tokens_remaining,
            hold_seconds=adjustment.hold_seconds,
            hold_reason=adjustment.hold_reason,
            now=now,
        )
        return LaneState(
            lane=adjustment.lane,
            requests_per_minute=lane.requests_per_minute,
            tokens_per_minute=lane.tokens_per_minute,
            rate_factor=lane.rate_factor,
            paused_until=lane.paused_until,
            held_until=lane.held_until,
            held_reason=lane.held_reason,
        )
