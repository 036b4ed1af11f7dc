"""What operators ask: how long the lines are, who works, what is free, what it costs.

Every question is answered from indexes and from no more rows than it names, so that it can be asked
again and again of a store with millions of jobs.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast import buckets
from holdfast.errors import InvalidInputError
from holdfast.model import SuspendReason, Usage
from holdfast.store import lanes, workers
from holdfast.store.rows import micros, moment, money, optional_moment, span_micros
from holdfast.store.service import (
    QUEUED_MAX,
    SPEND_ROWS_MAX,
    SPEND_SLOTS_MAX,
    SPEND_WINDOW_MAX,
    LaneUse,
    QueueState,
    Spend,
    SpendGroup,
    SpendQuery,
    WorkerState,
)

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.store.transaction import Connection, Dialect

# In the order of the index that claims go by, so that it is read from its beginning and no further.
_WAITING = """
SELECT queue, SUM(CASE WHEN available_at <= ? THEN 1 ELSE 0 END),
    SUM(CASE WHEN available_at > ? THEN 1 ELSE 0 END),
    MIN(CASE WHEN available_at <= ? THEN available_at END)
FROM (SELECT queue, available_at FROM jobs {index} WHERE status = 'queued' AND blocked = 0
    ORDER BY priority DESC, available_at, id LIMIT ?) AS line
GROUP BY queue
"""

_HELD_BACK = """
SELECT queue, COUNT(*) FROM (SELECT queue FROM jobs {index}
    WHERE concurrency_key IS NOT NULL AND finished_at IS NULL AND status = 'queued' AND blocked = 1
    LIMIT ?) AS line
GROUP BY queue
"""

_RUNNING = """
SELECT queue, COUNT(*) FROM (SELECT queue FROM jobs WHERE worker_id IS NOT NULL LIMIT ?) AS running
GROUP BY queue
"""

_SUSPENDED = """
SELECT queue, suspend_reason, COUNT(*) FROM (SELECT queue, suspend_reason FROM jobs {index}
    WHERE status = 'suspended' ORDER BY available_at LIMIT ?) AS suspended
GROUP BY queue, suspend_reason
"""

_NAMES: dict[SpendGroup, str] = {
    "kind": "jobs.kind",
    "lane": "calls.provider || ':' || calls.model",
    "model": "calls.model",
    "tenant": "jobs.tenant",
}

_SPEND = """
SELECT (calls.ended_at - ?) / ? AS slot, {name} AS name, COUNT(*), SUM(calls.input_tokens),
    SUM(calls.cached_tokens), SUM(calls.output_tokens), SUM(COALESCE(calls.nanos, 0)),
    SUM(CASE WHEN calls.nanos IS NULL AND calls.status <> 'uncertain' THEN 1 ELSE 0 END),
    SUM(CASE WHEN calls.status = 'uncertain' THEN 1 ELSE 0 END),
    SUM(CASE WHEN calls.status = 'uncertain' THEN COALESCE(calls.reserved_nanos, 0) ELSE 0 END)
