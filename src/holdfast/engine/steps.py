"""One step: look up, run, persist."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast import codec
from holdfast.engine.attempt import Ending
from holdfast.engine.branches import Wait
from holdfast.engine.functions import encode_arguments, reference_to
from holdfast.engine.invocation import run_once, run_once_traced
from holdfast.errors import (
    ArtifactError,
    BudgetExceededError,
    DuplicateStepError,
    LaneHeldError,
    LeaseLost,
    SoftLimitError,
    StepFailedError,
    StepUsageError,
    StoreError,
)
from holdfast.ids import jitter
from holdfast.model import Checkpoint, SuspendReason, UndoCall
from holdfast.retry import is_malformed, next_wait
from holdfast.scope import current_step
from holdfast.store.base import RESERVED_KEY_PREFIX, RETRY_KEY_PREFIX, UNDO_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.engine.attempt import Attempt
    from holdfast.engine.calls import StepCall

logger = logging.getLogger(__name__)

T = TypeVar("T")

INLINE_BYTES_MAX = 256 * 1024
"""Larger results are kept in artifact storage and fetched when a later attempt needs them."""

SUSPEND_WAIT = timedelta(minutes=1)
"""Waits before a retry longer than this suspend the job instead of holding its slot."""

KEY_CHARACTERS_MAX = 500

_STORE_TRIES = 8
_STORE_WAIT_SECONDS = 0.1


async def run_step(attempt: Attempt, call: StepCall) -> Any:
    """Return the step's result: stored, or by running it now and storing it.

    Raises:
        DuplicateStepError, StepUsageError: The step was declared wrongly.
        StepFailedError: It failed for good.
        LeaseLost: The attempt no longer owns the job.
    """
    claim_key(attempt, call.key)
    if not callable(call.function):
        _refuse_called(call)
    found = attempt.checkpoints.get(call.key)
    if found is not None and found.finished:
        return await load_result(attempt, found, call.result_type)
    _check_soft_limit(attempt)
    tally = _recorded_tally(attempt, call.key)
    if tally.until is not None:
        await wait_until(attempt, SuspendReason.SLEEP, tally.until)
    while True:
        await wait_while_draining(attempt)
        # The result is stored before the step counts as over: an attempt that looked idle in
        # between would be suspended and the result, already paid for, lost.
        with attempt.branches.running_step():
            if not tally.begun:
                await _record_beginning(attempt, call, found)
                tally.begun = True
            outcome = await _try(attempt, call, tally)
            if isinstance(outcome, _Result):
                await store_checkpoint(attempt, await _checkpoint(attempt, call, outcome, tally))
            if attempt.debts:
                await _pay_debts(attempt)
        if isinstance(outcome, _Result):
            return outcome.value
        await outcome()


def _refuse_called(call: StepCall) -> None:
    if inspect.iscoroutine(call.function):
        call.function.close()
    raise StepUsageError(
        f"step {call.key!r} got a {type(call.function).__name__} where a function belongs",
        hint="pass the function and its arguments, do not call it: job.step(key, fn, argument)",
    )


@dataclass(slots=True)
class _Tally:
    """What one step has been through."""

    begun: bool = False
    """In this attempt."""
    tries: int = 0
    malformed_tries: int = 0
    until: datetime | None = None
    """No further try before; set when an earlier attempt suspended for it."""
    records: int = 0
    """Long waits on record."""


def _recorded_tally(attempt: Attempt, key: str) -> _Tally:
    """Return what earlier attempts recorded before their long waits; limits hold across them."""
    tally = _Tally()
    while (found := attempt.checkpoints.get(f"{RETRY_KEY_PREFIX}{key}/{tally.records}")) is not None:
        record = codec.from_json(found.value or b"{}")
        tally.tries, tally.malformed_tries = record["tries"], record["malformed_tries"]
        tally.until = datetime.fromisoformat(record["until"])
        tally.records += 1
    return tally


async def _record_long_wait(attempt: Attempt, key: str, tally: _Tally, until: datetime) -> None:
    record = {
        "tries": tally.tries,
        "malformed_tries": tally.malformed_tries,
        "until": until.isoformat(),
    }
    await store_checkpoint(
        attempt,
        Checkpoint(key=f"{RETRY_KEY_PREFIX}{key}/{tally.records}", value=codec.to_json(record)),
    )
    tally.records += 1


@dataclass(frozen=True, slots=True)
class _Result:
    """A result in both forms."""

    value: Any
    text: bytes
    type_name: str | None
    seconds: float


def claim_key(attempt: Attempt, key: str) -> None:
    """Check a key's form and that this attempt uses it for the first time, outside of any step."""
    if not isinstance(key, str) or not key or len(key) > KEY_CHARACTERS_MAX:
        raise StepUsageError(
            f"step key {key!r:.80} is not a string of 1 to {KEY_CHARACTERS_MAX} characters",
            hint="name the step after what it does, e.g. 'outline'",
        )
    if not codec.is_storable(key):
        raise StepUsageError(
            f"step key {key!r} has a NUL character or half of a surrogate pair, which cannot be stored",
            hint="remove it; for text from outside use a hash of it in the key",
        )
    if attempt.code_ended and not key.startswith(UNDO_KEY_PREFIX):
        # Code that the job function has let go of, such as a failed gather's siblings.
        raise asyncio.CancelledError
    if key in attempt.used_keys:
        raise DuplicateStepError(step_key=key, job_id=attempt.job.job_id, kind=attempt.kind.kind)
    scope = current_step()
    if scope is not None and scope.lease.job_id == attempt.job.job_id:
        raise StepUsageError(
            f"step {key!r} was started inside step {scope.step_key!r} of job {attempt.job.job_id!r}",
            hint="steps do not nest: return from the first, then start the second from the job function",
        )
    attempt.used_keys.add(key)


