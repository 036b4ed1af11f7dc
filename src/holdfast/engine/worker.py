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
from holdfast.engine.executor import run_attempt, settle
from holdfast.engine.heartbeat import LEASE_SECONDS, Heartbeat, heartbeat_seconds
from holdfast.engine.host import host_identity
from holdfast.engine.intake import STORE_TROUBLE_SECONDS, Intake, LookingIntake, OfferedIntake
from holdfast.engine.pruner import Pruner
from holdfast.engine.retention import Retention
from holdfast.engine.roles import REDISPATCH_AFTER, REDISPATCH_TO_BROKER_AFTER, Rescuer, Waker
from holdfast.errors import DispatchError, HoldfastError, LeaseLost, StoreError
from holdfast.ids import new_id
from holdfast.metrics import ATTEMPTS_ENDED, JOBS_CLAIMED, JOBS_RUNNING, LOOP_LAG, REPAIRS, SLOTS
from holdfast.model import Dispatch, JobStatus
from holdfast.store.base import ClaimRequest, Settlement, WorkerRecord
from holdfast.store.hints import CANCEL, QUEUED, SIGNAL, UNANNOUNCED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.attempt import Services
    from holdfast.engine.intake import Running
    from holdfast.engine.registry import Registry
    from holdfast.model import Job
    from holdfast.store.base import Claim, Pulse

logger = logging.getLogger(__name__)

HINTED_BEAT_SECONDS = 0.25
"""Beats that hints have asked for are at least this far apart."""

SLOTS_DEFAULT = 100
DRAIN_GRACE = timedelta(seconds=25)
"""Under the usual 30 s of container platforms."""

_TEARDOWN_SECONDS = 3.0
_LAG_INTERVAL_SECONDS = 1.0