FROM calls{join} WHERE calls.ended_at >= ? AND calls.ended_at < ?{only}
GROUP BY slot, {name} ORDER BY slot, {name} LIMIT ?
"""
_JOIN = " JOIN jobs ON jobs.id = calls.job"


def statements(dialect: Dialect) -> list[str]:
    """Return those statements on the lines that have to name their index."""
    named = {_WAITING: "jobs_claimable", _HELD_BACK: "jobs_concurrency_line", _SUSPENDED: "jobs_due"}
    return [sql.format(index=dialect.indexed_by(index)) for sql, index in named.items()]


def list_queues(connection: Connection, dialect: Dialect, at: datetime) -> list[QueueState]:
    """See `ServiceStore.list_queues`."""
    now, found = micros(at), defaultdict[str, dict[str, Any]](dict)
    waiting, held_back, suspended = statements(dialect)
    for queue, ready, delayed, oldest in connection.execute(waiting, (now, now, now, QUEUED_MAX)):
        found[queue] = {
            "ready": int(ready),
            "delayed": int(delayed),
            "oldest_at": optional_moment(oldest),
        }
    for queue, count in connection.execute(held_back, (QUEUED_MAX,)):
        found[queue]["held_back"] = count
    for queue, count in connection.execute(_RUNNING, (QUEUED_MAX,)):
        found[queue]["running"] = count
    for queue, reason, count in connection.execute(suspended, (QUEUED_MAX,)):
        found[queue].setdefault("suspended", {})[SuspendReason(reason)] = count
    return [QueueState(queue=queue, **found[queue]) for queue in sorted(found)]


def list_workers(connection: Connection) -> list[WorkerState]:
    """See `ServiceStore.list_workers`."""
    return [
        WorkerState(
            worker=worker,
            heartbeat_at=expires_at - timedelta(seconds=worker.lease_seconds),
            expires_at=expires_at,
        )
        for worker, expires_at in workers.list_workers(connection)
    ]


def list_lanes(connection: Connection, at: datetime) -> list[LaneUse]:
    """See `ServiceStore.list_lanes`."""
    return [_use_of(name, buckets.as_of(lane, at), at) for name, lane in lanes.load_lanes(connection)]


def _use_of(name: str, lane: buckets.LaneBuckets, at: datetime) -> LaneUse:
    requests_room, tokens_room = buckets.capacities(lane)
    return LaneUse(
        state=lanes.lane_state(name, lane),
        requests_free=lane.requests_level,
        requests_room=requests_room,
        tokens_free=lane.tokens_level,
        tokens_room=tokens_room,
        processes_waiting=sum(place.waiting and place.expires_at > at for place in lane.line),
    )


def sum_spend(connection: Connection, query: SpendQuery) -> list[Spend]:
    """See `ServiceStore.sum_spend`."""
    _check(query)
    since, slot, only, arguments = micros(query.since), span_micros(query.slot), "", list[str]()
    if query.tenant is not None:
        only, arguments = " AND jobs.tenant = ?", [query.tenant]
    if query.kinds is not None:
        only += f" AND jobs.kind IN ({', '.join('?' * len(query.kinds)) or 'NULL'})"
        arguments.extend(query.kinds)
    joined = bool(only) or query.group in ("kind", "tenant")
    rows = connection.execute(
        _SPEND.format(name=_NAMES[query.group], join=_JOIN if joined else "", only=only),
        (since, slot, since, micros(query.until), *arguments, SPEND_ROWS_MAX + 1),
    ).fetchall()
    if len(rows) > SPEND_ROWS_MAX:
        raise InvalidInputError(
            f"spend by {query.group} in spans of {query.slot} has more than {SPEND_ROWS_MAX:,} sums",
            hint="ask for longer spans, a shorter window, or one tenant",
        )
    return [
        Spend(
            at=moment(since + number * slot),
            name=name,
            usage=Usage(
                calls=calls,
                input_tokens=int(input_tokens),
                cached_tokens=int(cached_tokens),
                output_tokens=int(output_tokens),
                usd=money(int(nanos)),
                unpriced_calls=int(unpriced),
                uncertain_calls=int(uncertain),
                uncertain_usd=money(int(uncertain_nanos)),
            ),
        )
        for (
            number, name, calls, input_tokens, cached_tokens, output_tokens, nanos, unpriced, uncertain,
            uncertain_nanos,
        ) in rows
    ]  # fmt: skip


def _check(query: SpendQuery) -> None:
    window = query.until - query.since
    if query.slot <= timedelta() or not timedelta() < window <= SPEND_WINDOW_MAX:
        raise InvalidInputError(
            f"spend from {query.since:%Y-%m-%d %H:%M} to {query.until:%Y-%m-%d %H:%M} in spans of"
            f" {query.slot} cannot be added up",
            hint=f"ask for up to {SPEND_WINDOW_MAX.days} days, the earlier moment first",
        )
    if window / query.slot > SPEND_SLOTS_MAX:
        raise InvalidInputError(
            f"spend of {window} in spans of {query.slot} would be more than {SPEND_SLOTS_MAX} spans",
            hint="ask for longer spans or a shorter window",
        )
