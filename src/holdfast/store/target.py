"""A job's row as a change from outside needs it: read under lock, then changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import JobFinishedError, JobNotFoundError
from holdfast.model import JobStatus, SuspendReason
from holdfast.store import hints
from holdfast.store.events import add_event

if TYPE_CHECKING:
    from holdfast.store.transaction import Transaction

_SELECT = (
    "SELECT id, job_id, status, suspend_reason, event_seq, cancel_requested_at, budget_nanos,"
    " budget_tokens, parent, concurrency_key, each_child FROM jobs WHERE "
)


@dataclass(slots=True)
class Target:
    """One job, its row locked until the transaction ends."""

    row: int
    job_id: str
    status: JobStatus
    reason: SuspendReason | None
    event_seq: int
    cancelling: bool
    budget_nanos: int | None
    budget_tokens: int | None
    parent: int | None
    """Row of the parent."""
    concurrency_key: str | None
    each_child: int

    @classmethod
    def _of(cls, found: tuple[Any, ...]) -> Target:
        row, job_id, status, reason, event_seq, cancelled_at, *rest = found
        known = None if reason is None else SuspendReason(reason)
        return cls(row, job_id, JobStatus(status), known, event_seq, cancelled_at is not None, *rest)

    @classmethod
    def named(cls, tx: Transaction, job_id: str) -> Target:
        """Lock the job with this id.

        Raises:
            JobNotFoundError: There is none.
        """
        sql = f"{_SELECT} job_id = ? {tx.dialect.for_update}"
        found = tx.execute(sql, (job_id,)).fetchone()
        if found is None:
            raise JobNotFoundError(job_id=job_id)
        return cls._of(found)

    @classmethod
    def row_of(cls, tx: Transaction, job_id: str) -> int:
        """Return the row of the job with this id, without locking it.

        Raises:
            JobNotFoundError: There is none.
        """
        found = tx.execute("SELECT id FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        if found is None:
            raise JobNotFoundError(job_id=job_id)
        row: int = found[0]
        return row

    @classmethod
    def at(cls, tx: Transaction, row: int) -> Target | None:
        """Lock the job in this row; None when it has been pruned."""
        found = tx.execute(f"{_SELECT} id = ? {tx.dialect.for_update}", (row,)).fetchone()
        return None if found is None else cls._of(found)

    def refuse_finished(self, action: str) -> None:
        """Raise `JobFinishedError` if the job is terminal."""
        if self.status.terminal:
            raise JobFinishedError(job_id=self.job_id, status=self.status, action=action)

    def append(self, tx: Transaction, kind: str, fields: object = None) -> int:
        """Append an event and return its number."""
        self.event_seq += 1
        tx.execute("UPDATE jobs SET event_seq = ? WHERE id = ?", (self.event_seq, self.row))
        add_event(tx, self.row, self.event_seq, kind, fields)
        tx.topics.add(self.job_id)
        return self.event_seq

    def wake(self, tx: Transaction, seq: int) -> None:
        """Note that event `seq` wakes: an attempt that does not know of it must not suspend."""
        tx.execute("UPDATE jobs SET wake_seq = ? WHERE id = ?", (seq, self.row))
        tx.topics.add(hints.SIGNAL)

    def queue(self, tx: Transaction, *, announced: bool = True) -> None:
        """Make the job claimable at once; `announced` by the caller, else by the waker."""
        tx.execute(
            "UPDATE jobs SET status = 'queued', suspend_reason = NULL, available_at = ?,"
            " announced_at = ? WHERE id = ?",
            (tx.now, tx.now if announced else 0, self.row),
        )
        self.status = JobStatus.QUEUED
        self.append(tx, "job.queued")
        tx.topics.add(hints.QUEUED)
