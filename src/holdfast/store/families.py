"""Statements on parents and children: what flows up to a parent and down to its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model import JobStatus, SuspendReason
from holdfast.store import hints
from holdfast.store.checkpoints import needs_compensation
from holdfast.store.concurrency import unblock
from holdfast.store.deliveries import WATCHED_SQL, tell_end
from holdfast.store.events import lease_lost
from holdfast.store.target import Target
from holdfast.store.tenants import book, lock_tenant_of, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.model import Lease
    from holdfast.store.transaction import Transaction

# up ----------------------------------------------------------------------------------------------


def ancestors(tx: Transaction, parent: int | None) -> Iterator[int]:
    """Yield the rows from the parent up; their usage includes the child's."""
    while parent is not None:
        yield parent
        row = tx.execute("SELECT parent FROM jobs WHERE id = ?", (parent,)).fetchone()
        parent = None if row is None else row[0]


def tell_parent(tx: Transaction, parent: int, child_id: str, status: JobStatus) -> None:
    """Let the parent know that a child has ended, and queue it if that is what it waits for."""
    target = Target.at(tx, parent)
    if target is None or target.status.terminal:
        return
    target.wake(tx, target.append(tx, "child.ended", {"child_id": child_id, "status": status}))
    # Waking for every child of hundreds would claim the parent hundreds of times for nothing.
    if target.reason not in (None, SuspendReason.SLEEP) and (
        target.each_child
        or status is not JobStatus.COMPLETED
        or not _has_unfinished_children(tx, parent)
    ):
        target.queue(tx, announced=False)


def _has_unfinished_children(tx: Transaction, parent: int) -> bool:
    # The youngest first, which is the likeliest.
    found = tx.execute(
        "SELECT 1 FROM jobs WHERE parent = ? AND finished_at IS NULL ORDER BY id DESC LIMIT 1", (parent,)
    )
    return found.fetchone() is not None


def share_what_is_left(tx: Transaction, parent: int) -> None:
    """Let the family try again for a budget of which a job that has ended reserves nothing more."""
    has_budget = (
        "SELECT 1 FROM jobs WHERE id = ? AND (budget_nanos IS NOT NULL OR budget_tokens IS NOT NULL)"
    )
    limited = [row for row in ancestors(tx, parent) if tx.execute(has_budget, (row,)).fetchone()]
    if limited:
        wake_for_budget(tx, limited[-1], (SuspendReason.BUDGET,))


def wake_for_budget(tx: Transaction, top: int, reasons: tuple[SuspendReason, ...]) -> None:
    """Queue the job and those below it that are suspended for one of `reasons`."""
    marks = ", ".join("?" * len(reasons))
    rows = tx.execute(
        "WITH RECURSIVE family(id) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT jobs.id FROM jobs"
        " JOIN family ON jobs.parent = family.id) SELECT jobs.id FROM jobs JOIN family"
        f" ON jobs.id = family.id WHERE suspend_reason IN ({marks}) ORDER BY jobs.id DESC",
        (top, *reasons),
    ).fetchall()
    # Read again under lock: meanwhile one may have been woken or pruned.
    locked = [Target.at(tx, row) for (row,) in rows]
    for waiting in [target for target in locked if target and target.reason in reasons]:
        waiting.queue(tx, announced=False)


_FAMILY = """
WITH RECURSIVE family(id) AS (SELECT CAST(? AS BIGINT) UNION ALL
    SELECT jobs.id FROM jobs JOIN family ON jobs.parent = family.id)
SELECT jobs.id, tenant, reserved_calls FROM jobs JOIN family ON jobs.id = family.id
ORDER BY jobs.id DESC
"""


def lock_family(tx: Transaction, row: int) -> None:
    """Lock a job and all below it, the youngest first as everybody does, before changing them.

    Their tenants come first, where calls may be given up.
    """
    if not tx.dialect.for_update:
        return
    members = tx.execute(_FAMILY, (row,)).fetchall()
    _lock_tenants(tx, members)
    for member, _, _ in members:
        tx.execute(f"SELECT 1 FROM jobs WHERE id = ? {tx.dialect.for_update}", (member,))


# down --------------------------------------------------------------------------------------------


def adopt(tx: Transaction, lease: Lease) -> bool:
    """Check that the attempt may spawn a child, and tell whether the parent's end was requested.

    Raises:
        LeaseLost: The attempt no longer owns the parent.
    """
    row = tx.execute(
        "SELECT cancel_requested_at IS NOT NULL FROM jobs WHERE id = ? AND epoch = ?"
        f" AND status = 'running' {tx.dialect.for_update}",
        (lease.row, lease.epoch),
    ).fetchone()
    if row is None:
        raise lease_lost(lease)
    return bool(row[0])


