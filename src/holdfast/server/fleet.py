"""What the store knows of all processes together, asked for at most every few seconds."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.clock import Clock
    from holdfast.store.service import LaneUse, QueueState, ServiceStore, WorkerState

KEPT_SECONDS = 5.0
"""How long an answer is good for, so that many who ask cost no more than one."""

PATIENCE_SECONDS = 4.0
"""How long the store may take."""

QUEUES_SHOWN_MAX = 100
"""Queues with metrics of their own, the longest; whoever submits jobs may name any queue."""

OTHERS = "others"
"""Stands for all further queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What waits, who works, and on which lanes, at one time."""

    at: datetime
    queues: Sequence[QueueState]
    workers: Sequence[WorkerState]
    """Those whose lease is good."""
    lanes: Sequence[LaneUse]

    def served_by(self, queue: str) -> int:
        """Return how many workers take jobs of a queue."""
        return sum(1 for one in self.workers if one.worker.queues is None or queue in one.worker.queues)

    @property
    def silent_queues(self) -> list[str]:
        """Queues where jobs could be claimed at once, and no worker alive would."""
        return [one.queue for one in self.queues if one.ready and not self.served_by(one.queue)]


class FleetWatch:
    """Asks the store, once for all who want to know at about the same time."""

    def __init__(self) -> None:
        self._known: Fleet | None = None
        self._good_until = 0.0
        self._asking: asyncio.Task[Fleet] | None = None

    async def look(self, records: ServiceStore, clock: Clock) -> Fleet:
        """Return what is known, no older than a few seconds.

        Raises:
            StoreError: The store has trouble.
            TimeoutError: It takes too long.
        """
        if self._known is not None and clock.monotonic() < self._good_until:
            return self._known
        if self._asking is None or self._asking.done():
            # For all: it belongs to the request of none of them.
            self._asking = asyncio.create_task(_ask(records, clock), context=Context())
            self._asking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        asking = self._asking
        async with asyncio.timeout(PATIENCE_SECONDS):
            # One who asks and goes away takes nothing from the others.
            found = await asyncio.shield(asking)
        self._known, self._good_until = found, clock.monotonic() + KEPT_SECONDS
        return found

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


async def _ask(records: ServiceStore, clock: Clock) -> Fleet:
    now = clock.now()
    workers = await records.list_workers()
    return Fleet(
        at=now,
        queues=await records.list_queues(now),
        workers=[one for one in workers if one.expires_at > now],
        lanes=await records.list_lanes(now),
    )


def measure_fleet(fleet: Fleet | None) -> None:
    """Set the metrics of the whole fleet; None while the store does not say."""
    metrics.forget_fleet()
    metrics.STORE_UP.set(fleet is not None)
    if fleet is None:
        return
    _measure_queues(fleet)
    metrics.WORKERS_ALIVE.set(len(fleet.workers))
    metrics.FLEET_SLOTS.set(sum(one.worker.slots for one in fleet.workers))
    metrics.FLEET_RUNNING.set(sum(one.worker.running for one in fleet.workers))
    for lane in fleet.lanes:
        state = lane.state
        for gauge, until in (
            (metrics.LANE_HELD, state.held_until),
            (metrics.LANE_PAUSED, state.paused_until),
        ):
            gauge.labels(state.lane).set(until is not None and until > fleet.at)
        metrics.LANE_RATE.labels(state.lane).set(state.rate_factor)


def _measure_queues(fleet: Fleet) -> None:
    ranked = sorted(fleet.queues, key=lambda one: (one.ready, one.running), reverse=True)
    oldest: dict[str, float] = {}
    for number, state in enumerate(ranked):
        shown = number < QUEUES_SHOWN_MAX
        queue = state.queue if shown else OTHERS
        for status, count in (
            ("ready", state.ready),
            ("delayed", state.delayed),
            ("held_back", state.held_back),
            ("running", state.running),
            ("suspended", sum(state.suspended.values())),
        ):
            metrics.QUEUE_JOBS.labels(queue, status).inc(count)
        waited = 0.0 if state.oldest_at is None else (fleet.at - state.oldest_at).total_seconds()
        oldest[queue] = max(oldest.get(queue, 0.0), waited)
        if shown:
            metrics.QUEUE_WORKERS.labels(queue).set(fleet.served_by(queue))
    for queue, seconds in oldest.items():
        metrics.QUEUE_AGE.labels(queue).set(seconds)
