"""Statements by which a worker takes a job and ends its attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import Job, JobStatus, Lease, SuspendReason
from holdfast.store import hints
from holdfast.store.base import (
    COMPENSATION_KEY,
    POISON_LOST_WORKERS,
    UNDO_KEY_PREFIX,
    Claim,
    Settlement,
)
from holdfast.store.checkpoints import load_checkpoints, lose_answers
from holdfast.store.concurrency import admit, pass_over, try_key, unblock
from holdfast.store.deliveries import WATCHED_SQL, tell_end
from holdfast.store.events import add_event, lease_lost, read_signals
from holdfast.store.families import (
    cancel_children,
    doubt_reserved_calls,
    has_charged_calls,
    lock_family,
    lock_tenant,
    may_doubt,
    share_what_is_left,
    tell_parent,
)
from holdfast.store.rows import (
    JOB_COLUMNS,
    JOB_SQL,
    PAYLOAD_SQL,
    encode_json,
    job_from,
    moment,
    progress_json,
    span_micros,
)
from holdfast.store.workers import hand_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.model import Checkpoint
    from holdfast.store.base import ClaimRequest
    from holdfast.store.rows import Row
    from holdfast.store.transaction import Transaction

(
    _ID, _JOB_ID, _STEP_NUMBER, _WAKE_SEQ, _RESERVED, _PRIORITY, _AVAILABLE_AT, _TENANT, _PARENT, _KEY,
    _LIMIT,
) = (
    JOB_COLUMNS.index(name)
    for name in (
        "id",
        "job_id",
        "step_number",
        "wake_seq",
        "reserved_calls",
        "priority",
        "available_at",
        "tenant",
        "parent",
        "concurrency_key",
        "concurrency_limit",
    )
)  # fmt: skip

SHARED_BUDGET_LOOK = timedelta(minutes=1)
"""How often a child that waits for a budget tries by itself."""

_CLAIM = f"""
UPDATE jobs SET status = 'running', epoch = epoch + 1, attempt = attempt + 1, worker_id = ?,
    event_seq = event_seq + 1, claim_seq = event_seq + 1, started_at = COALESCE(started_at, ?)
