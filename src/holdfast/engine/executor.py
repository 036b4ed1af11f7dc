"""One attempt as a straight pipeline: claim → load → run → compensate → settle."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

from holdfast.engine.attempt import Attempt, Ending
from holdfast.engine.compensation import compensate, decided_outcome
from holdfast.engine.context import JobContext
from holdfast.engine.outcomes import (
    Outcome,
    describe,
    outcome_of_ending,
    outcome_of_error,
    outcome_of_result,
    settlement_of,
)
from holdfast.errors import FatalError, LeaseLost, PoisonJobError, StoreError
from holdfast.model import JobStatus
from holdfast.scope import enter_attempt
from holdfast.store.base import POISON_LOST_WORKERS
from holdfast.telemetry.traces import end_attempt, start_attempt

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from holdfast.model import Job
    from holdfast.store.base import Settlement

logger = logging.getLogger(__name__)

_SETTLE_TRIES = 8
_SETTLE_WAIT_SECONDS = 0.1


async def run_attempt(attempt: Attempt, *, poisoned_by: str | None) -> Job | None:
    """Run a claimed job to the end of this attempt, in a task that does nothing else.

    Returns:
        The job as settled; None when the lease was lost and nothing may be written.
    """
    enter_attempt(attempt)
    attempt.span = start_attempt(attempt.job)
    job: Job | None = None
    try:
        outcome = await _drive(attempt, poisoned_by)
        await attempt.close_events()
        job = await _settle(attempt, outcome)
        return job
    except LeaseLost:
        attempt.end(Ending.LOST)
        await attempt.close_events()
        logger.warning("lease lost", extra=_fields(attempt))
        return None
    finally:
        if attempt.span is not None:
            end_attempt(attempt.span, job)


async def _drive(attempt: Attempt, poisoned_by: str | None) -> Outcome:
    """Decide the outcome by running the function, unless it is decided already."""
    outcome = decided_outcome(attempt.checkpoints) or _decided_by_claim(attempt, poisoned_by)
    if outcome is None:
        outcome = await _run_function(attempt)
    if outcome.compensates:
        return await _run_compensation(attempt, outcome, poisoned_by)
    return outcome


def _decided_by_claim(attempt: Attempt, poisoned_by: str | None) -> Outcome | None:
    if poisoned_by is not None:
        error = PoisonJobError(
            f"job {attempt.job.job_id!r} lost {attempt.job.lost_workers} workers in step "
            f"{poisoned_by!r}, the limit is {POISON_LOST_WORKERS}",
            hint="look for what kills the process there (memory?); isolate=True keeps the worker alive",
        )
        return Outcome(status=JobStatus.FAILED, error=describe(error))
    if attempt.job.cancel_requested_at is not None:
        return Outcome(status=JobStatus.CANCELLED)
    return None


async def _run_function(attempt: Attempt) -> Outcome:
    """Run the job function as a task of its own and turn its end into an outcome."""
    kind = attempt.kind

    async def call() -> Any:
        # Decoded in here, so that a stored input that no longer fits fails the job by name.
        values = () if kind.input_type is type(None) else (kind.decode_input(attempt.job.input),)
        try:
            return await kind.function(JobContext(attempt), *values)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would end the whole worker.
            raise FatalError(f"the job function raised {error!r}") from error
        finally:
            attempt.code_ended = True

    def finish(task: asyncio.Task[Any]) -> Outcome:
        return outcome_of_result(attempt, task.result())

    return await _supervise(attempt, call, finish)


async def _run_compensation(attempt: Attempt, outcome: Outcome, poisoned_by: str | None) -> Outcome:
    """Compensate under the same supervision; a cancel request changes nothing any more."""
    if attempt.ending is Ending.LOST:
        raise LeaseLost
    attempt.ending = None
    attempt.used_keys.clear()
    attempt.compensating = True

    async def call() -> Outcome:
        return await compensate(attempt, outcome, poisoned_by=poisoned_by)

    def finish(task: asyncio.Task[Any]) -> Outcome:
        ended: Outcome = task.result()
        return ended

    return await _supervise(attempt, call, finish)


async def _supervise(
    attempt: Attempt, call: Callable[[], Any], finish: Callable[[asyncio.Task[Any]], Outcome]
) -> Outcome:
    """Run `call` as the attempt's task, watching for the hard limit."""
    task = asyncio.create_task(call(), name=attempt.job.job_id)
    attempt.branches.main = task
    limit = None if attempt.compensating else attempt.kind.hard_limit
    watcher = asyncio.create_task(_watch_limit(attempt, limit)) if limit is not None else None
    if attempt.ending is not None:
        task.cancel()
    # Not `await task`, which would raise what job code raised, nor `asyncio.wait`, which holds
    # half a kilobyte for each of thousands of waiting jobs.
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.add_done_callback(functools.partial(_tell_ended, ended))
    try:
        await ended
    except asyncio.CancelledError:
        # The worker itself is torn down: nothing is settled, the lease runs out.
        attempt.end(Ending.LOST)
        await asyncio.wait((task,))
        raise
    finally:
        if watcher is not None:
            watcher.cancel()
        attempt.branches.main = None
    await attempt.end_branches()
    return _outcome(attempt, task, finish)


