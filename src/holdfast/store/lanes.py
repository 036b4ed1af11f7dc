"""Statements on lanes; the arithmetic is in `holdfast.buckets` and `holdfast.turns`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import buckets, turns
from holdfast.codec import from_json, to_json
from holdfast.store.base import LaneGrant, LaneState
from holdfast.store.rows import micros, moment, optional_moment

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.store.base import LaneAdjustment, LaneRequest
    from holdfast.store.rows import Row
    from holdfast.store.transaction import Connection, Transaction

_SQL = (
    "requests_level, tokens_level, requests_per_minute, tokens_per_minute, burst_seconds, rate_factor,"
    " factor_at, updated_at, paused_until, held_until, held_reason, turns"
)

_REPLACE = f"""
INSERT INTO lanes (lane, {_SQL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (lane) DO UPDATE SET
    requests_level = excluded.requests_level, tokens_level = excluded.tokens_level,
    requests_per_minute = excluded.requests_per_minute,
    tokens_per_minute = excluded.tokens_per_minute, burst_seconds = excluded.burst_seconds,
    rate_factor = excluded.rate_factor, factor_at = excluded.factor_at,
    updated_at = excluded.updated_at, paused_until = excluded.paused_until,
    held_until = excluded.held_until, held_reason = excluded.held_reason, turns = excluded.turns
"""


def take_lane(tx: Transaction, request: LaneRequest) -> LaneGrant:
    """See `Store.take_lane`."""
    now = moment(tx.now)
    lane = _load(tx, request.lane) or buckets.fresh(now=now)
    lane, taken = buckets.take(lane, request, now=now)
    _save(tx, request.lane, lane)
    return LaneGrant(
        granted=taken.granted,
        wait_seconds=taken.wait_seconds,
        held_until=taken.held_until,
        held_reason=taken.held_reason,
    )


def adjust_lane(tx: Transaction, adjustment: LaneAdjustment) -> LaneState:
    """See `Store.adjust_lane`."""
    now = moment(tx.now)
    lane = buckets.adjust(
        _load(tx, adjustment.lane) or buckets.fresh(now=now),
        pause_seconds=adjustment.pause_seconds,
        rate_factor=adjustment.rate_factor,
        refund_tokens=adjustment.refund_tokens,
        requests_remaining=adjustment.requests_remaining,
        tokens_remaining=adjustment.tokens_remaining,
        hold_seconds=adjustment.hold_seconds,
        hold_reason=adjustment.hold_reason,
        now=now,
    )
    _save(tx, adjustment.lane, lane)
    return lane_state(adjustment.lane, lane)


def list_lanes(connection: Connection) -> tuple[LaneState, ...]:
    """Return all lanes by name."""
    return tuple(lane_state(name, lane) for name, lane in load_lanes(connection))


def load_lanes(connection: Connection) -> list[tuple[str, buckets.LaneBuckets]]:
    """Return all lanes in full, by name."""
    rows = connection.execute(f"SELECT lane, {_SQL} FROM lanes ORDER BY lane")
    return [(row[0], _lane_from(row[1:])) for row in rows]


def lane_state(name: str, lane: buckets.LaneBuckets) -> LaneState:
    """Return what others are told of a lane."""
    return LaneState(
        lane=name,
        requests_per_minute=lane.requests_per_minute,
        tokens_per_minute=lane.tokens_per_minute,
        rate_factor=lane.rate_factor,
        paused_until=lane.paused_until,
        held_until=lane.held_until,
        held_reason=lane.held_reason,
    )


def _load(tx: Transaction, name: str) -> buckets.LaneBuckets | None:
    sql = f"SELECT {_SQL} FROM lanes WHERE lane = ? {tx.dialect.for_update}"
    row = tx.execute(sql, (name,)).fetchone()
    if row is None:
        # There is no row to lock yet: two processes would both begin with a full lane.
        tx.serialize(f"lane {name}")
        row = tx.execute(sql, (name,)).fetchone()
    return None if row is None else _lane_from(row)


def _lane_from(row: Row) -> buckets.LaneBuckets:
    (
        requests_level, tokens_level, requests_per_minute, tokens_per_minute, burst_seconds, rate_factor,
        factor_at, updated_at, paused_until, held_until, held_reason, line,
    ) = row  # fmt: skip
    return buckets.LaneBuckets(
        requests_level=requests_level,
        tokens_level=tokens_level,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        burst_seconds=burst_seconds,
        rate_factor=rate_factor,
        factor_at=moment(factor_at),
        updated_at=moment(updated_at),
        paused_until=optional_moment(paused_until),
        held_until=optional_moment(held_until),
        held_reason=held_reason,
        line=_line_from(line),
    )


def _line_from(stored: bytes | None) -> turns.Line:
    return tuple(
        turns.Place(
            asker=asker,
            weight=weight,
            tokens=tokens,
            cost=cost,
            lead=lead,
            waiting=waiting,
            expires_at=moment(expires_at),
        )
        for asker, weight, tokens, cost, lead, waiting, expires_at in from_json(stored or b"[]")
    )


def _stored_line(line: turns.Line) -> bytes | None:
    """Return places as JSON arrays; nothing for the usual case that nobody waits."""
    if not line:
        return None
    return to_json(
        [
            [
                place.asker, place.weight, place.tokens, place.cost, place.lead, place.waiting,
                micros(place.expires_at),
            ]
            for place in line
        ]
    )  # fmt: skip


def _save(tx: Transaction, name: str, lane: buckets.LaneBuckets) -> None:
    tx.execute(
        _REPLACE,
        (
            name,
            lane.requests_level,
            lane.tokens_level,
            lane.requests_per_minute,
            lane.tokens_per_minute,
            lane.burst_seconds,
            lane.rate_factor,
            micros(lane.factor_at),
            micros(lane.updated_at),
            _optional_micros(lane.paused_until),
            _optional_micros(lane.held_until),
            lane.held_reason,
            _stored_line(lane.line),
        ),
    )


def _optional_micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)
