"""Statements that delete jobs past their retention, or one subject's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidInputError
from holdfast.store.base import Pruned
from holdfast.store.rows import span_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from holdfast.store.base import PruneRequest
    from holdfast.store.transaction import Transaction

PRUNE_MAX = 1_000
"""Jobs that one transaction deletes, and files that it looks up, at most."""

ROWS_MAX = 5_000
"""Rows that one transaction touches, unless a single job has more: tens of milliseconds."""

_MARKS_MAX = 1_000

_RECORDS = ("payloads", "checkpoints", "artifacts", "events", "calls")

# How many rows are on record of a job, from above: a parent's calls include its children's.
_CHOOSE = """
SELECT id, job_id, event_seq + step_number + calls + 2
    + (SELECT COUNT(*) FROM jobs c WHERE c.parent = jobs.id)
FROM jobs %s
WHERE %s AND NOT EXISTS (SELECT 1 FROM jobs c WHERE c.parent = jobs.id AND c.finished_at IS NULL)
ORDER BY %s LIMIT ?
"""

_PARENT_ENDED = (
    "(parent IS NULL OR EXISTS (SELECT 1 FROM jobs p WHERE p.id = jobs.parent"
    " AND p.finished_at IS NOT NULL))"
)


def prune_jobs(tx: Transaction, request: PruneRequest) -> Pruned:
    """See `Store.prune_jobs`."""
    _check(request)
    # One at a time: two that delete the last references to a file would each see the other's.
    tx.serialize("prune")
    chosen, more = _choose(tx, request)
    if request.dry_run:
        return Pruned(
            job_ids=tuple(chosen.values()),
            unreferenced=_unreferenced(tx, request.files),
            more=more,
        )
    rows = _lock(tx, request, chosen)
    files = {*request.files, *_files_of(tx, rows)}
    released = _delete(tx, rows)
    return Pruned(
        job_ids=tuple(chosen[row] for row in rows),
        unreferenced=_unreferenced(tx, files),
        more=more or released,
    )


def _delete(tx: Transaction, rows: Collection[int]) -> bool:
    """Delete these jobs and tell whether children are without a parent now."""
    released = 0
    for marks, some in _portions(rows):
        for table in _RECORDS:
            tx.execute(f"DELETE FROM {table} WHERE job IN ({marks})", some)
        found = tx.execute(f"UPDATE jobs SET parent = NULL WHERE parent IN ({marks})", some)
        released += found.rowcount
        tx.execute(f"DELETE FROM jobs WHERE id IN ({marks})", some)
    return released > 0


def _check(request: PruneRequest) -> None:
    if not 1 <= request.limit <= PRUNE_MAX:
        raise InvalidInputError(f"limit {request.limit!r} of a pruning must be 1 to {PRUNE_MAX}")
    if len(request.files) > PRUNE_MAX:
        raise InvalidInputError(
            f"{len(request.files)} files are too many to look up at once; the most is {PRUNE_MAX}"
        )
    if not (_names_jobs(request) or request.files):
        raise InvalidInputError(
            "a pruning that names neither an age, a kind nor a subject would delete every finished job",
            hint="say which jobs; all of them are older than 0 seconds",
        )


def _names_jobs(request: PruneRequest) -> bool:
    return not (request.older_than is None and request.kind is None and request.subject is None)


def _choose(tx: Transaction, request: PruneRequest) -> tuple[dict[int, str], bool]:
    """Return the jobs to delete, ids by row, and whether there may be more."""
    if not _names_jobs(request):
        return {}, False
    conditions, arguments = ["finished_at <= ?"], [_ended_by(tx, request)]
    for column, value in (("kind", request.kind), ("subject", request.subject)):
        if value is not None:
            conditions.append(f"{column} = ?")
            arguments.append(value)
    if request.subject is not None:
        # Without statistics the planner would go through all finished jobs for the sake of order.
        index, order = "jobs_subject", "job_id"
        conditions.append(_PARENT_ENDED)
    else:
        index, order = "jobs_finished" if request.kind is None else "jobs_kind_finished", "finished_at"
        conditions.append("parent IS NULL")
    sql = _CHOOSE % (tx.dialect.indexed_by(index), " AND ".join(conditions), order)
    found = tx.execute(sql, (*arguments, request.limit)).fetchall()
    chosen: dict[int, str] = {}
    total = 0
    for row, job_id, count in found:
        total += count
        if chosen and total > ROWS_MAX:
            return chosen, True
        chosen[row] = job_id
    return chosen, len(found) == request.limit


def _ended_by(tx: Transaction, request: PruneRequest) -> Any:
    """Return the latest end of a job that is old enough."""
    return tx.now - (0 if request.older_than is None else max(0, span_micros(request.older_than)))


def _lock(tx: Transaction, request: PruneRequest, chosen: Collection[int]) -> list[int]:
    """Lock the chosen jobs with their families; return those that still are to be deleted.

    Somebody may have retried one, or a child, since it was chosen.
    """
    if not chosen or not tx.dialect.for_update:
        return list(chosen)
    ended_by = _ended_by(tx, request)
    found: dict[int, tuple[int | None, int | None]] = {}
    for marks, some in _portions(chosen):
        # The youngest first, children before parents, as everywhere.
        rows = tx.execute(
            f"SELECT id, parent, finished_at FROM jobs WHERE id IN ({marks}) OR parent IN ({marks})"
            f" OR id IN (SELECT parent FROM jobs WHERE id IN ({marks}))"
            f" ORDER BY id DESC {tx.dialect.for_update}",
            (*some, *some, *some),
        )
        found.update((row, (parent, ended)) for row, parent, ended in rows)
    held_by = {parent for parent, ended in found.values() if ended is None}
    unfinished = {row for row, (_, ended) in found.items() if ended is None}
    kept = {
        row
        for row, (parent, ended) in found.items()
        if ended is None or ended > ended_by or row in held_by or parent in unfinished
    }
    return [row for row in chosen if row in found and row not in kept]


def _files_of(tx: Transaction, rows: Collection[int]) -> Iterator[str]:
    for marks, some in _portions(rows):
        found = tx.execute(
            f"SELECT sha256 FROM artifacts WHERE job IN ({marks})"
            f" UNION SELECT blob FROM checkpoints WHERE job IN ({marks}) AND blob IS NOT NULL",
            (*some, *some),
        )
        yield from (sha256 for (sha256,) in found.fetchall())


def _unreferenced(tx: Transaction, files: Collection[str]) -> tuple[str, ...]:
    referenced: set[str] = set()
    for marks, some in _portions(files):
        found = tx.execute(
            f"SELECT sha256 FROM artifacts WHERE sha256 IN ({marks})"
            f" UNION SELECT blob FROM checkpoints WHERE blob IN ({marks})",
            (*some, *some),
        )
        referenced.update(sha256 for (sha256,) in found.fetchall())
    return tuple(sorted(set(files) - referenced))


def _portions(values: Iterable[Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the values in groups that fit into one statement, each with its placeholders."""
    left = list(values)
    for start in range(0, len(left), _MARKS_MAX):
        some = tuple(left[start : start + _MARKS_MAX])
        yield ", ".join("?" * len(some)), some