WHERE id IN (
    SELECT id FROM jobs %s WHERE status = 'queued' AND blocked = 0 AND available_at <= ?%s
    ORDER BY priority DESC, available_at, id LIMIT ? %s
)
RETURNING {JOB_SQL}
"""


@dataclass(slots=True)
class _Busy:
    """What a claim passes over, for another transaction holds what it would have to wait for."""

    keys: set[str] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)

    def condition(self) -> tuple[str, tuple[object, ...]]:
        """Return what leaves them out."""
        keys, rows = tuple(self.keys), tuple(self.rows)
        wanted = f" AND id NOT IN ({_marks(rows)})" if rows else ""
        if keys:
            wanted += f" AND (concurrency_key IS NULL OR concurrency_key NOT IN ({_marks(keys)}))"
        return wanted, (*rows, *keys)


# claiming ----------------------------------------------------------------------------------------


def claim_jobs(tx: Transaction, request: ClaimRequest) -> list[Claim]:
    """See `Store.claim_jobs`."""
    if not request.kinds or request.queues == () or request.limit < 1:
        return []
    if request.holding is not None:
        # Whether or not the heartbeat has expired: it may be renewed before anybody rescues.
        hand_back(tx, request.worker_id, lost=False, but=request.holding)
    if not _has_pulse(tx, request.worker_id):
        return []
    histories: dict[str, dict[str, float]] = {}
    claims: list[Claim] = []
    busy = _Busy()
    while True:
        rows = _take(tx, request, request.limit - len(claims), busy)
        # From the last in line: all of them count as running, and what is too much is put back.
        admitted = [row for row in reversed(rows) if _may_run(tx, row, busy)]
        claims += [_load_claim(tx, row, histories) for row in reversed(admitted)]
        if len(admitted) == len(rows):
            return claims


def _may_run(tx: Transaction, row: Row, busy: _Busy) -> bool:
    """Tell whether a job may run; else put it back, having noted why if others are `busy`.

    Waiting for them would keep others waiting for what this batch holds.
    """
    number, key = row[_ID], row[_KEY]
    if row[_RESERVED] and not may_doubt(tx, number, row[_TENANT]):
        busy.rows.add(number)
    elif key is None:
        return True
    elif key in busy.keys or not try_key(tx, key):
        busy.keys.add(key)
    else:
        return admit(tx, number, key, row[_LIMIT])
    pass_over(tx, number)
    return False


def _take(tx: Transaction, request: ClaimRequest, limit: int, busy: _Busy) -> list[Row]:
    wanted, arguments = _filters(tx, request)
    others, passed = busy.condition()
    # What was passed over is left for later, and those behind it are not kept waiting.
    wanted, arguments = wanted + others, arguments + passed
    # Left to itself, SQLite sorts all queued jobs each time.
    one = request.job_id is not None
    index = "" if one else tx.dialect.indexed_by("jobs_claimable")
    # A job that was asked for by name is worth waiting for.
    locking = tx.dialect.for_update if one else tx.dialect.skip_locked
    rows: list[Row] = tx.execute(
        _CLAIM % (index, wanted, locking), (request.worker_id, tx.now, tx.now, *arguments, limit)
    ).fetchall()
    rows.sort(key=lambda row: (-row[_PRIORITY], row[_AVAILABLE_AT], row[_ID]))
    return rows


def _has_pulse(tx: Transaction, worker_id: str) -> bool:
    found = tx.execute(
        f"SELECT 1 FROM workers WHERE worker_id = ? AND expires_at > ? {tx.dialect.for_key_share}",
        (worker_id, tx.now),
    )
    return found.fetchone() is not None


def _filters(tx: Transaction, request: ClaimRequest) -> tuple[str, tuple[object, ...]]:
    wanted = f" AND kind IN ({_marks(request.kinds)})"
    arguments: tuple[object, ...] = request.kinds
    if request.queues is not None:
        wanted += f" AND queue IN ({_marks(request.queues)})"
        arguments += request.queues
    if request.job_id is not None:
        wanted += " AND job_id = ?"
        arguments += (request.job_id,)
    if request.waited is not None:
        # 0 is for those that nobody can have been told of yet.
        wanted += " AND announced_at BETWEEN 1 AND ?"
        arguments += (tx.now - span_micros(request.waited),)
    return wanted, arguments


def _marks(values: tuple[object, ...]) -> str:
    return ", ".join("?" * len(values))


def _load_claim(tx: Transaction, row: Row, histories: dict[str, dict[str, float]]) -> Claim:
    number, job_id = row[_ID], row[_JOB_ID]
    if row[_RESERVED]:
        # Of an earlier epoch: a worker was lost with calls in flight.
        doubt_reserved_calls(tx, number)
        row = tx.execute(f"SELECT {JOB_SQL} FROM jobs WHERE id = ?", (number,)).fetchone()
    payload = tx.execute(f"SELECT {PAYLOAD_SQL} FROM payloads WHERE job = ?", (number,)).fetchone()
    job = job_from(row, payload)
    worker_id = job.worker_id or ""
    fields = {"attempt": job.attempt, "epoch": job.epoch, "worker_id": worker_id}
    add_event(tx, number, job.event_seq, "attempt.started", fields)
    tx.topics.add(job_id)
    if job.kind not in histories:
        histories[job.kind] = _read_history(tx, job.kind)
    # What cannot be there is not looked for: most jobs are claimed once, fresh.
    known = load_checkpoints(tx, number) if row[_STEP_NUMBER] else {}
    return Claim(
        job=job,
        at=moment(tx.now),
        lease=Lease(
            job_id=job_id,
            epoch=job.epoch,
            worker_id=worker_id,
            row=number,
            parent=row[_PARENT],
            keyed=row[_KEY] is not None,
        ),
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
    active_seconds = active_seconds + ?, progress = COALESCE(?, progress), each_child = ?
WHERE id = ? RETURNING {JOB_SQL}
"""


