"""Taking steps back: the undo of each, newest first, each a step of its own."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.engine.calls import StepCall, StepOptions
from holdfast.engine.functions import decode_arguments, find_function
from holdfast.engine.outcomes import Outcome
from holdfast.engine.steps import load_result, run_step, store_checkpoint
from holdfast.errors import StoreError
from holdfast.model import Checkpoint, JobStatus, StoredError
from holdfast.store.base import COMPENSATION_KEY, UNDO_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.engine.attempt import Attempt
    from holdfast.model import UndoCall

logger = logging.getLogger(__name__)


def decided_outcome(checkpoints: Mapping[str, Checkpoint]) -> Outcome | None:
    """Return how the job is to end, if an earlier attempt had decided to compensate."""
    found = checkpoints.get(COMPENSATION_KEY)
    if found is None or found.value is None:
        return None
    record = codec.from_json(found.value)
    error = record["error"]
    return Outcome(
        status=JobStatus(record["status"]), error=None if error is None else StoredError(**error)
    )


async def compensate(attempt: Attempt, outcome: Outcome, *, poisoned_by: str | None) -> Outcome:
    """Take back every step that registered an undo, and return how the job ends after that.

    The decision is stored first: once the first undo has run there is no way back into the job.
    An undo that fails for good, or that was `poisoned_by`: took its workers down, is told in the
    job's error; the others still run.
    """
    steps = [(found, found.undo) for found in attempt.checkpoints.values() if found.undo is not None]
    if not steps:
        return outcome
    if decided_outcome(attempt.checkpoints) is None:
        record = codec.to_json({"status": outcome.status.value, "error": _plain(outcome.error)})
        await store_checkpoint(attempt, Checkpoint(key=COMPENSATION_KEY, value=record))
    failures = []
    for found, undo in sorted(steps, key=lambda step: step[0].number, reverse=True):
        if poisoned_by == UNDO_KEY_PREFIX + found.key:
            failures.append((found.key, f"took down {attempt.job.lost_workers} workers; not repeated"))
            continue
        try:
            await _undo(attempt, found, undo)
        except StoreError:
            # The attempt is tried again once the store answers; steps taken back stay so.
            raise
        except Exception as error:
            logger.exception("undo failed", extra={"job_id": attempt.job.job_id, "step_key": found.key})
            failures.append((found.key, str(error)))
    return _with_failures(outcome, failures) if failures else outcome


async def _undo(attempt: Attempt, found: Checkpoint, undo: UndoCall) -> None:
    function = find_function(undo.function)
    wants_result = "result" in inspect.signature(function).parameters
    args, kwargs = _undo_arguments(function, undo, found.key, wants_result=wants_result)
    if wants_result:
        declared = codec.parameter_types(function).get("result")
        kwargs["result"] = await load_result(attempt, found, declared) if found.finished else None
    call = StepCall(UNDO_KEY_PREFIX + found.key, function, args, kwargs, StepOptions())
    await run_step(attempt, call)


def _undo_arguments(
    function: Any, undo: UndoCall, key: str, *, wants_result: bool
) -> tuple[list[Any], dict[str, Any]]:
    arguments = undo.arguments
    if wants_result:
        # `result` is bound only so that the signature is satisfied; the caller sets it.
        args, kwargs = codec.from_json(arguments)
        arguments = codec.to_json([args, {**kwargs, "result": None}])
    return decode_arguments(function, arguments, what=f"undo of step {key!r}")


def _plain(error: StoredError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "type": error.type,
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "traceback": error.traceback,
    }


def _with_failures(outcome: Outcome, failures: list[tuple[str, str]]) -> Outcome:
    listed = "; ".join(f"{key!r}: {message}" for key, message in failures)
    before = f"{outcome.error.message}; then " if outcome.error else ""
    error = StoredError(
        type="CompensationError",
        code="compensation_failed",
        message=f"{before}{len(failures)} steps could not be taken back: {listed}",
        details={"steps": [key for key, _ in failures]},
        traceback=outcome.error.traceback if outcome.error else "",
    )
    return Outcome(status=JobStatus.FAILED, error=error)
