"""The hot writes of attempts – results of steps, events – of a whole batch in one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.store import checkpoints
from holdfast.store import events as _events
from holdfast.store.events import lease_lost
from holdfast.store.postgres_connection import SERVER_NOW
from holdfast.store.rows import encode_json, progress_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.model import Checkpoint, Lease, Progress
    from holdfast.store.base import NewEvent
    from holdfast.store.postgres_connection import Connection
    from holdfast.store.transaction import Transaction
    from holdfast.store.writer import Outcome

# Rows are locked from the youngest job to the oldest, children before parents, as everywhere.
# A result that is there already divides by zero: the statement fails as a whole, and each write
# of the batch is looked at by itself.
# Parameters in binary, %b: as text, the driver would build arrays item by item in Python.
_STATEMENT = f"""
WITH wanted AS MATERIALIZED (
    SELECT jobs.id, w.* FROM jobs JOIN unnest(%b::bigint[], %b::bigint[], %b::bigint[],
        %b::bigint[], %b::bytea[]) AS w(job, held_epoch, events, steps, told)
        ON jobs.id = w.job AND jobs.epoch = w.held_epoch AND jobs.status = 'running'
    ORDER BY jobs.id DESC FOR UPDATE OF jobs
), held AS (
    UPDATE jobs SET event_seq = event_seq + w.events, step_number = step_number + w.steps,
        lost_workers = CASE WHEN w.steps > 0 THEN 0 ELSE lost_workers END,
        progress = coalesce(w.told, progress)
    FROM wanted w WHERE jobs.id = w.id
    RETURNING jobs.id, jobs.epoch, event_seq - w.events AS seq, step_number - w.steps AS number
), stored AS (
    INSERT INTO checkpoints (job, key, finished, value, blob, type_name, undo_function,
        undo_arguments, seconds, attempts, number, starts, finished_at)
    SELECT held.id, c.key, 1, c.value, c.blob, c.type_name, c.undo_function, c.undo_arguments,
        c.seconds, c.attempts, held.number + c.nth, 0, coalesce(%b::bigint, {SERVER_NOW})
    FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::text[], %b::bytea[], %b::text[],
        %b::text[], %b::text[], %b::bytea[], %b::float8[], %b::int[])
        AS c(job, epoch, nth, key, value, blob, type_name, undo_function, undo_arguments, seconds,
            attempts)
    JOIN held ON held.id = c.job AND held.epoch = c.epoch
    ON CONFLICT (job, key) DO UPDATE SET
        finished = 1 / (1 - checkpoints.finished), value = excluded.value, blob = excluded.blob,
        type_name = excluded.type_name,
        undo_function = coalesce(excluded.undo_function, checkpoints.undo_function),
        undo_arguments = coalesce(excluded.undo_arguments, checkpoints.undo_arguments),
        seconds = excluded.seconds, attempts = excluded.attempts, number = excluded.number,
        finished_at = excluded.finished_at
), told AS (
    INSERT INTO events (job, seq, type, data, at)
    SELECT held.id, held.seq + e.nth, e.type, e.data, coalesce(%b::bigint, {SERVER_NOW})
    FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::text[], %b::bytea[])
        AS e(job, epoch, nth, type, data)
    JOIN held ON held.id = e.job AND held.epoch = e.epoch
)
SELECT id, epoch, seq FROM held
"""


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One write of an attempt: the result of a step, or only events; an operation like others."""

    lease: Lease
    checkpoint: Checkpoint | None
    events: Sequence[NewEvent]
    progress: Progress | None = None

    def __call__(self, tx: Transaction) -> int | None:
        """Write this alone."""
        if self.checkpoint is not None:
            checkpoints.put_checkpoint(tx, self.lease, self.checkpoint, self.events)
            return None
        return _events.append_events(tx, self.lease, self.events, self.progress)


@dataclass(slots=True)
class _Group:
    """What a batch writes for one attempt."""

    lease: Lease
    events: int = 0
    steps: int = 0
    progress: bytes | None = None


@dataclass(slots=True)
class _Rows:
    """The columns of everything a batch writes."""

    groups: dict[tuple[int, int], _Group] = field(default_factory=dict)
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, write: Write) -> int:
        """Add a write and return the place of its last event in its group."""
        lease = write.lease
        at = (lease.row, lease.epoch)
        group = self.groups.get(at)
        if group is None:
            group = self.groups[at] = _Group(lease)
        found = write.checkpoint
        if found is not None:
            group.steps += 1
            undo = found.undo
            self.steps.append(
                (
                    *(*at, group.steps, found.key, found.value, found.blob, found.type_name),
                    *((None, None) if undo is None else (undo.function, undo.arguments)),
                    *(found.seconds, found.attempts),
                )
            )
            fields = {"key": found.key, "seconds": found.seconds, "attempts": found.attempts}
            group.events += 1
            self.events.append((*at, group.events, "step.completed", encode_json(fields)))
        for event in write.events:
            group.events += 1
            self.events.append((*at, group.events, event.type, event.data))
        if write.progress is not None:
            group.progress = progress_json(write.progress)
        return group.events


def write_together(
    connection: Connection, writes: Sequence[Write], now: int | None, topics: set[str]
) -> list[Outcome]:
    """Write a batch and return what came of each, adding the hints to give.

    Args:
        connection: In a transaction or not.
        writes: In the order in which each attempt made them.
        now: Microseconds; None for the server's time.
        topics: Grows by the jobs written to.
    """
    if not writes:
        return []
    rows = _Rows()
    places = [rows.add(write) for write in writes]
    groups = list(rows.groups.values())
    found = connection.execute(
        _STATEMENT,
        (
            *_columns([(g.lease.row, g.lease.epoch, g.events, g.steps, g.progress) for g in groups], 5),
            *(now, *_columns(rows.steps, 11)),
            *(now, *_columns(rows.events, 5)),
        ),
        binary=True,
    )
    held = {(row, epoch): seq for row, epoch, seq in found}
    outcomes: list[Outcome] = []
    for write, place in zip(writes, places, strict=True):
        lease = write.lease
        seq = held.get((lease.row, lease.epoch))
        if seq is None:
            outcomes.append((None, lease_lost(lease)))
        else:
            topics.add(lease.job_id)
            outcomes.append((seq + place if write.checkpoint is None else None, None))
    return outcomes


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> Iterable[list[Any]]:
    """Return the rows as columns; one of nothing but None is left empty, which means the same."""
    if not rows:
        return [[] for _ in range(width)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return [[] if not any(value is not None for value in column) else column for column in columns]
