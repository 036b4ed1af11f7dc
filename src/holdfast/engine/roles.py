"""Background roles of a worker: the waker and the rescuer."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.engine.host import is_gone
from holdfast.errors import DispatchError, StoreError
from holdfast.metrics import JOBS_RESCUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher
    from holdfast.store.base import Store

logger = logging.getLogger(__name__)

WAKE_INTERVAL_SECONDS = 5.0
"""The waker looks at least this often; it looks sooner when something falls due."""

RESCUE_INTERVAL_SECONDS = 2.0

REDISPATCH_AFTER = timedelta(seconds=10)
"""A queued job that nobody claimed for so long is announced again."""

REDISPATCH_TO_BROKER_AFTER = timedelta(minutes=10)
"""The same where announcements pile up in a broker while all workers are busy. Workers find a job whose
message was lost by themselves long before; this mends what the broker tells of the line's length."""


class Waker:
    """Queues suspended jobs whose time has come and announces jobs whose hint was lost."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        clock: Clock,
        *,
        redispatch_after: timedelta = REDISPATCH_AFTER,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._redispatch_after = redispatch_after
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Look again soon: something was suspended or delayed that may fall due before long."""
        self._nudged.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._nudged.clear()
            seconds = await self.work()
            await sleep_or(self._clock, seconds, self._nudged)

    async def work(self) -> float:
        """Do one round and return the seconds until the next is worth it."""
        asked_at = self._clock.monotonic()
        try:
            wakeup = await self._store.wake_jobs(redispatch_after=self._redispatch_after)
            if wakeup.dispatches:
                await self._dispatcher.dispatch(wakeup.dispatches)
        except (StoreError, DispatchError) as error:
            logger.warning("waking failed", extra={"error": error.code})
            return WAKE_INTERVAL_SECONDS
        if wakeup.next_in is None:
            return WAKE_INTERVAL_SECONDS
        due = wakeup.next_in.total_seconds() - (self._clock.monotonic() - asked_at)
        return min(max(due, 0.0), WAKE_INTERVAL_SECONDS)


class Rescuer:
    """Queues the jobs of workers whose heartbeat has stopped."""

    def __init__(self, store: Store, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self.worker_id = ""
        """The worker that does the rescuing; set by itself whenever it registers."""

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.work()
            await self._clock.sleep(RESCUE_INTERVAL_SECONDS)

    async def rescue_here(self) -> None:
        """Rescue from workers of this host whose process is gone, without waiting for their leases.

        So that a program that was killed and is started again goes on at once.

        Raises:
            StoreError: The store could not be read or written.
        """
        report = await self._store.inspect()
        dead = [worker.worker_id for worker, _ in report.workers if is_gone(worker)]
        if dead:
            await self.work(dead)

    async def work(self, dead: Sequence[str] = ()) -> float:
        """Do one round and return the seconds until the next."""
        try:
            dispatches = await self._store.rescue_jobs(dead, spare=self.worker_id)
            if dispatches:
                JOBS_RESCUED.inc(len(dispatches))
                level = logging.INFO if dead else logging.WARNING
                logger.log(
                    level, "jobs rescued", extra={"job_ids": [each.job_id for each in dispatches]}
                )
                await self._dispatcher.dispatch(dispatches)
        except (StoreError, DispatchError) as error:
            logger.warning("rescue failed", extra={"error": error.code})
        return RESCUE_INTERVAL_SECONDS


async def sleep_or(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Return after `seconds` or once `event` is set, whichever comes first."""
    pending = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())}
    try:
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in pending:
            waiter.cancel()
