"""Jobs as JSON, the same shape in every command; documented in `docs/reference/cli.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Artifact, Budget, Call, Checkpoint, Event, Job, StoredError, Usage
    from holdfast.store.base import JobRecords

Json = dict[str, Any]


def job_shape(job: Job) -> Json:
    """Return a job without its input and output."""
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "queue": job.queue,
        "status": job.status,
        "suspend_reason": job.suspend_reason,
        "priority": job.priority,
        "tenant": job.tenant,
        "subject": job.subject,
        "idempotency_key": job.idempotency_key,
        "parent_id": job.parent_id,
        "concurrency_key": job.concurrency_key,
        "attempt": job.attempt,
        "lost_workers": job.lost_workers,
        "worker_id": job.worker_id,
        "cancel_requested_at": job.cancel_requested_at,
        "created_at": job.created_at,
        "available_at": job.available_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "active_seconds": round(job.active_seconds, 3),
        "progress": {
            "done": job.progress.done,
            "total": job.progress.total,
            "fraction": round(job.progress.fraction, 4),
            "label": job.progress.label,
            "eta_seconds": job.progress.eta_seconds,
            "at": job.progress.at,
        },
        "budget": budget_shape(job.budget),
        "usage": usage_shape(job.usage),
        "error": error_shape(job.error),
    }


def error_shape(error: StoredError | None) -> Json | None:
    """Return what a job failed with, without the traceback."""
    if error is None:
        return None
    return {
        "type": error.type,
        "code": error.code,
        "message": error.message,
        "details": error.details,
    }


def budget_shape(budget: Budget) -> Json:
    """Return a budget; money is a decimal text."""
    return {"usd": None if budget.usd is None else f"{budget.usd:f}", "tokens": budget.tokens}


def usage_shape(usage: Usage) -> Json:
    """Return usage; money is a decimal text."""
    return {
        "calls": usage.calls,
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "usd": f"{usage.usd:f}",
        "unpriced_calls": usage.unpriced_calls,
        "uncertain_calls": usage.uncertain_calls,
        "uncertain_usd": f"{usage.uncertain_usd:f}",
        "reserved_tokens": usage.reserved_tokens,
        "reserved_usd": f"{usage.reserved_usd:f}",
    }


def call_shape(call: Call) -> Json:
    """Return an entry of the ledger; money is a decimal text, null where unknown."""
    return {
        "call_id": call.call_id,
        "step_key": call.step_key,
        "step_attempt": call.step_attempt,
        "epoch": call.epoch,
        "provider": call.provider,
        "model": call.model,
        "status": call.status,
        "reserved_tokens": call.reserved_tokens,
        "reserved_usd": None if call.reserved_usd is None else f"{call.reserved_usd:f}",
        "input_tokens": call.input_tokens,
        "cached_tokens": call.cached_tokens,
        "output_tokens": call.output_tokens,
        "usd": None if call.usd is None else f"{call.usd:f}",
        "response_id": call.response_id,
        "error_code": call.error_code,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
    }


def step_shape(step: Checkpoint) -> Json:
    """Return a step without its value."""
    return {
        "key": step.key,
        "finished": step.finished,
        "seconds": round(step.seconds, 3),
        "attempts": step.attempts,
        "finished_at": step.finished_at,
        "undo": None if step.undo is None else step.undo.function,
    }


def artifact_shape(artifact: Artifact) -> Json:
    """Return an artifact."""
    return {
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
    }


def event_shape(event: Event) -> Json:
    """Return an event with its own fields under `data`."""
    return {
        "seq": event.seq,
        "type": event.type,
        "at": event.at,
        "data": msgspec.json.decode(event.data),
    }


def export_shape(job: Job, records: JobRecords) -> Json:
    """Return all that is on record of a job but its events: what `subject export` writes."""
    return {
        **job_shape(job),
        "input": msgspec.json.decode(job.input),
        "output": None if job.output is None else msgspec.json.decode(job.output),
        "steps": [step_shape(step) for step in records.checkpoints if step.artifact is None],
        "artifacts": [
            artifact_shape(step.artifact) for step in records.checkpoints if step.artifact is not None
        ],
        "calls": [call_shape(call) for call in records.calls],
    }


def records_shape(
    job: Job,
    records: JobRecords,
    attempts: Sequence[Event],
    children: Sequence[Job] = (),
    *,
    calls: bool,
) -> Json:
    """Return all that is on record of a job: what `jobs show --json` prints."""
    uncertain = [call for call in records.calls if call.status.repeats]
    return {
        **job_shape(job),
        "input": msgspec.json.decode(job.input),
        "attempts": [event_shape(event) for event in attempts],
        "steps": [step_shape(step) for step in records.checkpoints if step.artifact is None],
        "artifacts": [
            artifact_shape(step.artifact) for step in records.checkpoints if step.artifact is not None
        ],
        "children": [
            {"job_id": child.job_id, "kind": child.kind, "status": child.status} for child in children
        ],
        "uncertain_calls": [call_shape(call) for call in uncertain],
        **({"calls": [call_shape(call) for call in records.calls]} if calls else {}),
    }
