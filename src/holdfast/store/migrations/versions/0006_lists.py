"""Indexes for lists by tenant or kind and status, and for lines behind a concurrency key.

Deliveries are found by their webhook.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from holdfast.store.versions import NewIndex, create_indexes

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES = (
    NewIndex("jobs_tenant_status", "jobs", ("tenant", "status", "job_id"), "tenant IS NOT NULL"),
    NewIndex("jobs_kind_status", "jobs", ("kind", "status", "job_id")),
    NewIndex(
        "jobs_concurrency_line",
        "jobs",
        (
            *("concurrency_key", "status", "blocked", "queue", "kind", "concurrency_limit"),
            *("priority DESC", "available_at", "id"),
        ),
        "concurrency_key IS NOT NULL AND finished_at IS NULL",
    ),
)

_KEY_BEFORE = "kind:holdfast.webhook "


def upgrade() -> None:
    """Move the database forward."""
    op.execute(
        sa.text(
            f"UPDATE jobs SET subject = substr(concurrency_key, {len(_KEY_BEFORE) + 1})"
            " WHERE kind = 'holdfast.webhook' AND subject IS NULL"
            f" AND substr(concurrency_key, 1, {len(_KEY_BEFORE)}) = :before"
        ).bindparams(before=_KEY_BEFORE)
    )
    create_indexes(INDEXES)
    # Last: their lock on the jobs stays until the commit.
    for replaced in ("jobs_deliveries", "jobs_tenant", "jobs_kind", "jobs_concurrency"):
        op.drop_index(replaced, "jobs")
