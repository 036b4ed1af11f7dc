"""What a delivery tells: that a job has ended and how, never what went in or came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.ids import derived_id
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from holdfast.model import Event, Job
    from holdfast.store.service import DeliveryInput


class _Error(msgspec.Struct):
    code: str


class _FailedData(msgspec.Struct):
    error: _Error | None = None


def message_id_of(delivery: DeliveryInput) -> str:
    """Return the id of the message, the same in each try and in each replay."""
    return derived_id("msg", delivery.job_id, str(delivery.seq), delivery.webhook_id)


def body_of(job: Job, event: Event) -> str:
    """Return the JSON text that is sent: of the event, so that a job retried since changes nothing."""
    usage = job.usage
    told: dict[str, Any] = {
        "job_id": job.job_id,
        "kind": job.kind,
        "status": JobStatus(event.type.removeprefix("job.")),
        "tenant": job.tenant,
        "created_at": job.created_at,
        "finished_at": event.at,
        "usage": {
            "calls": usage.calls,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "usd": format(usage.usd, "f"),
        },
    }
    error = msgspec.json.decode(event.data, type=_FailedData).error
    if error is not None:
        told["error_code"] = error.code
    return msgspec.json.encode({"type": event.type, "timestamp": event.at, "data": told}).decode()
