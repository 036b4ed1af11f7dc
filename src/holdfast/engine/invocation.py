"""Calling a step's function where it belongs: on the loop, in a thread, or in a child process."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.engine.functions import encode_arguments
from holdfast.engine.isolation import check_isolated, run_isolated
from holdfast.engine.pacing import LoopWatch
from holdfast.engine.progress import step_group
from holdfast.errors import FatalError, StepTimeoutError
from holdfast.model import Isolation
from holdfast.scope import StepScope, enter_step, leave_step
from holdfast.telemetry.traces import start_step, under

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.engine.attempt import Attempt
    from holdfast.engine.calls import StepCall

logger = logging.getLogger(__name__)

STARTED_AFTER_SECONDS = 0.1
"""`step.started` is told of steps that take longer than this; shorter ones only complete."""

THREAD_END_SECONDS = 10.0
"""How long a cancelled step waits for the thread of its plain function."""


async def run_once(attempt: Attempt, call: StepCall, tries: int) -> tuple[Any, bytes, str | None]:
    """Run a step's function once, within its scope and limit.

    Returns:
        The result, its JSON text, and its type's name if only the value told it.

    Raises:
        StepTimeoutError: It took longer than its limit.
        Exception: Whatever the function raised.
    """
    scope = StepScope(
        lease=attempt.lease,
        kind=attempt.kind.kind,
        step_key=call.key,
        step_attempt=tries,
        priority=attempt.job.priority,
        tenant=attempt.job.tenant,
        emit=attempt.emit,
        emit_delta=lambda text: attempt.add_delta(call.key, tries, text),
        owe=attempt.debts.add,
    )
    loop = asyncio.get_running_loop()
    started = loop.call_later(
        STARTED_AFTER_SECONDS, attempt.emit, "step.started", {"key": call.key, "step_attempt": tries}
    )
    token = enter_step(scope)
    try:
        limit = call.options.timeout
        if limit is None:
            return await _invoke(attempt, call)
        return await _invoke_within(attempt, call, limit.total_seconds())
    except (SystemExit, KeyboardInterrupt) as error:
        # asyncio would end the whole worker: a library that calls sys.exit() ends its step only.
        raise FatalError(f"step {call.key!r} raised {error!r}") from error
    finally:
        leave_step(token)
        started.cancel()


async def run_once_traced(attempt: Attempt, call: StepCall, tries: int) -> tuple[Any, bytes, str | None]:
    """Do as `run_once`, within a span of its own; for attempts that are traced."""
    span = start_step(call.key, step_group(call.key), tries)
    if span is None:
        return await run_once(attempt, call, tries)
    with under(span):
        return await run_once(attempt, call, tries)


async def _invoke_within(
    attempt: Attempt, call: StepCall, seconds: float
) -> tuple[Any, bytes, str | None]:
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await _invoke(attempt, call)
    except TimeoutError:
        if timer.expired():
            raise StepTimeoutError(step_key=call.key, limit_seconds=seconds) from None
        raise


async def _invoke(attempt: Attempt, call: StepCall) -> tuple[Any, bytes, str | None]:
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
        outcome = await _in_thread(attempt, call)
    if inspect.isawaitable(outcome):
        outcome = await LoopWatch(outcome, call.key)
    text, type_name = codec.encode_value(outcome, call.result_type, what=what)
    return outcome, text, type_name


async def _in_thread(attempt: Attempt, call: StepCall) -> Any:
    """Run the function in a thread.

    A thread cannot be stopped. When the step is out of time, or is cancelled and has an undo, it
    counts as running until the thread has ended: its next try or its undo must not run beside it.
    """
    context = contextvars.copy_context()
    function = functools.partial(context.run, call.function, *call.args, **call.kwargs)
    running = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if call.options.undo is not None or attempt.ending is None:
            await asyncio.wait((running,), timeout=THREAD_END_SECONDS)
        if not running.done():
            logger.warning("thread left running", extra={"step_key": call.key})
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise


def _is_async(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function)
