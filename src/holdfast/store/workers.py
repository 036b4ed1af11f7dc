"""Statements on workers: heartbeats, signing off, rescue, and the report to operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.model import Dispatch, JobStatus
from holdfast.store import hints
from holdfast.store.base import Pulse, StoreReport, WorkerRecord
from holdfast.store.checkpoints import lose_answers
from holdfast.store.concurrency import unblock
from holdfast.store.events import add_event
from holdfast.store.lanes import list_lanes
from holdfast.store.rows import encode_json, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.store.transaction import Connection, Transaction

_decode_queues = msgspec.json.Decoder(tuple[str, ...] | None).decode

_REGISTER = """
INSERT INTO workers (worker_id, host, pid, queues, slots, running, lease_seconds, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET
    host = excluded.host, pid = excluded.pid, queues = excluded.queues, slots = excluded.slots,
    running = excluded.running, lease_seconds = excluded.lease_seconds,
    expires_at = excluded.expires_at
"""

_RENEW = """
UPDATE workers SET host = ?, pid = ?, queues = ?, slots = ?, running = ?, lease_seconds = ?,
    expires_at = ? WHERE worker_id = ?
"""

# The time of availability stays, so that a job handed back keeps its place in the line.
_HAND_BACK = """
UPDATE jobs SET status = 'queued', worker_id = NULL, attempt = attempt - 1, announced_at = ?,
    event_seq = event_seq + 1, lost_workers = lost_workers + ?
WHERE worker_id = ?%s RETURNING id, job_id, queue, event_seq, epoch, concurrency_key
"""


def renew(tx: Transaction, worker: WorkerRecord, *, first: bool) -> bool:
    """Register or renew a worker; return whether it is on record."""
    expires_at = tx.now + round(worker.lease_seconds * 1_000_000)
    told = (
        *(worker.host, worker.pid, encode_json(worker.queues), worker.slots),
        *(worker.running, worker.lease_seconds, expires_at),
    )
    if first:
        tx.execute(_REGISTER, (worker.worker_id, *told))
        return True
    return bool(tx.execute(_RENEW, (*told, worker.worker_id)).rowcount)


def find_cancels(tx: Transaction, worker_id: str) -> tuple[str, ...]:
    """Return the ids of the worker's jobs that are to be cancelled."""
    cancels = tx.execute(
        "SELECT job_id FROM jobs WHERE worker_id = ? AND cancel_requested_at IS NOT NULL", (worker_id,)
    )
    return tuple(job_id for (job_id,) in cancels)


def beat(tx: Transaction, worker: WorkerRecord, *, first: bool) -> Pulse:
    """See `Store.beat`."""
    if not renew(tx, worker, first=first):
        return Pulse(alive=False)
    return Pulse(alive=True, cancels=find_cancels(tx, worker.worker_id))


def release_worker(tx: Transaction, worker_id: str) -> list[Dispatch]:
    """See `Store.release_worker`."""
    tx.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,))
    return hand_back(tx, worker_id, lost=False)


def rescue_jobs(tx: Transaction, dead: Sequence[str], spare: str) -> list[Dispatch]:
    """See `Store.rescue_jobs`."""
    tx.executemany(
        "UPDATE workers SET expires_at = 0 WHERE worker_id = ?", [(worker_id,) for worker_id in dead]
    )
    expired = tx.execute(
        "DELETE FROM workers WHERE expires_at <= ? AND worker_id <> ? RETURNING worker_id",
        (tx.now, spare),
    )
    return [
        dispatch
        for (worker_id,) in expired.fetchall()
        for dispatch in hand_back(tx, worker_id, lost=True)
    ]


def hand_back(tx: Transaction, worker_id: str, *, lost: bool, but: Sequence[str] = ()) -> list[Dispatch]:
    """Queue the worker's jobs again, all but some.

    Args:
        tx: The transaction.
        worker_id: Who held them.
        lost: Whether it was lost, which counts against the step that it was in.
        but: Ids of those it keeps.
    """
    event_type, fields = (
        ("attempt.lost", {"worker_id": worker_id}) if lost else ("attempt.released", None)
    )
    others = f" AND job_id NOT IN ({', '.join('?' * len(but))})" if but else ""
    rows = tx.execute(_HAND_BACK % others, (tx.now, int(lost), worker_id, *but)).fetchall()
    for row, job_id, _, seq, epoch, _ in rows:
        add_event(tx, row, seq, event_type, fields)
        lose_answers(tx, row, epoch)
        tx.topics.add(job_id)
    # In order, for two that hand back jobs of the same keys.
    for key in sorted({concurrency_key for *_, concurrency_key in rows if concurrency_key is not None}):
        unblock(tx, key)
    if rows:
        tx.topics.add(hints.QUEUED)
    return [Dispatch(job_id=row[1], queue=row[2], number=row[3]) for row in rows]


def inspect(connection: Connection, schema: str) -> StoreReport:
    """See `Store.inspect`."""
    counts = dict(connection.execute("SELECT status, COUNT(*) FROM jobs GROUP BY status").fetchall())
    return StoreReport(
        schema=schema,
        jobs={status: counts.get(status.value, 0) for status in JobStatus},
        workers=tuple(list_workers(connection)),
        lanes=list_lanes(connection),
    )


def list_workers(connection: Connection) -> list[tuple[WorkerRecord, datetime]]:
    """Return the workers on record by id, each with the time its heartbeat expires."""
    rows = connection.execute(
        "SELECT worker_id, host, pid, queues, slots, running, lease_seconds, expires_at FROM workers"
        " ORDER BY worker_id"
    )
    return [
        (
            WorkerRecord(
                worker_id=worker_id,
                host=host,
                pid=pid,
                queues=_decode_queues(queues),
                slots=slots,
                running=running,
                lease_seconds=lease_seconds,
            ),
            moment(expires_at),
        )
        for worker_id, host, pid, queues, slots, running, lease_seconds, expires_at in rows
    ]
