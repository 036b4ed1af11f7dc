"""Statements on checkpoints and artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import CheckpointConflictError
from holdfast.store.base import (
    COMPENSATION_KEY,
    OUTPUT_COMPLETED,
    RESERVED_KEY_PREFIX,
    RETRY_KEY_PREFIX,
    UNDO_KEY_PREFIX,
)
from holdfast.store.events import add_event, add_events, lease_lost
from holdfast.store.rows import CHECKPOINT_SQL, checkpoint_from, encode_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Checkpoint, Lease, UndoCall
    from holdfast.store.base import NewEvent
    from holdfast.store.transaction import Connection, Transaction

_NUMBER = """
UPDATE jobs SET step_number = step_number + 1
WHERE id = ? AND epoch = ? AND status = 'running' RETURNING step_number
"""

# The undo of an earlier start is kept: what that start did may have to be taken back.
_BEGIN = """
INSERT INTO checkpoints
    (job, key, finished, undo_function, undo_arguments, seconds, attempts, number, starts)
VALUES (?, ?, 0, ?, ?, 0, 0, ?, 1)
ON CONFLICT (job, key) DO UPDATE SET
    starts = checkpoints.starts + 1,
    undo_function = COALESCE(excluded.undo_function, checkpoints.undo_function),
    undo_arguments = COALESCE(excluded.undo_arguments, checkpoints.undo_arguments)
WHERE checkpoints.finished = 0
"""

# Fence and insert in one: a lost lease and a key that is taken both write nothing.
_PUT = """
INSERT INTO checkpoints
    (job, key, finished, value, blob, type_name, undo_function, undo_arguments, seconds, attempts,
     number, starts, finished_at, artifact)
SELECT id, ?, 1, ?, ?, ?, ?, ?, ?, ?, step_number + 1, 0, ?, ?
FROM jobs WHERE id = ? AND epoch = ? AND status = 'running'
ON CONFLICT (job, key) DO UPDATE SET
    finished = 1, value = excluded.value, blob = excluded.blob, type_name = excluded.type_name,
    undo_function = COALESCE(excluded.undo_function, checkpoints.undo_function),
    undo_arguments = COALESCE(excluded.undo_arguments, checkpoints.undo_arguments),
    seconds = excluded.seconds, attempts = excluded.attempts, number = excluded.number,
    finished_at = excluded.finished_at, artifact = excluded.artifact
WHERE checkpoints.finished = 0
"""

_COUNT = """
UPDATE jobs SET event_seq = event_seq + ?, step_number = step_number + 1, lost_workers = 0
WHERE id = ? AND epoch = ? AND status = 'running' RETURNING event_seq
"""

_COMPACT = """
UPDATE events SET data = %s WHERE job = ? AND type = 'output.delta' AND %s = ?
"""

_ARTIFACT = """
INSERT INTO artifacts (job, name, step_key, sha256, size_bytes, media_type, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, name) DO UPDATE SET
    step_key = excluded.step_key, sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
    media_type = excluded.media_type, created_at = excluded.created_at
"""


_LOSE = """
UPDATE calls SET status = 'lost' WHERE job = ? AND epoch = ? AND status = 'settled'
    AND step_key NOT IN (SELECT key FROM checkpoints WHERE job = ? AND finished = 1)
"""


def begin_step(tx: Transaction, lease: Lease, key: str, undo: UndoCall | None) -> None:
    """See `Store.begin_step`."""
    row = tx.execute(_NUMBER, (lease.row, lease.epoch)).fetchone()
    if row is None:
        raise lease_lost(lease)
    function, arguments = (None, None) if undo is None else (undo.function, undo.arguments)
    tx.execute(_BEGIN, (lease.row, key, function, arguments, row[0]))


def put_checkpoint(
    tx: Transaction, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
) -> None:
    """See `Store.put_checkpoint`."""
    key, undo, artifact = checkpoint.key, checkpoint.undo, checkpoint.artifact
    written = tx.execute(
        _PUT,
        (
            key,
            checkpoint.value,
            checkpoint.blob,
            checkpoint.type_name,
            None if undo is None else undo.function,
            None if undo is None else undo.arguments,
            checkpoint.seconds,
            checkpoint.attempts,
            tx.now,
            None if artifact is None else encode_json(artifact),
            lease.row,
            lease.epoch,
        ),
    ).rowcount
    if not written:
        _check_repeated(tx, lease, checkpoint)
        return
    if artifact is not None:
        location = (artifact.sha256, artifact.size_bytes, artifact.media_type)
        tx.execute(_ARTIFACT, (lease.row, artifact.name, key, *location, tx.now))
    row = tx.execute(_COUNT, (1 + len(events), lease.row, lease.epoch)).fetchone()
    if row is None:
        # Rescued between the two statements.
        raise lease_lost(lease)
    first = row[0] - len(events)
    fields = {"key": key, "seconds": checkpoint.seconds, "attempts": checkpoint.attempts}
    add_event(tx, lease.row, first, "step.completed", fields)
    if events:
        add_events(tx, lease.row, first + 1, events)
        if any(event.type == OUTPUT_COMPLETED for event in events):
            tx.execute(_COMPACT % (tx.dialect.empty_object, tx.dialect.delta_key), (lease.row, key))
    tx.topics.add(lease.job_id)


def _check_repeated(tx: Transaction, lease: Lease, checkpoint: Checkpoint) -> None:
    """Let a repeated call pass, and nothing else that has written nothing."""
    row = tx.execute(
        "SELECT c.value, c.blob FROM jobs j LEFT JOIN checkpoints c ON c.job = j.id AND c.key = ?"
        " WHERE j.id = ? AND j.epoch = ? AND j.status = 'running'",
        (checkpoint.key, lease.row, lease.epoch),
    ).fetchone()
    if row is None:
        raise lease_lost(lease)
    if row != (checkpoint.value, checkpoint.blob):
        raise CheckpointConflictError(step_key=checkpoint.key, job_id=lease.job_id)


def lose_answers(tx: Transaction, job: int, epoch: int) -> None:
    """Mark what an epoch that is over has paid for and not kept: the job's next attempt pays again."""
    tx.execute(_LOSE, (job, epoch, job))


