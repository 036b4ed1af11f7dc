"""One step: look up, run, persist."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from holdfast import codec
from holdfast.engine.attempt import Ending
from holdfast.engine.branches import Wait
from holdfast.engine.functions import encode_arguments, reference_to
from holdfast.engine.isolation import check_isolated, run_isolated
from holdfast.engine.pacing import LoopWatch
from holdfast.errors import (
    ArtifactError,
    BudgetExceededError,
    DuplicateStepError,
    FatalError,
    LaneHeldError,
    LeaseLost,
    SoftLimitError,
    StepFailedError,
    StepTimeoutError,
    StepUsageError,
    StoreError,
)
from holdfast.ids import jitter
from holdfast.model import Checkpoint, Isolation, RetryPolicy, SuspendReason, UndoCall
from holdfast.retry import is_malformed, next_wait
from holdfast.scope import StepScope, current_step, enter_step, leave_step
from holdfast.store.base import RESERVED_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from holdfast.engine.attempt import Attempt

logger = logging.getLogger(__name__)

T = TypeVar("T")

INLINE_BYTES_MAX = 256 * 1024
"""Larger results are kept in artifact storage and fetched when a later attempt needs them."""

SUSPEND_WAIT = timedelta(minutes=1)
"""Waits before a retry longer than this suspend the job instead of holding its slot."""

STARTED_AFTER_SECONDS = 0.1
"""`step.started` is told of steps that take longer than this; shorter ones only complete."""

KEY_CHARACTERS_MAX = 500

_STORE_TRIES = 8
_STORE_WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What an author may say of a step beside its function and arguments."""

    retry: RetryPolicy | None = None
    """None: the policy of the job kind."""
    timeout: timedelta | None = None
    """Limit of one attempt, waits for a lane included."""
    isolate: Isolation | bool = False
    """Run in a child process; True for the default limits."""
    undo: Callable[..., Any] | None = None
    """Takes the step back on cancel and final failure."""
    returns: Any = None
    """Type of the result, where the function's annotation does not tell."""

    def __post_init__(self) -> None:
        """Check the options' types, so that a mistake shows at the call and not hours later.

        Raises:
            StepUsageError: An option is not what it must be.
        """
        _check_option("retry", self.retry, RetryPolicy, "RetryPolicy(attempts=3)")
        _check_option("timeout", self.timeout, timedelta, "timedelta(seconds=30)")
        if not isinstance(self.isolate, bool):
            _check_option("isolate", self.isolate, Isolation, "True or Isolation(memory_bytes=…)")
        if self.undo is not None and not callable(self.undo):
            raise StepUsageError(
                f"undo={self.undo!r} is not a function", hint="pass the function itself, do not call it"
            )


def _check_option(name: str, value: Any, wanted: type, example: str) -> None:
    if value is not None and not isinstance(value, wanted):
        raise StepUsageError(
            f"{name}={value!r} is a {type(value).__name__}",
            hint=f"give {name}={example}; pass the function's own {name} by functools.partial",
        )


class StepKeywords(TypedDict, total=False):
    """`StepOptions` as keyword arguments."""

    retry: RetryPolicy | None
    timeout: timedelta | None
    isolate: Isolation | bool
    undo: Callable[..., Any] | None
    returns: Any


@dataclass(frozen=True, slots=True)
class StepCall:
    """A function with its arguments and options, on its way to becoming a checkpoint."""

    key: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: StepOptions

    @property
    def result_type(self) -> Any:
        """The declared type of the result, None when nothing declares it."""
        if self.options.returns is not None:
            return self.options.returns
        return codec.return_type(self.function)


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
    tally = _Tally()
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
    """What one step has been through in this attempt."""

    begun: bool = False
    tries: int = 0
    malformed_tries: int = 0


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
        text = await attempt.artifacts.get_bytes(found.blob)
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
    policy = call.options.retry or attempt.kind.step_retry
    tally.tries += 1
    changes = attempt.changes
    refused = False
    started = attempt.clock.monotonic()
    try:
        value, text, type_name = await _run_once(attempt, call, tally.tries)
        return _Result(value, text, type_name, attempt.clock.monotonic() - started)
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise
    except BudgetExceededError as error:
        refused = True
        tally.tries -= 1
        attempt.emit("budget.exceeded", {"key": call.key, "message": error.message})
        return functools.partial(_wait_for_budget, attempt, changes)
    except LaneHeldError as error:
        tally.tries -= 1
        return functools.partial(wait_until, attempt, SuspendReason.QUOTA, error.until)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        # Not our doing: the function awaited something that was cancelled.
        raise StepFailedError(step_key=call.key, attempts=tally.tries, cause=error) from error
    except Exception as error:
        tally.malformed_tries += is_malformed(error)
        wait = next_wait(
            policy, error, tries=tally.tries, malformed_tries=tally.malformed_tries, spread=jitter()
        )
        if wait is None and isinstance(error, StoreError) and error.transient:
            # Not the step's fault: the attempt is handed back and goes on once the store answers.
            raise
        if wait is None:
            raise StepFailedError(step_key=call.key, attempts=tally.tries, cause=error) from error
        _tell_retry(attempt, call.key, tally.tries, wait, error)
        return functools.partial(_wait_for_retry, attempt, wait)
    finally:
        if not refused:
            # What this step had reserved and not used is free for those that were refused.
            attempt.announce_settled_calls()


