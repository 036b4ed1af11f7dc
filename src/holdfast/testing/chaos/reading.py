"""Reads the books at the end of a run: from the database itself, not by the code under test."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.artifacts.object_store import INCOMING, key_of
from holdfast.engine.heartbeat import heartbeat_seconds
from holdfast.testing.chaos.books import Asked, Books, Happening, JobRow, LedgerCall, PaidCall, Process
from holdfast.testing.chaos.fleet import processes_left

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from holdfast.testing.chaos.fleet import Life
    from holdfast.testing.chaos.stage import Stage

_TABLES = ("payloads", "events", "checkpoints", "calls", "artifacts")
_PROCESS_SECONDS = 5.0
_RECONNECT_SECONDS = 0.5
WAKING_SECONDS = 1.0
"""After SIGCONT a worker goes on under a lease that is over and still there, until it has renewed it
or lost its jobs: a call that it begins meanwhile may be lost, too."""

_MICROS = 1_000_000
_THEIR_LOGGERS = ("celery.", "kombu.")

Row = tuple[Any, ...]

_JOBS = """
SELECT job_id, kind, parent_id, input, output, error, status, event_seq, calls, input_tokens,
    output_tokens, spent_nanos, uncertain_calls, uncertain_tokens, reserved_calls, reserved_tokens
FROM jobs LEFT JOIN payloads ON payloads.job = jobs.id
"""
_EVENTS = (
    "SELECT job_id, seq, type, data, at FROM events JOIN jobs ON jobs.id = events.job ORDER BY job, seq"
)
_CALLS = """
SELECT call_id, job_id, step_key, calls.epoch, calls.status, calls.input_tokens, calls.output_tokens,
    nanos, calls.reserved_tokens, calls.started_at
