"""Deliveries found by their webhook instead of by what they share a limit with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

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
    # Last: its lock on the jobs stays until the commit.
    op.drop_index("jobs_deliveries", "jobs")