def check_public_key(key: str) -> None:
    """Refuse keys that belong to the engine."""
    if isinstance(key, str) and key.startswith(RESERVED_KEY_PREFIX):
        raise StepUsageError(
            f"step key {key!r} begins with {RESERVED_KEY_PREFIX!r}, which is kept for the engine",
            hint="choose another key",
        )


async def load_result(attempt: Attempt, found: Checkpoint, declared: Any) -> Any:
    """Decode a stored result, fetching it from artifact storage if it is kept there."""
    text = found.value
    if found.blob is not None:
        text = await attempt.blobs.get_bytes(found.blob)
    what = f"result of step {found.key!r} of job {attempt.job.job_id!r}"
    return codec.decode_value(text or b"null", declared, found.type_name, what=what)


async def store_checkpoint(attempt: Attempt, checkpoint: Checkpoint) -> None:
    """Persist a finished step; holds on to the result while the store has passing trouble."""
    attempt.meter.finish_step(checkpoint.key, checkpoint.seconds)
    # Known here even if the wait for the commit is cancelled: compensation needs the result.
    if not checkpoint.number:
        checkpoint = replace(checkpoint, number=attempt.count_step())
    attempt.checkpoints[checkpoint.key] = checkpoint
    events = await attempt.end_output(checkpoint.key)
    try:
        await _insist(
            attempt,
            checkpoint.key,
            lambda: attempt.store.put_checkpoint(attempt.lease, checkpoint, events),
        )
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise


async def _insist(attempt: Attempt, key: str, write: Callable[[], Awaitable[T]]) -> T:
    """Write what a finished step gave, again and again: it may have been paid for."""
    wait = _STORE_WAIT_SECONDS
    for _ in range(_STORE_TRIES - 1):
        try:
            return await write()
        except (StoreError, ArtifactError) as error:
            if isinstance(error, StoreError) and not error.transient:
                raise
            logger.warning(
                "checkpoint delayed",
                extra={"job_id": attempt.job.job_id, "step_key": key, "error": error.code},
            )
        await attempt.clock.sleep(wait)
        wait *= 2
    return await write()


async def _pay_debts(attempt: Attempt) -> None:
    """Book what met trouble of the store, if that has passed; else it waits for a later step."""
    try:
        await attempt.debts.pay()
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise
    except StoreError as error:
        if not error.transient:
            raise


async def wait_while_draining(attempt: Attempt) -> None:
    """Park the branch when the worker is draining: the attempt ends before this step starts."""
    if attempt.ending is not None:
        # Job code went on after its cancellation: it must not start anything new.
        raise asyncio.CancelledError
    if attempt.draining.is_set():
        with attempt.branches.waiting(Wait(reason=None)):
            await asyncio.Event().wait()


def _check_soft_limit(attempt: Attempt) -> None:
    limit = attempt.kind.soft_limit
    if limit is None or attempt.soft_limit_raised or attempt.compensating:
        return
    if attempt.active_seconds < limit.total_seconds():
        return
    attempt.soft_limit_raised = True
    raise SoftLimitError(
        f"job {attempt.job.job_id!r} has run for {attempt.active_seconds:.0f} s, "
        f"its soft limit is {limit.total_seconds():g} s",
        hint="catch SoftLimitError to end cleanly, or raise soft_limit",
    )


async def _record_beginning(attempt: Attempt, call: StepCall, found: Checkpoint | None) -> None:
    undo = call.options.undo
    if undo is None and not attempt.careful:
        return
    recorded = None
    if undo is not None:
        kwargs = dict(call.kwargs)
        recorded = UndoCall(
            function=reference_to(undo, what=f"undo of step {call.key!r}"),
            arguments=encode_arguments(call.function, call.args, kwargs, what=f"step {call.key!r}"),
        )
    try:
        await attempt.store.begin_step(attempt.lease, call.key, recorded)
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise
    number = attempt.count_step()
    if found is None:
        attempt.checkpoints[call.key] = Checkpoint(
            key=call.key, finished=False, undo=recorded, number=number
        )
    elif recorded is not None:
        attempt.checkpoints[call.key] = replace(found, undo=recorded)


