"""Rows and model values: times are integer microseconds UTC, money integer nano-dollars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from sys import intern
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.model import (
    Artifact,
    Budget,
    Call,
    CallStatus,
    Checkpoint,
    Job,
    JobStatus,
    Progress,
    StoredError,
    SuspendReason,
    UndoCall,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = tuple[Any, ...]

encode_json = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(StoredError).decode
_decode_artifact = msgspec.json.Decoder(Artifact).decode
_decode_list = msgspec.json.Decoder(list[Any]).decode

INTEGER_MAX = 2**63 - 1
"""The largest number a column holds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NANOS = Decimal(1_000_000_000)

# times and money ---------------------------------------------------------------------------------


def micros(at: datetime) -> int:
    """Return a time as stored."""
    return (at - _EPOCH) // _MICROSECOND


def span_micros(span: timedelta) -> int:
    """Return a duration as stored."""
    return span // _MICROSECOND


def moment(stored: int) -> datetime:
    """Return a stored time as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=stored)


def optional_moment(stored: int | None) -> datetime | None:
    """Return a stored time, or None."""
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)


def nanos(usd: Decimal, *, limit: bool = False) -> int:
    """Return money as stored: costs are rounded up, limits down, so a budget is never passed.

    Raises:
        InvalidInputError: The amount is not a number, or too large to be stored.
    """
    if not usd.is_finite() or abs(usd) > INTEGER_MAX / _NANOS:
        raise InvalidInputError(
            f"an amount of {usd!r} US dollars cannot be stored; the most is 9 billion"
        )
    return int((usd * _NANOS).to_integral_value(ROUND_FLOOR if limit else ROUND_CEILING))


def optional_nanos(usd: Decimal | None, *, limit: bool = False) -> int | None:
    """Return money as stored, or None for unknown or unlimited."""
    return None if usd is None else nanos(usd, limit=limit)


def money(stored: int) -> Decimal:
    """Return stored money as dollars, without trailing zeros."""
    return Decimal(stored).scaleb(-9).normalize() if stored else Decimal(0)


def optional_money(stored: int | None) -> Decimal | None:
    """Return stored money, or None for unknown or unlimited."""
    return None if stored is None else money(stored)


def money_text(stored: int | None) -> str | None:
    """Return stored money as a plain decimal string for events."""
    return None if stored is None else format(money(stored), "f")


def budget_columns(budget: Budget) -> tuple[int | None, int | None]:
    """Return (nano-dollars, tokens) of a budget.

    Raises:
        InvalidInputError: A limit is too large to be stored.
    """
    if budget.tokens is not None and budget.tokens > INTEGER_MAX:
        raise InvalidInputError(
            f"a budget of {budget.tokens} tokens cannot be stored; use None for no limit"
        )
    return optional_nanos(budget.usd, limit=True), budget.tokens


# jobs --------------------------------------------------------------------------------------------

JOB_COLUMNS = (
    "id", "job_id", "kind", "queue", "status", "suspend_reason", "priority", "tenant",
    "subject", "parent", "parent_id", "concurrency_key", "concurrency_limit",
    "idempotency_key", "attempt", "epoch", "lost_workers", "worker_id", "event_seq", "step_number",
    "wake_seq", "budget_nanos", "budget_tokens", "calls", "input_tokens", "cached_tokens",
    "output_tokens", "spent_nanos", "unpriced_calls", "uncertain_calls", "uncertain_nanos",
    "reserved_calls", "reserved_tokens", "reserved_nanos", "progress", "cancel_requested_at",
    "created_at", "available_at", "started_at", "finished_at", "active_seconds", "traceparent",
)  # fmt: skip
"""Columns of a row for `job_from`, in its order; the payload row follows as a second tuple."""

JOB_SQL = ", ".join(JOB_COLUMNS)
PAYLOAD_SQL = "input, output, error"


def job_from(row: Row, payload: Sequence[bytes | None]) -> Job:
    """Build a job from its row (`JOB_SQL`) and its payload row (`PAYLOAD_SQL`)."""
    (
        _, job_id, kind, queue, status, reason, priority, tenant,
        subject, _, parent_id, concurrency_key, _,
        idempotency_key, attempt, epoch, lost_workers, worker_id, event_seq, _,
        _, budget_nanos, budget_tokens, calls, input_tokens, cached_tokens,
        output_tokens, spent, unpriced, uncertain_calls, uncertain,
        _, reserved_tokens, reserved, progress, cancel_requested_at, created_at,
        available_at, started_at, finished_at, active_seconds, traceparent,
    ) = row  # fmt: skip
    job_input, output, error = payload
    return Job(
        job_id=job_id,
        # Thousands of claimed jobs share these few strings.
        kind=intern(kind),
        queue=intern(queue),
        status=JobStatus(status),
        input=job_input or b"",
        output=output,
        error=None if error is None else _decode_error(error),
        suspend_reason=None if reason is None else SuspendReason(reason),
        priority=priority,
        tenant=tenant,
        subject=subject,
        parent_id=parent_id,
        concurrency_key=concurrency_key,
        idempotency_key=idempotency_key,
        attempt=attempt,
        epoch=epoch,
        lost_workers=lost_workers,
        worker_id=None if worker_id is None else intern(worker_id),
        event_seq=event_seq,
        budget=budget_from(budget_nanos, budget_tokens),
        usage=_NO_USAGE
        if not (calls or uncertain_calls or reserved_tokens or reserved)
        else Usage(
            calls=calls,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            usd=money(spent),
            unpriced_calls=unpriced,
            uncertain_calls=uncertain_calls,
            uncertain_usd=money(uncertain),
            reserved_tokens=reserved_tokens,
            reserved_usd=money(reserved),
        ),
        progress=_NO_PROGRESS if progress is None else progress_from(progress),
        cancel_requested_at=optional_moment(cancel_requested_at),
        created_at=moment(created_at),
        available_at=optional_moment(available_at),
        started_at=optional_moment(started_at),
        finished_at=optional_moment(finished_at),
        active_seconds=float(active_seconds),
        traceparent=traceparent,
    )


_NO_USAGE = Usage()
_NO_PROGRESS = Progress()
_NO_BUDGET = Budget()


def budget_from(stored_nanos: int | None, tokens: int | None) -> Budget:
    """Build a budget from its columns."""
    if stored_nanos is None and tokens is None:
        return _NO_BUDGET
    return Budget(usd=optional_money(stored_nanos), tokens=tokens)


def progress_json(progress: Progress) -> bytes:
    """Return a progress as stored."""
    at = None if progress.at is None else micros(progress.at)
    return encode_json([progress.done, progress.total, progress.label, progress.eta_seconds, at])


def progress_from(stored: bytes) -> Progress:
    """Build a progress from what `progress_json` gave."""
    done, total, label, eta_seconds, at = _decode_list(stored)
    return Progress(done=done, total=total, label=label, eta_seconds=eta_seconds, at=optional_moment(at))


# checkpoints and calls ---------------------------------------------------------------------------

CHECKPOINT_SQL = (
    "key, finished, blob, type_name, undo_function, undo_arguments, seconds, attempts, number, starts,"
    " finished_at, artifact"
)


def checkpoint_from(row: Row, value: bytes | None) -> Checkpoint:
    """Build a checkpoint from its row (`CHECKPOINT_SQL`) and its value, where that was read."""
    (
        key, finished, blob, type_name, undo_function, undo_arguments, seconds, attempts, number, starts,
        finished_at, artifact,
    ) = row  # fmt: skip
    return Checkpoint(
        key=key,
        finished=bool(finished),
        value=value,
        blob=blob,
        type_name=type_name,
        undo=None
        if undo_function is None
        else UndoCall(function=undo_function, arguments=undo_arguments),
        seconds=seconds,
        attempts=attempts,
        number=number,
        starts=starts,
        finished_at=optional_moment(finished_at),
        artifact=None if artifact is None else _decode_artifact(artifact),
    )


CALL_SQL = (
    "call_id, step_key, step_attempt, epoch, provider, model, status, reserved_tokens, reserved_nanos,"
    " input_tokens, cached_tokens, output_tokens, nanos, response_id, error_code, started_at, ended_at"
)


def call_from(row: Row, job_id: str) -> Call:
    """Build a ledger entry from its row (`CALL_SQL`)."""
    (
        call_id, step_key, step_attempt, epoch, provider, model, status, reserved_tokens, reserved,
        input_tokens, cached_tokens, output_tokens, spent, response_id, error_code, started_at, ended_at,
    ) = row  # fmt: skip
    return Call(
        call_id=call_id,
        job_id=job_id,
        step_key=step_key,
        step_attempt=step_attempt,
        epoch=epoch,
        provider=provider,
        model=model,
        status=CallStatus(status),
        reserved_tokens=reserved_tokens,
        reserved_usd=optional_money(reserved),
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        usd=optional_money(spent),
        response_id=response_id,
        error_code=error_code,
        started_at=moment(started_at),
        ended_at=optional_moment(ended_at),
    )
