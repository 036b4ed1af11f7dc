"""Statements on what artifacts a job has; their bytes lie elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model import Artifact

if TYPE_CHECKING:
    from holdfast.store.transaction import Connection

_FOUND = """
SELECT name, sha256, size_bytes, media_type FROM artifacts
WHERE job = (SELECT id FROM jobs WHERE job_id = ?)
"""


def list_artifacts(connection: Connection, job_id: str) -> list[Artifact]:
    """See `ServiceStore.list_artifacts`."""
    rows = connection.execute(f"{_FOUND} ORDER BY created_at, name", (job_id,))
    return [
        Artifact(name=name, sha256=sha256, size_bytes=size_bytes, media_type=media_type)
        for name, sha256, size_bytes, media_type in rows
    ]


def find_artifact(connection: Connection, job_id: str, name: str) -> Artifact | None:
    """See `ServiceStore.find_artifact`."""
    row = connection.execute(f"{_FOUND} AND name = ?", (job_id, name)).fetchone()
    if row is None:
        return None
    _, sha256, size_bytes, media_type = row
    return Artifact(name=name, sha256=sha256, size_bytes=size_bytes, media_type=media_type)
