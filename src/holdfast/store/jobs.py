"""Statements that add, find and copy jobs; those that list them are in `listing`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import IdempotencyConflictError, InvalidInputError, JobNotFoundError
from holdfast.model import Job, JobStatus
from holdfast.store import checkpoints, hints
from holdfast.store.base import JobRecords, Submitted
from holdfast.store.events import add_event
from holdfast.store.families import adopt, request_cancel
from holdfast.store.rows import (
    CALL_SQL,
    JOB_COLUMNS,
    JOB_SQL,
    PAYLOAD_SQL,
    budget_columns,
    budget_from,
    call_from,
    job_from,
    moment,
    span_micros,
)
from holdfast.store.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.base import NewJob
    from holdfast.store.rows import Row
    from holdfast.store.transaction import Connection, Transaction

_WIDTH = len(JOB_COLUMNS)
_BOTH = f"{JOB_SQL}, {PAYLOAD_SQL}"
JOINED = f"SELECT {_BOTH} FROM jobs JOIN payloads ON payloads.job = jobs.id"
"""Begins a statement that gives whole jobs; see `job_of_joined`."""
WITHOUT_CONTENT = (
    f"SELECT {JOB_SQL}, NULL, NULL, error FROM jobs JOIN payloads ON payloads.job = jobs.id"
)
"""The same without inputs and outputs."""

_INSERT = """
INSERT INTO jobs
    (job_id, kind, queue, status, priority, tenant, subject, idempotency_key, parent, parent_id,
     concurrency_key, concurrency_limit, event_seq, budget_nanos, budget_tokens, created_at,
     available_at, announced_at, traceparent)
VALUES (?, ?, ?, 'queued', ?, ?, COALESCE(CAST(? AS TEXT), (SELECT subject FROM jobs WHERE id = ?)),
    ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job_id) DO NOTHING
RETURNING id, subject
"""


def job_of_joined(row: Row) -> Job:
    """Build a job from a row of both tables."""
    return job_from(row[:_WIDTH], row[_WIDTH:])


def find_row(connection: Connection | Transaction, job_id: str) -> int:
    """Return the job's row.

    Raises:
        JobNotFoundError: There is none with this id.
    """
    row = connection.execute("SELECT id FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(job_id=job_id)
    found: int = row[0]
    return found


def load_job(connection: Connection | Transaction, job_id: str) -> Job:
    """See `Store.get_job`."""
    row = connection.execute(f"{JOINED} WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(job_id=job_id)
    return job_of_joined(row)


def get_records(connection: Connection, job_id: str) -> JobRecords:
    """See `Store.get_records`."""
    row = find_row(connection, job_id)
    rows = connection.execute(
        f"SELECT {CALL_SQL} FROM calls WHERE job = ? ORDER BY started_at, id", (row,)
    )
    return JobRecords(
        checkpoints=checkpoints.list_checkpoints(connection, row),
        calls=tuple(call_from(call, job_id) for call in rows),
    )


def insert_job(tx: Transaction, new: NewJob) -> Submitted:
    """See `Store.insert_job`."""
    budget_nanos, budget_tokens = budget_columns(new.budget)
    if new.idempotency_key is not None:
        found = _find_by_key(tx, new.tenant, new.idempotency_key)
        if found is not None:
            return _same(found, new, new.idempotency_key)
    parent = new.parent
    cancelling = parent is not None and adopt(tx, parent)
    parent_row, parent_id = (None, None) if parent is None else (parent.row, parent.job_id)
    delay = 0 if new.delay is None else max(0, span_micros(new.delay))
    available_at = tx.now + delay
    row = tx.execute(
        _INSERT,
        (
            *(new.job_id, new.kind, new.queue, new.priority, new.tenant, new.subject, parent_row),
            *(new.idempotency_key, parent_row, parent_id, new.concurrency_key),
            *(new.concurrency_limit, budget_nanos, budget_tokens, tx.now, available_at),
            *(0 if delay else tx.now, new.traceparent),
        ),
    ).fetchone()
    if row is None:
        # Derived ids converge: submitting a child again finds it.
        return _same(load_job(tx, new.job_id), new, new.job_id)
    tx.execute("INSERT INTO payloads (job, input) VALUES (?, ?)", (row[0], new.input))
    add_event(tx, row[0], 1, "job.queued")
    tx.topics.add(new.job_id)
    if not delay:
        tx.topics.add(hints.QUEUED)
    if cancelling:
        request_cancel(tx, Target.named(tx, new.job_id))
        return Submitted(job=load_job(tx, new.job_id), created=True)
    job = Job(
        job_id=new.job_id,
        kind=new.kind,
        queue=new.queue,
        status=JobStatus.QUEUED,
        input=new.input,
        priority=new.priority,
        tenant=new.tenant,
        subject=row[1],
        idempotency_key=new.idempotency_key,
        parent_id=parent_id,
        concurrency_key=new.concurrency_key,
        event_seq=1,
        budget=budget_from(budget_nanos, budget_tokens),
        created_at=moment(tx.now),
        available_at=moment(available_at),
        traceparent=new.traceparent,
    )
    return Submitted(job=job, created=True)


def _find_by_key(tx: Transaction, tenant: str | None, key: str) -> Job | None:
    # Two texts, because neither partial index serves a comparison with IS.
    if tenant is None:
        cursor = tx.execute(f"{JOINED} WHERE tenant IS NULL AND idempotency_key = ?", (key,))
    else:
        cursor = tx.execute(f"{JOINED} WHERE tenant = ? AND idempotency_key = ?", (tenant, key))
    row = cursor.fetchone()
    return None if row is None else job_of_joined(row)


def _same(found: Job, new: NewJob, key: str) -> Submitted:
    if (found.kind, found.input) != (new.kind, new.input):
        raise IdempotencyConflictError(key=key, job_id=found.job_id)
    return Submitted(job=found, created=False)


def fork_job(tx: Transaction, source_id: str, new: NewJob, keep: Sequence[str] | None) -> Job:
    """See `Store.fork_job`."""
    # Held against pruning, which would give up files that the copy is about to refer to.
    found = tx.execute(
        f"SELECT id, kind, subject FROM jobs WHERE job_id = ? {tx.dialect.for_key_share}", (source_id,)
    ).fetchone()
    if found is None:
        raise JobNotFoundError(job_id=source_id)
    source, kind, subject = found
    if new.kind != kind:
        raise InvalidInputError(
            f"a fork of job {source_id!r} must be of its kind {kind!r}, not {new.kind!r}"
        )
    keys = checkpoints.copyable_keys(tx, source)
    if keep is not None:
        unknown = sorted(set(keep).difference(keys))
        if unknown:
            raise InvalidInputError(
                f"steps {unknown!r} cannot be kept: they are not finished steps of job {source_id!r}",
                hint="'holdfast jobs show' lists them",
            )
        keys = [key for key in keys if key in set(keep)]
    # Whose data the steps hold does not change by copying them.
    submitted = insert_job(tx, replace(new, subject=subject or new.subject))
    if submitted.created:
        checkpoints.copy_checkpoints(tx, source, find_row(tx, new.job_id), keys)
    return submitted.job