async def _run_once(attempt: Attempt, call: StepCall, tries: int) -> tuple[Any, bytes, str | None]:
    scope = StepScope(
        lease=attempt.lease,
        kind=attempt.kind.kind,
        step_key=call.key,
        step_attempt=tries,
        priority=attempt.job.priority,
        tenant=attempt.job.tenant,
        emit_delta=lambda text: attempt.add_delta(call.key, tries, text),
    )
    loop = asyncio.get_running_loop()
    started = loop.call_later(
        STARTED_AFTER_SECONDS, attempt.emit, "step.started", {"key": call.key, "step_attempt": tries}
    )
    token = enter_step(scope)
    try:
        limit = call.options.timeout
        if limit is None:
            return await _invoke(call)
        return await _invoke_within(call, limit.total_seconds())
    except (SystemExit, KeyboardInterrupt) as error:
        # asyncio would end the whole worker: a library that calls sys.exit() ends its step only.
        raise FatalError(f"step {call.key!r} raised {error!r}") from error
    finally:
        leave_step(token)
        started.cancel()


async def _invoke_within(call: StepCall, seconds: float) -> tuple[Any, bytes, str | None]:
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await _invoke(call)
    except TimeoutError:
        if timer.expired():
            raise StepTimeoutError(step_key=call.key, limit_seconds=seconds) from None
        raise


async def _invoke(call: StepCall) -> tuple[Any, bytes, str | None]:
    """Call the function where it belongs: on the loop, in a thread, or in a child process."""
    what = f"result of step {call.key!r}"
    if call.options.isolate:
        limits = call.options.isolate if isinstance(call.options.isolate, Isolation) else Isolation()
        check_isolated(call.function)
        arguments = encode_arguments(call.function, call.args, call.kwargs, what=f"step {call.key!r}")
        text = await run_isolated(call.function, arguments, limits=limits, step_key=call.key)
        return codec.decode_value(text, call.result_type, None, what=what), text, None
    if _is_async(call.function):
        outcome: Any = call.function(*call.args, **call.kwargs)
    else:
        outcome = await asyncio.to_thread(call.function, *call.args, **call.kwargs)
    if inspect.isawaitable(outcome):
        outcome = await LoopWatch(outcome, call.key)
    text, type_name = codec.encode_value(outcome, call.result_type, what=what)
    return outcome, text, type_name


def _is_async(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function)


async def _checkpoint(attempt: Attempt, call: StepCall, result: _Result, tally: _Tally) -> Checkpoint:
    large = len(result.text) > INLINE_BYTES_MAX
    begun = attempt.checkpoints.get(call.key)
    return Checkpoint(
        key=call.key,
        value=None if large else result.text,
        blob=await _insist(attempt, call.key, lambda: attempt.artifacts.put_bytes(result.text))
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
    """Wait in the slot when it is short, suspended when it is long; a drain ends a short wait."""
    if wait > SUSPEND_WAIT:
        await wait_until(attempt, SuspendReason.SLEEP, attempt.clock.now() + wait)
        return
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
        while (left := (until - attempt.clock.now()).total_seconds()) > 0:
            await attempt.clock.sleep(left)


async def _wait_for_budget(attempt: Attempt, changes: int) -> None:
    """Wait until there may be more budget than when the attempt knew of `changes`.

    Siblings in flight give back what they reserved and did not use; only when none is left does
    the job suspend until its budget is raised.
    """
    with attempt.branches.waiting(Wait(reason=SuspendReason.BUDGET)):
        await attempt.changed(changes)
