"""A worker: slots for attempts, the background roles, and an orderly way out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.engine.attempt import Attempt, Ending
from holdfast.engine.executor import run_attempt
from holdfast.engine.heartbeat import LEASE_SECONDS, Heartbeat, heartbeat_seconds
from holdfast.engine.host import host_identity
from holdfast.engine.roles import Rescuer, Waker
from holdfast.errors import DispatchError, LeaseLost, StoreError
from holdfast.ids import new_id
from holdfast.model import JobStatus
from holdfast.store.base import ClaimRequest, Settlement, WorkerRecord
from holdfast.store.hints import CANCEL, QUEUED, SIGNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.attempt import Services
    from holdfast.engine.registry import Registry
    from holdfast.store.base import Claim, Pulse

logger = logging.getLogger(__name__)

SLOTS_DEFAULT = 100
DRAIN_GRACE = timedelta(seconds=25)
"""Under the usual 30 s of container platforms."""

_TEARDOWN_SECONDS = 3.0
_STORE_TROUBLE_SECONDS = 2.0


class Worker:
    """Runs attempts of the registered kinds until it is drained."""

    def __init__(
        self,
        services: Services,
        registry: Registry,
        dispatcher: Dispatcher,
        *,
        queues: tuple[str, ...] | None = None,
        slots: int = SLOTS_DEFAULT,
        drain_grace: timedelta = DRAIN_GRACE,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Prepare a worker; `start` makes it known and sets it to work.

        Args:
            services: What attempts work with.
            registry: The kinds it can run.
            dispatcher: Where to announce jobs that it wakes, rescues or hands back.
            queues: The lines it serves; None for all.
            slots: Attempts at once.
            drain_grace: How long steps in flight may go on after `drain`.
            lease_seconds: How long its heartbeat is good for; it beats three times as often.
        """
        self.worker_id = ""
        self.rescuer = Rescuer(services.store, dispatcher, services.clock)
        self.waker = Waker(services.store, dispatcher, services.clock)
        self._services = replace(services, draining=asyncio.Event())
        self._store = services.store
        self._registry = registry
        self._dispatcher = dispatcher
        self._queues = queues
        self._slots = slots
        self._drain_grace = drain_grace
        self._lease_seconds = lease_seconds
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._slot_freed = asyncio.Event()
        self._heartbeat: Heartbeat | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._renewal: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    async def start(self) -> None:
        """Register, then claim jobs and do the background roles.

        Raises:
            StoreError: The store refused the registration.
        """
        await self._register()
        await self.rescuer.rescue_here()
        for role in (self._claim_forever, self.waker.run, self.rescuer.run, self._listen):
            self._tasks.append(asyncio.create_task(_guarded(self._services.clock, role)))

    async def drain(self) -> None:
        """Leave: claim no more, let steps in flight end, hand the leases back, sign off.

        Attempts that hold on past the grace period are cancelled; the jobs are queued again
        with their attempt number given back, for another worker to go on with.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._services.draining.set()
        await self._wait_for_attempts(self._drain_grace.total_seconds())
        for attempt in self._attempts.values():
            attempt.end(Ending.DRAIN)
        await self._wait_for_attempts(_TEARDOWN_SECONDS)
        if self._renewal is not None:
            # Its worker would be signed off at once, and a store that is away holds it forever.
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        await self._sign_off()
        for task in self._attempts:
            task.cancel()
        await self._wait_for_attempts(_TEARDOWN_SECONDS)
        for attempt in self._attempts.values():
            logger.error("job code does not end", extra={"job_id": attempt.job.job_id})

    # registration ----------------------------------------------------------------------------

    async def _register(self) -> None:
        self.worker_id = new_id("worker")
        self._heartbeat = Heartbeat(
            self._store,
            self._record,
            self._on_pulse,
            interval_seconds=heartbeat_seconds(self._lease_seconds),
        )
        await self._heartbeat.start()
        logger.info("worker started", extra={"worker_id": self.worker_id, "slots": self._slots})

    async def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            await self._heartbeat.stop()

    async def _sign_off(self) -> None:
        await self._stop_heartbeat()
        try:
            job_ids = await self._store.release_worker(self.worker_id)
            if job_ids:
                await self._dispatcher.dispatch(job_ids)
        except (StoreError, DispatchError) as error:
            # The lease runs out by itself; the rescuer of another worker takes the jobs.
            logger.warning("sign-off failed", extra={"worker_id": self.worker_id, "error": error.code})
        logger.info("worker stopped", extra={"worker_id": self.worker_id})

    def _record(self) -> WorkerRecord:
        return WorkerRecord(
            worker_id=self.worker_id,
            host=host_identity(),
            pid=os.getpid(),
            queues=self._queues,
            slots=self._slots,
            running=len(self._attempts),
            lease_seconds=self._lease_seconds,
        )

    def _on_pulse(self, pulse: Pulse) -> None:
        if not pulse.alive:
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._renew())
            return
        for attempt in self._attempts.values():
            if attempt.job.job_id in pulse.cancels:
                attempt.end(Ending.CANCEL)

    async def _renew(self) -> None:
        """Begin anew after having been signed off: nothing of the old attempts may be written."""
        logger.error("worker was signed off, dropping its attempts", extra={"worker_id": self.worker_id})
        for attempt in self._attempts.values():
            attempt.end(Ending.LOST)
        await self._stop_heartbeat()
        while True:
            try:
                await self._register()
            except StoreError as error:
                logger.warning("registration failed", extra={"error": error.code})
                await self._services.clock.sleep(_STORE_TROUBLE_SECONDS)
            else:
                # The rescued jobs are back in the line, maybe announced while nobody could claim.
                self._store.hints.publish(QUEUED)
                return

    # claiming ----------------------------------------------------------------------------------

    async def _claim_forever(self) -> None:
        with self._store.hints.subscribe(QUEUED) as queued:
            while True:
                queued.clear()
                self._slot_freed.clear()
                full = self.running >= self._slots
                if not full and await self._claim(self._slots - self.running):
                    continue
                if full or self.running >= self._slots:
                    await self._slot_freed.wait()
                else:
                    await queued.wait()

    async def _claim(self, limit: int) -> bool:
        """Claim up to `limit` jobs; tell whether there may be more."""
        request = ClaimRequest(
            worker_id=self.worker_id, kinds=self._registry.names, queues=self._queues, limit=limit
        )
        try:
            claims = await self._store.claim_jobs(request)
        except StoreError as error:
            logger.warning("claim failed", extra={"error": error.code})
            await self._services.clock.sleep(_STORE_TROUBLE_SECONDS)
            return True
        for claim in claims:
            self._begin(claim)
        return len(claims) == limit

    def _begin(self, claim: Claim) -> None:
        attempt = Attempt(claim, self._registry.get(claim.job.kind), self._services)
        task = asyncio.create_task(self._run(attempt, claim.poisoned_by), name=claim.job.job_id)
        self._attempts[task] = attempt
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        self._slot_freed.set()

    async def _run(self, attempt: Attempt, poisoned_by: str | None) -> None:
        try:
            job = await run_attempt(attempt, poisoned_by=poisoned_by)
        except Exception:
            logger.exception("attempt not settled", extra={"job_id": attempt.job.job_id})
            await self._hand_back(attempt)
            return
        if job is not None and job.status in (JobStatus.SUSPENDED, JobStatus.QUEUED):
            self.waker.nudge()

    async def _hand_back(self, attempt: Attempt) -> None:
        """Queue a job again whose attempt could not be settled, as soon as the store allows."""
        settlement = Settlement(status=JobStatus.QUEUED, counts=False)
        while attempt.ending is not Ending.LOST:
            await self._services.clock.sleep(_STORE_TROUBLE_SECONDS)
            with contextlib.suppress(StoreError):
                try:
                    await self._store.settle_attempt(attempt.lease, settlement)
                except LeaseLost:
                    logger.warning("lease lost", extra={"job_id": attempt.job.job_id})
                return

    # news ----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Pass hints on: cancel requests by a heartbeat at once, signals to waiting branches."""
        hints = self._store.hints
        with hints.subscribe(CANCEL) as cancel, hints.subscribe(SIGNAL) as signal:
            while True:
                waiters = [asyncio.ensure_future(event.wait()) for event in (cancel, signal)]
                try:
                    await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for waiter in waiters:
                        waiter.cancel()
                if cancel.is_set() and self._heartbeat is not None:
                    self._heartbeat.beat_now()
                if signal.is_set():
                    self._announce_changes()
                cancel.clear()
                signal.clear()

    def _announce_changes(self) -> None:
        for attempt in self._attempts.values():
            attempt.announce_change()

    async def _wait_for_attempts(self, seconds: float) -> None:
        if self._attempts:
            await asyncio.wait(tuple(self._attempts), timeout=seconds)


async def _guarded(clock: Clock, role: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a background role; a defect in it is told, and does not leave the worker without it."""
    while True:
        try:
            await role()
        except Exception:
            logger.critical("background role failed, starting it again", exc_info=True)
        await clock.sleep(_STORE_TROUBLE_SECONDS)
