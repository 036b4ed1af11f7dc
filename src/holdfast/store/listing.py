"""Statements that list jobs, newest first.

An index gives jobs in their order only within one value of each of its columns before the id. So a list
of several kinds, or of one tenant's jobs in every status, is put together from the newest of each: as
many small looks into the index, and never more jobs of a look than a page has.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidInputError
from holdfast.ids import first_id
from holdfast.model import JobStatus
from holdfast.store.base import RESERVED_KIND_PREFIX
from holdfast.store.jobs import JOINED, WITHOUT_CONTENT, job_of_joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Job
    from holdfast.store.base import JobQuery
    from holdfast.store.transaction import Connection

    Condition = tuple[str, tuple[str, ...]]
    """A text and its arguments."""

LIST_MAX = 1_000
"""Jobs that one query may ask for."""

LOOKS_MAX = 100
"""Looks into the index that a list is put together from; one for more kinds reads whatever comes."""


def list_jobs(connection: Connection, query: JobQuery) -> list[Job]:
    """See `Store.list_jobs`."""
    if not 1 <= query.limit <= LIST_MAX:
        raise InvalidInputError(f"limit {query.limit!r} of a job list must be 1 to {LIST_MAX}")
    return [job_of_joined(row) for row in connection.execute(*statement_of(query))]


def statement_of(query: JobQuery) -> tuple[str, list[Any]]:
    """Return the statement for a query, and its arguments."""
    select = JOINED if query.content else WITHOUT_CONTENT
    looks = _looks(query)
    if not 0 < len(looks) <= LOOKS_MAX:
        where, arguments = _joined(_whole(query) + _shared(query))
        return f"{select}{where} ORDER BY job_id DESC LIMIT ?", [*arguments, query.limit]
    parts, given = [], list[Any]()
    for look in looks:
        where, arguments = _joined(look + _shared(query))
        parts.append(
            f"SELECT job_id FROM (SELECT job_id FROM jobs{where} ORDER BY job_id DESC LIMIT ?) AS look"
        )
        given += [*arguments, query.limit]
    found = f"SELECT job_id FROM ({' UNION ALL '.join(parts)}) AS found ORDER BY job_id DESC LIMIT ?"
    return f"{select} WHERE job_id IN ({found}) ORDER BY job_id DESC", [*given, query.limit]


def _looks(query: JobQuery) -> list[list[Condition]]:
    """Return the conditions of each look into an index; no look where other indexes serve better."""
    kinds = _kinds(query)
    if query.subject is not None or query.parent_id is not None:
        return []
    if query.tenant is not None:
        wanted = [] if kinds is None else [(f"kind IN ({_marks(kinds)})", kinds)]
        starts = [[("tenant = ?", (query.tenant,)), *wanted]]
    elif kinds is not None:
        starts = [[("kind = ?", (kind,))] for kind in kinds]
    else:
        return []
    statuses = tuple(JobStatus) if query.status is None else (query.status,)
    ends = [("status = ?", (status.value,)) for status in statuses]
    return [[*start, end] for start, end in itertools.product(starts, ends)]


def _whole(query: JobQuery) -> list[Condition]:
    """Return the conditions that looks have in their own way, for one statement without looks."""
    found: list[Condition] = []
    kinds = _kinds(query)
    if kinds is not None:
        # Not by an index, which would give all jobs of all these kinds to be sorted.
        found.append((f"kind || '' IN ({_marks(kinds)})", kinds))
    if query.tenant is not None:
        found.append(("tenant = ?", (query.tenant,)))
    if query.status is not None:
        found.append(("status = ?", (query.status.value,)))
    return found


def _shared(query: JobQuery) -> list[Condition]:
    """Return the other conditions on each job of the list."""
    found: list[Condition] = []
    if query.kind is None:
        # As a part of the text, the same in every collation; the order's index is passed along.
        found.append((f"substr(kind, 1, {len(RESERVED_KIND_PREFIX)}) <> ?", (RESERVED_KIND_PREFIX,)))
    if query.subject is not None:
        found.append(("subject = ?", (query.subject,)))
    if query.parent_id is not None:
        # By number, as the index has it.
        text = "parent = (SELECT id FROM jobs AS parents WHERE parents.job_id = ?)"
        found.append((text, (query.parent_id,)))
    if query.before is not None:
        found.append(("job_id < ?", (query.before,)))
    if query.created_before is not None:
        found.append(("job_id < ?", (first_id("job", query.created_before),)))
    if query.created_since is not None:
        found.append(("job_id >= ?", (first_id("job", query.created_since),)))
    return found


def _kinds(query: JobQuery) -> tuple[str, ...] | None:
    """Return the kinds to list; None for all but Holdfast's own."""
    if query.kind is None:
        return None if query.kinds is None else tuple(dict.fromkeys(query.kinds))
    return (query.kind,) if query.kinds is None or query.kind in query.kinds else ()


def _joined(conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    where = f" WHERE {' AND '.join(text for text, _ in conditions)}" if conditions else ""
    return where, [value for _, values in conditions for value in values]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"
