"""Statements on events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import JobNotFoundError, LeaseLost
from holdfast.model import Event
from holdfast.store.rows import encode_json, moment, progress_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.model import Lease, Progress
    from holdfast.store.base import NewEvent
    from holdfast.store.transaction import Connection, Transaction

_INSERT = "INSERT INTO events (job, seq, type, data, at) VALUES (?, ?, ?, ?, ?)"

_FENCE = """
UPDATE jobs SET event_seq = event_seq + ?
WHERE id = ? AND epoch = ? AND status = 'running' RETURNING event_seq
"""

_FENCE_PROGRESS = """
UPDATE jobs SET event_seq = event_seq + ?, progress = ?
WHERE id = ? AND epoch = ? AND status = 'running' RETURNING event_seq
"""


def lease_lost(lease: Lease) -> LeaseLost:
    """Return the signal to raise for a lease that no longer holds."""
    return LeaseLost(f"job {lease.job_id!r} is no longer held under epoch {lease.epoch}")


def add_event(tx: Transaction, job: int, seq: int, kind: str, fields: object = None) -> None:
    """Write event number `seq`, which the caller has counted on the job's row."""
    tx.execute(_INSERT, (job, seq, kind, b"{}" if fields is None else encode_json(fields), tx.now))


def add_events(tx: Transaction, job: int, first: int, events: Iterable[NewEvent]) -> None:
    """Write events numbered from `first` on, which the caller has counted on the job's row."""
    at = tx.now
    tx.executemany(_INSERT, [(job, seq, e.type, e.data, at) for seq, e in enumerate(events, first)])


def append_events(
    tx: Transaction, lease: Lease, events: Sequence[NewEvent], progress: Progress | None
) -> int:
    """See `Store.append_events`."""
    if progress is None:
        cursor = tx.execute(_FENCE, (len(events), lease.row, lease.epoch))
    else:
        stored = progress_json(progress)
        cursor = tx.execute(_FENCE_PROGRESS, (len(events), stored, lease.row, lease.epoch))
    row = cursor.fetchone()
    if row is None:
        raise lease_lost(lease)
    last: int = row[0]
    if len(events) == 1:
        event = events[0]
        tx.execute(_INSERT, (lease.row, last, event.type, event.data, tx.now))
    elif events:
        add_events(tx, lease.row, last - len(events) + 1, events)
    tx.topics.add(lease.job_id)
    return last


def read_events(
    connection: Connection,
    job_id: str,
    after: int,
    limit: int,
    types: Sequence[str],
    *,
    bytes_max: int | None,
) -> list[Event]:
    """See `Store.read_events`."""
    row = connection.execute("SELECT id FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(job_id=job_id)
    named = f" AND type IN ({', '.join('?' * len(types))})" if types else ""
    page = f"FROM events WHERE job = ? AND seq > ?{named} ORDER BY seq LIMIT ?"
    arguments = (row[0], after, *types, limit)
    if bytes_max is not None:
        # Counted where the events lie: what does not fit is not even read.
        page = (
            f"FROM (SELECT seq, type, data, at, SUM(LENGTH(data)) OVER (ORDER BY seq) AS bytes {page})"
            " AS page WHERE bytes <= ? OR bytes = LENGTH(data) ORDER BY seq"
        )
        arguments = (*arguments, bytes_max)
    rows = connection.execute(f"SELECT seq, type, data, at {page}", arguments)
    return [
        Event(job_id=job_id, seq=seq, type=kind, data=content, at=moment(at))
        for seq, kind, content, at in rows
    ]


def read_signals(tx: Transaction, job: int, job_id: str) -> tuple[Event, ...]:
    """Return all signals the job has received."""
    rows = tx.execute(
        "SELECT seq, data, at FROM events WHERE job = ? AND type = 'signal.received' ORDER BY seq",
        (job,),
    )
    return tuple(
        Event(job_id=job_id, seq=seq, type="signal.received", data=content, at=moment(at))
        for seq, content, at in rows
    )