def settle_attempt(tx: Transaction, lease: Lease, settlement: Settlement) -> Job:
    """See `Store.settle_attempt`."""
    if settlement.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        # It takes its children along.
        lock_family(tx, lease.row)
    else:
        lock_tenant(tx, lease.row)
    return _settle(tx, lease, settlement, _hold(tx, lease))


def settle_with_others(tx: Transaction, lease: Lease, settlement: Settlement) -> Job | None:
    """Settle an attempt in a transaction that may hold other jobs.

    Returns:
        None if nothing was written, for calls under way are charged to the job's tenant: a row that
        has to be locked before any job's.
    """
    held = _hold(tx, lease)
    reserved_calls, *_ = held
    if reserved_calls and has_charged_calls(tx, lease.row):
        return None
    return _settle(tx, lease, settlement, held)


def _hold(tx: Transaction, lease: Lease) -> Row:
    held: Row | None = tx.execute(
        "SELECT reserved_calls, kind, available_at, announced_at, claim_seq, cancel_seq, wake_seq,"
        f" concurrency_key, {WATCHED_SQL} FROM jobs WHERE id = ? AND epoch = ? AND status = 'running'"
        f" {tx.dialect.for_update}",
        (lease.row, lease.epoch),
    ).fetchone()
    if held is None:
        raise lease_lost(lease)
    return held


def _settle(tx: Transaction, lease: Lease, settlement: Settlement, held: Row) -> Job:
    progress = None if settlement.progress is None else progress_json(settlement.progress)
    error = None if settlement.error is None else encode_json(settlement.error)
    reserved_calls, kind, available_at, announced_at, claim_seq, cancel_seq, wake_seq, key, watched = (
        held
    )
    woken = settlement.wake_after_seq is not None and wake_seq > settlement.wake_after_seq
    status, delay = _turned(
        settlement,
        child=lease.parent is not None,
        woken=woken,
        cancelled=cancel_seq > claim_seq,
    )
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
            *(settlement.active_seconds, progress, int(settlement.each_child), lease.row),
        ),
    ).fetchone()
    payload = _keep_result(tx, lease.row, status, settlement.output, error)
    job = job_from(row, payload)
    event_type, fields = _ending(job, settlement, error)
    add_event(tx, lease.row, job.event_seq, event_type, fields)
    _add_history(tx, kind, settlement.step_seconds)
    tx.topics.add(lease.job_id)
    if status.terminal:
        _end_in_family(tx, lease, status)
        if watched:
            tell_end(tx, job.job_id, kind, tenant=job.tenant, status=status, seq=job.event_seq)
    if key is not None:
        unblock(tx, key)
    if status is JobStatus.QUEUED:
        lose_answers(tx, lease.row, lease.epoch)
        if not delay:
            tx.topics.add(hints.QUEUED)
    return job


def _end_in_family(tx: Transaction, lease: Lease, status: JobStatus) -> None:
    tx.topics.add(hints.ended(lease.job_id))
    if status is not JobStatus.COMPLETED:
        cancel_children(tx, lease.row)
    if lease.parent is not None:
        tell_parent(tx, lease.parent, lease.job_id, status)
        share_what_is_left(tx, lease.parent)


def _turned(
    settlement: Settlement, *, child: bool, woken: bool, cancelled: bool
) -> tuple[JobStatus, int | None]:
    """Return the status the job really gets, and its delay in microseconds."""
    after = settlement.available_after
    delay = None if after is None else max(0, span_micros(after))
    if delay is None and child and settlement.suspend_reason is SuspendReason.BUDGET:
        # What it was refused may be an ancestor's budget, which can have grown between the refusal
        # and this moment, when nobody knew of it as one that waits.
        delay = span_micros(SHARED_BUDGET_LOOK)
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
    # Sampled: where another process is writing the same rows, this one's are left out.
    if not step_seconds or not tx.try_serialize(f"history {kind}"):
        return
    tx.executemany(
        "INSERT INTO step_history (kind, step_group, count, seconds) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, step_group) DO UPDATE SET"
        " count = step_history.count + excluded.count,"
        " seconds = step_history.seconds + excluded.seconds",
        [(kind, group, count, seconds) for group, (count, seconds) in step_seconds.items() if count > 0],
    )
