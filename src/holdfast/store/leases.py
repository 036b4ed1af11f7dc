"""Statements by which a worker takes a job and ends its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import Job, JobStatus, Lease
from holdfast.store import hints
from holdfast.store.base import (
    COMPENSATION_KEY,
    POISON_LOST_WORKERS,
    UNDO_KEY_PREFIX,
    Claim,
    Settlement,
)
from holdfast.store.checkpoints import load_checkpoints, lose_answers
from holdfast.store.controls import doubt_reserved_calls, mark_uncertain
from holdfast.store.events import add_event, lease_lost, read_signals
from holdfast.store.rows import (
    JOB_COLUMNS,
    JOB_SQL,
    PAYLOAD_SQL,
    encode_json,
    job_from,
    progress_json,
    span_micros,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.model import Checkpoint
    from holdfast.store.base import ClaimRequest
    from holdfast.store.rows import Row
    from holdfast.store.writer import Transaction

_ID, _JOB_ID, _STEP_NUMBER, _WAKE_SEQ, _UNCERTAIN, _PRIORITY, _AVAILABLE_AT = (
    JOB_COLUMNS.index(name)
    for name in (
        "id",
        "job_id",
        "step_number",
        "wake_seq",
        "uncertain_calls",
        "priority",
        "available_at",
    )
)

_CLAIM = f"""
UPDATE jobs SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, worker_id = ?,
    event_seq = event_seq + 1, claim_seq = event_seq + 1, started_at = COALESCE(started_at, ?),
    uncertain_calls = uncertain_calls + reserved_calls,
    uncertain_tokens = uncertain_tokens + reserved_tokens,
    uncertain_nanos = uncertain_nanos + reserved_nanos,
    reserved_calls = 0, reserved_tokens = 0, reserved_nanos = 0
WHERE id IN (
    SELECT id FROM jobs %s WHERE status = 'queued' AND available_at <= ?%s
    ORDER BY priority DESC, available_at, id LIMIT ?
)
RETURNING {JOB_SQL}
"""

# claiming ----------------------------------------------------------------------------------------


def claim_jobs(tx: Transaction, request: ClaimRequest) -> list[Claim]:
    """See `Store.claim_jobs`."""
    if not request.kinds or request.queues == () or request.limit < 1:
        return []
    if not _has_pulse(tx, request.worker_id):
        return []
    wanted, arguments = _filters(request)
    # Left to itself, SQLite sorts all queued jobs each time.
    index = "INDEXED BY jobs_claimable" if request.job_id is None else ""
    rows = tx.execute(
        _CLAIM % (index, wanted), (request.worker_id, tx.now, tx.now, *arguments, request.limit)
    ).fetchall()
    rows.sort(key=lambda row: (-row[_PRIORITY], row[_AVAILABLE_AT], row[_ID]))
    histories: dict[str, dict[str, float]] = {}
    return [_load_claim(tx, row, histories) for row in rows]


def _has_pulse(tx: Transaction, worker_id: str) -> bool:
    found = tx.execute(
        "SELECT 1 FROM workers WHERE worker_id = ? AND expires_at > ?", (worker_id, tx.now)
    )
    return found.fetchone() is not None


def _filters(request: ClaimRequest) -> tuple[str, tuple[str, ...]]:
    wanted = f" AND kind IN ({_marks(request.kinds)})"
    arguments = request.kinds
    if request.queues is not None:
        wanted += f" AND queue IN ({_marks(request.queues)})"
        arguments += request.queues
    if request.job_id is not None:
        wanted += " AND job_id = ?"
        arguments += (request.job_id,)
    return wanted, arguments


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _load_claim(tx: Transaction, row: Row, histories: dict[str, dict[str, float]]) -> Claim:
    number, job_id = row[_ID], row[_JOB_ID]
    payload = tx.execute(f"SELECT {PAYLOAD_SQL} FROM payloads WHERE job = ?", (number,)).fetchone()
    job = job_from(row, payload)
    worker_id = job.worker_id or ""
    if row[_UNCERTAIN]:
        mark_uncertain(tx, number)
    fields = {"attempt": job.attempt, "epoch": job.epoch, "worker_id": worker_id}
    add_event(tx, number, job.event_seq, "attempt.started", fields)
    tx.topics.add(job_id)
    if job.kind not in histories:
        histories[job.kind] = _read_history(tx, job.kind)
    # What cannot be there is not looked for: most jobs are claimed once, fresh.
    known = load_checkpoints(tx, number) if row[_STEP_NUMBER] else {}
    return Claim(
        job=job,
        lease=Lease(job_id=job_id, epoch=job.epoch, worker_id=worker_id, row=number),
        checkpoints=known,
        signals=read_signals(tx, number, job_id) if row[_WAKE_SEQ] else (),
        poisoned_by=_poison(job, known),
        history=histories[job.kind],
    )


def _poison(job: Job, known: Mapping[str, Checkpoint]) -> str | None:
    if job.lost_workers < POISON_LOST_WORKERS:
        return None
    # The first loss of a step is not on record: steps without an undo are recorded from then on.
    suspects = [
        checkpoint
        for checkpoint in known.values()
        if not checkpoint.finished
        and checkpoint.starts >= POISON_LOST_WORKERS - 1
        # Once the job is being taken back, only the undos run.
        and (COMPENSATION_KEY not in known or checkpoint.key.startswith(UNDO_KEY_PREFIX))
    ]
    return max(suspects, key=lambda checkpoint: checkpoint.starts).key if suspects else None


def _read_history(tx: Transaction, kind: str) -> dict[str, float]:
    rows = tx.execute("SELECT step_group, seconds / count FROM step_history WHERE kind = ?", (kind,))
    return dict(rows.fetchall())


# settling ----------------------------------------------------------------------------------------

_SETTLE = f"""
UPDATE jobs SET status = ?, suspend_reason = ?, available_at = ?, announced_at = ?, finished_at = ?,
    attempt = attempt - ?, worker_id = NULL, event_seq = event_seq + 1,
    active_seconds = active_seconds + ?, progress = COALESCE(?, progress)