FROM calls JOIN jobs ON jobs.id = calls.job
"""
_FILES = """
SELECT sha256 FROM artifacts UNION SELECT blob FROM checkpoints WHERE blob IS NOT NULL
"""


async def read_books(
    stage: Stage, submitted: dict[str, str], asked_of: Callable[[str, str, Any], Asked]
) -> Books:
    """Read everything, after all processes have left.

    Args:
        stage: Where it happened.
        submitted: See `Books`.
        asked_of: What a job's id, kind and input say.
    """
    left = await processes_left(stage.folder, seconds=_PROCESS_SECONDS)
    tables = await asyncio.to_thread(_read_tables, stage.store_url)
    named = {str(sha256) for (sha256,) in tables["files"]}
    unknown, missing = await asyncio.to_thread(_files, stage.artifacts, named)
    return Books(
        submitted=submitted,
        drain_seconds=stage.scene.drain_grace_seconds + 15.0,
        jobs=[_job(row, asked_of) for row in tables["jobs"]],
        events=[_event(row, stage.wall_zero) for row in tables["events"]],
        ledger=[_call(row, stage.wall_zero) for row in tables["calls"]],
        provider=_provider(stage),
        processes=[_process(life, stage) for life in stage.fleet.lives],
        outages=list(stage.outages),
        orphan_rows={table: int(tables[f"orphans of {table}"][0][0]) for table in _TABLES},
        workers_left=[str(worker_id) for (worker_id,) in tables["workers"]],
        files_unknown=unknown,
        files_missing=missing,
        processes_left=left,
        errors_logged=[line for life in stage.fleet.lives for line in _tracebacks(life)],
    )


def _read_tables(url: str) -> dict[str, list[Row]]:
    queries = {"jobs": _JOBS, "events": _EVENTS, "calls": _CALLS, "files": _FILES}
    queries["workers"] = "SELECT worker_id FROM workers"
    for table in _TABLES:
        queries[f"orphans of {table}"] = (
            f"SELECT COUNT(*) FROM {table} WHERE job NOT IN (SELECT id FROM jobs)"  # noqa: S608
        )
    with psycopg.connect(url, autocommit=True) as connection:
        return {name: connection.execute(query.encode()).fetchall() for name, query in queries.items()}


def _job(row: Row, asked_of: Callable[[str, str, Any], Asked]) -> JobRow:
    job_id, kind, parent_id, given, output, error, status, event_seq, *sums = row
    calls, tokens_in, tokens_out, nanos, unsure, unsure_tokens, held, held_tokens = sums
    return JobRow(
        job_id=job_id,
        kind=kind,
        parent_id=parent_id,
        asked=asked_of(job_id, kind, json.loads(given)),
        status=status,
        event_seq=event_seq,
        output=None if output is None else json.loads(output),
        error_code=None if error is None else json.loads(error)["code"],
        calls=calls,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        spent_nanos=nanos,
        uncertain_calls=unsure,
        uncertain_tokens=unsure_tokens,
        reserved_calls=held,
        reserved_tokens=held_tokens,
    )


def _event(row: Row, wall_zero: float) -> Happening:
    job_id, seq, kind, data, at = row
    told = json.loads(data) or {}
    until = told.get("until")
    return Happening(
        job_id=job_id,
        seq=seq,
        type=kind,
        at=at / _MICROS - wall_zero,
        key=told.get("key") or "",
        epoch=told.get("epoch") or 0,
        worker_id=told.get("worker_id") or "",
        until=datetime.fromisoformat(until).timestamp() - wall_zero if until else None,
    )


def _call(row: Row, wall_zero: float) -> LedgerCall:
    call_id, job_id, step_key, epoch, status, tokens_in, tokens_out, nanos, reserved, began = row
    return LedgerCall(
        call_id=call_id,
        job_id=job_id,
        step_key=step_key,
        epoch=epoch,
        status=status,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        nanos=nanos or 0,
        reserved_tokens=reserved,
        began=began / _MICROS - wall_zero,
    )


def _provider(stage: Stage) -> list[PaidCall]:
    shift = stage.provider_zero - stage.zero
    return [
        PaidCall(
            call_id=record.client_request_id,
            question=record.body_hash,
            began=record.started + shift,
            ended=None if record.ended is None else record.ended + shift,
            answered=record.answered,
            input_tokens=record.input_tokens,
            output_tokens=record.output_tokens,
        )
        for record in stage.scene.provider.journal.records
    ]


def _process(life: Life, stage: Stage) -> Process:
    zero = stage.zero
    told = tuple((name, at - zero) for name, at in life.told)
    ended = None if life.ended is None else life.ended - zero
    blows = [*_silences(stage), *blows_of(told, ended)]
    return Process(
        name=life.name,
        worker_ids=tuple(life.worker_ids()),
        began=life.began - zero,
        ended=ended,
        status=life.status,
        forced=life.forced,
        told=told,
        blows=tuple(blows),
    )


def _silences(stage: Stage) -> list[tuple[float, float]]:
    """Return when the store was away for so long that no worker could renew its lease in time."""
    lease_seconds = stage.scene.lease_seconds
    longest = lease_seconds - heartbeat_seconds(lease_seconds) - _RECONNECT_SECONDS
    return [
        (outage.began, outage.ended)
        for outage in stage.outages
        if outage.server == "store" and outage.ended - outage.began > longest
    ]


def blows_of(told: Sequence[tuple[str, float]], ended: float | None) -> list[tuple[float, float]]:
    """Return when a process could not go on, from the signals that it was sent."""
    blows: list[tuple[float, float]] = []
    since: float | None = None
    for name, at in told:
        if name == "SIGKILL":
            blows.append((at, at))
        elif name == "SIGSTOP":
            since = at if since is None else since
        elif name == "SIGCONT" and since is not None:
            blows.append((since, at + WAKING_SECONDS))
            since = None
    if since is not None:
        blows.append((since, since if ended is None else ended))
    return blows


def _files(artifacts: Path, named: set[str]) -> tuple[list[str], list[str]]:
    """Return the files that no row names, and the named ones that are not whole.

    What was being written as a worker was killed lies aside until it is a day old, and is swept then.
    """
    found = defaultdict(list)
    for path in artifacts.rglob("*"):
        if path.is_file() and path.relative_to(artifacts).parts[0] != INCOMING:
            found[path.relative_to(artifacts).as_posix()].append(path)
    wanted = {key_of(sha256): sha256 for sha256 in named}
    unknown = sorted(found.keys() - wanted.keys())
    missing = sorted(
        key
        for key, sha256 in wanted.items()
        if key not in found or hashlib.sha256(found[key][0].read_bytes()).hexdigest() != sha256
    )
    return unknown, missing


def _tracebacks(life: Life) -> list[str]:
    """Return what it logged with a traceback, each once with its count: nothing that was foreseen.

    But for Celery's own loggers, which tell of a lost connection in that way.
    """
    found: Counter[str] = Counter()
    for line in life.lines():
        event = str(line["event"])
        told = line.get("exception") or (event if event.startswith("Traceback") else "")
        if told and not str(line.get("logger", "")).startswith(_THEIR_LOGGERS):
            # Numbers differ from time to time.
            what = re.sub(r"\d+", "N", event.splitlines()[0][:150])
            found[f"{what!r}: {str(told).splitlines()[-1][:200]}"] += 1
    return [f"{life.name} logged {count} times {what}" for what, count in found.items()]