def _tell_ended(ended: asyncio.Future[None], _: asyncio.Task[Any]) -> None:
    if not ended.done():
        ended.set_result(None)


def _outcome(
    attempt: Attempt, task: asyncio.Task[Any], finish: Callable[[asyncio.Task[Any]], Outcome]
) -> Outcome:
    if attempt.ending is Ending.LOST:
        if not task.cancelled():
            task.exception()
        raise LeaseLost
    try:
        return finish(task)
    except asyncio.CancelledError:
        # Cancelled by nobody we know: job code cancelled itself, which fails the job.
        if attempt.ending is None:
            return outcome_of_error(attempt, RuntimeError("the job function was cancelled from within"))
        return outcome_of_ending(attempt, attempt.ending)
    except BaseException as error:  # noqa: BLE001 - job code may raise anything; it is stored
        if attempt.ending is not None:
            # What was raised while the attempt was being ended is a consequence, not a cause.
            return outcome_of_ending(attempt, attempt.ending)
        return outcome_of_error(attempt, error)


async def _watch_limit(attempt: Attempt, limit: timedelta) -> None:
    """End the attempt when the job's time is up; taking the job back has no such limit."""
    await attempt.clock.sleep(max(0.0, limit.total_seconds() - attempt.active_seconds))
    attempt.end(Ending.HARD_LIMIT)


async def settle(attempt: Attempt, settlement: Settlement) -> Job:
    """End the attempt in the store, after the calls that could not be booked before."""
    await attempt.debts.pay()
    return await attempt.store.settle_attempt(attempt.lease, settlement)


async def _settle(attempt: Attempt, outcome: Outcome) -> Job:
    """Write the end of the attempt; holds on while the store has passing trouble."""
    settlement = settlement_of(attempt, outcome)
    wait = _SETTLE_WAIT_SECONDS
    for _ in range(_SETTLE_TRIES - 1):
        try:
            job = await settle(attempt, settlement)
            break
        except StoreError as error:
            if not error.transient:
                raise
            logger.warning("settlement delayed", extra={**_fields(attempt), "error": error.code})
            await attempt.clock.sleep(wait)
            wait *= 2
    else:
        job = await settle(attempt, settlement)
    logger.log(
        logging.WARNING if outcome.status is JobStatus.FAILED else logging.INFO,
        "attempt settled",
        extra={
            **_fields(attempt),
            "status": outcome.status.value,
            "error": outcome.error.code if outcome.error else None,
        },
    )
    return job


def _fields(attempt: Attempt) -> dict[str, object]:
    return {
        "job_id": attempt.job.job_id,
        "kind": attempt.job.kind,
        "attempt": attempt.job.attempt,
        "epoch": attempt.lease.epoch,
    }