def load_checkpoints(tx: Transaction, job: int) -> dict[str, Checkpoint]:
    """Return all checkpoints of a job by key, in order of number, values included."""
    rows = tx.execute(
        f"SELECT value, {CHECKPOINT_SQL} FROM checkpoints WHERE job = ? ORDER BY number", (job,)
    )
    return {row[1]: checkpoint_from(row[1:], row[0]) for row in rows}


def list_checkpoints(connection: Connection, job: int) -> tuple[Checkpoint, ...]:
    """Return all checkpoints of a job in order of number, without values."""
    rows = connection.execute(
        f"SELECT {CHECKPOINT_SQL} FROM checkpoints WHERE job = ? ORDER BY number", (job,)
    )
    return tuple(checkpoint_from(row, None) for row in rows)


def keys_by_state(tx: Transaction, job: int) -> tuple[dict[str, bool], set[str]]:
    """Return the job's step keys with whether each can be undone, and those being taken back."""
    rows = tx.execute("SELECT key, undo_function FROM checkpoints WHERE job = ?", (job,)).fetchall()
    undone = {key.removeprefix(UNDO_KEY_PREFIX) for key, _ in rows if key.startswith(UNDO_KEY_PREFIX)}
    return {key: function is not None for key, function in rows}, undone


def needs_compensation(tx: Transaction, job: int) -> bool:
    """Tell whether a worker has to take the job back before it can end."""
    keys, undone = keys_by_state(tx, job)
    # A compensation that has begun is a worker's to end, even if nothing is left to undo.
    return COMPENSATION_KEY in keys or any(
        undoable and key not in undone and not key.startswith(RESERVED_KEY_PREFIX)
        for key, undoable in keys.items()
    )


def forget_compensation(tx: Transaction, job: int) -> None:
    """Delete the compensation's own checkpoints, the steps it took back, and begun marks."""
    keys, undone = keys_by_state(tx, job)
    gone = undone | {
        key for key in keys if _records_compensation(key) or key.startswith(RETRY_KEY_PREFIX)
    }
    unfinished = tx.execute("SELECT key FROM checkpoints WHERE job = ? AND finished = 0", (job,))
    gone.update(key for (key,) in unfinished.fetchall())
    tx.executemany("DELETE FROM checkpoints WHERE job = ? AND key = ?", [(job, key) for key in gone])
    tx.executemany("DELETE FROM artifacts WHERE job = ? AND step_key = ?", [(job, key) for key in gone])


def _records_compensation(key: str) -> bool:
    return key == COMPENSATION_KEY or key.startswith(UNDO_KEY_PREFIX)


def copyable_keys(tx: Transaction, job: int) -> list[str]:
    """Return the finished steps that a fork may start from, oldest first."""
    _, undone = keys_by_state(tx, job)
    rows = tx.execute(
        "SELECT key FROM checkpoints WHERE job = ? AND finished = 1 ORDER BY number", (job,)
    )
    return [
        key
        for (key,) in rows.fetchall()
        if key not in undone and not key.startswith(RESERVED_KEY_PREFIX)
    ]


def copy_checkpoints(tx: Transaction, source: int, target: int, keys: Sequence[str]) -> None:
    """Copy finished steps; their undo stays behind, for their effects are the source's."""
    tx.executemany(
        "INSERT INTO checkpoints (job, key, finished, value, blob, type_name, seconds, attempts, number,"
        " starts, finished_at, artifact)"
        " SELECT ?, key, 1, value, blob, type_name, seconds, attempts, ?, 0, finished_at, artifact"
        " FROM checkpoints WHERE job = ? AND key = ?",
        [(target, number, source, key) for number, key in enumerate(keys, 1)],
    )
    tx.executemany(
        "INSERT INTO artifacts (job, name, step_key, sha256, size_bytes, media_type, created_at)"
        " SELECT ?, name, step_key, sha256, size_bytes, media_type, created_at"
        " FROM artifacts WHERE job = ? AND step_key = ?",
        [(target, source, key) for key in keys],
    )
    tx.execute("UPDATE jobs SET step_number = ? WHERE id = ?", (len(keys), target))
