"""Statements by which callers and the clock change a job that they do not own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import JobFinishedError, JobNotFinishedError, JobNotFoundError
from holdfast.model import JobStatus, SuspendReason
from holdfast.store import checkpoints, hints
from holdfast.store.base import COMPENSATION_KEY, RESERVED_KEY_PREFIX, Wakeup
from holdfast.store.events import add_event
from holdfast.store.jobs import load_job
from holdfast.store.rows import budget_columns, money_text, optional_moment, span_micros

if TYPE_CHECKING:
    from datetime import timedelta

    from holdfast.model import Budget, Job
    from holdfast.store.writer import Transaction

WAKE_MAX = 1_000
"""Jobs that one call of `wake_jobs` handles of each sort."""


class _Target:
    """A job's row as far as a change from outside needs it."""

    __slots__ = (
        "budget_nanos",
        "budget_tokens",
        "cancelling",
        "event_seq",
        "job_id",
        "reason",
        "row",
        "status",
    )

    def __init__(self, tx: Transaction, job_id: str) -> None:
        found = tx.execute(
            "SELECT id, status, suspend_reason, event_seq, cancel_requested_at, budget_nanos,"
            " budget_tokens FROM jobs WHERE job_id = ?",
            (job_id,),
        ).fetchone()
        if found is None:
            raise JobNotFoundError(job_id=job_id)
        self.job_id = job_id
        self.row: int = found[0]
        self.status = JobStatus(found[1])
        self.reason = None if found[2] is None else SuspendReason(found[2])
        self.event_seq: int = found[3]
        self.cancelling = found[4] is not None
        self.budget_nanos: int | None = found[5]
        self.budget_tokens: int | None = found[6]

    def refuse_finished(self, action: str) -> None:
        if self.status.terminal:
            raise JobFinishedError(job_id=self.job_id, status=self.status, action=action)

    def append(self, tx: Transaction, kind: str, fields: object = None) -> int:
        """Append an event and return its number."""
        self.event_seq += 1
        tx.execute("UPDATE jobs SET event_seq = ? WHERE id = ?", (self.event_seq, self.row))
        add_event(tx, self.row, self.event_seq, kind, fields)
        tx.topics.add(self.job_id)
        return self.event_seq

    def queue(self, tx: Transaction) -> None:
        """Make the job claimable at once."""
        tx.execute(
            "UPDATE jobs SET status = 'queued', suspend_reason = NULL, available_at = ?,"
            " announced_at = ? WHERE id = ?",
            (tx.now, tx.now, self.row),
        )
        self.append(tx, "job.queued")
        tx.topics.add(hints.QUEUED)


def cancel_job(tx: Transaction, job_id: str) -> Job:
    """See `Store.cancel_job`."""
    target = _Target(tx, job_id)
    if target.status is not JobStatus.CANCELLED:
        target.refuse_finished("be cancelled")
        if not target.cancelling:
            _request_cancel(tx, target)
    return load_job(tx, job_id)


def _request_cancel(tx: Transaction, target: _Target) -> None:
    seq = target.append(tx, "job.cancel_requested")
    tx.execute(
        "UPDATE jobs SET cancel_requested_at = ?, cancel_seq = ?, wake_seq = ? WHERE id = ?",
        (tx.now, seq, seq, target.row),
    )
    if target.status is JobStatus.RUNNING:
        tx.topics.add(hints.CANCEL)
    elif _needs_compensation(tx, target.row):
        target.queue(tx)
    else:
        doubt_reserved_calls(tx, target.row)
        tx.execute(
            "UPDATE jobs SET status = 'cancelled', suspend_reason = NULL, finished_at = ? WHERE id = ?",
            (tx.now, target.row),
        )
        target.append(tx, "job.cancelled")
        tx.topics.add(hints.ended(target.job_id))


def _needs_compensation(tx: Transaction, row: int) -> bool:
    keys, undone = checkpoints.keys_by_state(tx, row)
    # A compensation that has begun is a worker's to end, even if nothing is left to undo.
    return COMPENSATION_KEY in keys or any(
        undoable and key not in undone and not key.startswith(RESERVED_KEY_PREFIX)
        for key, undoable in keys.items()
    )


def doubt_reserved_calls(tx: Transaction, row: int) -> None:
    """Make the job's reserved calls uncertain: nobody can settle them any more."""
    doubted = tx.execute(
        "UPDATE jobs SET uncertain_calls = uncertain_calls + reserved_calls,"
        " uncertain_tokens = uncertain_tokens + reserved_tokens,"
        " uncertain_nanos = uncertain_nanos + reserved_nanos,"
        " reserved_calls = 0, reserved_tokens = 0, reserved_nanos = 0"
        " WHERE id = ? AND reserved_calls > 0",
        (row,),
    ).rowcount
    if doubted:
        mark_uncertain(tx, row)


