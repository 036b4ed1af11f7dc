"""How far the logs of many jobs go, in few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model import JobStatus
from holdfast.store.service import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.transaction import Connection

_AT_ONCE = 500
"""Ids in one statement; SQLite of old takes 999 parameters."""


def find_positions(connection: Connection, job_ids: Sequence[str]) -> dict[str, Position]:
    """See `ServiceStore.find_positions`."""
    found: dict[str, Position] = {}
    for start in range(0, len(job_ids), _AT_ONCE):
        page = job_ids[start : start + _AT_ONCE]
        rows = connection.execute(
            f"SELECT job_id, event_seq, status FROM jobs WHERE job_id IN ({', '.join('?' * len(page))})",
            tuple(page),
        )
        for job_id, event_seq, status in rows:
            found[job_id] = Position(event_seq=event_seq, status=JobStatus(status))
    return found
