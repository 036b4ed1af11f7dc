"""Telling something once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import JobNotFinishedError, JobNotFoundError
from holdfast.model import JobStatus
from holdfast.store.service import DELIVERY_KIND
from holdfast.webhooks.delivery import MESSAGE_STEP

if TYPE_CHECKING:
    from holdfast.engine.client import JobClient
    from holdfast.model import Job


async def replay(client: JobClient, delivery_id: str) -> Job:
    """Tell the same message again and return the delivery that does: it has the same `webhook-id`.

    One that has failed or was cancelled is tried again from the beginning of its schedule; of one
    that has completed, a copy is made.

    Raises:
        JobNotFoundError: There is no such delivery.
        JobNotFinishedError: It is still being tried.
    """
    delivery = await client.get(delivery_id)
    if delivery.kind != DELIVERY_KIND:
        raise JobNotFoundError(job_id=delivery_id)
    if delivery.status is JobStatus.COMPLETED:
        return await client.fork(delivery_id, keep=(MESSAGE_STEP,))
    if not delivery.status.terminal:
        raise JobNotFinishedError(job_id=delivery_id, status=delivery.status, action="be replayed")
    return await client.retry(delivery_id)
