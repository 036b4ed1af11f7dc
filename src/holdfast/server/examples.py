"""Examples for the OpenAPI: one story, a report about a city."""

from __future__ import annotations

from typing import Any

_JOB_ID = "job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC"
_AT = "2026-11-27T09:00:00Z"
_USAGE: Any = {
    "calls": 2,
    "input_tokens": 1830,
    "cached_tokens": 0,
    "output_tokens": 412,
    "usd": "0.00052",
    "unpriced_calls": 0,
    "uncertain_calls": 0,
    "uncertain_usd": "0",
    "reserved_tokens": 2400,
    "reserved_usd": "0.0009",
}
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SUBMISSION: Any = {"kind": "report", "input": {"topic": "tides"}, "tenant": "shop", "budget_usd": "0.50"}
FORK: Any = {"keep": ["outline"], "budget_usd": "1.00"}
SIGNAL: Any = {"name": "approval", "payload": {"approved": True}}
BUDGET: Any = {"usd": "2.50", "tokens": None}
TOKEN: Any = {"token": "hfj_WyJqb2JfMDFK.signature", "expires_at": "2026-12-04T09:00:00Z"}

JOB: Any = {
    "job_id": _JOB_ID,
    "kind": "report",
    "queue": "report",
    "status": "running",
    "suspend_reason": None,
    "priority": 0,
    "tenant": "shop",
    "subject": "customer-17",
    "idempotency_key": "order-4711",
    "parent_id": None,
    "concurrency_key": None,
    "attempt": 1,
    "lost_workers": 0,
    "worker_id": "worker_01JDZ8Q6M4",
    "active_seconds": 0.0,
    "progress": {
        "done": 3,
        "total": 12,
        "fraction": 0.25,
        "label": "chapter 4",
        "eta_seconds": 90.0,
        "at": "2026-11-27T09:00:31Z",
    },
    "usage": _USAGE,
    "budget_usd": "0.5",
    "budget_tokens": None,
    "error": None,
    "content": True,
    "input": {"topic": "tides"},
    "output": None,
    "event_seq": 16,
    "created_at": _AT,
    "available_at": _AT,
    "started_at": "2026-11-27T09:00:01Z",
    "finished_at": None,
    "cancel_requested_at": None,
}
JOB_PAGE: Any = {"jobs": [{**JOB, "content": False, "input": None}], "next_cursor": None}

STEPS: Any = {
    "steps": [
        {
            "key": "outline",
            "finished": True,
            "seconds": 2.4,
            "attempts": 1,
            "starts": 0,
            "number": 1,
            "finished_at": "2026-11-27T09:00:04Z",
            "artifact": None,
            "undo": None,
        }
    ]
}
_CALL: Any = {
    "call_id": "call_01JDZ8Q8M2",
    "step_key": "outline",
    "step_attempt": 1,
    "epoch": 1,
    "provider": "openai",
    "model": "gpt-4o-mini",
    "status": "settled",
    "reserved_tokens": 2400,
    "reserved_usd": "0.0009",
    "input_tokens": 915,
    "cached_tokens": 0,
    "output_tokens": 206,
    "usd": "0.00026",
    "response_id": "resp_68a1",
    "error_code": None,
    "started_at": "2026-11-27T09:00:02Z",
    "ended_at": "2026-11-27T09:00:04Z",
}
USAGE: Any = {
    "usage": _USAGE,
    "by_model": [
        {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "calls": 2,
            "input_tokens": 1830,
            "cached_tokens": 0,
            "output_tokens": 412,
            "usd": "0.00052",
        }
    ],
    "possibly_paid_twice": [],
    "calls": [_CALL],
}
ARTIFACT: Any = {
    "name": "report.pdf",
    "size_bytes": 48_213,
    "media_type": "application/pdf",
    "sha256": _HASH,
}
KIND: Any = {
    "kind": "report",
    "queue": "report",
    "priority": 0,
    "budget": {"usd": "0.5", "tokens": None},
    "soft_limit_seconds": None,
    "hard_limit_seconds": 3600.0,
    "keep_seconds": None,
    "concurrency_limit": None,
    "input_schema": {
        "title": "Topic",
        "type": "object",
        "properties": {"topic": {"title": "Topic", "type": "string"}},
        "required": ["topic"],
    },
    "output_schema": {"type": "string"},
}
NEW_KEY: Any = {"name": "web shop", "actions": ["submit", "read"], "tenant": "shop", "lifetime_days": 90}
KEY: Any = {
    "key_id": "hf_7Q2M9D4K1X",
    "name": "web shop",
    "tenant": "shop",
    "kinds": None,
    "actions": ["read", "submit"],
    "created_at": _AT,
    "expires_at": "2027-02-25T09:00:00Z",
}
MADE_KEY: Any = {**KEY, "key": "hf_7Q2M9D4K1X_…"}

EVENT: Any = {"seq": 2, "type": "attempt.started", "at": _AT, "data": {"attempt": 1, "epoch": 1}}
EVENTS: Any = {"events": [EVENT], "next_after": 2}

_WEBHOOK_ID = "webhook_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC"
NEW_WEBHOOK: Any = {"url": "https://shop.example/hooks/holdfast", "statuses": ["completed", "failed"]}
WEBHOOK: Any = {
    "webhook_id": _WEBHOOK_ID,
    "url": "https://shop.example/hooks/holdfast",
    "tenant": "shop",
    "kinds": None,
    "statuses": ["completed", "failed"],
    "created_at": _AT,
}
WEBHOOK_MADE: Any = {**WEBHOOK, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
WEBHOOK_SECRET: Any = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "old_until": _AT}
DELIVERY: Any = {
    "delivery_id": "job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BD",
    "job_id": _JOB_ID,
    "event_seq": 17,
    "type": "job.completed",
    "status": "completed",
    "outcome": "delivered",
    "response_status": 204,
    "error": None,
    "created_at": _AT,
    "next_try_at": None,
    "finished_at": _AT,
}

QUEUE: Any = {
    "queue": "report",
    "ready": 3,
    "delayed": 0,
    "held_back": 0,
    "running": 12,
    "suspended": {"budget": 1},
    "oldest_at": _AT,
}
WORKER: Any = {
    "worker_id": "worker_01JDZ8Q6M4",
    "host": "worker-1",
    "pid": 4711,
    "queues": ["report"],
    "slots": 100,
    "running": 12,
    "heartbeat_at": _AT,
    "expires_at": _AT,
}
LANE: Any = {
    "lane": "openai/gpt-4o-mini",
    "requests_per_minute": 500.0,
    "tokens_per_minute": 200000.0,
    "rate_factor": 1.0,
    "requests_free": 41.5,
    "requests_room": 83.3,
    "tokens_free": 18000.0,
    "tokens_room": 33333.3,
    "processes_waiting": 0,
    "paused_until": None,
    "held_until": None,
    "held_reason": None,
}
SPEND: Any = {
    "since": _AT,
    "until": "2026-11-27T10:00:00Z",
    "bucket_seconds": 3600.0,
    "by": "kind",
    "spend": [
        {
            "at": _AT,
            "name": "report",
            "calls": 161,
            "input_tokens": 183000,
            "cached_tokens": 90000,
            "output_tokens": 912000,
            "usd": "0.58",
            "unpriced_calls": 0,
            "uncertain_calls": 0,
            "uncertain_usd": "0",
        }
    ],
}
LIVE: Any = {"status": "alive", "troubles": []}
READY: Any = {"status": "ready", "checks": {"store": {"status": "ok", "told": ""}}}
METRICS = "# HELP holdfast_jobs_running Attempts under way.\nholdfast_jobs_running 12.0\n"