WHERE id = ? RETURNING {JOB_SQL}
"""


def settle_attempt(tx: Transaction, lease: Lease, settlement: Settlement) -> Job:
    """See `Store.settle_attempt`."""
    progress = None if settlement.progress is None else progress_json(settlement.progress)
    error = None if settlement.error is None else encode_json(settlement.error)
    held = tx.execute(
        "SELECT kind, available_at, announced_at, claim_seq, cancel_seq, wake_seq, reserved_calls"
        " FROM jobs WHERE id = ? AND epoch = ? AND status = 'running'",
        (lease.row, lease.epoch),
    ).fetchone()
    if held is None:
        raise lease_lost(lease)
    kind, available_at, announced_at, claim_seq, cancel_seq, wake_seq, reserved_calls = held
    woken = settlement.wake_after_seq is not None and wake_seq > settlement.wake_after_seq
    status, delay = _turned(settlement, woken=woken, cancelled=cancel_seq > claim_seq)
    if not status.terminal:
        available_at = None if delay is None else tx.now + delay
        announced_at = tx.now if delay == 0 else 0
    if reserved_calls:
        doubt_reserved_calls(tx, lease.row)
    reason = settlement.suspend_reason if status is JobStatus.SUSPENDED else None
    finished_at = tx.now if status.terminal else None
    uncounted = 0 if settlement.counts else 1
    row = tx.execute(
        _SETTLE,
        (
            *(status, reason, available_at, announced_at, finished_at, uncounted),
            *(settlement.active_seconds, progress, lease.row),
        ),
    ).fetchone()
    payload = _keep_result(tx, lease.row, status, settlement.output, error)
    job = job_from(row, payload)
    event_type, fields = _ending(job, settlement, error)
    add_event(tx, lease.row, job.event_seq, event_type, fields)
    _add_history(tx, kind, settlement.step_seconds)
    tx.topics.add(lease.job_id)
    if status.terminal:
        tx.topics.add(hints.ended(lease.job_id))
    if status is JobStatus.QUEUED:
        lose_answers(tx, lease.row, lease.epoch)
        if not delay:
            tx.topics.add(hints.QUEUED)
    return job


def _turned(settlement: Settlement, *, woken: bool, cancelled: bool) -> tuple[JobStatus, int | None]:
    """Return the status the job really gets, and its delay in microseconds."""
    after = settlement.available_after
    delay = None if after is None else max(0, span_micros(after))
    if settlement.status is JobStatus.QUEUED:
        return JobStatus.QUEUED, 0 if cancelled else delay or 0
    if settlement.status is JobStatus.SUSPENDED and (woken or cancelled):
        return JobStatus.QUEUED, 0
    return settlement.status, delay


def _keep_result(
    tx: Transaction, row: int, status: JobStatus, output: bytes | None, error: bytes | None
) -> Any:
    if status.terminal and (output is not None or error is not None):
        written = tx.execute(
            f"UPDATE payloads SET output = ?, error = ? WHERE job = ? RETURNING {PAYLOAD_SQL}",
            (output, error, row),
        )
    else:
        written = tx.execute(f"SELECT {PAYLOAD_SQL} FROM payloads WHERE job = ?", (row,))
    return written.fetchone()


def _ending(job: Job, settlement: Settlement, error: bytes | None) -> tuple[str, object]:
    shown = {"error": msgspec.Raw(error or b"null")}
    if job.status is JobStatus.QUEUED:
        return ("attempt.released", None) if error is None else ("attempt.failed", shown)
    if job.status is JobStatus.SUSPENDED:
        return "job.suspended", {"reason": settlement.suspend_reason, "until": job.available_at}
    return f"job.{job.status}", shown if job.status is JobStatus.FAILED else None


def _add_history(tx: Transaction, kind: str, step_seconds: Mapping[str, tuple[int, float]]) -> None:
    if not step_seconds:
        return
    tx.executemany(
        "INSERT INTO step_history (kind, step_group, count, seconds) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, step_group) DO UPDATE SET"
        " count = step_history.count + excluded.count,"
        " seconds = step_history.seconds + excluded.seconds",
        [(kind, group, count, seconds) for group, (count, seconds) in step_seconds.items() if count > 0],
    )