def request_cancel(tx: Transaction, target: Target, *, announced: bool = False) -> None:
    """Request the end of an unfinished job and of its unfinished children.

    A job that has to be taken back is queued, and `announced` by the caller or else by the waker.
    """
    seq = target.append(tx, "job.cancel_requested")
    tx.execute(
        "UPDATE jobs SET cancel_requested_at = ?, cancel_seq = ?, wake_seq = ? WHERE id = ?",
        (tx.now, seq, seq, target.row),
    )
    if target.status is JobStatus.RUNNING:
        tx.topics.add(hints.CANCEL)
    elif needs_compensation(tx, target.row):
        target.queue(tx, announced=announced)
    else:
        _end_at_once(tx, target)
    cancel_children(tx, target.row)


def _end_at_once(tx: Transaction, target: Target) -> None:
    # Answered together with what the next statement asks.
    found = tx.execute(f"SELECT kind, tenant, {WATCHED_SQL} FROM jobs WHERE id = ?", (target.row,))
    doubt_reserved_calls(tx, target.row)
    kind, tenant, watched = found.fetchone()
    tx.execute(
        "UPDATE jobs SET status = 'cancelled', suspend_reason = NULL, finished_at = ?, blocked = 0"
        " WHERE id = ?",
        (tx.now, target.row),
    )
    target.append(tx, "job.cancelled")
    tx.topics.add(hints.ended(target.job_id))
    if watched:
        status, seq = JobStatus.CANCELLED, target.event_seq
        tell_end(tx, target.job_id, kind, tenant=tenant, status=status, seq=seq)
    if target.concurrency_key is not None:
        unblock(tx, target.concurrency_key)
    if target.parent is not None:
        tell_parent(tx, target.parent, target.job_id, JobStatus.CANCELLED)


def cancel_children(tx: Transaction, parent: int) -> None:
    """Request the end of the job's unfinished children, and of theirs."""
    rows = tx.execute(
        "SELECT id FROM jobs WHERE parent = ? AND finished_at IS NULL ORDER BY id DESC", (parent,)
    )
    for (row,) in rows.fetchall():
        child = Target.at(tx, row)
        if child is not None and not child.status.terminal and not child.cancelling:
            request_cancel(tx, child)


# money -------------------------------------------------------------------------------------------

_DOUBT = """
UPDATE jobs SET uncertain_calls = uncertain_calls + ?, uncertain_tokens = uncertain_tokens + ?,
    uncertain_nanos = uncertain_nanos + ?, reserved_calls = reserved_calls - ?,
    reserved_tokens = reserved_tokens - ?, reserved_nanos = reserved_nanos - ?
WHERE id = ?
"""


_CHARGED = """
SELECT 1 FROM calls WHERE job = ? AND status = 'reserved' AND charged = 1 LIMIT 1
"""


def has_charged_calls(tx: Transaction, row: int) -> bool:
    """Tell whether calls of the job are under way that count towards its tenant's budgets."""
    return tx.execute(_CHARGED, (row,)).fetchone() is not None


def lock_tenant(tx: Transaction, row: int) -> None:
    """Lock the budgets that the job's calls under way are charged to, before any job is locked."""
    found = tx.execute("SELECT id, tenant, reserved_calls FROM jobs WHERE id = ?", (row,))
    _lock_tenants(tx, found.fetchall())


def _lock_tenants(tx: Transaction, jobs: Sequence[tuple[int, str | None, int]]) -> None:
    charged = {tenant: row for row, tenant, reserved in jobs if reserved and has_charged_calls(tx, row)}
    # In order, for two that lock several.
    for _, row in sorted(charged.items()):
        lock_tenant_of(tx, row)


def may_doubt(tx: Transaction, row: int, tenant: str | None) -> bool:
    """Tell whether `doubt_reserved_calls` waits for nobody, though jobs are locked already."""
    return not has_charged_calls(tx, row) or try_lock(tx, tenant)


def doubt_reserved_calls(tx: Transaction, row: int) -> None:
    """Make the job's reserved calls uncertain: nobody can settle them any more."""
    reserved, parent = tx.execute(
        "SELECT reserved_calls, parent FROM jobs WHERE id = ?", (row,)
    ).fetchone()
    if reserved:
        own = tx.execute(
            "SELECT COUNT(*), COALESCE(SUM(reserved_tokens), 0), COALESCE(SUM(reserved_nanos), 0),"
            " COALESCE(SUM(charged * reserved_tokens), 0), COALESCE(SUM(charged * reserved_nanos), 0)"
            " FROM calls WHERE job = ? AND status = 'reserved'",
            (row,),
        ).fetchone()
        # The sums of the row may hold children's reservations, too, which are theirs to move.
        *amounts, charged_tokens, charged_nanos = (int(amount) for amount in own)
        if charged_tokens or charged_nanos:
            charged = (charged_tokens, charged_nanos)
            lock_tenant_of(tx, row)
            book(tx, row, used=charged, held=charged)
        for holder in (row, *ancestors(tx, parent)):
            tx.execute(_DOUBT, (*amounts, *amounts, holder))
        tx.execute(
            "UPDATE calls SET status = 'uncertain', ended_at = ? WHERE job = ? AND status = 'reserved'",
            (tx.now, row),
        )
