"""Statements by which callers and the clock change a job that they do not own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import JobNotFinishedError
from holdfast.model import Dispatch, JobStatus, SuspendReason
from holdfast.store import checkpoints, hints
from holdfast.store.base import Wakeup
from holdfast.store.events import add_event
from holdfast.store.families import lock_family, request_cancel, wake_for_budget
from holdfast.store.jobs import load_job
from holdfast.store.rows import budget_columns, money_text, span_micros
from holdfast.store.target import Target

if TYPE_CHECKING:
    from holdfast.model import Budget, Job
    from holdfast.store.transaction import Transaction

WAKE_MAX = 1_000
"""Jobs that one call of `wake_jobs` handles of each sort."""


def cancel_job(tx: Transaction, job_id: str) -> Job:
    """See `Store.cancel_job`."""
    lock_family(tx, Target.row_of(tx, job_id))
    target = Target.named(tx, job_id)
    if target.status is not JobStatus.CANCELLED:
        target.refuse_finished("be cancelled")
        if not target.cancelling:
            request_cancel(tx, target, announced=True)
    return load_job(tx, job_id)


def retry_job(tx: Transaction, job_id: str) -> Job:
    """See `Store.retry_job`."""
    lock_family(tx, Target.row_of(tx, job_id))
    target = Target.named(tx, job_id)
    if target.status is JobStatus.COMPLETED:
        target.refuse_finished("be retried")
    if not target.status.terminal:
        raise JobNotFinishedError(job_id=job_id, status=target.status, action="be retried")
    _retry(tx, target, announced=True)
    return load_job(tx, job_id)


def _retry(tx: Transaction, target: Target, *, announced: bool) -> None:
    checkpoints.forget_compensation(tx, target.row)
    tx.execute("UPDATE payloads SET output = NULL, error = NULL WHERE job = ?", (target.row,))
    tx.execute(
        "UPDATE jobs SET cancel_requested_at = NULL, cancel_seq = 0, lost_workers = 0,"
        " attempt = 0, active_seconds = 0, finished_at = NULL WHERE id = ?",
        (target.row,),
    )
    target.queue(tx, announced=announced)
    rows = tx.execute(
        "SELECT id FROM jobs WHERE parent = ? AND status IN ('failed', 'cancelled') ORDER BY id",
        (target.row,),
    )
    for (row,) in rows.fetchall():
        child = Target.at(tx, row)
        if child is not None:
            _retry(tx, child, announced=False)


def signal_job(tx: Transaction, job_id: str, name: str, payload: bytes) -> int:
    """See `Store.signal_job`."""
    target = Target.named(tx, job_id)
    target.refuse_finished("be signalled")
    seq = target.append(tx, "signal.received", {"name": name, "payload": msgspec.Raw(payload)})
    target.wake(tx, seq)
    # A job that waits for a budget or a lane in one branch may wait for the signal in another;
    # one that only sleeps does not. Waking it for nothing costs a claim.
    if target.reason not in (None, SuspendReason.SLEEP):
        target.queue(tx)
    return seq


_BUDGET_WAITS = (SuspendReason.BUDGET, SuspendReason.QUOTA)


def set_budget(tx: Transaction, job_id: str, budget: Budget) -> Job:
    """See `Store.set_budget`."""
    nanos, tokens = budget_columns(budget)
    lock_family(tx, Target.row_of(tx, job_id))
    target = Target.named(tx, job_id)
    target.refuse_finished("get another budget")
    seq = target.append(tx, "budget.changed", {"usd": money_text(nanos), "tokens": tokens})
    tx.execute(
        "UPDATE jobs SET budget_nanos = ?, budget_tokens = ? WHERE id = ?", (nanos, tokens, target.row)
    )
    if _raised(target.budget_nanos, nanos) or _raised(target.budget_tokens, tokens):
        target.wake(tx, seq)
    if target.reason in _BUDGET_WAITS:
        target.queue(tx)
    # A child's calls count towards its parent's budget, so it may wait for that to be raised.
    wake_for_budget(tx, target.row, _BUDGET_WAITS)
    return load_job(tx, job_id)


def _raised(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def wake_jobs(tx: Transaction, redispatch_after: timedelta) -> Wakeup:
    """See `Store.wake_jobs`."""
    woken = tx.execute(
        "UPDATE jobs SET status = 'queued', suspend_reason = NULL, announced_at = ?,"
        " event_seq = event_seq + 1 WHERE id IN (SELECT id FROM jobs"
        f" {tx.dialect.indexed_by('jobs_due')} WHERE status = 'suspended' AND available_at <= ?"
        f" ORDER BY available_at LIMIT ? {tx.dialect.skip_locked})"
        " RETURNING id, job_id, queue, event_seq",
        (tx.now, tx.now, WAKE_MAX),
    ).fetchall()
    for row, job_id, _, seq in woken:
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
    next_in = None if next_at is None else timedelta(microseconds=max(0, next_at - tx.now))
    told = [Dispatch(job_id=job_id, queue=queue, number=seq) for _, job_id, queue, seq in woken]
    dispatches = tuple(dict.fromkeys(told + delayed + stale))
    return Wakeup(dispatches=dispatches, next_in=next_in)


def _announce(tx: Transaction, condition: str, arguments: tuple[Any, ...]) -> list[Dispatch]:
    rows = tx.execute(
        f"UPDATE jobs SET announced_at = ? WHERE id IN (SELECT id FROM jobs WHERE status = 'queued'"
        f" AND blocked = 0 AND {condition} AND available_at <= ?"
        f" ORDER BY announced_at, available_at LIMIT ? {tx.dialect.skip_locked})"
        " RETURNING job_id, queue, event_seq",
        (tx.now, *arguments, tx.now, WAKE_MAX),
    )
    return [Dispatch(job_id=job_id, queue=queue, number=seq) for job_id, queue, seq in rows.fetchall()]


def _next_due(tx: Transaction) -> int | None:
    row = tx.execute(
        "SELECT MIN(at) FROM (SELECT MIN(available_at) AS at FROM jobs"
        f" {tx.dialect.indexed_by('jobs_due')} WHERE status = 'suspended' UNION ALL"
        " SELECT MIN(available_at) FROM jobs WHERE status = 'queued' AND announced_at = 0"
        " AND available_at > ?) AS due",
        (tx.now,),
    ).fetchone()
    due: int | None = row[0]
    return due