def mark_uncertain(tx: Transaction, row: int) -> None:
    """Mark the job's reserved ledger entries; the sums on its row are the caller's."""
    tx.execute(
        "UPDATE calls SET status = 'uncertain', ended_at = ? WHERE job = ? AND status = 'reserved'",
        (tx.now, row),
    )


def retry_job(tx: Transaction, job_id: str) -> Job:
    """See `Store.retry_job`."""
    target = _Target(tx, job_id)
    if target.status is JobStatus.COMPLETED:
        target.refuse_finished("be retried")
    if not target.status.terminal:
        raise JobNotFinishedError(job_id=job_id, status=target.status, action="be retried")
    checkpoints.forget_compensation(tx, target.row)
    tx.execute("UPDATE payloads SET output = NULL, error = NULL WHERE job = ?", (target.row,))
    tx.execute(
        "UPDATE jobs SET cancel_requested_at = NULL, cancel_seq = 0, lost_workers = 0,"
        " attempt = 0, active_seconds = 0, finished_at = NULL WHERE id = ?",
        (target.row,),
    )
    target.queue(tx)
    return load_job(tx, job_id)


def signal_job(tx: Transaction, job_id: str, name: str, payload: bytes) -> int:
    """See `Store.signal_job`."""
    target = _Target(tx, job_id)
    target.refuse_finished("be signalled")
    seq = target.append(tx, "signal.received", {"name": name, "payload": msgspec.Raw(payload)})
    tx.execute("UPDATE jobs SET wake_seq = ? WHERE id = ?", (seq, target.row))
    tx.topics.add(hints.SIGNAL)
    # A job that waits for a budget or a lane in one branch may wait for the signal in another;
    # one that only sleeps does not. Waking it for nothing costs a claim.
    if target.reason not in (None, SuspendReason.SLEEP):
        target.queue(tx)
    return seq


def set_budget(tx: Transaction, job_id: str, budget: Budget) -> Job:
    """See `Store.set_budget`."""
    nanos, tokens = budget_columns(budget)
    target = _Target(tx, job_id)
    target.refuse_finished("get another budget")
    seq = target.append(tx, "budget.changed", {"usd": money_text(nanos), "tokens": tokens})
    tx.execute(
        "UPDATE jobs SET budget_nanos = ?, budget_tokens = ? WHERE id = ?", (nanos, tokens, target.row)
    )
    if _raised(target.budget_nanos, nanos) or _raised(target.budget_tokens, tokens):
        tx.execute("UPDATE jobs SET wake_seq = ? WHERE id = ?", (seq, target.row))
        tx.topics.add(hints.SIGNAL)
    if target.reason in (SuspendReason.BUDGET, SuspendReason.QUOTA):
        target.queue(tx)
    return load_job(tx, job_id)


def _raised(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def wake_jobs(tx: Transaction, redispatch_after: timedelta) -> Wakeup:
    """See `Store.wake_jobs`."""
    woken = tx.execute(
        "UPDATE jobs SET status = 'queued', suspend_reason = NULL, announced_at = ?,"
        " event_seq = event_seq + 1 WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_due"
        " WHERE status = 'suspended' AND available_at <= ? ORDER BY available_at LIMIT ?)"
        " RETURNING id, job_id, event_seq",
        (tx.now, tx.now, WAKE_MAX),
    ).fetchall()
    for row, job_id, seq in woken:
        add_event(tx, row, seq, "job.queued")
        tx.topics.add(job_id)
    # Two ranges of one index: never announced (delayed), and announced too long ago.
    delayed = _announce(tx, "announced_at = 0", ())
    stale = _announce(
        tx, "announced_at > 0 AND announced_at < ?", (tx.now - span_micros(redispatch_after),)
    )
    if woken or delayed or stale:
        tx.topics.add(hints.QUEUED)
    more = max(len(woken), len(delayed), len(stale)) == WAKE_MAX
    next_at = tx.now if more else _next_due(tx)
    job_ids = tuple(dict.fromkeys([job_id for _, job_id, _ in woken] + delayed + stale))
    return Wakeup(job_ids=job_ids, next_at=optional_moment(next_at))


def _announce(tx: Transaction, condition: str, arguments: tuple[Any, ...]) -> list[str]:
    rows = tx.execute(
        f"UPDATE jobs SET announced_at = ? WHERE id IN (SELECT id FROM jobs WHERE status = 'queued'"
        f" AND {condition} AND available_at <= ? ORDER BY announced_at, available_at LIMIT ?)"
        " RETURNING job_id",
        (tx.now, *arguments, tx.now, WAKE_MAX),
    )
    return [job_id for (job_id,) in rows.fetchall()]


def _next_due(tx: Transaction) -> int | None:
    row = tx.execute(
        "SELECT MIN(at) FROM (SELECT MIN(available_at) AS at FROM jobs INDEXED BY jobs_due"
        " WHERE status = 'suspended' UNION ALL SELECT MIN(available_at) FROM jobs"
        " WHERE status = 'queued' AND announced_at = 0 AND available_at > ?) AS due",
        (tx.now,),
    ).fetchone()
    due: int | None = row[0]
    return due
