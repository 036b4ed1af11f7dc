"""Statements by which the end of a job is told: a job for each webhook that wants to hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.ids import child_id
from holdfast.store import hints
from holdfast.store.base import RESERVED_KIND_PREFIX
from holdfast.store.rows import encode_json
from holdfast.store.service import DELIVERIES_AT_ONCE, DELIVERY_KIND, DeliveryInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.model import JobStatus
    from holdfast.store.transaction import Transaction

WATCHED_SQL = (
    "(EXISTS (SELECT 1 FROM webhooks WHERE webhooks.tenant = jobs.tenant)"
    # Apart, for either alone is a look into the index.
    " OR EXISTS (SELECT 1 FROM webhooks WHERE webhooks.tenant IS NULL))"
)
"""Whether any webhook may want to hear of a job: a column for a statement that reads its row anyway, so
that without webhooks nothing more is asked."""

# Announced by nobody yet, which is what 0 says to the waker. A delivery that is there already stays.
_INSERT_JOB = """
INSERT INTO jobs (job_id, kind, queue, status, priority, tenant, subject, concurrency_key,
    concurrency_limit, event_seq, created_at, available_at, announced_at)
VALUES (?, ?, ?, 'queued', 0, ?, ?, ?, ?, 1, ?, ?, 0) ON CONFLICT (job_id) DO NOTHING
"""
_INSERT_PAYLOAD = """
INSERT INTO payloads (job, input) SELECT id, ? FROM jobs WHERE job_id = ? ON CONFLICT DO NOTHING
"""
_INSERT_EVENT = """
INSERT INTO events (job, seq, type, data, at)
SELECT id, 1, 'job.queued', ?, ? FROM jobs WHERE job_id = ? ON CONFLICT DO NOTHING
"""

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


def concurrency_key_of(owner: str | None) -> str:
    """Return the key that the deliveries of one owner's webhooks share, as their kind makes it, too."""
    return f"kind:{DELIVERY_KIND} tenant:{owner or ''}"


def tell_end(
    tx: Transaction, job_id: str, kind: str, *, tenant: str | None, status: JobStatus, seq: int
) -> None:
    """Queue a delivery for each webhook that wants to hear of this end.

    Args:
        tx: The transaction in which the job ends.
        job_id: The job that has ended.
        kind: Its kind.
        tenant: Whose it is.
        status: How it ended.
        seq: Number of the event that tells so.
    """
    if kind.startswith(RESERVED_KIND_PREFIX):
        return
    # Asked first and awaited together: rows that nobody else can see yet, so nothing is waited for.
    jobs, inputs, queued = [], [], []
    for webhook_id, owner in _subscribers(tx, kind, tenant, status):
        delivery_id = child_id(job_id, f"webhook {webhook_id} {seq}")
        told = DeliveryInput(webhook_id=webhook_id, job_id=job_id, seq=seq, type=f"job.{status}")
        jobs.append(
            (
                *(delivery_id, DELIVERY_KIND, DELIVERY_KIND, owner, webhook_id),
                *(concurrency_key_of(owner), DELIVERIES_AT_ONCE, tx.now, tx.now),
            )
        )
        inputs.append((encode_json(told), delivery_id))
        queued.append((b"{}", tx.now, delivery_id))
    if jobs:
        tx.executemany(_INSERT_JOB, jobs)
        tx.executemany(_INSERT_PAYLOAD, inputs)
        tx.executemany(_INSERT_EVENT, queued)
        tx.topics.update((hints.QUEUED, hints.UNANNOUNCED))


def _subscribers(
    tx: Transaction, kind: str, tenant: str | None, status: JobStatus
) -> Iterator[tuple[str, str | None]]:
    """Yield id and tenant of the webhooks that want to hear of it."""
    rows = tx.execute(
        "SELECT webhook_id, tenant, kinds, statuses FROM webhooks WHERE tenant IS NULL OR tenant = ?"
        " ORDER BY webhook_id",
        (tenant,),
    )
    for webhook_id, owner, kinds, statuses in rows.fetchall():
        if status.value in _decode_names(statuses) and (kinds is None or kind in _decode_names(kinds)):
            yield webhook_id, owner