class Worker:
    """Runs attempts of the registered kinds until it is drained.

    By itself it looks for jobs in the store. With `offered`, it waits for `offer`, called for each
    message of a broker, and only takes from the line what no message brings.
    """

    heartbeat_class = Heartbeat
    """Another one where there are no threads: the simulation."""

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
        offered: bool = False,
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
            offered: A broker's messages name the jobs to run.
        """
        self.worker_id = ""
        self.rescuer = Rescuer(services.store, dispatcher, services.clock)
        self.waker = Waker(
            services.store,
            dispatcher,
            services.clock,
            redispatch_after=REDISPATCH_TO_BROKER_AFTER if offered else REDISPATCH_AFTER,
        )
        self.pruner = Pruner(Retention(services.store, services.artifacts), registry, services.clock)
        self._services = replace(
            services, draining=asyncio.Event(), registry=registry, dispatcher=dispatcher
        )
        self._store = services.store
        self._registry = registry
        self._dispatcher = dispatcher
        self._queues = queues
        self._drain_grace = drain_grace
        self._lease_seconds = lease_seconds
        self._attempts: dict[Running, Attempt] = {}
        clock = services.clock
        self._offers: OfferedIntake | None = None
        self._intake: Intake
        if offered:
            self._intake = self._offers = OfferedIntake(
                slots, claim=self._claim, begin=self._begin, clock=clock
            )
        else:
            self._intake = LookingIntake(
                slots, claim=self._claim, begin=self._begin, clock=clock, hints=self._store.hints
            )
        self._heartbeat: Heartbeat | None = None
        self._pulsed_at = 0.0
        self._asked_at = -HINTED_BEAT_SECONDS
        self._asking: asyncio.TimerHandle | None = None
        self._claims_under_way = 0
        self._claim_unsure = False
        """The answer to a claim was lost: jobs may run under our name that we do not know of."""
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
        roles = [*self._intake.roles, self.waker.run, self.rescuer.run, self._listen, self._measure]
        if self._offers is not None:
            # Where workers look into the store themselves, nothing has to be announced.
            roles.append(self._announce_queued)
        for role in (*roles, *self.pruner.roles):
            self._tasks.append(asyncio.create_task(_guarded(self._services.clock, role)))

    def stop_claiming(self) -> None:
        """Take no more jobs, and go on with those under way, until `drain`."""
        self._intake.closed = True

    async def drain(self) -> None:
        """Leave: claim no more, let steps in flight end, hand the leases back, sign off.

        Attempts that hold on past the grace period are cancelled; the jobs are queued again
        with their attempt number given back, for another worker to go on with.
        """
        self.stop_claiming()
        if self._asking is not None:
            self._asking.cancel()
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
        for running in self._attempts:
            running.cancel()
        await self._wait_for_attempts(_TEARDOWN_SECONDS)
        for attempt in self._attempts.values():
            logger.error("job code does not end", extra={"job_id": attempt.job.job_id})

    # offers of a broker -----------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether an offer would be looked at now. May be asked from any thread."""
        return self._offers is not None and self._offers.has_room

    def tell_room(self, tell: Callable[[], None]) -> None:
        """Call `tell` each time that there is room for offers again."""
        if self._offers is not None:
            self._offers.on_room = tell

    async def offer(self, job_id: str) -> Running | None:
        """Claim the job that a message names and run it.

        Returns:
            The attempt, once the claim is durable; None if the job is not to be had.

        Raises:
            TimeoutError: No slot was free for a while.
        """
        return None if self._offers is None else await self._offers.offer(job_id)

    def consumer_seen(self, *, connected: bool) -> None:
        """Note that the consumer of messages is alive. May be called from any thread."""
        if self._offers is not None:
            self._offers.consumer_seen(connected=connected)

    async def cancel(self, job_id: str) -> None:
        """Request a job's end in the store, as an operator who ends it by the broker's tools wants."""
        try:
            job = await self._store.cancel_job(job_id)
            if job.status is JobStatus.QUEUED:
                await self._dispatcher.dispatch(
                    (Dispatch(job_id=job_id, queue=job.queue, number=job.event_seq),)
                )
        except HoldfastError as error:
            logger.warning("cancel failed", extra={"job_id": job_id, "error": error.code})
        else:
            logger.info("cancel requested", extra={"job_id": job_id})

    def resize(self, slots: int) -> None:
        """Run more or fewer attempts at once from now on."""
        self._intake.resize(slots)
        SLOTS.set(slots)

    def serve(self, queues: tuple[str, ...] | None) -> None:
        """Take jobs of these queues only from now on; None for all."""
        self._queues = queues

    def troubles(self) -> list[str]:
        """Return what is wrong that a restart of the process may cure. May be asked from any thread."""
        stuck = None if self._heartbeat is None else self._heartbeat.trouble()
        return [stuck] if stuck else []

    # registration ----------------------------------------------------------------------------

    async def _register(self) -> None:
        self.worker_id = self.rescuer.worker_id = new_id("worker")
        self._heartbeat = self.heartbeat_class(
            self._store,
            self._record,
            self._on_pulse,
            interval_seconds=heartbeat_seconds(self._lease_seconds),
        )
        await self._heartbeat.start()
        self._pulsed_at = self._services.clock.monotonic()
        logger.info("worker started", extra={"worker_id": self.worker_id, "slots": self._intake.slots})

    async def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            await self._heartbeat.stop()

    async def _sign_off(self) -> None:
        await self._stop_heartbeat()
        try:
            dispatches = await self._store.release_worker(self.worker_id)
            if dispatches:
                await self._dispatcher.dispatch(dispatches)
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
            slots=self._intake.slots,
            running=len(self._attempts),
            lease_seconds=self._lease_seconds,
        )

    def _on_pulse(self, pulse: Pulse) -> None:
        if not pulse.alive:
            if self._renewal is None or self._renewal.done():
                self._renewal = asyncio.create_task(self._renew())
            return
        if self._overslept:
            # Claims were refused meanwhile.
            self._store.hints.publish(QUEUED)
        self._pulsed_at = self._services.clock.monotonic()
        for attempt in self._attempts.values():
            if attempt.job.job_id in pulse.cancels:
                attempt.end(Ending.CANCEL)

    @property
    def _overslept(self) -> bool:
        """Whether this process has not run for so long that its lease is over."""
        return self._services.clock.monotonic() - self._pulsed_at >= self._lease_seconds

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
                await self._services.clock.sleep(STORE_TROUBLE_SECONDS)
            else:
                # The rescued jobs are back in the line, maybe announced while nobody could claim.
                self._store.hints.publish(QUEUED)
                return

    # claiming ----------------------------------------------------------------------------------

    async def _claim(
        self, limit: int, *, job_id: str | None = None, waited: timedelta | None = None
    ) -> Sequence[Claim]:
        request = ClaimRequest(
            worker_id=self.worker_id,
            kinds=self._registry.runnable,
            queues=self._queues,
            limit=limit,
            job_id=job_id,
            waited=waited,
            holding=self._holding() if self._claim_unsure and not self._claims_under_way else None,
        )
        if self._overslept and self._heartbeat is not None:
            self._heartbeat.beat_now()
        self._claims_under_way += 1
        try:
            claims = await self._store.claim_jobs(request)
        except StoreError:
            # It may have been committed. The next claim puts right what nobody here knows of.
            self._claim_unsure = True
            raise
        finally:
            self._claims_under_way -= 1
        if request.holding is not None:
            self._claim_unsure = False
        for claim in claims:
            JOBS_CLAIMED.labels(claim.job.kind).inc()
            if waited is not None:
                REPAIRS.labels(claim.job.queue).inc()
        return claims

    def _holding(self) -> tuple[str, ...]:
        return tuple(attempt.job.job_id for attempt in self._attempts.values())

    def _begin(self, claim: Claim) -> Running:
        attempt = Attempt(claim, self._registry.find_runnable(claim.job.kind), self._services)
        task = asyncio.create_task(self._run(attempt, claim.poisoned_by), name=claim.job.job_id)
        self._attempts[task] = attempt
        JOBS_RUNNING.inc()
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: Running) -> None:
        del self._attempts[task]
        JOBS_RUNNING.dec()
        self._intake.release()

    async def _run(self, attempt: Attempt, poisoned_by: str | None) -> Job | None:
        try:
            job = await run_attempt(attempt, poisoned_by=poisoned_by)
        except Exception:
            logger.exception("attempt not settled", extra={"job_id": attempt.job.job_id})
            await self._hand_back(attempt)
            return None
        ATTEMPTS_ENDED.labels(attempt.job.kind, job.status if job else "lost").inc()
        if job is not None and (
            job.status in (JobStatus.SUSPENDED, JobStatus.QUEUED)
            # Its end may have queued its parent or the next with its key, and nobody was told.
            or job.parent_id is not None
            or job.concurrency_key is not None
        ):
            self.waker.nudge()
        return job

    async def _hand_back(self, attempt: Attempt) -> None:
        """Queue a job again whose attempt could not be settled, as soon as the store allows."""
        settlement = Settlement(status=JobStatus.QUEUED, counts=False)
        while attempt.ending is not Ending.LOST:
            await self._services.clock.sleep(STORE_TROUBLE_SECONDS)
            with contextlib.suppress(StoreError):
                try:
                    await settle(attempt, settlement)
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
                if cancel.is_set():
                    self._ask_for_cancels()
                if signal.is_set():
                    self._announce_changes()
                cancel.clear()
                signal.clear()

    def _ask_for_cancels(self) -> None:
        """Beat now for its answer, but not more often than it is worth.

        In a file's store each process hears of every commit of others, a beat among them: two workers
        would answer each other for ever.
        """
        loop = asyncio.get_running_loop()
        wait = self._asked_at + HINTED_BEAT_SECONDS - loop.time()
        if wait > 0:
            if self._asking is None or self._asking.cancelled() or self._asking.when() <= loop.time():
                self._asking = loop.call_later(wait, self._ask_for_cancels)
            return
        self._asked_at = loop.time()
        if self._heartbeat is not None:
            self._heartbeat.beat_now()

    async def _announce_queued(self) -> None:
        """Have the waker announce at once what this process has queued beside what it was asked for."""
        with self._store.hints.subscribe(UNANNOUNCED) as queued:
            while True:
                await queued.wait()
                queued.clear()
                self.waker.nudge()

    def _announce_changes(self) -> None:
        for attempt in self._attempts.values():
            attempt.announce_change()

    async def _measure(self) -> None:
        """Keep an eye on how late the loop is."""
        SLOTS.set(self._intake.slots)
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_INTERVAL_SECONDS
            await asyncio.sleep(_LAG_INTERVAL_SECONDS)
            LOOP_LAG.observe(max(0.0, loop.time() - due))

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
        await clock.sleep(STORE_TROUBLE_SECONDS)