async def _try(
    attempt: Attempt, call: StepCall, tally: _Tally
) -> _Result | Callable[[], Awaitable[None]]:
    """Run the function once: return its result, or how to wait before the next try."""
    tally.tries += 1
    changes = attempt.changes
    refused = False
    started = attempt.clock.monotonic()
    try:
        run = run_once if attempt.span is None else run_once_traced
        value, text, type_name = await run(attempt, call, tally.tries)
        return _Result(value, text, type_name, attempt.clock.monotonic() - started)
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise
    except BudgetExceededError as error:
        refused = True
        tally.tries -= 1
        attempt.emit("budget.exceeded", {"key": call.key, "message": error.message})
        return functools.partial(_wait_for_budget, attempt, changes, error.until)
    except LaneHeldError as error:
        tally.tries -= 1
        return functools.partial(wait_until, attempt, SuspendReason.QUOTA, error.until)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        # Not our doing: the function awaited something that was cancelled.
        raise StepFailedError(step_key=call.key, attempts=tally.tries, cause=error) from error
    except Exception as error:  # noqa: BLE001 - classified there, chained where it is final
        return await _retry_after(attempt, call, tally, error)
    finally:
        if not refused:
            # What this step had reserved and not used is free for those that were refused.
            attempt.announce_settled_calls()


async def _retry_after(
    attempt: Attempt, call: StepCall, tally: _Tally, error: Exception
) -> Callable[[], Awaitable[None]]:
    """Return how to wait before the next try.

    Raises:
        StepFailedError: There is none.
        StoreError: The store is in passing trouble and tries are used up.
    """
    tally.malformed_tries += is_malformed(error)
    wait = next_wait(
        call.options.retry or attempt.kind.step_retry,
        error,
        tries=tally.tries,
        malformed_tries=tally.malformed_tries,
        spread=jitter(),
    )
    if wait is None and isinstance(error, StoreError) and error.transient:
        # Not the step's fault: the attempt is handed back and goes on once the store answers.
        raise error
    if wait is None:
        raise StepFailedError(step_key=call.key, attempts=tally.tries, cause=error) from error
    _tell_retry(attempt, call.key, tally.tries, wait, error)
    if wait <= SUSPEND_WAIT:
        return functools.partial(_wait_for_retry, attempt, wait)
    until = attempt.now() + wait
    await _record_long_wait(attempt, call.key, tally, until)
    return functools.partial(wait_until, attempt, SuspendReason.SLEEP, until)


async def _checkpoint(attempt: Attempt, call: StepCall, result: _Result, tally: _Tally) -> Checkpoint:
    large = len(result.text) > INLINE_BYTES_MAX
    begun = attempt.checkpoints.get(call.key)
    return Checkpoint(
        key=call.key,
        value=None if large else result.text,
        blob=await _insist(attempt, call.key, lambda: attempt.blobs.put_bytes(result.text))
        if large
        else None,
        type_name=result.type_name,
        undo=begun.undo if begun else None,
        number=attempt.count_step(),
        seconds=result.seconds,
        attempts=tally.tries,
    )


def is_cancelled() -> bool:
    """Whether somebody has cancelled the current task, rather than something it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell_retry(attempt: Attempt, key: str, tries: int, wait: timedelta, error: Exception) -> None:
    attempt.emit(
        "step.retrying",
        {
            "key": key,
            "step_attempt": tries,
            "wait_seconds": round(wait.total_seconds(), 3),
            "error": {"type": type(error).__name__, "code": getattr(error, "code", "exception")},
        },
    )


async def _wait_for_retry(attempt: Attempt, wait: timedelta) -> None:
    """Wait in the slot; a drain ends the wait."""
    with attempt.branches.running_step():
        sleeping = asyncio.ensure_future(attempt.clock.sleep(wait.total_seconds()))
        draining = asyncio.ensure_future(attempt.draining.wait())
        try:
            await asyncio.wait((sleeping, draining), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            draining.cancel()


async def wait_until(attempt: Attempt, reason: SuspendReason, until: datetime) -> None:
    """Wait in memory while other branches work; the attempt suspends once only waits are left."""
    with attempt.branches.waiting(Wait(reason=reason, until=until)):
        while (left := (until - attempt.now()).total_seconds()) > 0:
            await attempt.clock.sleep(left)


async def _wait_for_budget(attempt: Attempt, changes: int, until: datetime | None) -> None:
    """Wait until there may be more budget than when the attempt knew of `changes`, or until `until`.

    Siblings in flight give back what they reserved and did not use; only when none is left does
    the job suspend until its budget is raised.
    """
    with attempt.branches.waiting(Wait(reason=SuspendReason.BUDGET, until=until)):
        if until is None:
            await attempt.changed(changes)
            return
        left = max(0.0, (until - attempt.now()).total_seconds())
        waits = {
            asyncio.ensure_future(attempt.changed(changes)),
            asyncio.ensure_future(attempt.clock.sleep(left)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
